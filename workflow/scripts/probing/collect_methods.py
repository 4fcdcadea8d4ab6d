"""Compare the methods of choosing neurons over all models and datasets."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.comparison import collect_methods

if __name__ == "__main__":
    with Job(snakemake) as job:
        collect_methods(
            [Path(path) for path in job.input.scores],
            [Path(path) for path in job.input.times],
            Path(job.output.methods),
            Path(job.output.by_dataset),
        )
