"""All probes of a layer: planted truths, controls, awkward neurons."""

from __future__ import annotations

import numpy as np
import pytest

from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature
from artneuro.probing.layer import probe_layer
from tests.probing_example import LAYER_OF, ONE, THREE, planted

FOUND_BY = {"mean_difference", "f_statistic", "mutual_information", "l1_logistic"}


def features_of(truth, train) -> list[Feature]:
    index = np.arange(train.size)
    return [
        Feature(
            "planted",
            n,
            index[train],
            index[~train],
            y[train],
            y[~train],
            index[train],
            index[~train],
        )
        for n, y in truth.items()
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_features_are_found_and_shuffled_ones_are_at_chance(seed):
    activations, truth, train = planted(seed, n_rows=600)
    by_name = {f.name: f for f in features_of(truth, train)}
    shuffled_auc = []
    for name, layer in LAYER_OF.items():
        real, control = probe_layer(
            ProbingConfig(), activations[layer], [by_name[name]], site="mlp_post", layer=layer
        )
        assert (real.control, control.control) == ("none", "shuffled_labels")
        for i, method in enumerate(real.methods):
            support, f1 = real.supports[i].tolist(), real.metrics.f1[i]
            if name == "one" and method in FOUND_BY:
                assert support[0] == ONE
                assert f1[0] > 0.97
            if name == "three" and method in {"mean_difference", "f_statistic", "l1_logistic"}:
                assert set(support[:3]) == set(THREE)
                assert f1[2] > 0.97
                assert f1[0] < 0.85
            if method in FOUND_BY:
                shuffled_auc.append(control.metrics.auc[i, 0])
        assert real.probes.converged.all()
    assert abs(np.mean(shuffled_auc) - 0.5) < 0.1
    assert max(shuffled_auc) < 0.75


def test_prefilter_keeps_the_largest_mean_differences():
    activations, truth, train = planted(0)
    feature = features_of(truth, train)[0]
    x = activations[1][feature.train].astype(float)
    difference = np.abs(x[feature.train_positive].mean(0) - x[~feature.train_positive].mean(0))
    kept = set(np.argsort(-difference)[:10])
    config = ProbingConfig(prefilter=10, controls=[])
    (found,) = probe_layer(config, activations[1], [feature], site="s", layer=1)
    for method, support in zip(found.methods, found.supports, strict=True):
        if method != "random":
            assert set(support) <= kept
    # Fewer than k pass the filter: the list goes on by mean difference, no neuron comes twice.
    (short,) = probe_layer(
        ProbingConfig(prefilter=3, controls=[]), activations[1], [feature], site="s", layer=1
    )
    assert all(len(set(support)) == 8 for support in short.supports.tolist())
    assert short.supports[1, 3:].tolist() == np.argsort(-difference)[3:8].tolist()


def test_random_neurons_depend_on_feature_layer_and_seed_only():
    activations, truth, train = planted(0)
    features = features_of(truth, train)
    config = ProbingConfig(rankings=["random"], controls=[])

    def draw(config, features, layer):
        found = probe_layer(config, activations[layer], features, site="s", layer=layer)
        return [f.supports[0].tolist() for f in found]

    both = draw(config, features, 0)
    assert both[1] == draw(config, features[1:], 0)[0]
    assert both[0] != both[1]
    assert both != draw(config, features, 1)
    assert both != draw(ProbingConfig(rankings=["random"], controls=[], seed=1), features, 0)


def test_dead_constant_and_huge_neurons_leave_no_nan():
    activations, truth, train = planted(0)
    layer = activations[1].copy()
    layer[:, 0], layer[:, 1] = 0.0, -3.3
    layer[:, 2] *= 1e30
    layer[:, 4] = np.where(np.arange(len(layer)) == 5, 1e-30, 0.0)
    found = probe_layer(ProbingConfig(), layer, features_of(truth, train), site="s", layer=1)
    for probes in found:
        for values in (probes.probes.coef, probes.probes.intercept, probes.metrics.auc):
            assert np.isfinite(values).all()


def test_fewer_units_than_k():
    activations, truth, train = planted(0)
    found = probe_layer(
        ProbingConfig(), activations[1][:, :5], features_of(truth, train), site="s", layer=1
    )
    assert found[0].supports.shape == (5, 5)


def test_scaled_fits_report_coefficients_for_unscaled_activations():
    activations, truth, train = planted(0)
    feature = features_of(truth, train)[0]
    config = ProbingConfig(rankings=["mean_difference"], controls=[], max_k=1, scale=True)
    (found,) = probe_layer(config, activations[1], [feature], site="s", layer=1)
    x = activations[1][feature.train, ONE].astype(float)
    scale = 10 * x.std()
    w, b = found.probes.coef[0, 0, 0] * scale, found.probes.intercept[0, 0]
    y = feature.train_positive
    weight = np.where(y, 0.5 * y.size / y.sum(), 0.5 * y.size / (~y).sum())
    residual = weight * (1 / (1 + np.exp(-(w * x / scale + b))) - y)
    # Stationary for the scaled problem, whose penalty is on the scaled coefficient.
    assert abs(residual @ (x / scale) + w) < 1e-8
    assert abs(residual.sum()) < 1e-8
