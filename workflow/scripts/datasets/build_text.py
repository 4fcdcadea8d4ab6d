"""Cut the documents of a corpus into sequences of tokens without labels."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.text_config import TextConfig
from artneuro.datasets.texts import build_text

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = TextConfig(**job.cfg["text"])
        build_text(
            config,
            tokenizer=Path(job.input.tokenizer),
            documents=Path(job.input.documents),
            tokens=Path(job.output.tokens),
            sequences=Path(job.output.sequences),
        )
        job.note(seed=config.seed)
