"""Supports by thresholding and by backward elimination, on compressed regressions.

Both are PySINDy's STLSQ and SSR without its overhead: a grid of hundreds of settings meets the same
ridge regressions over and over, and each is solved once. Tests compare the supports with PySINDy's
on the same data.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from artneuro.dynamics.compressed import Compressed, least_squares

# PySINDy's default.
STLSQ_ITERATIONS = 20
# Diagonal entries of a factor, relative to the largest, below which columns depend on each other.
_DEPENDENT = 1e-14


class RidgeFits:
    """Ridge regressions of one target with one penalty, each support solved once."""

    def __init__(self, problem: Compressed, target: int, alpha: float) -> None:
        self.problem, self.target, self.alpha = problem, target, alpha
        self._known: dict[bytes, np.ndarray] = {}

    def coefficients(self, support: np.ndarray) -> np.ndarray:
        """Coefficients, (terms,), on a support (terms, bool)."""
        key = np.packbits(support).tobytes()
        if key not in self._known:
            size = int(support.sum())
            columns, values = self.problem.library[:, support], self.problem.targets[:, self.target]
            if self.alpha > 0:
                columns = np.vstack([columns, np.sqrt(self.alpha) * np.eye(size)])
                values = np.concatenate([values, np.zeros(size)])
            found = np.zeros(self.problem.terms)
            if size:
                found[support] = least_squares(columns, values)
            self._known[key] = found
        return self._known[key]


def threshold_supports(fits: RidgeFits, thresholds: np.ndarray) -> np.ndarray:
    """Sequentially thresholded least squares (STLSQ).

    Fit, drop coefficients below the threshold, and fit again, until none is dropped.

    Parameters
    ----------
    fits : RidgeFits
    thresholds : ndarray of shape (thresholds,)

    Returns
    -------
    ndarray of bool, shape (thresholds, terms)
    """
    found = np.zeros((len(thresholds), fits.problem.terms), dtype=bool)
    for row, threshold in zip(found, thresholds, strict=True):
        row[:] = True
        for _ in range(STLSQ_ITERATIONS):
            kept = row & (np.abs(fits.coefficients(row)) >= threshold)
            done = np.array_equal(kept, row)
            row[:] = kept
            if done or not row.any():
                break
    return found


def stepwise_supports(problem: Compressed, target: int, alpha: float) -> np.ndarray:
    """Stepwise sparse regression (SSR): drop the smallest coefficient, fit again, and so on.

    Parameters
    ----------
    problem : Compressed
    target : int
    alpha : float
        Ridge penalty.

    Returns
    -------
    ndarray of bool, shape (terms, terms)
        Row k - 1 is the support of k terms.
    """
    terms = problem.terms
    both = np.hstack([problem.library, problem.targets[:, [target]]])
    if alpha > 0:
        below = np.hstack([np.sqrt(alpha) * np.eye(terms), np.zeros((terms, 1))])
        both = np.vstack([both, below])
    triangle = np.zeros((terms + 1, terms + 1))
    factor = np.linalg.qr(both, mode="r")
    triangle[: len(factor)] = factor[: terms + 1]
    dropped = _drop_smallest(triangle[:terms, :terms].copy(), triangle[:terms, terms].copy())
    place = np.empty(terms, dtype=np.int64)
    place[dropped] = np.arange(terms)
    # What is dropped last is in every support.
    return place[None, :] >= terms - 1 - np.arange(terms)[:, None]


@njit(cache=True)
def _drop_smallest(triangle, values):  # pragma: no cover - compiled
    """Order in which columns go; the factor stays triangular by rotations."""
    terms = triangle.shape[0]
    names = np.arange(terms)
    order = np.empty(terms, np.int64)
    coef = np.empty(terms)
    for gone in range(terms):
        size = terms - gone
        largest = 0.0
        for i in range(size):
            largest = max(largest, abs(triangle[i, i]))
        for i in range(size - 1, -1, -1):
            rest = values[i]
            for j in range(i + 1, size):
                rest -= triangle[i, j] * coef[j]
            flat = abs(triangle[i, i]) <= _DEPENDENT * largest
            coef[i] = 0.0 if flat else rest / triangle[i, i]
        least = 0
        for i in range(1, size):
            if abs(coef[i]) < abs(coef[least]):
                least = i
        order[gone] = names[least]
        for j in range(least, size - 1):
            names[j] = names[j + 1]
            for i in range(j + 2):
                triangle[i, j] = triangle[i, j + 1]
        for i in range(least, size - 1):
            a, b = triangle[i, i], triangle[i + 1, i]
            length = np.hypot(a, b)
            if length == 0.0:
                continue
            c, s = a / length, b / length
            triangle[i, i], triangle[i + 1, i] = length, 0.0
            for j in range(i + 1, size - 1):
                a, b = triangle[i, j], triangle[i + 1, j]
                triangle[i, j], triangle[i + 1, j] = c * a + s * b, c * b - s * a
            a, b = values[i], values[i + 1]
            values[i], values[i + 1] = c * a + s * b, c * b - s * a
    return order


def median_support(coefficients: np.ndarray) -> np.ndarray:
    """Terms whose median coefficient over the models of an ensemble is not zero.

    Parameters
    ----------
    coefficients : ndarray of shape (models, ..., terms)

    Returns
    -------
    ndarray of bool, shape (..., terms)
    """
    return np.median(coefficients, axis=0) != 0
