"""Records in the format of the Pile, from files, an address, or the Hugging Face hub."""

from __future__ import annotations

import gzip
import io
import logging
import re
import tempfile
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from artneuro.core.errors import DataError, SourceError
from artneuro.core.sources import pinned_download
from artneuro.datasets.corpus_config import PilePart
from artneuro.datasets.readers.base import RawDocument, part_files
from artneuro.datasets.readers.json_records import parse_json

log = logging.getLogger(__name__)

# A line without end would fill the memory.
MAX_LINE = 1 << 28
# Of packed bytes, which may stand for 30,000 times as many.
PIECE = 1 << 11


def read_pile(part: PilePart, folder: Path | None) -> Iterator[RawDocument]:
    """Read records with `text` and `meta.pile_set_name` (and, if there, `meta.language`).

    Each record is its own group. Records of other subsets than `pile_subsets` are passed over.

    Parameters
    ----------
    part : PilePart
        The part.
    folder : Path or None
        The fetched folder of its source, where it has one.

    Raises
    ------
    DataError
        If a line is no JSON, or no record with a text; the message names file and line.
    SourceError
        If the address or the hub cannot be read.
    """
    wanted = set(part.pile_subsets)
    for count, (key, where, record) in enumerate(_records(part, folder)):
        if part.max_records is not None and count >= part.max_records:
            return
        text = record.get("text") if isinstance(record, dict) else None
        meta = (record.get("meta") or {}) if isinstance(record, dict) else {}
        if not isinstance(text, str) or not isinstance(meta, dict):
            raise DataError(
                "not a record of the Pile: it needs `text`, a string, and may have `meta`",
                where=where,
                fix="correct or remove the line",
            )
        name = meta.get("pile_set_name")
        if wanted and name not in wanted:
            continue
        if name is None and part.subset is None:
            raise DataError(
                "the record has no meta.pile_set_name", where, "set `subset` of the part"
            )
        yield RawDocument(key, key, text, part.subset or name, meta.get("language"))


def _records(part: PilePart, folder: Path | None) -> Iterator[tuple[str, str, Any]]:
    """Key, place for messages, and value of each record."""
    if part.hub is not None:
        for number, record in enumerate(_hub_stream(part)):
            yield f"{part.hub}:{number}", f"{part.hub}, record {number}", record
        return
    if part.is_remote:
        address = str(part.path)
        name = urllib.parse.urlsplit(address).path.rpartition("/")[2] or "download"
        with tempfile.TemporaryDirectory() as scratch:
            file = pinned_download(address, part.sha256, name, Path(scratch))
            yield from _file_records(name, str(file), address)
        return
    for found in part_files(part, folder):
        yield from _file_records(found.name, str(found.path), str(found.path))


def _file_records(name: str, path: str, origin: str) -> Iterator[tuple[str, str, Any]]:
    for number, line in _lines(path, origin):
        yield f"{name}:{number}", f"{origin}, line {number}", parse_json(line, origin, number)


def _lines(path: str, origin: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a .jsonl, .jsonl.gz or .jsonl.zst file."""
    number = 0
    try:
        with open(path, "rb") as raw:
            if path.endswith(".zst"):
                plain: Any = io.BufferedReader(_ZstdStream(raw))
            elif path.endswith(".gz"):
                plain = gzip.GzipFile(fileobj=raw)
            else:
                plain = raw
            text = io.TextIOWrapper(plain, encoding="utf-8")
            while line := text.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise DataError(
                        f"the line has {MAX_LINE} characters or more", f"{origin}, line {number}"
                    )
                if line.strip():
                    yield number, line
    except (
        zstandard.ZstdError,
        EOFError,
        gzip.BadGzipFile,
        zlib.error,
        UnicodeDecodeError,
    ) as error:
        raise DataError(
            f"the file is damaged or not what its name says ({error})",
            where=f"{origin}, after line {number}",
            fix="fetch the file again",
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot read ({error})", f"{origin}, after line {number}", "check the path or network"
        ) from error


class _ZstdStream(io.RawIOBase):
    """The plain bytes of a Zstandard file of any number of frames.

    The library's own reader takes a file that ends inside a frame for a whole one.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame: Any = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            self._packed = self._packed or self._raw.read(PIECE)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the file ends in the middle of a Zstandard frame")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._plain = memoryview(self._frame.decompress(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count


def _hub_stream(part: PilePart) -> Iterator[Any]:
    try:
        import datasets
    except ImportError as error:
        raise SourceError(
            "reading from the hub needs the package `datasets`, which is not installed",
            where=f"hub: {part.hub}",
            fix="pip install 'artneuro[hub]', or download the files and use path",
        ) from error
    if not re.fullmatch(r"[0-9a-f]{40}", part.hub_revision or ""):
        log.warning(
            "%s: a later run may read other text; `hub_revision` pins it to a commit", part.hub
        )
    try:
        yield from datasets.load_dataset(
            part.hub, part.hub_config, split=part.hub_split, revision=part.hub_revision,
            streaming=True,
        )  # fmt: skip
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceError(
            f"cannot stream the dataset from the hub ({error})",
            where=f"hub: {part.hub}, split {part.hub_split}",
            fix="check the name, the split, your access and the network; or download and use path",
        ) from error
