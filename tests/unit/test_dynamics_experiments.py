"""Physical constraints, fields and run times: against rows by hand and equations that are known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import read_table
from artneuro.dynamics.achievability import FIELD_METHODS, field_regression, fit_field
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.forces import curl_free, fit_forces
from artneuro.dynamics.libraries import library_terms, term_names
from artneuro.dynamics.regressions import Measured, true_model
from artneuro.dynamics.systems import duffing
from artneuro.dynamics.timing import RUNTIME_SCHEMA, time_regressions
from artneuro.dynamics.trajectories import open_trajectories, simulate_system

CONFIG = DynamicsConfig.model_validate(
    {
        "trials": 1,
        "systems": {
            "well": {
                "system": "duffing", "dt": 0.01, "durations": [15.0], "noise": [0.01],
                "degree": 3, "window": 21, "thresholds": [0.01, 0.05, 0.3],
            },
            "waves": {
                "system": "kuramoto_sivashinsky", "dt": 0.1, "durations": [12.0], "noise": [0.1],
                "degree": 3, "derivative_order": 4, "points": 256, "weak": {"domains": 150},
                "thresholds": [0.4, 0.6],
            },
            "hopf": {
                "system": "hopf", "dt": 0.002, "durations": [0.5, 1.0], "noise": [0.002],
                "degree": 5, "window": 9,
            },
        },
        "methods": {"nus": [1.0], "sr3_iterations": 300, "ensembles": 2},
        "constraints": {"systems": ["well"], "terms": [2, 4, 6, 8], "alphas": [1e-4]},
        "fields": {"systems": ["waves"], "alphas": [0.0], "ensembles": 5},
        "runtime": {"systems": ["hopf"], "degrees": [3, 4], "trials": 1},
        "scoring": {"trials": 1, "duration": 2.0},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name in CONFIG.systems:
        simulate_system(folder / f"{name}.zarr", CONFIG.simulation(name))
    return folder


def test_constraints_are_those_of_a_force_with_a_potential():
    terms = library_terms(duffing(), 3)
    names = term_names(duffing(), terms)
    expected = [
        # The derivative by y of the first component less that by x of the second.
        ({"y": 1}, {"x": 1}), ({"x y": 1}, {"x^2": 2}), ({"y^2": 2}, {"x y": 1}),
        ({"x^2 y": 1}, {"x^3": 3}), ({"x y^2": 2}, {"x^2 y": 2}), ({"y^3": 3}, {"x y^2": 1}),
    ]  # fmt: skip
    rows = curl_free(terms)
    assert rows.shape == (6, 20)
    for row, (first, second) in zip(rows, expected, strict=True):
        wanted = np.zeros(20)
        for name, value in first.items():
            wanted[names.index(name)] = value
        for name, value in second.items():
            wanted[10 + names.index(name)] = -value
        assert row.tolist() == wanted.tolist()
    true, _ = true_model(duffing(), 3)
    np.testing.assert_allclose(rows @ true.ravel(), 0, atol=1e-15)


def test_constrained_forces_meet_their_constraints(stores):
    rows = fit_forces(CONFIG, "well", str(stores / "well.zarr"), Measured(0, 15.0, 0.01))
    found = {row["method"]: row for row in rows}
    assert list(found) == ["exact", "exact_constrained", "sr3", "sr3_constrained"]
    for method in ("exact", "exact_constrained"):
        assert found[method]["tpr"] == 1.0
        assert found[method]["nce"] < 0.1
        assert found[method]["k"] == 6
        assert found[method]["proven"]
        assert not found[method]["at_edge"]
    assert found["exact_constrained"]["violation"] < 1e-12
    assert found["exact"]["violation"] > 1e-6
    assert found["sr3"]["proven"] is None


def test_equations_of_a_field_can_be_found(stores):
    store = open_trajectories(stores / "waves.zarr")
    problem = field_regression(CONFIG.systems["waves"], store, Measured(0, 12.0, 0.1), seed=0)
    assert (problem.terms, problem.measurements) == (19, 150)
    rows = fit_field(CONFIG, "waves", str(stores / "waves.zarr"), Measured(0, 12.0, 0.1))
    assert [row["method"] for row in rows] == list(FIELD_METHODS)
    found = {row["method"]: row for row in rows}
    for method in ("exact", "stlsq", "ensemble_stlsq", "ssr"):
        assert found[method]["correct"]
        assert found[method]["nce"] < 0.1
    assert found["exact"]["terms"] == 3
    assert found["stlsq"]["threshold"] in (0.4, 0.6)


@pytest.mark.slow
def test_run_times_are_of_every_method_and_library(stores, tmp_path):
    path = tmp_path / "runtime.parquet"
    time_regressions(CONFIG, "hopf", stores / "hopf.zarr", path)
    table = read_table(path)
    assert dict(table.schema) == dict(RUNTIME_SCHEMA)
    assert table.height == 2 * 2 * 5
    assert sorted(table["library_terms"].unique()) == [10, 15]
    assert (table["seconds_solve"] >= 0).all()
    assert table.filter(pl.col("method") == "exact")["proven"].all()
