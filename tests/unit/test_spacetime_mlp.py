"""The MLP probe against ridge regression, planted truths and a training loop written anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import RidgeCV

from artneuro.core.errors import DataError
from artneuro.spacetime.mlp import MLPProbe


def planted(seed: int, kind: str, rows: int = 1200, units: int = 20):
    """Features of unequal scales, and two targets of unequal scales in little noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, units))
    first, second = x @ rng.standard_normal((units, 2)).T[0], x @ rng.standard_normal(units)
    if kind == "nonlinear":
        first, second = np.abs(x[:, 0]) * 3, x[:, 1] * x[:, 2] * 2
    y = np.stack([first, second], axis=1) + 0.3 * rng.standard_normal((rows, 2))
    return 5 + x * rng.uniform(0.1, 10, units), y * [40, 0.1] + [10, -3]


def halves(x, y, test: int = 400):
    return x[test:], y[test:], x[:test], y[:test]


def r2(truth, predicted) -> float:
    missed = np.square(truth - predicted).sum(axis=0)
    return float(np.mean(1 - missed / np.square(truth - truth.mean(axis=0)).sum(axis=0)))


def test_a_nonlinear_target_is_read_where_ridge_fails():
    x, y, x_test, y_test = halves(*planted(0, "nonlinear"))
    linear = RidgeCV(np.logspace(-2, 4, 9)).fit(x, y)
    probe = MLPProbe(batch_size=128).fit(x, y)
    assert r2(y_test, linear.predict(x_test)) < 0.1
    assert r2(y_test, probe.predict(x_test)) > 0.6


def test_a_linear_target_is_read_no_better_than_by_ridge_and_hardly_worse():
    x, y, x_test, y_test = halves(*planted(1, "linear"))
    linear = r2(y_test, RidgeCV(np.logspace(-2, 4, 9)).fit(x, y).predict(x_test))
    nonlinear = r2(y_test, MLPProbe().fit(x, y).predict(x_test))
    assert linear - 0.03 < nonlinear < linear + 0.01


def test_the_same_seed_gives_the_same_numbers_and_the_global_one_is_left_alone():
    x, y = planted(2, "nonlinear", rows=200)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again = (MLPProbe(seed=3, min_steps=5).fit(x, y).predict(x) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first, again)
    assert np.abs(MLPProbe(seed=4, min_steps=5).fit(x, y).predict(x) - first).max() > 0


def test_the_weights_kept_are_those_of_the_best_epoch():
    # Pure noise: each epoch after the first few makes validation worse.
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((300, 50)), rng.standard_normal((300, 2))
    kept = MLPProbe(weight_decays=(0.1,), min_steps=400, patience=50, batch_size=64).fit(x, y)
    assert kept.best_epoch_ < kept.n_epochs_
    held = kept.validation_
    scale = y[~held].std(axis=0)
    error = np.square((kept.predict(x[held]) - y[held]) / scale).mean()
    assert error == pytest.approx(kept.validation_error_, rel=1e-4)
    # Stopped right there, training gives the same weights; later, it overfits.
    settings = {"weight_decays": (0.1,), "min_steps": 0, "patience": 50, "batch_size": 64}
    stopped = MLPProbe(max_epochs=kept.best_epoch_, **settings).fit(x, y)
    np.testing.assert_array_equal(stopped.in_weights_, kept.in_weights_)
    np.testing.assert_array_equal(stopped.predict(x), kept.predict(x))


def reference(probe: MLPProbe, x: np.ndarray, y: np.ndarray, decay: float, epochs: int):
    """Training one network by torch's own modules and AdamW: errors of epochs, last weights."""
    train = ~probe.validation_
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    y = (y - y[train].mean(axis=0)) / y[train].std(axis=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    train = torch.tensor(train)
    # Of a probe that learns nothing: its initial weights, and the order of rows as it draws them.
    still = clone(probe).set_params(
        learning_rate=1e-30, weight_decays=(0.0,), max_epochs=1, min_steps=1
    )
    still.fit(x.numpy(), y.numpy())
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], probe.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(probe.hidden, y.shape[1]),
    )
    with torch.no_grad():
        for layer, weights, bias in (
            (network[0], still.in_weights_, still.in_bias_),
            (network[2], still.out_weights_, still.out_bias_),
        ):
            layer.weight.copy_(torch.tensor(weights.T))
            layer.bias.copy_(torch.tensor(bias))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=decay)
    errors = []
    for _ in range(epochs):
        # One batch of all rows: their order does not matter.
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(x[train]), y[train]).backward()
        optimizer.step()
        with torch.no_grad():
            errors.append(torch.nn.functional.mse_loss(network(x[~train]), y[~train]).item())
    return errors, network


