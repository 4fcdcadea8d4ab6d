"""Dask workers as Slurm jobs that replace each other when they end, for `artneuro.core.dask`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive

from artneuro.core.config import DaskConfig
from artneuro.core.errors import ArtneuroError, ComputeError, ConfigError

log = logging.getLogger(__name__)

# How often the queue is asked which worker jobs are still there.
QUEUE_SECONDS = 15.0
# How often the number of jobs is adapted, and for how many times in a row a worker must be found
# to have nothing to do before its job ends.
ADAPT_SECONDS, IDLE_COUNT = 2.0, 15
# As many workers are asked for as would finish the tasks in this time.
TARGET_DURATION = "60s"
# Jobs of preempted workers come and go; a task that kills its worker must not go on for ever.
ALLOWED_FAILURES = 5
# Workers leave by themselves before the time limit of their job: what they work on is given to
# others without being counted against it.
GRACE_SECONDS = 120
LOGS = Path("logs", "dask")

# What sbatch says while the controller is away, or the user has as many jobs as may be; everything
# else is a refusal.
NOT_NOW = re.compile(
    r"contact slurm controller|timed out|zero bytes|connection refused|temporar|try again"
    r"|MaxSubmit",
    re.I,
)


class WorkerJob(SLURMJob):
    """A Slurm job of workers. That it could not be submitted is kept, not raised."""

    refusal: str | None = None

    async def start(self) -> None:
        """Submit the job."""
        try:
            await super().start()
        except (RuntimeError, ValueError, OSError) as error:
            self.refusal = _reason(error)
            self.status = Status.running

    async def close(self) -> None:
        """Cancel the job."""
        await super().close()
        self.status = Status.closed


def _reason(error: Exception) -> str:
    """What sbatch wrote, without the command and the exit code."""
    found = re.findall(r"sbatch: (?:error: )?(.+)", str(error))
    return "; ".join(found) or str(error).strip()


def _job_of(worker: str, n_workers: int) -> str:
    """Name of the job of a worker: several of one job have its name and a number."""
    return worker.rpartition("-")[0] if n_workers > 1 else worker


def _job_of_worker(worker: Any, n_workers: int) -> str:
    return _job_of(worker.name, n_workers)


class WorkerCluster(SLURMCluster):
    """Worker jobs that are submitted again when they end while there is work."""

    job_cls = WorkerJob

    def __init__(self, **options: Any) -> None:
        self._arrived: set[str] = set()
        self._asked = 0.0
        self._queue: dict[str, str] = {}
        self._ended_early: list[str] = []
        self._refusal: str | None = None
        self.workers_per_job = int(options["processes"])
        self._title: str = options["job_name"]
        super().__init__(**options)

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self._arrived |= {
                _job_of(w["name"], self.workers_per_job) for w in msg["workers"].values()
            }
            self._ended_early.clear()
        super()._update_worker_status(op, msg)

    async def forget_ended(self) -> None:
        """Drop the jobs that Slurm no longer has, so that others take their places.

        Dask notices workers that it loses, but neither jobs that end before their workers come nor
        jobs of several workers.
        """
        if time.monotonic() - self._asked < QUEUE_SECONDS:
            return
        # Before the question: jobs that are submitted meanwhile are not in its answer.
        jobs: dict[str, Any] = dict(self.workers)
        found = await _queue(self._title)
        self._asked = time.monotonic()
        if found is None:
            return
        self._queue = {
            job.job_id: found[job.job_id] for job in jobs.values() if job.job_id in found
        }
        for name, job in jobs.items():
            if job.job_id in found or id(self.workers.get(name)) != id(job):
                continue
            if job.job_id is None:
                if job.refusal != self._refusal:
                    log.warning("Dask: sbatch: %s", job.refusal)
                self._refusal = job.refusal
            else:
                log.warning(
                    "Dask: worker job %s has ended; another one takes its place", job.job_id
                )
                if name not in self._arrived:
                    self._ended_early.append(job.job_id)
            job.status = Status.closed
            del self.workers[name]
            self.worker_spec.pop(name, None)
            # The scheduler may still know the lost workers by their names.
            self._i += 1

    def problem(self) -> ArtneuroError | None:
        """Why no worker will come, as far as that is known."""
        waits = bool(self._arrived or self._queue)
        if self._refusal and not waits and not NOT_NOW.search(self._refusal):
            return ConfigError(
                f"Slurm refuses the jobs of Dask workers: {self._refusal}",
                where="compute.dask.slurm",
                fix="correct partition, account, cores, memory, walltime or extra_directives",
            )
        if len(self._ended_early) >= max(3, 2 * len(self.worker_spec)):
            job = self._ended_early[-1]
            errors = LOGS / f"{self._title}-{job}.err"
            return ComputeError(
                f"{len(self._ended_early)} jobs of Dask workers ended before their workers came: "
                f"{_last_line(errors)}",
                where=str(errors),
                fix="read the whole log; most often a node does not see the environment, or cannot "
                "reach the scheduler (compute.dask.slurm.interface)",
            )
        return None

    def state(self) -> str:
        """The worker jobs in Slurm's words, for a message."""
        if self._queue:
            return ", ".join(f"job {job} is {state}" for job, state in self._queue.items())
        return f"sbatch: {self._refusal}" if self._refusal else ""


