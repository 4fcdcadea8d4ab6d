"""What is wrong with the values of a YAML file, by their keys, in words for who wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError


def explained(error: ValidationError, values: Any) -> Iterator[str]:
    """A line for each wrong value: its key, what is wrong with it, and the value.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    values : dict
        The values that it looked at.
    """
    found = [(tuple(_keys(item, values)), item) for item in error.errors()]
    # Where a value may be of several kinds, each kind says what is wrong. Those that the value is
    # not of at all say nothing that helps.
    telling = [key for key, item in found if not _tells_a_kind(item)]
    for key, item in found:
        if _tells_a_kind(item) and any(other[: len(key)] == key for other in telling):
            continue
        yield f"  - {_shown('.'.join(key) or '(top level)')}{_shown(_what(item))}"


def _tells_a_kind(item: Any) -> bool:
    return item["type"].endswith("_type") or item["type"] == "literal_error"


def _keys(item: Any, values: Any) -> Iterator[str]:
    """The keys that lead to a value, without the kinds of values that pydantic puts in between."""
    for n, part in enumerate(item["loc"], 1):
        if isinstance(values, dict) and part in (values.get("kind"), values.get("reader")):
            continue
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            if item["type"] != "missing" or n < len(item["loc"]):
                continue
        yield str(part)


def _what(item: Any) -> str:
    value = "" if item["type"] == "missing" else f" (got {item['input']!r:.80})"
    if item["type"] == "extra_forbidden":
        return f": no such key{value}"
    if item["type"] == "value_error":
        # Of a section as a whole the words name what does not fit; its first keys say nothing.
        return f": {item['ctx']['error']}" + ("" if isinstance(item["input"], dict) else value)
    return f": {item['msg']}{value}"


def _shown(text: str) -> str:
    # A line break in a value would tear the message apart on a terminal.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
