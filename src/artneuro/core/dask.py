"""The one place that starts Dask, and that waits for what it computes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from typing import Any, TypeVar, cast

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from artneuro.core.config import DaskConfig
from artneuro.core.dask_tasks import Place, code_identity, run_task
from artneuro.core.errors import ComputeError, ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Workers share the job's cores, so each keeps to one thread (two on a busy machine were slower).
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# How often to look for workers while no task ends.
CHECK_SECONDS = 5.0


class Workers:
    """A connection to Dask's workers.

    Attributes
    ----------
    client : Client
        Connected to the scheduler.
    """

    def __init__(self, client: Client, config: DaskConfig, cluster: Any = None) -> None:
        self.client = client
        self._config, self._cluster = config, cluster
        self._alone_since: float | None = None

    def check(self) -> int:
        """How many workers there are.

        Raises
        ------
        ComputeError
            If the scheduler is gone, or there has been no worker for too long.
        ConfigError
            If Slurm refuses the worker jobs.
        """
        try:
            n = len(self.client.nthreads())
        except Exception as error:  # closed and timed out connections raise several kinds
            raise self._scheduler_lost() from error
        if n:
            self._alone_since = None
            return n
        if self._cluster is not None and (problem := self._cluster.problem()) is not None:
            raise problem
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        waited, limit = now - self._alone_since, 60 * self._config.wait_minutes
        if waited < limit:
            return 0
        state = f": {found}" if self._cluster and (found := self._cluster.state()) else ""
        raise ComputeError(
            f"no Dask worker has been there for {limit / 60:g} minutes{state}",
            where="compute.dask",
            fix=_NO_WORKERS[self._config.kind],
        )

    def map(
        self, work: Callable[..., T], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, T]]:
        """Yield the number of each task and what `work(*task)` returned, in the order they end.

        A task whose worker is lost, with it or with its result, runs again on another one.

        Raises
        ------
        ComputeError, ConfigError
            As `check` does, or if a task took several workers with it.
        Exception
            What a task raised.
        """
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        # Processes of this job start from the same files a moment later.
        here = {} if self._config.kind == "local" else code_identity()
        folder = os.getcwd()
        numbers: dict[Any, int] = {}
        futures: dict[Any, Future] = {}
        for number, task in enumerate(tasks):
            # Not pure: two tasks with equal arguments are still two.
            future = self.client.submit(run_task, work, task, here, folder, pure=False)
            numbers[future.key], futures[future.key] = number, future
            future.add_done_callback(done.put)
        places: dict[Place, int] = {}
        while futures:
            try:
                future = done.get(timeout=CHECK_SECONDS)
            except queue.Empty:
                self.check()
                continue
            place, found = self._result(future)
            places[place] = places.get(place, 0) + 1
            futures.pop(future.key).release()
            yield numbers[future.key], found
        _log_places(places)

    def _result(self, future: Future) -> Any:
        # Not future.result(): where the worker is lost that holds the result, the task runs again,
        # and there may be nothing left to run it.
        loop = cast(Any, self.client.loop).asyncio_loop
        got = asyncio.run_coroutine_threadsafe(self.client.gather(future, asynchronous=True), loop)
        try:
            while not wait([got], CHECK_SECONDS).done:
                self.check()
            return got.result()
        except KilledWorker as error:
            raise ComputeError(
                f"a task is given up, as {error.allowed_failures + 1} Dask workers died of it or "
                f"with it, the last one being {error.last_worker.name}",
                where="compute.dask",
                fix="give workers more memory (compute.dask.slurm.memory, or mem_mb of the rule); "
                "if they were killed for another reason, run snakemake again",
            ) from error
        except (CancelledError, OSError) as error:
            if future.status == "error":  # the task's own
                raise
            raise self._scheduler_lost() from error
        finally:
            got.cancel()

    def _scheduler_lost(self) -> ComputeError:
        address = self.client.scheduler.address if self.client.scheduler else "?"
        return ComputeError(
            f"the connection to Dask's scheduler at {address} is lost",
            where="compute.dask",
            fix="look why the scheduler has ended, then run snakemake again",
        )


_NO_WORKERS = {
    "local": "look for the reason above in this log; memory is the most common one",
    "address": "start workers of that scheduler, or wait longer (compute.dask.wait_minutes)",
    "slurm": "ask for fewer or smaller worker jobs (compute.dask.slurm), or wait longer "
    "(compute.dask.wait_minutes); squeue says why jobs are waiting",
}


@contextlib.contextmanager
def dask_workers(config: DaskConfig, threads: int) -> Iterator[Workers]:
    """Yield a connection to Dask's workers, and shut down what was started for it.

    Parameters
    ----------
    config : DaskConfig
        Local processes, a scheduler's address, or workers as Slurm jobs.
    threads : int
        Cores of the job; the number of local workers where the config names none.

    Raises
    ------
    ConfigError
        If the kind is `address` without one, or dask-jobqueue or Slurm is not there for `slurm`.
    ComputeError
        If there is no scheduler at the address.
    """
    with contextlib.ExitStack() as stack:
        cluster = None
        if config.kind == "address":
            client = stack.enter_context(_client_of_address(config))
        elif config.kind == "slurm":
            cluster = stack.enter_context(_slurm_cluster(config))
            client = stack.enter_context(Client(cluster))
        else:
            local = stack.enter_context(_local_cluster(config, threads))
            client = stack.enter_context(Client(local))
        log.info("Dask: dashboard at %s", client.dashboard_link)
        yield Workers(client, config, cluster)


def _client_of_address(config: DaskConfig) -> Client:
    if not config.address:
        raise ConfigError(
            "dask.kind is 'address' but no address is given",
            where="compute.dask.address",
            fix="give the scheduler's address, such as tcp://10.0.0.1:8786",
        )
    try:
        return Client(config.address)
    except (OSError, ValueError, TypeError) as error:
        raise ComputeError(
            f"no Dask scheduler answers at {config.address} ({error})",
            where="compute.dask.address",
            fix="start one there with 'dask scheduler', or correct the address",
        ) from error


def _local_cluster(config: DaskConfig, threads: int) -> LocalCluster:
    # Set before the workers start: the variables are read when their numerical libraries load.
    previous = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        # A worker that pauses keeps its task for ever; one that needs too much is killed anyway.
        with dask.config.set({"distributed.worker.memory.pause": False}):
            return LocalCluster(
                n_workers=config.workers or threads,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
                # Other users of a shared node could else run code through the scheduler.
                security=True,
            )
    finally:
        for name, value in previous.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _slurm_cluster(config: DaskConfig) -> contextlib.AbstractContextManager:
    try:
        from artneuro.core.dask_slurm import slurm_cluster
    except ModuleNotFoundError as error:
        if error.name != "dask_jobqueue":
            raise
        raise ConfigError(
            "dask.kind is 'slurm' but dask-jobqueue is not installed",
            where="compute.dask.kind",
            fix="pip install 'artneuro[slurm]'",
        ) from error
    return slurm_cluster(config, ONE_THREAD)


def _log_places(places: dict[Place, int]) -> None:
    """Say where tasks ran, and warn of processors that may round differently."""
    hosts: dict[str, int] = {}
    for place, n in places.items():
        hosts[place.host] = hosts.get(place.host, 0) + n
    log.info("Dask: tasks ran on %s", ", ".join(f"{h} ({n})" for h, n in sorted(hosts.items())))
    kinds = sorted({place.processor for place in places})
    if len(kinds) > 1:
        log.warning(
            "Dask: workers use kernels for different processors (%s), so that the last bits of "
            "numbers may depend on which worker ran a task; ask for one kind of node (such as "
            "compute.dask.slurm.extra_directives: [--constraint=...])",
            "; ".join(kinds),
        )
