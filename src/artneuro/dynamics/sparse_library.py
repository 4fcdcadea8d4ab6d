"""A library of terms for exact sparse regression: scaled, penalised, and in orthogonal factors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dgeqrf

from artneuro.core.errors import DataError
from artneuro.dynamics.leaps_restart import DIAGONAL
from artneuro.dynamics.leaps_tree import Base
from artneuro.dynamics.rational import RidgeOn

# Rows that are factored at a time: with a library's columns they fit into a core's cache.
_ROWS = 1024


@dataclass(frozen=True)
class Factor:
    """Orthogonal factor of a library and its targets, shared by all penalties.

    Attributes
    ----------
    norms : ndarray of shape (columns,)
        Lengths of the library's columns.
    triangle : ndarray of shape (length, columns)
        Factor of the columns scaled to unit length; zero columns stay zero.
    targets : ndarray of shape (length, targets)
        Targets in the same coordinates.
    rest : ndarray of shape (targets,)
        Squared distances of the targets from the span of the columns.
    sizes : ndarray of shape (targets,)
        Lengths of the targets.
    """

    norms: np.ndarray
    triangle: np.ndarray
    targets: np.ndarray
    rest: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Library:
    """A library with its penalty, over columns of unit length.

    Attributes
    ----------
    usable : ndarray of int64
        Columns that take part.
    scale : ndarray of shape (usable,)
        Lengths of these columns, the root of the penalty included.
    penalty : ndarray of shape (usable,)
        Of each squared coefficient, for columns as they were.
    columns : ndarray of shape (usable, length)
        One column a line.
    targets, rest, sizes : ndarray
        As in Factor.
    geometry : Geometry
        Of all of these columns.
    """

    usable: np.ndarray
    scale: np.ndarray
    penalty: np.ndarray
    columns: np.ndarray
    targets: np.ndarray
    rest: np.ndarray
    sizes: np.ndarray
    geometry: Geometry


@dataclass(frozen=True)
class Geometry:
    """What the search needs of a set of columns, for all targets (the last axis of `corr`,
    `dual_corr` and `rest`); see Base.

    `trace` is that of the inverse Gram matrix, `widest` the largest eigenvalue of `dual`, and
    `diagonal` what was added to the squared singular values to have one.
    """

    names: np.ndarray
    gram: np.ndarray
    dual: np.ndarray
    corr: np.ndarray
    dual_corr: np.ndarray
    rest: np.ndarray
    trace: float
    widest: float
    diagonal: float

    @property
    def spread(self) -> float:
        """Lower bound of the smallest singular value."""
        return 0.0 if self.diagonal else 1.0 / math.sqrt(max(self.trace, 1.0))

    def base(self, target: int, cap: float) -> Base:
        """The search's view for one target and coefficients up to `cap`."""
        return Base(
            self.names,
            self.gram,
            self.dual,
            np.ascontiguousarray(self.corr[:, target]),
            np.ascontiguousarray(self.dual_corr[:, target]),
            float(self.rest[target]),
            self.diagonal * cap * cap,
            self.trace,
            self.widest,
        )


