"""A new lock file asks: it says what changed and what to type, and reruns nothing by itself.

Versions of packages are in no rule's params: an update of, say, a plotting library would else
compute everything anew. Instead each sidecar records the hash of the lock that its artifact was
made with, and `results/requirements.lock` is the lock that the results as a whole stand for. Where
the workflow's own lock is another one and there are artifacts of another one, every call of
Snakemake says so until they are made again or the user copies the new lock there.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artneuro.core.artifacts import SIDECAR_SUFFIX, write_text
from artneuro.core.errors import ArtneuroError
from artneuro.core.hashing import sha256_file
from artneuro.core.job import RECORDED_VERSIONS

log = logging.getLogger(__name__)

LOCK = "envs/requirements.lock"
ACCEPTED = "requirements.lock"  # in the folder of results; the audit passes over such names
CHANGES_SHOWN = 12

# Sidecars are many and long; the hash is looked for in their text.
_RECORDED = re.compile(rb'"lock_sha256":\s*(?:"([0-9a-f]+)"|null)')


@dataclass(frozen=True)
class Change:
    """A package whose version differs between two locks; None where one of them lacks it."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.name} {self.new} is new"
        if self.new is None:
            return f"{self.name} {self.old} is gone"
        return f"{self.name} {self.old} -> {self.new}"


@dataclass(frozen=True)
class LockState:
    """How the artifacts of a folder of results stand to the workflow's lock file.

    Attributes
    ----------
    lock : Path
        The workflow's lock file.
    accepted : Path
        The lock that the results stand for; it may not exist.
    artifacts : int
        Artifacts that were looked at; none where the two locks are the same.
    outdated : int
        Those of them that were made with another lock.
    changes : tuple of Change
        What is different now: first libraries that results depend on, then the others.
    """

    lock: Path
    accepted: Path
    artifacts: int = 0
    outdated: int = 0
    changes: tuple[Change, ...] = ()

    @property
    def asks(self) -> bool:
        """Whether there is something to decide."""
        return self.outdated > 0


def read_lock(text: str) -> dict[str, str]:
    """Versions in a lock file by name; comments and empty lines are left out."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, version in pairs}


def lock_state(root: str | Path, results: str | Path) -> LockState:
    """Compare the lock of the workflow in `root` with what `results` were made with.

    Nothing is read but the two locks while they are the same.

    Parameters
    ----------
    root : path
        The folder of the workflow.
    results : path
        The folder of results.
    """
    lock, accepted = Path(root) / LOCK, Path(results) / ACCEPTED
    new, old = _text(lock), _text(accepted)
    if new is None or new == old:
        return LockState(lock, accepted)
    current = sha256_file(lock)
    hashes, example = _recorded_locks(Path(results), current)
    outdated = sum(n for sha256, n in hashes.items() if sha256 != current)
    changes: tuple[Change, ...] = ()
    if outdated:
        after = read_lock(new)
        if old is not None:
            before = read_lock(old)
        else:
            # Without the old lock there are still the versions of some libraries in the sidecars.
            before = {n: v for n, v in _recorded_versions(example).items() if n in after}
            after = {name: after[name] for name in before}
        changes = tuple(_changes(before, after))
    return LockState(lock, accepted, hashes.total(), outdated, changes)


def lock_question(state: LockState, uses_conda: bool = False) -> str | None:
    """What to tell the user: the reason, and what to type. None where nothing is to be decided.

    Parameters
    ----------
    state : LockState
        What `lock_state` found.
    uses_conda : bool, optional
        Whether jobs run in an environment that Snakemake makes from the lock, so that what is
        installed here does not matter.
    """
    if not state.asks:
        return None
    lock, accepted = (os.path.relpath(path) for path in (state.lock, state.accepted))
    lines = [
        f"{lock} has changed: {state.outdated:,} of {state.artifacts:,} artifacts were made with "
        "another version of it."
    ]
    lines += [f"  {change}" for change in state.changes[:CHANGES_SHOWN]]
    if len(state.changes) > CHANGES_SHOWN:
        lines.append(f"  and {len(state.changes) - CHANGES_SHOWN} more")
    if not state.changes:
        lines.append("  No version of a library that artifacts record differs.")
    behind = [] if uses_conda else list(_not_installed(state.changes))
    if behind:
        lines.append(f"  Not installed yet here: {', '.join(behind)}; `make env` does it.")
    lines += [
        "Nothing is made again because of that. Whether it should be is yours to say:",
        "  make everything again:  snakemake --cores all --forceall",
        "  only, for example, the probes and what follows from them:",
        "                          snakemake --cores all --forcerun fit_probes",
        f"  keep what is there:     cp {lock} {accepted}",
        "Until then this is shown at every call, and new artifacts get the new versions.",
    ]
    return "\n".join(lines)


def record_lock(root: str | Path, results: str | Path) -> None:
    """Let the results stand for the workflow's lock, if all their artifacts were made with it.

    Called when a run starts and when it has ended: a first run and one that has made everything
    again need no answer. That this cannot be written is no reason to stop.
    """
    state = lock_state(root, results)
    text = _text(state.lock)
    if text is None or state.asks or text == _text(state.accepted):
        return
    try:
        write_text(text, state.accepted)
    except (OSError, ArtneuroError) as error:
        log.debug("cannot write %s: %s", state.accepted, error)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _sidecars(folder: Path) -> Iterator[Path]:
    """The sidecars below `folder`; what lies inside an artifact is not looked through."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(SIDECAR_SUFFIX):
            yield Path(entry.path)
        elif entry.name + SIDECAR_SUFFIX not in names and entry.is_dir(follow_symlinks=False):
            yield from _sidecars(Path(entry.path))


def _recorded_locks(results: Path, current: str) -> tuple[Counter[str | None], Path | None]:
    """Artifacts by the hash of their lock, and the latest sidecar with another than `current`."""
    found: Counter[str | None] = Counter()
    latest: tuple[float, Path] | None = None
    for path in _sidecars(results):
        try:
            data, time = path.read_bytes(), path.stat().st_mtime
        except OSError:
            continue
        if match := _RECORDED.search(data):
            sha256 = match.group(1).decode() if match.group(1) else None
            found[sha256] += 1
            if sha256 != current and (latest is None or time > latest[0]):
                latest = time, path
    return found, latest[1] if latest else None


def _recorded_versions(sidecar: Path | None) -> dict[str, str]:
    try:
        versions = json.loads(sidecar.read_bytes())["versions"] if sidecar else {}
        return {str(name): str(version) for name, version in versions.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _changes(old: dict[str, str], new: dict[str, str]) -> Iterable[Change]:
    """Packages that differ, libraries that results depend on first; builds are not told apart."""
    names = sorted({*old, *new}, key=lambda name: (name not in RECORDED_VERSIONS, name))
    for name in names:
        before, after = ((v[name].split("+")[0] if name in v else None) for v in (old, new))
        if before != after:
            yield Change(name, before, after)


def _not_installed(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        try:
            here = importlib.metadata.version(change.name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if change.new is not None and here != change.new:
            yield f"{change.name} {change.new}"
