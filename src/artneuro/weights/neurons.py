"""Norms, biases and angles of every MLP neuron of a model, from its weights alone.

Thesis, section 2.5.1 and figures 2.2c and A.3.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ModelError
from artneuro.models.info import read_model_info
from artneuro.weights.reading import MlpWeights, iterate_mlp_weights

log = logging.getLogger(__name__)

NEURONS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "norm_in": pl.Float64(),
        "norm_up": pl.Float64(),
        "bias_in": pl.Float64(),
        "norm_out": pl.Float64(),
        "cos_in_out": pl.Float64(),
        "cos_up_out": pl.Float64(),
        "fingerprint": pl.Float64(),
    }
)


def summarise_weights(weights: Path, info: Path, output: Path, *, model: str) -> None:
    """Write norms, biases and angles of the MLP neurons of a model.

    Parameters
    ----------
    weights : path
        The model folder; it is read layer by layer and never loaded whole.
    info : path
        Its `model.json`.
    output : path
        The table, one row a neuron, sorted by layer and neuron: see `neuron_statistics`.
    model : str
        Name for the table.

    Raises
    ------
    ModelError
        If a weight is missing, damaged, of another size than `model.json` says, or not finite.
    """
    shape = read_model_info(info).shape
    parts = [neuron_statistics(part) for part in iterate_mlp_weights(weights, shape)]
    table = pl.concat(parts).with_columns(pl.lit(model).alias("model"))
    table = table.select(NEURONS_SCHEMA.names())
    bad = table.filter(~pl.all_horizontal(pl.col(pl.Float64).fill_null(0.0).is_finite()))
    if not bad.is_empty():
        raise ModelError(
            f"the weights of {bad.height} neurons are not finite, the first is neuron "
            f"{bad['neuron'][0]} of layer {bad['layer'][0]}",
            where=str(weights),
            fix="fetch the model again, or take one whose weights are whole",
        )
    write_table(table.cast(NEURONS_SCHEMA), output)
    log.info("%d neurons of %d layers", table.height, shape.n_layers)


def neuron_statistics(weights: MlpWeights) -> pl.DataFrame:
    """Norms, biases and angles of some neurons.

    Parameters
    ----------
    weights : MlpWeights

    Returns
    -------
    DataFrame
        `layer`, `neuron`; `norm_in`, `norm_up`, `norm_out`: Euclidean norms of the weights that
        the neuron reads with (gate and linear part of a gated one) and writes with; `cos_in_out`,
        `cos_up_out`: cosines between them; `bias_in`; and the `fingerprint` of superposition,
        norm_in * bias_in. Null: what the architecture does not have (`norm_up` without gates,
        `bias_in` and `fingerprint` without biases), and cosines with a vector of zeros.
    """
    neurons = len(weights.w_in)
    missing = np.full(neurons, np.nan)
    norm_in = np.linalg.norm(weights.w_in, axis=1)
    up, bias = weights.w_up, weights.bias_in
    found = pl.DataFrame(
        {
            "layer": np.full(neurons, weights.layer),
            "neuron": np.arange(weights.start, weights.start + neurons),
            "norm_in": norm_in,
            "norm_up": None if up is None else np.linalg.norm(up, axis=1),
            "bias_in": bias,
            "norm_out": np.linalg.norm(weights.w_out, axis=1),
            "cos_in_out": _cosines(weights.w_in, weights.w_out),
            "cos_up_out": missing if up is None else _cosines(up, weights.w_out),
            "fingerprint": None if bias is None else norm_in * bias,
        },
        schema={k: t for k, t in NEURONS_SCHEMA.items() if k != "model"},
        strict=False,
    )
    # A weight that is not finite must stay so; a cosine is none only where a norm is zero.
    zero = (pl.col("norm_in") == 0) | (pl.col("norm_out") == 0)
    zero_up = pl.col("norm_up").is_null() | (pl.col("norm_up") == 0) | (pl.col("norm_out") == 0)
    return found.with_columns(
        pl.when(~zero).then("cos_in_out").alias("cos_in_out"),
        pl.when(~zero_up).then("cos_up_out").alias("cos_up_out"),
    )


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine between each row of two matrices; NaN where a row is zero."""
    products = np.einsum("ij,ij->i", first, second)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore"):
        return products / norms
