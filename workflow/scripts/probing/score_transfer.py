"""Score the neurons that another dataset chose on this one."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.transfer import score_transfer

if __name__ == "__main__":
    with Job(snakemake) as job:
        score_transfer(
            ProbingConfig(**job.cfg["probing"]),
            source_scores=Path(job.input.source_scores),
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            output=Path(job.output.transfer),
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
        )
