"""Neurons that one dataset chose, scored on another."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError, StoreError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features
from artneuro.probing.inputs import read_layer
from artneuro.probing.layer import fit_supports
from artneuro.probing.metrics import score_probes
from artneuro.probing.neurons import KEYS, single_neurons

log = logging.getLogger(__name__)

METRICS = ("f1", "precision", "recall", "mcc", "auc")

TRANSFER_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "source": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "layer": pl.Int16(),
        "method": pl.String(),
        "neuron": pl.Int32(),
        "f1_source_train": pl.Float64(),
        "f1_source": pl.Float64(),
        "coef_frozen": pl.Float64(),
        "intercept_frozen": pl.Float64(),
        **{f"{name}_frozen": pl.Float64() for name in METRICS},
        "coef_refit": pl.Float64(),
        "intercept_refit": pl.Float64(),
        **{f"{name}_refit": pl.Float64() for name in METRICS},
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
        "n_train_positive": pl.Int32(),
        "n_test_positive": pl.Int32(),
        "converged": pl.Boolean(),
    }
)


def score_transfer(
    config: ProbingConfig,
    source_scores: Path,
    store: Path,
    rows: Path,
    labels: Path,
    output: Path,
    *,
    model: str,
    dataset: str,
) -> None:
    """Score the best single neurons that another dataset chose on this one.

    Parameters
    ----------
    config : ProbingConfig
        `C` and `scale` of the refits.
    source_scores : path
        `scores` of the same model on the dataset that chooses: for each feature the neuron with
        the highest F1 on that dataset's training split.
    store, rows, labels : path
        Of this dataset.
    output : path
        The table, one row for each site and feature that both label: `f1_source` on the source's
        test split; `*_frozen`, the source's probe applied as it is; `*_refit`, the same neuron
        with a probe refitted on this dataset's training split. Both are scored on this dataset's
        test split.
    model, dataset : str
        Names for the table.

    Raises
    ------
    DataError
        If the two datasets share no feature, or a feature has one class in a split.
    StoreError
        If the store does not fit the labels, holds values that are not finite, or has fewer
        neurons than the model that was scored.
    """
    features = {(f.collection, f.name): f for f in load_features(rows, labels)}
    scores = single_neurons(read_table(source_scores))
    best = scores.unique(KEYS, keep="first", maintain_order=True)
    shared = best.filter(
        [(c, f) in features for c, f in best.select("collection", "feature").iter_rows()]
    )
    if shared.is_empty():
        raise DataError(
            "the two datasets share no feature",
            where=f"probing.transfer: {source_scores} and {labels}",
            fix="label features of the same collection and names in both",
        )
    if shared.height < best.height:
        log.info("%d of %d rows have a feature that both label", shared.height, best.height)
    found = []
    for (site, layer), part in shared.group_by(["site", "layer"], maintain_order=True):
        used = [features[c, f] for c, f in part.select("collection", "feature").iter_rows()]
        activations = read_layer(store, str(site), int(str(layer)), used)
        for row in part.iter_rows(named=True):
            if row["neuron"] >= activations.shape[1]:
                raise StoreError(
                    f"neuron {row['neuron']} was chosen but layer {layer} has "
                    f"{activations.shape[1]}",
                    where=f"{store}, site {site}",
                    fix="score a store of the model that chose the neurons",
                )
            feature = features[row["collection"], row["feature"]]
            values = activations[:, row["neuron"]].astype(np.float64)
            found.append({**row, **_score(config, row, values, feature)})
    table = pl.DataFrame(found).with_columns(
        pl.col("dataset").alias("source"),
        pl.lit(model).alias("model"),
        pl.lit(dataset).alias("dataset"),
        pl.col("f1_train").alias("f1_source_train"),
        pl.col("f1").alias("f1_source"),
        pl.col("coef").alias("coef_frozen"),
        pl.col("intercept").alias("intercept_frozen"),
    )
    table = table.select(TRANSFER_SCHEMA.names()).cast(TRANSFER_SCHEMA).sort(KEYS)
    write_table(table, output)


def _score(config: ProbingConfig, row: dict, values: np.ndarray, feature: Feature) -> dict:
    """Scores of the frozen and of the refitted probe of one neuron on the test rows."""
    train, test = values[feature.train], values[feature.test]
    probe = fit_supports(config, train[None], feature.train_positive, np.zeros((1, 1), np.int64))
    coef, intercept = float(probe.coef[0, 0, 0]), float(probe.intercept[0, 0])
    decision = np.stack([row["coef"] * test + row["intercept"], coef * test + intercept])
    metrics = score_probes(decision, feature.test_positive)
    return {
        "coef_refit": coef,
        "intercept_refit": intercept,
        "converged": bool(probe.converged[0, 0]),
        "n_train": feature.train.size,
        "n_test": feature.test.size,
        "n_train_positive": int(feature.train_positive.sum()),
        "n_test_positive": int(feature.test_positive.sum()),
        **{
            f"{name}_{kind}": float(getattr(metrics, name)[i])
            for name in METRICS
            for i, kind in enumerate(("frozen", "refit"))
        },
    }
