"""Objectives of several targets under constraints in rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from artneuro.dynamics.constraints import Constraints
from artneuro.dynamics.rational import ExactProducts, RidgeOn
from artneuro.dynamics.rational_constrained import Quadratic, Row, solve_under

# Rounding of a coefficient, for columns and targets of unit length.
_BLUR = 1e-13
# Terms: pairs of a target and a feature.
Names = tuple[tuple[int, int], ...]


class JointProducts:
    """Inner products of a library with several targets, made when they are first needed.

    Parameters
    ----------
    X : ndarray of shape (rows, features)
    y : ndarray of shape (rows, targets)
    alpha : float
    ridge_on : {"raw", "scaled"}
    weights : ndarray of shape (targets,)
        Of the targets' objectives.
    constraints : Constraints
        On these targets.
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray, alpha: float, ridge_on: RidgeOn, weights: np.ndarray,
        constraints: Constraints,
    ) -> None:  # fmt: skip
        self.tables = [ExactProducts(X, line, alpha, ridge_on) for line in y.T]
        self.weights = [Fraction(float(w)) for w in weights]
        self.constraints = constraints
        self.total = sum(
            (w * table.total for w, table in zip(self.weights, self.tables, strict=True)),
            Fraction(0),
        )

    def problem(self, names: Names) -> Quadratic:
        """The objective of coefficients of some terms."""
        gram = [
            [self.weights[t] * self.tables[t].entry(i, j) if t == u else Fraction(0)
             for u, j in names]
            for t, i in names
        ]  # fmt: skip
        for t, i in names:
            self.tables[t].column(i)
        moment = [self.weights[t] * self.tables[t].moment[i] for t, i in names]
        return Quadratic(gram, moment, self.total)

    def limits(self, names: Names) -> tuple[list[Row], Row, list[Row], Row]:
        """Equalities of some terms, and inequalities with bounds: both sides of both."""
        first = self.constraints.inequalities
        rows = [[Fraction(float(line[t, j])) for t, j in names] for line in self.constraints.lhs]
        sides = [Fraction(float(v)) for v in self.constraints.rhs]
        upper, most = rows[:first], sides[:first]
        for p, (t, j) in enumerate(names):
            bound = float(self.constraints.bound[t, j])
            if np.isfinite(bound):
                for sign in (1, -1):
                    upper.append([Fraction(sign * (p == q)) for q in range(len(names))])
                    most.append(Fraction(bound))
        return rows[first:], sides[first:], upper, most

    def objective(self, names: Names, coef: list[Fraction]) -> Fraction:
        """The weighted sum of the targets' objectives."""
        problem = self.problem(names)
        value = problem.total
        for a, x in enumerate(coef):
            value -= 2 * x * problem.moment[a]
            for b, z in enumerate(coef):
                value += x * z * problem.gram[a][b]
        return value

    def violation(self, names: Names, coef: list[Fraction]) -> float:
        """How far the constraint that is missed most is missed, as a share of what it adds up. What
        coefficients are rounded by, next to the target's length, is no violation.
        """
        lhs, rhs, upper, most = self.limits(names)
        lengths = [self.tables[t].entry(j, j) * self.weights[t] for t, j in names]
        blur = [_BLUR * math.sqrt(self.total / size) for size in lengths]
        worst = 0.0
        for row, value, equal in (
            *((row, value, True) for row, value in zip(lhs, rhs, strict=True)),
            *((row, value, False) for row, value in zip(upper, most, strict=True)),
        ):
            off = float(sum((a * x for a, x in zip(row, coef, strict=True)), -value))
            off = abs(off) if equal else max(off, 0.0)
            size = float(sum((abs(a * x) for a, x in zip(row, coef, strict=True)), abs(value)))
            off -= sum(float(abs(a)) * b for a, b in zip(row, blur, strict=True))
            if off > 0.0:
                worst = max(worst, off / size)
        return worst

    def solve(
        self, names: Names, below: Fraction | None = None
    ) -> tuple[Fraction, list[Fraction]] | None:
        """The least objective with some terms and its coefficients; None if nothing meets the
        constraints, or the columns depend on each other as far as float64 can tell. A value that is
        not `below` may be a lower bound.
        """
        lhs, rhs, upper, most = self.limits(names)
        return solve_under(self.problem(names), lhs, rhs, upper, most, below)
