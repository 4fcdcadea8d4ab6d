"""The config section `report`."""

from __future__ import annotations

from pydantic import Field

from artneuro.core.config import Section


class ReportConfig(Section):
    """What the report shows."""

    title: str = Field(
        "What single neurons represent", min_length=1, description="Heading of the report."
    )
    neurons_per_feature: int = Field(
        3,
        ge=1,
        le=10,
        description="Best neurons whose histograms are drawn for each feature.",
    )
    good_f1: float = Field(
        0.9,
        gt=0.0,
        lt=1.0,
        description="The summary counts the features whose best neuron reaches this F1.",
    )
    refined_neurons: int = Field(
        40,
        ge=1,
        description="Neurons with a section of their own on the page about what neurons respond "
        "to: those with the highest F1 on the training split.",
    )
    scale_tolerance: float = Field(
        0.02,
        ge=0.0,
        lt=1.0,
        description="The page about scale counts the neurons that come within this F1 of the best "
        "probe.",
    )
