"""The one writer of artifacts: complete or absent, never half-written.

Every function writes to a temporary name beside the target and renames it, so that a reader (or
Snakemake) can never take an interrupted write for a whole artifact. Tables carry checksums that are
verified at each read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artneuro.core.errors import ArtneuroError, DataError

SIDECAR_SUFFIX = ".prov.json"


def sidecar_path(artifact: str | Path) -> Path:
    """Where the provenance sidecar of `artifact` lies: beside it, `<artifact>.prov.json`."""
    path = Path(artifact)
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _clear_leftovers(final: Path) -> None:
    """Remove what killed writers of the same artifact left; Snakemake runs one at a time."""
    # Not those of an artifact whose name begins with this one's.
    leftover = re.compile(re.escape(f".{final.name}.") + r"\d+(\.old)?\.tmp")
    for path in final.parent.iterdir():
        if leftover.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


_ROOM = "make room and run again; what was finished before is kept"
# Errors of the operating system that no code can mend, and what the user can do about each.
_DISK_PROBLEMS = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("the disk quota is used up", _ROOM),
    errno.EROFS: ("the disk is read-only", "mount it for writing, or run in another folder"),
    errno.EIO: ("the disk fails", "check the disk; what was finished before is kept"),
    errno.EACCES: (
        "this user may not write here",
        "give this user the right to write, or run in a folder of its own",
    ),
}


def _disk_problem(error: BaseException, target: Path) -> int | None:
    """Which of `_DISK_PROBLEMS` an error is of, if of any."""
    if isinstance(error, OSError) and error.errno is not None:
        # A file that may not be read is another matter.
        if error.errno == errno.EACCES and not _is_near(error.filename, target):
            return None
        return error.errno if error.errno in _DISK_PROBLEMS else None
    # Libraries hand on what the system said in errors of their own.
    said = str(error)
    codes = (code for code in _DISK_PROBLEMS if code != errno.EACCES)
    return next((code for code in codes if os.strerror(code) in said), None)


def _is_near(name: object, target: Path) -> bool:
    """Whether a file that an error names lies in the folder of `target`, or is that folder."""
    folder = Path(os.path.abspath(target.parent))
    found = Path(os.path.abspath(os.fsdecode(name))) if isinstance(name, str | bytes) else None
    return found is not None and (found.is_relative_to(folder) or folder.is_relative_to(found))


@contextlib.contextmanager
def _disk_problems_named(target: Path) -> Iterator[None]:
    """Turn errors of the disk into one that says what is wrong, where, and what to do."""
    try:
        yield
    except ArtneuroError:
        raise
    except Exception as error:
        code = _disk_problem(error, target)
        if code is None:
            raise
        what, fix = _DISK_PROBLEMS[code]
        raise ArtneuroError(what, where=f"while writing {target}", fix=fix) from error


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; on success it becomes `target`, else it goes."""
    final = Path(target)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    with _disk_problems_named(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(final)
        try:
            yield temporary
            _fsync(temporary)
            os.replace(temporary, final)
            _fsync(final.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it replaces `target`, else it goes."""
    final = Path(target)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    previous = final.with_name(f".{final.name}.{os.getpid()}.old.tmp")
    with _disk_problems_named(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(final)
        temporary.mkdir()
        try:
            yield temporary
            for path in [*temporary.rglob("*"), temporary]:
                if not path.is_symlink():
                    _fsync(path)
            if final.is_dir():
                # Moved away whole: killed while it is deleted in place, half of it would stay.
                os.replace(final, previous)
            os.replace(temporary, final)
            _fsync(final.parent)
        finally:
            for folder in (temporary, previous):
                shutil.rmtree(folder, ignore_errors=True)


def remove_sidecar(artifact: str | Path) -> None:
    """Delete the provenance sidecar of `artifact`, if there is one."""
    path = sidecar_path(artifact)
    with _disk_problems_named(path):
        path.unlink(missing_ok=True)


def write_text(text: str, path: str | Path) -> None:
    """Write `text` as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as indented JSON with a final newline."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", path)


class DamagedJsonError(DataError, ValueError):
    """A file is no JSON. Also a ValueError, for those who know what to do without the file."""


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        If it cannot be read.
    DamagedJsonError
        If it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedJsonError(
            f"not a JSON file ({error})",
            where=str(path),
            fix="delete the file and run snakemake again: only it and what follows is rebuilt",
        ) from error


# Parquet has checksums of pages but none of its footer, where one flipped bit renames a column. The
# CRC-32 of the footer goes into the gap before it, which readers skip: they start from the end.
_FOOTER_SEAL = b"ANFT"


def _footer(handle: BinaryIO) -> tuple[int, bytes]:
    """Offset and bytes of a Parquet footer with its length and the closing magic number."""
    end = handle.seek(0, os.SEEK_END)
    handle.seek(max(end - 8, 0))
    length = int.from_bytes(handle.read(4), "little") + 8
    if length > end:
        raise OSError("the file is truncated or no Parquet file")
    handle.seek(end - length)
    return end - length, handle.read()


def _seal_footer(path: Path) -> None:
    with open(path, "r+b") as handle:
        start, footer = _footer(handle)
        handle.seek(start)
        handle.write(_FOOTER_SEAL + zlib.crc32(footer).to_bytes(4, "little") + footer)


def _check_footer(path: str | Path) -> None:
    with open(path, "rb") as handle:
        start, footer = _footer(handle)
        handle.seek(max(start - 8, 0))
        seal = handle.read(8)
    # Tables that another program wrote have no seal.
    if seal[:4] == _FOOTER_SEAL and int.from_bytes(seal[4:], "little") != zlib.crc32(footer):
        raise OSError("the checksum of the footer does not fit")


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet (zstd, checksums). The same frame gives the same bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(
            frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
            temporary,
            compression="zstd",
            write_page_checksum=True,
        )
        _seal_footer(temporary)


def read_table(path: str | Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a Parquet table, verifying the checksums of its footer and of every page read.

    Raises
    ------
    DataError
        If the file is missing, truncated or corrupt.
    """
    try:
        _check_footer(path)
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read the table ({error})",
            where=str(path),
            fix="delete the file and run snakemake again: only it and what follows is rebuilt",
        ) from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
