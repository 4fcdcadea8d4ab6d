"""Fetch, verify and unpack a pinned source."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.core.sources import SourceConfig, fetch_source

if __name__ == "__main__":
    with Job(snakemake) as job:
        fetch_source(
            job.wildcards.source,
            SourceConfig(**job.cfg["source"]),
            Path(job.output.folder),
            cache=Path("resources/cache"),
        )
