"""Fit and score the sparse probes of a model on a dataset."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.fit import fit_probes

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = ProbingConfig(**job.cfg["probing"])
        fit_probes(
            config,
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            scores=Path(job.output.scores),
            times=Path(job.output.times),
            certificates=Path(job.output.certificates),
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
        job.note(seed=config.seed)
