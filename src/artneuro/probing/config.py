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
    "optimal",
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
    optimal_prefilter: int = Field(
        50,
        ge=1,
        description="The ranking optimal sees only this many neurons of a layer: those with the "
        "largest absolute difference of class means.",
    )
    optimal_time_limit: float = Field(
        60.0,
        ge=0,
        description="Seconds of the ranking optimal for one feature, layer and number of neurons. "
        "What is not proven by then is the best support found: the table of certificates says so.",
    )


class SuperpositionConfig(Section):
    """Compound words as sums of few neurons, and the neuron basis against random bases (thesis,
    sections 2.5.1 and A.1.10).
    """

    datasets: list[Name] = Field(
        [], description="Token datasets of compound words that are studied: names."
    )
    background: list[Name] = Field(
        [],
        description="Further token datasets whose single tokens, but for those that end the "
        "compound word, count as everything else: names.",
    )
    neurons: int = Field(
        3, ge=2, le=8, description="Neurons whose activations are summed; at most probing.max_k."
    )
    histogram_bins: int = Field(40, ge=2, description="Bins of the histograms.")
    random_bases: int = Field(
        5, ge=0, description="Random orthogonal bases of a whole layer. 0: no such comparison."
    )
    candidates: int = Field(
        100,
        ge=1,
        description="Directions of each basis that are probed alone: those with the largest "
        "absolute difference of class means.",
    )
    kept: int = Field(
        50, ge=1, description="Of them so many are listed, those with the highest F1 on train."
    )


class RefinementConfig(Section):
    """A closer look at the best single neurons: what they respond to on every token, and what they
    do to the output (thesis, section 2.5.4).
    """

    datasets: list[Name] = Field(
        [], description="Token datasets whose best neurons are looked at: names."
    )
    neurons_per_feature: int = Field(
        1, ge=1, le=10, description="Neurons of each feature, by F1 on the training split."
    )
    max_tokens: int = Field(
        200_000,
        ge=1,
        description="Tokens that the model is run on at most: whole sequences, those of the test "
        "split first.",
    )
    min_count: int = Field(
        3,
        ge=1,
        description="Occurrences of a token whose mean activation is listed; and times that a "
        "neuron fires on an n-gram that is listed.",
    )
    effect_tokens: int = Field(
        20,
        ge=1,
        description="Tokens listed whose logits a neuron raises most, and as many that it lowers.",
    )
    firing_quantile: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="For n-grams a neuron fires where its activation is above this quantile of "
        "its activations.",
    )
    ngram_length: int = Field(4, ge=1, le=8, description="Tokens of the longest n-grams.")
    min_rate: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of its occurrences that a neuron fires on, of an n-gram that is listed.",
    )
    ngrams: int = Field(30, ge=1, description="N-grams listed of each neuron, by mean activation.")
    example_quantiles: list[float] = Field(
        [0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0],
        min_length=2,
        description="Quantiles of the activation, ascending from 0 to 1: examples are drawn "
        "between each two.",
    )
    examples_per_quantile: int = Field(3, ge=1, description="Examples drawn between two quantiles.")

    @field_validator("example_quantiles")
    @classmethod
    def _ascending(cls, values: list[float]) -> list[float]:
        rises = all(a < b for a, b in itertools.pairwise(values))
        if not rises or values[0] != 0 or values[-1] != 1:
            raise ValueError("not ascending from 0 to 1")
        return values


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
    superposition: SuperpositionConfig = Field(
        SuperpositionConfig(), description="The case study of superposition in compound words."
    )

    refinement: RefinementConfig = Field(
        RefinementConfig(), description="A closer look at the best single neurons."
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
