"""Dask's workers as jobs of a real Slurm: the same tables, lost workers and jobs, refusals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artneuro.core import dask as waiting
from artneuro.core import dask_slurm
from artneuro.core.config import DaskConfig
from artneuro.core.dask import dask_workers
from artneuro.core.errors import ComputeError, ConfigError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.fit import fit_probes
from tests.dask_example import work
from tests.integration.slurm.cluster import call, wait_until
from tests.probing_example import Example, write_example

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

SMALL = {
    "partition": "cpu",
    "cores": 1,
    "memory": "1500MB",
    "walltime": "00:30:00",
    "interface": "lo",
}
# The same on a node of its own.
ALONE = {**SMALL, "extra_directives": ["--exclusive"]}


@pytest.fixture
def folder(cluster, tmp_path, monkeypatch) -> Iterator[Path]:
    """A working directory; afterwards no job may be left."""
    monkeypatch.chdir(tmp_path)
    # The functions of these tests, and one thread as in the jobs of the workflow.
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    monkeypatch.setattr(dask_slurm, "QUEUE_SECONDS", 2.0)
    monkeypatch.setattr(waiting, "CHECK_SECONDS", 0.5)
    yield tmp_path
    wait_until(lambda: not jobs(), "all worker jobs are gone", 120)
    assert not list(tmp_path.glob(".dask-*"))


def jobs() -> list[str]:
    """Numbers of the worker jobs that have not ended."""
    lines = [line.split() for line in call("squeue", "--noheader", "--format=%i %j").splitlines()]
    return [number for number, name in lines if name.startswith("artneuro-worker-")]


def config(workers: int, **values) -> DaskConfig:
    return DaskConfig(
        **{"kind": "slurm", "workers": workers, "wait_minutes": 2, "slurm": SMALL, **values}
    )


def marks(folder: Path) -> list[tuple[int, int, str]]:
    """Number, process and job of each start of a task, in the order of the starts."""
    files = sorted(folder.glob("*_*_*"), key=lambda file: file.stat().st_mtime_ns)
    return [(int(n), int(p), j) for n, p, j in (file.name.split("_") for file in files)]


# --- the same tables -----------------------------------------------------------------------------


def tables(example: Example, name: str, dask: DaskConfig) -> bytes:
    path = example.store.parent / f"{name}.parquet"
    fit_probes(
        ProbingConfig(max_k=3), example.store, example.rows, example.labels, path,
        model="m", dataset="a", dask=dask, threads=1,
    )  # fmt: skip
    return path.read_bytes()


@contextlib.contextmanager
def processes(*commands: list[str]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for command in commands:
            running = stack.enter_context(
                subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
            )
            stack.callback(running.kill)
        yield


def test_tables_are_the_same_wherever_the_tasks_run(folder):
    """In the process, on workers of a scheduler, and from inside a job on two other nodes."""
    example = write_example(folder / "example", layers=6)
    here = tables(example, "here", DaskConfig(workers=1))
    address = "tcp://127.0.0.1:28790"
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "28790"]
    worker = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--nworkers", "2"]
    with processes([*scheduler, "--no-dashboard"], [*worker, "--no-dashboard"]):
        elsewhere = DaskConfig(kind="address", address=address, wait_minutes=2)
        assert tables(example, "elsewhere", elsewhere) == here
    script = folder / "job.sh"
    script.write_text(
        f"#!/bin/bash\n{sys.executable} - <<'EOF'\n"
        "from pathlib import Path\n"
        "from artneuro.core.logs import log_to\n"
        "from tests.integration.slurm.test_dask_slurm import ALONE, config, tables\n"
        "from tests.probing_example import Example\n"
        "if __name__ == '__main__':\n"
        "    log_to('job.log')\n"
        f"    folder = Path({str(example.store.parent)!r})\n"
        "    paths = [folder / n for n in ('activations.zarr', 'rows.parquet', 'labels.parquet')]\n"
        "    tables(Example(*paths, None, None, None), 'slurm', config(2, slurm=ALONE))\n"
        "EOF\n"
    )
    call("sbatch", "--wait", "--partition=gpu", "--output=job.out", str(script), timeout=500)
    assert (example.store.parent / "slurm.parquet").read_bytes() == here
    assert re.search(r"tasks ran on cpu[12] \(", (folder / "job.log").read_text())
    # Logs of workers stay, one of each job.
    assert len(list((folder / "logs" / "dask").glob("artneuro-worker-*.err"))) == 2


# --- lost workers --------------------------------------------------------------------------------


def test_killed_workers_and_cancelled_jobs_are_replaced(folder, caplog):
    caplog.set_level("INFO", logger="artneuro")
    killed: list[str] = []

    def disturb() -> None:
        """Kill the process of the first task that starts, and cancel the job of another one."""
        wait_until(lambda: len({job for *_, job in marks(folder)}) == 2, "two jobs work", 120)
        first, *_, last = marks(folder)
        os.kill(first[1], signal.SIGKILL)
        other = last[2] if last[2] != first[2] else marks(folder)[1][2]
        call("scancel", other)
        killed.extend([first[2], other])
        wait_until(lambda: len({job for *_, job in marks(folder)}) == 3, "a third job works", 120)
        (folder / "go").touch()

    thread = threading.Thread(target=disturb)
    thread.start()
    with dask_workers(config(2), 1) as workers:
        found = dict(workers.map(work, [(str(folder), n, 0.0, "go") for n in range(12)]))
    thread.join()
    assert {n: row[0] for n, row in found.items()} == {n: n for n in range(12)}
    assert len(marks(folder)) > 12
    # The job whose process was killed has gone on; in place of the cancelled one came a third.
    assert len({job for *_, job in marks(folder)}) == 3
    assert f"worker job {killed[1]} has ended; another one takes its place" in caplog.text


def test_a_job_of_several_workers_is_replaced_as_a_whole(folder):
    def disturb() -> None:
        wait_until(lambda: bool(marks(folder)), "a task runs", 120)
        call("scancel", marks(folder)[0][2])
        wait_until(lambda: len({job for *_, job in marks(folder)}) == 2, "a second job works", 120)
        (folder / "go").touch()

    threading.Thread(target=disturb).start()
    two = {**SMALL, "cores": 2, "memory": "3GB"}
    with dask_workers(config(1, slurm=two), 1) as workers:
        found = dict(workers.map(work, [(str(folder), n, 0.0, "go") for n in range(4)]))
    assert sorted(found) == list(range(4))
    assert len({row[1] for row in found.values()}) == 1
    assert len({job for *_, job in marks(folder)}) == 2


def test_worker_jobs_end_with_a_job_that_is_killed(folder):
    script = folder / "client.py"
    script.write_text(
        "from tests.integration.slurm.test_dask_slurm import config\n"
        "from tests.dask_example import work\n"
        "from artneuro.core.dask import dask_workers\n"
        "if __name__ == '__main__':\n"
        "    with dask_workers(config(2), 1) as workers:\n"
        f"        list(workers.map(work, [({str(folder)!r}, n, 600.0) for n in range(2)]))\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as client:
        try:
            wait_until(lambda: len(marks(folder)) == 2, "two tasks run", 120)
            assert len(jobs()) == 2
        finally:
            client.kill()
    wait_until(lambda: not jobs(), "the worker jobs have ended", 120)
    for left in folder.glob(".dask-*"):
        for file in left.iterdir():
            file.unlink()
        left.rmdir()


# --- as many as needed ---------------------------------------------------------------------------


def test_jobs_come_with_the_work_and_go_before_its_end(folder, monkeypatch):
    monkeypatch.setattr(dask_slurm, "IDLE_COUNT", 2)
    monkeypatch.setattr(dask_slurm, "ADAPT_SECONDS", 0.5)
    monkeypatch.setattr(dask_slurm, "TARGET_DURATION", "5s")
    most, ended = 0, []
    with dask_workers(config(3, minimum=0), 1) as workers:
        tasks = [(str(folder), n, 3.0, "" if n else "go") for n in range(14)]
        for n, _ in workers.map(work, tasks):
            most = max(most, len(jobs()))
            ended.append(n)
            if len(ended) == 13:
                wait_until(lambda: len(jobs()) == 1, "one job for one task", 120)
                (folder / "go").touch()
    assert sorted(ended) == list(range(14))
    assert ended[-1] == 0
    assert most >= 2


def test_a_job_of_several_workers_may_wait_in_the_queue(folder, monkeypatch):
    """It is not cancelled for having more workers than the tasks need."""
    monkeypatch.setattr(dask_slurm, "IDLE_COUNT", 2)
    monkeypatch.setattr(dask_slurm, "ADAPT_SECONDS", 0.5)
    slurm = {**SMALL, "cores": 2, "memory": "3GB", "extra_directives": ["--begin=now+10"]}
    with dask_workers(config(2, minimum=0, slurm=slurm), 1) as workers:
        [(_, (number, job, _))] = workers.map(work, [(str(folder), 0, 0.0)])
    assert number == 0
    (log,) = Path("logs/dask").glob("*.err")
    title = log.stem.rpartition("-")[0]
    assert call("sacct", "-X", "-n", "-P", f"--name={title}", "-o", "JobID").split() == [job]


# --- no workers ----------------------------------------------------------------------------------


def test_what_slurm_refuses_is_told_at_once(folder):
    task = [(str(folder), 0, 0.0)]
    nowhere = config(1, slurm={**SMALL, "partition": "nowhere"}, wait_minutes=60)
    with (
        pytest.raises(ConfigError, match=r"Slurm refuses(.|\n)*invalid partition(.|\n)*nowhere"),
        dask_workers(nowhere, 1) as workers,
    ):
        next(workers.map(work, task))
    too_large = config(1, slurm={**SMALL, "memory": "900GB"}, wait_minutes=60)
    with (
        pytest.raises(ConfigError, match=r"Slurm refuses(.|\n)*(node configuration|Memory)"),
        dask_workers(too_large, 1) as workers,
    ):
        next(workers.map(work, task))


def test_jobs_that_wait_for_too_long_are_named_with_the_reason(folder):
    late = {**SMALL, "extra_directives": ["--begin=now+1hour"]}
    with (
        pytest.raises(ComputeError, match=r"0\.1 minutes: job \d+ is PENDING \(BeginTime\)"),
        dask_workers(config(1, slurm=late, wait_minutes=0.1), 1) as workers,
    ):
        next(workers.map(work, [(str(folder), 0, 0.0)]))


def test_jobs_that_end_at_once_are_not_submitted_for_ever(folder):
    # No Python starts. Too little memory would do, but Slurm looks at it every few seconds alone.
    slurm = {**SMALL, "extra_directives": ["--export=ALL,PYTHONHOME=/nowhere"]}
    with (
        pytest.raises(ComputeError, match=r"jobs of Dask workers ended before") as caught,
        dask_workers(config(1, slurm=slurm, wait_minutes=60), 1) as workers,
    ):
        next(workers.map(work, [(str(folder), 0, 0.0)]))
    assert "logs/dask/artneuro-worker-" in str(caught.value)
    logs = list((folder / "logs" / "dask").glob("*.err"))
    assert 1 <= len(logs) <= 4
    assert "encodings" in logs[0].read_text()


def test_an_outage_of_the_controller_is_waited_for(folder, cluster):
    cluster.kill("slurmctld")
    threading.Timer(15, cluster.start_controller).start()
    with dask_workers(config(1), 1) as workers:
        found = dict(workers.map(work, [(str(folder), n, 0.0) for n in range(3)]))
    assert sorted(found) == [0, 1, 2]
