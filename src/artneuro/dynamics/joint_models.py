"""The best models of targets that constraints couple, for each number of terms of all together."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from artneuro.dynamics.certificate_types import JointCertificate, Status
from artneuro.dynamics.constraints import Constraints
from artneuro.dynamics.joint_fit import BLUR, fit_support
from artneuro.dynamics.joint_path import Entry, search_jointly
from artneuro.dynamics.joint_problem import make_joint
from artneuro.dynamics.joint_products import JointProducts
from artneuro.dynamics.parameter_error import ParameterError
from artneuro.dynamics.sparse_library import Library
from artneuro.dynamics.sparse_path import Path, search
from artneuro.dynamics.target_models import ROUNDING, SAME, TIES, Model, Settings

# Seconds that a target alone is looked at, and share of an equality that coefficients may miss
# before they are computed in rational arithmetic.
_APART, _MISSED = 1.0, 1e-10


class JointModels:
    """The models of some targets: `path[k]` has at most k terms, and is None if none can meet the
    constraints.

    Parameters
    ----------
    settings : Settings
    X : ndarray of shape (rows, features)
        The library.
    y : ndarray of shape (rows, targets)
        All targets.
    targets : ndarray of int64
        Which of them are coupled.
    libraries : list of Library
        Of the allowed columns of each of these.
    forced : ndarray of bool, shape (coupled targets, features)
        Columns that have to be in every model.
    weights : ndarray of shape (coupled targets,)
    room : ndarray of int64, shape (coupled targets,)
        Largest number of terms of each.
    constraints : Constraints
        On these targets.
    """

    # Objectives are already weighted.
    weight = 1.0

    def __init__(
        self, settings: Settings, X: np.ndarray, y: np.ndarray, targets: np.ndarray,
        libraries: list[Library], forced: np.ndarray, weights: np.ndarray, room: np.ndarray,
        constraints: Constraints,
    ) -> None:  # fmt: skip
        self.settings, self.X, self.y = settings, X, y[:, targets]
        self.targets, self.mask, self.weights = targets, forced, weights
        self.constraints, self.libraries = constraints, libraries
        self.joint = make_joint(libraries, targets, weights, constraints)
        owner, feature = self.joint.task.owner, self.joint.feature
        self.forced = np.flatnonzero(forced[owner, feature])
        if self.forced.size < forced.sum():
            raise ParameterError(
                f"forced terms of the targets {targets.tolist()} are forbidden or zero everywhere",
                where="forced, forbidden",
            )
        counts = np.bincount(owner, minlength=targets.size)
        # A column that is zero everywhere takes no part.
        self.allowed = np.zeros_like(forced)
        self.allowed[owner, feature] = True
        if (forced.sum(axis=1) > room).any():
            raise ParameterError(
                f"{forced.sum(axis=1).tolist()} terms are forced, and {room.tolist()} are allowed",
                where="forced, max_terms, group_sparsity",
            )
        self.room = np.minimum(room, counts).astype(np.int64)
        self.zero = (64.0 * np.finfo(np.float64).eps * self.joint.task.size) ** 2
        self.products: JointProducts | None = None
        self.found: Path | None = None
        self.path: list[JointCertificate | None] = []

    @property
    def most(self) -> int:
        """The largest number of terms that a model can have."""
        return int(self.room.sum())

    @property
    def first(self) -> int:
        """Where models of any terms begin on the path."""
        return max(1, self.forced.size)

    def reach(self, k: int) -> int:
        """Search models of up to k terms; returns k, or how many terms there are."""
        k = min(k, self.most)
        if k < self.forced.size:
            raise ParameterError(
                f"{self.forced.size} terms are forced, and {k} are allowed",
                where="forced, target_sparsity",
            )
        if k < len(self.path):
            return k
        limit = math.inf if self.settings.time_limit is None else self.settings.time_limit
        started = time.perf_counter()
        floors = self._floors(k, min(_APART, 0.2 * limit / self.targets.size))
        spent = time.perf_counter() - started
        found = search_jointly(
            self.joint,
            self.room,
            k,
            forced=self.forced,
            floors=floors,
            pool_tol=self.settings.pool_tol,
            rel_gap=self.settings.rel_gap,
            time_limit=max(limit - spent, 0.0),
        )
        self.found = replace(found, seconds=found.seconds + spent)
        self.path = []
        for n in range(k + 1):
            self.path.append(self._best(n))
        return k

    def _floors(self, most: int, limit: float) -> np.ndarray:
        """What the weighted objective of each target is at least above that of all terms, with at
        most 0, ..., most, by a search without constraints that takes at most `limit` seconds.
        """
        floors = np.zeros((self.targets.size, most + 1))
        if self.targets.size == 1:
            return floors
        for p, t in enumerate(self.targets):
            library, end = self.libraries[p], min(most, int(self.room[p]))
            least = float(library.sizes[t]) ** 2
            floors[p] = least
            if not end:
                continue
            found = search(library, int(t), end, time_limit=limit)
            if math.isfinite(found.cap):
                # What it says holds for some coefficients only.
                floors[p] = 0.0
                continue
            for k in range(1, end + 1):
                size = found.sizes[k]
                lows = [value - error for _, value, error in size.pool]
                least = min(least, size.bound, *lows)
                floors[p, k:] = least
        rest = np.array([lib.rest[t] for lib, t in zip(self.libraries, self.targets, strict=True)])
        floors = floors * (1.0 - SAME) - rest[:, None] * (1.0 + SAME)
        return np.maximum(floors, 0.0) * self.weights[:, None]

    def values(self, end: int, *, bounds: bool = False) -> np.ndarray:
        """Objectives with at most 0, ..., end terms; where these are not known, the least that
        could be; infinite where nothing meets the constraints.
        """
        known = [math.inf if c is None else c.bound if bounds else c.objective for c in self.path]
        line = np.array(known + [self.joint.task.rest] * (end + 1 - len(known)))[: end + 1]
        if bounds and self.found is not None:
            # Where nothing was found in time, something may be.
            for n in range(min(end + 1, len(self.path))):
                if self.path[n] is None and n in self.found.sizes:
                    line[n] = self.found.sizes[n].bound
        line[: self.forced.size] = np.inf
        return line

    def pool(self, certificate: JointCertificate) -> list[Model]:
        """Models with as many terms, the certificate's first; see ExactSparseRegression."""
        first = Model(certificate.support, certificate.coef, certificate.objective)
        size = int(certificate.support.sum())
        if self.found is None or size not in self.found.sizes:
            return [first]
        limit = certificate.objective * (1.0 + self.settings.pool_tol)
        models = [first]
        for names, value, error in self.found.sizes[size].pool:
            coef, objective = self._fit(names)
            mask = self._mask(names)
            if not np.array_equal(mask, first.support) and value - error <= limit:
                models.append(Model(mask, self._spread(names, coef), objective))
        return models

    def _mask(self, names: tuple[int, ...]) -> np.ndarray:
        mask, where = np.zeros_like(self.allowed), list(names)
        mask[self.joint.task.owner[where], self.joint.feature[where]] = True
        return mask

    def _spread(self, names: tuple[int, ...], coef: np.ndarray) -> np.ndarray:
        """Coefficients of some columns as an array of shape (targets, features)."""
        line, where = np.zeros(self.allowed.shape), list(names)
        line[self.joint.task.owner[where], self.joint.feature[where]] = coef
        return line

    def _fit(self, names: tuple[int, ...]) -> tuple[np.ndarray, float]:
        """Coefficients, for columns as they are, and objective of a support."""
        where = np.array(names, dtype=np.int64)
        value, coef, _ = fit_support(self.joint.task, where)
        # What constraints hold at zero is zero.
        coef[np.abs(coef) <= BLUR * self.joint.task.size] = 0.0
        return coef / self.joint.scale[where], value

    def _missed(self, names: tuple[int, ...], coef: np.ndarray) -> float:
        """The largest share of what an equality adds up by which it is missed."""
        xi, rules = self._spread(names, coef), self.constraints
        terms, sides = (rules.lhs * xi)[rules.inequalities :], rules.rhs[rules.inequalities :]
        size = np.abs(terms).sum(axis=(1, 2)) + np.abs(sides)
        off = np.abs(terms.sum(axis=(1, 2)) - sides)
        return float((off / np.where(size > 0.0, size, 1.0)).max(initial=0.0))

    def _refit(self, names: tuple[int, ...]) -> tuple[np.ndarray, float]:
        """The same in rational arithmetic, from the columns as they are."""
        if self.products is None:
            self.products = JointProducts(
                self.X, self.y, self.settings.alpha, self.settings.ridge_on, self.weights,
                self.constraints,
            )  # fmt: skip
        owner, feature = self.joint.task.owner, self.joint.feature
        solved = self.products.solve(tuple((int(owner[p]), int(feature[p])) for p in names))
        if solved is None:
            return np.zeros(len(names)), math.inf
        return np.array([float(c) for c in solved[1]]), float(solved[0])

    def _best(self, k: int) -> JointCertificate | None:
        """The best model of at most k terms, given those of fewer."""
        before = self.path[-1] if self.path else None
        if self.found is None or k not in self.found.sizes:
            return before
        size = self.found.sizes[k]
        mask, coef, value, bound = self._pick(size.pool)
        bound = min(bound, size.bound)
        if before is not None:
            bound = min(bound, before.bound)
            least = before.objective * (1.0 - SAME)
            if mask is None or value >= least or before.objective <= self.zero:
                mask, coef, value = before.support, before.coef, before.objective
        if mask is None:
            return None
        return self._certify(k, mask, coef, value, bound, size.status)

    def _pick(self, pool: list[Entry]) -> tuple[np.ndarray | None, np.ndarray, float, float]:
        """The best of a pool, with near ties decided in rational arithmetic: support, coefficients,
        objective, and a bound of what was not compared.
        """
        nothing = np.zeros(self.allowed.shape)
        if not pool:
            return None, nothing, math.inf, math.inf
        least = min(value + error for _, value, error in pool)
        close = [entry for entry in pool if entry[1] - entry[2] <= least]
        bound = min((value - error for _, value, error in close[TIES:]), default=math.inf)
        names, value, error = close[0]
        if len(close) == 1 and error <= ROUNDING * value:
            coef, value = self._fit(names)
            if self._missed(names, coef) > _MISSED:
                precise, least = self._refit(names)
                coef, value = (precise, least) if least < math.inf else (coef, value)
        else:
            fits = [(self._refit(names), names) for names, _, _ in close[:TIES]]
            (coef, value), names = min(fits, key=lambda f: (f[0][1], f[1]))
            if value == math.inf:
                # Columns that depend on each other have no one solution there.
                names = close[0][0]
                coef, value = self._fit(names)
        return self._mask(names), self._spread(names, coef), value, bound

    def _certify(
        self, k: int, mask: np.ndarray, coef: np.ndarray, value: float, bound: float,
        status: Status,
    ) -> JointCertificate:  # fmt: skip
        found, settings = self.found, self.settings
        assert found is not None
        bound = max(min(bound, value), 0.0)
        gap = (value - bound) / value if value > self.zero else 0.0
        if status == "time_limit" and gap <= settings.rel_gap:
            status = "optimal" if math.isinf(found.cap) else "capped"
        elif status == "optimal" and gap > settings.rel_gap:
            status = "rounding"
        return JointCertificate(
            targets=self.targets,
            k=k,
            support=mask,
            coef=coef,
            objective=value,
            bound=bound,
            gap=gap,
            status=status,
            coef_cap=found.cap,
            nodes=found.nodes,
            singular=found.singular,
            seconds=found.seconds,
            alpha=float(settings.alpha),
            ridge_on=settings.ridge_on,
            allowed=self.allowed,
            forced=self.mask,
            weights=self.weights,
            room=self.room,
            constraints=self.constraints,
        )


def too_few_terms(k: int, *found: Path | None) -> ParameterError:
    """The error of a budget of k terms that no model was found for by some searches."""
    stopped = any(
        size.status == "time_limit" for path in found if path for size in path.sizes.values()
    )
    if stopped:
        return ParameterError(
            f"no model of at most {k} terms that meets the constraints was found in time",
            where="time_limit",
            fix="allow more time or more terms",
        )
    return ParameterError(
        f"no model of at most {k} terms meets the constraints",
        where="constraint_lhs, constraint_rhs, coef_bound",
        fix="allow more terms, or fewer constraints",
    )
