"""Draw the table of the methods of choosing neurons."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.sparsity import plot_methods

if __name__ == "__main__":
    with Job(snakemake) as job:
        plot_methods(Path(job.input.methods), Path(job.output.figure))
