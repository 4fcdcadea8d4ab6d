"""Exact sparse regression under constraints of physics against Gurobi (thesis, 5.3.4)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from artneuro.dynamics.certificate import verify
from artneuro.dynamics.derivatives import differentiate
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.libraries import polynomial_features
from artneuro.dynamics.noise import observe, sample_counts
from artneuro.dynamics.simulate import Accuracy, simulate_trial
from artneuro.dynamics.systems import build_system

gurobipy = pytest.importorskip("gurobipy")

ALPHA = 0.01
# The y-derivative of the force along x is the x-derivative of that along y.
TERMS = ["1", "x", "y", "x2", "xy", "y2", "x3", "x2y", "xy2", "y3"]
CURL_FREE = (
    (("x", 1), ("y", 1)), (("x2", 2), ("xy", 1)), (("xy", 1), ("y2", 2)),
    (("x3", 3), ("x2y", 1)), (("x2y", 1), ("xy2", 1)), (("xy2", 1), ("y3", 3)),
)  # fmt: skip


def constraints() -> np.ndarray:
    lhs = np.zeros((6, 2, 10))
    for row, ((first, a), (second, b)) in zip(lhs, CURL_FREE, strict=True):
        row[1, TERMS.index(first)], row[0, TERMS.index(second)] = a, -b
    return lhs


def instance(duration: float, noise: float, trial: int) -> tuple[np.ndarray, np.ndarray]:
    """Library of the positions and derivatives of the momenta, as in the thesis."""
    train, _ = sample_counts(duration, 0.01, 0.0)
    system, loose = build_system("duffing"), Accuracy(1e-9, 1e-9)
    states = simulate_trial(system, "train", trial, 0.01, train, seed=0, accuracy=loose)
    seen = observe(states, train, 0, noise, np.random.default_rng(trial)).train
    return polynomial_features(seen[:, :2], 3), differentiate(seen, 0.01, 21)[:, 2:]


def gurobi(X, Y, k, lhs, *, inequality=False, bound=None) -> float:
    """The least objective, by SOS-1 pairs over columns and targets of unit length."""
    shape = targets, features = Y.shape[1], X.shape[1]
    size, scale = np.linalg.norm(Y), np.sqrt(np.square(X).sum(axis=0) + ALPHA)
    gram = (X.T @ X + ALPHA * np.eye(features)) / np.outer(scale, scale)
    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.Model(env=env) as model:
        w = model.addMVar(shape, lb=-gurobipy.GRB.INFINITY)
        zero = model.addMVar(shape, vtype=gurobipy.GRB.BINARY)
        for n in np.ndindex(shape):
            model.addSOS(gurobipy.GRB.SOS_TYPE1, [w[n].item(), zero[n].item()])
        model.addConstr(zero.sum() >= targets * features - k)
        for row in lhs / scale:
            row = row / np.linalg.norm(row)
            total = sum(row[t] @ w[t] for t in range(targets))
            model.addConstr(total <= 0.0 if inequality else total == 0.0)
        if bound is not None:
            model.addConstr(w <= np.tile(bound * scale / size, (targets, 1)))
            model.addConstr(w >= -np.tile(bound * scale / size, (targets, 1)))
        moment = (X / scale).T @ Y / size
        model.setObjective(
            1.0 + sum(w[t] @ gram @ w[t] - 2.0 * (moment[:, t] @ w[t]) for t in range(targets))
        )
        model.Params.MIPGap = model.Params.MIPGapAbs = 0.0
        model.Params.FeasibilityTol = model.Params.OptimalityTol = 1e-9
        model.Params.IntFeasTol, model.Params.Threads = 1e-9, 1
        model.optimize()
        assert model.Status == gurobipy.GRB.OPTIMAL
        return float(model.ObjVal * size**2)


CASES = [
    pytest.param(*case, marks=[] if case in ((10.0, 0.1, 0), (30.0, 0.01, 1)) else pytest.mark.slow)
    for case in itertools.product((10.0, 30.0, 100.0), (0.01, 0.05, 0.1), (0, 1))
]


@pytest.mark.parametrize(("duration", "noise", "trial"), CASES)
def test_curl_free_forces(duration, noise, trial):
    X, Y = instance(duration, noise, trial)
    lhs = constraints()
    model = ExactSparseRegression(
        target_sparsity=10, alpha=ALPHA, constraint_lhs=lhs.reshape(6, -1),
        constraint_rhs=np.zeros(6),
    ).fit(X, Y)  # fmt: skip
    for proof in model.path_[0]:
        if proof.k in (2, 3, 4, 6, 8, 10):
            assert proof.status == "optimal"
            assert np.abs((lhs * proof.coef).sum(axis=(1, 2))).max() < 1e-12
            assert proof.objective == pytest.approx(gurobi(X, Y, proof.k, lhs), rel=1e-6)
    if duration == 10.0:
        verify(model.path_[0][5], X, Y, most=10)


@pytest.mark.parametrize("k", [3, 6])
def test_inequalities_and_bounds(k):
    X, Y = instance(10.0, 0.05, 1)
    lhs = constraints()
    for bound in (None, 0.5):
        model = ExactSparseRegression(
            target_sparsity=k, alpha=ALPHA, constraint_lhs=lhs.reshape(6, -1),
            constraint_rhs=np.zeros(6), inequality_constraints=True, coef_bound=bound,
        ).fit(X, Y)  # fmt: skip
        peer = gurobi(X, Y, k, lhs, inequality=True, bound=bound)
        assert model.certificate_[0].status == "optimal"
        assert model.objective_ == pytest.approx(peer, rel=1e-6)
        verify(model.certificate_[0], X, Y, most=10)


def energy_preserving() -> np.ndarray:
    """No net power of the quadratic terms of three variables: x.Q(x, x) = 0."""
    pairs = list(itertools.combinations_with_replacement(range(3), 2))
    products: dict[tuple[int, ...], np.ndarray] = {}
    for t in range(3):
        for p, pair in enumerate(pairs):
            line = products.setdefault(tuple(sorted((t, *pair))), np.zeros((3, 10)))
            line[t, 4 + p] = 1.0
    return np.array(list(products.values()))


@pytest.mark.parametrize("k", [5, 7, pytest.param(9, marks=pytest.mark.slow)])
def test_three_targets_that_preserve_energy(k):
    train, _ = sample_counts(2.0, 0.002, 0.0)
    states = simulate_trial(
        build_system("lorenz"), "train", 0, 0.002, train, seed=0, accuracy=Accuracy(1e-9, 1e-9)
    )
    seen = observe(states, train, 0, 0.01, np.random.default_rng(0)).train
    X, Y = polynomial_features(seen, 2), differentiate(seen, 0.002, 9)
    lhs = energy_preserving()
    model = ExactSparseRegression(
        target_sparsity=k, alpha=ALPHA, constraint_lhs=lhs.reshape(len(lhs), -1),
        constraint_rhs=np.zeros(len(lhs)),
    ).fit(X, Y)  # fmt: skip
    proof = model.certificate_[0]
    assert proof.status == "optimal"
    assert proof.objective == pytest.approx(gurobi(X, Y, k, lhs), rel=1e-6)
