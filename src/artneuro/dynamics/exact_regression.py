"""Sparse regression with at most k terms, solved to proven optimality.

Thesis, section 5.2.2, equations 5.9 to 5.12: for each target y of a library Theta

    min over xi with at most k entries that are not zero of |y - Theta xi|^2 + alpha |xi|^2

and, with one budget for all targets (5.17) or linear constraints on the coefficients (5.2.3), the
sum of these, weighted by `target_weights`. Here by leaps and bounds instead of mixed-integer
programming, for all k up to the largest at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from artneuro.dynamics.budget import share_terms
from artneuro.dynamics.constraints import Order, couplings, make_constraints
from artneuro.dynamics.joint_models import JointModels, too_few_terms
from artneuro.dynamics.parameter_error import ParameterError
from artneuro.dynamics.rational import RidgeOn
from artneuro.dynamics.sparse_library import Library, factorise, with_penalty
from artneuro.dynamics.target_models import Backend, Model, Settings, TargetModels

Models = TargetModels | JointModels

# Terms of a target where no budget is given.
_TERMS = 5


class ExactSparseRegression(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Least squares with at most k terms, and a proof that no k terms fit better.

    Parameters
    ----------
    max_terms : int, optional
        Largest number of terms of each target. Without any budget, 5.
    group_sparsity : sequence of int, optional
        The same, one number a target.
    target_sparsity : int, optional
        Largest number of terms of all targets together.
    alpha : float
        Ridge penalty of the squared coefficients.
    ridge_on : {"raw", "scaled"}
        Coefficients of the columns as they are, or of columns scaled to unit length.
    forced, forbidden : array-like of bool, optional
        Terms that every model has, or that none has: shape (n_features,), or (n_targets,
        n_features).
    target_weights : sequence of float, optional
        Weight of each target's objective where targets share a budget or constraints (thesis,
        5.2.3: the energy of a mode).
    constraint_lhs : array-like of shape (n_constraints, n_targets * n_features), optional
    constraint_rhs : array-like of shape (n_constraints,), optional
        Constraints: the sum of a row times the coefficients is the right-hand side.
    constraint_order : {"target", "feature"}
        Whether a row begins with all features of the first target, as `coef_.ravel()`, or with the
        first feature of all targets, as `coef_.T.ravel()`.
    inequality_constraints : bool
        The sums are at most the right-hand sides.
    constraint_separation_index : int, optional
        Only so many rows, the first, are inequalities.
    coef_bound : float or array-like of shape (n_features,) or (n_targets, n_features), optional
        Largest absolute value of coefficients.
    rel_gap : float
        A gap that will do. Gaps up to 1e-6 cost nothing less than no gap.
    pool_tol : float
        Collect in `pool_` all models whose objective is within this share of the best.
    time_limit : float, optional
        Seconds for each target; what was found until then comes with the gap that was proven.
    backend : {"native", "gurobi"}
        Who searches: leaps and bounds, or Gurobi with the thesis's formulation.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_features)
    intercept_ : float
        0: an intercept is a term of the library.
    certificate_ : list of Certificate or JointCertificate
        One a target; targets that constraints couple have one together, with all that they couple,
        in the order of their first targets.
    path_ : list of list of Certificate or JointCertificate
        For each of these the models of at most 1, 2, ... terms; with constraints, from the fewest
        on that can meet them.
    pool_ : list of list of Model
        For each of these the models with as many terms as its best within `pool_tol` of it, that
        one first. At most 64.
    objective_, bound_, gap_ : float
        Weighted sum over targets, its lower bound, and the relative gap.
    n_features_in_ : int

    Raises
    ------
    ParameterError
        If a parameter does not fit the data, or no model within the budget meets the constraints.
    DataError
        If the data is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 8))
    >>> model = ExactSparseRegression(max_terms=2, alpha=0.0).fit(X, X[:, 1] - 2 * X[:, 6])
    >>> model.certificate_[0].support.tolist(), model.certificate_[0].status
    ([1, 6], 'optimal')
    """

    def __init__(
        self,
        max_terms: int | None = None,
        *,
        group_sparsity: Sequence[int] | None = None,
        target_sparsity: int | None = None,
        alpha: float = 0.01,
        ridge_on: RidgeOn = "raw",
        forced: np.ndarray | None = None,
        forbidden: np.ndarray | None = None,
        target_weights: Sequence[float] | None = None,
        constraint_lhs: np.ndarray | None = None,
        constraint_rhs: np.ndarray | None = None,
        constraint_order: Order = "target",
        inequality_constraints: bool = False,
        constraint_separation_index: int | None = None,
        coef_bound: float | np.ndarray | None = None,
        rel_gap: float = 1e-8,
        pool_tol: float = 0.0,
        time_limit: float | None = None,
        backend: Backend = "native",
    ) -> None:
        self.max_terms = max_terms
        self.group_sparsity = group_sparsity
        self.target_sparsity = target_sparsity
        self.alpha = alpha
        self.ridge_on = ridge_on
        self.forced = forced
        self.forbidden = forbidden
        self.target_weights = target_weights
        self.constraint_lhs = constraint_lhs
        self.constraint_rhs = constraint_rhs
        self.constraint_order = constraint_order
        self.inequality_constraints = inequality_constraints
        self.constraint_separation_index = constraint_separation_index
        self.coef_bound = coef_bound
        self.rel_gap = rel_gap
        self.pool_tol = pool_tol
        self.time_limit = time_limit
        self.backend = backend

    def fit(self, X, y, sample_weight=None) -> Self:
        """Find the best model.

        Parameters
        ----------
        X : array-like of shape (rows, n_features)
            The library, a row a time.
        y : array-like of shape (rows,) or (rows, n_targets)
        sample_weight : array-like of shape (rows,), optional
            Weights of squared residuals.

        Returns
        -------
        ExactSparseRegression
            The estimator itself.
        """
        X, y = validate_data(self, X, y, multi_output=True, dtype=np.float64, y_numeric=True)
        self._flat = y.ndim == 1
        y = y.reshape(X.shape[0], -1).astype(np.float64, copy=False)
        if sample_weight is not None:
            root = np.sqrt(self._row_weights(sample_weight, X.shape[0]))
            X, y = X * root[:, None], y * root[:, None]
        budgets = self._budgets(y.shape[1])
        forced = self._terms("forced", self.forced, y.shape[1])
        forbidden = self._terms("forbidden", self.forbidden, y.shape[1])
        models = self._models(X, y, budgets, forced, forbidden)
        if self.target_sparsity is None:
            chosen = [model.reach(k) for model, k in models]
        else:
            chosen = self._share(models)
        self.certificate_: list[Any] = []
        self.path_: list[list[Any]] = []
        self.pool_: list[list[Model]] = []
        self.coef_ = np.zeros((y.shape[1], X.shape[1]))
        self.objective_ = bound = 0.0
        for (model, _), k in zip(models, chosen, strict=True):
            certificate: Any = model.path[k]
            if certificate is None:
                raise too_few_terms(k, model.found)
            self.certificate_.append(certificate)
            self.path_.append([c for c in model.path[model.first :] if c is not None])
            self.pool_.append(model.pool(certificate))
            certificate.fill(self.coef_)
            self.objective_ += certificate.objective * model.weight
            bound += certificate.bound * model.weight
        if self.target_sparsity is None:
            self.bound_ = bound
        self.intercept_ = 0.0
        self.gap_ = (self.objective_ - self.bound_) / self.objective_ if self.objective_ else 0.0
        return self

    def predict(self, X) -> np.ndarray:
        """Values of the targets: shape (rows,) or (rows, n_targets), as `y` was."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        values = X @ self.coef_.T
        return values[:, 0] if self._flat else values

    @property
    def complexity(self) -> int:
        """Number of terms of all targets together."""
        check_is_fitted(self)
        return int(np.count_nonzero(self.coef_))

    def _row_weights(self, given: np.ndarray, rows: int) -> np.ndarray:
        weights = np.asarray(given, dtype=np.float64)
        if weights.shape not in ((), (rows,)) or not (weights >= 0.0).all() or not weights.any():
            raise ParameterError(
                "weights that do not fit the rows, that are negative, or that are all zero",
                where="sample_weight",
                fix=f"give one number to each of the {rows} rows",
            )
        return np.broadcast_to(weights, rows)

    def _weights(self, targets: int) -> np.ndarray:
        weights = np.ones(targets) if self.target_weights is None else self.target_weights
        weights = np.asarray(weights, dtype=np.float64)
        if weights.shape != (targets,) or not (weights > 0).all():
            raise ParameterError(
                f"there are {targets} targets",
                where="target_weights",
                fix="give one positive weight to each",
            )
        return weights

    def _budgets(self, targets: int) -> list[int]:
        """Largest number of terms of each target."""
        given = [self.max_terms, self.target_sparsity, *(self.group_sparsity or ())]
        if any(k is not None and (int(k) != k or k < 0) for k in given):
            raise ParameterError(
                "a number of terms has to be a whole number, not negative",
                where="max_terms, group_sparsity, target_sparsity",
            )
        if not (self.alpha >= 0.0 and self.pool_tol >= 0.0 and self.rel_gap >= 0.0):
            raise ParameterError("a negative number", where="alpha, pool_tol, rel_gap")
        if self.ridge_on not in ("raw", "scaled"):
            raise ParameterError(
                f"unknown: {self.ridge_on!r}", where="ridge_on", fix="raw or scaled"
            )
        if self.backend not in ("native", "gurobi"):
            raise ParameterError(
                f"unknown: {self.backend!r}", where="backend", fix="native or gurobi"
            )
        constrained = self.constraint_lhs is not None or self.coef_bound is not None
        if constrained and self.backend != "native":
            raise ParameterError(
                "only the native search knows constraints", where="backend", fix="native"
            )
        if self.group_sparsity is not None and len(self.group_sparsity) != targets:
            raise ParameterError(
                f"{len(self.group_sparsity)} numbers of terms for {targets} targets",
                where="group_sparsity",
                fix="give one number a target",
            )
        most = self.max_terms
        if most is None:
            open_ended = self.group_sparsity is not None or self.target_sparsity is not None
            most = self.n_features_in_ if open_ended else _TERMS
        budgets = [int(most)] * targets
        if self.group_sparsity is not None:
            budgets = [min(int(k), int(most)) for k in self.group_sparsity]
        return budgets

    def _terms(self, name: str, given: np.ndarray | None, targets: int) -> np.ndarray:
        """A mask of terms as booleans of shape (targets, features)."""
        shape = (targets, self.n_features_in_)
        if given is None:
            return np.zeros(shape, dtype=bool)
        mask = np.asarray(given)
        if mask.dtype != bool or mask.shape not in (shape, shape[1:]):
            raise ParameterError(
                f"terms as {mask.dtype} of shape {mask.shape}",
                where=name,
                fix=f"give booleans of shape {shape[1:]} or {shape}",
            )
        return np.broadcast_to(mask, shape)

    def _models(
        self, X: np.ndarray, y: np.ndarray, budgets: list[int], forced: np.ndarray,
        forbidden: np.ndarray,
    ) -> list[tuple[Models, int]]:  # fmt: skip
        """What to search: targets alone, or those that constraints couple, with their budgets."""
        weights = self._weights(y.shape[1])
        settings = Settings(
            self.alpha, self.ridge_on, self.pool_tol, self.rel_gap, self.time_limit, self.backend
        )
        constraints = make_constraints(
            y.shape[1], X.shape[1], self.constraint_lhs, self.constraint_rhs,
            order=self.constraint_order, inequality=self.inequality_constraints,
            separation=self.constraint_separation_index, bound=self.coef_bound,
        )  # fmt: skip
        factor = factorise(X, y)
        kept: dict[bytes, Library] = {}
        libraries = []
        for allowed in ~forbidden:
            if allowed.tobytes() not in kept:
                kept[allowed.tobytes()] = with_penalty(factor, self.alpha, self.ridge_on, allowed)
            libraries.append(kept[allowed.tobytes()])
        models: list[tuple[Models, int]] = []
        for targets in couplings(y.shape[1], constraints):
            if constraints is None or not constraints.touch(targets):
                t = int(targets[0])
                alone = TargetModels(
                    settings, X, y, t, libraries[t], ~forbidden[t], forced[t], float(weights[t])
                )
                models.append((alone, budgets[t]))
                continue
            room = np.array([budgets[t] for t in targets], dtype=np.int64)
            together = JointModels(
                settings, X, y, targets, [libraries[t] for t in targets], forced[targets],
                weights[targets], room, constraints.of(targets),
            )  # fmt: skip
            models.append((together, int(room.sum())))
        return models

    def _share(self, models: list[tuple[Models, int]]) -> list[int]:
        """Numbers of terms within the joint budget, searched for only as far as is needed."""
        total = int(self.target_sparsity or 0)
        least = [len(model.forced) for model, _ in models]
        if sum(least) > total:
            raise ParameterError(
                f"{sum(least)} terms are forced, and {total} are allowed",
                where="target_sparsity",
            )
        ends = [
            min(k, model.most, total - sum(least) + n)
            for (model, k), n in zip(models, least, strict=True)
        ]
        for (model, _), end in zip(models, ends, strict=True):
            model.reach(min(end, -(-total // len(models))))
        while True:
            # What was not searched may be as good as all terms together.
            values = [m.values(e) * m.weight for (m, _), e in zip(models, ends, strict=True)]
            value, terms = share_terms(values, total)
            further = [t for t, n in enumerate(terms) if n >= len(models[t][0].path)]
            if not further:
                bounds = [m.values(e, bounds=True) * m.weight
                          for (m, _), e in zip(models, ends, strict=True)]  # fmt: skip
                self.bound_ = min(value, share_terms(bounds, total)[0])
                if value == np.inf:
                    raise too_few_terms(total, *(m.found for m, _ in models))
                return terms
            for t in further:
                models[t][0].reach(len(models[t][0].path))
