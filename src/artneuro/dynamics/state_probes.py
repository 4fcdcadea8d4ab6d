"""Linear probes of a system's state: on the residual stream, and on the input alone.

Thesis, section 5.4: ridge regression, fitted on the first part of a sequence, tested on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeCV

# A direction that hardly varies is left as it is rather than blown up to unit variance.
FLOOR = 1e-6


@dataclass(frozen=True)
class Probe:
    """Linear probes of several targets on the same features, and how well they do.

    Attributes
    ----------
    estimate : ndarray of shape (test row, target)
        What the probes read on the test rows.
    r2, mse, mae, r2_train : ndarray of shape (target,)
        R2 compares with the mean of the test rows themselves, so it is below 0 for probes that are
        worse than a constant.
    penalty : ndarray of shape (target,)
        The ridge penalties that leave-one-out errors on the training rows chose.
    at_edge : ndarray of bool, shape (target,)
        Is it the smallest or largest that there was to choose from?
    """

    estimate: np.ndarray
    r2: np.ndarray
    mse: np.ndarray
    mae: np.ndarray
    r2_train: np.ndarray
    penalty: np.ndarray
    at_edge: np.ndarray


def fit_probe(
    features: np.ndarray, targets: np.ndarray, train: slice, test: slice, penalties: np.ndarray
) -> Probe:
    """Fit ridge regressions with leave-one-out choice of the penalty, one a target.

    Parameters
    ----------
    features : ndarray of shape (row, feature)
        In the order of time. Scaled by their standard deviations on the training rows.
    targets : ndarray of shape (row, target)
        Scaled likewise.
    train, test : slice
        Rows.
    penalties : ndarray of shape (n,)
        Ridge penalties to choose from, ascending.

    Returns
    -------
    Probe
    """
    X = np.asarray(features, dtype=np.float64)
    centre, spread = X[train].mean(axis=0), X[train].std(axis=0)
    spread[spread <= FLOOR * max(float(spread.max()), FLOOR)] = 1.0
    X = (X - centre) / spread
    y = np.asarray(targets, dtype=np.float64)
    middle, scale = y[train].mean(axis=0), y[train].std(axis=0)
    scale[scale == 0] = 1.0
    model = RidgeCV(alphas=penalties, alpha_per_target=True)
    model.fit(X[train], (y[train] - middle) / scale)

    def read(rows: slice) -> np.ndarray:
        return np.asarray(model.predict(X[rows])).reshape(-1, y.shape[1]) * scale + middle

    estimate = read(test)
    residual = y[test] - estimate
    chosen = np.ravel(model.alpha_)
    return Probe(
        estimate,
        r_squared(y[test], estimate),
        np.square(residual).mean(axis=0),
        np.abs(residual).mean(axis=0),
        r_squared(y[train], read(train)),
        chosen,
        (chosen == penalties[0]) | (chosen == penalties[-1]),
    )


def r_squared(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Share of the variance of each column that is explained; NaN for constant columns."""
    total = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1 - np.square(truth - estimate).sum(axis=0) / total, np.nan)


def state_targets(states: np.ndarray, shifts: Sequence[int]) -> np.ndarray:
    """States at the time of each row and after it.

    Parameters
    ----------
    states : ndarray of shape (value, variable)
    shifts : sequence of int
        Values ahead; 0 is the value just read.

    Returns
    -------
    ndarray of shape (value - largest shift, shifts * variables)
        All variables of the first shift, then those of the next.
    """
    rows = len(states) - max(shifts)
    return np.concatenate([states[shift : shift + rows] for shift in shifts], axis=1)


def delayed(rows: np.ndarray, delays: int) -> np.ndarray:
    """The last rows up to each row beside each other.

    Parameters
    ----------
    rows : ndarray of shape (value, feature)
    delays : int
        How many, the row itself among them. Before the first row stands the first row again.

    Returns
    -------
    ndarray of shape (value, delays * feature)
    """
    padded = np.concatenate([np.repeat(rows[:1], delays - 1, axis=0), rows])
    return np.concatenate(
        [padded[delays - 1 - back : len(padded) - back] for back in range(delays)], axis=1
    )


def digit_indicators(codes: np.ndarray, decimals: int) -> np.ndarray:
    """One indicator for each digit at each place of a number.

    A linear function of them is any sum of functions of the single digits: what a linear probe has
    within its reach where tokens are digits, whatever the model's weights.

    Parameters
    ----------
    codes : ndarray of int, shape (value,)
    decimals : int
        Digits of each number.

    Returns
    -------
    ndarray of float64, shape (value, 10 * decimals)
    """
    digits = np.asarray(codes)[:, None] // 10 ** np.arange(decimals - 1, -1, -1) % 10
    return (digits[:, :, None] == np.arange(10)).reshape(len(digits), -1).astype(np.float64)
