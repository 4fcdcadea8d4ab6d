"""Tables of the systems that a language model learns in context."""

from __future__ import annotations

import polars as pl

# A run without any control; the others are named in `in_context_config.Control`.
NATURAL = "none"

# Where a probe reads: the residual stream of a layer, or the numbers of the input themselves.
RESIDUAL, VALUES, DIGITS = "residual_stream", "values", "digits"
# What equations are fitted to without any probe: the states as they are.
TRUTH = "true_states"

_RUN = {"model": pl.String(), "system": pl.String(), "control": pl.String()}

PREDICTIONS_SCHEMA = pl.Schema(
    {
        **_RUN,
        "sequence": pl.Int16(),
        "position": pl.Int32(),
        "token": pl.Int32(),
        "value": pl.Float64(),
        "log_loss": pl.Float64(),
        "mass": pl.Float64(),
        "mean": pl.Float64(),
        "median": pl.Float64(),
        "std": pl.Float64(),
        "last_value": pl.Float64(),
        "linear": pl.Float64(),
        "mean_so_far": pl.Float64(),
        "nearest": pl.Float64(),
        "nearest_two": pl.Float64(),
    }
)

DISTRIBUTIONS_SCHEMA = pl.Schema(
    {
        **_RUN,
        "sequence": pl.Int16(),
        "position": pl.Int32(),
        "value": pl.Float64(),
        "first": pl.Float64(),
        "step": pl.Float64(),
        "probabilities": pl.List(pl.Float64()),
    }
)

_SOURCE = {
    **_RUN,
    "features": pl.String(),
    "delays": pl.Int16(),
    "layer": pl.Int16(),
}

PROBES_SCHEMA = pl.Schema(
    {
        **_SOURCE,
        "variable": pl.String(),
        "shift": pl.Int16(),
        "r2": pl.Float64(),
        "mse": pl.Float64(),
        "mae": pl.Float64(),
        "r2_train": pl.Float64(),
        "penalty": pl.Float64(),
        "penalty_at_edge": pl.Boolean(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
    }
)

OUTPUTS_SCHEMA = pl.Schema(
    {
        **_SOURCE,
        "variable": pl.String(),
        "shift": pl.Int16(),
        "first": pl.Int32(),
        "truth": pl.List(pl.Float64()),
        "estimate": pl.List(pl.Float64()),
    }
)

EQUATIONS_SCHEMA = pl.Schema(
    {
        **_SOURCE,
        "pairing": pl.String(),
        "method": pl.String(),
        "tpr": pl.Float64(),
        "nce": pl.Float64(),
        "terms": pl.Int16(),
        "names": pl.List(pl.String()),
        "coefficients": pl.List(pl.Float64()),
        "true": pl.List(pl.Float64()),
        "n_fit": pl.Int32(),
        "n_validation": pl.Int32(),
    }
)
