"""What sets universal neurons apart: their place among the neurons of their layer (3.4.2)."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.stats import rankdata

from artneuro.core.errors import DataError

KEYS = ("layer", "neuron")
# Of the table `statistics` of a model on a text, and of the table `effects` of its weights.
ACTIVATION_PROPERTIES = ("mean", "variance", "skew", "kurtosis", "activation_frequency")
WEIGHT_PROPERTIES = (
    "input_bias", "cos_in_out", "weight_penalty",
    "effect_variance", "effect_skew", "effect_kurtosis",
)  # fmt: skip
# Of the same table of weights, without a percentile.
NEIGHBOURS = ("nearest_in_cosine", "nearest_out_cosine")
PROPERTIES = (*ACTIVATION_PROPERTIES, *WEIGHT_PROPERTIES)


def percentiles_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Place of each value among those of its group, (n,) float64 between 0 and 1.

    It is the share of the group below the value plus half of the share equal to it, itself
    included, so that values that all are equal are at 0.5. NaN has no place and counts for no
    other.

    Parameters
    ----------
    values : (n,) array of float
    groups : (n,) array
        Such as layers.
    """
    values = np.asarray(values, dtype=float)
    found = np.full(len(values), np.nan)
    for group in np.unique(groups):
        here = np.flatnonzero((groups == group) & ~np.isnan(values))
        if len(here):
            found[here] = (rankdata(values[here], method="average") - 0.5) / len(here)
    return found


def neuron_properties(
    neurons: pl.DataFrame, statistics: pl.DataFrame | None, effects: pl.DataFrame | None
) -> pl.DataFrame:
    """Properties of a model's neurons, as values and as percentiles within their layers.

    Parameters
    ----------
    neurons : polars.DataFrame
        Rows of one model of the table `neurons` of a group.
    statistics, effects : polars.DataFrame, optional
        Tables of the same model, of its activations and of its weights.

    Returns
    -------
    polars.DataFrame
        `neurons` with the columns of `PROPERTIES` and `NEIGHBOURS` that there are, and for each
        of the former `{property}_percentile`, between 0 and 1. Neurons that are constant have no
        skew and kurtosis that mean anything, so theirs are null.

    Raises
    ------
    DataError
        If a table lacks neurons or has one twice.
    """
    table = neurons
    for name, other, columns in (
        ("statistics", statistics, ACTIVATION_PROPERTIES),
        ("effects", effects, (*WEIGHT_PROPERTIES, *NEIGHBOURS)),
    ):
        if other is None:
            continue
        columns_there = [column for column in columns if column in other.columns]
        _check_keys(neurons, other, name)
        table = table.join(
            other.select(*KEYS, *columns_there), on=list(KEYS), how="left", maintain_order="left"
        )
    there = [column for column in PROPERTIES if column in table.columns]
    moments = [column for column in there if column in ACTIVATION_PROPERTIES[2:4]]
    table = table.with_columns(
        pl.when(~pl.col("is_constant")).then(pl.col(column)).alias(column) for column in moments
    )
    layers = table["layer"].to_numpy()
    return table.with_columns(
        pl.Series(
            f"{column}_percentile",
            percentiles_within(table[column].cast(pl.Float64).fill_null(np.nan).to_numpy(), layers),
        ).fill_nan(None)
        for column in there
    )


def share_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of values above each threshold, (n_thresholds,): the complement of their CDF.

    NaN (a neuron that is constant) is above none and counts among all.
    """
    values = np.asarray(values, dtype=float)
    ordered = np.sort(values[~np.isnan(values)])
    above = len(ordered) - np.searchsorted(ordered, thresholds, side="right")
    return above / max(len(values), 1)


def layer_matches(matches: pl.DataFrame, layers: int, match_layers: int) -> np.ndarray:
    """Where the most similar neurons of each layer are, (layers, match_layers) float64.

    Entry (l, m) is the share of the neurons of layer l whose best match lies in layer m of the
    other model, averaged over the other models (figure 3.2c). Rows sum to one, or are NaN where a
    layer has no matches.

    Parameters
    ----------
    matches : polars.DataFrame
        Rows of one model of the table `matches`.
    layers, match_layers : int
        Layers of the model and of the others.
    """
    best = matches.filter((pl.col("rank") == 1) & pl.col("correlation").is_not_null())
    counts = best.group_by("other", "layer", "match_layer").len()
    found = np.zeros((layers, match_layers))
    others = best["other"].unique()
    for other in others:
        grid = np.zeros_like(found)
        rows = counts.filter(pl.col("other") == other)
        grid[rows["layer"].to_numpy(), rows["match_layer"].to_numpy()] = rows["len"].to_numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            found += grid / grid.sum(axis=1, keepdims=True)
    return found / max(len(others), 1)


def _check_keys(neurons: pl.DataFrame, other: pl.DataFrame, name: str) -> None:
    if other.select(KEYS).is_duplicated().any():
        raise DataError(
            f"the table {name} has neurons twice",
            fix="give the rows of one model and one text",
        )
    missing = neurons.join(other, on=list(KEYS), how="anti").height
    if missing:
        raise DataError(
            f"the table {name} lacks {missing} of {neurons.height} neurons",
            fix="give the table of the same model",
        )
