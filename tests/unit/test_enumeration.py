"""Lists of all neurons that tell a feature."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from artneuro.core.artifacts import read_table
from artneuro.core.config import DaskConfig
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import load_features
from artneuro.probing.enumeration import (
    PRUNING_SCHEMA,
    SINGLE_SCHEMA,
    enumerate_layer,
    enumerate_neurons,
    prune_iteratively,
)
from tests.probing_example import ONE, write_example


def settings(**values):
    return ProbingConfig(enumeration=values, C=10.0, l1_C=1.0)


def copies(seed, groups=3, size=2, units=40, rows=500):
    """Pairs of neurons whose sums each tell the label, and the label."""
    generator = np.random.default_rng(seed)
    y = generator.random(rows) < 0.4
    x = generator.standard_normal((units, rows))
    sets = generator.permutation(units)[: groups * size].reshape(groups, size)
    for pair in sets:
        noise = 2 * generator.standard_normal(rows)
        x[pair] = np.stack([noise, -noise]) + y + 0.05 * generator.standard_normal((2, rows))
    return x, y, [set(pair.tolist()) for pair in sets]


@pytest.mark.parametrize("seed", [0, 1])
def test_pruning_finds_every_redundant_set_and_then_stops(seed):
    x, y, sets = copies(seed)
    rounds = prune_iteratively(settings(pruning_k=2, pruning_share=0.9), x, y)
    assert [one.redundant for one in rounds] == [True, True, True, False]
    found = [set(one.support.tolist()) for one in rounds]
    assert sorted(found[:3], key=min) == sorted(sets, key=min)
    assert not found[3] & set().union(*found[:3])
    assert all(one.f1_train > 0.97 for one in rounds[:3])


def test_pruning_ends_with_its_rounds_or_its_neurons():
    x, y, _ = copies(0)
    assert len(prune_iteratively(settings(pruning_k=2, pruning_rounds=2), x, y)) == 2
    assert prune_iteratively(settings(pruning_rounds=0), x, y) == []
    few = prune_iteratively(settings(pruning_k=3, pruning_share=0.01), x[:5], y)
    assert [one.support.size for one in few] == [3, 2]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("a"), n_rows=300)


def test_single_neurons_are_those_of_the_largest_mean_difference(example):
    features = load_features(example.rows, example.labels)
    config = ProbingConfig(enumeration={"neurons_per_layer": 7})
    single, _ = enumerate_layer(config, example.activations[1], features, site="s", layer=1)
    x = example.activations[1].astype(np.float64)
    for feature in features:
        train, y = x[feature.train], feature.train_positive
        gap = train[y].mean(axis=0) - train[~y].mean(axis=0)
        rows = single.filter(feature=feature.name)
        assert rows["rank"].to_list() == list(range(1, 8))
        assert rows["neuron"].to_list() == np.argsort(-np.abs(gap))[:7].tolist()
        np.testing.assert_allclose(rows["mean_difference"], gap[rows["neuron"]], rtol=1e-10)
        for row in rows.iter_rows(named=True):
            column = x[:, [row["neuron"]]]
            peer = LogisticRegression(class_weight="balanced", tol=1e-10).fit(
                column[feature.train], y
            )
            called = peer.predict(column[feature.test])
            assert row["coef"] == pytest.approx(peer.coef_[0, 0], abs=1e-5)
            assert row["f1"] == pytest.approx(f1_score(feature.test_positive, called))
    assert single.filter(feature="one", rank=1)["neuron"].item() == ONE


@pytest.mark.slow
def test_tables_of_all_layers(example, tmp_path):
    config = ProbingConfig(enumeration={"neurons_per_layer": 4, "pruning_rounds": 3})
    enumerate_neurons(
        config, example.store, example.rows, example.labels,
        tmp_path / "single.parquet", tmp_path / "pruning.parquet",
        model="m", dataset="d", dask=DaskConfig(), threads=1,
    )  # fmt: skip
    single, pruning = (read_table(tmp_path / f"{n}.parquet") for n in ("single", "pruning"))
    assert single.schema == SINGLE_SCHEMA
    assert single.height == 3 * 2 * 4
    assert pruning.schema == PRUNING_SCHEMA
    # No neuron comes twice in the rounds of one feature and layer.
    for _, part in pruning.group_by(["feature", "layer"]):
        neurons = part["neurons"].explode().to_list()
        assert len(neurons) == len(set(neurons))
        assert part["round"].to_list() == list(range(1, part.height + 1))
