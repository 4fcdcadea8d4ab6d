"""Config of the plan: what neither the config nor a file that is already there can tell."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from artneuro.core.config import Name, Section


class ShapeConfig(Section):
    """Sizes of a decoder-only transformer that is not there yet."""

    n_layers: int = Field(ge=1, description="Blocks.")
    d_model: int = Field(ge=1, description="Width of the residual stream.")
    d_mlp: int = Field(ge=1, description="Neurons of one MLP.")
    n_heads: int = Field(ge=1, description="Query heads.")
    n_kv_heads: int | None = Field(
        None, ge=1, description="Key and value heads. Empty: as many as query heads."
    )
    vocab: int = Field(ge=1, description="Tokens of the vocabulary.")
    gated: bool = Field(False, description="Whether the MLP has a gate: three matrices, not two.")
    tied: bool = Field(
        False, description="Whether the embedding is the unembedding, and counted once."
    )
    positions: int = Field(
        0, ge=0, description="Positions with a learned embedding, as GPT-2 has; 0: none."
    )
    stored: Literal["float32", "float16", "bfloat16"] = Field(
        "float16", description="Type of the weights on the hub."
    )


class PlanConfig(Section):
    """What `artneuro plan` is told; no job depends on it."""

    models: dict[Name, ShapeConfig] = Field(
        {},
        description="Sizes of models that are neither here nor in resources/model_shapes.yaml, by "
        "their name in the section `models`.",
    )
    entities: dict[Name, int] = Field(
        {},
        description="Names in a table of entities, about. Empty: its max_entities, or 40,000.",
    )
    name_tokens: dict[Name, float] = Field(
        {}, description="Tokens of a name in a table of entities, about. Empty: 5."
    )
    sequences: dict[Name, int] = Field(
        {}, description="Sequences of a token dataset. Empty: as many as it may have."
    )
    rows: dict[Name, int] = Field(
        {},
        description="Rows of a dataset's activations. Empty: one a sequence, or of datasets of "
        "single tokens a share of the labels, which overlap.",
    )
    features: dict[Name, int] = Field(
        {}, description="Features of a token dataset. Empty: as many as it may have."
    )
    characters: dict[Name, float] = Field(
        {},
        description="Characters of a corpus. Empty: 4.5 for each token that is made of it.",
    )
    examples: dict[Name, int] = Field(
        {}, description="Labelled rows of one feature of a dataset. Empty: as many as it may have."
    )
    text_tokens: dict[Name, int] = Field({}, description="Tokens of a text. Empty: its max_tokens.")
