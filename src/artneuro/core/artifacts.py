"""The one writer of artifacts: complete or absent, never half-written.

Every function writes to a temporary name beside the target and renames it, so that a reader (or
Snakemake) can never take an interrupted write for a whole artifact. Parquet pages carry checksums
that are verified at each read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from artneuro.core.errors import DataError

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


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; on success it becomes `target`, else it goes."""
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, final)
        _fsync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it becomes `target` (replacing it), else it goes."""
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if final.is_dir():
            shutil.rmtree(final)
        os.replace(temporary, final)
        _fsync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(text: str, path: str | Path) -> None:
    """Write `text` as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as indented JSON with a final newline."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", path)


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet (zstd, page checksums). The same frame gives the same bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(
            frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
            temporary,
            compression="zstd",
            write_page_checksum=True,
        )


def read_table(path: str | Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a Parquet table, verifying the checksum of every page.

    Raises
    ------
    DataError
        If the file is missing, truncated or corrupt.
    """
    try:
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
