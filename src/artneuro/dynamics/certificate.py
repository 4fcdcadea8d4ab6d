"""A check of what an exact sparse regression says, in rational arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import numpy as np

from artneuro.core.errors import DataError
from artneuro.dynamics.certificate_types import (
    Certificate,
    JointCertificate,
    Status,
    Verification,
)
from artneuro.dynamics.joint_products import JointProducts
from artneuro.dynamics.rational import ExactProducts

__all__ = ["Certificate", "JointCertificate", "Status", "Verification", "verify"]

# Objectives this close to each other, relative to them, are ties.
_TIE = 1e-9
# Constraints hold if they are met up to this share of what they add up.
_MET = 1e-8


def verify(
    certificate: Certificate | JointCertificate,
    X: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    most: int = 2000,
) -> Verification:
    """Check a certificate in rational arithmetic, without anything of the search.

    Parameters
    ----------
    certificate : Certificate or JointCertificate
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
        bound by more than a part in 1e9; if the coefficients do not meet the constraints.
    """
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    y = y.reshape(X.shape[0], -1)
    if sample_weight is not None:
        root = np.sqrt(np.broadcast_to(np.asarray(sample_weight, np.float64), X.shape[0]))
        X, y = X * root[:, None], y * root[:, None]
    if isinstance(certificate, JointCertificate):
        return _verify_jointly(certificate, X, y[:, certificate.targets], most)
    y = y[:, certificate.target if y.shape[1] > 1 else 0]
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


def _verify_jointly(
    certificate: JointCertificate, X: np.ndarray, y: np.ndarray, most: int
) -> Verification:
    table = JointProducts(
        X, y, certificate.alpha, certificate.ridge_on, certificate.weights, certificate.constraints
    )
    names = _pairs(certificate.support)
    coef = [Fraction(float(certificate.coef[t, j])) for t, j in names]
    outside = np.where(certificate.support, 0.0, certificate.coef)
    _require(not outside.any(), "coefficients outside of the support")
    used = certificate.support.sum(axis=1)
    _require(
        used.sum() <= certificate.k
        and bool((used <= certificate.room).all())
        and not (certificate.support & ~certificate.allowed).any()
        and not (certificate.forced & ~certificate.support).any(),
        f"the support {names} has more terms than allowed, or others than are allowed or forced",
    )
    off = table.violation(names, coef)
    _require(off <= _MET, f"a constraint is missed by {off:.3g} of what it adds up")
    value, size = table.objective(names, coef), table.total
    _require(
        abs(value - Fraction(certificate.objective)) <= Fraction(_TIE) * value + _tiny(size),
        f"the objective is {float(value):.12g}, and the certificate says "
        f"{certificate.objective:.12g}",
    )
    best = table.solve(names)
    if best is None:
        raise DataError(f"the columns {names} of a certificate depend on each other")
    # Coefficients that are rounded may miss constraints, and be better by that.
    slack = Fraction(_MET) * (value + size)
    _require(
        value - best[0] <= Fraction(_TIE) * value + _tiny(size) and best[0] - value <= slack,
        f"the support {names} has coefficients with the objective {float(best[0]):.12g}, and the "
        f"certificate's have {float(value):.12g}",
    )
    _require(
        certificate.bound <= certificate.objective,
        f"the bound {certificate.bound:.12g} is above the objective {certificate.objective:.12g}",
    )
    others, checked = _other_masks(certificate, names, most)
    better: tuple[tuple[int, int], ...] | None = None
    lowest, count = Fraction(certificate.bound) * (1 - Fraction(_TIE)) - _tiny(size), 0
    for other in others:
        count += 1
        found = table.solve(other, below=lowest)
        if found is not None and found[0] < lowest:
            better, lowest = other, found[0]
    _require(
        better is None,
        f"the support {better} has the objective {float(lowest):.12g}, below the bound "
        f"{certificate.bound:.12g}",
    )
    return Verification(float(value), float(best[0]), checked, count)


def _pairs(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Target and feature of each entry of a mask."""
    return tuple((int(t), int(j)) for t, j in np.argwhere(mask))


def _other_masks(
    certificate: JointCertificate, support: tuple[tuple[int, int], ...], most: int
) -> tuple[Iterable[tuple[tuple[int, int], ...]], Literal["all", "neighbours"]]:
    """Supports to compare with, as pairs of target and feature."""
    forced = _pairs(certificate.forced)
    free = _pairs(certificate.allowed & ~certificate.forced)
    k = min(certificate.k, len(free) + len(forced))

    def fits(names: tuple[tuple[int, int], ...]) -> bool:
        used = np.bincount([t for t, _ in names], minlength=len(certificate.room))
        return len(names) <= k and bool((used <= certificate.room).all())

    more = range(k - len(forced) + 1)
    if sum(math.comb(len(free), n) for n in more) <= most:
        picks = (forced + p for n in more for p in itertools.combinations(free, n))
        return (tuple(sorted(p)) for p in picks if fits(p)), "all"
    outside = [j for j in free if j not in support]
    bases = [support] + [tuple(j for j in support if j != i) for i in support if i not in forced]
    found = {tuple(sorted([*base, j])) for base in bases for j in outside}
    return [names for names in sorted(found - {support}) if fits(names)], "neighbours"
