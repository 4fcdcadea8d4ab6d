"""Fetch a model and save it as a local folder."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.models.config import ModelConfig
from artneuro.models.fetch import fetch_model

if __name__ == "__main__":
    with Job(snakemake) as job:
        source = job.input.get("source")
        fetch_model(
            ModelConfig(**job.cfg["model"]),
            Path(source) if source else None,
            weights=Path(job.output.weights),
            info=Path(job.output.info),
        )
