"""Recover the equations of a system by every method, and score them."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.recovery import score_recovery

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DynamicsConfig(**job.cfg["dynamics"])
        tables = ("recovery", "models", "inclusion", "times")
        score_recovery(
            config,
            job.wildcards.system,
            Path(job.input.store),
            {name: Path(getattr(job.output, name)) for name in tables},
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
        job.note(seed=config.seed)
