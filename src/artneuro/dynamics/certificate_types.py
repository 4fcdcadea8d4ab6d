"""What an exact sparse regression says of a model, and what a check of it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artneuro.dynamics.constraints import Constraints
from artneuro.dynamics.rational import RidgeOn

Status = Literal["optimal", "capped", "time_limit", "rounding"]


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

    def fill(self, coef: np.ndarray) -> None:
        """Write the coefficients into an array of shape (targets, features)."""
        coef[self.target, self.support] = self.coef


@dataclass(frozen=True)
class JointCertificate:
    """The same of several targets that constraints couple, with at most `k` terms together.

    Attributes
    ----------
    targets : ndarray of int64
        Which targets.
    k : int
    support : ndarray of bool, shape (targets, features)
    coef : ndarray of float64, shape (targets, features)
    objective : float
        Sum of the targets' objectives times their weights.
    bound, gap, status, nodes, singular, seconds, alpha, ridge_on
        As in Certificate. Where constraints are inequalities, the columns of a support may depend
        on each other.
    coef_cap : float
        The same, of the columns of all targets times the roots of their weights. That a budget is
        too small for the constraints is proven for such coefficients too.
    allowed, forced : ndarray of bool, shape (targets, features)
    weights : ndarray of shape (targets,)
    room : ndarray of int64, shape (targets,)
        Largest number of terms of each target.
    constraints : Constraints
        On these targets.
    """

    targets: np.ndarray
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
    weights: np.ndarray
    room: np.ndarray
    constraints: Constraints

    def fill(self, coef: np.ndarray) -> None:
        """Write the coefficients into an array of shape (all targets, features)."""
        coef[self.targets] = self.coef


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
