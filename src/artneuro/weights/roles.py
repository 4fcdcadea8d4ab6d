"""What a neuron does to the prediction, from the moments of its effects on the vocabulary."""

from __future__ import annotations

import numpy as np
import polars as pl

from artneuro.weights.config import WeightsConfig

PREDICTION, SUPPRESSION, PARTITION, NO_ROLE = "prediction", "suppression", "partition", "none"
ROLES = (PREDICTION, SUPPRESSION, PARTITION)


def roles_of(
    config: WeightsConfig,
    d_model: int,
    variance: np.ndarray,
    skew: np.ndarray,
    kurtosis: np.ndarray,
) -> list[str]:
    """The role of each neuron from the moments of its effects, (n,) each; NaN gives none."""
    limit = config.partition_variance
    if config.reference_width is not None:
        limit *= config.reference_width / d_model
    role = np.where(variance > limit, PARTITION, NO_ROLE)
    acting = np.nan_to_num(kurtosis, nan=0.0) > config.kurtosis
    return np.where(acting, np.where(skew > 0, PREDICTION, SUPPRESSION), role).tolist()


def choose_examples(effects: pl.DataFrame, per_role: int) -> pl.DataFrame:
    """The neurons of each role whose effects a property of tokens explains best."""
    return (
        effects.filter(pl.col("role") != NO_ROLE)
        .sort("explained", "layer", "neuron", descending=[True, False, False])
        .group_by("role", maintain_order=True)
        .head(per_role)
        .sort("layer", "neuron")
    )
