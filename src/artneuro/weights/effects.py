"""What every neuron does to the output, from processed weights alone (thesis, section 3.5.1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ModelError
from artneuro.core.logs import Progress
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.models.devices import resolve_device
from artneuro.models.info import ModelShape, read_model_info
from artneuro.weights.config import WeightsConfig
from artneuro.weights.neighbours import Antipodes, nearest_rows, unit_rows
from artneuro.weights.preprocessing import (
    Unembedding,
    iterate_processed_mlp,
    read_processed_unembedding,
)
from artneuro.weights.reading import MlpWeights
from artneuro.weights.roles import ROLES, choose_examples, roles_of
from artneuro.weights.token_properties import NAMES, explained_share, property_table
from artneuro.weights.vocabulary_effects import EffectStatistics, effect_statistics

log = logging.getLogger(__name__)

EFFECTS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "norm_in": pl.Float64(),
        "norm_out": pl.Float64(),
        "cos_in_out": pl.Float64(),
        "weight_penalty": pl.Float64(),
        "input_bias": pl.Float64(),
        "effect_variance": pl.Float64(),
        "effect_skew": pl.Float64(),
        "effect_kurtosis": pl.Float64(),
        "logit_variance": pl.Float64(),
        "nearest_in_cosine": pl.Float64(),
        "nearest_in": pl.Int32(),
        "nearest_out_cosine": pl.Float64(),
        "nearest_out": pl.Int32(),
        "antipode_cosine": pl.Float64(),
        "antipode_layer": pl.Int16(),
        "antipode": pl.Int32(),
        "role": pl.String(),
        "property": pl.String(),
        "explained": pl.Float64(),
        "property_effect": pl.Float64(),
        "top_tokens": pl.List(pl.Int32()),
        "top_texts": pl.List(pl.String()),
        "top_effects": pl.List(pl.Float32()),
        "bottom_tokens": pl.List(pl.Int32()),
        "bottom_texts": pl.List(pl.String()),
        "bottom_effects": pl.List(pl.Float32()),
    }
)

EXAMPLES_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "role": pl.String(),
        "property": pl.String(),
        "explained": pl.Float64(),
        "edges": pl.List(pl.Float64()),
        "counts_in": pl.List(pl.Int32()),
        "counts_out": pl.List(pl.Int32()),
    }
)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens whose logits count: text, neither special nor part of a character.

    Attributes
    ----------
    ids : ndarray of int64, shape (v,)
    strings : list of str, length v
    vectors : Tensor of float32, shape (v, d_model)
        Their processed unembedding, each of unit length.
    covariance : ndarray of float64, shape (d_model, d_model)
        Of the unembedding itself over these tokens.
    """

    ids: np.ndarray
    strings: list[str]
    vectors: torch.Tensor
    covariance: np.ndarray


