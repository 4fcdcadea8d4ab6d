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


def sha256_path(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder as the sorted list of (relative path, SHA-256).

    Snakemake's own time-stamp file inside a declared folder is not content and is left out.
    """
    root = Path(path)
    if not root.is_dir():
        return sha256_file(root)
    digest = hashlib.sha256()
    for file in tree_files(root):
        if file.name == ".snakemake_timestamp":
            continue
        digest.update(f"{file.relative_to(root).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    root = Path(path)
    files = tree_files(root) if root.is_dir() else [root]
    return sum(f.stat().st_size for f in files if f.name != ".snakemake_timestamp")
