"""Config of the interventions stage."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.errors import ConfigError
from artneuro.interventions.roles_config import (
    AttentionNeuronsConfig,
    EntropyNeuronsConfig,
    NextTokensConfig,
    RoleText,
)
from artneuro.models.sites import parse_site

Kind = Literal["zero", "mean", "pinned"]


class ContextNeuronsConfig(Section):
    """Ablation of the best single neuron of each class of sequences (thesis, section 2.5.2 and
    figures 2.3 and A.10 to A.12).
    """

    datasets: list[Name] = Field(
        [],
        description="Token datasets whose neurons are ablated, where they are probed: names of "
        "datasets whose collection gives each sequence one class (natural_language, "
        "code_language, data_subset).",
    )
    site: str = Field("mlp_post", description="Site of the units, among those that are probed.")
    kind: Kind = Field(
        "zero",
        description="What a unit is held at, at every token. zero: 0. mean: its mean over the "
        "tokens of the sequences that are drawn. pinned: `value`.",
    )
    value: float = Field(0.0, description="Activation that kind pinned holds a unit at.")
    sequences_per_class: int = Field(
        12,
        ge=2,
        description="Sequences of the test split on which losses and activations are measured, "
        "drawn in each class.",
    )
    random_neurons: int = Field(
        1,
        ge=0,
        description="Units drawn at random in the layer of each ablated one, ablated likewise as "
        "a control.",
    )
    control_contexts: Literal["own", "all"] = Field(
        "all",
        description="Where random units are ablated: in sequences of every class, as the chosen "
        "units are, or only in those of the class whose unit they are the control of (half the "
        "time).",
    )
    active_in_class: bool = Field(
        True,
        description="Take only units whose probe says 'not this class' at activation zero, so "
        "that zero ablation removes the evidence for the class. A feature without such a unit "
        "has the best of all.",
    )
    f1_tolerance: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Units whose probe is at most this far below the best one in training F1 count "
        "as equally good. Of these the one whose activations are furthest apart in and out of the "
        "class (the smallest coefficient) is taken.",
    )
    min_token_count: int = Field(
        50,
        ge=1,
        description="A token of the vocabulary is compared between contexts if it occurs at least "
        "this often within and outside of the class.",
    )
    tokens_per_neuron: int = Field(
        20, ge=1, description="Tokens kept for each unit: those whose mean activation differs most."
    )
    histogram_bins: int = Field(40, ge=2, description="Bins of the activation histograms.")
    batch_tokens: int = Field(
        4096,
        ge=1,
        description="Tokens of a forward pass, padding and copies with different ablations "
        "included (at least one sequence).",
    )
    seed: int = Field(0, ge=0, description="Seed of the drawn sequences and random units.")

    @field_validator("site")
    @classmethod
    def _short_form(cls, name: str) -> str:
        try:
            site, layer = parse_site(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if layer is not None or site == "attn_pattern":
            raise ValueError(f"{name!r} has no single units: name a site such as mlp_post")
        return site

    @model_validator(mode="after")
    def _value_is_used(self) -> ContextNeuronsConfig:
        if not math.isfinite(self.value) or (self.value != 0.0 and self.kind != "pinned"):
            raise ValueError("value: a finite number, other than 0 only with kind pinned")
        return self


class InterventionsConfig(Section):
    """What is changed inside of models to see what it is for."""

    context_neurons: ContextNeuronsConfig = Field(
        ContextNeuronsConfig(), description="Ablation of neurons that tell the class of a sequence."
    )
    entropy_neurons: EntropyNeuronsConfig = Field(
        EntropyNeuronsConfig(), description="Neurons that change how sure a prediction is."
    )
    attention_neurons: AttentionNeuronsConfig = Field(
        AttentionNeuronsConfig(), description="Neurons that turn heads off and on."
    )
    next_tokens: NextTokensConfig = Field(
        NextTokensConfig(), description="When neurons fire that predict or suppress tokens."
    )

    def roles(self) -> dict[str, RoleText]:
        """The sections about functional roles, by name."""
        names = ("entropy_neurons", "attention_neurons", "next_tokens")
        return {name: getattr(self, name) for name in names}
