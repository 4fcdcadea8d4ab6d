"""Tables of the interventions stage."""

from __future__ import annotations

import polars as pl

# Units that a probe chose, and units drawn at random in the same layers.
CHOSEN, RANDOM_NEURON = "none", "random_neuron"

_UNIT = {
    "model": pl.String(),
    "dataset": pl.String(),
    "site": pl.String(),
    "collection": pl.String(),
    "feature": pl.String(),
    "control": pl.String(),
    "layer": pl.Int16(),
    "neuron": pl.Int32(),
}

ABLATIONS_SCHEMA = pl.Schema(
    {
        **_UNIT,
        "coef": pl.Float64(),
        "f1_train": pl.Float64(),
        "f1": pl.Float64(),
        "active_in_class": pl.Boolean(),
        "kind": pl.String(),
        "value": pl.Float64(),
        "context": pl.String(),
        "n_sequences": pl.Int32(),
        "n_tokens": pl.Int32(),
        "loss": pl.Float64(),
        "loss_se": pl.Float64(),
        "loss_ablated": pl.Float64(),
        "increase": pl.Float64(),
        "increase_se": pl.Float64(),
        "relative_increase": pl.Float64(),
    }
)

ACTIVATIONS_SCHEMA = pl.Schema(
    {
        **_UNIT,
        "context": pl.String(),
        "n_sequences": pl.Int32(),
        "n_tokens": pl.Int32(),
        "mean": pl.Float64(),
        "std": pl.Float64(),
        "quantiles": pl.List(pl.Float64()),
        "edges": pl.List(pl.Float64()),
        "counts": pl.List(pl.Int32()),
    }
)

TOKENS_SCHEMA = pl.Schema(
    {
        **_UNIT,
        "token": pl.Int32(),
        "text": pl.String(),
        "n_in": pl.Int32(),
        "n_out": pl.Int32(),
        "mean_in": pl.Float64(),
        "mean_out": pl.Float64(),
        "difference": pl.Float64(),
    }
)
