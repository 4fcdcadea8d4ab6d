"""Outer approximation: optimal supports by cuts from dual points and a master problem.

A dual point of the machine on any support bounds the objective of every support from below:
total - 1/2 sum over the support of pull_j^2. The master problem chooses the support whose largest
such bound is the least; the machine is fitted there and gives the next cut. Thesis, section A.2.3.
"""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from artneuro.core.errors import ConfigError
from artneuro.probing.svm_search import Search

# Steps of CP-SAT's whole numbers between zero and the objective without any neuron.
_STEPS = 10**9
# What Gurobi's tolerances may add to its bound, relative to that objective.
_TOLERANCE = 1e-7
# The most supports of one master problem that are fitted: each is a further cut.
_BATCH = 8


class Master(Protocol):
    """A mixed-integer problem: one binary a neuron, and the level above all cuts."""

    def add(self, total: float, halves: np.ndarray) -> None:
        """Add the cut level >= total - sum of `halves` over the support."""

    def solve(self, seconds: float) -> tuple[float, list[np.ndarray]]:
        """A lower bound of the level, and supports, the best first."""


def outer_approximation(search: Search, gap: float, master: str) -> float:
    """Raise the bound until the best support of a search is proven to `gap`.

    Parameters
    ----------
    search : Search
        Prepared: it has a support to begin with, and takes better ones as they come.
    gap : float
        Relative gap to stop at.
    master : {"ortools", "gurobi"}

    Returns
    -------
    float
        The bound.

    Raises
    ------
    ConfigError
        If the solver is not installed or its licence does not allow the problem.
    """
    rows = search.problem.rows
    # Levels are in units of the objective without any neuron, which bounds every support's.
    unit = float(rows.weight.sum())
    make = _Gurobi if master == "gurobi" else _OrTools
    problem: Master = make(search.problem.units, search.k)
    bound = search.root.bound
    points = [(search.root_total, search.root_pull)]
    supports = [search.incumbent.support]
    while True:
        for support in supports:
            found = search.fit(support)
            points.append(search.pull(found))
            # Fitted supports are not chosen again, whatever rounding does to their cuts.
            known = np.zeros(search.problem.units)
            known[support] = -found.bound / unit
            problem.add(found.bound * (1 - search.k) / unit, known)
        for total, pull in points:
            halves = 0.5 * pull**2
            total -= rows.rounding * (abs(total) + np.sort(halves)[-search.k :].sum())
            # No level is negative, so that a cut need not fall further.
            problem.add(total / unit, np.minimum(halves, max(total, 0.0)) / unit)
            search.counters.nodes += 1
        points = []
        left = search.deadline - time.perf_counter()
        if bound >= search.incumbent.objective * (1.0 - gap) or left <= 0.0:
            return bound
        level, supports = problem.solve(left)
        bound = max(bound, level * unit)
        if not supports:
            return bound


class _OrTools:
    """Master problem in CP-SAT, on whole numbers that are rounded so that cuts stay valid."""

    def __init__(self, units: int, k: int) -> None:
        try:
            from ortools.sat.python import cp_model
        except ImportError as error:
            raise _missing("ortools", "OR-Tools") from error
        self.cp_model = cp_model
        self.model = cp_model.CpModel()
        self.chosen = [self.model.new_bool_var(f"s{j}") for j in range(units)]
        self.level = self.model.new_int_var(0, 2 * _STEPS, "level")
        self.model.add(sum(self.chosen) == k)
        self.model.minimize(self.level)

    def add(self, total: float, halves: np.ndarray) -> None:
        """Add a cut."""
        terms = np.ceil(halves * _STEPS).astype(np.int64).tolist()
        fall = sum(t * s for t, s in zip(terms, self.chosen, strict=True))
        self.model.add(self.level + fall >= int(np.floor(total * _STEPS)))

    def solve(self, seconds: float) -> tuple[float, list[np.ndarray]]:
        """The bound of CP-SAT and the last supports that it came by."""
        found: list[np.ndarray] = []
        chosen = self.chosen

        class Collect(self.cp_model.CpSolverSolutionCallback):  # type: ignore[name-defined]
            """Keeps every support that improves the level."""

            def on_solution_callback(self) -> None:
                found.append(np.flatnonzero([self.boolean_value(s) for s in chosen]))

        solver = self.cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = seconds
        solver.solve(self.model, Collect())
        return solver.best_objective_bound / _STEPS, found[: -_BATCH - 1 : -1]


class _Gurobi:
    """Master problem in Gurobi."""

    def __init__(self, units: int, k: int) -> None:
        try:
            import gurobipy
        except ImportError as error:
            raise _missing("gurobipy", "Gurobi") from error
        self.error = gurobipy.GurobiError
        try:
            self.model = gurobipy.Model(env=gurobipy.Env(params={"OutputFlag": 0, "Threads": 1}))
        except gurobipy.GurobiError as error:
            raise _refused(error) from error
        self.chosen = self.model.addMVar(units, vtype="B")
        self.level = self.model.addVar(lb=0.0)
        self.model.addConstr(self.chosen.sum() == k)
        self.model.setObjective(self.level)
        self.model.Params.MIPGap = 0.0
        self.model.Params.FeasibilityTol = 1e-9
        self.model.Params.IntFeasTol = 1e-9

    def add(self, total: float, halves: np.ndarray) -> None:
        """Add a cut."""
        self.model.addConstr(self.level + halves @ self.chosen >= total)

    def solve(self, seconds: float) -> tuple[float, list[np.ndarray]]:
        """The bound of Gurobi and the supports of its pool."""
        self.model.Params.TimeLimit = seconds
        try:
            self.model.optimize()
        except self.error as error:
            raise _refused(error) from error
        found = []
        for number in range(min(self.model.SolCount, _BATCH)):
            self.model.Params.SolutionNumber = number
            found.append(np.flatnonzero(self.chosen.Xn > 0.5))
        return float(self.model.ObjBound) - _TOLERANCE, found


def _missing(package: str, name: str) -> ConfigError:
    return ConfigError(
        f"the backend needs {name}, which is not installed",
        where="backend",
        fix=f"pip install {package}, or use the backend branch_and_bound",
    )


def _refused(error: Exception) -> ConfigError:
    return ConfigError(
        f"Gurobi refuses the problem: {error}",
        where="backend",
        fix="install a licence for Gurobi (without one it takes 2000 variables and constraints), "
        "or use the backend ortools or branch_and_bound",
    )
