"""Config of the probing stage."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from artneuro.core.config import Name, Section

Ranking = Literal[
    "mean_difference",
    "f_statistic",
    "mutual_information",
    "l1_logistic",
    "adaptive",
    "best_subset",
    "random",
]
Control = Literal["shuffled_labels"]

# Numbers of neurons of adaptive thresholding (thesis, section A.2.3).
SCHEDULE = (256, 128, 64, 32, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)


class SparsityConfig(Section):
    """Probes from many neurons down to one by adaptive thresholding, against random bases (thesis,
    section A.2.3 and figure A.2).
    """

    datasets: list[Name] = Field(
        [], description="Token datasets whose whole sparsity curves are fitted: names."
    )
    schedule: list[int] = Field(
        list(SCHEDULE),
        description="Numbers of neurons, strictly descending; of the ranking adaptive too.",
    )
    prefilter: int = Field(
        256,
        ge=1,
        description="The first step sees only this many neurons of a layer: those with the "
        "largest absolute difference of class means.",
    )
    random_draws: int = Field(
        16,
        ge=0,
        description="Random orthogonal bases at k = 1; at k neurons this over the square root of "
        "k, rounded, and at least one. 0: no such baseline.",
    )

    @field_validator("schedule")
    @classmethod
    def _descending(cls, values: list[int]) -> list[int]:
        if not descends(values):
            raise ValueError("not strictly descending numbers of one neuron or more")
        return values


class EnumerationConfig(Section):
    """Lists of all neurons that tell a feature, not only the best ones (thesis, section 2.6.1)."""

    datasets: list[Name] = Field([], description="Token datasets to enumerate neurons on: names.")
    neurons_per_layer: int = Field(
        30,
        ge=1,
        description="Neurons of each layer that are probed alone: those with the largest absolute "
        "difference of class means.",
    )
    pruning_k: int = Field(
        3, ge=1, le=64, description="Neurons of each probe of the iterative pruning."
    )
    pruning_rounds: int = Field(
        8,
        ge=0,
        description="Probes are fitted on what the ones before left over at most this many times.",
    )
    pruning_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Pruning ends with the first probe whose F1 on the training split is below "
        "this share of the first probe's.",
    )


class ComparisonConfig(Section):
    """Rankings that take too long for every dataset, fitted where methods are compared (thesis,
    table A.4).
    """

    datasets: list[Name] = Field(
        [], description="Token datasets on which the further rankings are fitted: names."
    )
    rankings: list[Ranking] = Field(
        [],
        description="Rankings fitted there in addition to probing.rankings, without controls.",
    )
    subset_prefilter: int = Field(
        256,
        ge=1,
        description="The ranking best_subset sees only this many neurons of a layer: those with "
        "the largest absolute difference of class means.",
    )


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

    comparison: ComparisonConfig = Field(
        ComparisonConfig(), description="Costly rankings, and where they are fitted."
    )
    sparsity: SparsityConfig = Field(
        SparsityConfig(), description="Whole sparsity curves by adaptive thresholding."
    )
    enumeration: EnumerationConfig = Field(
        EnumerationConfig(), description="Enumeration of all neurons that tell a feature."
    )

    @field_validator("sites", "rankings", "controls")
    @classmethod
    def _distinct(cls, values: list[str]) -> list[str]:
        if len(set(values)) != len(values):
            raise ValueError("a name is given twice")
        return values

    @model_validator(mode="after")
    def _new_rankings(self) -> ProbingConfig:
        further = self.comparison.rankings
        if len({*self.rankings, *further}) != len(self.rankings) + len(further):
            raise ValueError("comparison.rankings: a ranking is given twice or is in rankings")
        return self


def descends(schedule: Sequence[int]) -> bool:
    """Whether a schedule of sizes is not empty, descends strictly and stays above zero."""
    falls = all(a > b for a, b in itertools.pairwise(schedule))
    return len(schedule) > 0 and falls and schedule[-1] >= 1
