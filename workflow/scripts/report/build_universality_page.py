"""Write the page about universal neurons."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.universality import build_universality_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_universality_page(
            neurons=job.input.neurons,
            matches=job.input.matches,
            curves=job.input.curves,
            statistics=job.input.statistics,
            effects=job.input.effects,
            threshold=job.cfg["threshold"],
            output=Path(job.output.page),
        )
