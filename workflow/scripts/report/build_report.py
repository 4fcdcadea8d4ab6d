"""Write the HTML report about everything that was run."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.config import ReportConfig
from artneuro.report.page import build_report

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_report(
            ReportConfig(**job.cfg["report"]),
            models=job.input.models,
            sources=job.input.get("sources", []),
            sequences=job.input.sequences,
            labels=job.input.labels,
            rows=job.input.rows,
            scores=job.input.scores,
            best_neurons=job.input.best_neurons,
            transfer=job.input.get("transfer", []),
            pages=job.cfg["pages"],
            output=Path(job.output.page),
        )
