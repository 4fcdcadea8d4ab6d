"""Ridge probes: against fits without each row, scikit-learn, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from artneuro.spacetime.ridge import (
    RidgeDesign,
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
