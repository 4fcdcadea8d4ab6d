"""Sparse relaxed regularised regression (SR3) with an L0 penalty, compiled.

    min over w, u  of  |y - X w|^2 / 2 + |w - u|^2 / (2 nu) + lambda |u|_0

by turns: w by least squares, u by dropping what of w is below the threshold sqrt(2 lambda nu). All
targets are fitted together. Linear constraints, as in PySINDy's ConstrainedSR3, hold for w, and
what is reported is u. It can take 10,000 turns for each of hundreds of settings, so the turns are
compiled and skip zeros; tests compare them with PySINDy's. Thesis, section 5.3.4.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.linalg import cho_factor, cho_solve

from artneuro.dynamics.compressed import Compressed

# PySINDy's default.
TOLERANCE = 1e-5


def relaxed_fits(
    problem: Compressed,
    nu: float,
    thresholds: np.ndarray,
    most: int,
    *,
    constraint_lhs: np.ndarray | None = None,
    constraint_rhs: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients for one relaxation and several thresholds.

    Parameters
    ----------
    problem : Compressed
    nu : float
        How far the two sets of coefficients may be apart.
    thresholds : ndarray of shape (thresholds,)
    most : int
        Largest number of turns.
    constraint_lhs, constraint_rhs : ndarray, optional
        A and b of A xi = b: shapes (constraints, targets * terms), one target after the other, and
        (constraints,).

    Returns
    -------
    coefficients : ndarray of shape (thresholds, targets, terms)
    turns : ndarray of int, shape (thresholds,)
        Taken; `most` without convergence.
    """
    library, targets = problem.library, problem.targets
    terms, count = problem.terms, targets.shape[1]
    start = np.linalg.lstsq(library, targets)[0].T
    inverse = cho_solve(
        cho_factor(library.T @ library + np.eye(terms) / nu), np.eye(terms), check_finite=False
    )
    inverse = (inverse + inverse.T) / 2
    constant = (library.T @ targets).T @ inverse
    if constraint_lhs is None:
        turn = inverse / nu
    else:
        if constraint_rhs is None:
            constraint_rhs = np.zeros(len(constraint_lhs))
        whole = np.kron(np.eye(count), inverse)
        reached = whole @ constraint_lhs.T
        back = np.linalg.solve(constraint_lhs @ reached, reached.T).T
        # w = H^-1 g, moved along H^-1 A' to where A w = b.
        constant = constant.ravel() + back @ (constraint_rhs - constraint_lhs @ constant.ravel())
        constant = constant[None, :]
        turn = (whole - back @ (constraint_lhs @ whole)) / nu
        turn = (turn + turn.T) / 2
        start = start.reshape(1, -1)
    turn, constant = np.ascontiguousarray(turn), np.ascontiguousarray(constant)
    found = np.empty((len(thresholds), count, terms))
    turns = np.empty(len(thresholds), dtype=np.int64)
    for i, threshold in enumerate(thresholds):
        sparse = start.copy()
        turns[i] = _take_turns(turn, constant, sparse, threshold, TOLERANCE * nu, most)
        found[i] = sparse.reshape(count, terms)
    return found, turns


@njit(cache=True)
def _take_turns(turn, constant, sparse, threshold, tolerance, most):  # pragma: no cover - compiled
    """Turns until the coefficients move by less than the tolerance; `sparse` is overwritten.

    Parameters
    ----------
    turn : ndarray of shape (terms, terms)
        Symmetric: w = constant + turn u.
    constant, sparse : ndarray of shape (targets, terms)
    threshold, tolerance : float
    most : int
    """
    targets, terms = sparse.shape
    full = np.empty(terms)
    for step in range(most):
        moved = 0.0
        for t in range(targets):
            for j in range(terms):
                full[j] = constant[t, j]
            for i in range(terms):
                value = sparse[t, i]
                if value != 0.0:
                    for j in range(terms):
                        full[j] += value * turn[i, j]
            for j in range(terms):
                kept = full[j] if abs(full[j]) > threshold else 0.0
                moved += (kept - sparse[t, j]) ** 2
                sparse[t, j] = kept
        if np.sqrt(moved) < tolerance:
            return step + 1
    return most
