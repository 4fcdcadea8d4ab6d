"""Write the page about superposition of compound words."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.superposition import build_superposition_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_superposition_page(
            superposition=job.input.superposition,
            histograms=job.input.histograms,
            basis=job.input.basis,
            weights=job.input.weights,
            sparsity=job.input.get("sparsity", []),
            output=Path(job.output.page),
        )
