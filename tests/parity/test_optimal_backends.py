"""Optimal sparse probing by own branch and bound against master problems of other solvers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from artneuro.core.errors import ConfigError
from artneuro.probing.optimal import OptimalSparseSVM
from benchmarks.planted import SIZES, recovery


def example(seed: int):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((150, 12)) + generator.standard_normal((150, 1))
    y = x[:, :4].sum(axis=1) + 2 * generator.standard_normal(150) > 1
    return x, y


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "squared_error"])
@pytest.mark.parametrize(("backend", "package"), [("ortools", "ortools"), ("gurobi", "gurobipy")])
def test_other_masters_prove_the_same(loss, backend, package):
    pytest.importorskip(package)
    for seed in range(2):
        x, y = example(seed)
        ours = OptimalSparseSVM(3, loss=loss, gap=1e-6).fit(x, y)
        other = OptimalSparseSVM(3, loss=loss, gap=1e-6, backend=backend).fit(x, y)
        assert ours.status_ == other.status_ == "optimal"
        assert ours.support_.tolist() == other.support_.tolist()
        assert other.objective_ == pytest.approx(ours.objective_, rel=1e-6)
        assert other.bound_ <= ours.objective_
        assert ours.bound_ <= other.objective_


@pytest.mark.parametrize(("backend", "package"), [("ortools", "ortools"), ("gurobi", "gurobipy")])
def test_master_without_its_package(monkeypatch, backend, package):
    for name in [package, "ortools.sat.python"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        OptimalSparseSVM(2, backend=backend).fit(*example(0))


@pytest.mark.slow
def test_planted_kinds_are_recovered():
    found = recovery(["optimal"], 2)
    assert all(found["optimal", kind][0] == 1.0 for kind in SIZES)
