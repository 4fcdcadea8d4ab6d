"""Write the names of entities as a model is to read them, in one prompt."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.prompts import build_prompts
from artneuro.datasets.prompts_config import PromptConfig

if __name__ == "__main__":
    with Job(snakemake) as job:
        build_prompts(
            PromptConfig(**job.cfg["prompt"]),
            tokenizer=Path(job.input.tokenizer),
            entities=Path(job.input.entities),
            tokens=Path(job.output.tokens),
            sequences=Path(job.output.sequences),
            labels=Path(job.output.labels),
        )
