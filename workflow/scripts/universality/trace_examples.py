"""Write activations of some neurons of each family, in and out of what explains them."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.examples import trace_examples
from artneuro.universality.explanations_config import ExplanationsConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = trace_examples(
            ExplanationsConfig(**job.cfg["explanations"]),
            weights=Path(job.input.weights),
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            families=Path(job.input.families),
            universal=[Path(path) for path in job.input.universal],
            output=Path(job.output.examples),
            max_tokens=job.cfg["max_tokens"],
            example_tokens=job.cfg["example_tokens"],
            exclude=tuple(job.cfg["exclude"]),
            document_token=job.cfg["document_token"],
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(**asdict(facts))
