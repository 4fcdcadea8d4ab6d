"""Linear probes of a system's state: on the residual stream, and on the input alone.

Thesis, section 5.4: ridge regression, fitted on the first part of a sequence, tested on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

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
        The ridge penalties that were chosen on the training rows.
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
    features: np.ndarray,
    targets: np.ndarray,
    train: slice,
    test: slice,
    penalties: np.ndarray,
    folds: int = 5,
) -> Probe:
    """Fit ridge regressions of several targets, each with its own penalty.

    Parameters
    ----------
    features : ndarray of shape (row, feature)
        In the order of time. Scaled by their standard deviations on the training rows.
    targets : ndarray of shape (row, target)
    train, test : slice
        Rows.
    penalties : ndarray of shape (n,)
        Ridge penalties to choose from, ascending: the least squared error on the parts of the
        training rows that were left out.
    folds : int
        See `left_out_errors`.

    Returns
    -------
    Probe
    """
    X = np.asarray(features, dtype=np.float64)
    centre, spread = X[train].mean(axis=0), X[train].std(axis=0)
    spread[spread <= FLOOR * max(float(spread.max()), FLOOR)] = 1.0
    X = (X - centre) / spread
    y = np.asarray(targets, dtype=np.float64)
    middle = y[train].mean(axis=0)
    # One decomposition for all targets, penalties and folds.
    values, vectors = linalg.eigh(X[train] @ X[train].T)
    values = np.maximum(values, 0.0)
    errors = left_out_errors(values, vectors, y[train] - middle, penalties, folds)
    best = errors.argmin(axis=0)
    penalty = penalties[best]
    weights = vectors @ ((vectors.T @ (y[train] - middle)) / (values[:, None] + penalty))

    def read(rows: slice) -> np.ndarray:
        return X[rows] @ (X[train].T @ weights) + middle

    estimate = read(test)
    residual = y[test] - estimate
    return Probe(
        estimate,
        r_squared(y[test], estimate),
        np.square(residual).mean(axis=0),
        np.abs(residual).mean(axis=0),
        r_squared(y[train], read(train)),
        penalty,
        (best == 0) | (best == len(penalties) - 1),
    )


def left_out_errors(
    values: np.ndarray,
    vectors: np.ndarray,
    targets: np.ndarray,
    penalties: np.ndarray,
    folds: int,
) -> np.ndarray:
    """Squared errors on rows that are left out, for every penalty, without fitting anew.

    With H the matrix that maps targets to fitted values, the errors of a block B of rows that is
    left out are (1 - H_BB)^-1 times its residuals: exact, intercept included.

    Parameters
    ----------
    values, vectors : ndarray of shape (row,), (row, row)
        Eigenvalues and eigenvectors of the products of all pairs of centred rows.
    targets : ndarray of shape (row, target)
        Centred.
    penalties : ndarray of shape (n,)
    folds : int
        Consecutive parts of the rows that are left out in turn. In a time series a single row would
        be given away by its neighbours. 0: each row alone.

    Returns
    -------
    ndarray of shape (n, target)
    """
    rows = len(targets)
    blocks = np.array_split(np.arange(rows), folds or rows)
    found = np.zeros((len(penalties), targets.shape[1]))
    turned = vectors.T @ targets
    for at, penalty in enumerate(penalties):
        kept = values / (values + penalty)
        residual = targets - vectors @ (kept[:, None] * turned)
        for block in blocks:
            part = vectors[block]
            hat = (part * kept) @ part.T + 1 / rows
            errors = linalg.solve(np.eye(len(block)) - hat, residual[block], assume_a="pos")
            found[at] += np.square(errors).sum(axis=0)
    return found


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
