"""Linear probes of every layer for places and dates, with what they are held against.

Thesis, sections 4.2 to 4.4. One decomposition of a layer's features serves all penalties and all
targets, and at the best layer also the principal components and the shuffled targets. The layer
that is called the best is the one with the least leave-one-out error on the training rows: test
rows choose nothing.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError, StoreError
from artneuro.datasets.seeding import generator_of
from artneuro.spacetime.baselines import name_tokens, random_features, token_counts
from artneuro.spacetime.config import ProbesConfig
from artneuro.spacetime.data import SITE, EntityActivations, load_entity_activations
from artneuro.spacetime.fit_tables import (
    DIMENSIONS_SCHEMA,
    SCORES_SCHEMA,
    prediction_table,
    table_of,
    write_directions,
)
from artneuro.spacetime.metrics import SPACE, r_squared, score_targets
from artneuro.spacetime.mlp import MLPProbe
from artneuro.spacetime.proximity import proximity_errors
from artneuro.spacetime.ridge import (
    DEFAULT_PENALTIES,
    KEPT,
    Chosen,
    RidgeDesign,
    choose_penalty,
)

log = logging.getLogger(__name__)

# Share of the layers below the one of table 4.2.
DEPTH = 0.6
# Names of the baselines.
BAG, RANDOM, SHUFFLED = "bag_of_tokens", "random_features", "shuffled_targets"
# Orders of the shuffled targets.
SHUFFLES = 10


@dataclass(frozen=True)
class ProbeFacts:
    """What was fitted, for its provenance.

    Attributes
    ----------
    best_layer : int
        Layer of the model with the least leave-one-out error.
    seconds : dict of float
        Wall-clock seconds of each part.
    """

    best_layer: int
    n_train: int
    n_test: int
    seed: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class LinearProbe:
    """A ridge regression, and what it says of every row.

    Attributes
    ----------
    chosen : Chosen
    coef, intercept : ndarray of shape (d, t), (t,)
        In the units of the features.
    mean, scale : ndarray of shape (d,)
        Of the training rows.
    predicted : ndarray of shape (n, t)
    """

    chosen: Chosen
    coef: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Outputs:
    """Where the results of `fit_entity_probes` are written."""

    scores: Path
    predictions: Path
    directions: Path
    dimensions: Path


def fit_entity_probes(
    config: ProbesConfig,
    *,
    store: Path,
    rows: Path,
    sequences: Path,
    tokens: Path,
    entities: Path,
    outputs: Outputs,
    model: str,
    table: str,
    prompt: str,
    threads: int,
) -> ProbeFacts:
    """Probe every stored layer for the places or dates of entities.

    Parameters
    ----------
    config : ProbesConfig
    store, rows, sequences, tokens : path
        Activations of a prompt and what was read.
    entities : path
        The table of entities.
    outputs : Outputs
        Tables `scores`, `predictions`, `dimensions` and the store `directions`, all of which
        docs/architecture.md describes.
    model, table, prompt : str
        Names for the tables.
    threads : int
        Cores of the job. Layers of up to 32 million numbers are fitted side by side, with one
        thread each and the same result on any number; larger ones share the threads in turn.

    Raises
    ------
    DataError
        If the files do not belong together, or activations are not finite.
    StoreError
        If the store cannot be read.
    """
    data = load_entity_activations(store, rows, sequences, entities)
    started = time.perf_counter()
    seconds: dict[str, float] = {}

    def lap(part: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[part] = round(now - started, 3)
        log.info("%s: %.2f s", part, now - started)
        started = now

    probes = fit_layers(data, config, threads)
    lap("linear")
    best = max(data.layers, key=lambda layer: (-probes[layer].chosen.errors.min(), -layer))
    log.info("the best of %d layers is %d", data.n_layers, best)
    found = [score_probe(data, probes[layer], "linear", layer) for layer in data.layers]
    lap("scores")
    features = data.layer(best)
    design = RidgeDesign(features[data.train])
    dimensions = score_dimensions(data, design, features, config, probes[best], best)
    lap("dimensions")
    found += score_baselines(data, config, design, features, read_names(tokens, sequences, data))
    lap("baselines")
    if config.mlp:
        for layer in sorted({best, layer_at(data.layers, DEPTH)}):
            found.append(score_mlp(data, layer, config.seed))
        lap("mlp")
    left_out = design.loo_predictions(data.targets[data.train], probes[best].chosen.penalty)
    names = {"model": model, "entities": table, "prompt": prompt}
    write_table(table_of(found, SCORES_SCHEMA, names), outputs.scores)
    write_table(table_of(dimensions, DIMENSIONS_SCHEMA, names), outputs.dimensions)
    write_table(
        prediction_table(data, probes[best].predicted, left_out, best, names), outputs.predictions
    )
    write_directions(
        outputs.directions,
        {
            "coef": np.stack([probes[layer].coef for layer in data.layers]),
            "intercept": np.stack([probes[layer].intercept for layer in data.layers]),
            "mean": np.stack([probes[layer].mean for layer in data.layers]),
            "scale": np.stack([probes[layer].scale for layer in data.layers]),
        },
        {
            "layers": list(data.layers),
            "target_names": list(data.target_names),
            "best_layer": best,
            "penalties": [probes[layer].chosen.penalty for layer in data.layers],
        },
    )
    n_train = int(data.train.sum())
    return ProbeFacts(best, n_train, len(data.train) - n_train, config.seed, seconds)


def layer_at(layers: tuple[int, ...], depth: float) -> int:
    """The stored layer nearest to a share of the model's depth, of which the last one is the end.

    The lower one of two that are equally near.
    """
    wanted = depth * (max(layers) + 1)
    return min(layers, key=lambda layer: (abs(layer - wanted), layer))


def penalties_of(config: ProbesConfig) -> np.ndarray:
    """Where the choice of the penalty starts."""
    return DEFAULT_PENALTIES if config.penalties is None else np.array(config.penalties)


def fit_linear(
    features: np.ndarray,
    targets: np.ndarray,
    train: np.ndarray,
    penalties: np.ndarray,
    design: RidgeDesign | None = None,
) -> LinearProbe:
    """Choose the penalty, fit on the training rows, predict all.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    targets : ndarray of shape (n, t)
    train : ndarray of bool, shape (n,)
    penalties : ndarray of float
        See `choose_penalty`.
    design : RidgeDesign, optional
        Of the training rows of `features`, where there is one.
    """
    design = RidgeDesign(features[train]) if design is None else design
    chosen = choose_penalty(design, targets[train], penalties)
    coef, intercept = design.solve(targets[train], chosen.penalty)
    predicted = features @ coef + intercept
    return LinearProbe(chosen, coef, intercept, design.mean, design.scale, predicted)


def fit_layers(
    data: EntityActivations, config: ProbesConfig, threads: int
) -> dict[int, LinearProbe]:
    """Linear probes of every stored layer, by layer."""
    penalties = penalties_of(config)

    def fit(layer: int) -> LinearProbe:
        try:
            return fit_linear(data.layer(layer), data.targets, data.train, penalties)
        except DataError as error:
            raise StoreError(
                error.what, where=f"{data.store.path}, layer {layer}, {error.where}", fix=error.fix
            ) from error

    is_small = data.store.n_rows * data.store.units(SITE) <= KEPT
    workers = threads if is_small else 1
    with threadpool_limits(threads // workers), ThreadPoolExecutor(workers) as pool:
        return dict(zip(data.layers, pool.map(fit, data.layers), strict=True))


def score_probe(
    data: EntityActivations, probe: LinearProbe, name: str, layer: int | None
) -> dict[str, Any]:
    """One row of the table of scores, on the test rows."""
    chosen = probe.chosen
    return {
        **score_predictions(data, probe.predicted),
        "probe": name,
        "layer": layer,
        "r2_loo": 1.0 - float(chosen.errors.min()),
        "penalty": chosen.penalty,
        "penalty_extended": chosen.extended,
    }


def score_predictions(data: EntityActivations, predicted: np.ndarray) -> dict[str, Any]:
    """Scores of predictions of all rows, on the test rows."""
    train, test = data.train, ~data.train
    names = data.target_names
    truth, said = data.targets[test], predicted[test]
    found: dict[str, Any] = {"split": "test", **score_targets(truth, said, names)}
    found["proximity"] = float(proximity_errors(truth, said, names).mean())
    if set(names) == set(SPACE):
        swapped = proximity_errors(truth, said, names, as_published=True)
        found["proximity_as_published"] = float(swapped.mean())
    found["r2_train"] = float(r_squared(data.targets[train], predicted[train]).mean())
    found |= {"n_train": int(train.sum()), "n_test": int(test.sum())}
    return found


def score_dimensions(
    data: EntityActivations,
    design: RidgeDesign,
    features: np.ndarray,
    config: ProbesConfig,
    full: LinearProbe,
    layer: int,
) -> list[dict[str, Any]]:
    """Probes on the first principal components of the training rows (thesis, 4.4.2).

    The components are those of the scaled features; each number of them has the penalty that
    leave-one-out chooses for it. The last row is the probe of all units.
    """
    train = data.train
    targets = data.targets[train]
    total = float(design.values.sum())
    # Components without variance do not exist: centred rows have one less than there are rows.
    rank = int((design.values > total * 1e-12).sum())
    found: list[dict[str, Any]] = []

    def add(k: int, predicted: np.ndarray, chosen: Chosen, share: float) -> None:
        scores = score_targets(data.targets[~train], predicted, data.target_names)
        found.append(
            {
                "layer": layer,
                "k": k,
                "r2": scores["r2"],
                "spearman": scores["spearman"],
                "explained_variance": share,
                "r2_loo": 1.0 - float(chosen.errors.min()),
                "penalty": chosen.penalty,
            }
        )

    for k in sorted(set(config.dimensions)):
        if k >= min(rank, features.shape[1]):
            break
        part = design.truncated(k)
        chosen = choose_penalty(part, targets, penalties_of(config))
        coef, intercept = part.solve(targets, chosen.penalty)
        share = float(part.values.sum()) / total
        add(k, features[~train] @ coef + intercept, chosen, share)
    add(features.shape[1], full.predicted[~train], full.chosen, 1.0)
    return found


def read_names(tokens: Path, sequences: Path, data: EntityActivations) -> list[np.ndarray]:
    """The tokens of the name of each row's entity, as the prompt has them."""
    frame = read_table(sequences, ["entity", "name_start", "name_end"])
    ids = read_table(tokens, ["tokens"])["tokens"].to_numpy()
    if len(ids) != frame.height:
        raise DataError(
            f"{len(ids)} rows of tokens for {frame.height} sequences",
            where=str(tokens),
            fix="delete the prompts and run snakemake again",
        )
    names = name_tokens(ids, frame["name_start"].to_numpy(), frame["name_end"].to_numpy())
    by_entity = dict(zip(frame["entity"], names, strict=True))
    return [by_entity[entity] for entity in data.entities["entity"]]


