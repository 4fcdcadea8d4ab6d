"""Content hashes of files, folders and JSON values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value` (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256_bytes(text.encode())


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in constant memory."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tree_files(path: str | Path) -> list[Path]:
    """Every regular file below `path`, sorted by its path relative to it."""
    root = Path(path)
    return sorted(
        (p for p in root.rglob("*") if p.is_file()), key=lambda p: p.relative_to(root).as_posix()
    )


def content_files(path: str | Path) -> list[Path]:
    """The files that make up an artifact: itself, or all below a folder, sorted.

    Snakemake's own time-stamp file inside a declared folder is not content and is left out.
    """
    root = Path(path)
    if not root.is_dir():
        return [root]
    return [p for p in tree_files(root) if p.name != ".snakemake_timestamp"]


def combine_sha256(root: Path, hashes: dict[Path, str]) -> str:
    """SHA-256 of an artifact from those of its `content_files`.

    A file's is its own; a folder's is that of the sorted list of (relative path, SHA-256).
    """
    if hashes.keys() == {root}:
        return hashes[root]
    digest = hashlib.sha256()
    for file, sha256 in hashes.items():
        digest.update(f"{file.relative_to(root).as_posix()}\0{sha256}\n".encode())
    return digest.hexdigest()


def sha256_path(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder as `combine_sha256` says."""
    root = Path(path)
    return combine_sha256(root, {p: sha256_file(p) for p in content_files(root)})


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(p.stat().st_size for p in content_files(path))
