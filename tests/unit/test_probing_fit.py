"""The stage from files to tables: store, Dask, errors, best neurons, transfer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.config import DaskConfig
from artneuro.core.errors import ConfigError, DataError, StoreError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import load_features
from artneuro.probing.fit import SCORES_SCHEMA, fit_probes
from artneuro.probing.neurons import collect_best_neurons
from artneuro.probing.transfer import score_transfer
from tests.probing_example import LAYER_OF, ONE, write_example, write_store

CONFIG = ProbingConfig(max_k=3, best_neurons=4, histogram_bins=12)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("a"))


@pytest.fixture(scope="module")
def scores(example):
    path = example.store.parent / "scores.parquet"
    fit(example, path)
    return path


def fit(example, path, config=CONFIG, workers=1):
    fit_probes(
        config, example.store, example.rows, example.labels, path,
        model="m", dataset="a", dask=DaskConfig(), threads=workers,
    )  # fmt: skip


def test_scores_have_the_schema_and_every_probe_once(example, scores):
    table = read_table(scores)
    assert table.schema == SCORES_SCHEMA
    assert table.height == 2 * 3 * 5 * 3 * 2
    keys = ["site", "collection", "feature", "layer", "control", "method", "k"]
    assert table.equals(table.sort(keys))
    assert not table.select(keys).is_duplicated().any()
    assert (table["neurons"].list.len() == table["k"]).all()
    assert (table["coef"].list.len() == table["k"]).all()
    assert table["converged"].all()
    assert table["n_train"].unique().to_list() == [int(example.train.sum())]


def test_scores_are_those_of_the_stored_coefficients(example, scores):
    real = read_table(scores).filter(pl.col("control") == "none")
    for row in real.sample(20, seed=0).iter_rows(named=True):
        x = example.activations[row["layer"]].astype(float)[~example.train]
        called = x[:, row["neurons"]] @ np.array(row["coef"]) + row["intercept"] > 0
        truth = example.truth[row["feature"]][~example.train]
        tp = (called & truth).sum()
        f1 = 2 * tp / (called.sum() + truth.sum())
        assert row["f1"] == pytest.approx(f1, abs=1e-12)


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(example, scores, tmp_path):
    fit(example, tmp_path / "scores.parquet", workers=3)
    assert (tmp_path / "scores.parquet").read_bytes() == scores.read_bytes()


def test_best_neurons_are_chosen_on_train_and_described_on_test(example, scores, tmp_path):
    path = tmp_path / "best.parquet"
    collect_best_neurons(CONFIG, example.store, example.rows, example.labels, scores, path)
    table = read_table(path)
    assert table.group_by("feature").len()["len"].to_list() == [4, 4]
    one = table.filter(pl.col("feature") == "one")
    assert one.row(0, named=True)["neuron"] == ONE
    assert one.row(0, named=True)["layer"] == LAYER_OF["one"]
    assert one["rank"].to_list() == [1, 2, 3, 4]
    assert one["f1_train"].is_sorted(descending=True)
    values = example.activations[LAYER_OF["one"], ~example.train, ONE].astype(float)
    truth = example.truth["one"][~example.train]
    best = one.row(0, named=True)
    assert best["mean_in"] == pytest.approx(values[truth].mean())
    assert best["std_out"] == pytest.approx(values[~truth].std())
    assert len(best["edges"]) == 13
    assert sum(best["counts_in"]) == truth.sum()
    assert sum(best["counts_out"]) == (~truth).sum()


def test_transfer_applies_the_frozen_probe_and_refits(example, scores, tmp_path):
    other = write_example(tmp_path / "b", seed=5)
    # The second domain shifts every activation: the threshold is wrong there, the neuron right.
    write_store(other.store, other.activations + 20.0)
    path = tmp_path / "transfer.parquet"
    score_transfer(
        CONFIG, scores, other.store, other.rows, other.labels, path, model="m", dataset="b"
    )
    row = read_table(path).filter(pl.col("feature") == "one").row(0, named=True)
    assert (row["source"], row["dataset"], row["neuron"]) == ("a", "b", ONE)
    assert row["recall_frozen"] == 1.0
    assert row["precision_frozen"] == pytest.approx(other.truth["one"][~other.train].mean())
    assert row["f1_refit"] > 0.97
    assert row["auc_frozen"] == row["auc_refit"]


def test_transfer_without_a_shared_feature(example, scores, tmp_path):
    other = write_example(tmp_path / "b", collection="others")
    with pytest.raises(DataError, match="share no feature"):
        score_transfer(
            CONFIG, scores, other.store, other.rows, other.labels, tmp_path / "t.parquet",
            model="m", dataset="b",
        )  # fmt: skip


def test_a_feature_with_one_class_is_named_with_its_counts(tmp_path):
    example = write_example(tmp_path)
    labels = read_table(example.labels)
    rows = read_table(example.rows)
    test = rows.filter(pl.col("split") == "test")["sequence"].implode()
    write_table(
        labels.with_columns(pl.col("label") & ~pl.col("sequence").is_in(test)), example.labels
    )
    with pytest.raises(DataError, match=r"'one' of planted has 0 positive and 72 negative.*test"):
        load_features(example.rows, example.labels)


def test_labels_without_rows_are_an_error(tmp_path):
    example = write_example(tmp_path)
    write_table(read_table(example.rows).head(200), example.rows)
    with pytest.raises(DataError, match=r"80 labels point at spans .* sequence 200"):
        load_features(example.rows, example.labels)


def test_a_span_labelled_twice_is_an_error(tmp_path):
    example = write_example(tmp_path)
    labels = read_table(example.labels)
    write_table(pl.concat([labels, labels.head(1)]), example.labels)
    with pytest.raises(DataError, match="labels the span of row 0 twice"):
        load_features(example.rows, example.labels)


def test_activations_that_are_not_finite_are_an_error(tmp_path, scores):
    example = write_example(tmp_path)
    broken = example.activations.copy()
    broken[:, 7, 5] = np.nan
    write_store(example.store, broken)
    with pytest.raises(StoreError, match="row 7, neuron 5"):
        collect_best_neurons(
            CONFIG, example.store, example.rows, example.labels, scores, tmp_path / "n.parquet"
        )


def test_a_site_that_was_not_dumped_is_an_error(example, tmp_path):
    with pytest.raises(ConfigError, match="'resid_post' is to be probed but was not dumped"):
        fit(example, tmp_path / "s.parquet", ProbingConfig(sites=["resid_post"]))
    assert not (tmp_path / "s.parquet").exists()


@pytest.mark.parametrize(
    "values", [{"rankings": []}, {"rankings": ["best"]}, {"max_k": 0}, {"x": 1}]
)
def test_bad_configs_are_refused(values):
    with pytest.raises(ValueError):
        ProbingConfig(**values)
