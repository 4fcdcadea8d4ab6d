"""What lies in a folder of results: its sidecars, strays, and what everything there is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import SIDECAR_SUFFIX, read_json
from artneuro.core.hashing import combine_sha256, content_files, sha256_file
from artneuro.core.job import sidecar_seal

# What Snakemake and unfinished jobs write beside artifacts, and nobody takes for a result.
IGNORED_FOLDERS = ("logs", "benchmarks")
IGNORED_SUFFIXES = (".log", ".benchmark.tsv", ".benchmark.txt", ".lock", ".parts")

# Entries of a sidecar without which it explains nothing, and their types.
REQUIRED: dict[str, type] = {
    "artifact": str,
    "sha256": str,
    "bytes": int,
    "rule": str,
    "config": object,
    "code": dict,
    "inputs": list,
    "record_sha256": str,
}


@dataclass
class ResultsTree:
    """What lies in the audited folders: sidecars, and what no sidecar explains."""

    sidecars: list[Path] = field(default_factory=list)
    unexplained: list[tuple[Path, int]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def workdir_of(folder: Path) -> Path:
    """The folder that recorded paths are relative to: the one above `results`."""
    for path in (folder, *folder.parents):
        if path.name == "results":
            return path.parent
        if path.name == "fetched" and path.parent.name == "resources":
            return path.parent.parent
    return folder.parent


def shown_path(path: Path, base: Path) -> str:
    """A path as it is told: relative to `base` where it lies below it."""
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return str(path)


def walk_results(folder: Path, tree: ResultsTree, top: bool = False) -> tuple[bool, int]:
    """Sort what is below `folder` into `tree`; whether there are sidecars, and how many strays.

    A folder without a single sidecar is one stray, not one for each file of, say, a store.
    """
    try:
        entries = {e.name: e for e in os.scandir(folder)}
    except OSError as error:
        tree.unreadable.append((folder, error.strerror or str(error)))
        return True, 0
    explained = {n.removesuffix(SIDECAR_SUFFIX) for n in entries if n.endswith(SIDECAR_SUFFIX)}
    any_sidecar, strays = bool(explained), 0
    first_stray = len(tree.unexplained)
    for name, entry in sorted(entries.items()):
        path = Path(entry.path)
        if name.endswith(SIDECAR_SUFFIX) and not name.startswith("."):
            tree.sidecars.append(path)
        elif name in explained or name.startswith(".") or name.endswith(IGNORED_SUFFIXES):
            continue
        elif entry.is_dir(follow_symlinks=False):
            if top and name in IGNORED_FOLDERS:
                continue
            below, n = walk_results(path, tree)
            any_sidecar, strays = any_sidecar or below, strays + n
        else:
            tree.unexplained.append((path, 1))
            strays += 1
    if strays and not any_sidecar and not top:
        tree.unexplained[first_stray:] = [(folder, strays)]
    return any_sidecar, strays


def read_sidecar(sidecar: Path, artifact: Path, base: Path) -> tuple[str | None, dict | None]:
    """What is wrong with a sidecar, and the record as far as it can be used."""
    try:
        record: Any = read_json(sidecar)
    except (OSError, ValueError) as error:
        return f"cannot be read as JSON ({error})".replace("\n", " "), None
    if not isinstance(record, dict) or record.get("artneuro_provenance") != 1:
        return "is not a provenance sidecar of version 1", None
    for key, kind in REQUIRED.items():
        if not isinstance(record.get(key), kind) or (key not in record):
            return f"has no valid entry {key!r}", None
    for entry in record["inputs"]:
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(k), str) for k in ("path", "sha256")
        ):
            return "has a malformed list of inputs", None
    if Path(os.path.abspath(base / record["artifact"])) != artifact:
        return f"is the sidecar of {record['artifact']}, not of the file beside it", record
    if sidecar_seal(record) != record["record_sha256"]:
        return "was edited or damaged after it was written", record
    return None, record


@dataclass(frozen=True)
class FileState:
    """What an artifact is now; one that was only for a while may be gone, and is as recorded."""

    sha256: str = ""
    bytes: int = 0
    missing: bool = False
    error: str | None = None
    is_gone: bool = False


def hash_all(paths: list[Path], threads: int | None) -> dict[Path, FileState]:
    """Hash every path once, and every file once even where it is reached by two paths.

    Files are spread over threads, so that one large store is not the work of a single core.
    """
    files: dict[Path, list[Path]] = {}
    states: dict[Path, FileState] = {}
    for path in dict.fromkeys(paths):
        if path.exists():
            files[path] = content_files(path)
        else:
            states[path] = FileState(missing=True)
    distinct = list(dict.fromkeys(f for group in files.values() for f in group))

    def read(file: Path) -> tuple[str, int] | OSError:
        try:
            return sha256_file(file), file.stat().st_size
        except OSError as error:
            return error

    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        hashed = dict(zip(distinct, pool.map(read, distinct), strict=True))
    for path, group in files.items():
        done = {f: h for f in group if not isinstance(h := hashed[f], OSError)}
        failed = [h for f in group if isinstance(h := hashed[f], OSError)]
        if failed:
            states[path] = FileState(error=f"cannot be read ({failed[0].strerror})")
            continue
        states[path] = FileState(
            combine_sha256(path, {f: sha for f, (sha, _) in done.items()}),
            sum(size for _, size in done.values()),
        )
    return states


def is_temporary(record: Mapping[str, Any] | None) -> bool:
    """Whether a sidecar is of what Snakemake deletes once the results made from it are there."""
    return record is not None and record.get("temporary") is True


def settle_temporary(
    states: dict[Path, FileState], records: Mapping[Path, Mapping[str, Any] | None]
) -> None:
    """Let temporary artifacts that are gone count as what their sidecars say that they were."""
    for path, record in records.items():
        if record is not None and is_temporary(record) and states[path].missing:
            states[path] = FileState(record["sha256"], record["bytes"], is_gone=True)
