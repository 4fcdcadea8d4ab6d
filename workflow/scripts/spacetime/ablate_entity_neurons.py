"""Hold space or time neurons at zero, and find the tokens that are then predicted worse."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.spacetime.ablation import ablate_entity_neurons
from artneuro.spacetime.config import AblationConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = ablate_entity_neurons(
            AblationConfig(**job.cfg["ablation"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokenizer=Path(job.input.tokenizer),
            neurons=Path(job.input.neurons),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            ablations=Path(job.output.ablations),
            contexts=Path(job.output.contexts),
            model=job.wildcards.model,
            table=job.wildcards.entities,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
