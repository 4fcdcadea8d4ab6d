"""Sparsity curves: F1 against the number of neurons, by adaptive thresholding and in random bases.

Thesis, sections 2.5 (figure 2.4), A.2.3 and figure A.2.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.probing.adaptive import SparsityPath, adaptive_thresholding, steps_of
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.inputs import check_sites, read_layer
from artneuro.probing.logistic import fit_probes_of
from artneuro.probing.metrics import f1_of, score_probes
from artneuro.probing.random_basis import random_projections
from artneuro.probing.rankings import class_statistics, scale_of, top
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

METRICS = ("f1", "precision", "recall", "mcc", "auc")
# Above this many neurons the solver by working sets and matrix products is the faster one.
_NEWTON_UP_TO = 64

SPARSITY_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "layer": pl.Int16(),
        "basis": pl.String(),
        "k": pl.Int16(),
        "draws": pl.Int16(),
        "neurons": pl.List(pl.Int32()),
        **{name: pl.Float64() for name in METRICS},
        "log_loss": pl.Float64(),
        "f1_train": pl.Float64(),
        "f1_std": pl.Float64(),
        "log_loss_std": pl.Float64(),
        "f1_elastic_net": pl.Float64(),
        "f1_elastic_net_train": pl.Float64(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
        "n_train_positive": pl.Int32(),
        "n_test_positive": pl.Int32(),
        "converged": pl.Boolean(),
    }
)
SORT = ["site", "collection", "feature", "layer", "basis", "k"]
NEURONS, RANDOM = "neurons", "random"


def fit_sparsity_curves(
    config: ProbingConfig,
    store: Path,
    rows: Path,
    labels: Path,
    output: Path,
    *,
    model: str,
    dataset: str,
    dask: DaskConfig,
    threads: int,
) -> None:
    """Fit the whole sparsity curve of every feature on every stored layer.

    Parameters
    ----------
    config : ProbingConfig
        `sparsity`, `C`, `scale`, `sites` and `seed`.
    store, rows, labels : path
        The activations of the model on the dataset, what their rows are, and the labels.
    output : path
        The table: for each (site, feature, layer) and k of the schedule one row of the neuron
        basis and one of the random bases (`basis`). `f1` to `log_loss` are on the test split, of
        the balanced logistic probe with the l2 penalty of all methods, refitted on the k neurons
        (`neurons`) or on the activations in a random orthogonal basis of k directions: there they
        are means over `draws` bases, `f1_std` and `log_loss_std` their standard deviations
        (empty for one draw). `log_loss` is the mean logistic loss in nats, without class weights.
        `f1_elastic_net` is the F1 of the step's own elastic-net probe, empty where its penalty
        leaves no coefficient: C shrinks with k, and on few rows it ends there.
    model, dataset : str
        Names for the table.
    dask : DaskConfig
        Where the tasks run.
    threads : int
        Cores of the job.

    Raises
    ------
    ConfigError
        If a site of the config is not in the store.
    DataError
        If a feature has one class in a split, or labels and rows do not fit.
    StoreError
        If the store lacks rows that are labelled, or holds values that are not finite.
    """
    opened = open_store(store)
    check_sites(config, opened.sites, store)
    features = load_features(rows, labels)
    tasks = [
        (config, str(store), str(rows), str(labels), site, int(layer))
        for site in config.sites
        for layer in opened.layers
    ]
    log.info("%d features on %d layers", len(features), len(opened.layers))
    table = pl.concat(run_tasks(_curve_task, tasks, dask, threads, label="sparsity curves"))
    table = table.with_columns(pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset"))
    write_table(table.select(SPARSITY_SCHEMA.names()).cast(SPARSITY_SCHEMA).sort(SORT), output)


def _curve_task(
    config: ProbingConfig, store: str, rows: str, labels: str, site: str, layer: int
) -> pl.DataFrame:
    """Curves of all features on one layer; runs on a worker."""
    features = load_features(rows, labels)
    activations = read_layer(store, site, layer, features)
    with threadpool_limits(1):
        return sparsity_curves(config, activations, features, site=site, layer=layer)


def sparsity_curves(
    config: ProbingConfig,
    activations: np.ndarray,
    features: Sequence[Feature],
    *,
    site: str,
    layer: int,
) -> pl.DataFrame:
    """The sparsity curves of one layer: what `fit_sparsity_curves` writes, without the names.

    Parameters
    ----------
    config : ProbingConfig
        As for `fit_sparsity_curves`.
    activations : ndarray of shape (rows, units)
        All rows of the store at this site and layer; finite.
    features : sequence of Feature
    site, layer
        Enter the seed of the random bases.
    """
    columns = np.ascontiguousarray(activations.T)
    settings = config.sparsity
    sizes = steps_of(settings.schedule, min(settings.prefilter, columns.shape[0]))
    projections = random_projections(
        activations, sizes, draws=settings.random_draws, seed=config.seed, site=site, layer=layer
    )
    lines = []
    for feature in features:
        fixed = {
            "site": site,
            "collection": feature.collection,
            "feature": feature.name,
            "layer": layer,
            "n_train": feature.train.size,
            "n_test": feature.test.size,
            "n_train_positive": int(feature.train_positive.sum()),
            "n_test_positive": int(feature.test_positive.sum()),
        }
        curve = _neuron_curve(config, columns, feature)
        curve += [_random_point(config, drawn, feature) for drawn in projections.values()]
        lines += [{**fixed, **point} for point in curve]
    schema = {k: t for k, t in SPARSITY_SCHEMA.items() if k not in ("model", "dataset")}
    return pl.DataFrame(lines, schema=schema)


def select_path(
    config: ProbingConfig, columns: np.ndarray, feature: Feature
) -> tuple[np.ndarray, SparsityPath]:
    """Adaptive thresholding of one feature on one layer, from training rows alone.

    Returns
    -------
    lines : ndarray of int64
        The neurons that pass the first filter, largest absolute mean difference first.
    path : SparsityPath
        Its supports are places in `lines`.
    """
    positive = np.zeros((1, columns.shape[1]), dtype=np.bool_)
    negative = np.zeros_like(positive)
    positive[0, feature.train[feature.train_positive]] = True
    negative[0, feature.train[~feature.train_positive]] = True
    statistics = class_statistics(columns.T, positive, negative)
    difference = np.abs(statistics.difference[0])
    if config.scale:
        difference = difference / scale_of(statistics.std[0])
    lines = top(difference, config.sparsity.prefilter)
    values = columns[np.ix_(lines, feature.train)].astype(np.float64)
    if config.scale:
        values /= scale_of(statistics.std[0])[lines, None]
    return lines, adaptive_thresholding(
        values, feature.train_positive, schedule=config.sparsity.schedule
    )


def _neuron_curve(config: ProbingConfig, columns: np.ndarray, feature: Feature) -> list[dict]:
    lines, path = select_path(config, columns, feature)
    train = columns[np.ix_(lines, feature.train)].astype(np.float64)
    test = columns[np.ix_(lines, feature.test)].astype(np.float64)
    if config.scale:
        scale = scale_of(train.std(axis=1))[:, None]
        train, test = train / scale, test / scale
    own = f1_of(path.decide(test), feature.test_positive)
    own_train = f1_of(path.decide(train), feature.train_positive)
    points = []
    for step, (k, support) in enumerate(zip(path.sizes, path.supports, strict=True)):
        scores, converged = _refit(config, train[support], test[support], k, feature)
        points.append(
            {
                "basis": NEURONS,
                "k": k,
                "draws": 1,
                "neurons": lines[support].tolist(),
                **{name: float(values[0]) for name, values in scores.items()},
                "f1_elastic_net": float(own[step]) if path.coef[step].any() else None,
                "f1_elastic_net_train": float(own_train[step]) if path.coef[step].any() else None,
                "converged": converged and bool(path.converged[step]),
            }
        )
    return points


def _random_point(config: ProbingConfig, drawn: np.ndarray, feature: Feature) -> dict:
    """Mean and spread of the scores over random bases, (draws, k, rows)."""
    draws, k, rows = drawn.shape
    values = drawn.reshape(draws * k, rows)
    train, test = values[:, feature.train], values[:, feature.test]
    if config.scale:
        scale = scale_of(train.std(axis=1))[:, None]
        train, test = train / scale, test / scale
    scores, converged = _refit(config, train, test, k, feature)
    spread = {
        f"{name}_std": float(scores[name].std(ddof=1)) if draws > 1 else None
        for name in ("f1", "log_loss")
    }
    return {
        "basis": RANDOM,
        "k": k,
        "draws": draws,
        **{name: float(found.mean()) for name, found in scores.items()},
        **spread,
        "converged": converged,
    }


def _refit(
    config: ProbingConfig, train: np.ndarray, test: np.ndarray, k: int, feature: Feature
) -> tuple[dict[str, np.ndarray], bool]:
    """Scores of the dense balanced probes on each k lines of `train`, and whether all converged."""
    labels = feature.train_positive
    supports = np.arange(train.shape[0]).reshape(-1, k)
    if k <= _NEWTON_UP_TO:
        sizes = np.full(len(supports), k)
        coef, intercept, done = fit_probes_of(train, labels, supports, sizes, config.C)
        converged = bool(done.all())
    else:
        fits = [fit_elastic_net(train[s], labels, C=config.C, l1_ratio=0.0) for s in supports]
        coef, intercept = np.stack([f.coef for f in fits]), np.array([f.intercept for f in fits])
        converged = all(f.converged for f in fits)
    decision = np.einsum("sk,skr->sr", coef, test[supports]) + intercept[:, None]
    fitted = np.einsum("sk,skr->sr", coef, train[supports]) + intercept[:, None]
    metrics = score_probes(decision, feature.test_positive)
    sign = np.where(feature.test_positive, 1.0, -1.0)
    return {
        **{name: getattr(metrics, name) for name in METRICS},
        "log_loss": np.logaddexp(0.0, -sign * decision).mean(axis=1),
        "f1_train": f1_of(fitted, labels),
    }, converged
