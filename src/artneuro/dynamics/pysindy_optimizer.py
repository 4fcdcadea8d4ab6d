"""The exact sparse regression as an optimizer of PySINDy, in the place of `pysindy.MIOSR`.

Apart from ExactSparseRegression, which works without PySINDy: PySINDy's optimizers inherit from a
class of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from artneuro.dynamics.constraints import Order
from artneuro.dynamics.derivatives import needs_pysindy
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.parameter_error import ParameterError
from artneuro.dynamics.rational import RidgeOn
from artneuro.dynamics.target_models import Backend

try:
    from pysindy.optimizers.base import BaseOptimizer
except ImportError as error:
    raise needs_pysindy() from error

# Parameters that are passed on as they are.
_PASSED = (
    "max_terms", "group_sparsity", "target_sparsity", "alpha", "ridge_on", "forced", "forbidden",
    "target_weights", "constraint_order", "inequality_constraints", "constraint_separation_index",
    "rel_gap", "pool_tol", "backend",
)  # fmt: skip


class ExactOptimizer(BaseOptimizer):
    """PySINDy's face of ExactSparseRegression.

    It takes the parameters of `pysindy.MIOSR` too, and differs from it in this: no budget means
    five terms for each target, not five together; a given `group_sparsity` is all there is; and
    constraints hold for the coefficients that come out where `normalize_columns` is set as well.

    Parameters
    ----------
    max_terms, group_sparsity, target_sparsity, alpha, ridge_on, forced, forbidden, target_weights
        See ExactSparseRegression, as for the next two lines.
    constraint_lhs, constraint_rhs, constraint_order, inequality_constraints
    constraint_separation_index, coef_bound, rel_gap, pool_tol, time_limit, backend
    regression_timeout : float, optional
        Another name of `time_limit`.
    normalize_columns : bool
        Fit columns of unit length. What is left is the penalty: of coefficients of these.
    copy_X : bool
    initial_guess : ndarray of shape (n_targets, n_features), optional
        Of no use: the search needs none.
    verbose : bool
        Print what was proven.
    unbias : bool
        Fit the support again without penalty. Not with constraints or bounds.

    Attributes
    ----------
    coef_, ind_, intercept_, history_
        See PySINDy.
    certificate_, path_, pool_, objective_, bound_, gap_
        See ExactSparseRegression; of unit columns where these were fitted, and before `unbias`.

    Raises
    ------
    ParameterError
        As ExactSparseRegression, when it is fitted.
    """

    def __init__(
        self,
        max_terms: int | None = None,
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
        regression_timeout: float | None = None,
        normalize_columns: bool = False,
        copy_X: bool = True,
        initial_guess: np.ndarray | None = None,
        verbose: bool = False,
        unbias: bool = False,
    ) -> None:
        super().__init__(
            normalize_columns=normalize_columns,
            copy_X=copy_X,
            initial_guess=initial_guess,
            unbias=unbias,
        )
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
        self.regression_timeout = regression_timeout
        self.verbose = verbose

    def set_params(self, **params: Any) -> Self:
        """As in scikit-learn."""
        super().set_params(**params)
        return self

    @property
    def complexity(self) -> int:
        """Number of terms of all targets together."""
        check_is_fitted(self)
        return int(np.count_nonzero(self.coef_))

    def _reduce(self, x: np.ndarray, y: np.ndarray) -> None:
        constrained = self.constraint_lhs is not None or self.coef_bound is not None
        if self.unbias and constrained:
            raise ParameterError(
                "coefficients without their penalty need not meet the constraints",
                where="unbias",
                fix="set unbias=False, or alpha=0",
            )
        if self.time_limit is not None and self.regression_timeout is not None:
            raise ParameterError("two names for one limit", where="time_limit, regression_timeout")
        limit = self.regression_timeout if self.time_limit is None else self.time_limit
        lengths = np.ones(x.shape[1])
        if self.normalize_columns:
            lengths = np.sqrt(np.square(self.Theta_).sum(axis=0))
        model = ExactSparseRegression(
            **{name: getattr(self, name) for name in _PASSED},
            **self._constraints(lengths, y.shape[1]),
            time_limit=limit,
        ).fit(np.asarray(x), np.asarray(y))
        for name in ("coef_", "certificate_", "path_", "pool_", "objective_", "bound_", "gap_"):
            setattr(self, name, getattr(model, name))
        self.history_.append(self.coef_)
        if self.verbose:
            for proof in self.certificate_:
                print(
                    f"{proof.status}: objective {proof.objective:.6g}, gap {proof.gap:.2g}, "
                    f"{proof.nodes} nodes, {proof.seconds:.3g} s"
                )

    def _constraints(self, lengths: np.ndarray, targets: int) -> dict[str, Any]:
        """Constraints on the coefficients of columns that were divided by their lengths."""
        lhs, bound = self.constraint_lhs, self.coef_bound
        if self.normalize_columns and lhs is not None:
            feature = self.constraint_order == "feature"
            unit = np.repeat(lengths, targets) if feature else np.tile(lengths, targets)
            lhs = np.atleast_2d(np.asarray(lhs, dtype=np.float64))
            # The regression says what is wrong with a shape that does not fit.
            lhs = lhs / unit if lhs.shape[1] == unit.size else lhs
        if self.normalize_columns and bound is not None:
            bound = np.asarray(bound, dtype=np.float64) * lengths
        return {"constraint_lhs": lhs, "constraint_rhs": self.constraint_rhs, "coef_bound": bound}
