"""Dump the residual stream of a model at the names of entities."""

from dataclasses import asdict
from pathlib import Path

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.core.job import Job

if __name__ == "__main__":
    with Job(snakemake) as job:
        store = Path(job.output.store)
        facts = dump_activations(
            ActivationsConfig(**job.cfg["activations"]),
            weights=Path(job.input.weights),
            model_info=Path(job.input.info),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.input.labels),
            store=store,
            rows=Path(job.output.rows),
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            tokenizer=job.cfg["tokenizer"],
            trust_remote_code=job.cfg["trust_remote_code"],
            code=job.code,
            work=store.with_name("activations.parts"),
        )
        job.note(**asdict(facts))
