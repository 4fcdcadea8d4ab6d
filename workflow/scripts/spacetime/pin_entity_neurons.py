"""Hold a time neuron and others of its layer at values, and follow the next token."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.config import PinningConfig
from artneuro.spacetime.pinning import pin_entity_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = pin_entity_neurons(
            PinningConfig(**job.cfg["pinning"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokenizer=Path(job.input.tokenizer),
            entities=Path(job.input.entities),
            neurons=Path(job.input.neurons),
            output=Path(job.output.predictions),
            model=job.wildcards.model,
            table=job.wildcards.entities,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
