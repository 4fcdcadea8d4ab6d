"""Name the best explanation and the family of each universal neuron of a group."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.universality.families import name_universal_neurons

if __name__ == "__main__":
    with Job(snakemake) as job:
        counts = name_universal_neurons(
            neurons=Path(job.input.neurons),
            families=Path(job.input.families),
            output=Path(job.output.families),
        )
        job.note(neurons=counts)
