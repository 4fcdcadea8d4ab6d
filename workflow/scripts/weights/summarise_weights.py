"""Write norms, biases and angles of the MLP neurons of a model."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.weights.neurons import summarise_weights

if __name__ == "__main__":
    with Job(snakemake) as job:
        summarise_weights(
            Path(job.input.weights),
            Path(job.input.info),
            Path(job.output.neurons),
            model=job.wildcards.model,
        )
