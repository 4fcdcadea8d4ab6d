"""Space and time neurons: weights along the probes' directions, and what they tell (4.5)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.models.info import ModelShape, read_model_info
from artneuro.models.loading import load_model
from artneuro.probing.data import random_generator
from artneuro.spacetime.config import NeuronsConfig
from artneuro.spacetime.data import EntityActivations, load_entity_activations
from artneuro.spacetime.neurons_activations import measure_activations
from artneuro.spacetime.neurons_cosines import (
    OUTPUT,
    Directions,
    probed_layer,
    read_directions,
    search_neurons,
    shuffled_directions,
    vectors_of,
)
from artneuro.spacetime.neurons_projections import (
    correlations_by_type,
    norm_epsilon,
    normalised,
    rank_correlations,
)
from artneuro.spacetime.neurons_schemas import NEURONS_SCHEMA, PROJECTIONS_SCHEMA
from artneuro.weights.preprocessing import iterate_processed_mlp
from artneuro.weights.reading import MlpWeights

log = logging.getLogger(__name__)

# Probes of shuffled targets at each layer.
SHUFFLES = 20
# Random directions, and ordinary neurons of a layer, that a neuron's correlation is held against.
RANDOM_DIRECTIONS, CONTROLS = 1000, 200
# Neurons of each target and kind of weights whose projections are kept for every entity.
PROJECTED = 3


@dataclass(frozen=True)
class NeuronFacts:
    """What a search for space and time neurons did, for its provenance."""

    n_neurons: int
    n_found: int
    device: str
    compute_dtype: str
    n_train: int
    n_test: int
    seed: int


def find_entity_neurons(
    config: NeuronsConfig,
    *,
    weights: Path,
    model_info: Path,
    activations: Path,
    rows: Path,
    tokens: Path,
    sequences: Path,
    entities: Path,
    directions: Path,
    neurons: Path,
    projections: Path,
    model: str,
    table: str,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> NeuronFacts:
    """Find neurons that read or write along probes' directions, and project activations on them.

    Parameters
    ----------
    config : NeuronsConfig
    weights, model_info : Path
        Model folder and `model.json`.
    activations, rows, sequences, entities : Path
        As in `load_entity_activations`.
    tokens : Path
        The tokens of the prompt that the activations are of.
    directions : Path
        The `directions.zarr` of the probes of these activations.
    neurons, projections : Path
        The tables to write: see Notes.
    model, table : str
        Names for the tables: of the model and of the table of entities.
    seed : int
        Of shuffled targets, random directions, control neurons, and entities.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    NeuronFacts

    Raises
    ------
    DataError
        If the files do not belong together.
    ModelError
        If a weight is missing or damaged.

    Notes
    -----
    Thesis, section 4.5 and figure 4.5. One row of `neurons` is one of the `top` neurons of a target
    and a kind of weights by the size of their cosine with the probe's direction at the layer that
    they read or write. A projection is of the residual stream there, divided as the model's norm
    divides it, on the neuron's weights with the norm's gain. `spearman` is over the test rows, on
    which nothing was chosen; what is chosen goes by `spearman_train`. Beside it: the largest of
    `n_random` random directions and of `n_controls` ordinary neurons of that layer on the same rows
    (both by size), and the median of the latter. Activations are measured on some entities of each
    split: see `measure_activations`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    data = load_entity_activations(activations, rows, sequences, entities)
    known = read_directions(directions, data.layers)
    if known.target_names != data.target_names:
        raise DataError(
            f"the probes are of {known.target_names}, the entities of {data.target_names}",
            where=str(directions),
            fix="delete the probes and run snakemake again",
        )
    found = search_neurons(weights, shape, known, _shuffled(data, known, seed), config.top)
    epsilon = norm_epsilon(weights, trust_remote_code)
    described, values = _project(found, weights, shape, data, epsilon, seed)
    lm = load_model(weights, dtype, device, trust_remote_code)
    described = measure_activations(lm, described, data, tokens, rows, seed)
    names = [pl.lit(model).alias("model"), pl.lit(table).alias("entities")]
    for frame, schema, path in (
        (described, NEURONS_SCHEMA, neurons),
        (values, PROJECTIONS_SCHEMA, projections),
    ):
        write_table(frame.with_columns(names).select(schema.names()).cast(schema), path)
    n_train = int(data.train.sum())
    n_neurons = found.unique(["layer", "neuron"]).height
    log.info("%d neurons along the directions of %s", n_neurons, ", ".join(known.target_names))
    return NeuronFacts(
        shape.n_layers * shape.d_mlp, n_neurons, str(lm.device), lm.dtype, n_train,
        len(data.train) - n_train, seed,
    )  # fmt: skip


def _shuffled(data: EntityActivations, known: Directions, seed: int) -> np.ndarray:
    """Directions of shuffled targets at every layer, (layer, direction, unit)."""
    return np.stack(
        [
            shuffled_directions(
                data.layer(layer)[data.train],
                data.targets[data.train, 0],
                known.mean[i],
                known.scale[i],
                known.penalties[i],
                # The same orders at each layer: the search over all layers is one search.
                random_generator(seed, "shuffled_targets"),
                SHUFFLES,
            )
            for i, layer in enumerate(data.layers)
        ]
    )


