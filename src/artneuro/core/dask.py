"""The one place that starts Dask."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from distributed import Client, LocalCluster

from artneuro.core.config import DaskConfig
from artneuro.core.errors import ConfigError

log = logging.getLogger(__name__)

# Workers share the job's cores, so each keeps to one thread (two on a busy machine were slower).
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@contextlib.contextmanager
def dask_client(config: DaskConfig, threads: int) -> Iterator[Client]:
    """Yield a connected Dask client and shut down what was started for it.

    Parameters
    ----------
    config : DaskConfig
        Local processes, a scheduler's address, or workers as Slurm jobs.
    threads : int
        Cores of the job; the number of workers where the config names none.

    Raises
    ------
    ConfigError
        If the kind is `address` without one, or dask-jobqueue is not installed for `slurm`.
    """
    with contextlib.ExitStack() as stack:
        if config.kind == "address":
            if not config.address:
                raise ConfigError(
                    "dask.kind is 'address' but no address is given",
                    where="compute.dask.address",
                    fix="give the scheduler's address, such as tcp://10.0.0.1:8786",
                )
            client = stack.enter_context(Client(config.address))
        else:
            slurm = config.kind == "slurm"
            cluster = _slurm_cluster(config) if slurm else _local_cluster(config, threads)
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        log.info(
            "Dask: %d workers, dashboard at %s",
            len(client.scheduler_info(n_workers=-1)["workers"]),
            client.dashboard_link,
        )
        yield client


def _local_cluster(config: DaskConfig, threads: int) -> LocalCluster:
    # Set before the workers start: the variables are read when their numerical libraries load.
    previous = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
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


def _slurm_cluster(config: DaskConfig):
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(
            "dask.kind is 'slurm' but dask-jobqueue is not installed",
            where="compute.dask.kind",
            fix="pip install 'artneuro[slurm]'",
        ) from error
    slurm = config.slurm
    cluster = SLURMCluster(
        queue=slurm.partition,
        account=slurm.account,
        cores=slurm.cores,
        processes=slurm.cores,
        memory=slurm.memory,
        walltime=slurm.walltime,
        interface=slurm.interface,
        job_extra_directives=slurm.extra_directives,
        security=True,
        job_script_prologue=[f"export {name}=1" for name in ONE_THREAD],
    )
    cluster.scale(jobs=config.workers or 1)
    return cluster
