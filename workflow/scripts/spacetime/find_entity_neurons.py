"""Find neurons that read or write along the probes' directions, and project activations on them."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.config import NeuronsConfig
from artneuro.spacetime.neurons import find_entity_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = find_entity_neurons(
            NeuronsConfig(**job.cfg["neurons"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            activations=Path(job.input.store),
            rows=Path(job.input.rows),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            entities=Path(job.input.entities),
            directions=Path(job.input.directions),
            neurons=Path(job.output.neurons),
            projections=Path(job.output.projections),
            model=job.wildcards.model,
            table=job.wildcards.entities,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
