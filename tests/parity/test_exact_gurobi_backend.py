"""Exact sparse regression by leaps and bounds against Gurobi's SOS-1 formulation."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from artneuro.core.errors import ConfigError
from artneuro.dynamics import gurobi_backend, sparse_path
from artneuro.dynamics.derivatives import differentiate
from artneuro.dynamics.libraries import polynomial_features
from artneuro.dynamics.noise import observe
from artneuro.dynamics.simulate import Accuracy, simulate_trial
from artneuro.dynamics.sparse_library import factorise, with_penalty
from artneuro.dynamics.systems import build_system

DT = 0.002


def library(X, y, alpha=0.01):
    allowed = np.ones(X.shape[1], dtype=bool)
    return with_penalty(factorise(X, y), alpha, "raw", allowed)


def trajectory(system, degree, rows, trial=0):
    """Library and targets as the thesis has them, with 0.2 % noise."""
    states = simulate_trial(
        build_system(system), "train", trial, DT, rows, seed=0, accuracy=Accuracy(1e-9, 1e-9)
    )
    seen = observe(states, rows, 0, 0.002, np.random.default_rng(trial)).train
    return polynomial_features(seen, degree), differentiate(seen, DT, 9)


def objective(X, y, names, alpha=0.01):
    """By least squares on the columns as they are, the penalty in further rows."""
    both = np.vstack([X[:, names], np.sqrt(alpha) * np.eye(len(names))])
    target = np.concatenate([y, np.zeros(len(names))])
    left = target - both @ np.linalg.lstsq(both, target, rcond=1e-15)[0]
    return float(left @ left)


CASES = [
    ("hopf", 3, 250, 4),
    ("hopf", 5, 1000, 5),
    ("lorenz", 2, 250, 3),
    ("lorenz", 3, 2000, 3),
    ("mhd", 2, 1000, 3),
    pytest.param("mhd", 3, 2000, 2, marks=pytest.mark.slow),
    pytest.param("lorenz", 5, 5000, 3, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("system", "degree", "rows", "most"), CASES)
def test_equal_supports_and_objectives(system, degree, rows, most):
    pytest.importorskip("gurobipy")
    X, y = trajectory(system, degree, rows)
    both = library(X, y)
    for target in range(y.shape[1]):
        ours = sparse_path.search(both, target, most)
        theirs = gurobi_backend.search(both, target, most)
        assert list(ours.sizes) == list(theirs.sizes) == list(range(1, most + 1))
        for k, size in theirs.sizes.items():
            support, value, _ = size.pool[0]
            assert size.status == ours.sizes[k].status == "optimal"
            assert support == ours.sizes[k].pool[0][0]
            assert value == pytest.approx(ours.sizes[k].pool[0][1], rel=1e-9)
            assert value == pytest.approx(objective(X, y[:, target], list(support)), rel=1e-9)
            assert size.bound == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("closest", [4, 9])
def test_never_optimal_with_a_wrong_support(closest):
    # Libraries with near copies of columns, small enough to look at every support. Gurobi itself
    # calls some of the closest optimal or unbounded that are neither.
    pytest.importorskip("gurobipy")
    claims = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((12, 7))
        X[:, 4:] = X[:, :3] + 10.0 ** -rng.uniform(1, closest, 3) * rng.standard_normal((12, 3))
        y = X[:, 0] - 2 * X[:, 1] + 10.0 ** -rng.uniform(0, 4) * rng.standard_normal(12)
        both = library(X, y[:, None], 0.0)
        for k, size in gurobi_backend.search(both, 0, 3).sizes.items():
            supports = itertools.combinations(range(7), k)
            best = min(objective(X, y, list(s), 0.0) for s in supports)
            assert size.bound <= best * (1 + 1e-6)
            if size.status == "optimal":
                claims += 1
                assert size.pool[0][1] == pytest.approx(best, rel=1e-6)
    assert claims >= 18 or closest > 4


def test_forced_columns_and_the_pool():
    pytest.importorskip("gurobipy")
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 9)) + rng.standard_normal((40, 1))
    both = library(X, (X @ rng.standard_normal(9))[:, None], 0.1)
    arguments = {"forced": (8,), "pool_tol": 0.3}
    ours = sparse_path.search(both, 0, 4, **arguments)
    theirs = gurobi_backend.search(both, 0, 4, **arguments)
    for k, size in ours.sizes.items():
        assert all(8 in support for support, _, _ in size.pool)
        assert [entry[0] for entry in theirs.sizes[k].pool] == [entry[0] for entry in size.pool]


def test_time_limit():
    pytest.importorskip("gurobipy")
    rng = np.random.default_rng(6)
    X = rng.standard_normal((80, 60)) + 2.0 * rng.standard_normal((80, 1))
    both = library(X, rng.standard_normal((80, 1)), 0.0)
    stopped = gurobi_backend.search(both, 0, 3, time_limit=0.3).sizes
    for k, size in sparse_path.search(both, 0, 3).sizes.items():
        value = size.pool[0][1]
        assert stopped[k].bound <= value * (1 + 1e-9)
        assert stopped[k].status == "time_limit" or stopped[k].pool[0][1] == pytest.approx(value)
    assert stopped[3].status == "time_limit"


def test_more_columns_than_the_licence_allows():
    gurobipy = pytest.importorskip("gurobipy")
    if not gurobipy_is_limited(gurobipy):
        pytest.skip("this licence allows more")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 101)), rng.standard_normal((200, 1))
    with pytest.raises(ConfigError, match="101 columns") as raised:
        gurobi_backend.search(library(X, y), 0, 1)
    assert "100 columns" in str(raised.value)


def gurobipy_is_limited(gurobipy):
    """Is a model of 201 variables with a quadratic objective refused?"""
    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.Model(env=env) as model:
        x = model.addMVar(201)
        model.setObjective(x @ x)
        try:
            model.optimize()
        except gurobipy.GurobiError:
            return True
    return False


def test_without_gurobi(monkeypatch):
    monkeypatch.setitem(sys.modules, "gurobipy", None)
    rng = np.random.default_rng(0)
    both = library(rng.standard_normal((20, 4)), rng.standard_normal((20, 1)))
    with pytest.raises(ConfigError, match="pip install gurobipy"):
        gurobi_backend.search(both, 0, 1)
