"""Plain values that people write by hand: read from YAML without harm, and checked for traps.

The traps are those that no schema sees: a key that is there twice, of which YAML keeps the last; an
anchor that unfolds to billions of values; `no` as a name, which YAML reads as false; numbers that
are none, or too large for any file; characters that no file or terminal can show.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from artneuro.core.errors import ConfigError

MAX_BYTES = 10_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 40
# Keys name files and folders, and a file's name has 255 bytes at most.
MAX_KEY = 100
MAX_TEXT = 100_000
LARGEST = 2**63 - 1
SHOWN = 20
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path, what: str) -> Any:
    """The value in a YAML file.

    Parameters
    ----------
    path : Path
        A regular file.
    what : str
        What it is, for messages, such as "the config".

    Raises
    ------
    ConfigError
        If it cannot be read, is no YAML, or holds a trap.
    """
    where = str(path)
    try:
        # A device or a pipe may never end.
        if path.exists() and not path.is_file():
            raise ConfigError(f"cannot read {what}: it is no file", where)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {what}: {error}", where) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"cannot read {what}: it has more than {MAX_BYTES} bytes", where)
    try:
        value = _parse(data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ConfigError(f"cannot read {what}: it is nested too deeply", where) from error
    # Of values that it cannot build, PyYAML says whatever Python says, from ValueError to KeyError.
    except Exception as error:
        raise ConfigError(f"cannot read {what}: not YAML: {error}", where) from error
    if problems := list(problems_of(value)):
        raise ConfigError(_listed(f"{what} holds values that cannot be meant", problems), where)
    return value


def check_values(values: Any, what: str, where: str) -> None:
    """Make sure that values which were read elsewhere hold no trap.

    Raises
    ------
    ConfigError
        Naming the keys.
    """
    if problems := list(problems_of(values)):
        raise ConfigError(_listed(f"{what} holds values that cannot be meant", problems), where)


def _listed(what: str, problems: list[str]) -> str:
    more = len(problems) - SHOWN
    lines = [f"  - {problem}" for problem in problems[:SHOWN]]
    return "\n".join([f"{what}:", *lines, *([f"  and {more} more"] if more > 0 else [])])


def _parse(text: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_nodes(root: yaml.Node) -> None:
    """Make sure that no mapping has a key twice, and that merges do not unfold to too many keys."""
    seen: set[int] = set()
    merged: dict[int, int] = {}
    left = [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            found: set[tuple[str, str]] = set()
            for key, value in node.value:
                left += [key, value]
                if isinstance(key, yaml.ScalarNode):
                    name = (key.tag, key.value)
                    if name in found:
                        raise ValueError(f"the key {key.value!r} is there twice{key.start_mark}")
                    found.add(name)
            _merged(node, merged)


def _merged(node: yaml.Node, known: dict[int, int]) -> int:
    """How many keys a mapping has once all that it merges is put in."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 0
    count = 0
    if isinstance(node, yaml.SequenceNode):
        count = sum(_merged(part, known) for part in node.value)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            count += _merged(value, known) if key.tag == _MERGE else 1
    if count > MAX_VALUES:
        raise ValueError(f"what is merged here has more than {MAX_VALUES} keys{node.start_mark}")
    known[id(node)] = count
    return count


def problems_of(values: Any) -> Iterator[str]:
    """Each key with what is wrong with it; ends early where there are too many values."""
    left: list[tuple[str, int, Any]] = [("", 0, values)]
    count = 0
    while left:
        path, depth, value = left.pop()
        count += 1
        if count > MAX_VALUES:
            yield (
                f"{path}: there are more than {MAX_VALUES} values up to here; an anchor may unfold "
                "to more than it seems"
            )
            return
        if isinstance(value, dict | list | tuple):
            if depth >= MAX_DEPTH:
                yield f"{path[:200]}: nested more than {MAX_DEPTH} deep"
                continue
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in items:
                if isinstance(value, dict) and (wrong := _problem_of_key(key)):
                    yield f"{path or '(top level)'}: {wrong}"
                    continue
                shown = f"{path}.{key}" if path else str(key)
                left.append((shown, depth + 1, inner))
        elif wrong := _problem_of_value(value):
            yield f"{path or '(top level)'}: {wrong}"


def _problem_of_key(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"the key {str(key)[:80]!r} is no text: put it in quotes"
    if len(key) > MAX_KEY:
        return f"the key {key[:40]!r}... has {len(key)} characters; at most {MAX_KEY} are allowed"
    if _UNSAFE.search(key):
        return f"the key {key!r} holds characters that cannot be shown"
    return None


def _problem_of_value(value: Any) -> str | None:
    if isinstance(value, str):
        if _UNSAFE.search(value):
            return f"the text {value[:80]!r} holds characters that cannot be shown"
        if len(value) > MAX_TEXT:
            return f"the text has {len(value)} characters; at most {MAX_TEXT} are allowed"
    elif isinstance(value, int):
        if abs(value) > LARGEST:
            return "the number is larger than any 64-bit integer"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"{value} is no number"
    elif isinstance(value, dt.date):
        return f"YAML reads {value} as a date: put it in quotes"
    elif isinstance(value, bytes | set):
        return f"YAML reads it as {type(value).__name__}: write text, a number or a list"
    return None
