"""Write what every neuron of a model does to the output, and which neurons are like it."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.weights.config import WeightsConfig
from artneuro.weights.effects import measure_effects

if __name__ == "__main__":
    with Job(snakemake) as job:
        measure_effects(
            WeightsConfig(**job.cfg),
            Path(job.input.weights),
            Path(job.input.info),
            Path(job.input.tokenizer),
            Path(job.output.effects),
            Path(job.output.examples),
            model=job.wildcards.model,
            device=job.compute["device"],
            threads=job.threads,
        )
