"""Hours, bytes and memory of each planned job."""

from __future__ import annotations

from dataclasses import dataclass

from artneuro.core.errors import ConfigError
from artneuro.planning.jobs import PlannedJob
from artneuro.planning.model_work import MODEL_COSTS
from artneuro.planning.rates import Rates
from artneuro.planning.sizes import Sizes
from artneuro.planning.table_work import TABLE_COSTS
from artneuro.planning.work import Cost, Work

COSTS: dict[str, Cost] = {**MODEL_COSTS, **TABLE_COSTS}

# Bytes of a process with its libraries, of those that the prediction of memory is for.
PROCESS = 4e8


@dataclass(frozen=True)
class JobEstimate:
    """What a job takes.

    Attributes
    ----------
    job : PlannedJob
    cpu : float
        Seconds of one core. Of a job on a GPU, those of the core that drives it.
    gpu : float
        Seconds of one GPU.
    wall : float
        Seconds from start to end with the threads of the job.
    stored : float
        Bytes of results.
    memory, device_memory : float
        Predicted bytes of main memory (0: not predicted) and on the GPU.
    told : bool
        Whether sizes and rates tell the time; else it is what the job asks for.
    """

    job: PlannedJob
    cpu: float
    gpu: float
    wall: float
    stored: float
    memory: float
    device_memory: float
    told: bool


def estimate(job: PlannedJob, sizes: Sizes, rates: Rates) -> JobEstimate | None:
    """What a job takes; None for a target, which runs nothing.

    Raises
    ------
    ConfigError
        If nothing is known of the job's rule.
    """
    if job.target:
        return None
    cost = COSTS.get(job.rule)
    if cost is None:
        raise ConfigError(
            f"nothing is known of what jobs of the rule {job.rule!r} take",
            fix="add it to artneuro.planning.model_work or table_work",
        )
    work = cost.work(sizes, job.wildcards)
    told = cost.told is None or cost.told(sizes, job.wildcards)
    rate = rates.of(job.rule)
    stored = work.stored + rate.bytes_per_row * work.rows
    memory = (work.memory + PROCESS) * workers_of(job, sizes) if work.memory else 0.0
    if not told:
        wall = cpu = 60.0 * job.runtime
        return JobEstimate(job, cpu, 0.0, wall, stored, memory, 0.0, told)
    if job.gpus:
        seconds = gpu_seconds(job.rule, work, stored, sizes, rates)
        return JobEstimate(job, seconds, seconds, seconds, stored, memory, work.device_memory, told)
    own = rate.per_unit * work.units + parts_seconds(work, rates) + work.reads / rates.decode
    waits = rate.start + work.downloads / rates.network
    busy = max(1.0, rates.efficiency * job.threads)
    cpu = rate.start + own
    return JobEstimate(job, cpu, 0.0, waits + own / busy, stored, memory, 0.0, told)


def gpu_seconds(rule: str, work: Work, stored: float, sizes: Sizes, rates: Rates) -> float:
    """Seconds of a job on its GPU: start, weights from disk, products, memory, and writing."""
    gpu = rates.gpu
    precision = "float32"
    if rule == "accumulate_correlations":
        precision = sizes.config.universality.precision
    return (
        rates.gpu_start
        + work.reads / rates.disk
        + work.flop / (1e12 * gpu.half * gpu.forward)
        + work.products / gpu.rate(precision)
        + work.traffic / (1e12 * gpu.bandwidth * gpu.traffic)
        + stored / rates.encode
    )


def parts_seconds(work: Work, rates: Rates) -> float:
    """Seconds of one core of the parts of a work that have rates of their own."""
    return sum(rates.of(name).per_unit * units for name, units in work.parts.items())


def workers_of(job: PlannedJob, sizes: Sizes) -> int:
    """Processes of a job that each hold a layer of activations."""
    dask = sizes.config.compute.dask
    if job.rule in ("fit_probes", "fit_sparsity_curves", "enumerate_neurons"):
        return dask.workers or job.threads if dask.kind == "local" else 1
    return 1
