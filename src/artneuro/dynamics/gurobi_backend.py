"""Sparse regression by Gurobi, in the formulation of the thesis: an SOS-1 pair for each column.

Thesis, equations 5.9 to 5.12 and 5.16. What differs from there keeps the numbers right: columns and
target have unit length, the constant |y|^2 is in the objective, so that gaps are relative to what
is left of the target, and gap and tolerances are as tight as Gurobi has them. What Gurobi returns
is fitted again in orthogonal arithmetic, and only then called optimal.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np

from artneuro.core.errors import ConfigError
from artneuro.dynamics.certificate import Status
from artneuro.dynamics.sparse_library import Library
from artneuro.dynamics.sparse_path import Path, Size
from artneuro.dynamics.supports import UNIT, Found, Task, make_found, offer

# Variables that Gurobi takes without a licence if the objective is quadratic.
UNLICENSED = 200
# Smallest singular value of columns of unit length at which products of columns still tell Gurobi
# enough. Below, it calls problems unbounded that are not, and supports optimal that are not.
_SPREAD = 1e-6
# Share of an objective by which Gurobi's value of a support may differ from that of its columns.
_AGREE = 1e-6
# Least gap and tolerance that Gurobi lets one ask for.
_TOLERANCE = 1e-9
# Gurobi's numbers of what ended a solve.
_OPTIMAL, _TIME_LIMIT = 2, 9
# Supports held for each size.
_PLACES = 64


def search(
    library: Library,
    target: int,
    most: int,
    *,
    forced: tuple[int, ...] = (),
    pool_tol: float = 0.0,
    rel_gap: float = 0.0,
    time_limit: float = math.inf,
) -> Path:
    """The best supports of 1, ..., most columns for one target: one model of Gurobi for each size.

    Parameters and result are those of `sparse_path.search`. A size is "rounding", and nothing is
    proven of it, where columns nearly depend on each other, where Gurobi's value of the support is
    not the one that its columns have, or where exchanging one column is better than the bound.

    Raises
    ------
    ConfigError
        If Gurobi is not installed, or its licence does not allow so many columns.
    """
    started = time.perf_counter()
    length = library.columns.shape[1]
    task = Task(
        library.columns,
        np.ascontiguousarray(library.targets[target]),
        float(library.rest[target]),
        float(library.sizes[target]),
        most,
        UNIT * math.sqrt(max(length, 1)),
        math.inf,
    )
    found = make_found(most, _PLACES, (1.0 + pool_tol, 1.0), 0.0)
    inside = np.array(forced, dtype=np.int64)
    sizes, nodes, model = {}, 0, SOS1Model(library, target, inside)
    for k in range(max(1, inside.size), most + 1):
        left = started + time_limit - time.perf_counter()
        said = model.solve(k, task, found, pool_tol, rel_gap, left)
        nodes += said.nodes
        sizes[k] = _settle(task, found, inside, k, said, library.geometry.spread)
    return Path(sizes, nodes, int(found.counts[1]), time.perf_counter() - started, math.inf)


class _Said(NamedTuple):
    """What Gurobi says of a size: status, objective of its best support, bound, nodes."""

    status: int
    value: float
    bound: float
    nodes: int


class SOS1Model:
    """The thesis's model of one target, for all sizes of supports.

    Parameters
    ----------
    library : Library
    target : int
    forced : ndarray of int64
        Columns that every support contains.
    """

    def __init__(self, library: Library, target: int, forced: np.ndarray) -> None:
        try:
            import gurobipy
        except ImportError as error:
            raise ConfigError(
                "the backend needs Gurobi, which is not installed",
                where="backend",
                fix="pip install gurobipy, or use the backend native",
            ) from error
        self.error, columns = gurobipy.GurobiError, library.columns
        self.count = columns.shape[0]
        # Of the target, to unit length.
        self.scale = max(float(library.sizes[target]), np.finfo(np.float64).tiny)
        try:
            env = gurobipy.Env(params={"OutputFlag": 0, "Threads": 1})
            self.model: Any = gurobipy.Model(env=env)
        except gurobipy.GurobiError as error:
            raise _refused(error, self.count) from error
        model = self.model
        coef = model.addMVar(self.count, lb=-math.inf)
        self.unused = model.addMVar(self.count, vtype="B")
        for j in range(self.count):
            model.addSOS(gurobipy.GRB.SOS_TYPE1, [coef[j].item(), self.unused[j].item()])
        self.budget = model.addConstr(self.unused.sum() == self.count)
        for j in forced.tolist():
            self.unused[j].UB = 0.0
        moment = columns @ library.targets[target] / self.scale
        model.setObjective(coef @ (columns @ columns.T) @ coef - 2.0 * (moment @ coef) + 1.0)
        model.Params.MIPGapAbs = 0.0
        for name in ("FeasibilityTol", "OptimalityTol", "IntFeasTol"):
            model.setParam(name, _TOLERANCE)

    def prepare(self, k: int, rel_gap: float, seconds: float) -> None:
        """Ask for supports of k columns, a gap and a time limit."""
        self.budget.RHS = self.count - k
        self.model.Params.MIPGap = rel_gap if rel_gap > _TOLERANCE else 0.0
        self.model.Params.TimeLimit = max(min(seconds, 1e9), 0.0)
        self.model.update()

    def solve(
        self, k: int, task: Task, found: Found, pool_tol: float, rel_gap: float, seconds: float
    ) -> _Said:
        """Solve for supports of k columns, and offer those of Gurobi's pool."""
        self.prepare(k, rel_gap, seconds)
        model = self.model
        if pool_tol > 0.0:
            model.Params.PoolSearchMode, model.Params.PoolSolutions = 2, _PLACES
            model.Params.PoolGap = pool_tol
        try:
            model.optimize()
        except self.error as error:
            raise _refused(error, self.count) from error
        square = self.scale * self.scale
        value = model.ObjVal * square if model.SolCount else math.inf
        for number in range(model.SolCount):
            model.Params.SolutionNumber = number
            support = np.flatnonzero(self.unused.Xn < 0.5)
            if support.size == k:
                offer(task, found, support)
        return _Said(int(model.Status), value, model.ObjBound * square, int(model.NodeCount))


