"""Compare the methods of choosing neurons on one model and dataset."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.comparison import compare_methods

if __name__ == "__main__":
    with Job(snakemake) as job:
        compare_methods(Path(job.input.scores), Path(job.input.times), Path(job.output.methods))
