"""Tables of space and time neurons and of interventions on them."""

from __future__ import annotations

import polars as pl

_RUN = {"model": pl.String(), "entities": pl.String()}
_WEIGHTS = {"target": pl.String(), "weights": pl.String()}
_NEURON = {"layer": pl.Int16(), "neuron": pl.Int32()}

NEURONS_SCHEMA = pl.Schema(
    {
        **_RUN,
        **_WEIGHTS,
        "rank": pl.Int32(),
        **_NEURON,
        "probe_layer": pl.Int16(),
        "cosine": pl.Float64(),
        "n_searched": pl.Int32(),
        "cosine_random": pl.Float64(),
        "cosine_p": pl.Float64(),
        "cosine_shuffled": pl.Float64(),
        "spearman": pl.Float64(),
        "spearman_train": pl.Float64(),
        "n_test": pl.Int32(),
        "n_random": pl.Int32(),
        "spearman_random": pl.Float64(),
        "n_controls": pl.Int32(),
        "spearman_controls": pl.Float64(),
        "spearman_controls_median": pl.Float64(),
        "activation_spearman": pl.Float64(),
        "activation_spearman_train": pl.Float64(),
        "activation_mean": pl.Float64(),
        "activation_std": pl.Float64(),
        "activation_spearman_controls": pl.Float64(),
        "types": pl.List(pl.String()),
        "n_by_type": pl.List(pl.Int32()),
        "spearman_by_type": pl.List(pl.Float64()),
    }
)

PROJECTIONS_SCHEMA = pl.Schema(
    {
        **_RUN,
        **_WEIGHTS,
        **_NEURON,
        "entity": pl.Int32(),
        "entity_type": pl.String(),
        "split": pl.String(),
        "truth": pl.Float64(),
        "value": pl.Float32(),
    }
)

# Rank correlation of the activation with the target, and the activation's moments.
_MEASURED = {
    "activation_spearman": pl.Float64(),
    "activation_mean": pl.Float64(),
    "activation_std": pl.Float64(),
}

PINNED_SCHEMA = pl.Schema(
    {
        **_RUN,
        "entity": pl.Int32(),
        "name": pl.String(),
        "time": pl.Float64(),
        "text": pl.String(),
        **_NEURON,
        "control": pl.Boolean(),
        **_MEASURED,
        "setting": pl.Float64(),
        "value": pl.Float64(),
        "token": pl.Int32(),
        "token_text": pl.String(),
        "probability": pl.Float64(),
        "rank": pl.Int32(),
        "top_token_text": pl.String(),
        "divergence": pl.Float64(),
        "digit_mass": pl.Float64(),
        "expected_digit": pl.Float64(),
    }
)

ABLATIONS_SCHEMA = pl.Schema(
    {
        **_RUN,
        "target": pl.String(),
        **_NEURON,
        "control": pl.Boolean(),
        "of_neuron": pl.Int32(),
        **_MEASURED,
        "n_sequences": pl.Int32(),
        "n_tokens": pl.Int32(),
        "loss": pl.Float64(),
        "loss_se": pl.Float64(),
        "loss_ablated": pl.Float64(),
        "increase": pl.Float64(),
        "increase_se": pl.Float64(),
        "relative_increase": pl.Float64(),
        "increase_max": pl.Float64(),
        "share_raised": pl.Float64(),
    }
)

CONTEXTS_SCHEMA = pl.Schema(
    {
        **_RUN,
        "target": pl.String(),
        **_NEURON,
        "control": pl.Boolean(),
        "of_neuron": pl.Int32(),
        "rank": pl.Int32(),
        "sequence": pl.Int32(),
        "position": pl.Int32(),
        "context": pl.String(),
        "token": pl.Int32(),
        "token_text": pl.String(),
        "increase": pl.Float64(),
        "loss": pl.Float64(),
        "activation": pl.Float64(),
    }
)
