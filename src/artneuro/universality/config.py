"""Config of universal neurons: groups of models, how they are compared, how the work is divided."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from artneuro.core.config import MOST_JOBS, JobCount, Name, Section
from artneuro.universality.explanations_config import ExplanationsConfig


class GroupConfig(Section):
    """Models that differ in little but their seed, and the text that they are compared on."""

    reference: Name = Field(description="The model whose neurons are looked for in the others.")
    others: list[Name] = Field(min_length=1, description="The models to look in.")
    text: Name = Field(description="The text that all of them read: one of `texts`.")
    pairs: Literal["reference", "all"] = Field(
        "reference",
        description="reference: the reference against every other model. all: every model against "
        "every other one, from the same forward passes.",
    )
    tiles: tuple[JobCount, JobCount] = Field(
        (1, 1),
        description="Into how many ranges the layers of the first and of the second model of a "
        "pair are divided. Each two ranges are a job, so that its memory shrinks.",
    )
    jobs_by: Literal["group", "pair"] = Field(
        "group",
        description="group: one job has all pairs, which share the forward passes. pair: every "
        "pair has jobs of its own.",
    )
    token_parts: JobCount = Field(
        1, description="Into how many jobs the tokens are divided; their sums are merged."
    )
    memory_mb: int = Field(
        4000, ge=1, description="Memory in MB that the sums and blocks of one job may take."
    )

    @model_validator(mode="after")
    def _distinct(self) -> GroupConfig:
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"a model is named twice: {self.members}")
        return self

    @model_validator(mode="after")
    def _can_be_planned(self) -> GroupConfig:
        jobs = math.prod(self.tiles) * self.token_parts
        if jobs > MOST_JOBS:
            raise ValueError(
                f"tiles {list(self.tiles)} and token_parts {self.token_parts} make {jobs:,} jobs; "
                f"{MOST_JOBS:,} are the most"
            )
        return self

    @property
    def members(self) -> list[str]:
        """All models, the reference first."""
        return [self.reference, *self.others]


class ComparisonConfig(Section):
    """How neurons are compared: what the sums over tokens depend on."""

    metric: Literal["pearson", "cosine", "jaccard"] = Field(
        "pearson",
        description="How alike two neurons are: by the correlation of their activations, their "
        "cosine, or the Jaccard index of the sets of tokens on which they are active (which has no "
        "baseline).",
    )
    active_above: float = Field(
        0.0, description="For jaccard: a neuron is active where its activation is above this."
    )
    exclude: list[Literal["document_token", "newline"]] = Field(
        ["document_token", "newline"],
        description="Tokens left out, besides padding: the one at the start of each sequence, and "
        "those of nothing but line breaks.",
    )
    block_tokens: int = Field(
        4096,
        ge=2,
        description="Tokens whose products are summed in float32 before they are added to the "
        "sums in float64 (at least one sequence).",
    )
    batch_tokens: int = Field(
        4096, ge=1, description="Tokens of a forward pass, padding included, at least one sequence."
    )
    precision: Literal["float32", "tf32", "bf16x3"] = Field(
        "float32",
        description="Of the products on a GPU: tf32 and bf16x3 (each factor as the sum of two "
        "bfloat16 numbers) use tensor cores. On a CPU they are imitated, and save nothing.",
    )
    max_error: float = Field(
        1e-4,
        gt=0,
        description="Products in tf32 and bf16x3 whose measured error is above this (of a "
        "correlation within a block) are computed again more exactly.",
    )


class UniversalityConfig(ComparisonConfig):
    """Which neurons models share."""

    groups: dict[Name, GroupConfig] = Field({}, description="Groups of models, by name.")
    rotation: Literal["orthogonal", "gaussian"] = Field(
        "orthogonal",
        description="The baseline's random matrices: rotations, uniformly distributed, or Gaussian "
        "matrices with rows of unit length, as in the thesis.",
    )
    rotations: int = Field(
        5, ge=1, description="Random matrices for each layer; the baseline is their mean."
    )
    threshold: float = Field(
        0.5, description="Neurons whose excess correlation is above this are universal."
    )
    top_k: int = Field(5, ge=1, description="Matches listed for each neuron in each other model.")
    store_matrix: bool = Field(
        False, description="Whether all correlations are stored too, as Zarr in float32."
    )
    seed: int = Field(0, ge=0, description="Seed of the random matrices.")
    explanations: ExplanationsConfig = Field(
        ExplanationsConfig(), description="What neurons respond to, and their families."
    )
