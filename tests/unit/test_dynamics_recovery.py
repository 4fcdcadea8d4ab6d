"""Recovery of equations as a job: tables, their agreement with single fits, and reruns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import read_table
from artneuro.core.config import DaskConfig
from artneuro.core.errors import DataError
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.derivatives import differentiate
from artneuro.dynamics.libraries import polynomial_features
from artneuro.dynamics.metrics import derivative_rmse
from artneuro.dynamics.noise import observe
from artneuro.dynamics.recovery import SCHEMAS, recover_point, score_recovery
from artneuro.dynamics.regressions import (
    Measured,
    build_regression,
    scoring_factors,
    true_model,
)
from artneuro.dynamics.trajectories import open_trajectories, simulate_system

CONFIG = DynamicsConfig.model_validate(
    {
        "trials": 2,
        "systems": {
            "hopf": {
                "system": "hopf", "dt": 0.002, "durations": [1.0, 4.0], "noise": [0.001, 0.002],
                "degree": 4, "tight_degree": 3, "window": 9,
                "thresholds": [0.01, 0.03, 0.1, 0.3],
            },
            "wheel": {
                "system": "van_der_pol", "dt": 0.02, "durations": [20.0], "noise": [0.01, 0.3],
                "degree": 3, "window": 21, "weak": {"domains": 150},
                "thresholds": [0.1, 1.0, 3.0],
            },
        },
        "methods": {"ensembles": 4, "alphas": [0.0, 0.001], "nus": [1.0], "sr3_iterations": 200},
        "recovery": {"systems": ["hopf", "wheel"]},
        "scoring": {"trials": 2, "duration": 2.0},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name in CONFIG.systems:
        simulate_system(folder / f"{name}.zarr", CONFIG.simulation(name))
    return folder


def test_a_regression_is_of_the_noisy_start_of_its_trajectory(stores):
    store = open_trajectories(stores / "hopf.zarr")
    hopf = CONFIG.systems["hopf"]
    found = build_regression(hopf, store, Measured(1, 1.0, 0.001), 3, seed=0, validation_share=0.5)
    noise = generator_of(0, "dynamics", "noise", "hopf", 1)
    seen = observe(store.read("train", 1, 750), 500, 250, 0.001, noise)
    np.testing.assert_array_equal(found.library, polynomial_features(seen.train, 3))
    np.testing.assert_array_equal(found.targets, differentiate(seen.train, 0.002, 9))
    assert found.validation.measurements == 250
    assert not found.unit_columns
    assert found.seen is found.train


def test_weak_models_are_validated_by_derivatives_only_with_little_noise(stores):
    store, wheel = open_trajectories(stores / "wheel.zarr"), CONFIG.systems["wheel"]
    for noise, rows in ((0.01, 500), (0.3, 150)):
        found = build_regression(
            wheel, store, Measured(0, 20.0, noise), 3, seed=0, validation_share=0.5
        )
        assert found.unit_columns
        assert found.library.shape == (150, 10)
        assert found.validation.measurements == rows
        np.testing.assert_allclose(np.linalg.norm(found.seen.library, axis=0), 1)


def test_factors_of_test_trajectories_give_the_same_errors(stores):
    store = open_trajectories(stores / "hopf.zarr")
    system = CONFIG.systems["hopf"].build()
    true, names = true_model(system, 3)
    assert names[:3] == ["1", "x", "y"]
    other = true + np.random.default_rng(0).normal(size=true.shape)
    plain = [polynomial_features(store.read("test", trial), 3) for trial in range(2)]
    factors = scoring_factors(system, store, 3)
    assert factors[0].shape == (10, 10)
    assert derivative_rmse(factors, true, other) == pytest.approx(
        derivative_rmse(plain, true, other), rel=1e-10
    )


def test_equations_with_little_noise_are_found(stores):
    measured = Measured(0, 20.0, 0.01)
    rows = recover_point(CONFIG, "wheel", str(stores / "wheel.zarr"), "large", measured)
    found = {row["method"]: row for row in rows["recovery"]}
    assert found["exact"]["tpr"] == 1.0
    assert found["exact"]["nce"] < 0.05
    models = [row for row in rows["models"] if row["method"] == "exact"]
    assert [row["target"] for row in models] == ["x", "y"]
    assert [row["support"] for row in models] == [["y"], ["x", "y", "x^2 y"]]
    np.testing.assert_allclose(models[1]["coef"], [-1, 3, -3], rtol=0.05)
    assert all(row["correct"] and row["status"] == "optimal" for row in models)
    assert all(row["bound"] <= row["objective"] for row in models)
    shares = {(r["target"], r["k"], r["term"]): r for r in rows["inclusion"]}
    assert shares["y", 3, "x^2 y"]["true"]
    assert shares["y", 3, "x^2 y"]["share"] == pytest.approx(1)


@pytest.mark.slow
def test_tables_are_whole_and_the_same_in_every_run(stores, tmp_path):
    outputs = []
    for run in ("first", "second"):
        paths = {name: tmp_path / f"{run}-{name}.parquet" for name in SCHEMAS}
        score_recovery(
            CONFIG, "hopf", stores / "hopf.zarr", paths, dask=DaskConfig(workers=1), threads=1
        )
        outputs.append(paths)
    recovery = read_table(outputs[0]["recovery"])
    assert dict(recovery.schema) == dict(SCHEMAS["recovery"])
    assert recovery.height == 2 * 2 * 2 * 2 * 7  # libraries, trials, durations, noise, methods
    assert recovery.null_count().row(0) == (0,) * recovery.width
    assert read_table(outputs[0]["models"]).height == 2 * recovery.height
    for name in ("recovery", "models", "inclusion"):
        assert outputs[0][name].read_bytes() == outputs[1][name].read_bytes()
    times = read_table(outputs[0]["times"])
    assert set(times["step"]) == {"build", "factor", *CONFIG.methods.names}
    long = recovery.filter((pl.col("duration") == 4) & (pl.col("library") == "tight"))
    assert long.filter(pl.col("method") == "exact")["tpr"].min() >= 0.8


def test_domains_that_hold_too_few_samples_are_named(stores):
    wheel = CONFIG.systems["wheel"].model_copy(
        update={"weak": CONFIG.systems["wheel"].weak.model_copy(update={"width": 0.001})}
    )
    store = open_trajectories(stores / "wheel.zarr")
    with pytest.raises(Exception, match="domains of width") as error:
        build_regression(wheel, store, Measured(0, 20.0, 0.01), 3, seed=0, validation_share=0.5)
    assert not isinstance(error.value, DataError)


def test_a_library_without_a_term_of_the_equations_is_refused():
    values = CONFIG.model_dump()
    values["systems"]["hopf"]["tight_degree"] = 2
    with pytest.raises(ValueError, match="degree 2: the library has no term 'x\\^3'"):
        DynamicsConfig.model_validate(values)


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        ("recovery", "mhd", "there is no system 'mhd'; there are: hopf"),
        ("constraints", "hopf", "not of the kind"),
        ("fields", "hopf", "not of the kind"),
        ("runtime", "wheel", "takes no weak"),
    ],
)
def test_experiments_name_systems_that_they_are_about(section, name, message):
    values = CONFIG.model_dump()
    values[section]["systems"] = [name]
    with pytest.raises(ValueError, match=message):
        DynamicsConfig.model_validate(values)
