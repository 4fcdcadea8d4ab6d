"""Recovery metrics and AICc against closed forms and plain loops; the config of the stage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from artneuro.dynamics.config import DynamicsConfig, Spaced, SystemConfig, numbers_of
from artneuro.dynamics.metrics import (
    aicc,
    aicc_by_target,
    aicc_jointly,
    coefficient_error,
    derivative_rmse,
    log_mean,
    true_positivity,
)

TRUE = np.array([[3.0, 0.0, 0.0, -4.0], [0.0, 1e-9, 0.0, 0.0]])


def test_true_positivity_is_intersection_over_union():
    assert true_positivity(TRUE, TRUE * 5) == 1.0
    estimate = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    # Shared: two. One is missed, two are too many.
    assert true_positivity(TRUE, estimate) == 2 / 5
    assert true_positivity(TRUE, np.zeros_like(TRUE)) == 0.0
    assert true_positivity(np.zeros(3), np.zeros(3)) == 1.0


def test_coefficient_error_is_relative_to_the_truth():
    assert coefficient_error(TRUE, TRUE) == 0
    assert coefficient_error(TRUE, 0 * TRUE) == 1
    off = TRUE.copy()
    off[1, 0] = 1.0
    assert coefficient_error(TRUE, off) == pytest.approx(1 / 5)


def test_rmse_is_of_clean_derivatives_and_the_mean_over_trajectories():
    true, estimate = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [3.0, 1.0]])
    first, second = np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 2.0]])
    # Errors are 2 and -3 on each row of the first; 4 and 0 on the second.
    expected = (math.sqrt((4 + 9) / 2) + math.sqrt(16 / 2)) / 2
    assert derivative_rmse([first, second], true, estimate) == pytest.approx(expected)
    assert derivative_rmse([first], true, true) == 0.0
    with pytest.raises(ValueError):
        derivative_rmse([], true, true)


def test_aicc_is_formula_5_19():
    assert aicc(math.e * 10, 10, 3) == pytest.approx(10 + 6 + 2 * 4 * 5 / 5)
    assert aicc(7.0, 7, 0) == pytest.approx(2 * 1 * 2 / 5)
    # With fewer measurements than the correction allows it stays a penalty.
    assert aicc(4.0, 4, 5) == pytest.approx(10 + 2 * 6 * 7)
    assert aicc(0.0, 10, 3) == -math.inf


def test_aicc_of_many_models_is_that_of_each():
    rng = np.random.default_rng(0)
    features, derivatives = rng.normal(size=(15, 4)), rng.normal(size=(15, 2))
    models = rng.normal(size=(3, 5, 2, 4)) * (rng.random((3, 5, 2, 4)) < 0.5)
    alone, jointly = (f(features, derivatives, models) for f in (aicc_by_target, aicc_jointly))
    assert alone.shape == (3, 5, 2)
    assert jointly.shape == (3, 5)
    for index in np.ndindex(3, 5):
        squares = (derivatives - features @ models[index].T) ** 2
        for target in range(2):
            expected = aicc(squares[:, target].sum(), 15, int((models[index][target] != 0).sum()))
            assert alone[(*index, target)] == pytest.approx(expected)
        expected = aicc(squares.sum(), 30, int((models[index] != 0).sum()))
        assert jointly[index] == pytest.approx(expected)


def test_log_mean_is_the_geometric_mean():
    mean, error = log_mean(np.array([1e-3, 1e3, math.e**3]))
    assert mean == pytest.approx(1.0)
    logs = [-math.log(1000), math.log(1000), 3.0]
    assert error == pytest.approx(np.std(logs, ddof=1) / math.sqrt(3))
    assert math.isnan(log_mean(np.array([2.0]))[1])


LORENZ = {
    "system": "lorenz", "dt": 0.002, "degree": 5, "tight_degree": 2, "window": 9,
    "durations": {"start": -2, "stop": 3.4, "count": 12, "base": 2}, "noise": [0.002],
}  # fmt: skip
WAVES = {
    "system": "kuramoto_sivashinsky", "dt": 0.1, "degree": 3, "derivative_order": 4,
    "durations": [25.0], "weak": {"domains": 200},
    "noise": {"start": 0.25, "stop": 3, "count": 12},
}  # fmt: skip


def test_config_of_the_thesis_grids():
    config = DynamicsConfig.model_validate({"systems": {"a": LORENZ, "b": WAVES}})
    durations = numbers_of(config.systems["a"].durations)
    assert durations[0] == 0.25
    assert durations[-1] == pytest.approx(2**3.4)
    assert config.systems["a"].samples(0.5) == round(2**3.4 / 0.002) + round(
        round(2**3.4 / 0.002) / 2
    )
    assert numbers_of(config.systems["b"].noise)[:2] == [0.25, 0.5]
    assert Spaced(start=-2, stop=0, count=3, base=10).values() == pytest.approx([0.01, 0.1, 1])
    assert config.systems["b"].samples(0.5) == 250


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        (LORENZ, {"parameters": {"gamma": 1}}, "no parameter 'gamma'"),
        (LORENZ, {"derivative_order": 2}, "and lorenz is none"),
        (LORENZ, {"points": 64}, "and lorenz is none"),
        (LORENZ, {"window": None}, "window and weak"),
        (LORENZ, {"window": 8}, "not odd"),
        (LORENZ, {"tight_degree": 6}, "above degree"),
        (LORENZ, {"durations": [0.01]}, "only 5 samples"),
        (LORENZ, {"durations": []}, "at least one"),
        (LORENZ, {"durations": [-1e308]}, "above zero"),
        (LORENZ, {"durations": [1e308]}, "samples at dt 0.002"),
        (LORENZ, {"durations": [1e307, 1.0]}, "samples at dt 0.002"),
        (LORENZ, {"noise": {"start": 1, "stop": 400, "count": 3, "base": 10}}, "a float can hold"),
        (LORENZ, {"noise": {"start": -1e308, "stop": 1e308, "count": 3}}, "a float can hold"),
        (LORENZ, {"noise": {"start": 0, "stop": 1, "count": 10**12}}, "less than or equal"),
        (LORENZ, {"noise": [-0.1]}, "none negative"),
        (WAVES, {"derivative_order": 0}, "needs a derivative_order"),
        (WAVES, {"window": 9}, "no window"),
        (WAVES, {"system": "logistic_map", "derivative_order": 0}, "a map has no derivatives"),
    ],
)
def test_systems_that_do_not_fit_together_are_refused(base, change, words):
    SystemConfig.model_validate(base)
    with pytest.raises(ValidationError, match=words):
        SystemConfig.model_validate({**base, **change})
