"""Write the page with the maps and timelines that probes read from models."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.maps import build_maps_page

if __name__ == "__main__":
    with Job(snakemake) as job:
        tables = ("predictions", "scores", "holdouts", "entities")
        build_maps_page(
            **{name: [Path(path) for path in job.input[name]] for name in tables},
            world_atlas=next(map(Path, job.input.world_atlas), None),
            us_atlas=next(map(Path, job.input.us_atlas), None),
            output=Path(job.output.page),
        )
