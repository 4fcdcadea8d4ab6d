"""Dask's workers: who they may be, what becomes of tasks without them, what a user is told."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import dask
import psutil
import pydantic
import pytest
from distributed import LocalCluster, get_worker

from artneuro.core import dask as module
from artneuro.core import dask_slurm
from artneuro.core.config import DaskConfig, DaskSlurmConfig
from artneuro.core.dask import dask_workers
from artneuro.core.dask_slurm import WorkerCluster, _job_of, _queue, _reason, _Scaling
from artneuro.core.dask_tasks import check_code, code_identity
from artneuro.core.errors import CodeError, ComputeError, ConfigError, DataError
from artneuro.core.job import versions
from artneuro.probing.tasks import run_tasks

# Opened by a test, waited for by tasks that run in its process.
GATE = threading.Event()


def double(x: int) -> int:
    return 2 * x


def wait_for_gate(x: int) -> int:
    GATE.wait(60)
    return x


def name_file(path: str) -> str:
    return Path(path).read_text()


def fail(x: int) -> int:
    raise DataError(f"nothing in {x}", where="here", fix="look there")


def die_once(folder: str, x: int) -> int:
    """Kill the worker that this runs on, the first time, for two of the tasks."""
    mark = Path(folder, f"died_{x}")
    if x in (1, 4) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def worker_name(x: int) -> str:
    return get_worker().address


@pytest.fixture
def cluster():
    """A scheduler with two workers, all of them threads of this process."""
    GATE.clear()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as found:
        yield found
        GATE.set()


def at(cluster, **values) -> DaskConfig:
    return DaskConfig(kind="address", address=cluster.scheduler_address, **values)


def run(work, tasks, config, threads=1):
    return run_tasks(work, tasks, config, threads, label="test")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)


def test_results_come_in_the_order_of_the_tasks_whoever_runs_them(cluster, tmp_path, monkeypatch):
    tasks = [(x,) for x in (3, 1, 3, 2)]
    assert run(double, tasks, at(cluster)) == run(double, tasks, DaskConfig()) == [6, 2, 6, 4]
    # Paths are those of the job, wherever the workers were started.
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("yes")
    assert run(name_file, [("here.txt",)], at(cluster)) == ["yes"]
    assert run(double, [], at(cluster)) == []


def test_an_error_of_a_task_is_that_of_the_job(cluster):
    with pytest.raises(DataError, match=r"nothing in 7\n  where: here\n  what to do: look there"):
        run(fail, [(7,), (7,)], at(cluster))


def test_workers_must_have_one_thread():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        pytest.raises(ComputeError, match=r"has 2 threads(.|\n)*--nthreads 1"),
    ):
        run(double, [(1,)], at(cluster))


def test_workers_must_see_the_folder_of_the_job(cluster, monkeypatch):
    monkeypatch.setattr(module.os, "getcwd", lambda: "/nowhere")
    with pytest.raises(ComputeError, match="does not see the folder /nowhere"):
        run(double, [(1,)], at(cluster))


def test_workers_must_run_the_code_and_the_versions_of_the_job():
    code = code_identity()
    assert {"artneuro/core/dask.py", "artneuro/probing/tasks.py", "artneuro/__init__.py"} <= {*code}
    assert versions().items() <= code.items()
    check_code(code)
    other = {
        **code,
        "artneuro/core/dask.py": "0" * 64,
        "numpy": "1.0",
        "artneuro/gone.py": "1" * 64,
    }
    with pytest.raises(CodeError) as caught:
        check_code(other)
    assert caught.value.what == (
        "a Dask worker runs other code than the job: artneuro/core/dask.py "
        f"{code['artneuro/core/dask.py'][:12]} instead of 000000000000; artneuro/gone.py missing "
        f"instead of 111111111111; numpy {code['numpy']} instead of 1.0"
    )


def test_no_scheduler_at_the_address():
    config = DaskConfig(kind="address", address="tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(ComputeError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
    ):
        run(double, [(1,)], config)
    with pytest.raises(ConfigError, match="no address is given"):
        run(double, [(1,)], DaskConfig(kind="address"))
    with pytest.raises(ComputeError, match="no Dask scheduler answers at nonsense://x"):
        run(double, [(1,)], DaskConfig(kind="address", address="nonsense://x"))


def test_a_scheduler_that_never_gets_workers_is_told_after_the_stated_time(impatient):
    with (
        LocalCluster(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        pytest.raises(ComputeError, match=r"no Dask worker has been there for 0\.005 minutes") as e,
    ):
        run(double, [(1,)], at(cluster, wait_minutes=0.005))
    assert "compute.dask.wait_minutes" in str(e.value)


def test_workers_that_all_leave_are_waited_for_and_then_missed(cluster, impatient):
    config = at(cluster, wait_minutes=0.01)
    with dask_workers(config, 1) as workers:
        found = workers.map(wait_for_gate, [(1,), (2,)])
        threading.Timer(0.3, cluster.scale, [0]).start()
        with pytest.raises(ComputeError, match=r"no Dask worker has been there for 0\.01 minutes"):
            next(found)


def test_a_worker_that_comes_late_takes_the_tasks(impatient):
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        threading.Timer(0.5, cluster.scale, [1]).start()
        assert run(double, [(4,)], at(cluster, wait_minutes=1)) == [8]


def end_workers_with_results(cluster, workers, n):
    """End every worker once they hold the results of `n` tasks; the client is told of the loss."""
    client = workers.client
    while sum(map(len, client.has_what().values())) < n:
        time.sleep(0.01)
    for worker in list(cluster.workers.values()):
        cluster.sync(worker.close, executor_wait=False)
    while any(state.status == "finished" for state in client.futures.values()):
        time.sleep(0.01)


def test_results_that_are_lost_with_their_workers_are_computed_again(cluster, impatient):
    with dask_workers(at(cluster), 1) as workers:
        found = workers.map(double, [(x,) for x in range(6)])
        results = dict([next(found)])
        end_workers_with_results(cluster, workers, 5)
        threading.Timer(0.3, cluster.scale, [4]).start()
        results.update(found)
    assert results == {x: 2 * x for x in range(6)}


def test_results_that_are_lost_with_the_last_worker_are_missed(cluster, impatient):
    with dask_workers(at(cluster, wait_minutes=0.01), 1) as workers:
        found = workers.map(double, [(x,) for x in range(6)])
        next(found)
        end_workers_with_results(cluster, workers, 5)
        with pytest.raises(ComputeError, match=r"no Dask worker has been there for 0\.01 minutes"):
            next(found)


@pytest.mark.slow
def test_a_task_whose_worker_is_killed_runs_again(tmp_path):
    tasks = [(str(tmp_path), x) for x in range(6)]
    assert run(die_once, tasks, DaskConfig(workers=2)) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        pytest.raises(ComputeError, match=r"given up, as 2 Dask workers died(.|\n)*more memory"),
    ):
        run(die, [(1,), (2,)], DaskConfig(workers=2))


# --- the config ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"minimum": 1, "workers": 4}, "for kind slurm alone"),
        ({"kind": "slurm", "minimum": 2}, r"minimum \(2\) must not be above workers \(1\)"),
        ({"kind": "slurm", "workers": 3, "minimum": 4}, r"above workers \(3\)"),
        ({"wait_minutes": 0}, "greater than 0"),
        ({"slurm": {"walltime": "60"}}, "pattern"),
        ({"slurm": {"walltime": "00:04:59"}}, "at least 00:05:00"),
    ],
)
def test_what_a_config_may_not_say(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        DaskConfig(**values)


def test_time_limits_in_seconds():
    assert DaskSlurmConfig().seconds() == 7200
    assert DaskSlurmConfig(walltime="2-03:04:05").seconds() == 183_845
    assert DaskConfig(kind="slurm", workers=3, minimum=0).minimum == 0


# --- worker jobs, without Slurm ------------------------------------------------------------------


def test_no_slurm_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no sbatch on this machine"):
        run(double, [(1,)], DaskConfig(kind="slurm"))
    assert not list(tmp_path.iterdir())


def test_what_sbatch_says_is_kept():
    error = RuntimeError(
        "Command exited with non-zero exit code.\nExit code: 1\nCommand:\nsbatch /tmp/x.sh\n"
        "stdout:\n\nstderr:\nsbatch: error: invalid partition specified: none\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    assert _reason(error) == (
        "invalid partition specified: none; Batch job submission failed: Invalid partition name "
        "specified"
    )
    assert _reason(OSError("no such file")) == "no such file"


def test_workers_of_a_job_have_its_name_and_a_number():
    assert _job_of("WorkerCluster-12-3", 4) == "WorkerCluster-12"
    assert _job_of("WorkerCluster-12", 1) == "WorkerCluster-12"


class Pretended:
    """A cluster of jobs with four workers each, without any job."""

    workers_per_job = 4

    def __init__(self) -> None:
        self.retired: list[str] = []

    async def forget_ended(self) -> None:
        pass


@pytest.fixture
def scaling(monkeypatch) -> _Scaling:
    cluster = Pretended()

    async def retire(self, workers):
        cluster.retired.extend(workers)

    monkeypatch.setattr(_Scaling.__mro__[1], "scale_down", retire)
    found = object.__new__(_Scaling)
    found.cluster, found.state = cluster, "stopped"
    return found


@pytest.mark.parametrize(("needed", "asked"), [(0, 0), (1, 4), (4, 4), (5, 8)])
def test_workers_are_asked_for_by_whole_jobs(needed, asked, scaling, monkeypatch):
    async def target(self):
        return needed

    monkeypatch.setattr(_Scaling.__mro__[1], "target", target)
    assert asyncio.run(scaling.target()) == asked


def test_jobs_are_ended_as_a_whole_or_not(scaling):
    whole, part = [f"W-1-{n}" for n in range(4)], ["W-2-0", "W-2-3"]
    asyncio.run(scaling.scale_down([*part, *whole]))
    assert scaling.cluster.retired == whole


@pytest.mark.parametrize(
    ("refusal", "arrived", "queue", "fails"),
    [
        ("invalid partition specified: none", set(), {}, True),
        ("invalid partition specified: none", {"W-1"}, {}, False),
        # Some jobs were taken: those are waited for.
        ("Requested node configuration is not available", set(), {"7": "PENDING"}, False),
        ("QOSMaxSubmitJobPerUserLimit", set(), {}, False),
        ("Unable to contact slurm controller", set(), {}, False),
    ],
)
def test_which_refusals_are_final(refusal, arrived, queue, fails):
    cluster = object.__new__(WorkerCluster)
    cluster._refusal, cluster._arrived, cluster._queue = refusal, arrived, queue
    cluster._ended_early, cluster.worker_spec = [], {}
    assert isinstance(WorkerCluster.problem(cluster), ConfigError) == fails
    cluster.status = dask_slurm.Status.closed


def test_a_squeue_that_hangs_is_ended(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    wait_for = asyncio.wait_for

    async def soon(work, timeout):
        return await wait_for(work, 2)

    monkeypatch.setattr(dask_slurm.asyncio, "wait_for", soon)
    assert asyncio.run(_queue("title")) is None
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