def score_baselines(
    data: EntityActivations,
    config: ProbesConfig,
    design: RidgeDesign,
    features: np.ndarray,
    names: list[np.ndarray],
) -> list[dict[str, Any]]:
    """What ridge regressions say that know no model, or no truth.

    Counts of tokens are not scaled: rare ones would else weigh as much as frequent ones, and the
    baseline would be a weaker one. Shuffled targets are those of the training rows, in another
    order, probed at the best layer; their scores are means over several orders, because a single
    one happens to lie along what the features vary most in, and ranks rows right or wrong by it.
    """
    penalties = penalties_of(config)
    counts = token_counts(names, data.train, config.bag_tokens)
    bag = RidgeDesign(counts[data.train], scaled=False)
    drawn = random_features(names, features.shape[1], config.seed)
    found = [
        score_probe(data, fit_linear(counts, data.targets, data.train, penalties, bag), BAG, None),
        score_probe(data, fit_linear(drawn, data.targets, data.train, penalties), RANDOM, None),
    ]
    rows, targets = np.flatnonzero(data.train), data.targets.copy()
    draws = []
    for draw in range(SHUFFLES):
        targets[rows] = data.targets[generator_of(config.seed, SHUFFLED, draw).permutation(rows)]
        probe = fit_linear(features, targets, data.train, penalties, design)
        draws.append(score_probe(data, probe, SHUFFLED, None))
    mean = {
        name: float(np.mean([draw[name] for draw in draws]))
        for name, value in draws[0].items()
        if isinstance(value, float) and name != "penalty"
    }
    # The largest penalty shows best whether the search ended.
    strongest = max(draws, key=lambda draw: draw["penalty"])
    return [*found, {**strongest, **mean}]


def score_mlp(data: EntityActivations, layer: int, seed: int) -> dict[str, Any]:
    """The probe with a hidden layer (table 4.2); `penalty` is its weight decay."""
    features, train = data.layer(layer), data.train
    groups = data.entities["group"].to_numpy()[train]
    probe = MLPProbe(seed=seed).fit(features[train], data.targets[train], groups)
    return {
        **score_predictions(data, probe.predict(features)),
        "probe": "mlp",
        "layer": layer,
        "penalty": probe.weight_decay_,
    }
