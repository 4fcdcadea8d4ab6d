"""Tables of neurons and their matches in other models."""

from __future__ import annotations

import polars as pl

NEURONS_SCHEMA = pl.Schema(
    {
        "group": pl.String(),
        "model": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "mean_max_correlation": pl.Float64(),
        "mean_max_baseline": pl.Float64(),
        "excess_correlation": pl.Float64(),
        "max_max": pl.Float64(),
        "min_max": pl.Float64(),
        "is_universal": pl.Boolean(),
        "is_constant": pl.Boolean(),
        "n_tokens": pl.Int64(),
    }
)

MATCHES_SCHEMA = pl.Schema(
    {
        "group": pl.String(),
        "model": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "other": pl.String(),
        "rank": pl.Int16(),
        "match_layer": pl.Int16(),
        "match_neuron": pl.Int32(),
        "correlation": pl.Float64(),
        "baseline_max": pl.Float64(),
    }
)
