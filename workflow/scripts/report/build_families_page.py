"""Write the page about families of neurons."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.families import build_families_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_families_page(
            statistics=job.input.statistics,
            families=job.input.families,
            explanations=job.input.explanations,
            positions=job.input.positions,
            examples=job.input.examples,
            groups=job.input.groups,
            thresholds=job.cfg["families"],
            output=Path(job.output.page),
        )
