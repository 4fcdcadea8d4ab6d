"""List all neurons of a model that tell the features of a dataset."""

from pathlib import Path

from artneuro.core.config import DaskConfig
from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.enumeration import enumerate_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = ProbingConfig(**job.cfg["probing"])
        enumerate_neurons(
            config,
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            single=Path(job.output.single),
            pruning=Path(job.output.pruning),
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            dask=DaskConfig(**job.compute["dask"]),
            threads=job.threads,
        )
