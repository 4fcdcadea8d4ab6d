"""Build a table of places or works from DBpedia."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.dbpedia import query_dbpedia
from artneuro.datasets.dbpedia_config import DbpediaConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = query_dbpedia(
            DbpediaConfig.model_validate(job.cfg["dbpedia"]),
            # Kept beside other downloads: no other job may delete it, and nothing is asked twice.
            cache=Path("resources/cache/dbpedia"),
            output=Path(job.output.things),
            problems=Path(job.output.problems),
        )
        job.note(dbpedia=facts)
