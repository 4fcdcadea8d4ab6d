"""Plot the F1 of a model's neurons on a dataset: by layer, by number of neurons, and histograms."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.report.figures import plot_best_neurons, plot_f1_by_k, plot_f1_by_layer

if __name__ == "__main__":
    with Job(snakemake) as job:
        plot_f1_by_layer(Path(job.input.scores), Path(job.output.by_layer))
        plot_f1_by_k(Path(job.input.scores), Path(job.output.by_k))
        plot_best_neurons(Path(job.input.best_neurons), Path(job.output.histograms))
