"""What every config section has in common, and the settings that no stage owns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# Names become folders and wildcards, so they are kept to characters that are safe in both.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


# Into how many jobs work may be divided: Snakemake plans each of them.
MOST_JOBS = 1000
JobCount = Annotated[int, Field(ge=1, le=MOST_JOBS)]


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DaskSlurmConfig(Section):
    """Workers that dask-jobqueue starts as Slurm jobs."""

    partition: str | None = Field(None, description="Slurm partition of the workers.")
    account: str | None = Field(None, description="Slurm account of the workers.")
    cores: int = Field(4, ge=1, description="Cores of one worker job.")
    memory: str = Field("16GB", description="Memory of one worker job.")
    walltime: str = Field(
        "02:00:00",
        pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$",
        description="Time limit of one worker job, HH:MM:SS or D-HH:MM:SS, 5 minutes or more. Then "
        "another job takes its place: it may be shorter than the work, but not than a task.",
    )
    interface: str | None = Field(
        None, description="Network interface that scheduler and workers talk over, such as ib0."
    )
    extra_directives: list[str] = Field(
        [], description="Further options of sbatch, such as --constraint=icelake."
    )

    def seconds(self) -> int:
        """The time limit of a worker job in seconds."""
        days, _, time = self.walltime.rpartition("-")
        hours, minutes, seconds = (int(part) for part in time.split(":"))
        return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.seconds() < 300:
            raise ValueError(f"walltime must be at least 00:05:00, not {self.walltime}")
        return self


class DaskConfig(Section):
    """Where the parallel work inside one job runs."""

    kind: Literal["local", "address", "slurm"] = Field(
        "local",
        description="local: processes on the job's node. address: a running scheduler. "
        "slurm: workers started by dask-jobqueue from inside the job.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="Worker processes (local; empty: one for each of the job's threads) or worker "
        "jobs (slurm; empty: one), at most. A scheduler at an address has its own.",
    )
    minimum: int | None = Field(
        None,
        ge=0,
        description="Fewest worker jobs (slurm): between it and `workers`, as many are asked for "
        "as the tasks that are left need. Empty: as many as `workers` all the time.",
    )
    wait_minutes: float = Field(
        60,
        gt=0,
        description="How long a job waits while there is no worker at all, at its start or after "
        "all were lost, before it fails.",
    )
    address: str | None = Field(
        None, description="Scheduler address such as tcp://10.0.0.1:8786, for kind address."
    )
    slurm: DaskSlurmConfig = Field(
        DaskSlurmConfig(), description="Settings of the worker jobs, for kind slurm."
    )

    @model_validator(mode="after")
    def _minimum_fits(self) -> Self:
        if self.minimum is not None and self.kind != "slurm":
            raise ValueError("minimum is for kind slurm alone")
        if self.minimum is not None and self.minimum > (self.workers or 1):
            raise ValueError(
                f"minimum ({self.minimum}) must not be above workers ({self.workers or 1})"
            )
        return self


class ComputeConfig(Section):
    """Which device computes, and how the work inside a job is spread. Results do not depend on it
    beyond the stated tolerances, so a change here reruns nothing.
    """

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models run. auto: a GPU where torch sees one, else the CPU."
    )
    dask: DaskConfig = Field(DaskConfig(), description="Parallel work inside one job.")
