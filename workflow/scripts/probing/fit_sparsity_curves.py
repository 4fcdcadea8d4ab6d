"""Fit the sparsity curves of a model on a dataset, with their random baseline."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.sparsity import fit_sparsity_curves

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = ProbingConfig(**job.cfg["probing"])
        fit_sparsity_curves(
            config,
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            output=Path(job.output.sparsity),
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
        job.note(seed=config.seed)
