"""Config of space and time: whose activations are probed for places and dates, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from artneuro.core.config import Name, Section


class ProbesConfig(Section):
    """Linear probes of every layer, and what they are held against (thesis, sections 4.2-4.4)."""

    penalties: list[Annotated[float, Field(gt=0)]] | None = Field(
        None,
        min_length=2,
        description="Penalties of the ridge that leave-one-out chooses from, in steps of one "
        "ratio; the grid is extended while the optimum is at its edge. Empty: 12 from 10^0.8 to "
        "10^4.5.",
    )
    mlp: bool = Field(
        True,
        description="Whether the probe with a hidden layer of table 4.2 is fitted as well, in the "
        "main prompt.",
    )
    dimensions: list[Annotated[int, Field(ge=1)]] = Field(
        [2, 4, 6, 8, 10, 15, 20, 30, 40, 50, 75, 100],
        description="Principal components that probes are fitted on (4.4.2).",
    )
    bag_tokens: int = Field(
        5000,
        ge=1,
        description="Most frequent tokens that the bag-of-tokens baseline counts.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")


class HoldoutsConfig(Section):
    """Probes that have seen nothing of a country, a decade, a kind of entity (4.4.1)."""

    max_blocks: int = Field(20, ge=1, description="Blocks held out, those of most entities.")
    min_entities: int = Field(
        20, ge=2, description="Entities that a block or a type needs, in both splits together."
    )
    min_test: int = Field(5, ge=1, description="Entities of the split test among them, at least.")


class NeuronsConfig(Section):
    """Neurons that read from or write to the probes' directions (4.5)."""

    tables: Literal["all"] | list[Name] = Field(
        "all", description="Tables of entities along whose probes neurons are looked for."
    )
    top: int = Field(50, ge=1, description="Neurons kept of each target and kind of weights.")


class PinningConfig(Section):
    """Time neurons held at values while the model says when something was made (C.2)."""

    tables: list[Name] = Field(
        [], description="Tables of time of the section `entities` whose neurons are held."
    )
    template: str = Field(
        "{name} was written in 19",
        description="What the model continues; {name}, {title} and {creator} are the entity's.",
    )
    examples: int = Field(3, ge=1, description="Entities, the most popular of the split test.")
    controls: int = Field(9, ge=1, description="Other neurons of the same layer.")
    deviations: list[float] = Field(
        [-16, -8, -4, 0, 4, 8, 16],
        min_length=2,
        description="Where the neuron is held: standard deviations of its activation on the "
        "entities, from its mean.",
    )
    top_tokens: int = Field(5, ge=1, description="Tokens that are followed.")


class AblationConfig(Section):
    """Space and time neurons held at zero while the model reads a text (C.2)."""

    tables: list[Name] = Field(
        [], description="Tables of the section `entities` whose neurons are ablated."
    )
    text: Name | None = Field(
        None, description="Text of the section `texts`; not needed while no table is named."
    )
    sequences: int = Field(64, ge=2, description="Sequences drawn from the text.")
    n_ctx: int = Field(64, ge=8, description="Tokens that are read of each.")
    neurons: int = Field(2, ge=1, description="Neurons that are ablated, and as many controls.")
    contexts: int = Field(10, ge=1, description="Contexts kept, of the largest loss increases.")
    context_tokens: int = Field(20, ge=1, description="Tokens of a context that are shown.")
    seed: int = Field(0, ge=0, description="Seed of what is drawn.")


class SpacetimeConfig(Section):
    """Linear models of space and time (thesis, chapter 4)."""

    models: list[Name] = Field([], description="Models that read the entities' names.")
    entities: Literal["all"] | list[Name] = Field(
        "all", description="Tables of the section `entities` that they read."
    )
    main_prompt: Name = Field(
        "empty",
        description="The prompt that holdouts, neurons and maps are of; every table needs it.",
    )
    layers: Literal["all"] | list[Annotated[int, Field(ge=0)]] = Field(
        "all", description="Layers whose residual stream, behind the block, is probed."
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="Type that the residual stream is stored in."
    )
    probes: ProbesConfig = Field(ProbesConfig(), description="Probes of every layer.")
    holdouts: HoldoutsConfig = Field(HoldoutsConfig(), description="Generalisation.")
    neurons: NeuronsConfig = Field(NeuronsConfig(), description="Space and time neurons.")
    pinning: PinningConfig = Field(PinningConfig(), description="Time neurons held at values.")
    ablation: AblationConfig = Field(AblationConfig(), description="Neurons held at zero.")
