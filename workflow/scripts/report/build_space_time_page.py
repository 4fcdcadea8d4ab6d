"""Write the page about linear models of space and time."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.space_time import build_space_time_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_space_time_page(
            **{name: [Path(path) for path in paths] for name, paths in job.input.items()},
            main_prompt=job.cfg["main_prompt"],
            output=Path(job.output.page),
        )
