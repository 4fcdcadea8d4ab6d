"""Fit linear probes for places and dates on every layer, and what they are held against."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.config import ProbesConfig
from artneuro.spacetime.fit import Outputs, fit_entity_probes

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = fit_entity_probes(
            ProbesConfig(**job.cfg["probes"]),
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            sequences=Path(job.input.sequences),
            tokens=Path(job.input.tokens),
            entities=Path(job.input.entities),
            outputs=Outputs(
                scores=Path(job.output.scores),
                predictions=Path(job.output.predictions),
                directions=Path(job.output.directions),
                dimensions=Path(job.output.dimensions),
            ),
            model=job.wildcards.model,
            table=job.wildcards.entities,
            prompt=job.wildcards.prompt,
            threads=job.threads,
        )
        job.note(**asdict(facts))
