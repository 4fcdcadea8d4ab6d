"""Optimal sparse probing: the best k neurons for a linear classifier, with a proof.

Thesis, section A.2.3: a support vector machine whose number of neurons is limited, solved to
provable optimality. The problem is that of Bertsimas, Pauphilet and Van Parys (Machine Learning
110, 2021):

    min over w, b with at most k entries of w not zero of
        sum_i c_i loss(y_i, w x_i + b) + |w|^2 / (2 gamma)

with class weights c, an intercept without penalty, and one of three losses: hinge max(0, 1 - y f),
squared hinge max(0, 1 - y f)^2, or squared error (y - f)^2.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from artneuro.core.errors import ConfigError, DataError
from artneuro.probing.exact_least_squares import best_least_squares
from artneuro.probing.optimal_cuts import outer_approximation
from artneuro.probing.svm_losses import LOSSES
from artneuro.probing.svm_search import Fit, Problem, Search, make_problem

Loss = Literal["hinge", "squared_hinge", "squared_error"]
Backend = Literal["branch_and_bound", "ortools", "gurobi"]
Status = Literal["optimal", "time_limit"]

# A gap as small as this is rounding.
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Certificate:
    """The best support that was found and what is proven of it.

    Attributes
    ----------
    support : ndarray of int64
        Neurons, ascending; fewer than k only where there are no more.
    coef : ndarray of float64
        Their coefficients, for activations as they are.
    intercept : float
    objective : float
        Of these coefficients.
    bound : float
        No probe on any k of the neurons has a lower objective: the value of dual points, less what
        rounding may have added to it.
    gap : float
        (objective - bound) / objective.
    status : {"optimal", "time_limit"}
        Whether the gap is within the one asked for.
    nodes : int
        Relaxations of the branch and bound, or cuts of the outer approximation.
    seconds : float
        Wall-clock time.
    """

    support: np.ndarray
    coef: np.ndarray
    intercept: float
    objective: float
    bound: float
    gap: float
    status: Status
    nodes: int
    seconds: float


def optimal_supports(
    columns: np.ndarray,
    positive: np.ndarray,
    k: int,
    *,
    loss: Loss = "hinge",
    gamma: float | None = None,
    balanced: bool = True,
    gap: float = 1e-4,
    time_limit: float = 60.0,
) -> list[Certificate]:
    """The best supports of 1, ..., k neurons, with proofs.

    Good supports are looked for from one neuron up to k, each from the one before; then they are
    proven from k down to one, each after a look at the neighbours of the one above.

    Parameters
    ----------
    columns : ndarray of shape (units, rows)
        Activations, one neuron a line.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.
    k : int
        Largest size.
    loss : {"hinge", "squared_hinge", "squared_error"}
    gamma : float, optional
        Inverse strength of the l2 penalty; 1 / sqrt(rows) as published.
    balanced : bool
        Whether both classes weigh the same.
    gap : float
        Relative gap to stop at.
    time_limit : float
        Seconds for each size.

    Returns
    -------
    list of Certificate
        For each size; where there are fewer neurons than k, only up to all of them.

    Raises
    ------
    DataError
        If a class is missing or a value is not finite.
    ConfigError
        If k is not positive.

    Notes
    -----
    Thesis, sections A.2.3 and A.2.4, where the 50 neurons of the largest mean difference and a
    limit of 60 s are used.
    """
    problem = _checked_problem(columns, positive, loss, gamma, balanced)
    sizes = range(1, min(_checked_size(k), problem.units) + 1)
    if loss == "squared_error":
        found: list[Certificate] = []
        for size in sizes:
            found.append(_solve(problem, size, gap, time_limit, [c.support for c in found[-1:]]))
        return found
    searches: list[tuple[Search, float]] = []
    for size in sizes:
        started = time.perf_counter()
        search = Search(problem, size, started + time_limit)
        search.prepare([s.incumbent.support for s, _ in searches[-1:]])
        searches.append((search, time.perf_counter() - started))
    found = []
    for search, spent in reversed(searches):
        started = time.perf_counter() - spent
        search.deadline = started + time_limit
        if found:
            above = found[-1].support
            search.start([above[above != j] for j in above])
        found.append(_certify(search, gap, started))
    return found[::-1]


def _solve(
    problem: Problem,
    k: int,
    gap: float,
    time_limit: float,
    starts: Sequence[Iterable[int]],
    backend: Backend = "branch_and_bound",
) -> Certificate:
    """The best support of one size."""
    started = time.perf_counter()
    deadline = started + time_limit
    if backend != "branch_and_bound":
        search = Search(problem, k, deadline)
        search.prepare(starts)
        bound = outer_approximation(search, gap, master=backend)
        return _certificate(problem, search.incumbent, bound, search.counters.nodes, gap, started)
    if problem.loss == "squared_error":
        gram, moment, total = problem.normal_equations()
        best = best_least_squares(gram, moment, total, k, gap=gap, deadline=deadline, starts=starts)
        w = np.zeros(problem.units)
        w[best.support] = best.coef
        fit = Fit(best.support, w, problem.intercept_of(w), best.objective, best.bound, 0.0)
        return _certificate(problem, fit, best.bound, best.nodes, gap, started)
    search = Search(problem, k, deadline)
    search.prepare(starts)
    return _certify(search, gap, started)


def _certify(search: Search, gap: float, started: float) -> Certificate:
    bound = search.branch_and_bound(gap)
    return _certificate(
        search.problem, search.incumbent, bound, search.counters.nodes, gap, started
    )


def _certificate(
    problem: Problem, fit: Fit, bound: float, nodes: int, gap: float, started: float
) -> Certificate:
    bound = min(max(bound, 0.0), fit.objective)
    found = (fit.objective - bound) / fit.objective if fit.objective > 0 else 0.0
    coef = fit.w[fit.support] * problem.root
    return Certificate(
        support=fit.support,
        coef=coef,
        intercept=float(fit.b - coef @ problem.mean[fit.support]),
        objective=float(fit.objective),
        bound=float(bound),
        gap=float(found),
        status="optimal" if found <= max(gap, _ROUNDING) else "time_limit",
        nodes=nodes,
        seconds=time.perf_counter() - started,
    )


def _checked_problem(
    columns: np.ndarray, positive: np.ndarray, loss: str, gamma: float | None, balanced: bool
) -> Problem:
    if loss not in LOSSES:
        raise ConfigError(
            f"the loss {loss!r} is not known", where="loss", fix=f"use one of {', '.join(LOSSES)}"
        )
    gamma = 1.0 / np.sqrt(positive.size) if gamma is None else gamma
    if not 0 < gamma < np.inf:
        raise ConfigError(f"gamma is {gamma}", where="gamma", fix="give a positive number")
    if not 0 < np.count_nonzero(positive) < positive.size:
        raise DataError(
            f"all {positive.size} rows are of one class",
            where="optimal sparse probing",
            fix="use a feature with rows in and out of the class",
        )
    if not np.isfinite(columns).all():
        raise DataError(
            "activations are not finite",
            where="optimal sparse probing",
            fix="dump the activations again in float32",
        )
    return make_problem(columns, positive, gamma=gamma, balanced=balanced, loss=loss)


def _checked_size(k: int) -> int:
    if k < 1:
        raise ConfigError(f"k is {k}", where="k", fix="choose at least one neuron")
    return k


class OptimalSparseSVM(ClassifierMixin, BaseEstimator):
    """Linear classifier on the k neurons that are proven to be the best.

    Parameters
    ----------
    k : int
        Largest number of neurons.
    loss : {"hinge", "squared_hinge", "squared_error"}
        Of the margin; squared error is of the labels -1 and 1.
    gamma : float, optional
        Inverse strength of the l2 penalty; 1 / sqrt(rows) as published.
    class_weight : {"balanced"}, optional
        Weights that make both classes weigh the same; None for equal rows.
    gap : float
        Relative gap to stop at.
    time_limit : float
        Seconds, without input checks.
    starts : sequence of sequence of int
        Supports to begin with, such as those of k - 1 or k + 1.
    backend : {"branch_and_bound", "ortools", "gurobi"}
        Own branch and bound, or outer approximation with a master problem in OR-Tools or Gurobi.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    support_ : ndarray of int64
        The neurons, ascending.
    coef_ : ndarray of shape (1, n_features)
    intercept_ : ndarray of shape (1,)
    objective_, bound_, gap_ : float
        Of the problem in the docstring of this module (see `Certificate`).
    status_ : {"optimal", "time_limit"}
    nodes_ : int
    time_ : float
        Seconds.

    Raises
    ------
    DataError
        If there is one class only.
    ConfigError
        If a parameter is out of its range, or a solver or its licence is missing.

    Notes
    -----
    Thesis, section A.2.3. The hinge loss with gamma is scikit-learn's SVC(kernel="linear", C=gamma)
    on the support.
    """

    def __init__(
        self,
        k: int = 8,
        *,
        loss: Loss = "hinge",
        gamma: float | None = None,
        class_weight: Literal["balanced"] | None = "balanced",
        gap: float = 1e-4,
        time_limit: float = 60.0,
        starts: Sequence[Sequence[int]] = (),
        backend: Backend = "branch_and_bound",
    ) -> None:
        self.k = k
        self.loss = loss
        self.gamma = gamma
        self.class_weight = class_weight
        self.gap = gap
        self.time_limit = time_limit
        self.starts = starts
        self.backend = backend

    def fit(self, X: np.ndarray, y: np.ndarray) -> OptimalSparseSVM:
        """Find and prove the best support.

        Parameters
        ----------
        X : ndarray of shape (rows, units)
        y : ndarray of shape (rows,)
            Two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_ = np.unique(y)
        if self.classes_.size > 2 or type_of_target(y) not in ("binary", "multiclass"):
            raise DataError(
                f"there are {self.classes_.size} classes",
                where="optimal sparse probing",
                fix="fit one class against the others",
            )
        if self.class_weight not in (None, "balanced"):
            raise ConfigError(
                f"class_weight is {self.class_weight!r}", fix="use 'balanced' or None"
            )
        problem = _checked_problem(
            np.ascontiguousarray(X.T), y == self.classes_[-1], self.loss, self.gamma,
            self.class_weight == "balanced",
        )  # fmt: skip
        k = min(_checked_size(self.k), problem.units)
        found = _solve(problem, k, self.gap, self.time_limit, self.starts, self.backend)
        self.support_ = found.support
        self.coef_ = np.zeros((1, problem.units))
        self.coef_[0, found.support] = found.coef
        self.intercept_ = np.array([found.intercept])
        self.objective_, self.bound_, self.gap_ = found.objective, found.bound, found.gap
        self.status_, self.nodes_, self.time_ = found.status, found.nodes, found.seconds
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Decision values of rows, positive for the second class."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return X @ self.coef_[0] + self.intercept_[0]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Classes of rows."""
        return self.classes_[(self.decision_function(X) > 0).astype(np.int64)]
