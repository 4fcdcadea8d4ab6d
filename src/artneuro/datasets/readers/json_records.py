"""Texts inside JSON files: one a file, one an element, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artneuro.core.errors import DataError
from artneuro.datasets.corpus_config import JsonPart
from artneuro.datasets.readers.base import PartFile, RawDocument, group_of, part_files, read_text
from artneuro.datasets.readers.formats import email_text, tidy


def read_json_records(part: JsonPart, folder: Path | None) -> Iterator[RawDocument]:
    """Read a part whose texts lie in JSON files, in the order of the files and their records.

    Parameters
    ----------
    part : JsonPart
        The part.
    folder : Path or None
        The fetched folder of its source, where it has one.

    Raises
    ------
    DataError
        If a file or line is no JSON, or a record lacks the text; the message names file and line
        or record.
    """
    for file in part_files(part, folder):
        for name, record in _records(part, file):
            where = f"{file.path}: {name}" if name else str(file.path)
            text = outline(record) if part.text is None else _text_at(record, part.text, where)
            group = group_of(part, file.name)
            if part.group is None and name:
                group = f"{file.name}:{name}"
            if part.format == "email":
                text, subject = email_text(text)
                group = subject or group
            if part.group_key is not None:
                group = _text_at(record, part.group_key, where)
            yield RawDocument(f"{file.name}:{name}" if name else file.name, group, tidy(text))


def parse_json(text: str, where: str, line: int | None = None) -> Any:
    """Parse JSON.

    Raises
    ------
    DataError
        If it is none, naming the file and the line.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        at = line if line is not None else getattr(error, "lineno", "?")
        raise DataError(
            f"not JSON ({error})",
            where=f"{where}, line {at}",
            fix="correct or remove the line, or fetch the file again",
        ) from error


def _records(part: JsonPart, file: PartFile) -> Iterator[tuple[str, Any]]:
    """Name ("" for the whole file) and value of each record of a file."""
    text = read_text(file.path)
    if text is None:
        raise DataError("a binary file, not JSON", str(file.path), "correct `files` of the part")
    if part.records == "lines":
        # Not splitlines(), which also breaks at separators that JSON strings may hold.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield str(number), parse_json(line, str(file.path), number)
        return
    value = parse_json(text, str(file.path))
    if part.records == "file":
        yield "", value
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(number), item) for number, item in enumerate(value))
    else:
        raise DataError(
            f"holds a {type(value).__name__}, not a list or object of records",
            where=str(file.path),
            fix="set `records: file`",
        )


def _text_at(record: Any, keys: str, where: str) -> str:
    value = record
    for key in keys.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise DataError(
            f"the record has no text at {keys!r}",
            where,
            "correct `text` or `group_key` of the part",
        )
    return value


def outline(value: Any) -> str:
    """All strings of a JSON value as lines "key: text", headings of objects on their own line.

    A key named "text" is taken to be its parent's text, as in the World Factbook. A blank line
    stands between the values of an outermost object.
    """
    if isinstance(value, dict):
        return "\n\n".join("\n".join(_outline(item, key)) for key, item in value.items())
    return "\n".join(_outline(value, ""))


def _outline(value: Any, heading: str) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield f"{heading}: {value.strip()}" if heading else value.strip()
    elif isinstance(value, list):
        for item in value:
            yield from _outline(item, heading)
    elif isinstance(value, dict):
        own = value.get("text")
        rest = {key: item for key, item in value.items() if key != "text"}
        if isinstance(own, str):
            yield from _outline(own, heading)
        elif heading:
            yield heading
        for key, item in rest.items():
            yield from _outline(item, key)
