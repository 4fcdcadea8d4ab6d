"""Collect the best single neurons of each feature, with histograms of their activations."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.neurons import collect_best_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        collect_best_neurons(
            ProbingConfig(**job.cfg["probing"]),
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            scores=Path(job.input.scores),
            output=Path(job.output.neurons),
        )
