"""Store all correlations of a group as Zarr."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.config import GroupConfig, UniversalityConfig
from artneuro.universality.summary import write_matrix

if __name__ == "__main__":
    with Job(snakemake) as job:
        write_matrix(
            UniversalityConfig(**job.cfg["universality"]),
            GroupConfig(**job.cfg["group"]),
            sums=[Path(path) for path in job.input.sums],
            path=Path(job.output.matrix),
        )
