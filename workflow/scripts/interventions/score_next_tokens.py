"""Compare the activations of neurons where one of their tokens comes next, and elsewhere."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.interventions.next_tokens import score_next_tokens
from artneuro.interventions.roles_config import NextTokensConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = score_next_tokens(
            NextTokensConfig(**job.cfg["next_tokens"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokenizer=Path(job.input.tokenizer),
            effects=Path(job.input.effects),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            output=Path(job.output.next_tokens),
            model=job.wildcards.model,
            text=job.wildcards.text,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
