"""A job of the pipeline: paths in, one call, artifacts with their provenance out."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.metadata
import logging
import os
import platform
import shutil
import subprocess
import traceback
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import read_json, sidecar_path, write_json
from artneuro.core.errors import ArtneuroError
from artneuro.core.hashing import sha256_file, sha256_path, size_of
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
        self.compute: dict = dict(snakemake.config).get("compute", {})
        self.root = find_root(Path(snakemake.scriptdir))
        self.extra: dict[str, Any] = {}
        self._log_path = snakemake.log[0] if snakemake.log else None

    def note(self, **facts: Any) -> None:
        """Add facts (device, seed, revision of a model) to the sidecars of this job."""
        self.extra.update(facts)

    def __enter__(self) -> Job:
        log_to(self._log_path)
        self.started = _now()
        for output in self.output:
            sidecar_path(output).unlink(missing_ok=True)
        log.info("%s %s", self.rule, dict(self.wildcards))
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            if isinstance(error, ArtneuroError):
                log.error("%s failed.\n%s", self.rule, error)
            log.error("%s", "".join(traceback.format_exception(kind, error, trace)))
            return
        record = self._record()
        for output in self.output:
            write_sidecar(output, record)
        log.info("%s done in %.1f s", self.rule, (_now() - self.started).total_seconds())

    def _record(self) -> dict:
        return {
            "rule": self.rule,
            "wildcards": {k: str(v) for k, v in self.wildcards.items()},
            "config": self.cfg,
            "code": self.code,
            "inputs": [{"path": str(p), "sha256": known_sha256(p)} for p in self.input],
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
    write_json(
        {
            "artneuro_provenance": 1,
            "artifact": str(artifact),
            "sha256": sha256_path(path),
            "bytes": size_of(path),
            "stat": _stat(path),
            **record,
        },
        sidecar_path(path),
    )


def known_sha256(path: str | Path) -> str:
    """SHA-256 of an artifact: from its sidecar while size and time stamps still fit, else anew."""
    sidecar = sidecar_path(path)
    if sidecar.exists():
        record = read_json(sidecar)
        if record.get("stat") == _stat(Path(path)):
            return record["sha256"]
    return sha256_path(path)


def _stat(path: Path) -> list:
    """Size and modification time, for a folder of every file in it: a cheap sign of a change."""
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file()]
        stats = [(p.relative_to(path).as_posix(), p.stat()) for p in files]
        return [
            [name, s.st_size, s.st_mtime_ns] for name, s in stats if name != ".snakemake_timestamp"
        ]
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


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
