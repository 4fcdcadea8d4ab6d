"""Fit the force of a system with and without constraints."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.forces import score_forces

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DynamicsConfig(**job.cfg["dynamics"])
        score_forces(
            config,
            job.wildcards.system,
            Path(job.input.store),
            Path(job.output.scores),
            Path(job.output.times),
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
        job.note(seed=config.seed)
