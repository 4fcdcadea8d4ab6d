"""Read a table of people."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.people import read_people
from artneuro.datasets.people_config import people_source

if __name__ == "__main__":
    with Job(snakemake) as job:
        read_people(
            people_source(job.cfg["people"]),
            {Path(folder).name: Path(folder) for folder in job.input.get("sources", [])},
            Path(job.output.people),
        )
