"""Tokenize the documents of a recipe, once for all its models."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.models.train_tokenizer import tokenize_documents
from artneuro.models.training_config import TrainingConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        tokenize_documents(
            TrainingConfig(**job.cfg["recipe"]),
            documents=Path(job.input.documents),
            tokenizer=Path(job.input.tokenizer),
            output=Path(job.output.tokens),
        )
