"""Config of the weights stage."""

from __future__ import annotations

from pydantic import Field

from artneuro.core.config import Name, Section


class WeightsConfig(Section):
    """What the weights of neurons alone say about their part in the prediction (thesis, section
    3.5.1).
    """

    models: list[Name] = Field(
        [],
        description="Models whose neurons' effects are shown besides those of the sections about "
        "roles of interventions.",
    )
    kurtosis: float = Field(
        10.0,
        gt=0,
        description="A neuron whose effects on the vocabulary have a higher kurtosis (3 for a "
        "Gaussian) acts on few tokens: it predicts them if the skew is positive and suppresses "
        "them if it is negative.",
    )
    partition_variance: float = Field(
        0.005,
        gt=0,
        description="Of the others, one whose effects (cosines) have a higher variance parts the "
        "vocabulary in two.",
    )
    reference_width: int | None = Field(
        1024,
        ge=1,
        description="Width of the residual stream that partition_variance is meant for: it is "
        "multiplied by reference_width / width, as the variance of the cosine with a random "
        "direction is 1 / width. Empty: it is taken as it is.",
    )
    antipode_layers: int = Field(
        1,
        ge=0,
        description="A neuron's antipode, which writes in the most opposite direction, is looked "
        "for in its own layer and in this many before and after it.",
    )
    tokens: int = Field(
        10, ge=1, description="Tokens kept of each neuron at either end of its effects."
    )
    examples: int = Field(
        4,
        ge=0,
        description="Neurons of each role whose whole distribution of effects is kept: those that "
        "a property of tokens explains best.",
    )
    histogram_bins: int = Field(60, ge=2, description="Bins of these distributions.")
