"""Give a model sequences of a system; write what it expects next and what it holds of them."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.dynamics.in_context_config import InContextConfig
from artneuro.dynamics.in_context_predictions import predict_in_context

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = predict_in_context(
            InContextConfig(**job.cfg["in_context"]),
            weights=Path(job.input.weights),
            tokenizer=Path(job.input.tokenizer),
            predictions=Path(job.output.predictions),
            distributions=Path(job.output.distributions),
            residuals=Path(job.output.residuals),
            model=job.wildcards.model,
            system=job.wildcards.system,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
