"""The probes of one model on one dataset: one Dask task for each layer and block of features."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features
from artneuro.probing.inputs import check_sites, read_layer
from artneuro.probing.layer import LayerProbes, probe_layer
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

# Features of one task. Fixed, not derived from the number of workers: the shape of a matrix
# product can change its last digits.
FEATURES_PER_TASK = 16

SCORES_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "layer": pl.Int16(),
        "method": pl.String(),
        "k": pl.Int8(),
        "control": pl.String(),
        "neurons": pl.List(pl.Int32()),
        "coef": pl.List(pl.Float64()),
        "intercept": pl.Float64(),
        "f1": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "mcc": pl.Float64(),
        "auc": pl.Float64(),
        "f1_train": pl.Float64(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
        "n_train_positive": pl.Int32(),
        "n_test_positive": pl.Int32(),
        "converged": pl.Boolean(),
    }
)
TIMES_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "layer": pl.Int16(),
        "control": pl.String(),
        "method": pl.String(),
        "seconds": pl.Float64(),
    }
)
CERTIFICATES_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "layer": pl.Int16(),
        "control": pl.String(),
        "method": pl.String(),
        "k": pl.Int8(),
        "objective": pl.Float64(),
        "bound": pl.Float64(),
        "gap": pl.Float64(),
        "status": pl.String(),
        "nodes": pl.Int64(),
        "seconds": pl.Float64(),
    }
)
SORT = ["site", "collection", "feature", "layer", "control", "method", "k"]


def fit_probes(
    config: ProbingConfig,
    store: Path,
    rows: Path,
    labels: Path,
    scores: Path,
    times: Path | None = None,
    certificates: Path | None = None,
    *,
    model: str,
    dataset: str,
    dask: DaskConfig,
    threads: int,
) -> None:
    """Fit and score the sparse probes of every feature on every stored layer.

    Parameters
    ----------
    config : ProbingConfig
        Sites, rankings, sizes, controls and seed.
    store, rows, labels : path
        The activations of the model on the dataset, what their rows are, and the labels.
    scores : path
        Where the table of the schema `scores` is written, sorted; the same bytes for any number
        of workers.
    times : path, optional
        Where the table of the schema `times` is written: CPU seconds, which differ from run to run
        and so have a table of their own.
    certificates : path, optional
        Where the table of the schema `certificates` is written: what the ranking `optimal` proved
        of each support (`artneuro.probing.optimal.Certificate`). Empty without that ranking.
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
        If a feature has one class in a split, or labels and rows do not fit (`load_features`).
    StoreError
        If the store lacks rows that are labelled, or holds values that are not finite.

    Notes
    -----
    Thesis, sections 2.3, A.2.3 and A.2.4. Only paths and small numbers go to the workers, which
    read their own layers.
    """
    opened = open_store(store)
    check_sites(config, opened.sites, store)
    features = load_features(rows, labels)
    # The last layers first: proofs take longest there, and no worker is left alone with them.
    tasks = [
        (site, int(layer), first)
        for site in config.sites
        for layer in reversed(opened.layers)
        for first in range(0, len(features), FEATURES_PER_TASK)
    ]
    log.info(
        "%d features on %d layers of %s: %d tasks",
        len(features),
        len(opened.layers),
        ", ".join(config.sites),
        len(tasks),
    )
    # Compiles once here; the workers then load the compiled code from the cache.
    warm_up(config)
    where = (str(store), str(rows), str(labels))
    parts = run_tasks(
        _probe_task, [(config, *where, *task) for task in tasks], dask, threads, label="probes"
    )
    names = [pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset")]
    table = pl.concat([found for found, _, _ in parts]).with_columns(names)
    table = table.select(SCORES_SCHEMA.names()).cast(SCORES_SCHEMA).sort(SORT)
    failed = table.height - int(table["converged"].sum())
    if failed:
        log.warning("%d of %d probes did not converge (column converged)", failed, table.height)
    write_table(table, scores)
    if times is not None:
        took = pl.concat([seconds for _, seconds, _ in parts]).with_columns(names)
        write_table(took.select(TIMES_SCHEMA.names()).cast(TIMES_SCHEMA).sort(SORT[:-1]), times)
    if certificates is not None:
        proofs = pl.concat([proven for _, _, proven in parts]).with_columns(names)
        late = proofs.filter(pl.col("status") != "optimal").height
        if late:
            log.warning("%d of %d supports are not proven within the time", late, proofs.height)
        proofs = proofs.select(CERTIFICATES_SCHEMA.names()).cast(CERTIFICATES_SCHEMA)
        write_table(proofs.sort(SORT), certificates)


def _probe_task(
    config: ProbingConfig, store: str, rows: str, labels: str, site: str, layer: int, first: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Scores, times and certificates of one block of features on one layer; runs on a worker."""
    features = load_features(rows, labels)[first : first + FEATURES_PER_TASK]
    activations = read_layer(store, site, layer, features)
    # One thread: workers share the cores, and the order of sums must not depend on their number.
    with threadpool_limits(1):
        found = probe_layer(config, activations, features, site=site, layer=layer)
    return (
        pl.concat([_table(probes, site, layer) for probes in found]),
        pl.concat([_times(probes, site, layer) for probes in found]),
        pl.concat([_certificates(probes, site, layer) for probes in found]),
    )


