"""All neurons that tell a feature, not only the best: each alone, and round after round of probes.

A sparse probe takes one of several neurons that carry the same signal. Probing every promising
neuron alone lists them, and so does iterative pruning: take the neurons of a probe away, and fit
the next one on what is left (thesis, section 2.6.1).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.inputs import check_sites, read_layer
from artneuro.probing.layer import fit_subsets, fit_supports
from artneuro.probing.metrics import f1_of, score_probes
from artneuro.probing.rankings import class_statistics, scale_of, top
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

METRICS = ("f1", "precision", "recall", "mcc", "auc")
_NAMES = {
    "model": pl.String(),
    "dataset": pl.String(),
    "site": pl.String(),
    "collection": pl.String(),
    "feature": pl.String(),
    "layer": pl.Int16(),
}
SINGLE_SCHEMA = pl.Schema(
    {
        **_NAMES,
        "rank": pl.Int16(),
        "neuron": pl.Int32(),
        "mean_difference": pl.Float64(),
        "coef": pl.Float64(),
        "intercept": pl.Float64(),
        **{name: pl.Float64() for name in METRICS},
        "f1_train": pl.Float64(),
        "converged": pl.Boolean(),
    }
)
PRUNING_SCHEMA = pl.Schema(
    {
        **_NAMES,
        "round": pl.Int16(),
        "neurons": pl.List(pl.Int32()),
        "coef": pl.List(pl.Float64()),
        "intercept": pl.Float64(),
        **{name: pl.Float64() for name in METRICS},
        "f1_train": pl.Float64(),
        "redundant": pl.Boolean(),
        "converged": pl.Boolean(),
    }
)
KEYS = ["site", "collection", "feature", "layer"]


@dataclass(frozen=True)
class PruningRound:
    """One probe of the iterative pruning.

    Attributes
    ----------
    support : ndarray of int64
        Lines of its neurons, largest absolute coefficient of the l1 probe first.
    coef : ndarray of float64
        In the order of the support, for unscaled activations.
    intercept : float
    f1_train : float
        On the rows that it was fitted on.
    redundant : bool
        Whether that F1 reaches the share of the first round's that keeps the pruning going.
    converged : bool
    """

    support: np.ndarray
    coef: np.ndarray
    intercept: float
    f1_train: float
    redundant: bool
    converged: bool


def prune_iteratively(
    config: ProbingConfig, columns: np.ndarray, positive: np.ndarray
) -> list[PruningRound]:
    """Fit sparse probes one after the other, each without the neurons of those before it.

    Parameters
    ----------
    config : ProbingConfig
        `enumeration.pruning_*`; `l1_C` of the l1 probe that chooses the neurons of each round;
        `C` and `scale` of the probe that is refitted on them.
    columns : ndarray of shape (units, rows)
        Training activations, one neuron a line, those to prefer first.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.

    Returns
    -------
    list of PruningRound
        All but the last are as good as the first to within the share; the last is too where the
        rounds or the neurons ran out.
    """
    settings = config.enumeration
    values = columns.astype(np.float64)
    if config.scale:
        values = values / scale_of(values.std(axis=1))[:, None]
    left = np.arange(columns.shape[0])
    warm = np.zeros(left.size)
    rounds: list[PruningRound] = []
    for _ in range(settings.pruning_rounds):
        if left.size == 0:
            break
        # What was fitted on more neurons is a good start on those that are left.
        warm = fit_elastic_net(
            values[left], positive, C=config.l1_C, tolerance=1e-6, coef=warm
        ).coef
        best = np.argsort(-np.abs(warm), kind="stable")[: settings.pruning_k]
        support = left[best]
        size = support.size
        coef, intercept, converged = fit_subsets(
            config, columns, positive, support[None], np.array([size])
        )
        decision = coef[0] @ columns[support] + intercept[0]
        f1 = float(f1_of(decision[None], positive)[0])
        enough = settings.pruning_share * (rounds[0].f1_train if rounds else f1)
        rounds.append(
            PruningRound(
                support, coef[0], float(intercept[0]), f1, bool(f1 >= enough), bool(converged[0])
            )
        )
        if not rounds[-1].redundant:
            break
        left, warm = np.delete(left, best), np.delete(warm, best)
    return rounds


def enumerate_neurons(
    config: ProbingConfig,
    store: Path,
    rows: Path,
    labels: Path,
    single: Path,
    pruning: Path,
    *,
    model: str,
    dataset: str,
    dask: DaskConfig,
    threads: int,
) -> None:
    """List the neurons of every layer that tell each feature.

    Parameters
    ----------
    config : ProbingConfig
        `enumeration`, `prefilter`, `C`, `l1_C`, `scale` and `sites`.
    store, rows, labels : path
        The activations of the model on the dataset, what their rows are, and the labels.
    single : path
        The table of probes on one neuron: for each (site, feature, layer) the neurons with the
        largest absolute mean difference (`rank` from 1), scored on the test split.
    pruning : path
        The table of the iterative pruning: one row a `round`, scored on the test split.
        `redundant`: its training F1 reaches the configured share of the first round's.
    model, dataset : str
        Names for the tables.
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
    parts = run_tasks(_enumeration_task, tasks, dask, threads, label="enumeration")
    for place, (schema, output, last) in enumerate(
        ((SINGLE_SCHEMA, single, "rank"), (PRUNING_SCHEMA, pruning, "round"))
    ):
        table = pl.concat([part[place] for part in parts]).with_columns(
            pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset")
        )
        write_table(table.select(schema.names()).cast(schema).sort([*KEYS, last]), output)


