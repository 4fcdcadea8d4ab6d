"""Plot the sparsity curves of a model on a dataset."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.sparsity import plot_sparsity

if __name__ == "__main__":
    with Job(snakemake) as job:
        plot_sparsity(Path(job.input.sparsity), Path(job.output.figure))
