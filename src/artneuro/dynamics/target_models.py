"""The best models of one target, for each number of terms: coefficients and certificates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from artneuro.core.errors import DataError
from artneuro.dynamics.certificate_types import Certificate, Status
from artneuro.dynamics.parameter_error import ParameterError
from artneuro.dynamics.rational import ExactProducts, RidgeOn
from artneuro.dynamics.sparse_library import Library
from artneuro.dynamics.sparse_path import Path
from artneuro.dynamics.sparse_path import search as search_natively
from artneuro.dynamics.supports import fit as fit_support

Backend = Literal["native", "gurobi"]

# Near ties that are compared in rational arithmetic.
TIES = 32
# More terms have to lower the objective by this share to be worth it.
SAME = 1e-12
# Rounding of an objective beyond which it is computed in rational arithmetic.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Model:
    """One model of a pool: support, coefficients for columns as they are, and objective."""

    support: np.ndarray
    coef: np.ndarray
    objective: float


@dataclass(frozen=True)
class Settings:
    """What all targets share; see ExactSparseRegression."""

    alpha: float
    ridge_on: RidgeOn
    pool_tol: float
    rel_gap: float
    time_limit: float | None
    backend: Backend = "native"


class Search(Protocol):
    """What a backend does; see `sparse_path.search`."""

    def __call__(
        self, library: Library, target: int, most: int, *, forced: tuple[int, ...],
        pool_tol: float, rel_gap: float, time_limit: float,
    ) -> Path: ...  # fmt: skip


def backend_search(backend: Backend) -> Search:
    """The search of a backend; Gurobi's module is only imported where it is asked for."""
    if backend == "native":
        return search_natively
    from artneuro.dynamics.gurobi_backend import search

    return search


