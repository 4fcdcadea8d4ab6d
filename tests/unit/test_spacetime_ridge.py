"""Ridge probes: against fits without each row, scikit-learn, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from artneuro.core.errors import DataError
from artneuro.spacetime.ridge import (
    DEFAULT_PENALTIES,
    HIGHEST,
    LOWEST,
    LeaveOneOutRidge,
    RidgeDesign,
    choose_penalty,
)

SHAPES = [(40, 7), (12, 30), (15, 15), (16, 15), (14, 15), (2, 3), (3, 1), (5000, 4)]


def make_data(n: int, d: int, seed: int = 0, dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features with large means, and two targets that hang on them."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, d)) @ random.normal(size=(d, d)) + 50 * random.normal(size=d)
    targets = features @ random.normal(size=(d, 2)) + 3 * random.normal(size=(n, 2)) + [7, -90]
    return features.astype(dtype), targets


def standardise(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(axis=0)) / features.std(axis=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", [0.01, 6.3, 1e4])
def test_solution_is_that_of_scikit_learn(shape, penalty):
    features, targets = make_data(*shape)
    coef, intercept = RidgeDesign(features).solve(targets, penalty)
    peer = Ridge(alpha=penalty, solver="svd").fit(standardise(features), targets)
    predicted = features @ coef + intercept
    np.testing.assert_allclose(predicted, peer.predict(standardise(features)), rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(coef, peer.coef_.T / features.std(axis=0)[:, None], rtol=1e-7)


@pytest.mark.parametrize("shape", [s for s in SHAPES if 2 < s[0] < 100])
@pytest.mark.parametrize("penalty", [0.01, 6.3, 1e4])
def test_leave_one_out_equals_fits_without_each_row(shape, penalty):
    features, targets = make_data(*shape, seed=1)
    design = RidgeDesign(features)
    scaled = standardise(features)
    expected = np.empty_like(targets)
    for row in range(len(features)):
        rest = np.arange(len(features)) != row
        # The intercept is fitted anew, so that scikit-learn centres the rest by itself.
        fit = Ridge(alpha=penalty, solver="svd").fit(scaled[rest], targets[rest])
        expected[row] = fit.predict(scaled[[row]])[0]
    found = design.loo_predictions(targets, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    errors = design.leave_one_out(targets, [penalty, 3 * penalty])
    np.testing.assert_allclose(errors[0], np.square(expected - targets).mean(axis=0), rtol=1e-7)


@pytest.mark.parametrize("shape", [(60, 7), (20, 30), (30, 29)])
def test_penalty_is_that_of_scikit_learn(shape):
    features, targets = make_data(*shape, seed=2)
    scaled, standard = standardise(features), (targets - targets.mean(0)) / targets.std(axis=0)
    grid = np.logspace(-5.9, 4, 30)
    peer = RidgeCV(grid, gcv_mode="svd", store_cv_results=True).fit(scaled, standard)
    chosen = choose_penalty(RidgeDesign(features), targets, grid)
    expected = peer.cv_results_.mean(axis=(0, 1))
    np.testing.assert_allclose(chosen.errors[-30:], expected, rtol=1e-8)
    # With more units than rows and next to no noise, the least penalty is the best.
    assert chosen.at_bound == (shape == (20, 30))
    assert chosen.at_bound or chosen.penalty == pytest.approx(peer.alpha_)


def test_few_rows_are_left_out_exactly_at_tiny_penalties():
    features, targets = make_data(12, 20, seed=12)
    scaled, penalty = standardise(features), 1e-6
    expected = np.empty_like(targets)
    for row in range(12):
        rest = np.arange(12) != row
        # The centre moves with the rows, and the minimum-norm solution is that of no penalty.
        centre, middle = scaled[rest].mean(axis=0), targets[rest].mean(axis=0)
        solution = np.linalg.pinv(scaled[rest] - centre) @ (targets[rest] - middle)
        expected[row] = (scaled[row] - centre) @ solution + middle
    found = RidgeDesign(features).loo_predictions(targets, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def residual_stream(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features as of a residual stream: spectrum that decays, units and rows far out, float32."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(d, d)))[0]
    features = (random.normal(size=(n, d)) / np.arange(1, d + 1)) @ turn
    targets = features @ turn[:20].T @ random.normal(size=(20, 2)) + 0.1 * random.normal(
        size=(n, 2)
    )
    features *= np.exp(random.normal(size=(n, 1)))
    features[:, :3] = features[:, :3] * 50 + 3000
    features[:, 3] += 1e5
    return features.astype(np.float32), targets


@pytest.mark.parametrize("shape", [(700, 120), (130, 120), (110, 120)])
def test_far_out_units_and_rows_do_not_spoil_the_errors(shape):
    features, targets = residual_stream(*shape, seed=3)
    scaled = standardise(features.astype(np.float64))
    standard = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    peer = RidgeCV(DEFAULT_PENALTIES, gcv_mode="svd", store_cv_results=True).fit(scaled, standard)
    errors = RidgeDesign(features).leave_one_out(standard, DEFAULT_PENALTIES)
    expected = peer.cv_results_.reshape(len(features), 2, 12).mean(axis=0)
    np.testing.assert_allclose(errors.T, expected, rtol=1e-9)


def test_blocks_of_rows_give_what_all_rows_give(monkeypatch: pytest.MonkeyPatch):
    features, targets = residual_stream(500, 40, seed=4)
    whole = RidgeDesign(features)
    solution, errors = whole.solve(targets, 5.0), whole.leave_one_out(targets, [1.0, 9.0])
    monkeypatch.setattr("artneuro.spacetime.ridge.KEPT", 0)
    monkeypatch.setattr("artneuro.spacetime.ridge.BLOCK", 37)
    parts = RidgeDesign(features)
    for got, expected in zip(parts.solve(targets, 5.0), solution, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(parts.leave_one_out(targets, [1.0, 9.0]), errors)


def test_grid_extends_itself_down_to_small_penalties():
    random = np.random.default_rng(5)
    features = random.normal(size=(200, 5))
    targets = features @ random.normal(size=(5, 2)) + 1e-3 * random.normal(size=(200, 2))
    chosen = choose_penalty(RidgeDesign(features), targets, [10.0, 100.0])
    assert chosen.extended
    assert LOWEST <= chosen.penalty < 1.0
    # In the steps of the grid, without gaps.
    np.testing.assert_allclose(np.diff(np.log10(chosen.penalties)), 1.0)
    assert not chosen.at_bound
    assert chosen.errors.argmin() not in (0, len(chosen.errors) - 1)


def test_grid_extends_itself_up_to_its_bound_without_signal():
    random = np.random.default_rng(6)
    # Targets that left-out rows contradict: the mean is best.
    features, targets = random.normal(size=(30, 25)), random.normal(size=(30, 1))
    chosen = choose_penalty(RidgeDesign(features), targets, [0.1, 1.0])
    assert chosen.extended
    assert chosen.penalty > 1.0
    assert chosen.penalties.max() <= HIGHEST
    inside = choose_penalty(RidgeDesign(features), targets, chosen.penalties)
    assert inside.penalty == chosen.penalty


def test_of_equal_errors_the_larger_penalty_is_taken():
    features = np.ones((6, 2))
    targets = np.arange(6.0)[:, None]
    chosen = choose_penalty(RidgeDesign(features), targets, [1.0, 10.0])
    assert chosen.at_bound
    assert chosen.penalty == chosen.penalties[-1] == HIGHEST


def test_constant_and_equal_units():
    features, targets = make_data(50, 4, seed=7)
    more = np.column_stack([features, features[:, 0], np.full(50, 1e6 / 3), np.zeros(50)])
    coef, intercept = RidgeDesign(more).solve(targets, 2.0)
    assert (coef[5:] == 0).all()
    np.testing.assert_allclose(coef[0], coef[4])
    peer = Ridge(alpha=2.0).fit(standardise(more[:, :5]), targets)
    np.testing.assert_allclose(
        more @ coef + intercept, peer.predict(standardise(more[:, :5])), rtol=1e-9
    )
    # Almost as many rows as units, of which one is the other's copy.
    wide, y = make_data(6, 5, seed=8)
    wide[:, 1] = wide[:, 0]
    assert np.isfinite(RidgeDesign(wide).leave_one_out(y, [1e-3])).all()


def test_units_may_be_left_unscaled():
    features, targets = make_data(40, 6, seed=9)
    design = RidgeDesign(features, scaled=False)
    peer = Ridge(alpha=3.0).fit(features, targets)
    coef, intercept = design.solve(targets, 3.0)
    np.testing.assert_allclose(coef, peer.coef_.T, rtol=1e-7)
    np.testing.assert_allclose(intercept, peer.intercept_, rtol=1e-7)
    assert (design.scale == 1).all()


@pytest.mark.parametrize("shape", [(60, 12), (10, 12)])
def test_truncated_design_is_the_regression_on_principal_components(shape):
    features, targets = make_data(*shape, seed=10)
    scaled = standardise(features)
    design = RidgeDesign(features)
    _, singular, right = np.linalg.svd(scaled, full_matrices=False)
    for k in (1, 4):
        parts = scaled @ right[:k].T
        peer = RidgeCV([2.0], store_cv_results=True).fit(parts, targets)
        part = design.truncated(k)
        coef, intercept = part.solve(targets, 2.0)
        np.testing.assert_allclose(features @ coef + intercept, peer.predict(parts), rtol=1e-7)
        np.testing.assert_allclose(part.values, singular[:k][::-1] ** 2)
        errors = part.leave_one_out(targets, [2.0])
        np.testing.assert_allclose(errors[0], peer.cv_results_[:, :, 0].mean(axis=0))
    # The design itself is as it was, also where it was used before.
    design.leave_one_out(targets, [2.0])
    again = design.truncated(4).leave_one_out(targets, [2.0])
    np.testing.assert_allclose(again, errors)
    with pytest.raises(DataError, match="13 of"):
        design.truncated(13)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_named(value):
    features, targets = make_data(8, 3)
    bad = features.copy()
    bad[5, 1] = value
    with pytest.raises(DataError, match="row 5"):
        RidgeDesign(bad)
    targets[2, 0] = value
    with pytest.raises(DataError, match="targets"):
        RidgeDesign(features).solve(targets, 1.0)


def test_what_cannot_be_fitted():
    features, targets = make_data(8, 3)
    with pytest.raises(DataError, match="two rows"):
        RidgeDesign(features[:1])
    with pytest.raises(DataError, match="rows and columns"):
        RidgeDesign(features[:, :0])
    design = RidgeDesign(features)
    with pytest.raises(DataError, match="do not fit"):
        design.solve(targets[:5], 1.0)
    for bad in ([0.0], [-1.0], [np.nan], []):
        with pytest.raises(DataError, match="penalties"):
            design.leave_one_out(targets, bad)
    with pytest.raises(DataError, match="all the same"):
        choose_penalty(design, targets, [2.0, 2.0])


@parametrize_with_checks([LeaveOneOutRidge()])
def test_estimator_keeps_the_protocol_of_scikit_learn(estimator, check):
    check(estimator)


def test_estimator_is_the_functions():
    features, targets = make_data(50, 6, seed=11)
    fit = LeaveOneOutRidge(penalties=[1.0, 10.0, 100.0]).fit(features, targets)
    design = RidgeDesign(features)
    chosen = choose_penalty(design, targets, [1.0, 10.0, 100.0])
    assert fit.penalty_ == chosen.penalty
    np.testing.assert_allclose(fit.loo_predictions_, design.loo_predictions(targets, fit.penalty_))
    peer = Ridge(alpha=fit.penalty_).fit(standardise(features), targets)
    np.testing.assert_allclose(fit.predict(features), peer.predict(standardise(features)))
    alone = LeaveOneOutRidge().fit(features, targets[:, 0])
    assert alone.predict(features).shape == alone.loo_predictions_.shape == (50,)
