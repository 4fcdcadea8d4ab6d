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
        A function of a module; runs on the workers, in the working directory of the job.
    tasks : sequence of tuple
        Small arguments, such as paths and numbers.
    dask : DaskConfig
        Where the tasks run.
    threads : int
        Cores of the job.
    label : str
        Name of the progress lines.

    Raises
    ------
    ConfigError, ComputeError
        If there are no workers (`artneuro.core.dask.dask_workers`) or they were lost.
    Exception
        What a task raised.
    """
    if dask.kind == "local" and (dask.workers or threads) == 1:
        return _run_here(work, tasks, label)

    # Seconds of imports that jobs of one core do without.
    from artneuro.core.dask import dask_workers

    parts: dict[int, T] = {}
    with dask_workers(dask, threads) as workers:
        counter = Progress(label, len(tasks), "tasks", log)
        for number, part in workers.map(work, tasks):
            parts[number] = part
            counter.add(1)
    return [parts[number] for number in range(len(tasks))]


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
