"""What every config section has in common, and the settings that no stage owns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Names become folders and wildcards, so they are kept to characters that are safe in both.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DaskSlurmConfig(Section):
    """Workers that dask-jobqueue starts as Slurm jobs."""

    partition: str | None = Field(None, description="Slurm partition of the workers.")
    account: str | None = Field(None, description="Slurm account of the workers.")
    cores: int = Field(4, ge=1, description="Cores of one worker job.")
    memory: str = Field("16GB", description="Memory of one worker job.")
    walltime: str = Field("02:00:00", description="Time limit of one worker job, HH:MM:SS.")
    interface: str | None = Field(
        None, description="Network interface that scheduler and workers talk over, such as ib0."
    )
    extra_directives: list[str] = Field([], description="Further options of sbatch.")


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
        description="Worker processes (local) or worker jobs (slurm); empty: one for each of the "
        "job's threads.",
    )
    address: str | None = Field(
        None, description="Scheduler address such as tcp://10.0.0.1:8786, for kind address."
    )
    slurm: DaskSlurmConfig = Field(
        DaskSlurmConfig(), description="Settings of the worker jobs, for kind slurm."
    )


class ComputeConfig(Section):
    """Which device computes, and how the work inside a job is spread. Results do not depend on it
    beyond the stated tolerances, so a change here reruns nothing.
    """

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models run. auto: a GPU where torch sees one, else the CPU."
    )
    dask: DaskConfig = Field(DaskConfig(), description="Parallel work inside one job.")