def _settle(
    task: Task, found: Found, inside: np.ndarray, k: int, said: _Said, spread: float
) -> Size:
    """Order the supports of a size, and say what Gurobi's claim is worth."""
    held = [
        (tuple(int(j) for j in found.supports[k, p, :k]), found.values[k, p], found.errors[k, p])
        for p in range(int(found.held[k]))
    ]
    held = [entry for entry in held if entry[1] - entry[2] < found.limits[0, k]]
    held.sort(key=lambda entry: (entry[1], entry[0]))
    pool = [(support, float(v), float(e)) for support, v, e in held]
    stopped: Status = "time_limit" if said.status == _TIME_LIMIT else "rounding"
    if not pool or spread < _SPREAD or said.status not in (_OPTIMAL, _TIME_LIMIT):
        return Size(pool, task.rest, stopped)
    support, best, error = pool[0]
    agreed = abs(said.value - best) <= _AGREE * best + error
    refuted = _exchanged(task, support, inside) < min(said.bound, best) * (1.0 - _AGREE) - error
    if said.status == _OPTIMAL and (not agreed or refuted):
        return Size(pool, task.rest, "rounding")
    if said.status == _OPTIMAL:
        return Size(pool, min(said.bound, best), "optimal")
    bound = task.rest if refuted else said.bound - _TOLERANCE * task.size**2
    return Size(pool, max(min(bound, best), task.rest), "time_limit")


def _exchanged(task: Task, support: tuple[int, ...], inside: np.ndarray) -> float:
    """Least objective of the supports that differ in one column."""
    tried = make_found(len(support), 1, (1.0, 1.0), 0.0)
    for place, old in enumerate(support):
        if old not in inside:
            names = np.array(support, dtype=np.int64)
            for j in range(task.columns.shape[0]):
                if j not in support:
                    names[place] = j
                    offer(task, tried, names)
    held = int(tried.held[len(support)])
    return float(tried.values[len(support), :held].min(initial=math.inf))


def _refused(error: Exception, columns: int) -> ConfigError:
    allowed = UNLICENSED // 2
    return ConfigError(
        f"Gurobi refuses a library of {columns} columns: {error}",
        where="backend",
        fix=f"use the backend native, give Gurobi a licence (without one it takes {allowed} "
        "columns), or use a smaller library",
    )
