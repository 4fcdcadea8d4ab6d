"""Look closely at the best neurons of each feature: what they respond to, and what they do."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.probing.config import ProbingConfig
from artneuro.probing.refinement import refine_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = ProbingConfig(**job.cfg["probing"])
        facts = refine_neurons(
            config,
            job.cfg["dataset"],
            weights=Path(job.input.weights),
            tokenizer=Path(job.input.tokenizer),
            tokens=Path(job.input.tokens),
            sequences=Path(job.input.sequences),
            labels=Path(job.input.labels),
            scores=Path(job.input.scores),
            outputs={name: Path(path) for name, path in job.output.items()},
            model=job.wildcards.model,
            dataset=job.wildcards.dataset,
            dtype=job.cfg["dtype"],
            device=job.compute["device"],
            threads=job.threads,
            trust_remote_code=job.cfg["trust_remote_code"],
        )
        job.note(seed=config.seed, **asdict(facts))