@pytest.mark.parametrize("decays", [(0.3,), (0.01, 0.3, 3.0)])
def test_a_loop_of_torch_modules_and_adamw_gives_the_same(decays):
    x, y = planted(4, "nonlinear", rows=150, units=6)
    probe = MLPProbe(hidden=16, weight_decays=decays, min_steps=0, max_epochs=40, patience=100)
    probe.fit(x, y)
    for decay, error in zip(decays, probe.validation_errors_, strict=True):
        errors, _ = reference(probe, x, y, decay, 40)
        assert error == pytest.approx(min(errors), rel=1e-4)
    errors, network = reference(probe, x, y, probe.weight_decay_, probe.best_epoch_)
    assert errors[-1] == pytest.approx(probe.validation_error_, rel=1e-4)
    weights = network[0].weight.detach().numpy().T
    np.testing.assert_allclose(probe.in_weights_, weights, atol=2e-5)
    assert probe.validation_error_ == probe.validation_errors_.min()


def test_a_decay_is_chosen_as_if_each_were_trained_alone():
    x, y = planted(5, "nonlinear", rows=120, units=10)
    decays = (0.01, 3.0, 30.0)
    settings = {"hidden": 32, "batch_size": 32, "patience": 2, "patience_steps": 1}
    together = MLPProbe(weight_decays=decays, **settings).fit(x, y)
    for decay, error in zip(decays, together.validation_errors_, strict=True):
        alone = MLPProbe(weight_decays=(decay,), **settings).fit(x, y)
        assert alone.validation_error_ == pytest.approx(error, rel=1e-3)


def test_groups_are_validated_on_whole_and_scaling_is_by_the_rows_trained_on():
    x, y = planted(6, "linear", rows=300)
    groups = np.repeat(np.arange(100), 3).astype(str)
    probe = MLPProbe(min_steps=5, max_epochs=2).fit(x, y[:, 0], groups=groups)
    by_group = probe.validation_.reshape(100, 3)
    assert (by_group.all(axis=1) == by_group.any(axis=1)).all()
    assert by_group[:, 0].sum() == 10
    np.testing.assert_allclose(probe.x_mean_, x[~probe.validation_].mean(axis=0))
    np.testing.assert_allclose(probe.y_scale_, y[~probe.validation_, :1].std(axis=0))
    assert probe.predict(x).shape == (300,)


def test_constant_features_are_only_centred_and_float16_values_do_not_overflow():
    x, y = planted(7, "linear", rows=200)
    x = np.concatenate([x, np.full((200, 1), 0.1), np.full((200, 1), 6e4)], axis=1)
    probe = MLPProbe(min_steps=10, max_epochs=2).fit(x.astype(np.float16), y)
    assert probe.x_scale_[-2:].tolist() == [1.0, 1.0]
    assert np.isfinite(probe.predict(x.astype(np.float16))).all()


def test_settings_are_those_of_the_estimator_protocol():
    probe = MLPProbe(hidden=8, seed=2)
    assert clone(probe).get_params() == probe.get_params()
    assert probe.get_params()["weight_decays"] == (0.01, 0.03, 0.1, 0.3)


def test_what_cannot_be_fitted_is_refused():
    x, y = planted(8, "linear", rows=30)
    with pytest.raises(DataError, match="shape"):
        MLPProbe().fit(x[:20], y)
    with pytest.raises(DataError, match="not finite"):
        MLPProbe().fit(np.where(x > x.max() - 1e-9, np.inf, x), y)
    with pytest.raises(DataError):
        MLPProbe().fit(x, y, groups=["one"] * 30)
