"""Build a table of entities with their places or dates."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.entities import build_entities
from artneuro.datasets.entities_config import EntitiesConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_entities(
            EntitiesConfig(**job.cfg["entities"]),
            {Path(folder).name: Path(folder) for folder in job.input.get("sources", [])},
            # A query's table is in the folder of its name.
            {Path(table).parent.name: Path(table) for table in job.input.get("queries", [])},
            Path(job.output.entities),
            Path(job.output.leakage),
        )
