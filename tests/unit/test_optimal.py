"""Optimal sparse probing against brute force with independent solvers on every support."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.svm import SVC

from artneuro.core.errors import ConfigError, DataError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature
from artneuro.probing.exact_least_squares import best_least_squares
from artneuro.probing.layer import probe_layer
from artneuro.probing.optimal import OptimalSparseSVM, optimal_supports
from artneuro.probing.svm_relaxation import Goal, minimise
from artneuro.probing.svm_search import make_problem

LOSSES = ("hinge", "squared_hinge", "squared_error")


def example(seed: int, units: int = 7, rows: int = 70):
    """Correlated activations of unequal scales with means, and labels that some of them tell."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, units)) @ generator.standard_normal((units, units))
    x = x * np.exp(generator.normal(size=units)) + generator.normal(size=units)
    score = x @ generator.normal(size=units) / x.std(axis=0).mean()
    return x, score + generator.standard_normal(rows) > np.quantile(score, 0.7)


def weights(y):
    return np.where(y, y.size / (2 * y.sum()), y.size / (2 * (~y).sum()))


def objective(x, y, w, b, loss, gamma):
    sign = np.where(y, 1.0, -1.0)
    left = 1.0 - sign * (x @ w + b)
    if loss != "squared_error":
        left = np.maximum(left, 0.0)
    return weights(y) @ (left if loss == "hinge" else left**2) + w @ w / (2 * gamma)


def fit_elsewhere(x, y, loss, gamma):
    """The objective of all columns of x, by scikit-learn, scipy or a linear system."""
    sign = np.where(y, 1.0, -1.0)
    if loss == "hinge":
        model = SVC(kernel="linear", C=gamma, class_weight="balanced", tol=1e-7).fit(x, y)
        return objective(x, y, model.coef_[0], model.intercept_[0], loss, gamma)
    design = np.column_stack([x, np.ones(y.size)])
    penalty = np.diag([*[0.5 / gamma] * x.shape[1], 0.0])
    weighted = design.T * weights(y)
    start = np.linalg.solve(weighted @ design + penalty, weighted @ sign)
    if loss == "squared_error":
        return objective(x, y, start[:-1], start[-1], loss, gamma)

    def value(v):
        left = np.maximum(1.0 - sign * (design @ v), 0.0)
        slope = -2 * design.T @ (weights(y) * left * sign) + 2 * penalty @ v
        return objective(x, y, v[:-1], v[-1], loss, gamma), slope

    return minimize(value, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-14}).fun


