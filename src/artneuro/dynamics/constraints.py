"""Linear constraints on the coefficients of all targets together, and which targets they couple.

Thesis, section 5.2.3. PySINDy's conventions: a row of the left-hand side has an entry for each
coefficient of each target, target after target or feature after feature, and is an equality unless
it is said to be an inequality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artneuro.dynamics.parameter_error import ParameterError

Order = Literal["target", "feature"]


@dataclass(frozen=True)
class Constraints:
    """What coefficients xi of shape (targets, features) have to meet.

    Attributes
    ----------
    lhs : ndarray of shape (constraints, targets, features)
    rhs : ndarray of shape (constraints,)
        The sum of lhs * xi is `rhs`, or for inequalities at most `rhs`.
    inequalities : int
        How many of them are inequalities: the first ones.
    bound : ndarray of shape (targets, features)
        Absolute values of xi are at most this; infinite where there is no bound.
    """

    lhs: np.ndarray
    rhs: np.ndarray
    inequalities: int
    bound: np.ndarray

    def of(self, targets: np.ndarray) -> Constraints:
        """Those on some targets alone."""
        mine = np.any(self.lhs[:, targets], axis=(1, 2))
        first = int(mine[: self.inequalities].sum())
        return Constraints(self.lhs[mine][:, targets], self.rhs[mine], first, self.bound[targets])

    def coupled(self) -> list[np.ndarray]:
        """Sets of targets that share no constraint with each other, as sorted arrays."""
        group = list(range(self.lhs.shape[1]))
        for touched in np.any(self.lhs, axis=2):
            names = {group[t] for t in np.flatnonzero(touched)}
            group = [min(names) if g in names else g for g in group]
        return [np.flatnonzero(np.array(group) == g) for g in sorted(set(group))]

    def touch(self, targets: np.ndarray) -> bool:
        """Is there any constraint or bound on these targets?"""
        return bool(self.lhs[:, targets].any() or np.isfinite(self.bound[targets]).any())


def couplings(targets: int, constraints: Constraints | None) -> list[np.ndarray]:
    """Sets of targets that can be searched alone."""
    if constraints is None:
        return [np.array([t]) for t in range(targets)]
    return constraints.coupled()


def make_constraints(
    targets: int, features: int, lhs: np.ndarray | None, rhs: np.ndarray | None, *,
    order: Order = "target", inequality: bool = False, separation: int | None = None,
    bound: float | np.ndarray | None = None,
) -> Constraints | None:  # fmt: skip
    """Check constraints as they are given to an estimator; None if there are none.

    Parameters
    ----------
    targets, features : int
    lhs : ndarray of shape (constraints, targets * features), optional
    rhs : ndarray of shape (constraints,), optional
    order : {"target", "feature"}
        Whether the first entries of a row are all features of the first target, or the first
        feature of all targets.
    inequality : bool
        Are there inequalities? Then all are, or the first `separation`.
    separation : int, optional
    bound : float or ndarray of shape (features,) or (targets, features), optional

    Raises
    ------
    ParameterError
        If they do not fit the data or each other.
    """
    if (lhs is None) != (rhs is None):
        raise ParameterError(
            "only one side of the constraints", where="constraint_lhs, constraint_rhs"
        )
    if lhs is None and bound is None:
        return None
    if order not in ("target", "feature"):
        raise ParameterError(
            f"unknown: {order!r}", where="constraint_order", fix="target or feature"
        )
    left, right = _sides(targets, features, lhs, rhs, order)
    if not inequality and separation not in (None, 0):
        raise ParameterError(
            "a number of inequalities without inequalities",
            where="constraint_separation_index",
            fix="set inequality_constraints",
        )
    first = (len(right) if separation is None else separation) if inequality else 0
    if not 0 <= first <= len(right):
        raise ParameterError(
            f"{first} inequalities of {len(right)} constraints", where="constraint_separation_index"
        )
    most = np.asarray(np.inf if bound is None else bound, dtype=np.float64)
    if most.shape not in ((), (features,), (targets, features)) or not (most >= 0.0).all():
        raise ParameterError(
            "bounds of coefficients that are negative or do not fit the library",
            where="coef_bound",
            fix=f"give one number, or shape {(features,)} or {(targets, features)}",
        )
    _check_empty(left, right, first)
    some = np.any(left, axis=(1, 2))
    return Constraints(
        left[some],
        right[some],
        int(some[:first].sum()),
        np.broadcast_to(most, (targets, features)),
    )


def _sides(
    targets: int, features: int, lhs: np.ndarray | None, rhs: np.ndarray | None, order: Order
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as arrays of shape (constraints, targets, features) and (constraints,)."""
    if lhs is None or rhs is None:
        return np.zeros((0, targets, features)), np.zeros(0)
    left = np.atleast_2d(np.asarray(lhs, dtype=np.float64))
    right = np.atleast_1d(np.asarray(rhs, dtype=np.float64))
    if left.shape != (right.size, targets * features) or right.ndim != 1:
        raise ParameterError(
            f"constraints of shape {left.shape} with {right.shape} right-hand sides for "
            f"{targets} targets with {features} features",
            where="constraint_lhs, constraint_rhs",
            fix=f"give shapes (constraints, {targets * features}) and (constraints,)",
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ParameterError("values that are not finite", where="constraint_lhs, constraint_rhs")
    if order == "feature":
        return left.reshape(-1, features, targets).transpose(0, 2, 1).copy(), right
    return left.reshape(-1, targets, features), right


def _check_empty(lhs: np.ndarray, rhs: np.ndarray, inequalities: int) -> None:
    """Constraints without coefficients hold, or never do."""
    empty = ~np.any(lhs, axis=(1, 2))
    wrong = np.where(np.arange(rhs.size) < inequalities, rhs < 0.0, rhs != 0.0)
    if (empty & wrong).any():
        row = int(np.flatnonzero(empty & wrong)[0])
        raise ParameterError(
            f"constraint {row} has no coefficients, and asks for {rhs[row]:g}",
            where="constraint_lhs, constraint_rhs",
        )
