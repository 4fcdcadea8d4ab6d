"""Write the page about functional roles of neurons."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.roles import build_roles_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_roles_page(
            effects=job.input.effects,
            examples=job.input.examples,
            entropy=job.input.get("entropy", ()),
            scores=job.input.get("scores", ()),
            attention=job.input.get("attention", ()),
            next_tokens=job.input.get("next_tokens", ()),
            kurtosis=job.cfg["kurtosis"],
            output=Path(job.output.page),
        )