def measure_effects(
    config: WeightsConfig,
    weights: Path,
    info: Path,
    tokenizer: Path,
    output: Path,
    examples: Path,
    *,
    model: str,
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Write what every neuron of a model does to the output, and which neurons are like it.

    Parameters
    ----------
    config : WeightsConfig
    weights, info, tokenizer : Path
        The model folder, which is read layer by layer, its `model.json`, and the folder of the
        tokenizer.
    output, examples : Path
        Tables to write: see docs/architecture.md.
    model : str
        Name for the tables.
    device, threads
        Where products are made, and on how many cores.

    Raises
    ------
    ModelError
        If a weight is missing, damaged or not finite.
    """
    torch.set_num_threads(threads)
    shape, where = read_model_info(info).shape, resolve_device(device)
    vocabulary = read_vocabulary(
        load_tokenizer(tokenizer), read_processed_unembedding(weights, shape), where
    )
    labels = property_table(vocabulary.strings)
    antipodes, frames = Antipodes(config.antipode_layers), []
    counter = Progress("effects", shape.n_layers, "layers", log)
    for layer in iterate_processed_mlp(weights, shape):
        check_finite(layer, weights)
        unit = unit_rows(layer.w_out)
        antipodes.add(layer.layer, unit)
        found = effect_statistics(unit, vocabulary.vectors, labels, config.tokens, threads)
        frames.append(_describe(config, shape, layer, vocabulary, labels, found))
        counter.add(1)
    table = pl.concat(frames).with_columns(
        pl.lit(model).alias("model"),
        pl.Series("antipode_cosine", np.concatenate(list(antipodes.cosine.values()))),
        pl.Series("antipode_layer", np.concatenate(list(antipodes.layer.values()))),
        pl.Series("antipode", np.concatenate(list(antipodes.neuron.values()))),
    )
    table = table.select(EFFECTS_SCHEMA.names()).cast(EFFECTS_SCHEMA)
    write_table(table, output)
    chosen = choose_examples(table, config.examples)
    write_table(_distributions(config, shape, weights, chosen, vocabulary, labels), examples)
    for role in ROLES:
        log.info("%d neurons of role %s", (table["role"] == role).sum(), role)


def read_vocabulary(
    tokenizer: TextTokenizer, unembedding: Unembedding, device: torch.device
) -> Vocabulary:
    """The tokens of text of a vocabulary with their vectors."""
    strings = tokenizer.strings()[: len(unembedding.weight)]
    whole = tokenizer.whole(strings)
    special = set(tokenizer.special)
    ids = np.array([i for i, s in enumerate(strings) if s and whole[i] and i not in special])
    chosen = unembedding.weight[ids]
    vectors = torch.from_numpy(unit_rows(chosen).astype(np.float32)).to(device)
    covariance = np.cov(chosen, rowvar=False, bias=True)
    return Vocabulary(ids, [strings[i] for i in ids], vectors, covariance)


def check_finite(layer: MlpWeights, where: Path) -> None:
    """Raise ModelError if a weight of a layer is not finite."""
    parts = [w for w in (layer.w_in, layer.w_up, layer.bias_in, layer.w_out) if w is not None]
    if not all(np.isfinite(part).all() for part in parts):
        raise ModelError(
            f"weights of the MLP of layer {layer.layer} are not finite",
            where=str(where),
            fix="fetch the model again, or take one whose weights are whole",
        )


def _describe(
    config: WeightsConfig,
    shape: ModelShape,
    layer: MlpWeights,
    vocabulary: Vocabulary,
    labels: np.ndarray,
    found: EffectStatistics,
) -> pl.DataFrame:
    """Rows of the table about one layer, without antipodes."""
    unit_in, unit_out = unit_rows(layer.w_in), unit_rows(layer.w_out)
    squares = [
        np.square(w).sum(axis=1) for w in (layer.w_in, layer.w_up, layer.w_out) if w is not None
    ]
    (in_cosine, in_index), (out_cosine, out_index) = nearest_rows(unit_in), nearest_rows(unit_out)
    explained = explained_share(
        found.class_means, labels.sum(axis=0), len(labels), found.mean, found.variance
    )
    best = explained.argmax(axis=1)
    row = np.arange(len(best))
    alive = (squares[0] > 0) & (squares[-1] > 0)

    def texts(tokens: np.ndarray) -> list[list[str]]:
        return [[vocabulary.strings[i] for i in line] for line in tokens]

    return pl.DataFrame(
        {
            "layer": np.full(len(best), layer.layer),
            "neuron": layer.start + row,
            "norm_in": np.sqrt(squares[0]),
            "norm_out": np.sqrt(squares[-1]),
            "cos_in_out": np.where(alive, np.einsum("ij,ij->i", unit_in, unit_out), np.nan),
            "weight_penalty": np.sum(squares, axis=0),
            "input_bias": np.full(len(best), np.nan) if layer.bias_in is None else layer.bias_in,
            "effect_variance": found.variance,
            "effect_skew": found.skew,
            "effect_kurtosis": found.kurtosis,
            "logit_variance": np.einsum(
                "ij,ij->i", layer.w_out @ vocabulary.covariance, layer.w_out
            ),
            "nearest_in_cosine": in_cosine,
            "nearest_in": layer.start + in_index,
            "nearest_out_cosine": out_cosine,
            "nearest_out": layer.start + out_index,
            "role": roles_of(config, shape.d_model, found.variance, found.skew, found.kurtosis),
            "property": [NAMES[i] for i in best],
            "explained": explained[row, best],
            "property_effect": found.class_means[row, best] - found.mean,
            "top_tokens": vocabulary.ids[found.top].tolist(),
            "top_texts": texts(found.top),
            "top_effects": found.top_values.tolist(),
            "bottom_tokens": vocabulary.ids[found.bottom].tolist(),
            "bottom_texts": texts(found.bottom),
            "bottom_effects": found.bottom_values.tolist(),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def read_outputs(
    weights: Path, shape: ModelShape, neurons: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Processed output weights of some neurons, float64, shape (neurons, d_model)."""
    found = np.empty((len(neurons), shape.d_model))
    wanted: dict[int, list[int]] = {}
    for row, (layer, _) in enumerate(neurons):
        wanted.setdefault(layer, []).append(row)
    for part in iterate_processed_mlp(weights, shape, list(wanted)):
        rows = wanted[part.layer]
        found[rows] = part.w_out[[neurons[row][1] for row in rows]]
    return found


def _distributions(
    config: WeightsConfig,
    shape: ModelShape,
    weights: Path,
    chosen: pl.DataFrame,
    vocabulary: Vocabulary,
    labels: np.ndarray,
) -> pl.DataFrame:
    """Histograms of the effects of a few neurons, on tokens with a property and on the others."""
    outputs = read_outputs(weights, shape, chosen.select("layer", "neuron").rows())
    effects = (torch.from_numpy(unit_rows(outputs)).float() @ vocabulary.vectors.cpu().T).numpy()
    rows = []
    for values, row in zip(effects, chosen.iter_rows(named=True), strict=True):
        inside = labels[:, NAMES.index(row["property"])]
        edges = np.linspace(values.min(), values.max(), config.histogram_bins + 1)
        rows.append(
            {
                **{key: row[key] for key in ("model", "layer", "neuron", "role", "property")},
                "explained": row["explained"],
                "edges": edges.tolist(),
                "counts_in": np.histogram(values[inside], edges)[0].tolist(),
                "counts_out": np.histogram(values[~inside], edges)[0].tolist(),
            }
        )
    return pl.DataFrame(rows, schema=EXAMPLES_SCHEMA)
