"""Write the page about the neurons that tell the class of a sequence."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.context_neurons import build_context_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_context_page(
            ablations=job.input.ablations,
            activations=job.input.activations,
            tokens=job.input.tokens,
            output=Path(job.output.page),
        )
