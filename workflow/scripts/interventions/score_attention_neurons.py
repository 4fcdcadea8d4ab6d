"""Score neurons on the heads that they turn off and on, and ablate the paths of extreme ones."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.interventions.attention_neurons import score_attention_neurons
from artneuro.interventions.roles_config import AttentionNeuronsConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = score_attention_neurons(
            AttentionNeuronsConfig(**job.cfg["attention_neurons"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            scores=Path(job.output.scores),
            ablations=Path(job.output.ablations),
            model=job.wildcards.model,
            text=job.wildcards.text,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
