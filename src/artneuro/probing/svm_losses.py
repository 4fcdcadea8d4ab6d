"""Losses of linear support vector machines, and dual points that respect their constraints."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

HINGE, SQUARED_HINGE, SQUARED_ERROR = 0, 1, 2
LOSSES = {"hinge": HINGE, "squared_hinge": SQUARED_HINGE, "squared_error": SQUARED_ERROR}


class Rows(NamedTuple):
    """Rows of a problem, with what the dual variables of the other rows add if these stay fixed.

    Attributes
    ----------
    signed : ndarray of shape (units, rows)
        sqrt(gamma) * y_i * x_ij of centred activations, one neuron a line.
    y : ndarray of shape (rows,)
        1 or -1.
    weight : ndarray of shape (rows,)
        Weights of the rows in the loss.
    pull : ndarray of shape (units,)
        Sum of alpha_i * signed_ij over the rows that are left out.
    total, positive, negative : float
        Sum of alpha over all rows that are left out, and over those of each class.
    rounding : float
        What rounding may add to a bound, relative to the numbers that it is the difference of.
    """

    signed: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    pull: np.ndarray
    total: float
    positive: float
    negative: float
    rounding: float


def all_rows(signed: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Rows:
    """A problem of which no row is left out."""
    # A pull is a sum over rows that may cancel; the square root of twice the total bounds it.
    largest = float(np.abs(signed).max(initial=1.0))
    rounding = max(1e-12, 4 * np.finfo(np.float64).eps * y.size * largest)
    return Rows(signed, y, weight, np.zeros(signed.shape[0]), 0.0, 0.0, 0.0, rounding)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def loss_sum(margin, weight, kind):  # pragma: no cover - compiled
    """Weighted loss of all margins y_i f_i."""
    total = 0.0
    if kind == 0:
        for i in range(margin.size):
            total += weight[i] * max(1.0 - margin[i], 0.0)
    elif kind == 1:
        for i in range(margin.size):
            total += weight[i] * max(1.0 - margin[i], 0.0) ** 2
    else:
        for i in range(margin.size):
            total += weight[i] * (1.0 - margin[i]) ** 2
    return total


@njit(cache=True, nogil=True)
def slopes(weight, kind, delta, curvature, cap):  # pragma: no cover - compiled
    """Curvature and largest slope of each row's loss, in place; returns the smallest slope.

    The hinge is smoothed: quadratic where the margin is between 1 - delta and 1.
    """
    for i in range(weight.size):
        if kind == 0:
            curvature[i] = weight[i] / delta
            cap[i] = weight[i]
        else:
            curvature[i] = 2.0 * weight[i]
            cap[i] = np.inf
    return -np.inf if kind == 2 else 0.0


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dual_point(margin, curvature, cap, low, alpha):  # pragma: no cover - compiled
    """Minus the derivative of each row's loss, in place."""
    for i in range(margin.size):
        alpha[i] = min(max(curvature[i] * (1.0 - margin[i]), low), cap[i])


@njit(cache=True, nogil=True)
def balance(alpha, y, positive, negative, low):  # pragma: no cover - compiled
    """Move alpha, in place, to where both classes sum to the same; False if that cannot be.

    `positive` and `negative` are the sums over rows that are left out. Values stay within their
    bounds, because they only shrink where they are bounded.
    """
    up, down = positive, negative
    for i in range(y.size):
        if y[i] > 0:
            up += alpha[i]
        else:
            down += alpha[i]
    if low < 0.0:
        for i in range(y.size):
            alpha[i] -= y[i] * (up - down) / y.size
        return True
    larger, fixed, sign = (up, positive, 1.0) if up > down else (down, negative, -1.0)
    smaller = min(up, down)
    if larger == smaller:
        return True
    if larger <= fixed or smaller < fixed:
        return False
    factor = (smaller - fixed) / (larger - fixed)
    for i in range(y.size):
        if y[i] * sign > 0:
            alpha[i] *= factor
    return True


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dual_total(alpha, curvature, kind):  # pragma: no cover - compiled
    """The part of the dual objective that does not depend on the support."""
    total = 0.0
    for i in range(alpha.size):
        total += alpha[i]
        if kind != 0:
            total -= alpha[i] * alpha[i] / (2.0 * curvature[i])
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def smoothing(margin, alpha, weight, delta):  # pragma: no cover - compiled
    """How much the smoothed hinge lies below the hinge, and the smoothed dual below the dual."""
    loss, dual = 0.0, 0.0
    for i in range(margin.size):
        t = min(max(1.0 - margin[i], 0.0), delta)
        # The difference is the same for all margins below 1 - delta.
        loss += weight[i] * (t - 0.5 * t * t / delta)
        dual += 0.5 * delta * alpha[i] * alpha[i] / weight[i]
    return loss, dual
