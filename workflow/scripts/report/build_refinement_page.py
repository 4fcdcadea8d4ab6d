"""Write the page about what single neurons respond to."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.config import ReportConfig
from artneuro.report.refinement import build_refinement_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_refinement_page(
            ReportConfig(**job.cfg["report"]),
            neurons=job.input.neurons,
            tokens=job.input.tokens,
            effects=job.input.effects,
            ngrams=job.input.ngrams,
            examples=job.input.examples,
            scores=job.input.scores,
            output=Path(job.output.page),
        )
