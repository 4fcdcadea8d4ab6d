"""Compressed regressions and heuristics, against plain least squares and PySINDy."""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np
import pytest

from artneuro.dynamics.compressed import bootstraps, compress, merge
from artneuro.dynamics.greedy import (
    RidgeFits,
    median_support,
    stepwise_supports,
    threshold_supports,
)
from artneuro.dynamics.methods import Tuning, widened
from artneuro.dynamics.methods_config import METHODS, MethodsConfig
from artneuro.dynamics.metrics import aicc, true_positivity
from artneuro.dynamics.regressions import Regression
from artneuro.dynamics.relaxed import relaxed_fits

ps = pytest.importorskip("pysindy")

TRUE = np.array([[0, 1.5, 0, -2, 0, 0, 0.7, 0], [0, 0, 0.8, 0, 0, 0, 0, -1.2]])


def make_data(seed: int, rows: int = 120, noise: float = 0.05):
    generator = np.random.default_rng(seed)
    library = generator.normal(size=(rows, 8)) @ (np.eye(8) + 0.3 * generator.normal(size=(8, 8)))
    return library, library @ TRUE.T + noise * generator.normal(size=(rows, 2))


def test_a_compressed_regression_has_the_same_fits():
    library, targets = make_data(0)
    problem = compress(library, targets)
    assert problem.factor.shape == (10, 10)
    support = np.array([1, 1, 0, 1, 0, 0, 1, 0], dtype=bool)
    expected = np.linalg.lstsq(library[:, support], targets[:, 0])[0]
    found = problem.fit(0, support)
    np.testing.assert_allclose(found[support], expected, rtol=1e-10)
    assert not found[~support].any()
    both = np.stack([found, problem.fit(1, support)])
    sums = np.square(targets - library @ both.T).sum(axis=0)
    np.testing.assert_allclose(problem.residual_sums(both), sums, rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(problem.scaled().library, axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(problem.norms, np.linalg.norm(library, axis=0), rtol=1e-12)


def test_merged_regressions_are_those_of_all_rows():
    library, targets = make_data(1)
    parts = merge(compress(library[:70], targets[:70]), compress(library[70:], targets[70:]))
    assert parts.measurements == 120
    support = np.ones(8, dtype=bool)
    expected = compress(library, targets).fit(1, support)
    np.testing.assert_allclose(parts.fit(1, support), expected, rtol=1e-10)


def test_bootstraps_are_regressions_on_rows_drawn_with_replacement():
    library, targets = make_data(2, rows=40)
    found = bootstraps(library, targets, 3, np.random.default_rng(5))
    generator = np.random.default_rng(5)
    for sample in found:
        rows = generator.integers(40, size=40)
        both = np.hstack([library, targets])[rows]
        np.testing.assert_allclose(sample.factor.T @ sample.factor, both.T @ both, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_thresholding_is_pysindys(alpha: float, seed: int):
    library, targets = make_data(seed, noise=1.0)
    problem = compress(library, targets)
    thresholds = np.geomspace(0.01, 3, 15)
    found = [threshold_supports(RidgeFits(problem, t, alpha), thresholds) for t in range(2)]
    for i, threshold in enumerate(thresholds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ps.STLSQ(threshold=threshold, alpha=alpha).fit(library, targets)
        assert np.array_equal([found[0][i], found[1][i]], model.coef_ != 0)
        refits = [problem.fit(t, found[t][i]) for t in range(2)]
        np.testing.assert_allclose(refits, model.coef_, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_stepwise_elimination_is_pysindys(alpha: float, seed: int):
    library, targets = make_data(seed, noise=1.0)
    problem = compress(library, targets)
    model = ps.SSR(alpha=alpha, max_iter=8).fit(library, targets)
    # PySINDy writes its first model over; the others are of 7 terms down to one.
    history = {np.count_nonzero(coef[0]): coef for coef in model.history_[1:]}
    for target in range(2):
        found = stepwise_supports(problem, target, alpha)
        assert found.sum(axis=1).tolist() == list(range(1, 9))
        for size in range(1, 8):
            assert np.array_equal(found[size - 1], history[size][target] != 0)


def test_stepwise_elimination_of_dependent_columns_ends():
    library, targets = make_data(3)
    library[:, 5] = library[:, 1]
    found = stepwise_supports(compress(library, targets), 0, 0.0)
    assert found.sum(axis=1).tolist() == list(range(1, 9))


@pytest.mark.parametrize("nu", [0.1, 1.0, 10 / 3])
@pytest.mark.parametrize("seed", range(3))
def test_relaxed_fits_are_pysindys(nu: float, seed: int):
    library, targets = make_data(seed, rows=30, noise=1.0)
    thresholds = np.geomspace(0.02, 2, 9)
    found, turns = relaxed_fits(compress(library, targets), nu, thresholds, 400)
    for i, threshold in enumerate(thresholds):
        weight = ps.SR3.calculate_l0_weight(threshold, nu)
        model = ps.SR3(reg_weight_lam=weight, relax_coeff_nu=nu, max_iter=400)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(library, targets)
        np.testing.assert_allclose(found[i], model.coef_, rtol=1e-7, atol=1e-10)
        assert turns[i] == model.iters


@pytest.fixture
def constrained_sr3(monkeypatch):
    """PySINDy imports it only where cvxpy is, which its equality constraints do not use."""
    try:
        return ps.ConstrainedSR3
    except AttributeError:
        stub = types.ModuleType("cvxpy")
        stub.Variable = stub.Expression = object
        monkeypatch.setitem(sys.modules, "cvxpy", stub)
        monkeypatch.delitem(sys.modules, "pysindy.optimizers._constrained_sr3", raising=False)
        from pysindy.optimizers._constrained_sr3 import ConstrainedSR3

        return ConstrainedSR3


@pytest.mark.parametrize("threshold", [0.05, 0.3, 1.0])
def test_constrained_relaxed_fits_are_pysindys(constrained_sr3, threshold: float):
    library, targets = make_data(4, rows=40, noise=0.5)
    lhs = np.zeros((2, 16))
    lhs[0, [1, 10]] = 1, -2
    lhs[1, [3, 15]] = 1, 1
    rhs = np.array([0.0, 0.5])
    found, _ = relaxed_fits(
        compress(library, targets), 0.5, np.array([threshold]), 300,
        constraint_lhs=lhs, constraint_rhs=rhs,
    )  # fmt: skip
    model = constrained_sr3(
        reg_weight_lam=threshold**2, relax_coeff_nu=0.5, max_iter=300,
        constraint_lhs=lhs, constraint_rhs=rhs, equality_constraints=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(library, targets)
    np.testing.assert_allclose(found[0], model.coef_, rtol=1e-6, atol=1e-9)


def test_medians_of_ensembles_are_zero_where_most_models_are():
    coefficients = np.array([[0.0, 1.0, -1.0], [0.0, 2.0, 0.0], [3.0, 0.0, 1.0]])
    assert median_support(coefficients).tolist() == [False, True, False]


def test_thresholds_are_widened_by_half_a_decade():
    np.testing.assert_allclose(
        widened(10 ** np.linspace(-2, 1, 50)), 10 ** np.linspace(-2.5, 1.5, 50), rtol=1e-12
    )


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    library, targets = make_data(7, rows=200)
    judged, values = make_data(8, rows=100)
    # The same equations in other columns: the mixing differs from seed to seed.
    regression = Regression(library, targets, compress(judged, values), False)
    config = MethodsConfig(ensembles=10, max_terms=4, alphas=[0.0, 0.01])
    return Tuning(regression, config, np.geomspace(0.05, 3, 12), np.random.default_rng(0))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_clear_equations(tuning: Tuning, method):
    models = tuning.run(method)
    found = np.array([model.coefficients for model in models])
    assert true_positivity(TRUE, found) >= (1.0 if method.startswith("exact") else 0.7)
    np.testing.assert_allclose(found, TRUE, atol=0.1)
    assert tuning.seconds[method] >= 0


def test_what_is_chosen_has_the_least_criterion_of_its_grid(tuning: Tuning):
    library, targets = tuning.regression.library, tuning.regression.targets
    judged = tuning.regression.validation
    for target, model in enumerate(tuning.run("ssr")):
        scores = []
        for alpha in tuning.config.alphas:
            for support in stepwise_supports(tuning.regression.seen, target, alpha):
                coef = np.linalg.lstsq(library[:, support], targets[:, target])[0]
                rest = judged.targets[:, target] - judged.library[:, support] @ coef
                scores.append(float(aicc(rest @ rest, 100, support.sum())))
        assert model.criterion == pytest.approx(min(scores), rel=1e-9)
        assert model.at_edge is None


def test_edges_of_grids_are_told(tuning: Tuning):
    exact = tuning.run("exact")
    assert [model.at_edge for model in exact] == [False, False]
    assert [model.setting.k for model in exact] == [3, 2]
    narrow = MethodsConfig(max_terms=2, alphas=[0.0])
    other = Tuning(tuning.regression, narrow, np.array([0.01, 0.02]), np.random.default_rng(0))
    assert [model.at_edge for model in other.run("exact")] == [True, True]
    assert all(model.at_edge for model in other.run("stlsq"))


def test_shares_of_bootstraps_are_those_of_all_models(tuning: Tuning):
    tuning.run("exact_stability")
    share = tuning.inclusion
    assert share is not None
    assert share.shape == (2, 4, 8)
    assert ((share >= 0) & (share <= 1 + 1e-12)).all()
    # A model of at most k terms has k of them unless fewer fit as well.
    assert (share.sum(axis=2) <= np.arange(1, 5) + 1e-9).all()
    np.testing.assert_allclose(share[0, 2, TRUE[0] != 0], 1)
