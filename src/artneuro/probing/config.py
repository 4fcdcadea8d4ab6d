"""Config of the probing stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from artneuro.core.config import Name, Section

Ranking = Literal["mean_difference", "f_statistic", "mutual_information", "l1_logistic", "random"]
Control = Literal["shuffled_labels"]


class ProbingConfig(Section):
    """Sparse probes on stored activations (thesis, sections 2.3, A.2.3 and A.2.4)."""

    models: list[Name] | Literal["all"] = Field(
        "all", description="Models to probe: names, or all of the config."
    )
    datasets: list[Name] | Literal["all"] = Field(
        "all", description="Token datasets to probe on: names, or all of the config."
    )
    sites: list[Name] = Field(
        ["mlp_post"], min_length=1, description="Sites to probe, among those that are dumped."
    )
    transfer: dict[Name, Name] = Field(
        {},
        description="Dataset to score on: dataset whose training split chose the neurons. Both "
        "label features of the same names.",
    )
    rankings: list[Ranking] = Field(
        ["mean_difference", "f_statistic", "mutual_information", "l1_logistic", "random"],
        min_length=1,
        description="How neurons are ranked before the best k are refitted.",
    )
    max_k: int = Field(
        8, ge=1, le=64, description="Probes are fitted for k = 1 to this many neurons."
    )
    prefilter: int = Field(
        1024,
        ge=1,
        description="Every ranking but random sees only this many neurons of a layer: those with "
        "the largest absolute difference of class means.",
    )
    C: float = Field(
        1.0, gt=0, description="Inverse strength of the l2 penalty of the refitted probes."
    )
    l1_C: float = Field(
        0.1, gt=0, description="Inverse strength of the l1 penalty of the ranking l1_logistic."
    )
    mi_neighbors: int = Field(
        3, ge=1, description="Nearest neighbours in the estimate of mutual information."
    )
    scale: bool = Field(
        False,
        description="Fit on activations divided by 10 * max(standard deviation, 1e-3) of the "
        "training rows. Stored coefficients are for unscaled activations either way.",
    )
    controls: list[Control] = Field(
        ["shuffled_labels"],
        description="What is fitted a second time as a control. shuffled_labels: labels "
        "permuted within each split (among groups where a group has one label), neurons chosen "
        "anew.",
    )
    seed: int = Field(42, ge=0, description="Seed of random neurons, permutations and noise.")
    best_neurons: int = Field(
        5, ge=1, description="Single neurons kept for each feature, by F1 on the training split."
    )
    histogram_bins: int = Field(
        40, ge=2, description="Bins of the activation histograms of the best neurons."
    )

    @field_validator("sites", "rankings", "controls")
    @classmethod
    def _distinct(cls, values: list[str]) -> list[str]:
        if len(set(values)) != len(values):
            raise ValueError("a name is given twice")
        return values
