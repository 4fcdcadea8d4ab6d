"""The best single neurons of each feature, with histograms of their activations."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features
from artneuro.probing.inputs import read_layer
from artneuro.probing.layer import NO_CONTROL

log = logging.getLogger(__name__)

KEYS = ["site", "collection", "feature"]

BEST_NEURONS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "rank": pl.Int16(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "method": pl.String(),
        "coef": pl.Float64(),
        "intercept": pl.Float64(),
        "f1_train": pl.Float64(),
        "f1": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "mcc": pl.Float64(),
        "auc": pl.Float64(),
        "mean_in": pl.Float64(),
        "mean_out": pl.Float64(),
        "std_in": pl.Float64(),
        "std_out": pl.Float64(),
        "edges": pl.List(pl.Float64()),
        "counts_in": pl.List(pl.Int32()),
        "counts_out": pl.List(pl.Int32()),
    }
)


def single_neurons(scores: pl.DataFrame) -> pl.DataFrame:
    """Probes on one neuron, best first in each (site, collection, feature) by training F1.

    Each (layer, neuron) comes once. Ties go to the lower layer, then to the first ranking by
    name. Neurons drawn at random are left out unless nothing else was fitted.
    """
    single = scores.filter((pl.col("k") == 1) & (pl.col("control") == NO_CONTROL))
    chosen = single.filter(pl.col("method") != "random")
    if chosen.is_empty():
        chosen = single
    return (
        chosen.with_columns(
            pl.col("neurons").list.first().alias("neuron"),
            pl.col("coef").list.first().alias("coef"),
        )
        .sort([*KEYS, "f1_train", "layer", "method"], descending=[False] * 3 + [True] + [False] * 2)
        .unique([*KEYS, "layer", "neuron"], keep="first", maintain_order=True)
    )


def collect_best_neurons(
    config: ProbingConfig, store: Path, rows: Path, labels: Path, scores: Path, output: Path
) -> None:
    """Write the best single neurons of each feature: chosen on train, described on test.

    Parameters
    ----------
    config : ProbingConfig
        `best_neurons` for each feature and site, `histogram_bins`.
    store, rows, labels, scores : path
        Activations, their rows, the labels, and what `fit_probes` made of them.
    output : path
        The table: one row a neuron with `rank` (1 is the best by training F1), its probe and its
        scores as in `scores`; mean and standard deviation of the activation in and out of the
        class; `edges` (bins + 1) of the histograms `counts_in` and `counts_out`. Means and
        histograms are of the test rows.

    Raises
    ------
    DataError
        If scores and labels are of different features.
    StoreError
        If the store does not fit the labels or holds values that are not finite.
    """
    by_name = {(f.collection, f.name): f for f in load_features(rows, labels)}
    best = single_neurons(read_table(scores))
    best = best.with_columns(
        (pl.int_range(pl.len()).over(KEYS) + 1).cast(pl.Int16).alias("rank")
    ).filter(pl.col("rank") <= config.best_neurons)
    described = []
    for (site, layer), part in best.group_by(["site", "layer"], maintain_order=True):
        names = {(r["collection"], r["feature"]) for r in part.iter_rows(named=True)}
        unknown = sorted(names - by_name.keys())
        if unknown:
            raise DataError(
                f"the scores hold the feature {unknown[0][1]!r} of {unknown[0][0]}, which has no "
                "labels",
                where=f"{scores} against {labels}",
                fix="run snakemake again: the scores are of other labels",
            )
        used = [by_name[name] for name in sorted(names)]
        activations = read_layer(store, str(site), int(str(layer)), used)
        for row in part.iter_rows(named=True):
            feature = by_name[row["collection"], row["feature"]]
            values = activations[feature.test, row["neuron"]].astype(np.float64)
            described.append({**row, **_describe(values, feature, config.histogram_bins)})
    table = pl.DataFrame(described).select(BEST_NEURONS_SCHEMA.names())
    write_table(table.cast(BEST_NEURONS_SCHEMA).sort([*KEYS, "rank"]), output)
    log.info("%d neurons of %d features", table.height, len(by_name))


def _describe(values: np.ndarray, feature: Feature, bins: int) -> dict:
    """Moments and histograms of one neuron's test activations in and out of the class."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        # A dead neuron has no range: one unit about its value keeps the bins valid.
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    inside, outside = values[feature.test_positive], values[~feature.test_positive]
    return {
        "mean_in": float(inside.mean()),
        "mean_out": float(outside.mean()),
        "std_in": float(inside.std()),
        "std_out": float(outside.std()),
        "edges": edges.tolist(),
        "counts_in": np.histogram(inside, edges)[0].tolist(),
        "counts_out": np.histogram(outside, edges)[0].tolist(),
    }
