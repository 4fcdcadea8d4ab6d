"""Write the page about sparsity and scale."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.config import ReportConfig
from artneuro.report.scale import build_scale_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_scale_page(
            ReportConfig(**job.cfg["report"]),
            models=job.input.models,
            scores=job.input.scores,
            output=Path(job.output.page),
            table=Path(job.output.table),
        )
