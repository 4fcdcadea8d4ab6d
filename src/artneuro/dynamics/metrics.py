"""How well an equation is recovered, and the criterion that models are chosen by.

Thesis, section 5.3.1. Coefficients are of shape (targets, terms) throughout, as PySINDy has them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def true_positivity(true: np.ndarray, estimate: np.ndarray) -> float:
    """Terms in both supports over terms in either (5.20), over all targets together.

    Two empty supports agree: 1.
    """
    in_true, in_estimate = np.asarray(true) != 0, np.asarray(estimate) != 0
    either = np.count_nonzero(in_true | in_estimate)
    return np.count_nonzero(in_true & in_estimate) / either if either else 1.0


def coefficient_error(true: np.ndarray, estimate: np.ndarray) -> float:
    """Normalised coefficient error: |true - estimate| / |true| in the Euclidean norm (5.21)."""
    return float(np.linalg.norm(np.subtract(true, estimate)) / np.linalg.norm(true))


def derivative_rmse(
    features: Iterable[np.ndarray], true: np.ndarray, estimate: np.ndarray
) -> float:
    """Root mean squared error of the estimated derivatives on true test states (5.22).

    Parameters
    ----------
    features : iterable of ndarray of shape (samples, terms)
        The library on each test trajectory, without noise.
    true, estimate : ndarray of shape (targets, terms)

    Returns
    -------
    float
        The mean over the trajectories. It compares with the true right-hand side rather than with
        numerical derivatives of the test states, whose own error would be a floor.
    """
    difference = np.subtract(true, estimate).T
    errors = [float(np.sqrt(np.mean(np.square(matrix @ difference)))) for matrix in features]
    if not errors:
        raise ValueError("no test trajectories")
    return float(np.mean(errors))


def aicc(
    residual_sum: np.ndarray | float, measurements: int, terms: np.ndarray | int
) -> np.ndarray:
    """Akaike's information criterion, corrected for few measurements (5.19).

    Parameters
    ----------
    residual_sum : float or ndarray
        Residual sums of squares.
    measurements : int
        How many numbers each is a sum over.
    terms : int or ndarray
        Nonzero coefficients of each model.

    Returns
    -------
    ndarray
        m ln(RSS/m) + 2k + 2(k+1)(k+2)/(m-k-2); the last denominator is held at 1 or more, because
        the correction would turn into a reward with fewer measurements. An exact fit has -inf.
    """
    m, k = measurements, np.asarray(terms, dtype=np.float64)
    with np.errstate(divide="ignore"):
        fit = m * np.log(np.asarray(residual_sum, dtype=np.float64) / m)
    return fit + 2 * k + 2 * (k + 1) * (k + 2) / np.maximum(m - k - 2, 1)


def bic(residual_sum: np.ndarray | float, measurements: int, terms: np.ndarray | int) -> np.ndarray:
    """Bayesian information criterion, m ln(RSS/m) + k ln m; parameters as of `aicc`."""
    m, k = measurements, np.asarray(terms, dtype=np.float64)
    with np.errstate(divide="ignore"):
        fit = m * np.log(np.asarray(residual_sum, dtype=np.float64) / m)
    return fit + k * np.log(m)


def aicc_by_target(
    features: np.ndarray, derivatives: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """AICc of each target alone, for methods that fit targets one by one.

    Parameters
    ----------
    features : ndarray of shape (samples, terms)
        The library on validation data.
    derivatives : ndarray of shape (samples, targets)
    coefficients : ndarray of shape (..., targets, terms)
        One model or many.

    Returns
    -------
    ndarray of shape (..., targets)
    """
    sums = _residual_sums(features, derivatives, coefficients)
    return aicc(sums, len(features), np.count_nonzero(coefficients, axis=-1))


def aicc_jointly(
    features: np.ndarray, derivatives: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """AICc of all targets together, for methods that fit them with common hyperparameters.

    Parameters are those of `aicc_by_target`; the result has shape (...).
    """
    sums = _residual_sums(features, derivatives, coefficients).sum(axis=-1)
    return aicc(sums, derivatives.size, np.count_nonzero(coefficients, axis=(-2, -1)))


def _residual_sums(
    features: np.ndarray, derivatives: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """Sums of squares of each target's residuals, shape (..., targets)."""
    coefficients = np.asarray(coefficients, dtype=np.float64)
    models = coefficients.reshape(-1, *coefficients.shape[-2:])
    sums = [np.square(derivatives - features @ model.T).sum(axis=0) for model in models]
    return np.array(sums).reshape(coefficients.shape[:-1])


def log_mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of the natural logarithms of positive numbers.

    Errors of recovery are averaged so, that one outlier does not drag the mean up by orders of
    magnitude. The standard error is NaN for a single number.
    """
    logs = np.log(np.asarray(values, dtype=np.float64))
    error = logs.std(ddof=1) / np.sqrt(logs.size) if logs.size > 1 else np.nan
    return float(logs.mean()), float(error)
