"""Held-out blocks and types against fits of scikit-learn without them, and planted geographies."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from artneuro.core.errors import DataError
from artneuro.spacetime.holdouts_ridge import HeldOutRidge
from artneuro.spacetime.ridge import RidgeDesign

# --- the fits ------------------------------------------------------------------------------------


def unequal(seed: int, rows: int, units: int):
    """Features of unequal means and scales, two targets, and blocks of unequal sizes."""
    rng = np.random.default_rng(seed)
    block = rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    x = rng.standard_normal((rows, units)) * rng.uniform(0.01, 30, units)
    x += rng.uniform(-50, 50, units) + rng.standard_normal((4, units))[block]
    y = x @ rng.standard_normal((units, 2)) / 20 + rng.standard_normal((rows, 2)) + [100, -7]
    return x, y, block


def separate(x, y, penalty):
    scaler = StandardScaler().fit(x)
    ridge = Ridge(penalty, solver="svd").fit(scaler.transform(x), y)
    coefficients = ridge.coef_.T / scaler.scale_[:, None]
    return coefficients, ridge.intercept_ - scaler.mean_ @ coefficients


@pytest.mark.parametrize("shape", [(120, 15), (40, 60), (50, 49)])
@pytest.mark.parametrize("penalty", [0.05, 30.0])
def test_fits_without_blocks_are_separate_fits(shape, penalty):
    x, y, block = unequal(0, *shape)
    ridge = HeldOutRidge(x, y, penalty)
    for left_out in (np.zeros(len(x), bool), *(block == b for b in range(4))):
        coefficients, intercept = ridge.without(left_out)
        wanted, wanted_intercept = separate(x[~left_out], y[~left_out], penalty)
        np.testing.assert_allclose(coefficients, wanted, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(intercept, wanted_intercept, rtol=1e-7)


def test_a_fit_without_nothing_is_that_of_the_probes():
    x, y, _ = unequal(1, 80, 20)
    ours, probes = HeldOutRidge(x, y, 3.0).without(np.zeros(80, bool)), RidgeDesign(x).solve(y, 3.0)
    np.testing.assert_allclose(ours[0], probes[0], rtol=1e-8)
    np.testing.assert_allclose(ours[1], probes[1], rtol=1e-8)


@pytest.mark.parametrize("shape", [(120, 15), (40, 60)])
def test_nothing_is_seen_of_what_is_held_out(shape):
    x, y, block = unequal(2, *shape)
    left_out = block == 1
    changed, other = x.copy(), y.copy()
    changed[left_out], other[left_out] = -4 * changed[left_out] + 300, 1e3
    ours = HeldOutRidge(x, y, 1.0).without(left_out)
    theirs = HeldOutRidge(changed, other, 1.0).without(left_out)
    for one, another in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-6, atol=1e-8)


def test_units_that_live_in_the_block_alone_are_not_blown_up():
    x, y, block = unequal(3, 100, 8)
    left_out = block == 0
    x[:, 0] = np.where(left_out, x[:, 0], 0.0)
    x[:, 1] = np.where(left_out, x[:, 1], 0.1)
    # One that varies outside too, a hundred million times less.
    x[:, 2] = np.where(left_out, 1e4 * x[:, 2], 1e-4 * (x[:, 2] - x[:, 2].mean()))
    coefficients, intercept = HeldOutRidge(x, y, 0.5).without(left_out)
    assert coefficients[0].tolist() == coefficients[1].tolist() == [0.0, 0.0]
    kept = x[~left_out][:, 2:]
    wanted, wanted_intercept = separate(kept, y[~left_out], 0.5)
    np.testing.assert_allclose(coefficients[2:], wanted, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(intercept, wanted_intercept, rtol=1e-7)


def test_what_cannot_be_fitted_is_refused():
    x, y, _ = unequal(4, 20, 5)
    with pytest.raises(DataError, match="penalty"):
        HeldOutRidge(x, y, 0.0)
    with pytest.raises(DataError, match="NaN"):
        HeldOutRidge(np.where(x == x.max(), np.nan, x), y, 1.0)
    with pytest.raises(DataError, match="targets for features"):
        HeldOutRidge(x, y[:3], 1.0)
    with pytest.raises(DataError, match="left to train"):
        HeldOutRidge(x, y, 1.0).without(np.arange(20) < 19)