def _enumeration_task(
    config: ProbingConfig, store: str, rows: str, labels: str, site: str, layer: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables of one layer; runs on a worker."""
    features = load_features(rows, labels)
    activations = read_layer(store, site, layer, features)
    with threadpool_limits(1):
        return enumerate_layer(config, activations, features, site=site, layer=layer)


def enumerate_layer(
    config: ProbingConfig,
    activations: np.ndarray,
    features: Sequence[Feature],
    *,
    site: str,
    layer: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables of `enumerate_neurons` for one layer, without the names of model and dataset.

    Parameters
    ----------
    config : ProbingConfig
    activations : ndarray of shape (rows, units)
        All rows of the store at this site and layer; finite.
    features : sequence of Feature
    site, layer
        For the tables.
    """
    columns = np.ascontiguousarray(activations.T)
    positive = np.zeros((len(features), columns.shape[1]), dtype=np.bool_)
    negative = np.zeros_like(positive)
    for line, feature in enumerate(features):
        positive[line, feature.train[feature.train_positive]] = True
        negative[line, feature.train[~feature.train_positive]] = True
    statistics = class_statistics(activations, positive, negative)
    singles, rounds = [], []
    for line, feature in enumerate(features):
        name = {
            "site": site,
            "collection": feature.collection,
            "feature": feature.name,
            "layer": layer,
        }
        difference = statistics.difference[line]
        size = np.abs(difference)
        if config.scale:
            size = size / scale_of(statistics.std[line])
        order = top(size, config.prefilter)
        train = columns[np.ix_(order, feature.train)].astype(np.float64)
        test = columns[np.ix_(order, feature.test)].astype(np.float64)
        found = _single(config, train, test, feature)
        singles.append(
            pl.DataFrame(
                {
                    "rank": np.arange(1, len(found["f1"]) + 1),
                    "neuron": order[: len(found["f1"])],
                    "mean_difference": difference[order[: len(found["f1"])]],
                    **found,
                }
            ).with_columns([pl.lit(value).alias(key) for key, value in name.items()])
        )
        for number, one in enumerate(prune_iteratively(config, train, feature.train_positive)):
            decision = (one.coef @ test[one.support] + one.intercept)[None]
            metrics = score_probes(decision, feature.test_positive)
            rounds.append(
                {
                    **name,
                    "round": number + 1,
                    "neurons": order[one.support].tolist(),
                    "coef": one.coef.tolist(),
                    "intercept": one.intercept,
                    **{m: float(getattr(metrics, m)[0]) for m in METRICS},
                    "f1_train": one.f1_train,
                    "redundant": one.redundant,
                    "converged": one.converged,
                }
            )
    schema = {k: t for k, t in PRUNING_SCHEMA.items() if k not in ("model", "dataset")}
    return pl.concat(singles), pl.DataFrame(rounds, schema=schema)


def _single(
    config: ProbingConfig, train: np.ndarray, test: np.ndarray, feature: Feature
) -> dict[str, np.ndarray]:
    """Probes on each of the first neurons alone, as columns of the table."""
    lines = np.arange(min(config.enumeration.neurons_per_layer, train.shape[0]))[:, None]
    probes = fit_supports(config, train, feature.train_positive, lines)
    coef, intercept = probes.coef[:, 0, 0], probes.intercept[:, 0]
    decision = coef[:, None] * test[lines[:, 0]] + intercept[:, None]
    metrics = score_probes(decision, feature.test_positive)
    fitted = coef[:, None] * train[lines[:, 0]] + intercept[:, None]
    return {
        "coef": coef,
        "intercept": intercept,
        **{name: getattr(metrics, name) for name in METRICS},
        "f1_train": f1_of(fitted, feature.train_positive),
        "converged": probes.converged[:, 0],
    }