def _project(
    found: pl.DataFrame,
    weights: Path,
    shape: ModelShape,
    data: EntityActivations,
    epsilon: float,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The neurons with their correlations, and the projections of the best by training rows."""
    directions = random_generator(seed, "random_directions").standard_normal(
        (shape.d_model, RANDOM_DIRECTIONS), dtype=np.float32
    )
    described: list[pl.DataFrame] = []
    kept: dict[tuple[str, str, int, int], np.ndarray] = {}
    random: dict[int, np.ndarray] = {}
    test = ~data.train
    for part, kind, residual in _layers(found, weights, shape, data, epsilon):
        probe = probed_layer(part.layer, kind)
        vectors = vectors_of(part)[kind].astype(np.float32)
        # Biases move no rank, but make a projection what the neuron would read.
        bias = part.bias_in if kind != OUTPUT and part.w_up is None else None
        if probe not in random:
            random[probe] = rank_correlations(residual[test] @ directions, data.targets[test])
        here = found.filter(pl.col("layer") == part.layer, pl.col("weights") == kind)
        others = np.setdiff1d(np.arange(shape.d_mlp), here["neuron"].to_numpy())
        order = random_generator(seed, "controls", part.layer, kind).permutation(others)[:CONTROLS]
        controls = rank_correlations(residual[test] @ vectors[order].T, data.targets[test])
        for i, target in enumerate(data.target_names):
            of_target = here.filter(pl.col("target") == target)
            units = of_target["neuron"].to_numpy()
            values = residual @ vectors[units].T
            if bias is not None:
                values += bias[units].astype(np.float32)
            for unit, column in zip(units.tolist(), values.T, strict=True):
                kept[target, kind, part.layer, unit] = column
            if len(units):
                described.append(
                    _describe(of_target, values, data.targets[:, i], data).with_columns(
                        pl.lit(RANDOM_DIRECTIONS).alias("n_random"),
                        pl.lit(_largest(random[probe][i])).alias("spearman_random"),
                        pl.lit(len(order)).alias("n_controls"),
                        pl.lit(_largest(controls[i])).alias("spearman_controls"),
                        pl.lit(_median(controls[i])).alias("spearman_controls_median"),
                    )
                )
    table = pl.concat(described).sort("target", "weights", "rank")
    best = (
        table.sort(pl.col("spearman_train").abs(), descending=True, nulls_last=True)
        .group_by("target", "weights", maintain_order=True)
        .head(PROJECTED)
        .sort("target", "weights", "rank")
    )
    keys = best.select("target", "weights", "layer", "neuron").rows()
    return table, pl.concat([_values_of(key, kept[key], data) for key in keys])


def _layers(
    found: pl.DataFrame,
    weights: Path,
    shape: ModelShape,
    data: EntityActivations,
    epsilon: float,
) -> Iterator[tuple[MlpWeights, str, np.ndarray]]:
    """Weights, kind, and the normalised residual stream read or written, wherever one is found."""
    kinds = found.select("layer", "weights").unique().sort("layer", "weights").rows()
    held: tuple[int, np.ndarray] | None = None
    for part in iterate_processed_mlp(weights, shape, sorted({layer for layer, _ in kinds})):
        # Readers of a layer go first: the stream behind it is then that of the next one's readers.
        here = [kind for layer, kind in kinds if layer == part.layer]
        for kind in sorted(here, key=lambda k: probed_layer(part.layer, k)):
            probe = probed_layer(part.layer, kind)
            if held is None or held[0] != probe:
                held = (probe, normalised(data.layer(probe), shape, epsilon))
            yield part, kind, held[1]


def _describe(
    here: pl.DataFrame, values: np.ndarray, truth: np.ndarray, data: EntityActivations
) -> pl.DataFrame:
    train, test = data.train, ~data.train
    types = data.entities["entity_type"].to_numpy()[test]
    names, counts, by_type = correlations_by_type(values[test], truth[test], types)
    n = here.height
    return here.with_columns(
        _series("spearman", rank_correlations(values[test], truth[test])),
        _series("spearman_train", rank_correlations(values[train], truth[train])),
        pl.lit(int(test.sum())).alias("n_test"),
        pl.Series("types", [names] * n, dtype=pl.List(pl.String)),
        pl.Series("n_by_type", [counts] * n, dtype=pl.List(pl.Int32)),
        pl.Series(
            "spearman_by_type",
            [[None if np.isnan(c) else float(c) for c in column] for column in by_type.T],
            dtype=pl.List(pl.Float64),
        ),
    )


def _values_of(
    key: tuple[str, str, int, int], values: np.ndarray, data: EntityActivations
) -> pl.DataFrame:
    target, kind, layer, neuron = key
    return data.entities.select("entity", "entity_type", "split").with_columns(
        pl.lit(target).alias("target"),
        pl.lit(kind).alias("weights"),
        pl.lit(layer).alias("layer"),
        pl.lit(neuron).alias("neuron"),
        pl.Series("truth", data.targets[:, data.target_names.index(target)]),
        pl.Series("value", values),
    )


def _series(name: str, values: np.ndarray) -> pl.Series:
    """A column in which what is not a number is null."""
    return pl.Series(name, values).fill_nan(None)


def _largest(correlations: np.ndarray) -> float | None:
    known = np.abs(correlations[~np.isnan(correlations)])
    return float(known.max()) if len(known) else None


def _median(correlations: np.ndarray) -> float | None:
    known = np.abs(correlations[~np.isnan(correlations)])
    return float(np.median(known)) if len(known) else None
