"""Hold entropy neurons and controls at values, and measure what becomes of the prediction."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.interventions.entropy_neurons import pin_entropy_neurons
from artneuro.interventions.roles_config import EntropyNeuronsConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = pin_entropy_neurons(
            EntropyNeuronsConfig(**job.cfg["entropy_neurons"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            effects=Path(job.input.effects),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            output=Path(job.output.entropy),
            model=job.wildcards.model,
            text=job.wildcards.text,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