class TargetModels:
    """The models of one target: `path[k]` has at most k terms.

    Parameters
    ----------
    settings : Settings
    X : ndarray of shape (rows, features)
        The library.
    y : ndarray of shape (rows, targets)
    target : int
        Which target.
    library : Library
        Of the allowed columns.
    allowed, forced : ndarray of bool, shape (features,)
        Columns that may, and that have to be in every model.
    weight : float
        Of the target's objective among others'.
    """

    def __init__(
        self, settings: Settings, X: np.ndarray, y: np.ndarray, target: int, library: Library,
        allowed: np.ndarray, forced: np.ndarray, weight: float = 1.0,
    ) -> None:  # fmt: skip
        self.settings, self.X, self.y, self.target = settings, X, y[:, target], target
        self.weight = weight
        self.library, self.allowed = library, allowed
        self.forced = np.flatnonzero(forced)
        place = {int(j): p for p, j in enumerate(library.usable)}
        missing = [int(j) for j in self.forced if int(j) not in place]
        if missing:
            raise ParameterError(
                f"forced terms of target {target} are forbidden or zero everywhere: {missing}",
                where="forced, forbidden",
            )
        self.inside = tuple(place[int(j)] for j in self.forced)
        # What rounding leaves of the objective of an exact fit.
        self.zero = (64.0 * np.finfo(np.float64).eps * float(library.sizes[target])) ** 2
        self.products: ExactProducts | None = None
        self.found: Path | None = None
        self.path: list[Certificate] = []

    @property
    def most(self) -> int:
        """The largest number of terms that a model can have."""
        return self.library.usable.size

    @property
    def first(self) -> int:
        """Where models of any terms begin on the path."""
        return max(1, len(self.inside))

    def reach(self, k: int) -> int:
        """Search models of up to k terms; returns k, or how many terms there are."""
        k = min(k, self.most)
        if k < len(self.inside):
            raise ParameterError(
                f"{len(self.inside)} terms are forced, and {k} are allowed",
                where="forced, max_terms, group_sparsity",
            )
        if k < len(self.path):
            return k
        limit = self.settings.time_limit
        if k:
            self.found = backend_search(self.settings.backend)(
                self.library,
                self.target,
                k,
                forced=self.inside,
                pool_tol=self.settings.pool_tol,
                rel_gap=self.settings.rel_gap,
                time_limit=math.inf if limit is None else limit,
            )
        size = float(self.library.sizes[self.target]) ** 2
        empty = self._certify(0, (), np.zeros(0), size, size, "optimal")
        self.path = [empty]
        for n in range(1, k + 1):
            self.path.append(self._best(n))
        return k

    def values(self, end: int, *, bounds: bool = False) -> np.ndarray:
        """Objectives with at most 0, ..., end terms; where these are not known, the least that
        could be.
        """
        known = [c.bound if bounds else c.objective for c in self.path]
        known = known + [float(self.library.rest[self.target])] * (end + 1 - len(known))
        line = np.array(known[: end + 1])
        line[: len(self.inside)] = np.inf
        return line

    def pool(self, certificate: Certificate) -> list[Model]:
        """Models with as many terms, the certificate's first."""
        first = Model(certificate.support, certificate.coef, certificate.objective)
        if self.found is None or certificate.support.size not in self.found.sizes:
            return [first]
        limit = certificate.objective * (1.0 + self.settings.pool_tol)
        models = [first]
        for names, value, error in self.found.sizes[certificate.support.size].pool:
            support = self.library.usable[list(names)]
            if not np.array_equal(support, first.support) and value - error <= limit:
                models.append(Model(support, *self._fit(names)))
        return models

    def _fit(self, names: tuple[int, ...]) -> tuple[np.ndarray, float]:
        """Coefficients and objective of a support."""
        library, where = self.library, np.array(names, dtype=np.int64)
        value, coef, _ = fit_support(
            library.columns, library.targets[self.target], float(library.rest[self.target]), where
        )
        return coef / library.scale[where], float(value)

    def _refit(self, names: tuple[int, ...]) -> tuple[np.ndarray, float]:
        """The same in rational arithmetic, from the columns as they are."""
        if self.products is None:
            self.products = ExactProducts(
                self.X, self.y, self.settings.alpha, self.settings.ridge_on
            )
        solved = self.products.solve(tuple(int(self.library.usable[p]) for p in names))
        if solved is None:
            return np.zeros(len(names)), math.inf
        return np.array([float(c) for c in solved[1]]), float(solved[0])

    def _best(self, k: int) -> Certificate:
        """The best model of at most k terms, given those of fewer."""
        before = self.path[-1]
        if self.found is None or k < len(self.inside):
            # Never looked at: no model has fewer terms than are forced.
            return before
        size = self.found.sizes[k]
        names, coef, value, bound = self._pick(size.pool)
        bound = min(bound, size.bound)
        if k > len(self.inside):
            bound = min(bound, before.bound)
            least = before.objective * (1.0 - SAME)
            if names is None or value >= least or before.objective <= self.zero:
                names = tuple(np.searchsorted(self.library.usable, before.support).tolist())
                coef, value = before.coef, before.objective
        if names is None:
            raise DataError(
                f"the forced terms of target {self.target} depend on each other: "
                f"{self.forced.tolist()}",
                where="forced",
                fix="force fewer terms",
            )
        return self._certify(k, names, coef, value, bound, size.status)

    def _pick(
        self, pool: list[tuple[tuple[int, ...], float, float]]
    ) -> tuple[tuple[int, ...] | None, np.ndarray, float, float]:
        """The best of a pool, with near ties decided in rational arithmetic; its coefficients, its
        objective, and a bound of what was not compared.
        """
        if not pool:
            return None, np.zeros(0), math.inf, math.inf
        least = min(value + error for _, value, error in pool)
        close = [entry for entry in pool if entry[1] - entry[2] <= least]
        bound = min((value - error for _, value, error in close[TIES:]), default=math.inf)
        names, value, error = close[0]
        if len(close) == 1 and error <= ROUNDING * value:
            coef, value = self._fit(names)
            return names, coef, value, bound
        fits = [(self._refit(names), names) for names, _, _ in close[:TIES]]
        (coef, value), names = min(fits, key=lambda f: (f[0][1], f[1]))
        return (names if value < math.inf else None), coef, value, bound

    def _certify(
        self, k: int, names: tuple[int, ...], coef: np.ndarray, value: float, bound: float,
        status: Status,
    ) -> Certificate:  # fmt: skip
        found, settings = self.found, self.settings
        bound = max(min(bound, value), 0.0)
        gap = (value - bound) / value if value > self.zero else 0.0
        if status == "time_limit" and gap <= settings.rel_gap:
            status = "optimal" if found is None or math.isinf(found.cap) else "capped"
        elif status == "optimal" and gap > settings.rel_gap:
            # More supports were as good as rounding can tell than there are places for.
            status = "rounding"
        return Certificate(
            target=self.target,
            k=k,
            support=self.library.usable[np.array(names, dtype=np.int64)],
            coef=coef,
            objective=value,
            bound=bound,
            gap=gap,
            status=status,
            coef_cap=math.inf if found is None else found.cap,
            nodes=0 if found is None else found.nodes,
            singular=0 if found is None else found.singular,
            seconds=0.0 if found is None else found.seconds,
            alpha=float(settings.alpha),
            ridge_on=settings.ridge_on,
            allowed=self.allowed,
            forced=self.forced,
        )
