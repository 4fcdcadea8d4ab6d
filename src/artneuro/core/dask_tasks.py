"""What runs on a Dask worker around each task: the same code, folder and threads as in the job."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from distributed import get_worker
from threadpoolctl import threadpool_info, threadpool_limits

from artneuro.core.errors import CodeError, ComputeError
from artneuro.core.hashing import sha256_file
from artneuro.core.job import versions

T = TypeVar("T")


class Place(NamedTuple):
    """Where a task ran: its node, and the processors that its libraries compute for."""

    host: str
    processor: str


PACKAGE = Path(__file__).resolve().parents[1]


def code_identity() -> dict[str, str]:
    """Hashes of the package's modules that are in use, and versions of libraries."""
    names = [name for name in list(sys.modules) if name.partition(".")[0] == PACKAGE.name]
    files = [Path(found) for name in names if (found := sys.modules[name].__file__)]
    return {**{f.relative_to(PACKAGE.parent).as_posix(): _hash(f) for f in files}, **versions()}


@functools.cache
def _hash(file: Path) -> str:
    return sha256_file(file) if file.is_file() else "missing"


@functools.cache
def _processor() -> str:
    """Of the kernels that the linear algebra chose, which decide the last bits of sums."""
    found = {
        f"{i['internal_api']} {i['architecture']}"
        for i in threadpool_info()
        if i.get("architecture")
    }
    return ", ".join(sorted(found)) or "unknown"


def _node() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def run_task(
    work: Callable[..., T], task: tuple[Any, ...], code: Mapping[str, str], folder: str
) -> tuple[Place, T]:
    """What `work(*task)` returns, and where it ran; runs on a worker.

    Parameters
    ----------
    work : callable
        A function of a module.
    task : tuple
        Its arguments; paths in them may be relative to `folder`.
    code : mapping
        `code_identity` of the job, or some of it.
    folder : str
        Working directory of the job.

    Raises
    ------
    CodeError
        If the worker runs other code or other versions than the job.
    ComputeError
        If the worker has several threads, or does not see the job's folder.
    """
    check_code(code)
    worker = get_worker()
    if worker.state.nthreads != 1:
        raise ComputeError(
            f"a Dask worker has {worker.state.nthreads} threads, with which tables would not be "
            "the same bit for bit",
            where=f"the worker at {worker.address}",
            fix="start workers with 'dask worker --nworkers N --nthreads 1'",
        )
    if not os.path.isdir(folder):
        raise ComputeError(
            f"a Dask worker does not see the folder {folder}",
            where=f"the worker at {worker.address}",
            fix="start workers on nodes that share the file system of the job",
        )
    with contextlib.chdir(folder), threadpool_limits(1):
        return Place(_node(), _processor()), work(*task)


def check_code(code: Mapping[str, str]) -> None:
    """Make sure that this process runs the same code as the job.

    Parameters
    ----------
    code : mapping
        `code_identity` of the job.

    Raises
    ------
    CodeError
        If it does not, naming what differs.
    """
    here = versions()
    differing = []
    for name, theirs in sorted(code.items()):
        ours = _hash(PACKAGE.parent / name) if name.endswith(".py") else here.get(name, "missing")
        if ours != theirs:
            differing.append(f"{name} {ours[:12]} instead of {theirs[:12]}")
    if differing:
        raise CodeError(
            f"a Dask worker runs other code than the job: {'; '.join(differing)}",
            where=f"{PACKAGE} on {_node()}",
            fix="start workers from the environment and the checkout of the workflow",
        )
