"""Least squares on a few columns in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np

RidgeOn = Literal["raw", "scaled"]

# Bits of a float's significand.
_BITS = 53
# Of a column's squared length: below this, what stands out from other columns is rounding.
_SINGULAR = Fraction(1, 10**26)


class ExactProducts:
    """Inner products of columns of a library and a target, made when they are first needed.

    Every float is an integer times a power of two, so a column is a list of integers with one
    exponent.

    Parameters
    ----------
    X : ndarray of shape (rows, features)
    y : ndarray of shape (rows,)
    alpha : float
        Penalty of the squared coefficients.
    ridge_on : {"raw", "scaled"}
        Of the columns as they are, or scaled to unit length.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, alpha: float, ridge_on: RidgeOn) -> None:
        self.X, self.alpha, self.ridge_on = X, Fraction(float(alpha)), ridge_on
        self.y = _integers(y)
        self.columns: dict[int, tuple[np.ndarray, int]] = {}
        self.gram: dict[tuple[int, int], Fraction] = {}
        self.moment: dict[int, Fraction] = {}
        self.total = _product(self.y, self.y)

    def column(self, j: int) -> tuple[np.ndarray, int]:
        """A column as integers, with its exponent."""
        if j not in self.columns:
            self.columns[j] = _integers(self.X[:, j])
            self.moment[j] = _product(self.columns[j], self.y)
        return self.columns[j]

    def entry(self, i: int, j: int) -> Fraction:
        """Of the Gram matrix, with the penalty on its diagonal."""
        i, j = min(i, j), max(i, j)
        if (i, j) not in self.gram:
            value = _product(self.column(i), self.column(j))
            if i == j:
                value += self.alpha * (value if self.ridge_on == "scaled" else 1)
            self.gram[i, j] = value
        return self.gram[i, j]

    def objective(self, names: tuple[int, ...], coef: list[Fraction]) -> Fraction:
        """|y - X coef|^2 with its penalty."""
        value = self.total
        for a, i in enumerate(names):
            self.column(i)
            value -= 2 * coef[a] * self.moment[i]
            for b, j in enumerate(names):
                value += coef[a] * coef[b] * self.entry(i, j)
        return value

    def solve(self, names: tuple[int, ...]) -> tuple[Fraction, list[Fraction]] | None:
        """The least objective on columns and its coefficients; None if they depend on each other as
        far as float64 can tell.
        """
        gram = [[self.entry(i, j) for j in names] for i in names]
        for i in names:
            self.column(i)
        return minimise(gram, [self.moment[i] for i in names], self.total)


def minimise(
    gram: list[list[Fraction]], moment: list[Fraction], total: Fraction
) -> tuple[Fraction, list[Fraction]] | None:
    """The least of `total` - 2 moment x + x gram x, and its x; None if a pivot of `gram` is nothing
    but the rounding of float64.
    """
    rows = [[*line, m] for line, m in zip(gram, moment, strict=True)]
    value = total
    for p, row in enumerate(rows):
        if row[p] <= gram[p][p] * _SINGULAR:
            return None
        for below in rows[p + 1 :]:
            share = below[p] / row[p]
            for q in range(p, len(row)):
                below[q] -= share * row[q]
        value -= row[-1] * row[-1] / row[p]
    x = [Fraction(0)] * len(rows)
    for p in range(len(rows) - 1, -1, -1):
        left = rows[p][-1]
        for q in range(p + 1, len(rows)):
            left -= rows[p][q] * x[q]
        x[p] = left / rows[p][p]
    return value, x


def _integers(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers (as Python objects) and the exponent of two that they are to be multiplied with."""
    mantissa, exponent = np.frexp(values)
    some = values != 0
    least = int(exponent[some].min()) if some.any() else 0
    whole = (mantissa * 2.0**_BITS).astype(np.int64)
    shift = np.where(some, exponent - least, 0)
    shifted = [int(w) << int(s) for w, s in zip(whole, shift, strict=True)]
    return np.array(shifted, dtype=object), least - _BITS


def _product(a: tuple[np.ndarray, int], b: tuple[np.ndarray, int]) -> Fraction:
    whole, power = int(a[0] @ b[0]), a[1] + b[1]
    return Fraction(whole * 2**power) if power >= 0 else Fraction(whole, 2**-power)
