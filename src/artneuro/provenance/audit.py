"""Do the artifacts still fit what their sidecars say?

Every artifact has a sidecar `<artifact>.prov.json` with its hash, the hashes of what it was made
from, and the job that made it. The audit hashes everything again and lists what does not fit. It
finds damage, edits and forgotten files; it is no protection against someone who rewrites artifacts
and sidecars alike.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import SIDECAR_SUFFIX, read_json
from artneuro.core.errors import DataError
from artneuro.core.hashing import combine_sha256, content_files, sha256_file
from artneuro.core.job import sidecar_seal

# What Snakemake and unfinished jobs write beside artifacts, and nobody takes for a result.
IGNORED_FOLDERS = ("logs", "benchmarks")
IGNORED_SUFFIXES = (".log", ".benchmark.tsv", ".benchmark.txt", ".lock", ".parts")

# Each kind of finding, with what the user can do about it. The artifact is named as a target
# because Snakemake makes a missing intermediate result again only where it is asked for.
_REMAKE = "run `snakemake {artifact}`, then `snakemake` for what is made from it"
FIXES = {
    "missing": f"{_REMAKE}; or delete its sidecar if it is not wanted",
    "changed": f"delete it and {_REMAKE}",
    "unexplained": f"delete it, and if a rule makes it {_REMAKE}",
    "bad_sidecar": f"delete the artifact and {_REMAKE}",
    "input_missing": f"restore the input, or delete this and {_REMAKE}",
    "input_changed": f"run `snakemake`; if it plans nothing, delete this and {_REMAKE}",
    "unreadable": "check the permissions and the disk",
}

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


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that does not fit: its kind (a key of `FIXES`), where, and what exactly."""

    path: str
    kind: str
    detail: str

    @property
    def fix(self) -> str:
        """What to do about it."""
        return FIXES[self.kind].format(artifact=self.path.removesuffix(SIDECAR_SUFFIX))

    def __str__(self) -> str:
        return f"{self.kind:<13}  {self.path}: {self.detail}; {self.fix}"


@dataclass(frozen=True)
class AuditReport:
    """What an audit looked at and found.

    Attributes
    ----------
    findings : list of Finding
        What does not fit, sorted by path.
    artifacts : int
        Artifacts with a sidecar that were hashed again.
    inputs : int
        Recorded inputs that were compared.
    bytes : int
        Bytes that were read.
    """

    findings: list[Finding] = field(default_factory=list)
    artifacts: int = 0
    inputs: int = 0
    bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return not self.findings

    def summary(self) -> str:
        """One line with the counts."""
        checked = (
            f"{self.artifacts} artifacts and {self.inputs} recorded inputs checked, "
            f"{self.bytes / 1e6:,.1f} MB read"
        )
        if self.ok:
            return f"audit: {checked}: everything fits"
        kinds = [f.kind for f in self.findings]
        counts = ", ".join(f"{kinds.count(k)} {k}" for k in FIXES if k in kinds)
        return f"audit: {checked}: {len(kinds)} things do not fit ({counts})"

    def to_json(self) -> str:
        """The report as JSON: `ok`, the counts, and `findings` with kind, path, detail, fix."""
        findings = [{**asdict(f), "fix": f.fix} for f in self.findings]
        return json.dumps({"ok": self.ok, **asdict(self), "findings": findings}, indent=2)


@dataclass
class ResultsTree:
    """What lies in the audited folders: sidecars, and what no sidecar explains."""

    sidecars: list[Path] = field(default_factory=list)
    unexplained: list[tuple[Path, int]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def audit(
    results: str | Path, workdir: str | Path | None = None, threads: int | None = None
) -> AuditReport:
    """Compare artifacts with their sidecars, and recorded inputs with what they are now.

    Parameters
    ----------
    results : path
        The folder to audit. Where it is the whole of `results/`, `resources/fetched/` beside it is
        audited too.
    workdir : path, optional
        The folder that recorded paths are relative to. Default: the one that holds `results/`.
    threads : int, optional
        Files hashed at the same time. Default: one for each core, at most 8.

    Returns
    -------
    AuditReport
        `report.ok` says whether everything fits.

    Raises
    ------
    DataError
        If `results` is not a folder.
    """
    folder = Path(os.path.abspath(results))
    if not folder.is_dir():
        raise DataError(
            "there is no such folder of results to audit",
            where=str(results),
            fix="run snakemake first, or give the folder that holds its results",
        )
    base = Path(os.path.abspath(workdir)) if workdir is not None else workdir_of(folder)
    roots = [folder]
    fetched = base / "resources" / "fetched"
    if folder == base / "results" and fetched.is_dir():
        roots.append(fetched)

    tree = ResultsTree()
    for root in roots:
        walk_results(root, tree, top=True)
    findings: list[Finding] = []

    def find(kind: str, path: Path, detail: str) -> None:
        findings.append(Finding(shown_path(path, base), kind, detail))

    for path, n in tree.unexplained:
        find("unexplained", path, "no sidecar says where it is from" + _count(n))
    for path, reason in tree.unreadable:
        find("unreadable", path, reason)

    records: dict[Path, dict] = {}
    for sidecar in tree.sidecars:
        artifact = sidecar.with_name(sidecar.name.removesuffix(SIDECAR_SUFFIX))
        problem, record = read_sidecar(sidecar, artifact, base)
        if not os.path.lexists(artifact):
            find("missing", artifact, "it has a sidecar but is gone")
        elif record is not None:
            records[artifact] = record
        if problem:
            find("bad_sidecar", sidecar, problem)

    recorded = [(a, base / i["path"], i) for a, r in records.items() for i in r["inputs"]]
    current = hash_all([*records, *(path for _, path, _ in recorded)], threads)

    for artifact, record in records.items():
        state = current[artifact]
        if state.error:
            find("unreadable", artifact, state.error)
        elif state.bytes != record["bytes"]:
            find("changed", artifact, f"{state.bytes:,} bytes instead of {record['bytes']:,}")
        elif state.sha256 != record["sha256"]:
            find("changed", artifact, "same size, but other content than when it was made")
    for artifact, path, entry in recorded:
        state = current[path]
        if state.missing:
            find("input_missing", artifact, f"was made from {entry['path']}, which is gone")
        elif state.error:
            find("unreadable", path, state.error)
        elif state.sha256 != entry["sha256"]:
            find("input_changed", artifact, f"was made from another version of {entry['path']}")

    return AuditReport(
        findings=sorted(set(findings)),
        artifacts=len(records),
        inputs=len(recorded),
        bytes=sum(state.bytes for state in current.values()),
    )


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


def _count(n: int) -> str:
    return f" ({n} files)" if n > 1 else ""


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
    """What an artifact is now."""

    sha256: str = ""
    bytes: int = 0
    missing: bool = False
    error: str | None = None


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