def _table(found: LayerProbes, site: str, layer: int) -> pl.DataFrame:
    methods, k = found.supports.shape
    sizes = np.tile(np.arange(1, k + 1), methods)
    feature, n = found.feature, methods * k

    return pl.DataFrame(
        {
            "site": [site] * n,
            "collection": [feature.collection] * n,
            "feature": [feature.name] * n,
            "layer": [layer] * n,
            "method": np.repeat(np.array(found.methods), k).tolist(),
            "k": sizes.tolist(),
            "control": [found.control] * n,
            "neurons": [found.neurons(m, j + 1).tolist() for m in range(methods) for j in range(k)],
            "coef": [
                found.probes.coef[m, j, : j + 1].tolist() for m in range(methods) for j in range(k)
            ],
            "intercept": found.probes.intercept.ravel(),
            **{
                name: getattr(found.metrics, name).ravel()
                for name in ("f1", "precision", "recall", "mcc", "auc")
            },
            "f1_train": found.f1_train.ravel(),
            "n_train": [feature.train.size] * n,
            "n_test": [feature.test.size] * n,
            "n_train_positive": [int(feature.train_positive.sum())] * n,
            "n_test_positive": [int(feature.test_positive.sum())] * n,
            "converged": found.probes.converged.ravel(),
        },
        schema={k: t for k, t in SCORES_SCHEMA.items() if k not in ("model", "dataset")},
    )


def _times(found: LayerProbes, site: str, layer: int) -> pl.DataFrame:
    n = len(found.methods)
    return pl.DataFrame(
        {
            "site": [site] * n,
            "collection": [found.feature.collection] * n,
            "feature": [found.feature.name] * n,
            "layer": [layer] * n,
            "control": [found.control] * n,
            "method": list(found.methods),
            "seconds": found.seconds,
        }
    )


def _certificates(found: LayerProbes, site: str, layer: int) -> pl.DataFrame:
    lines = [
        {
            "site": site,
            "collection": found.feature.collection,
            "feature": found.feature.name,
            "layer": layer,
            "control": found.control,
            "method": method,
            "k": size,
            **{
                name: getattr(proof, name)
                for name in ("objective", "bound", "gap", "status", "nodes", "seconds")
            },
        }
        for method, proofs in found.certificates.items()
        for size, proof in enumerate(proofs, start=1)
    ]
    schema = {k: t for k, t in CERTIFICATES_SCHEMA.items() if k not in ("model", "dataset")}
    return pl.DataFrame(lines, schema=schema)


def warm_up(config: ProbingConfig) -> None:
    """Run every compiled function once on a tiny example."""
    generator = np.random.default_rng(0)
    positive = np.arange(12) % 3 == 0
    feature = Feature(
        collection="warm up",
        name="warm up",
        train=np.arange(12),
        test=np.arange(12, 24),
        train_positive=positive,
        test_positive=positive,
        train_groups=np.arange(12),
        test_groups=np.arange(12, 24),
    )
    activations = generator.standard_normal((24, 6)).astype(np.float32)
    activations[:, 0] += np.concatenate([positive, positive])
    probe_layer(config, activations, [feature], site="warm up", layer=0)
