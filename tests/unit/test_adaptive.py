"""Adaptive thresholding, random bases and the sparsity curves made of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss

from artneuro.core.artifacts import read_table
from artneuro.core.config import DaskConfig
from artneuro.core.errors import ConfigError
from artneuro.probing.adaptive import adaptive_thresholding, penalty_of, steps_of
from artneuro.probing.config import SCHEDULE, ProbingConfig
from artneuro.probing.data import load_features
from artneuro.probing.random_basis import draws_of, random_orthogonal, random_projections
from artneuro.probing.sparsity import SPARSITY_SCHEMA, fit_sparsity_curves, sparsity_curves
from tests.probing_example import ONE, THREE, write_example

CONFIG = ProbingConfig(sparsity={"schedule": [20, 8, 3, 2, 1], "prefilter": 30, "random_draws": 5})


def signal(seed, rows=400, units=60, own=(5, 17, 30)):
    """Columns of which three carry the label in their sum only, and the label."""
    generator = np.random.default_rng(seed)
    y = generator.random(rows) < 0.4
    x = generator.standard_normal((units, rows))
    noise = generator.standard_normal((2, rows)) * 2
    x[list(own)] = np.stack([noise[0], noise[1], -noise[0] - noise[1]]) + 2.0 * y
    return x, y


def test_the_penalty_of_a_step():
    assert penalty_of(20) == (1.0, pytest.approx(np.exp(-1)))
    assert penalty_of(256) == (12.8, 0.1)
    assert penalty_of(1) == (0.05, 0.9)


def test_each_step_keeps_some_of_the_last_ones_neurons():
    x, y = signal(0)
    path = adaptive_thresholding(x, y, schedule=SCHEDULE)
    assert path.sizes == tuple(k for k in SCHEDULE if k <= 60)
    assert path.converged.all()
    assert sorted(path.order) == list(range(60))
    for k, support, coef in zip(path.sizes, path.supports, path.coef, strict=True):
        assert support.size == coef.size == k
        assert set(support) == set(path.order[:k])
    for step in range(1, len(path.sizes)):
        before = np.abs(path.coef[step - 1])
        kept = np.isin(path.supports[step - 1], path.supports[step])
        assert before[kept].min() >= before[~kept].max()
    assert set(path.supports[path.sizes.index(3)]) == {5, 17, 30}


def test_a_step_solves_the_elastic_net_of_its_size():
    x, y = signal(1, units=20, own=(1, 2, 3))
    path = adaptive_thresholding(x, y, schedule=[16, 8, 4])
    for k, support, coef, b in zip(
        path.sizes, path.supports, path.coef, path.intercept, strict=True
    ):
        C, l1_ratio = penalty_of(k)
        peer = LogisticRegression(
            C=C, l1_ratio=l1_ratio, class_weight="balanced", solver="saga", tol=1e-9,
            max_iter=50000, random_state=0,
        ).fit(x[support].T, y)  # fmt: skip
        np.testing.assert_allclose(coef, peer.coef_[0], atol=2e-3)
        assert b == pytest.approx(peer.intercept_[0], abs=2e-3)


def test_neurons_without_coefficients_stay_in_their_order():
    generator = np.random.default_rng(0)
    y = np.arange(40) % 2 == 0
    x = 1e-6 * generator.standard_normal((6, 40))
    path = adaptive_thresholding(x, y, schedule=[4, 2, 1])
    assert not any(coef.any() for coef in path.coef)
    assert path.order.tolist() == list(range(6))


def test_schedules():
    assert steps_of((256, 16, 4), 20) == (16, 4)
    assert steps_of((256, 16), 3) == (3,)
    x, y = signal(0)
    for schedule in ([], [4, 4], [1, 2], [2, 0]):
        with pytest.raises(ConfigError, match="does not descend"):
            adaptive_thresholding(x, y, schedule=schedule)
        with pytest.raises(ValueError, match="not strictly descending"):
            ProbingConfig(sparsity={"schedule": schedule})


def test_random_bases_are_orthonormal_and_favour_no_direction():
    generator = np.random.default_rng(0)
    many = np.stack([random_orthogonal(6, 2, generator) for _ in range(4000)])
    np.testing.assert_allclose(
        np.einsum("nij,nik->njk", many, many), np.broadcast_to(np.eye(2), (4000, 2, 2)), atol=1e-12
    )
    # Uniform on the sphere: mean 0, second moments 1 / units, the fourth 3 / (units (units + 2)).
    np.testing.assert_allclose(many.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose((many**2).mean(axis=0), 1 / 6, atol=0.015)
    np.testing.assert_allclose((many**4).mean(axis=0), 3 / 48, atol=0.012)


def test_projections_depend_on_site_layer_and_seed_only():
    generator = np.random.default_rng(1)
    x = generator.standard_normal((2500, 12)).astype(np.float32)

    def draw(seed=0, site="s", layer=3, sizes=(4, 1)):
        return random_projections(x, sizes, draws=3, seed=seed, site=site, layer=layer)

    found = draw()
    assert {k: v.shape for k, v in found.items()} == {4: (2, 4, 2500), 1: (3, 1, 2500)}
    np.testing.assert_array_equal(found[4], draw(sizes=(4,))[4])
    for other in (draw(seed=1), draw(site="t"), draw(layer=4)):
        assert not np.allclose(found[1], other[1])
    # A rotation of all units keeps every distance.
    turned = draw(sizes=(12,))[12][0].T
    gaps = np.linalg.norm(turned[:5] - turned[5:10], axis=1)
    np.testing.assert_allclose(gaps, np.linalg.norm(x[:5] - x[5:10], axis=1), rtol=1e-5)
    assert random_projections(x, (4,), draws=0, seed=0, site="s", layer=0) == {}
    assert [draws_of(k, 16) for k in (1, 4, 16, 256)] == [16, 8, 4, 1]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("a"), n_rows=500)


def test_curves_of_planted_features(example):
    features = load_features(example.rows, example.labels)
    curve = sparsity_curves(CONFIG, example.activations[2], features, site="s", layer=2)
    three = {
        (row["basis"], row["k"]): row
        for row in curve.iter_rows(named=True)
        if row["feature"] == "three"
    }
    assert set(three["neurons", 3]["neurons"]) == set(THREE)
    assert three["neurons", 3]["f1"] > 0.97
    assert three["neurons", 1]["f1"] < 0.85
    assert three["random", 3]["f1"] < three["neurons", 3]["f1"] - 0.1
    assert [three["random", k]["draws"] for k in (1, 2, 20)] == [5, 4, 1]
    assert three["random", 20]["f1_std"] is None
    assert curve["converged"].all()
    curve = sparsity_curves(CONFIG, example.activations[1], features, site="s", layer=1)
    best = curve.filter(feature="one", basis="neurons", k=1).row(0, named=True)
    assert best["neurons"] == [ONE]


def test_curve_scores_equal_scikit_learns(example):
    (feature,) = [f for f in load_features(example.rows, example.labels) if f.name == "three"]
    x = example.activations[2].astype(np.float64)
    curve = sparsity_curves(CONFIG, example.activations[2], [feature], site="s", layer=2)

    def peer(values):
        probe = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=5000)
        probe.fit(values[feature.train], feature.train_positive)
        test = values[feature.test]
        loss = log_loss(feature.test_positive, probe.predict_proba(test))
        return f1_score(feature.test_positive, probe.predict(test)), loss

    for row in curve.filter(basis="neurons").iter_rows(named=True):
        assert (row["f1"], row["log_loss"]) == pytest.approx(peer(x[:, row["neurons"]]), abs=1e-4)
    drawn = random_projections(
        example.activations[2], [2], draws=5, seed=CONFIG.seed, site="s", layer=2
    )[2]
    expected = np.array([peer(values.T) for values in drawn])
    row = curve.filter(basis="random", k=2).row(0, named=True)
    assert (row["f1"], row["log_loss"]) == pytest.approx(expected.mean(axis=0), abs=1e-4)
    assert (row["f1_std"], row["log_loss_std"]) == pytest.approx(
        expected.std(axis=0, ddof=1), abs=1e-4
    )


def test_scaled_curves_do_not_depend_on_the_units_of_a_neuron(example):
    features = load_features(example.rows, example.labels)
    config = ProbingConfig(scale=True, sparsity={"schedule": [8, 2], "random_draws": 0})
    x = example.activations[2]
    sizes = 2.0 ** (np.arange(x.shape[1]) % 5)
    plain = sparsity_curves(config, x, features, site="s", layer=2)
    scaled = sparsity_curves(config, x * sizes.astype(np.float32), features, site="s", layer=2)
    assert plain["neurons"].to_list() == scaled["neurons"].to_list()
    np.testing.assert_allclose(plain["f1"], scaled["f1"])


def test_a_table_of_all_layers(example, tmp_path):
    output = tmp_path / "sparsity.parquet"
    fit_sparsity_curves(
        CONFIG, example.store, example.rows, example.labels, output,
        model="m", dataset="d", dask=DaskConfig(), threads=1,
    )  # fmt: skip
    table = read_table(output)
    assert table.schema == SPARSITY_SCHEMA
    assert table.height == 3 * 2 * 2 * 5
    assert table.filter(layer=1, feature="one", basis="neurons", k=1)["neurons"][0][0] == ONE
