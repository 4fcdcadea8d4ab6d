"""Measure how well few neurons of one layer tell compound words, alone and summed."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.background import Background
from artneuro.probing.config import ProbingConfig
from artneuro.probing.superposition import measure_superposition

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = ProbingConfig(**job.cfg["probing"])
        others = [
            [Path(path) for path in job.input.get(f"background_{name}", [])]
            for name in ("stores", "rows", "sequences", "tokens")
        ]
        measure_superposition(
            config,
            store=Path(job.input.store),
            rows=Path(job.input.rows),
            labels=Path(job.input.labels),
            sequences=Path(job.input.sequences),
            scores=Path(job.input.scores),
            output=Path(job.output.superposition),
            histograms=Path(job.output.histograms),
            basis=Path(job.output.basis),
            background=[Background(*paths) for paths in zip(*others, strict=True)],
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            threads=job.threads,
        )
        job.note(seed=config.seed)
