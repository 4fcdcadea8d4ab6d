"""Train the tokenizer of a recipe on the documents that its models learn from."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.models.train_tokenizer import train_tokenizer
from artneuro.models.training_config import TrainingConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        train_tokenizer(
            TrainingConfig(**job.cfg["recipe"]),
            documents=Path(job.input.documents),
            folder=Path(job.output.tokenizer),
        )
