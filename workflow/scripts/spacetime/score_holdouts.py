"""Train probes without each country, decade or type of entity, and score them on it."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.config import HoldoutsConfig
from artneuro.spacetime.holdouts import score_holdouts

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = score_holdouts(
            HoldoutsConfig(**job.cfg["holdouts"]),
            activations=Path(job.input.store),
            rows=Path(job.input.rows),
            sequences=Path(job.input.sequences),
            entities=Path(job.input.entities),
            scores=Path(job.input.scores),
            output=Path(job.output.holdouts),
            model=job.wildcards.model,
            table=job.wildcards.entities,
        )
        job.note(**asdict(facts))
