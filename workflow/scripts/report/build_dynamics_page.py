"""Write the page about sparse equations of dynamical systems."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.dynamics import build_dynamics_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_dynamics_page(
            recovery=job.input.recovery,
            models=job.input.models,
            inclusion=job.input.inclusion,
            forces=job.input.forces,
            fields=job.input.fields,
            runtime=job.input.runtime,
            output=Path(job.output.page),
        )
