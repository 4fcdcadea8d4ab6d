"""config/README.md and the JSON schema, generated from the pydantic models."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from artneuro.config import Config
from artneuro.core.artifacts import write_text

HEADER = """# Config: every key

Generated from the config models by `make docs`; do not edit. `config.yaml` is the demo and the
default, `smoke.yaml` is what the tests run, `thesis.yaml` is the full scale. Give another file with
`snakemake --configfile my.yaml` (it replaces the demo's values as a whole) and single values with
`--config 'compute={device: cpu}'`. Unknown keys are errors. `<name>` stands for a name of yours.
`../workflow/schemas/config.schema.json` is the same as a JSON schema, for editors.

"""


def config_schema() -> str:
    """JSON schema of the config, as indented JSON."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def config_reference() -> str:
    """The text of config/README.md."""
    parts = [HEADER]
    for name, info in Config.model_fields.items():
        parts.append(f"## `{name}`\n\n{info.description}\n\n")
        rows = list(_rows(name, info, top=True))
        if not rows:
            parts.append(f"Default: {_default(info)}\n\n")
            continue
        parts.append("| key | type | default | meaning |\n|---|---|---|---|\n")
        parts.extend(rows)
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def write_docs(root: str | Path) -> list[Path]:
    """Write config/README.md and workflow/schemas/config.schema.json below `root`."""
    reference = Path(root) / "config" / "README.md"
    schema = Path(root) / "workflow" / "schemas" / "config.schema.json"
    write_text(config_reference(), reference)
    write_text(config_schema(), schema)
    return [reference, schema]


def _rows(prefix: str, info: FieldInfo, top: bool = False) -> Iterator[str]:
    path, models = _models_of(prefix, info.annotation)
    if not top:
        kind = _type_name(info.annotation).replace("|", "or")
        yield f"| `{prefix}` | {kind} | {_default(info)} | {_cell(info.description or '')} |\n"
    for model in models:
        tag = _tag_of(model) if len(models) > 1 else ""
        for key, field in model.model_fields.items():
            yield from _rows(f"{path}{tag}.{key}", field)


def _models_of(prefix: str, annotation: Any) -> tuple[str, list[type[BaseModel]]]:
    """The sections below a key, and the key's path with <name> or [] for a mapping or list."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _models_of(prefix, args[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return prefix, [annotation]
    if origin is dict:
        return _models_of(f"{prefix}.<name>", args[1])
    if origin in (list, tuple):
        return _models_of(f"{prefix}[]", args[0])
    if origin in (typing.Union, types.UnionType):
        found = [m for arg in args for m in _models_of(prefix, arg)[1]]
        return prefix, found
    return prefix, []


def _tag_of(model: type[BaseModel]) -> str:
    """`(kind: hub)` for a member of a discriminated union."""
    for key, field in model.model_fields.items():
        if typing.get_origin(field.annotation) is typing.Literal and key in (
            "kind",
            "reader",
            "collection",
        ):
            values = " or ".join(str(v) for v in typing.get_args(field.annotation))
            return f"({key}: {values})"
    return ""


def _type_name(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "empty"
    if origin is typing.Annotated:
        return _type_name(args[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(_type_name(arg) for arg in args))
    if origin is dict:
        return f"mapping of {_type_name(args[1])}"
    if origin in (list, tuple):
        return f"list of {_type_name(args[0])}"
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return "section"
        return {"str": "text", "int": "integer", "float": "number", "bool": "true, false"}.get(
            annotation.__name__, annotation.__name__
        )
    return str(annotation)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None or value == [] or value == {}:
        return "empty"
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{json.dumps(value, default=str, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
