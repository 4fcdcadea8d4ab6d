"""Ablate the neurons that tell the class of a sequence, and measure the loss in every class."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.interventions.config import ContextNeuronsConfig
from artneuro.interventions.context_neurons import ablate_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = ablate_neurons(
            ContextNeuronsConfig(**job.cfg["context_neurons"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.input.labels),
            scores=Path(job.input.scores),
            ablations=Path(job.output.ablations),
            activations=Path(job.output.activations),
            token_table=Path(job.output.tokens),
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            document_token=job.cfg["document_token"],
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
