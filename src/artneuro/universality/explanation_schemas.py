"""Tables of what neurons respond to: statistics, explanations, families and what is drawn."""

from __future__ import annotations

import polars as pl

_NEURON = {
    "model": pl.String(),
    "text": pl.String(),
    "layer": pl.Int16(),
    "neuron": pl.Int32(),
}
_EXPLAINED = {
    "explanation": pl.String(),
    "category": pl.String(),
    "previous_token": pl.Boolean(),
    "variance_reduction": pl.Float64(),
    "n_positive": pl.Int64(),
    "mean_in": pl.Float64(),
    "mean_out": pl.Float64(),
}

STATISTICS_SCHEMA = pl.Schema(
    {
        **_NEURON,
        "n_tokens": pl.Int64(),
        "mean": pl.Float64(),
        "variance": pl.Float64(),
        "skew": pl.Float64(),
        "kurtosis": pl.Float64(),
        "activation_frequency": pl.Float64(),
        "position_information": pl.Float64(),
        "position_share": pl.Float64(),
        "is_constant": pl.Boolean(),
    }
)

EXPLANATIONS_SCHEMA = pl.Schema({**_NEURON, "rank": pl.Int32(), **_EXPLAINED})

POSITIONS_SCHEMA = pl.Schema(
    {
        **_NEURON,
        "positions": pl.List(pl.Int32()),
        "mean": pl.List(pl.Float64()),
        "std": pl.List(pl.Float64()),
    }
)

_FAMILY = {
    "family": pl.String(),
    **_EXPLAINED,
    "kurtosis": pl.Float64(),
    "position_information": pl.Float64(),
    "position_share": pl.Float64(),
    "activation_frequency": pl.Float64(),
}

FAMILIES_SCHEMA = pl.Schema({**_NEURON, **_FAMILY})

GROUP_FAMILIES_SCHEMA = pl.Schema(
    {
        "group": pl.String(),
        **_NEURON,
        "mean_max_correlation": pl.Float64(),
        "excess_correlation": pl.Float64(),
        **_FAMILY,
        "n_family": pl.Int32(),
    }
)

EXAMPLES_SCHEMA = pl.Schema(
    {
        **_NEURON,
        "family": pl.String(),
        "explanation": pl.String(),
        "category": pl.String(),
        "previous_token": pl.Boolean(),
        "is_universal": pl.Boolean(),
        "tokens": pl.String(),
        "n": pl.Int64(),
        "mean": pl.Float64(),
        "edges": pl.List(pl.Float64()),
        "counts": pl.List(pl.Int64()),
    }
)
