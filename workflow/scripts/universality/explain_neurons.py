"""Run a model over a text and write what each of its neurons responds to."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.explain import explain_neurons
from artneuro.universality.explanations_config import ExplanationsConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = explain_neurons(
            ExplanationsConfig(**job.cfg["explanations"]),
            weights=Path(job.input.weights),
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            outputs={name: Path(path) for name, path in job.output.items()},
            model=job.wildcards.model,
            text=job.wildcards.text,
            max_tokens=job.cfg["max_tokens"],
            exclude=tuple(job.cfg["exclude"]),
            document_token=job.cfg["document_token"],
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
