"""What an exact sparse regression says of a model, and a check of it in rational arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from artneuro.core.errors import DataError
from artneuro.dynamics.rational import ExactProducts, RidgeOn

Status = Literal["optimal", "capped", "time_limit", "rounding"]

# Objectives this close to each other, relative to them, are ties.
_TIE = 1e-9


@dataclass(frozen=True)
class Certificate:
    """The best model of at most `k` terms that was found for a target, and what is proven of it.

    Attributes
    ----------
    target, k : int
        Which target; the largest number of terms.
    support : ndarray of int64
        Terms of the model, ascending; fewer than k where more do not lower the objective.
    coef : ndarray of float64
        Their coefficients, for columns as they are.
    objective : float
        |y - X coef|^2 + penalty |coef|^2, the constant |y|^2 included.
    bound : float
        No support of at most k terms has a lower objective.
    gap : float
        (objective - bound) / objective; 0 where the objective is zero up to rounding.
    status : {"optimal", "capped", "time_limit", "rounding"}
        "optimal": the gap is within the one asked for, against all supports whose columns are
        independent in float64. "capped": the same, but only against coefficients whose absolute
        values, for columns of unit length, sum to `coef_cap` at most. "time_limit": the gap is what
        could be proven in time. "rounding": more supports are as good, as far as float64 can tell,
        than are held, and the gap is what it cannot tell.
    coef_cap : float
        Infinite unless some columns nearly depend on each other.
    nodes, singular : int
        Nodes of the search for all sizes up to the largest asked for, and supports that it met
        whose columns depend on each other.
    seconds : float
        Of that search.
    alpha : float
        The penalty, of coefficients for columns as they are ("raw") or of unit length ("scaled").
    ridge_on : {"raw", "scaled"}
    allowed : ndarray of bool, shape (features,)
        Columns that could be in the support.
    forced : ndarray of int64
        Columns that had to be.
    """

    target: int
    k: int
    support: np.ndarray
    coef: np.ndarray
    objective: float
    bound: float
    gap: float
    status: Status
    coef_cap: float
    nodes: int
    singular: int
    seconds: float
    alpha: float
    ridge_on: RidgeOn
    allowed: np.ndarray
    forced: np.ndarray


@dataclass(frozen=True)
class Verification:
    """What a check found.

    Attributes
    ----------
    objective : float
        Of the certificate's coefficients.
    least : float
        Of the best coefficients on its support.
    checked : {"all", "neighbours"}
        All supports of at most k terms, or those that differ in one.
    supports : int
        How many were compared.
    """

    objective: float
    least: float
    checked: Literal["all", "neighbours"]
    supports: int


def verify(
    certificate: Certificate,
    X: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    most: int = 2000,
) -> Verification:
    """Check a certificate in rational arithmetic, without anything of the search.

    Parameters
    ----------
    certificate : Certificate
    X : ndarray of shape (rows, features)
        The library.
    y : ndarray of shape (rows,) or (rows, targets)
    sample_weight : ndarray of shape (rows,), optional
        As in the fit.
    most : int
        Where there are no more supports than this, all are compared. Otherwise those that swap or
        add one term: a better one would refute the certificate, but finding none does not prove
        the bound.

    Returns
    -------
    Verification

    Raises
    ------
    DataError
        If the objective is not that of the coefficients, the coefficients are not the best on
        their support, the bound is above the objective, or another support is better than the
        bound by more than a part in 1e9.
    """
    y = np.asarray(y, dtype=np.float64)
    y = y[:, certificate.target] if y.ndim == 2 else y
    X = np.asarray(X, dtype=np.float64)
    if sample_weight is not None:
        root = np.sqrt(np.asarray(sample_weight, dtype=np.float64))
        X, y = X * root[:, None], y * root
    table = ExactProducts(X, y, certificate.alpha, certificate.ridge_on)
    support = tuple(int(j) for j in certificate.support)
    value = table.objective(support, [Fraction(float(c)) for c in certificate.coef])
    best = table.solve(support)
    if best is None:
        raise DataError(f"the columns {support} of a certificate depend on each other")
    solved, size = best[0], table.total
    _require(
        abs(value - Fraction(certificate.objective)) <= Fraction(_TIE) * value + _tiny(size),
        f"the objective is {float(value):.12g}, and the certificate says "
        f"{certificate.objective:.12g}",
    )
    _require(
        value - solved <= Fraction(_TIE) * value + _tiny(size),
        f"the support {support} has coefficients with the objective {float(solved):.12g}, and the "
        f"certificate's have {float(value):.12g}",
    )
    _require(
        certificate.bound <= certificate.objective,
        f"the bound {certificate.bound:.12g} is above the objective {certificate.objective:.12g}",
    )
    others, checked = _others(certificate, support, most)
    better: tuple[int, ...] | None = None
    lowest, count = Fraction(certificate.bound) * (1 - Fraction(_TIE)), 0
    for names in others:
        count += 1
        found = table.solve(names)
        if found is not None and found[0] < lowest - _tiny(size):
            better, lowest = names, found[0]
    _require(
        better is None,
        f"the support {better} has the objective {float(lowest):.12g}, below the bound "
        f"{certificate.bound:.12g}",
    )
    return Verification(float(value), float(solved), checked, count)


def _tiny(size: Fraction) -> Fraction:
    """Rounding of an objective that is zero."""
    return size * Fraction(1, 2**90)


def _require(fine: bool, what: str) -> None:
    if not fine:
        raise DataError(f"a certificate is wrong: {what}", fix="report it, with the library")


def _others(
    certificate: Certificate, support: tuple[int, ...], most: int
) -> tuple[Iterable[tuple[int, ...]], Literal["all", "neighbours"]]:
    """Supports to compare with."""
    forced = [int(j) for j in certificate.forced]
    free = [j for j in np.flatnonzero(certificate.allowed).tolist() if j not in forced]
    k = min(certificate.k, len(free) + len(forced))
    more = range(k - len(forced) + 1)
    if sum(math.comb(len(free), n) for n in more) <= most:
        picks = (p for n in more for p in itertools.combinations(free, n))
        return (tuple(sorted([*forced, *p])) for p in picks), "all"
    found: set[tuple[int, ...]] = set()
    outside = [j for j in free if j not in support]
    bases = [support] if len(support) < k else []
    bases += [tuple(j for j in support if j != i) for i in support if i not in forced]
    for base in bases:
        found |= {tuple(sorted([*base, j])) for j in outside}
    return sorted(found - {support}), "neighbours"
