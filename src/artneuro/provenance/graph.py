"""What was made from what: the graph that sidecars describe, from an artifact back to sources."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import SIDECAR_SUFFIX, read_json, sidecar_path
from artneuro.core.errors import DataError
from artneuro.core.hashing import sha256_json
from artneuro.provenance.tree import read_sidecar, shown_path, workdir_of

# Entries of a sidecar that are of one artifact; the others are of the job that made it.
OF_ARTIFACT = ("artneuro_provenance", "artifact", "sha256", "bytes", "stat", "record_sha256")
# Entries of the job that every sidecar has; what else there is was noted by the job's script.
OF_JOB = (
    "rule", "wildcards", "config", "configfiles", "code", "inputs", "git", "lock_sha256",
    "versions", "machine", "threads", "started", "ended",
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """What an artifact was made from: where it lies, and its hash at that time.

    The hash is None for the folder that a single file is a part of.
    """

    path: Path
    sha256: str | None


@dataclass(frozen=True)
class Artifact:
    """A file or folder with what its sidecar says.

    Attributes
    ----------
    path : Path
        Where it lies, absolute.
    shown : str
        Its path relative to the folder of the workflow.
    record : dict or None
        The sidecar; None where there is none or it cannot be used.
    problem : str or None
        What is wrong with the sidecar.
    has_sidecar : bool
        Whether there is a sidecar, usable or not.
    inputs : tuple of Input
        What it was made from, in the order of the rule.
    """

    path: Path
    shown: str
    record: dict[str, Any] | None
    problem: str | None
    has_sidecar: bool
    inputs: tuple[Input, ...]

    @property
    def is_part(self) -> bool:
        """Whether it is a file inside a folder that has the sidecar."""
        return any(i.sha256 is None for i in self.inputs)

    @property
    def job(self) -> str:
        """An id of the job: the same for all outputs of one job, and of no other."""
        if self.record is None:
            return self.shown
        return sha256_json({k: v for k, v in self.record.items() if k not in OF_ARTIFACT})[:12]

    @property
    def noted(self) -> dict[str, Any]:
        """What the job's script added to the sidecar (seed, device, counts)."""
        known = (*OF_ARTIFACT, *OF_JOB)
        return {k: v for k, v in (self.record or {}).items() if k not in known}


def find_artifact(path: str | Path) -> Path:
    """The absolute path of the artifact that `path` names; its sidecar may be named too.

    Raises
    ------
    DataError
        If there is neither such an artifact nor a sidecar of one.
    """
    artifact = Path(os.path.abspath(path))
    if artifact.name.endswith(SIDECAR_SUFFIX):
        artifact = artifact.with_name(artifact.name.removesuffix(SIDECAR_SUFFIX))
    if not os.path.lexists(artifact) and not os.path.lexists(sidecar_path(artifact)):
        raise DataError(
            "there is no such artifact, and no sidecar of one",
            where=str(path),
            fix="give a file or store below results/, or make it with `snakemake PATH`",
        )
    return artifact


def base_of(artifact: Path, workdir: str | Path | None) -> Path:
    """The folder that recorded paths are relative to: `workdir`, or the one above results/."""
    return Path(os.path.abspath(workdir)) if workdir is not None else workdir_of(artifact)


def read_artifact(path: Path, base: Path) -> Artifact:
    """What the sidecar of one artifact says.

    Parameters
    ----------
    path : Path
        The artifact, absolute; it need not exist.
    base : Path
        The folder that recorded paths are relative to.
    """
    sidecar, shown = sidecar_path(path), shown_path(path, base)
    if os.path.lexists(sidecar):
        problem, record = read_sidecar(sidecar, path, base)
        recorded = record["inputs"] if record else []
        inputs = [Input(Path(os.path.abspath(base / i["path"])), i["sha256"]) for i in recorded]
        return Artifact(path, shown, record, problem, True, tuple(dict.fromkeys(inputs)))
    folders = (p for p in path.parents if base in p.parents)
    whole = next((p for p in folders if sidecar_path(p).is_file()), None)
    inside = () if whole is None else (Input(whole, None),)
    return Artifact(path, shown, None, None, False, inside)


def recorded_sha256(path: str | Path) -> str:
    """SHA-256 of an artifact as its sidecar has it; empty where there is none."""
    try:
        record = read_json(sidecar_path(path))
    except (OSError, ValueError):
        return ""
    return str(record.get("sha256", "")) if isinstance(record, dict) else ""


def read_ancestors(path: Path, base: Path) -> dict[Path, Artifact]:
    """An artifact and everything that it came from, nearest first; each is read once."""
    found: dict[Path, Artifact] = {}
    waiting = deque([path])
    while waiting:
        if (next_path := waiting.popleft()) not in found:
            found[next_path] = read_artifact(next_path, base)
            waiting.extend(i.path for i in found[next_path].inputs)
    return found


def in_cycles(artifacts: dict[Path, Artifact]) -> list[Path]:
    """Those artifacts that came from themselves, by any number of steps, or were made of such.

    Only forged or damaged sidecars say so.
    """
    left = {p: {i.path for i in a.inputs} for p, a in artifacts.items()}
    uses: dict[Path, list[Path]] = {p: [] for p in artifacts}
    for path, inputs in left.items():
        for used in inputs:
            uses[used].append(path)
    ready = [p for p, inputs in left.items() if not inputs]
    while ready:
        done = ready.pop()
        del left[done]
        for user in uses[done]:
            left[user].discard(done)
            if not left[user]:
                ready.append(user)
    # What is left is in a cycle or was made from one; drop what nothing left was made from.
    while True:
        inner = {i for inputs in left.values() for i in inputs}
        outside = [p for p in left if p not in inner]
        if not outside:
            return list(left)
        for path in outside:
            del left[path]


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested values with their paths: `a.b`, `a.0.b`. Plain lists are leaves.

    A key that holds a point, or nothing, is quoted, so that no two paths are alike.
    """
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        value = {str(i): v for i, v in enumerate(value)}
    if not isinstance(value, dict) or (not value and prefix):
        yield prefix, value
        return
    for key, inner in value.items():
        name = json.dumps(key, ensure_ascii=False) if "." in key or not key else key
        yield from flatten(inner, f"{prefix}.{name}" if prefix else name)


def dict_of(record: dict[str, Any], key: str) -> dict[str, Any]:
    """An entry that is a dict in every sound sidecar; an empty one where it is not."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def as_text(value: Any, length: int = 100) -> str:
    """A value as JSON on one line, cut to `length` characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str) -> str:
    """A text without the control characters that a file's name may hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def git_text(record: dict[str, Any]) -> str:
    """The commit of a job: `0123456789ab`, with what else is to be known of it."""
    git = dict_of(record, "git")
    commit = git.get("commit")
    if not commit:
        return "no git commit recorded"
    return f"git {str(commit)[:12]}" + (" with uncommitted changes" if git.get("dirty") else "")


def count(n: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
