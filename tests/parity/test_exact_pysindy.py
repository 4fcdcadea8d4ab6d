"""The exact regression as an optimizer of PySINDy: its test suite's conventions, and MIOSR."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted

from artneuro.core.errors import ConfigError
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.simulate import Accuracy, simulate_trial
from artneuro.dynamics.systems import build_system

ps = pytest.importorskip("pysindy")
from pysindy.optimizers import EnsembleOptimizer, WrappedOptimizer  # noqa: E402
from pysindy.optimizers.base import BaseOptimizer  # noqa: E402

from artneuro.dynamics.pysindy_optimizer import ExactOptimizer  # noqa: E402

# Coefficients of (1, x, y, z, x2, xy, xz, y2, yz, z2).
LORENZ = np.zeros((3, 10))
LORENZ[0, [1, 2]] = -10.0, 10.0
LORENZ[1, [1, 2, 6]] = 28.0, -1.0, -1.0
LORENZ[2, [3, 5]] = -8.0 / 3.0, 1.0


@pytest.fixture(scope="module")
def lorenz():
    system = build_system("lorenz")
    return simulate_trial(system, "train", 0, 0.002, 1500, seed=0, accuracy=Accuracy(1e-9, 1e-9))


@pytest.fixture
def curve():
    x = np.linspace(1, 10, 60)[:, None] ** np.arange(1, 4)
    return x, x @ np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 0.2]])


def model_of(optimizer, degree=2):
    return ps.SINDy(optimizer=optimizer, feature_library=ps.PolynomialLibrary(degree))


@pytest.mark.parametrize("make", [ExactOptimizer, ExactSparseRegression])
def test_lorenz_is_recovered(lorenz, make):
    model = model_of(make(group_sparsity=(2, 3, 2))).fit(lorenz, t=0.002)
    assert np.array_equal(model.coefficients() != 0, LORENZ != 0)
    np.testing.assert_allclose(model.coefficients(), LORENZ, rtol=2e-3)
    assert model.complexity == 7
    assert len(model.equations()) == 3
    assert model.score(lorenz, t=0.002) > 0.999
    assert model.predict(lorenz).shape == lorenz.shape
    assert [c.status for c in model.optimizer.certificate_] == ["optimal"] * 3


@pytest.mark.parametrize("one", [True, False])
def test_fit_of_one_and_several_targets(curve, one):
    x, y = curve
    optimizer = ExactOptimizer(2)
    assert isinstance(optimizer, BaseOptimizer)
    with pytest.raises(NotFittedError):
        optimizer.predict(x)
    with pytest.raises(NotFittedError):
        _ = optimizer.complexity
    assert optimizer.fit(x, y[:, 0] if one else y) is optimizer
    check_is_fitted(optimizer)
    count = 1 if one else 2
    assert optimizer.coef_.shape == optimizer.ind_.shape == (count, 3)
    assert optimizer.ind_.dtype == bool
    assert np.array_equal(optimizer.ind_, optimizer.coef_ != 0)
    assert optimizer.complexity == optimizer.ind_.sum() <= 2 * count
    assert optimizer.intercept_ == 0.0
    assert optimizer.predict(x).shape == (60, count)
    assert np.array_equal(optimizer.history_[-1], optimizer.coef_)
    wrapped = WrappedOptimizer(ExactSparseRegression(2), unbias=False).fit(x, y[:, 0])
    assert wrapped.coef_.shape == (1, 3)
    assert wrapped.complexity <= 2


@pytest.mark.parametrize("zeros", [True, False])
def test_sample_weights(curve, zeros):
    x, y = curve
    y = y + 0.1 * np.random.default_rng(0).standard_normal(y.shape)
    weight = np.random.default_rng(1).integers(0 if zeros else 1, 4, 60)
    weighted = ExactOptimizer(2).fit(x, y, sample_weight=weight)
    repeated = ExactOptimizer(2).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight, axis=0))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8)


def test_rows_that_are_not_numbers_are_left_out(curve):
    x, y = curve
    broken = y.copy()
    broken[7] = np.nan
    kept = np.delete(np.arange(60), 7)
    np.testing.assert_allclose(
        ExactOptimizer(2).fit(x, broken).coef_, ExactOptimizer(2).fit(x[kept], y[kept]).coef_
    )


def test_cloning_parameters_and_pickles(curve):
    x, y = curve
    optimizer = ExactOptimizer(group_sparsity=(2, 1), alpha=0.1, unbias=True, copy_X=False)
    copied = clone(optimizer)
    assert copied.get_params() == optimizer.get_params()
    assert copied.fit(x, y).complexity == 3
    assert not hasattr(optimizer, "coef_")
    assert copied.set_params(alpha=0.0) is copied
    assert pickle.loads(pickle.dumps(copied)).coef_.tolist() == copied.coef_.tolist()
    regression = {*ExactSparseRegression().get_params()}
    assert regression <= {*optimizer.get_params()}
    assert {*ps.MIOSR().get_params()} <= {*optimizer.get_params()}


@pytest.mark.parametrize(
    "ensemble",
    [
        {"bagging": True, "n_models": 4},
        {"bagging": True, "n_models": 2, "n_subset": 2},
        {"library_ensemble": True, "n_models": 4},
        {"library_ensemble": True, "bagging": True, "n_models": 4},
    ],
)
def test_ensembles(lorenz, ensemble):
    # PySINDy draws from the global generator.
    np.random.seed(0)  # noqa: NPY002
    optimizer = EnsembleOptimizer(ExactOptimizer(group_sparsity=(2, 3, 2)), **ensemble)
    model = model_of(optimizer).fit(lorenz, t=0.002)
    assert model.coefficients().shape == (3, 10)
    assert len(optimizer.coef_list) == ensemble["n_models"]
    if ensemble == {"bagging": True, "n_models": 4}:
        np.testing.assert_allclose(model.coefficients(), LORENZ, atol=0.05)


def test_unbiased_coefficients_have_no_penalty(curve):
    x, y = curve
    y = y + 0.1 * np.random.default_rng(2).standard_normal(y.shape)
    biased = ExactOptimizer(2, alpha=100.0).fit(x, y)
    unbiased = ExactOptimizer(2, alpha=100.0, unbias=True).fit(x, y)
    for t in range(2):
        some = biased.ind_[t]
        free = LinearRegression(fit_intercept=False).fit(x[:, some], y[:, t]).coef_
        np.testing.assert_allclose(unbiased.coef_[t, some], free)
        assert not unbiased.coef_[t, ~some].any()
    assert np.abs(unbiased.coef_ - biased.coef_).max() > 1e-6


def test_columns_of_unit_length(curve):
    x, y = curve
    y = y + 0.1 * np.random.default_rng(3).standard_normal(y.shape)
    unit = ExactOptimizer(2, alpha=0.01, normalize_columns=True).fit(x, y)
    scaled = ExactOptimizer(2, alpha=0.01, ridge_on="scaled").fit(x, y)
    np.testing.assert_allclose(unit.coef_, scaled.coef_, rtol=1e-8)
    lhs = np.zeros((1, 6))
    lhs[0, 0], lhs[0, 4] = 1.0, 1.0
    for order, rows in (("target", lhs), ("feature", lhs.reshape(1, 2, 3).transpose(0, 2, 1))):
        free, held = (
            ExactOptimizer(
                2, alpha=0.0, normalize_columns=normal, constraint_lhs=rows.reshape(1, -1),
                constraint_rhs=np.array([0.2]), constraint_order=order, coef_bound=0.9,
            ).fit(x, y)
            for normal in (False, True)
        )  # fmt: skip
        np.testing.assert_allclose(free.coef_, held.coef_, rtol=1e-8)
        assert held.coef_[0, 0] + held.coef_[1, 1] == pytest.approx(0.2)


@pytest.mark.parametrize("order", ["target", "feature"])
@pytest.mark.parametrize("value", [0, -1, 3])
def test_constraints_of_both_formats(order, value):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((20, 3))
    y = np.column_stack([x[:, 0] + x[:, 1], x[:, 1] + x[:, 2]])
    lhs = np.zeros((2, 6))
    first, second = ((0, 1), (1, 1)) if order == "target" else ((0, 0), (1, 1))
    for row, (t, j) in zip(lhs, (first, second), strict=True):
        row[t * 3 + j if order == "target" else j * 2 + t] = 1.0
    optimizer = ExactOptimizer(
        target_sparsity=5, constraint_lhs=lhs, constraint_rhs=value * np.ones(2),
        constraint_order=order,
    ).fit(x, y)  # fmt: skip
    np.testing.assert_allclose([optimizer.coef_[first], optimizer.coef_[second]], value, atol=1e-12)


@pytest.mark.parametrize("budget", [2, 7])
def test_equality_constraints_in_a_model(lorenz, budget):
    lhs = np.zeros((2, 30))
    lhs[0, 1] = lhs[1, 11] = 1.0
    optimizer = ExactOptimizer(
        target_sparsity=budget, constraint_lhs=lhs, constraint_rhs=np.array([-10.0, 28.0])
    )
    model = model_of(optimizer).fit(lorenz, t=0.002)
    np.testing.assert_allclose(lhs @ model.coefficients().ravel(), [-10.0, 28.0], rtol=1e-12)
    if budget == 7:
        np.testing.assert_allclose(model.coefficients(), LORENZ, atol=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": -1.0}, {"target_sparsity": -1}, {"constraint_lhs": np.ones((1, 6))},
        {"constraint_lhs": np.ones((1, 6)), "unbias": True}, {"coef_bound": 1.0, "unbias": True},
        {"time_limit": 1.0, "regression_timeout": 1.0}, {"group_sparsity": (1, 1, 1)},
        {"constraint_lhs": np.ones((1, 5)), "constraint_rhs": [1.0], "normalize_columns": True},
    ],
)  # fmt: skip
def test_wrong_parameters_are_errors_of_both_kinds(curve, wrong):
    for kind in (ConfigError, ValueError):
        with pytest.raises(kind):
            ExactOptimizer(**wrong).fit(*curve)


def test_verbose_says_what_was_proven(curve, capsys):
    ExactOptimizer(2, verbose=True, regression_timeout=10).fit(*curve)
    assert capsys.readouterr().out.count("optimal: objective") == 2


def test_miosr_finds_nothing_better_and_we_find_nothing_worse(lorenz):
    pytest.importorskip("gurobipy")
    rng = np.random.default_rng(5)
    noisy = lorenz[::5] + 0.05 * rng.standard_normal(lorenz[::5].shape)
    library = np.asarray(ps.PolynomialLibrary(2).fit_transform(noisy))
    # Columns of unit length, which its default tolerances can tell apart.
    library = library / np.linalg.norm(library, axis=0)
    slopes = np.gradient(noisy, 0.01, axis=0)
    slopes = slopes / np.linalg.norm(slopes)
    lhs = np.zeros((1, 30))
    lhs[0, 1], lhs[0, 12] = 1.0, 1.0
    constraints = {"constraint_lhs": lhs, "constraint_rhs": np.array([0.1])}

    def objective(coef):
        left = slopes - library @ coef.T
        return float((left**2).sum() + 1e-3 * (coef**2).sum())

    for more in ({}, constraints):
        ours = ExactOptimizer(target_sparsity=5, alpha=1e-3, **more).fit(library, slopes)
        peer = ps.MIOSR(target_sparsity=5, alpha=1e-3, regression_timeout=60, **more)
        found = objective(peer.fit(library, slopes).coef_)
        assert objective(ours.coef_) == pytest.approx(ours.objective_, rel=1e-10)
        assert ours.objective_ <= found * (1 + 1e-6)
        # Its gap is relative to more than the objective.
        assert found <= ours.objective_ * 1.05
