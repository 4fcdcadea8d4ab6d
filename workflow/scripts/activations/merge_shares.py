"""Put the shares of a dump together as the store of activations."""

from dataclasses import asdict
from pathlib import Path

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.shares import merge_shares
from artneuro.core.job import Job

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = merge_shares(
            ActivationsConfig(**job.cfg["activations"]),
            shares=[Path(share) for share in job.input.shares],
            model_info=Path(job.input.info),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.input.labels),
            store=Path(job.output.store),
            rows=Path(job.output.rows),
            tokenizer=job.cfg["tokenizer"],
        )
        job.note(**asdict(facts))
