"""Schemas of the tables that `refine_neurons` writes."""

from __future__ import annotations

import polars as pl

_NEURON = {
    "model": pl.String(),
    "dataset": pl.String(),
    "collection": pl.String(),
    "feature": pl.String(),
    "rank": pl.Int16(),
    "layer": pl.Int16(),
    "neuron": pl.Int32(),
}
SCHEMAS: dict[str, pl.Schema] = {
    "neurons": pl.Schema(
        {
            **_NEURON,
            "sign": pl.Int8(),
            "threshold": pl.Float64(),
            "f1_train": pl.Float64(),
            "f1": pl.Float64(),
            "precision": pl.Float64(),
            "recall": pl.Float64(),
            "precision_balanced": pl.Float64(),
            "sampled_share": pl.Float64(),
            "text_share": pl.Float64(),
            "every_token": pl.Boolean(),
            "tokens": pl.Int64(),
            "test_tokens": pl.Int64(),
            "fires_in": pl.Int64(),
            "fires_out": pl.Int64(),
            "fires_unknown": pl.Int64(),
            "edges": pl.List(pl.Float64()),
            "counts_in": pl.List(pl.Int64()),
            "counts_out": pl.List(pl.Int64()),
            "counts_unknown": pl.List(pl.Int64()),
            "effect_std": pl.Float64(),
            "effect_skew": pl.Float64(),
            "effect_kurtosis": pl.Float64(),
        }
    ),
    "tokens": pl.Schema(
        {
            **_NEURON,
            "token": pl.Int32(),
            "text": pl.String(),
            "count": pl.Int64(),
            "mean": pl.Float64(),
            "error": pl.Float64(),
        }
    ),
    "effects": pl.Schema(
        {
            **_NEURON,
            "kind": pl.String(),
            "place": pl.Int16(),
            "token": pl.Int32(),
            "text": pl.String(),
            "count": pl.Int32(),
            "effect": pl.Float64(),
            "deviations": pl.Float64(),
            "raised": pl.Float64(),
        }
    ),
    "ngrams": pl.Schema(
        {
            **_NEURON,
            "place": pl.Int16(),
            "length": pl.Int16(),
            "tokens": pl.List(pl.Int32()),
            "text": pl.String(),
            "count": pl.Int64(),
            "firings": pl.Int64(),
            "mean": pl.Float64(),
            "in_class": pl.Float64(),
        }
    ),
    "examples": pl.Schema(
        {
            **_NEURON,
            "low": pl.Float64(),
            "high": pl.Float64(),
            "sequence": pl.Int32(),
            "position": pl.Int32(),
            "activation": pl.Float64(),
            "in_class": pl.Boolean(),
            "before": pl.String(),
            "text": pl.String(),
            "after": pl.String(),
        }
    ),
}
