"""Time single fits of the methods of sparse regression."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.timing import time_regressions

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DynamicsConfig(**job.cfg["dynamics"])
        time_regressions(
            config, job.wildcards.system, Path(job.input.store), Path(job.output.runtime)
        )
        job.note(seed=config.seed)
