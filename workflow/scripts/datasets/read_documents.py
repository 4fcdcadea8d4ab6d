"""Read the documents of a corpus."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents

if __name__ == "__main__":
    with Job(snakemake) as job:
        read_documents(
            CorpusConfig(**job.cfg["corpus"]),
            {Path(folder).name: Path(folder) for folder in job.input.get("sources", [])},
            Path(job.output.documents),
            corpus=job.wildcards.corpus,
        )