def factorise(X: np.ndarray, y: np.ndarray) -> Factor:
    """Orthogonal factor of a library X (rows, columns) and targets y (rows, targets).

    Raises
    ------
    DataError
        If values are not finite or the shapes do not fit.
    """
    if X.ndim != 2 or y.ndim != 2 or X.shape[0] != y.shape[0] or not X.size or not y.size:
        raise DataError(
            f"a library of shape {X.shape} does not fit targets of shape {y.shape}",
            fix="give one row a time to both",
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise DataError(
            "the library or a target has values that are not finite",
            fix="leave those rows out, or look where the trajectory diverges",
        )
    columns = X.shape[1]
    norms = np.sqrt(np.einsum("ij,ij->j", X, X))
    triangle = np.empty((0, columns + y.shape[1]))
    for start in range(0, X.shape[0], _ROWS):
        # Rotations treat each column alone, so that lengths can be seen to afterwards.
        rows, above = slice(start, start + _ROWS), triangle.shape[0]
        both = np.empty((above + X[rows].shape[0], triangle.shape[1]), order="F")
        both[:above], both[above:, :columns], both[above:, columns:] = triangle, X[rows], y[rows]
        triangle = _triangle(both)
    length = min(columns, triangle.shape[0])
    return Factor(
        norms,
        triangle[:length, :columns] / np.where(norms > 0, norms, 1.0),
        triangle[:length, columns:],
        np.square(triangle[length:, columns:]).sum(axis=0),
        np.sqrt(np.square(y).sum(axis=0)),
    )


def with_penalty(factor: Factor, alpha: float, ridge_on: RidgeOn, allowed: np.ndarray) -> Library:
    """The library of the columns `allowed` (bool) with the penalty alpha |xi|^2.

    `ridge_on` says whether xi are the coefficients of the columns as they are, or of columns that
    were scaled to unit length.
    """
    usable = np.flatnonzero(allowed & (factor.norms > 0))
    norms = factor.norms[usable]
    penalty = np.full(usable.size, alpha) if ridge_on == "raw" else alpha * norms**2
    scale = np.sqrt(norms**2 + penalty)
    triangle, targets, rest = factor.triangle[:, usable], factor.targets, factor.rest
    if alpha > 0.0 and usable.size:
        triangle = np.vstack([triangle * (norms / scale), np.diag(np.sqrt(penalty) / scale)])
        targets = np.vstack([targets, np.zeros((usable.size, targets.shape[1]))])
    if usable.size and (alpha > 0.0 or usable.size < factor.norms.size):
        whole = _triangle(np.hstack([triangle, targets]))
        length = min(usable.size, whole.shape[0])
        triangle, targets = whole[:length, : usable.size], whole[:length, usable.size :]
        rest = rest + np.square(whole[length:, usable.size :]).sum(axis=0)
    return Library(
        usable,
        scale,
        penalty,
        np.ascontiguousarray(triangle.T),
        np.ascontiguousarray(targets.T),
        rest,
        factor.sizes,
        _geometry(np.arange(usable.size), triangle, targets, rest),
    )


def _geometry(
    names: np.ndarray, triangle: np.ndarray, targets: np.ndarray, rest: np.ndarray
) -> Geometry:
    """Both matrices of columns from their triangular factor, made regular if it is not."""
    m, diagonal = names.size, 0.0
    if not m:
        rest = rest + np.square(targets).sum(axis=0)
        triangle, targets = np.zeros((0, 0)), np.zeros((0, targets.shape[1]))
    if triangle.shape[0] < m or (m and np.abs(np.diag(triangle)).min() < DIAGONAL):
        diagonal = DIAGONAL**2
        both = np.hstack([triangle, targets])
        below = np.hstack([DIAGONAL * np.eye(m), np.zeros((m, targets.shape[1]))])
        whole = _triangle(np.vstack([both, below]))
        triangle, targets = whole[:m, :m], whole[:m, m:]
        rest = rest + np.square(whole[m:, m:]).sum(axis=0)
    # Lines of `dual` are orthogonal to all columns but their own, each to the last digits.
    dual = solve_triangular(triangle, np.eye(m), trans="T", check_finite=False).T if m else triangle
    lengths = np.sqrt(np.square(dual).sum(axis=1))
    dual = dual / lengths[:, None]
    dual_gram = np.ascontiguousarray(dual @ dual.T)
    return Geometry(
        names,
        np.ascontiguousarray(triangle.T @ triangle),
        dual_gram,
        triangle.T @ targets,
        dual @ targets,
        rest,
        float(np.square(lengths).sum()),
        float(np.linalg.eigvalsh(dual_gram)[-1]) * (1.0 + 1e-9) if m else 1.0,
        diagonal,
    )


def _triangle(matrix: np.ndarray) -> np.ndarray:
    """The triangular factor of a matrix, which is overwritten if it is in Fortran's order."""
    # NumPy's own takes twice as long.
    factored, _, _, _ = dgeqrf(matrix, lwork=64 * matrix.shape[1], overwrite_a=1)
    return np.triu(factored[: min(matrix.shape)])
