"""The comparison of methods: layers chosen on train, means, times, methods that choose anew."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.probing.best_subset import best_subsets
from artneuro.probing.comparison import (
    ALL_METHODS_SCHEMA,
    METHODS_SCHEMA,
    collect_methods,
    method_table,
    overall_table,
)
from artneuro.probing.config import ProbingConfig
from artneuro.probing.layer import probe_layer
from artneuro.probing.logistic import balanced_weights, fit_probes_of
from artneuro.report.sparsity import methods_grid, plot_methods, plot_sparsity, sparsity_by_k
from tests.probing_example import THREE, planted
from tests.unit.test_probing_layer import features_of


def scores(rows, model="m", dataset="d"):
    """A table of scores: (feature, layer, method, k, f1_train, f1)."""
    names = ["feature", "layer", "method", "k", "f1_train", "f1"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset"),
        pl.lit("s").alias("site"), pl.lit("c").alias("collection"), pl.lit("none").alias("control"),
    )  # fmt: skip


def times(rows):
    """A table of times: (method, control, seconds)."""
    return pl.DataFrame(rows, schema=["method", "control", "seconds"], orient="row").with_columns(
        pl.lit("m").alias("model"), pl.lit("d").alias("dataset"),
        pl.lit("s").alias("site"), pl.lit("c").alias("collection"),
    )  # fmt: skip


ROWS = [
    ("a", 0, "x", 1, 0.9, 0.5), ("a", 1, "x", 1, 0.8, 0.7),
    ("b", 0, "x", 1, 1.0, 0.6), ("b", 1, "x", 1, 1.0, 0.8), ("b", 2, "x", 1, 0.3, 0.9),
]  # fmt: skip


def test_the_layer_is_chosen_on_train_and_ties_are_averaged():
    control = scores([("a", 0, "x", 1, 1.0, 1.0)]).with_columns(control=pl.lit("shuffled_labels"))
    table = method_table(
        pl.concat([scores(ROWS), control]),
        times([("x", "none", 1.0), ("x", "none", 3.0), ("x", "shuffled_labels", 50.0)]),
    )
    assert table.schema == METHODS_SCHEMA
    row = table.row(0, named=True)
    assert row["f1"] == pytest.approx((0.5 + 0.7) / 2)
    assert row["f1_best_layer"] == pytest.approx((0.7 + 0.9) / 2)
    assert (row["features"], row["layers"], row["seconds"]) == (2, 3, 2.0)


def test_means_are_over_features_and_over_places_with_all_methods():
    rows = [
        ("m", "d", "s", "c", "x", 1, 3, 5, 0.5, 0.6, 1.0),
        ("m", "d", "s", "c", "y", 1, 3, 5, 0.7, 0.8, 2.0),
        ("m", "e", "s", "c", "x", 1, 1, 5, 0.9, 1.0, 3.0),
        ("m", "e", "s", "c", "y", 1, 1, 5, 0.3, 0.4, 4.0),
        ("m", "f", "s", "c", "x", 1, 9, 5, 0.0, 0.0, 9.0),
    ]
    table = overall_table(pl.DataFrame(rows, schema=METHODS_SCHEMA, orient="row"))
    assert table.schema == ALL_METHODS_SCHEMA
    assert table["f1"].to_list() == pytest.approx([0.6, 0.6])
    assert table["seconds"].to_list() == pytest.approx([1.5, 2.5])
    assert table["features"].to_list() == [4, 4]
    assert table["pairs"].to_list() == [2, 2]


def test_files_and_their_errors(tmp_path):
    write_table(scores(ROWS), tmp_path / "scores.parquet")
    write_table(times([("x", "none", 1.0)]), tmp_path / "times.parquet")
    names = ("scores", "times", "all", "by_dataset")
    paths = [tmp_path / f"{name}.parquet" for name in names]

    def compare():
        collect_methods(paths[:1], paths[1:2], *paths[2:])

    compare()
    assert read_table(paths[2])["f1"].to_list() == pytest.approx([0.6])
    assert read_table(paths[3]).schema == METHODS_SCHEMA
    plot_methods(paths[2], tmp_path / "methods.svg")
    assert "0.600" in (tmp_path / "methods.svg").read_text()
    write_table(times([("y", "none", 1.0)]), paths[1])
    with pytest.raises(DataError, match="no times"):
        compare()
    write_table(scores(ROWS).with_columns(control=pl.lit("shuffled_labels")), paths[0])
    with pytest.raises(DataError, match="no probes on true labels"):
        compare()
    with pytest.raises(DataError, match="nothing to compare"):
        collect_methods([], [], *paths[2:])


def test_the_grid_of_the_table():
    rows = [
        ("s", "random", 1, 1, 2, 0.5, 0.5, 0.1), ("s", "x", 1, 1, 2, 0.7, 0.7, 0.2),
        ("s", "x", 2, 1, 2, 0.8, 0.8, 0.2),
    ]  # fmt: skip
    methods, ks, f1, seconds = methods_grid(
        pl.DataFrame(rows, schema=ALL_METHODS_SCHEMA, orient="row")
    )
    assert (methods, ks, seconds.tolist()) == (["x", "random"], [1, 2], [0.2, 0.1])
    np.testing.assert_array_equal(f1, [[0.7, 0.8], [0.5, np.nan]])


def test_sparsity_curves_choose_layers_on_train(tmp_path):
    names = ["feature", "layer", "basis", "k", "f1_train", "f1", "f1_std"]
    rows = [
        ("a", 0, "neurons", 1, 0.9, 0.5, None), ("a", 1, "neurons", 1, 0.8, 0.9, None),
        ("a", 0, "random", 1, 0.9, 0.4, 0.3), ("b", 0, "random", 1, 0.9, 0.2, 0.4),
        ("b", 0, "neurons", 1, 0.9, 0.7, None),
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        model=pl.lit("m"), dataset=pl.lit("d"), site=pl.lit("s"), collection=pl.lit("c")
    )
    found = sparsity_by_k(table)
    assert found["f1"].to_list() == pytest.approx([0.6, 0.3])
    assert found["f1_std"].to_list() == [None, pytest.approx(np.sqrt(0.125))]
    write_table(table, tmp_path / "sparsity.parquet")
    plot_sparsity(tmp_path / "sparsity.parquet", tmp_path / "sparsity.svg")
    plot_sparsity(tmp_path / "sparsity.parquet", tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "sparsity.svg").read_bytes()
    assert "random orthogonal basis" in (tmp_path / "sparsity.svg").read_text()
    write_table(table.clear(), tmp_path / "sparsity.parquet")
    with pytest.raises(DataError, match="empty"):
        plot_sparsity(tmp_path / "sparsity.parquet", tmp_path / "sparsity.svg")


def test_further_rankings_have_no_controls_and_all_have_times():
    activations, truth, train = planted(0, n_rows=400)
    config = ProbingConfig(
        rankings=["mean_difference", "random"], comparison={"rankings": ["adaptive"]}
    )
    real, control = probe_layer(
        config, activations[2], features_of(truth, train)[1:], site="s", layer=2
    )
    assert real.methods == ("mean_difference", "random", "adaptive")
    assert control.methods == ("mean_difference", "random")
    assert set(real.neurons(2, 3)) == set(THREE)
    assert (real.seconds > 0).all()
    with pytest.raises(ValueError, match="twice or is in rankings"):
        ProbingConfig(comparison={"rankings": ["random"]})


def test_subsets_that_do_not_contain_each_other_are_refitted_and_scored(monkeypatch):
    activations, truth, train = planted(0, n_rows=400)
    chosen = [np.array([0]), np.array([17, 3]), np.array([29, 3, 17])]
    monkeypatch.setattr("artneuro.probing.layer.best_subsets", lambda *_, **__: chosen)
    config = ProbingConfig(
        rankings=["best_subset", "mean_difference"], controls=[], max_k=3,
        comparison={"subset_prefilter": 40},
    )  # fmt: skip
    (feature,) = [f for f in features_of(truth, train) if f.name == "three"]
    (found,) = probe_layer(config, activations[2], [feature], site="s", layer=2)
    x = activations[2].astype(np.float64)
    y = feature.train_positive
    gap = np.abs(x[feature.train][y].mean(axis=0) - x[feature.train][~y].mean(axis=0))
    kept = np.argsort(-gap, kind="stable")
    for size in (1, 2, 3):
        neurons = found.neurons(0, size)
        assert neurons.tolist() == kept[chosen[size - 1]].tolist()
        coef, intercept, _ = fit_probes_of(
            x[feature.train].T, y, neurons[None], np.array([size]), 1.0
        )
        np.testing.assert_allclose(found.probes.coef[0, size - 1, :size], coef[0], rtol=1e-6)
        called = x[feature.test][:, neurons] @ coef[0] + intercept[0] > 0
        both = 2 * (called & feature.test_positive).sum()
        f1 = both / (called.sum() + feature.test_positive.sum())
        assert found.metrics.f1[0, size - 1] == pytest.approx(f1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_best_subsets_equal_brute_force(seed):
    pytest.importorskip("abess")
    generator = np.random.default_rng(seed)
    y = generator.random(300) < 0.3
    x = generator.standard_normal((8, 300)) * np.exp(generator.normal(size=8))[:, None]
    x += (generator.standard_normal(8) * x.std(axis=1))[:, None] * y
    x[6] = 4.0

    def objective(support):
        coef, b, _ = fit_probes_of(x, y, np.array([support]), np.array([len(support)]), 0.5)
        margin = np.where(y, 1, -1) * (coef[0] @ x[list(support)] + b[0])
        return coef[0] @ coef[0] / 2 + 0.5 * (balanced_weights(y) * np.logaddexp(0, -margin)).sum()

    found = best_subsets(x, y, 8, C=0.5)
    for size in (1, 2, 3):
        best = min(combinations(range(8), size), key=objective)
        assert set(found[size - 1]) == set(best)
    assert set(found[7]) == set(range(8)) - {6}


def test_best_subset_without_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "abess", None)
    with pytest.raises(ConfigError, match="artneuro\\[subsets\\]"):
        best_subsets(np.zeros((2, 4)), np.array([True, False, True, False]), 1)
