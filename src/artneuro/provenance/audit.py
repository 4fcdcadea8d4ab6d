"""Do the artifacts still fit what their sidecars say?

Every artifact has a sidecar `<artifact>.prov.json` with its hash, the hashes of what it was made
from, and the job that made it. The audit hashes everything again and lists what does not fit, and
compares the sidecars with the jobs that the config asks for. It finds damage, edits, forgotten and
left-over files; who rewrites artifacts and sidecars alike is found only by the hash of the whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import SIDECAR_SUFFIX
from artneuro.core.errors import DataError
from artneuro.core.hashing import sha256_json
from artneuro.core.job import sidecar_seal
from artneuro.provenance.planned import compare_with_plan, read_plan, recorded_configfiles
from artneuro.provenance.tree import (
    FileState,
    ResultsTree,
    hash_all,
    is_temporary,
    read_sidecar,
    settle_temporary,
    shown_path,
    walk_results,
    workdir_of,
)

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
    "orphaned": "delete it and its sidecar, or ask for it in the config again",
    "outdated": f"run `snakemake`; if it plans nothing, delete this and {_REMAKE}",
    "unmade": "run `snakemake`",
    "unexpected": "get the published results again and compare with `artneuro diff`",
}

# So short a beginning of a hash is as good as the whole one, as long as nobody forges it.
SHORTEST = 12


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
    planned : int or None
        Jobs that the config asks for; None if the sidecars were not compared with them.
    contents, seal : str
        Hash of all artifacts with their paths, and of all artifacts with their sidecars.
    """

    findings: list[Finding] = field(default_factory=list)
    artifacts: int = 0
    inputs: int = 0
    bytes: int = 0
    planned: int | None = None
    contents: str = ""
    seal: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return not self.findings

    def summary(self) -> str:
        """One line with the counts."""
        plan = "" if self.planned is None else f"; compared with {self.planned} jobs of the config"
        checked = (
            f"{self.artifacts} artifacts and {self.inputs} recorded inputs checked, "
            f"{self.bytes / 1e6:,.1f} MB read{plan}"
        )
        if self.ok:
            return f"audit: {checked}: everything fits"
        kinds = [f.kind for f in self.findings]
        counts = ", ".join(f"{kinds.count(k)} {k}" for k in FIXES if k in kinds)
        return f"audit: {checked}: {len(kinds)} things do not fit ({counts})"

    def to_text(self) -> str:
        """The findings, the hashes of the whole, and the counts."""
        hashes = [f"contents {self.contents}", f"seal     {self.seal}"]
        return "\n".join([*map(str, self.findings), *hashes, self.summary()])

    def to_json(self) -> str:
        """The report as JSON: `ok`, the counts, and `findings` with kind, path, detail, fix."""
        findings = [{**asdict(f), "fix": f.fix} for f in self.findings]
        return json.dumps({"ok": self.ok, **asdict(self), "findings": findings}, indent=2)


def audit(
    results: str | Path,
    workdir: str | Path | None = None,
    threads: int | None = None,
    root: str | Path | None = None,
    configfiles: Iterable[str | Path] = (),
    expect: str | None = None,
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
    root : path, optional
        The folder of a workflow. If it is given, the sidecars are compared with the jobs that the
        config asks for, too. This runs code of that folder.
    configfiles : iterable of path, optional
        The config, for the comparison. Default: that of the last job by its sidecar.
    expect : str, optional
        A hash of the whole, or its beginning, that an earlier audit printed.

    Returns
    -------
    AuditReport
        `report.ok` says whether everything fits.

    Raises
    ------
    DataError
        If `results` is not a folder, or `expect` is no hash.
    ConfigError
        If there is no plan to compare with.
    """
    folder = Path(os.path.abspath(results))
    if not folder.is_dir():
        raise DataError(
            "there is no such folder of results to audit",
            where=str(results),
            fix="run snakemake first, or give the folder that holds its results; "
            "`artneuro trace` checks a single artifact",
        )
    if expect is not None and (len(expect) < SHORTEST or set(expect) - set("0123456789abcdef")):
        raise DataError(
            f"a hash to expect has at least {SHORTEST} of its 64 digits, 0 to 9 and a to f",
            where=expect,
            fix="give what an audit printed behind `contents` or `seal`",
        )
    base = Path(os.path.abspath(workdir)) if workdir is not None else workdir_of(folder)
    roots = [folder]
    fetched = base / "resources" / "fetched"
    if folder == base / "results" and fetched.is_dir():
        roots.append(fetched)

    tree = ResultsTree()
    for path in roots:
        walk_results(path, tree, top=True)
    findings: list[Finding] = []

    def find(kind: str, path: Path, detail: str) -> None:
        findings.append(Finding(shown_path(path, base), kind, detail))

    for path, n in tree.unexplained:
        find("unexplained", path, "no sidecar says where it is from" + _count(n))
    for path, reason in tree.unreadable:
        find("unreadable", path, reason)

    records: dict[Path, dict[str, Any]] = {}
    gone: set[Path] = set()
    for sidecar in tree.sidecars:
        artifact = sidecar.with_name(sidecar.name.removesuffix(SIDECAR_SUFFIX))
        problem, record = read_sidecar(sidecar, artifact, base)
        if not os.path.lexists(artifact) and not is_temporary(record):
            gone.add(artifact)
            find("missing", artifact, "it has a sidecar but is gone")
        elif record is not None:
            records[artifact] = record
        if problem:
            find("bad_sidecar", sidecar, problem)

    recorded = [(a, base / i["path"], i) for a, r in records.items() for i in r["inputs"]]
    current = hash_all([*records, *(path for _, path, _ in recorded)], threads)
    settle_temporary(current, records)

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

    planned = None
    if root is not None:
        given = [os.path.abspath(f) for f in configfiles]
        files = given or recorded_configfiles(records.values())
        plan = read_plan(Path(root), base, files)
        planned = len(plan)
        for kind, path, detail in compare_with_plan(plan, records, base):
            # What is missing is told already, and a part of the results is asked for no others.
            if path not in gone and any(r in path.parents for r in roots):
                find(kind, path, detail)

    contents, seal = hashes_of_whole(records, current, base)
    if expect is not None and not (contents.startswith(expect) or seal.startswith(expect)):
        find("unexpected", folder, f"neither contents nor seal begins with {expect}")
    return AuditReport(
        findings=sorted(set(findings)),
        artifacts=len(records),
        inputs=len(recorded),
        bytes=sum(state.bytes for state in current.values() if not state.is_gone),
        planned=planned,
        contents=contents,
        seal=seal,
    )


def hashes_of_whole(
    records: dict[Path, dict[str, Any]], current: dict[Path, FileState], base: Path
) -> tuple[str, str]:
    """One hash of all artifacts as they are now, and one of them with all that sidecars say."""
    paths = sorted((shown_path(p, base), p) for p in records)
    contents = [[shown, current[p].sha256] for shown, p in paths]
    sealed = [[shown, current[p].sha256, sidecar_seal(records[p])] for shown, p in paths]
    return sha256_json(contents), sha256_json(sealed)


def _count(n: int) -> str:
    return f" ({n} files)" if n > 1 else ""
