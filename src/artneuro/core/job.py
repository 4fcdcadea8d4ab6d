"""A job of the pipeline: paths in, one call, artifacts with their provenance out."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
import traceback
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import read_json, remove_sidecar, sidecar_path, write_json
from artneuro.core.errors import ArtneuroError, CodeError
from artneuro.core.hashing import content_files, sha256_file, sha256_json, sha256_path, size_of
from artneuro.core.logs import log_to

log = logging.getLogger(__name__)

RECORDED_VERSIONS = (
    "artneuro", "snakemake", "torch", "transformers", "tokenizers", "numpy", "scipy",
    "scikit-learn", "zarr", "polars", "pyarrow", "dask", "numba", "matplotlib",
)  # fmt: skip


class Job:
    """Context of one workflow script: log file, timing, and a sidecar for each output.

    The script hands over Snakemake's job object, of which only paths and parameters are read, so
    that this package needs no Snakemake. On an error the traceback goes to the job's log and the
    error is raised again: Snakemake then deletes the outputs.

    Attributes
    ----------
    input, output, wildcards
        As Snakemake names them.
    cfg : dict
        The rule's slice of the config.
    threads : int
        Cores of the job.
    """

    def __init__(self, snakemake: Any) -> None:
        self.rule: str = snakemake.rule
        self.input, self.output = snakemake.input, snakemake.output
        self.wildcards, self.threads = snakemake.wildcards, int(snakemake.threads)
        self.cfg: dict = snakemake.params.cfg
        self.code: dict[str, str] = snakemake.params.code
        whole = dict(snakemake.config)
        self.compute: dict = whole.get("compute", {})
        self.configfiles: list[str] = list(whole.get("configfiles", []))
        self.root = find_root(Path(snakemake.scriptdir))
        self.extra: dict[str, Any] = {}
        self._log_path = snakemake.log[0] if snakemake.log else None

    def note(self, **facts: Any) -> None:
        """Add facts (device, seed, revision of a model) to the sidecars of this job."""
        self.extra.update(facts)

    def __enter__(self) -> Job:
        log_to(self._log_path)
        self.started = _now()
        try:
            for output in self.output:
                remove_sidecar(output)
            log.info("%s %s", self.rule, dict(self.wildcards))
            check_package(self.root)
            # Before the work, so that an input that changes during it does not pass the audit.
            self.inputs = [{"path": str(p), "sha256": known_sha256(p)} for p in self.input]
        except BaseException as error:
            self._log_error(error)
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            self._log_error(error)
            return
        try:
            record = self._record()
            for output in self.output:
                write_sidecar(output, record)
        except BaseException as problem:
            # Snakemake deletes the outputs of a job that fails, but knows nothing of sidecars.
            for output in self.output:
                remove_sidecar(output)
            self._log_error(problem)
            raise
        log.info("%s done in %.1f s", self.rule, (_now() - self.started).total_seconds())

    def _log_error(self, error: BaseException) -> None:
        if isinstance(error, ArtneuroError):
            log.error("%s failed.\n%s", self.rule, error)
        log.error("%s", "".join(traceback.format_exception(error)))

    def _record(self) -> dict:
        return {
            "rule": self.rule,
            "wildcards": {k: str(v) for k, v in self.wildcards.items()},
            "config": self.cfg,
            "configfiles": self.configfiles,
            "code": self.code,
            "inputs": self.inputs,
            "git": git_state(self.root),
            "lock_sha256": lock_hash(self.root),
            "versions": versions(),
            "machine": {
                "system": platform.platform(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
            },
            "threads": self.threads,
            **self.extra,
            "started": self.started.isoformat(timespec="milliseconds"),
            "ended": _now().isoformat(timespec="milliseconds"),
        }


def write_sidecar(artifact: str | Path, record: dict) -> None:
    """Write the provenance sidecar of `artifact`: what it is, and the job that made it."""
    path = Path(artifact)
    sidecar = {
        "artneuro_provenance": 1,
        "artifact": str(artifact),
        "sha256": sha256_path(path),
        "bytes": size_of(path),
        **({"stat": _stat(path)} if path.is_dir() else {}),
        **record,
    }
    # As it will be read back (keys as strings, tuples as lists), which is what the seal is of.
    sidecar = json.loads(json.dumps(sidecar))
    write_json({**sidecar, "record_sha256": sidecar_seal(sidecar)}, sidecar_path(path))


def sidecar_seal(sidecar: dict) -> str:
    """What `record_sha256` of a sidecar must be: the hash of all its other entries.

    It shows damage and edits by hand. It is no signature: who edits a sidecar can seal it again.
    """
    return sha256_json({k: v for k, v in sidecar.items() if k != "record_sha256"})


def known_sha256(path: str | Path) -> str:
    """SHA-256 of an artifact, for a folder from its sidecar while its files look untouched.

    Folders (weights, activation stores) are large and read by many jobs. Single files are hashed
    anew: Snakemake sets their time stamps after the job, so a stamp could not vouch for them.
    """
    artifact = Path(path)
    if artifact.is_dir():
        try:
            record = read_json(sidecar_path(artifact))
            if record["stat"] == _stat(artifact):
                return str(record["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            log.debug("no usable sidecar of %s: hashing it", artifact)
    return sha256_path(artifact)


def _stat(folder: Path) -> list:
    """Path, size and modification time of every file in a folder: a cheap sign of a change."""
    stats = [(p.relative_to(folder).as_posix(), p.stat()) for p in content_files(folder)]
    return [[name, s.st_size, s.st_mtime_ns] for name, s in stats]


def check_package(root: Path) -> None:
    """Make sure that this process runs the package of the workflow in `root`, as was hashed.

    Raises
    ------
    CodeError
        If `root` has its own `src/artneuro` and another one was imported.
    """
    ours = root / "src" / "artneuro"
    if not ours.is_dir():
        return
    imported = Path(__file__).resolve().parent.parent
    if imported != ours.resolve():
        raise CodeError(
            "the job runs another copy of artneuro than the one that belongs to the workflow, so "
            "the recorded code hashes would not be those of the code that ran",
            where=f"imported from {imported}, the workflow has {ours}",
            fix=f"pip install -e {root}, or put {root / 'src'} on PYTHONPATH",
        )


def find_root(start: Path) -> Path:
    """The folder of the workflow: the nearest one above `start` that holds Snakefile and src/."""
    for folder in (start, *start.parents):
        if (folder / "Snakefile").exists() and (folder / "src").is_dir():
            return folder
    return start


@functools.cache
def git_state(root: Path) -> dict[str, Any]:
    """Commit of the workflow's checkout and whether tracked files differ from it."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    if shutil.which("git") is None:
        return {"commit": None, "dirty": None}
    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (subprocess.SubprocessError, OSError):
        return {"commit": None, "dirty": None}


def lock_hash(root: Path) -> str | None:
    """SHA-256 of the lock file of the environment, None where the workflow has none."""
    lock = root / "envs" / "requirements.lock"
    return sha256_file(lock) if lock.exists() else None


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version()}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
