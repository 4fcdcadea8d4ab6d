"""Plot the F1 of neurons on the dataset that chose them and on another."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.figures import plot_transfer

if __name__ == "__main__":
    with Job(snakemake) as job:
        plot_transfer(Path(job.input.transfer), Path(job.output.figure))
