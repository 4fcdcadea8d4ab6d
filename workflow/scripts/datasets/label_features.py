"""Label the features of a token dataset."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.labels import label_features

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = DatasetConfig(**job.cfg["dataset"])
        label_features(
            config,
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.output.labels),
        )
        job.note(seed=config.seed)
