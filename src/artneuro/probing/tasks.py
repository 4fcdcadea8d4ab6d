"""Many small tasks of one job as one Dask graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from artneuro.core.config import DaskConfig
from artneuro.core.logs import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")


def run_tasks(
    work: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    dask: DaskConfig,
    threads: int,
    *,
    label: str,
) -> list[T]:
    """What `work(*task)` returns for each task, in their order, whichever worker ran it.

    A single local worker is this process itself.

    Parameters
    ----------
    work : callable
        A function of a module; runs on the workers.
    tasks : sequence of tuple
        Small arguments, such as paths and numbers.
    dask : DaskConfig
        Where the tasks run.
    threads : int
        Cores of the job.
    label : str
        Name of the progress lines.
    """
    if dask.kind == "local" and (dask.workers or threads) == 1:
        return _run_here(work, tasks, label)

    # Seconds of imports that jobs of one core do without.
    from distributed import as_completed

    from artneuro.core.dask import dask_client

    parts: dict[int, T] = {}
    with dask_client(dask, threads) as client:
        # Not pure: two tasks with equal arguments are still two.
        futures = {
            client.submit(work, *task, pure=False): place for place, task in enumerate(tasks)
        }
        counter = Progress(label, len(tasks), "tasks", log)
        for future, part in as_completed(futures, with_results=True, raise_errors=True):
            parts[futures[future]] = part
            future.release()
            counter.add(1)
    return [parts[place] for place in range(len(tasks))]


def _run_here(work: Callable[..., T], tasks: Sequence[tuple[Any, ...]], label: str) -> list[T]:
    """The same in this process: one worker would only import everything a second time."""
    counter = Progress(label, len(tasks), "tasks", log)
    parts = []
    # As workers have it (`artneuro.core.dask.ONE_THREAD`).
    with threadpool_limits(1):
        for task in tasks:
            parts.append(work(*task))
            counter.add(1)
    return parts
