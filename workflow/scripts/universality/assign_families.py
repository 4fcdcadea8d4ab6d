"""Put every neuron of a model into the family of its best explanation."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.explanations_config import FamilyThresholds
from artneuro.universality.families import assign_families

if __name__ == "__main__":
    with Job(snakemake) as job:
        counts = assign_families(
            FamilyThresholds(**job.cfg["families"]),
            statistics=Path(job.input.statistics),
            explanations=Path(job.input.explanations),
            output=Path(job.output.families),
        )
        job.note(neurons=counts)
