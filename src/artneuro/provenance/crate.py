"""A Workflow Run RO-Crate of results: what was made, how, by what, from what, under which licence.

The crate follows the Provenance Run Crate profile, which is the Workflow Run Crate with an action
for every job. It holds the workflow, the config, all single-file artifacts and every sidecar;
folders (stores, weights, fetched packages) are described with their hashes, and left where they
are: they are large, and what was fetched is often not ours to hand on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import SIDECAR_SUFFIX, atomic_directory, sidecar_path
from artneuro.core.errors import DataError
from artneuro.provenance.audit import audit
from artneuro.provenance.crate_entities import CrateBuilder
from artneuro.provenance.crate_texts import CrateOptions
from artneuro.provenance.graph import Artifact, read_artifact
from artneuro.provenance.planned import recorded_configfiles
from artneuro.provenance.tree import ResultsTree, walk_results, workdir_of

# What of the checkout makes up the workflow.
WORKFLOW_FILES = (
    "Snakefile", "workflow/**/*", "src/**/*", "envs/*", "profiles/**/*", "resources/*.yaml",
    "pyproject.toml", "README.md", "LICENSE", "CITATION.cff",
)  # fmt: skip
DEFAULT_CONFIG = "config/config.yaml"


@dataclass(frozen=True)
class CrateSummary:
    """What was exported: counts, and the audit's hashes of the whole."""

    folder: Path
    files: int
    jobs: int
    entities: int
    bytes: int
    contents: str
    seal: str

    def __str__(self) -> str:
        return (
            f"crate: {self.folder}: {self.files:,} files with {self.bytes / 1e6:,.1f} MB, "
            f"{self.jobs:,} jobs, {self.entities:,} entities; seal {self.seal}"
        )


def export_crate(
    results: str | Path,
    out: str | Path,
    options: CrateOptions | None = None,
    workdir: str | Path | None = None,
    workflow: str | Path | None = None,
    compare: bool = False,
    configfiles: Iterable[str | Path] = (),
    threads: int | None = None,
) -> CrateSummary:
    """Write a crate of results that fit their sidecars.

    Parameters
    ----------
    results : path
        The folder of results.
    out : path
        Folder to write; it must not exist, or be empty. It appears whole or not at all.
    options : CrateOptions, optional
        What only a person can say: title, author, licence.
    workdir : path, optional
        The folder that recorded paths are relative to. Default: the one that holds `results/`.
    workflow : path, optional
        The folder of the workflow. Default: the folder that holds `results/`.
    compare : bool
        Whether the audit compares the results with the config, which runs the workflow's code.
    configfiles : iterable of path, optional
        The config. Default: that of the last job by its sidecar, else the workflow's own.
    threads : int, optional
        Files hashed at the same time.

    Returns
    -------
    CrateSummary

    Raises
    ------
    DataError
        If the audit finds anything, there are no results, or `out` is not empty.
    """
    target = Path(os.path.abspath(out))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            "the folder of the crate is not empty", where=str(out), fix="name a new folder"
        )
    folder = Path(os.path.abspath(results))
    base = Path(os.path.abspath(workdir)) if workdir is not None else workdir_of(folder)
    root = Path(os.path.abspath(workflow)) if workflow is not None else base
    if not (root / "Snakefile").is_file():
        raise DataError(
            "there is no workflow to put into the crate",
            where=str(root),
            fix="name the folder that holds its Snakefile by --root",
        )
    report = audit(
        results,
        workdir=workdir,
        threads=threads,
        root=root if compare else None,
        configfiles=configfiles,
    )
    if not report.ok:
        raise DataError(
            f"the results do not fit: {report.summary()}",
            where=str(results),
            fix="`artneuro audit` names each and says what to do",
        )
    artifacts = _artifacts(folder, base)
    if not artifacts:
        raise DataError(
            "there are no results with sidecars", where=str(results), fix="run snakemake first"
        )
    records = [a.record for a in artifacts.values() if a.record]
    configs = [os.path.abspath(f) for f in configfiles] or recorded_configfiles(records)
    found = [base / f for f in configs] or [root / DEFAULT_CONFIG]

    builder = CrateBuilder(base, root, artifacts, options or CrateOptions())
    builder.add_workflow(_workflow_files(root), [f for f in found if f.is_file()])
    builder.add_artifacts()
    builder.add_jobs()
    builder.add_run(report.contents, report.seal)
    crate = builder.finish()

    with atomic_directory(target) as written:
        crate.write(written)
        for artifact in artifacts.values():
            _copy_sidecar(artifact, base, written)
    files = [p for p in target.rglob("*") if p.is_file()]
    return CrateSummary(
        folder=Path(out),
        files=len(files),
        jobs=len(builder.jobs),
        entities=len(list(crate.get_entities())),
        bytes=sum(p.stat().st_size for p in files),
        contents=report.contents,
        seal=report.seal,
    )


def _artifacts(folder: Path, base: Path) -> dict[Path, Artifact]:
    """All artifacts with sidecars of these results and of what was fetched for them."""
    tree = ResultsTree()
    walk_results(folder, tree, top=True)
    fetched = base / "resources" / "fetched"
    if folder == base / "results" and fetched.is_dir():
        walk_results(fetched, tree, top=True)
    paths = [s.with_name(s.name.removesuffix(SIDECAR_SUFFIX)) for s in tree.sidecars]
    return {p: read_artifact(p, base) for p in sorted(paths)}


def _workflow_files(root: Path) -> list[Path]:
    found: dict[Path, Any] = {}
    for pattern in WORKFLOW_FILES:
        for path in sorted(root.glob(pattern)):
            parts = path.relative_to(root).parts
            hidden = any(
                p.startswith(".") or p.endswith(("__pycache__", ".egg-info")) for p in parts
            )
            if path.is_file() and not hidden:
                found[path] = None
    return list(found)


def _copy_sidecar(artifact: Artifact, base: Path, crate: Path) -> None:
    """Put the sidecar beside where its artifact is, or would be: trace and diff read it there."""
    sidecar = sidecar_path(artifact.path)
    copied = crate / sidecar.relative_to(base)
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sidecar, copied)
