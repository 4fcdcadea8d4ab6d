"""Write the best matches and the excess correlation of every neuron of a group."""

from dataclasses import asdict
from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.config import GroupConfig, UniversalityConfig
from artneuro.universality.summary import score_universality

if __name__ == "__main__":
    with Job(snakemake) as job:
        facts = score_universality(
            UniversalityConfig(**job.cfg["universality"]),
            GroupConfig(**job.cfg["group"]),
            sums=[Path(path) for path in job.input.sums],
            neurons=Path(job.output.neurons),
            matches=Path(job.output.matches),
            name=job.wildcards.group,
            device=job.compute["device"],
            threads=job.threads,
        )
        job.note(**asdict(facts))
