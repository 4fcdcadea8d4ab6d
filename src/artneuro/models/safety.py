"""What the small files of a model could make a library do besides loading the model.

Weights are safetensors, which hold numbers alone. But the files beside them name further files:
parts of the weights anywhere on the machine (pickles too), another model that an adapter belongs
to, Python code of another repository, or a compiled kernel of the hub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artneuro.core.errors import ModelError

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")
# Whatever its value names is looked up on the hub, and runs, once it looks like a repository.
KERNELS = ("attn_implementation", "experts_implementation")
MAX_BYTES = 200_000_000


def check_model_files(folder: str | Path) -> None:
    """Make sure that loading a folder reads that folder alone, and runs no code but its own.

    Its own code is another matter: it runs only where the config says `trust_remote_code`.

    Raises
    ------
    ModelError
        Naming the file and what it asks for.
    """
    root = Path(folder)
    if (root / ADAPTER).exists():
        raise ModelError(
            "this is an adapter, which would be put on a model of its own choice",
            where=str(root / ADAPTER),
            fix="merge it into its model (merge_and_unload of peft), save that, and give it",
        )
    index = _read(root / INDEX)
    if index is not None:
        weights = index.get("weight_map") if isinstance(index, dict) else None
        files = weights.values() if isinstance(weights, dict) else [None]
        wrong = [str(f) for f in files if not isinstance(f, str) or not _is_part(root, f)]
        if wrong:
            raise ModelError(
                f"the index of the weights names {wrong[0][:80]!r}, which is no safetensors "
                "file of this folder",
                where=str(root / INDEX),
                fix="do not use this model: it is incomplete, or made to read other files",
            )
    for name in CONFIGS:
        for key, value in _entries(_read(root / name)):
            if "auto_map" in key and "--" in str(value):
                asked = "code of another repository"
            elif any(kernel in part for kernel in KERNELS for part in key) and "/" in str(value):
                asked = "a compiled kernel of the hub"
            else:
                continue
            raise ModelError(
                f"the model asks for {asked}: {str(value)[:80]!r}",
                where=f"{root / name}, {'.'.join(key)}",
                fix="remove the key from a copy of the model and give that as a local source, if "
                "you trust the rest of it",
            )


def code_of(folder: str | Path) -> list[str]:
    """Names of the Python files of a model's folder, sorted."""
    return sorted(path.name for path in Path(folder).glob("*.py"))


def _is_part(root: Path, name: str) -> bool:
    plain = name == Path(name).name and "\\" not in name and "\0" not in name
    return plain and name.endswith(".safetensors") and (root / name).is_file()


def _read(path: Path) -> Any:
    """The value of a JSON file; None where there is none."""
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"cannot read a file of the model ({type(error).__name__}: {error})",
            where=str(path),
            fix="fetch the model again; if it stays, it is damaged at its source",
        ) from error


def _entries(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every plain value below a value, with the keys that lead to it."""
    left: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while left:
        path, found = left.pop()
        if isinstance(found, dict):
            left += [((*path, str(k)), v) for k, v in found.items()]
        elif isinstance(found, list):
            left += [(path, v) for v in found]
        elif path:
            yield path, found
