"""A regression in as many rows as it has columns.

Least squares, ridge regression and all that is made of them depend on a library X and its targets y
through X'X, X'y and y'y alone. The triangular factor of [X y] has the same products in D + d rows,
so a trajectory is factored once and every method, setting and target works on that, at a cost that
does not grow with the data. Unlike the products themselves, the factor loses no digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

# Distance of a column from the span of others, relative to its length, that is within rounding.
_DEPENDENT = 1e-13


@dataclass(frozen=True)
class Compressed:
    """The triangular factor of a library and its targets.

    Attributes
    ----------
    factor : ndarray of shape (rows, terms + targets)
        Rows are no more than columns.
    terms : int
        Columns of the library.
    measurements : int
        Rows of the data.
    """

    factor: np.ndarray
    terms: int
    measurements: int

    @property
    def library(self) -> np.ndarray:
        """The library in few rows, (rows, terms)."""
        return self.factor[:, : self.terms]

    @property
    def targets(self) -> np.ndarray:
        """The targets in the same rows, (rows, targets)."""
        return self.factor[:, self.terms :]

    @property
    def norms(self) -> np.ndarray:
        """Lengths of the library's columns; 1 for columns of zeros."""
        lengths = np.sqrt(np.square(self.library).sum(axis=0))
        return np.where(lengths > 0, lengths, 1.0)

    def scaled(self) -> Compressed:
        """The same with library columns of unit length."""
        factor = self.factor.copy()
        factor[:, : self.terms] /= self.norms
        return Compressed(factor, self.terms, self.measurements)

    def residual_sums(self, coefficients: np.ndarray) -> np.ndarray:
        """Residual sums of squares, (targets,), of coefficients (targets, terms)."""
        return np.square(self.targets - self.library @ np.transpose(coefficients)).sum(axis=0)

    def fit(self, target: int, support: np.ndarray) -> np.ndarray:
        """Least-squares coefficients, (terms,), of one target on a support (terms, bool).

        Of dependent columns, those of least norm in units of the columns' lengths.
        """
        found = np.zeros(self.terms)
        if support.any():
            norms = self.norms[support]
            columns = self.library[:, support] / norms
            found[support] = least_squares(columns, self.targets[:, target]) / norms
        return found


def least_squares(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least-squares coefficients of one target, of least norm where columns depend on each other.

    By orthogonal factors, which take a tenth of the time of `numpy.linalg.lstsq`; that one is left
    the cases in which a column is within rounding of the others' span.
    """
    size = columns.shape[1]
    triangle = np.asarray(np.linalg.qr(np.column_stack([columns, values]), mode="r"))
    lengths = np.sqrt(np.square(triangle[:, :size]).sum(axis=0))
    if len(triangle) < size or np.any(np.abs(np.diag(triangle)[:size]) <= _DEPENDENT * lengths):
        return np.asarray(np.linalg.lstsq(columns, values)[0])
    return np.asarray(
        solve_triangular(triangle[:size, :size], triangle[:size, size], check_finite=False)
    )


def compress(library: np.ndarray, targets: np.ndarray) -> Compressed:
    """Factor a library, (measurements, terms), and its targets, (measurements, targets)."""
    both = np.hstack([library, targets])
    factor = np.asarray(np.linalg.qr(both, mode="r"))
    return Compressed(factor, library.shape[1], len(library))


def merge(first: Compressed, second: Compressed) -> Compressed:
    """The factor of the rows of both."""
    factor = np.linalg.qr(np.vstack([first.factor, second.factor]), mode="r")
    return Compressed(np.asarray(factor), first.terms, first.measurements + second.measurements)


def bootstraps(
    library: np.ndarray, targets: np.ndarray, count: int, generator: np.random.Generator
) -> list[Compressed]:
    """Factors of samples of as many rows, drawn with replacement.

    Parameters
    ----------
    library : ndarray of shape (measurements, terms)
    targets : ndarray of shape (measurements, targets)
    count : int
        How many samples.
    generator : Generator
    """
    both, terms, n = np.hstack([library, targets]), library.shape[1], len(library)
    found = []
    for _ in range(count):
        times = np.bincount(generator.integers(n, size=n), minlength=n)
        drawn = times > 0
        rows = np.sqrt(times[drawn])[:, None] * both[drawn]
        found.append(Compressed(np.asarray(np.linalg.qr(rows, mode="r")), terms, n))
    return found