def brute_force(x, y, k, loss, gamma):
    """Objective of the best support of k columns, and the support."""
    found = {s: fit_elsewhere(x[:, s], y, loss, gamma) for s in combinations(range(x.shape[1]), k)}
    best = min(found, key=found.__getitem__)
    return found[best], best


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [None, 0.02])
def test_supports_equal_brute_force(loss, gamma):
    for seed in range(2):
        x, y = example(seed)
        used = gamma or 1 / np.sqrt(y.size)
        found = optimal_supports(x.T, y, 7, loss=loss, gamma=gamma)
        for k in (1, 2, 3, 7):
            best, support = brute_force(x, y, k, loss, used)
            one = found[k - 1]
            assert one.status == "optimal"
            assert one.gap <= 1e-4
            assert one.support.tolist() == list(support)
            # A bound is of every support; the objective is of the coefficients that are returned.
            assert one.bound <= best * (1 + 1e-6)
            assert one.objective == pytest.approx(best, rel=1e-5)
            mine = objective(x[:, one.support], y, one.coef, one.intercept, loss, used)
            assert mine == pytest.approx(one.objective, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_planted_neurons_are_found_and_proven(loss):
    generator = np.random.default_rng(3)
    x = generator.standard_normal((400, 40))
    # A sum of three, hidden from single neurons by noise that cancels in it.
    noise = 2 * generator.standard_normal((400, 2))
    y = generator.random(400) < 0.4
    x[:, [5, 17, 31]] = np.column_stack([noise, -noise.sum(axis=1)]) + 2.0 * y[:, None]
    x[:, [5, 17, 31]] += 0.3 * generator.standard_normal((400, 3))
    model = OptimalSparseSVM(3, loss=loss).fit(x, y)
    assert model.support_.tolist() == [5, 17, 31]
    assert model.status_ == "optimal"
    assert (model.predict(x) == y).mean() > 0.98


@pytest.mark.parametrize("loss", LOSSES)
def test_constant_and_repeated_neurons(loss):
    x, y = example(1)
    x[:, 2] = 0.1
    x[:, 4] = x[:, 0]
    x[:, 6] = 1e-30 * x[:, 1]
    best, _ = brute_force(x, y, 3, loss, 1 / np.sqrt(y.size))
    model = OptimalSparseSVM(3, loss=loss).fit(x, y)
    assert model.objective_ == pytest.approx(best, rel=1e-5)
    assert model.bound_ <= best * (1 + 1e-6)
    assert model.status_ == "optimal"
    constant = OptimalSparseSVM(2, loss=loss).fit(np.full((20, 3), 2.0), np.arange(20) < 5)
    assert constant.status_ == "optimal"
    np.testing.assert_allclose(constant.coef_, 0.0, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_time_leaves_an_honest_gap(loss):
    x, y = example(0, units=9, rows=90)
    best, _ = brute_force(x, y, 3, loss, 1 / np.sqrt(y.size))
    model = OptimalSparseSVM(3, loss=loss, time_limit=0.0).fit(x, y)
    assert model.bound_ <= best * (1 + 1e-6)
    assert model.objective_ >= best * (1 - 1e-6)
    assert model.gap_ == pytest.approx(1 - model.bound_ / model.objective_)
    assert (model.status_ == "optimal") == (model.gap_ <= 1e-4)
    assert model.support_.size == 3


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_one_neuron_is_proven_where_the_loss_is_flat_in_the_intercept(scale):
    # A rare class whose weights balance those of the other: while every margin is below one, the
    # hinge does not change with the intercept.
    rng = np.random.default_rng(3)
    y = np.arange(300) % 9 == 0
    x = scale * rng.standard_normal((20, 300))
    x[4] += scale * 2.0 * y
    found = optimal_supports(x, y, 1, loss="hinge", gamma=None, balanced=True, time_limit=30.0)[0]
    assert found.status == "optimal"
    gamma = 300**-0.5
    least = min(fit_elsewhere(x[[j]].T, y, "hinge", gamma) for j in range(20))
    assert found.objective == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize(("seed", "k"), [(1, 6), (27, 6), (35, 10), (44, 4)])
def test_relaxations_of_correlated_neurons_do_not_stall(seed, k):
    """Weights that cross zero one after the other must not be let in again at each step."""
    generator, units, rows = np.random.default_rng(seed), 40, 150
    y = np.arange(rows) % 9 == 0
    mean = generator.lognormal(-1.5, 0.6, units) * generator.choice([-1, 1], units)
    shared = generator.standard_normal((6, rows))
    load = 0.3 * np.abs(mean)[:, None] * generator.standard_normal((units, 6))
    noise = 0.02 * generator.standard_normal((units, rows))
    columns = np.outer(mean, y.astype(float)) + load @ shared + noise
    problem = make_problem(columns, y, gamma=rows**-0.5, balanced=True, loss="hinge")
    goal = Goal(np.inf, -1.0, 1e-5, 1e-9, 150)
    free = np.zeros(units, dtype=np.bool_)
    _, objective, bound, _, _, _ = minimise(
        problem.rows, problem.kind, free, k, np.zeros(units), 0.0, 1.0, goal, np.empty(units)
    )
    assert bound <= objective <= bound * (1.0 + 2e-5)


def test_estimator_protocol():
    x, y = example(2)
    names = np.where(y, "in", "out")
    model = clone(OptimalSparseSVM(2, class_weight=None, starts=[[0, 1], [3, 4, 5]]))
    model.fit(x, names)
    assert model.classes_.tolist() == ["in", "out"]
    same = SVC(kernel="linear", C=1 / np.sqrt(y.size), tol=1e-7).fit(x[:, model.support_], names)
    np.testing.assert_allclose(model.coef_[0, model.support_], same.coef_[0], rtol=1e-3)
    assert set(model.predict(x)) == {"in", "out"}
    assert model.coef_.shape == (1, 7)
    assert model.time_ > 0
    assert OptimalSparseSVM(20).fit(x, y).support_.tolist() == list(range(7))


def test_problems_that_cannot_be_solved():
    x, y = example(0)
    with pytest.raises(DataError, match="one class"):
        OptimalSparseSVM().fit(x, np.ones(y.size))
    with pytest.raises(DataError, match="3 classes"):
        OptimalSparseSVM().fit(x, np.arange(y.size) % 3)
    with pytest.raises(DataError, match="not finite"):
        optimal_supports(np.where(x.T > 1, np.nan, x.T), y, 2)
    for wrong in ({"loss": "logistic"}, {"gamma": 0.0}, {"k": 0}, {"class_weight": "other"}):
        with pytest.raises(ConfigError):
            OptimalSparseSVM(**wrong).fit(x, y)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_least_squares_equals_brute_force(k):
    generator = np.random.default_rng(k)
    x = generator.standard_normal((40, 9)) @ generator.standard_normal((9, 9))
    x *= np.exp(3 * generator.normal(size=9))
    y = x @ (generator.normal(size=9) / x.std(axis=0)) + generator.standard_normal(40)

    def left(support):
        return np.linalg.lstsq(x[:, support], y, rcond=None)[1][0]

    best = min(combinations(range(9), k), key=left)
    found = best_least_squares(x.T @ x, x.T @ y, y @ y, k)
    assert found.support.tolist() == list(best)
    assert found.objective == pytest.approx(left(best), rel=1e-8)
    assert found.bound <= left(best)
    assert found.bound == pytest.approx(left(best), rel=1e-4)
    np.testing.assert_allclose(found.coef, np.linalg.lstsq(x[:, best], y, rcond=None)[0], rtol=1e-6)
    late = best_least_squares(x.T @ x, x.T @ y, y @ y, k, deadline=time.perf_counter())
    assert late.bound <= left(best)


def test_least_squares_of_columns_that_repeat():
    gram = np.ones((3, 3))
    with pytest.raises(DataError, match="depend on each other"):
        best_least_squares(gram, np.ones(3), 2.0, 1)
    with pytest.raises(DataError, match="ridge"):
        best_least_squares(np.zeros((3, 3)), np.ones(3), 2.0, 1)


def test_ranking_of_the_probing_stage():
    x, y = example(4, units=12, rows=200)
    index = np.arange(200)
    feature = Feature("c", "f", index, index, y, y, index, index)
    config = ProbingConfig(
        rankings=["optimal"], controls=[], max_k=4, comparison={"optimal_prefilter": 3}
    )
    (probes,) = probe_layer(config, x.astype(np.float32), [feature], site="s", layer=0)
    gap = np.abs(x[y].mean(axis=0) - x[~y].mean(axis=0))
    kept = np.sort(np.argsort(-gap, kind="stable")[:4])
    assert set(probes.neurons(0, 4)) == set(kept)
    for k in (1, 2, 3):
        first = np.argsort(-gap, kind="stable")[:3]
        _, best = brute_force(x[:, first], y, k, "hinge", 1 / np.sqrt(200))
        assert set(probes.neurons(0, k)) == set(first[list(best)])
    proofs = probes.certificates["optimal"]
    assert [c.status for c in proofs] == ["optimal"] * 3
