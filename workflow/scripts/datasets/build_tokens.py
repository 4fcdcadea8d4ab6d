"""Build a token dataset from the documents of its corpus."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.tokens import build_tokens

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DatasetConfig(**job.cfg["dataset"])
        build_tokens(
            config,
            tokenizer=Path(job.input.tokenizer),
            documents=Path(job.input.documents),
            tokens=Path(job.output.tokens),
            sequences=Path(job.output.sequences),
            people=Path(job.input.people[0]) if job.input.get("people") else None,
        )
        job.note(seed=config.seed)
