"""Write the page about systems that models learn in context."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.in_context import build_in_context_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_in_context_page(
            predictions=job.input.predictions,
            distributions=job.input.distributions,
            probes=job.input.probes,
            outputs=job.input.outputs,
            equations=job.input.equations,
            output=Path(job.output.page),
        )
