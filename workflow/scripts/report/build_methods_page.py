"""Write the page about the methods of choosing neurons."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.methods import build_methods_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_methods_page(
            methods=Path(job.input.methods),
            sparsity=[Path(path) for path in job.input.sparsity],
            single_neurons=[Path(path) for path in job.input.single_neurons],
            pruning=[Path(path) for path in job.input.pruning],
            output=Path(job.output.page),
        )
