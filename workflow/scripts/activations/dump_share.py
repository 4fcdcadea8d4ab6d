"""Dump one share of the activations of a model on the labelled rows of a dataset."""

from dataclasses import asdict
from pathlib import Path

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.shares import dump_share
from artneuro.core.job import Job

if __name__ == "__main__":
    with Job(snakemake) as job:
        folder = Path(job.output.folder)
        facts = dump_share(
            ActivationsConfig(**job.cfg["activations"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.input.labels),
            folder=folder,
            share=int(job.wildcards.share),
            jobs=job.cfg["jobs"],
            work=folder.with_name(f"{folder.name}.parts"),
            aggregation=job.cfg["aggregation"],
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
            code=job.code,
        )
        # Deleted once the store is there, which is no loss that an audit has to report.
        job.note(**asdict(facts), temporary=True)
