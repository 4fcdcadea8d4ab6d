"""Fit the equations of a field with settings that the truth chooses."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.dynamics.achievability import score_fields
from artneuro.dynamics.config import DynamicsConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DynamicsConfig(**job.cfg["dynamics"])
        score_fields(
            config,
            job.wildcards.system,
            Path(job.input.store),
            Path(job.output.scores),
            Path(job.output.times),
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
        job.note(seed=config.seed)
