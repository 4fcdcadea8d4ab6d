"""The plan of a config: estimates of all jobs, by stage and by model, and what does not fit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from artneuro.planning.estimate import JobEstimate, estimate
from artneuro.planning.jobs import PlannedJob
from artneuro.planning.model_work import device_bytes
from artneuro.planning.rates import Rates
from artneuro.planning.sizes import Sizes

# Share of a GPU's memory that weights and activations may fill.
USABLE = 0.9
DUMPS = ("dump_activations", "dump_entities", "dump_share", "merge_shares")


@dataclass(frozen=True)
class Total:
    """What some jobs take together.

    Attributes
    ----------
    name : str
    jobs, gpu_jobs : int
    cpu, gpu : float
        Hours of one core and of one GPU.
    longest : float
        Hours of the longest job.
    stored : float
        Bytes of results.
    asked, needed : float
        Most bytes of main memory that a job asks for, and that one is predicted to need.
    """

    name: str
    jobs: int
    gpu_jobs: int
    cpu: float
    gpu: float
    longest: float
    stored: float
    asked: float
    needed: float


@dataclass(frozen=True)
class ModelTotal:
    """What a model takes.

    Attributes
    ----------
    name : str
    parameters : int
    weights, on_gpu : float
        Bytes of its weights on disk and where it runs.
    activations : float
        Bytes of its activations that are stored.
    gpus : int
        GPUs that weights and activations of a batch fit on.
    gpu : float
        Hours of one GPU, of all jobs that name the model.
    source : str
        Where its sizes are from.
    """

    name: str
    parameters: int
    weights: float
    on_gpu: float
    activations: float
    gpus: int
    gpu: float
    source: str


@dataclass(frozen=True)
class Plan:
    """Jobs, what they take, and what that follows from.

    Attributes
    ----------
    jobs : list of PlannedJob
    estimates : list of JobEstimate
        Of the jobs that run something.
    sizes : Sizes
    rates : Rates
    stages : dict of str to str
        The stage of each rule.
    """

    jobs: list[PlannedJob]
    estimates: list[JobEstimate]
    sizes: Sizes
    rates: Rates
    stages: dict[str, str]

    @cached_property
    def totals(self) -> list[Total]:
        """What each stage takes, in the order of the workflow, and all of them."""
        found = self._totals(self.stages)
        return [*found, _total("all", self.estimates)]

    @cached_property
    def rules(self) -> list[Total]:
        """What the jobs of each rule take, in the order of the workflow."""
        return self._totals({rule: rule for rule in self.stages})

    def _totals(self, names: dict[str, str]) -> list[Total]:
        groups: dict[str, list[JobEstimate]] = {name: [] for name in names.values()}
        for one in self.estimates:
            groups[names[one.job.rule]].append(one)
        return [_total(name, jobs) for name, jobs in groups.items() if jobs]

    @cached_property
    def models(self) -> list[ModelTotal]:
        """What each model takes."""
        stored: dict[str, float] = defaultdict(float)
        hours: dict[str, float] = defaultdict(float)
        memory: dict[str, float] = defaultdict(float)
        for one in self.estimates:
            name = one.job.wildcards.get("model", "")
            hours[name] += one.gpu / 3600
            memory[name] = max(memory[name], one.device_memory)
            stored[name] += one.stored if one.job.rule in DUMPS else 0.0
        usable = USABLE * 1e9 * self.rates.gpu.memory
        return [
            ModelTotal(
                name,
                model.parameters,
                model.stored_bytes,
                device_bytes(self.sizes, name),
                stored[name],
                int(-(-max(memory[name], device_bytes(self.sizes, name)) // usable)),
                hours[name],
                model.source,
            )
            for name, model in self.sizes.models.items()
        ]

    def problems(self) -> Iterator[str]:
        """What is predicted not to fit, one line a rule."""
        usable = USABLE * 1e9 * self.rates.gpu.memory
        late: dict[str, list[JobEstimate]] = defaultdict(list)
        large: dict[str, list[JobEstimate]] = defaultdict(list)
        wide: dict[str, list[JobEstimate]] = defaultdict(list)
        for one in self.estimates:
            if one.told and one.wall > 60 * one.job.runtime:
                late[one.job.rule].append(one)
            if one.memory > 1e6 * one.job.mem_mb:
                large[one.job.rule].append(one)
            if one.job.gpus and one.device_memory > usable * one.job.gpus:
                wide[one.job.rule].append(one)
        for rule, jobs in late.items():
            most = max(jobs, key=lambda one: one.wall)
            yield (
                f"{rule}: {_of(jobs)} may take longer than asked for, {_named(most)} "
                f"{most.wall / 3600:.1f} h of {most.job.runtime / 60:.0f} h"
            )
        for rule, jobs in large.items():
            most = max(jobs, key=lambda one: one.memory)
            yield (
                f"{rule}: {_of(jobs)} may need more memory than asked for, {_named(most)} "
                f"{most.memory / 1e9:.0f} GB of {most.job.mem_mb / 1e3:.0f} GB"
            )
        for rule, jobs in wide.items():
            most = max(jobs, key=lambda one: one.device_memory)
            yield (
                f"{rule}: {_of(jobs)} may need more than the memory of the GPUs asked for, "
                f"{_named(most)} {most.device_memory / 1e9:.0f} GB "
                f"on {most.job.gpus} x {self.rates.gpu.memory:g} GB"
            )

    def untold(self) -> list[tuple[str, int, float]]:
        """Rules whose time nothing tells: jobs, and the hours that they ask for in all."""
        jobs: Counter[str] = Counter()
        hours: dict[str, float] = defaultdict(float)
        for one in self.estimates:
            if not one.told:
                jobs[one.job.rule] += 1
                hours[one.job.rule] += one.job.runtime / 60
        return [(rule, n, hours[rule]) for rule, n in jobs.items()]


def make_plan(jobs: list[PlannedJob], sizes: Sizes, rates: Rates, stages: dict[str, str]) -> Plan:
    """Estimate all jobs.

    Raises
    ------
    ConfigError
        If nothing is known of the rule of a job.
    """
    # Snakemake's order differs from run to run.
    places = {rule: i for i, rule in enumerate(stages)}
    jobs = sorted(jobs, key=lambda job: (places.get(job.rule, -1), sorted(job.wildcards.items())))
    estimates = [found for job in jobs if (found := estimate(job, sizes, rates)) is not None]
    return Plan(jobs, estimates, sizes, rates, stages)


def _total(name: str, jobs: list[JobEstimate]) -> Total:
    return Total(
        name,
        len(jobs),
        sum(1 for one in jobs if one.job.gpus),
        sum(one.cpu for one in jobs if one.told) / 3600,
        sum(one.gpu for one in jobs) / 3600,
        max((one.wall for one in jobs if one.told), default=0.0) / 3600,
        sum(one.stored for one in jobs),
        max((1e6 * one.job.mem_mb for one in jobs), default=0.0),
        max((one.memory for one in jobs), default=0.0),
    )


def _of(jobs: list[JobEstimate]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def _named(one: JobEstimate) -> str:
    names = ", ".join(one.job.wildcards.values())
    return f"({names})" if names else ""
