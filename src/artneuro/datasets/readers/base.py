"""What readers have in common: raw documents, the files of a part, decoding."""

from __future__ import annotations

import glob
import gzip
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from artneuro.core.errors import ConfigError, DataError
from artneuro.core.hashing import content_files
from artneuro.core.sources import SOURCE_FILE
from artneuro.datasets.corpus_config import Part
from artneuro.datasets.words import Word

GLOB_CHARACTERS = frozenset("*?[")
BINARY_SNIFF_BYTES = 8192


@dataclass(frozen=True)
class RawDocument:
    """A text as a reader finds it.

    Attributes
    ----------
    key : str
        Where in the part it is: a path, with the record's name or number after a colon.
    group : str
        What must not be split, within the subset.
    text : str
        The text.
    subset, language : str or None
        Where the record itself says so; else None and the part's hold.
    words : tuple of Word or None
        The words of the text with their grammar, where the part gives it.
    """

    key: str
    group: str
    text: str
    subset: str | None = None
    language: str | None = None
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True)
class PartFile:
    """A file of a part: its path and its name inside the source or folder."""

    path: Path
    name: str


def part_files(part: Part, folder: Path | None) -> list[PartFile]:
    """The files of a part, sorted by name.

    Parameters
    ----------
    part : Part
        The part.
    folder : Path or None
        The fetched folder of its source, where it has one.

    Raises
    ------
    ConfigError
        If the part's path does not exist.
    DataError
        If no file matches.
    """
    if folder is None:
        folder, found = _local_files(part.path or "")
    else:
        found = content_files(folder)
    named = [PartFile(path, path.relative_to(folder).as_posix()) for path in found]
    chosen = [
        file
        for file in named
        if file.name != SOURCE_FILE
        and any(fnmatchcase(file.name, pattern) for pattern in part.files)
        and not any(fnmatchcase(file.name, pattern) for pattern in part.exclude)
    ]
    if not chosen:
        raise DataError(
            f"no file of part {part.subset} ({part.language}) matches {part.files}",
            where=str(folder),
            fix="correct `files` or `path` of the part",
        )
    return sorted(chosen, key=lambda file: file.name)


def _local_files(path: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files, of a local path or glob."""
    if GLOB_CHARACTERS & set(path):
        found = [Path(name) for name in glob.glob(path, recursive=True) if Path(name).is_file()]
        return Path(*Path(path).parts[: _first_glob(path)]), found
    local = Path(path)
    if local.is_file():
        return local.parent, [local]
    if local.is_dir():
        return local, content_files(local)
    raise ConfigError(
        "the path of a corpus part does not exist",
        where=path,
        fix="correct `path`; it is relative to the folder that snakemake runs in",
    )


def _first_glob(path: str) -> int:
    return next(i for i, piece in enumerate(Path(path).parts) if GLOB_CHARACTERS & set(piece))


def group_of(part: Part, name: str) -> str:
    """The group of a file: what the part's pattern captures in its name, else the name.

    Raises
    ------
    ConfigError
        If the pattern does not occur in the name.
    """
    if part.group is None:
        return name
    match = re.search(part.group, name)
    if match is None or match.group(1) is None:
        raise ConfigError(
            f"the group pattern {part.group!r} of part {part.subset} does not match a file",
            where=name,
            fix="correct `group`, or leave the file out with `exclude`",
        )
    return match.group(1)


def read_text(path: Path) -> str | None:
    """The text of a file, unpacked if it ends in .gz, or None where it is binary.

    UTF-8 (with or without a byte-order mark) first, UTF-16 with its mark, else Windows-1252, the
    usual encoding of older western files. Line ends become line feeds.

    Raises
    ------
    DataError
        If a .gz file is damaged.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise DataError(
                f"cannot unpack the file ({error})", str(path), "fetch or copy the file again"
            ) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    elif b"\0" in data[:BINARY_SNIFF_BYTES]:
        return None
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