def _last_line(file: Path) -> str:
    try:
        lines = file.read_text(errors="replace").split("\n")
    except OSError:
        return "they left no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "their log is empty")


async def _queue(title: str) -> dict[str, str] | None:
    """State and reason of each job of a name that has not ended, None without an answer."""
    try:
        process = await asyncio.create_subprocess_exec(
            "squeue", "--noheader", "--me", f"--name={title}", "--format=%i|%T|%r",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    except OSError:
        return None
    if process.returncode:
        return None
    found = {}
    for line in out.decode().split("\n"):
        if line.count("|") == 2:
            job, state, reason = line.split("|")
            found[job] = f"{state} ({reason})" if reason != "None" else state
    return found


class _Scaling(Adaptive):
    """Dask's own rule for the number of workers, over jobs that are really there."""

    cluster: WorkerCluster

    async def target(self) -> int:
        await self.cluster.forget_ended()
        # Workers come and go by jobs: a pending one would else be cancelled for its surplus.
        per_job = self.cluster.workers_per_job
        return math.ceil(await super().target() / per_job) * per_job

    async def scale_down(self, workers: Any) -> None:
        # To close one worker ends its job, and with it those that have something to do.
        per_job = self.cluster.workers_per_job
        named = Counter(_job_of(str(name), per_job) for name in workers)
        await super().scale_down(
            [name for name in workers if named[_job_of(str(name), per_job)] == per_job]
        )


@contextlib.contextmanager
def slurm_cluster(config: DaskConfig, environment: Mapping[str, str]) -> Iterator[WorkerCluster]:
    """Yield a scheduler in this process, with workers that come and go as Slurm jobs.

    Parameters
    ----------
    config : DaskConfig
        Of the kind `slurm`.
    environment : mapping
        Variables of the workers.

    Raises
    ------
    ConfigError
        If there is no Slurm here.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "dask.kind is 'slurm' but there is no sbatch on this machine",
            where="compute.dask.kind",
            fix="run the jobs on a node from which Slurm jobs can be submitted, or take kind local",
        )
    slurm = config.slurm
    most = config.workers or 1
    fewest = most if config.minimum is None else config.minimum
    # The package of this process, whatever else is installed.
    package = shlex.quote(str(Path(__file__).resolve().parents[2]))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # A worker that pauses keeps its task for ever; one that needs too much is killed anyway.
    exports.append("export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False")
    exports.append(f"export PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}")
    hidden = Path(".snakemake") if Path(".snakemake").is_dir() else Path()
    LOGS.mkdir(parents=True, exist_ok=True)
    title = f"artneuro-worker-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        stack.callback(_cancel, title)
        # Keys of the encrypted connections, which all nodes must be able to read.
        keys = tempfile.mkdtemp(prefix=".dask-", dir=hidden.resolve())
        stack.callback(shutil.rmtree, keys, ignore_errors=True)
        stack.enter_context(
            dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
        )
        cluster = stack.enter_context(
            WorkerCluster(
                queue=slurm.partition,
                account=slurm.account,
                cores=slurm.cores,
                processes=slurm.cores,
                memory=slurm.memory,
                walltime=slurm.walltime,
                interface=slurm.interface,
                job_name=title,
                job_extra_directives=[*slurm.extra_directives],
                job_script_prologue=exports,
                worker_extra_args=["--lifetime", f"{slurm.seconds() - GRACE_SECONDS}s"],
                log_directory=str(LOGS),
                shared_temp_directory=keys,
                security=True,
                # Nobody else may see it: other than the connections it is not encrypted.
                scheduler_options={"dashboard_address": "127.0.0.1:0"},
            )
        )
        cluster.adapt(
            Adaptive=_Scaling,
            minimum_jobs=fewest,
            maximum_jobs=most,
            interval=ADAPT_SECONDS,
            wait_count=IDLE_COUNT,
            target_duration=TARGET_DURATION,
            # The workers of a job can only end at once.
            worker_key=functools.partial(_job_of_worker, n_workers=slurm.cores),
        )
        stack.callback(_close_keys, cluster)
        yield cluster


def _cancel(title: str) -> None:
    """Cancel jobs that Slurm took while sbatch said that it had failed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", "--me", f"--name={title}"], capture_output=True, timeout=60)


def _close_keys(cluster: WorkerCluster) -> None:
    """Close the files of keys, which are else closed by chance after their folder is gone."""
    for name in ("ca_file", "cert", "key"):
        getattr(cluster, f"_job_{name}").close()
