"""Trajectories against conserved quantities and closed forms; initial conditions; the store."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from artneuro.core.errors import DataError, StoreError
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.config import DynamicsConfig
from artneuro.dynamics.noise import add_noise, mean_rms, observe, sample_counts
from artneuro.dynamics.simulate import (
    Accuracy,
    draw_initial,
    simulate,
    simulate_trial,
)
from artneuro.dynamics.systems import build_system, duffing, hopf, logistic_map, lorenz
from artneuro.dynamics.trajectories import (
    Plan,
    open_trajectories,
    simulate_system,
    write_trajectories,
)


def trajectory(name: str, duration: float, dt: float = 0.01, trial: int = 0) -> np.ndarray:
    return simulate_trial(build_system(name), "train", trial, dt, round(duration / dt), seed=1)


def assert_constant(values: np.ndarray, tolerance: float) -> None:
    assert np.abs(values - values[0]).max() <= tolerance * max(1.0, np.abs(values[0]))


def test_mhd_conserves_energy_cross_helicity_and_magnetic_helicity():
    v, b = np.split(trajectory("mhd", 20), 2, axis=1)
    assert_constant((v**2 + b**2).sum(axis=1), 1e-10)
    assert_constant((v * b).sum(axis=1), 1e-9)
    assert_constant((b**2 / np.array([2, 5, 9])).sum(axis=1), 1e-9)
    assert np.ptp(v, axis=0).min() > 0.5


@pytest.mark.parametrize("omega", [-2.0, 2.0])
def test_duffing_conserves_energy_and_angular_momentum(omega: float):
    states = simulate(duffing(omega), np.array([2.0, -1.0, 0.5, 3.0]), 0.01, 3000)
    x, y, px, py = states.T
    radius = x**2 + y**2
    assert_constant((px**2 + py**2) / 2 - omega / 2 * radius + 0.1 / 4 * radius**2, 1e-9)
    assert_constant(x * py - y * px, 1e-9)


def test_lotka_volterra_conserves_its_first_integral():
    x, y = trajectory("lotka_volterra", 30).T
    assert_constant(10 * x - 2 * np.log(x) + 10 * y - np.log(y), 1e-8)
    assert np.ptp(x) > 0.1


def test_hopf_spirals_as_in_closed_form():
    mu, omega, a = -0.05, 1.0, 1.0
    states = simulate(hopf(mu, omega, a), np.array([0.0, 1.1]), 0.01, 1000)
    times = 0.01 * np.arange(1000)
    radius = np.sqrt(mu / (a + (mu / 1.1**2 - a) * np.exp(-2 * mu * times)))
    angle = np.pi / 2 - omega * times
    expected = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(states, expected, atol=1e-9)


def test_lorenz_on_its_axis_and_linearised_at_the_origin():
    states = simulate(lorenz(), np.array([0.0, 0.0, 20.0]), 0.01, 300)
    np.testing.assert_allclose(states[:, 2], 20 * np.exp(-8 / 3 * 0.01 * np.arange(300)), rtol=1e-9)
    assert not states[:, :2].any()
    # The variational equation at the origin: a small start grows along the unstable direction.
    small = simulate(lorenz(), 1e-9 * np.array([1.0, 1.0, 0.0]), 0.01, 100)
    matrix = np.array([[-10.0, 10.0], [28.0, -1.0]])
    values, vectors = np.linalg.eig(matrix)
    weights = np.linalg.solve(vectors, 1e-9 * np.ones(2))
    expected = (vectors * weights) @ np.exp(values[:, None] * 0.99)
    accurate = simulate(lorenz(), 1e-9 * np.array([1.0, 1.0, 0.0]), 0.01, 100,
                        Accuracy(atol=1e-22))  # fmt: skip
    np.testing.assert_allclose(accurate[-1, :2], expected.ravel(), rtol=1e-6)
    np.testing.assert_allclose(small[-1, :2], expected.ravel(), rtol=1e-2)


def test_logistic_map_at_four_is_a_doubled_angle():
    states = simulate(logistic_map(4.0), np.array([0.2]), 1.0, 25)
    angle = np.arcsin(np.sqrt(0.2))
    expected = np.sin(2.0 ** np.arange(25) * angle) ** 2
    np.testing.assert_allclose(states[:, 0], expected, atol=1e-7)


def test_escaping_trajectories_are_refused():
    escapes = pytest.raises(DataError, match="logistic_map is not finite")
    with escapes, np.errstate(over="ignore", invalid="ignore"):
        simulate(logistic_map(5.0), np.array([0.9]), 1.0, 100)


def test_initial_conditions_are_those_of_the_appendix():
    drawn = {
        name: np.array(
            [draw_initial(build_system(name), 0, generator_of(0, name, i)) for i in range(200)]
        )
        for name in ("lorenz", "hopf", "mhd", "duffing", "van_der_pol", "lotka_volterra")
    }
    for name, low, high in [
        ("lorenz", [-5, -5, 10], [5, 5, 40]), ("mhd", [-1.5] * 6, [1.5] * 6),
        ("duffing", [-np.pi] * 4, [np.pi] * 4), ("van_der_pol", [-1, -3], [1, 3]),
        ("lotka_volterra", [0, 0], [1, 1]),
    ]:  # fmt: skip
        width = np.array(high) - np.array(low)
        assert (drawn[name] >= low).all()
        assert (drawn[name] <= high).all()
        assert (np.ptp(drawn[name], axis=0) > 0.9 * width).all()
    radius = np.linalg.norm(drawn["hopf"], axis=1)
    assert 0.75 <= radius.min() < 0.8
    assert 1.2 < radius.max() <= 1.25
    roessler = np.array([draw_initial(build_system("roessler"), 0, generator_of(0, i))
                         for i in range(6)])  # fmt: skip
    path = simulate(build_system("roessler"), np.array([5.0, 3, 0]), 0.01, 1000)
    near = np.abs(path[:, None] - roessler) / path.std(axis=0)
    assert (near.max(axis=2).min(axis=0) < 0.6).all()
    assert (roessler[:, 2] >= 0).all()


def test_trials_depend_on_their_own_names_only():
    short, long = (trajectory("lorenz", duration, trial=3) for duration in (0.1, 0.2))
    np.testing.assert_allclose(short, long[:10], rtol=1e-10)
    assert not np.array_equal(trajectory("lorenz", 0.1)[0], trajectory("lorenz", 0.1, trial=1)[0])
    system = build_system("lorenz")
    first = simulate_trial(system, "train", 0, 0.01, 1, seed=1)
    assert not np.array_equal(first, simulate_trial(system, "test", 0, 0.01, 1, seed=1))
    assert not np.array_equal(first, simulate_trial(system, "train", 0, 0.01, 1, seed=2))


def test_noise_has_the_scale_that_is_asked_for():
    states = np.random.default_rng(0).normal(0, [1.0, 3.0], size=(50_000, 2))
    assert mean_rms(states) == pytest.approx(2.0, rel=0.01)
    noisy, sigma = add_noise(states, 0.1, np.random.default_rng(1))
    assert sigma == pytest.approx(0.2, rel=0.01)
    np.testing.assert_allclose((noisy - states).std(axis=0), sigma, rtol=0.02)
    assert mean_rms(np.full((4, 5, 6, 2), -3.0)) == 3.0


def test_observations_are_parts_of_one_noisy_trajectory():
    states = np.sin(np.arange(60.0)).reshape(30, 2)
    assert sample_counts(0.3, 0.1, 0.5) == (3, 2)
    assert sample_counts(2**-1, 0.002, 0.5) == (250, 125)
    seen = observe(states, 12, 6, 0.1, np.random.default_rng(3))
    noisy, sigma = add_noise(states[:18], 0.1, np.random.default_rng(3))
    assert seen.noise == sigma
    assert np.array_equal(np.concatenate([seen.train, seen.validation]), noisy)
    # A longer observation of the same trial begins with the same draws of noise.
    longer = observe(states, 20, 10, 0.1, np.random.default_rng(3))
    np.testing.assert_allclose(
        (longer.train[:12] - states[:12]) / longer.noise, (seen.train - states[:12]) / seen.noise
    )
    with pytest.raises(DataError, match="longest duration"):
        observe(states, 25, 12, 0.1, np.random.default_rng(3))


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "trajectories.zarr"
    plans = {"train": Plan(2, 0.01, 30), "test": Plan(1, 0.1, 8)}
    write_trajectories(path, lorenz(), plans, seed=4)
    return path


def test_store_gives_back_what_was_simulated(store):
    found = open_trajectories(store)
    assert found.plan("test") == Plan(1, 0.1, 8)
    assert found.attributes["parameters"] == {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3}
    assert found.attributes["integrator"] == "DOP853"
    expected = simulate_trial(lorenz(), "train", 1, 0.01, 30, seed=4)
    assert np.array_equal(found.read("train", 1), expected)
    assert np.array_equal(found.read("train", 1, 7), expected[:7])
    for trial, samples in ((2, 3), (-1, 3), (0, 31), (0, 0)):
        with pytest.raises(StoreError, match="2 trials of 30 samples"):
            found.read("train", trial, samples)


def test_damaged_stores_are_refused(store, tmp_path):
    chunk = store / "train" / "c" / "1" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    assert len(open_trajectories(store).read("train", 0)) == 30
    with pytest.raises(StoreError, match="trial 1 cannot be read"):
        open_trajectories(store).read("train", 1)
    chunk.unlink()
    with pytest.raises(StoreError, match="no chunk"):
        open_trajectories(store).read("train", 1)
    shutil.rmtree(store / "train")
    with pytest.raises(StoreError):
        open_trajectories(store).read("train", 0)
    with pytest.raises(StoreError, match="not a store"):
        open_trajectories(tmp_path)


def test_system_of_the_config_is_simulated(tmp_path):
    config = DynamicsConfig.model_validate(
        {
            "trials": 2, "seed": 9, "scoring": {"trials": 3, "duration": 1.0},
            "systems": {
                "short": {"system": "hopf", "dt": 0.002, "durations": [0.1, 0.2], "degree": 5,
                          "window": 9},
                "waves": {"system": "kuramoto_sivashinsky", "dt": 0.1, "durations": [1.0],
                          "degree": 3, "derivative_order": 4, "points": 64,
                          "weak": {"domains": 20, "width": 0.4}},
            },
        }
    )  # fmt: skip
    simulate_system(tmp_path / "short.zarr", config.simulation("short"))
    found = open_trajectories(tmp_path / "short.zarr")
    assert found.plan("train") == Plan(2, 0.002, 150)
    assert found.plan("test") == Plan(3, 0.01, 100)
    simulate_system(tmp_path / "waves.zarr", config.simulation("waves"))
    waves = open_trajectories(tmp_path / "waves.zarr")
    assert waves.read("train", 1).shape == (64, 10, 1)
    assert list(waves.attributes["roles"]) == ["train"]
    assert waves.attributes["domain"] == [[0.0, pytest.approx(32 * np.pi)]]
