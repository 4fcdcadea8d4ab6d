"""Noisy measurements of a trajectory, and its parts for training and validation.

Thesis, section 5.3.1. Time is the last axis but one of every array, variables are the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import DataError


@dataclass(frozen=True)
class Observation:
    """What is measured of a trajectory.

    Attributes
    ----------
    train, validation : ndarray of shape (..., time, variable)
        Noisy states; validation follows training in time.
    noise : float
        Standard deviation of the noise, the same for all variables.
    """

    train: np.ndarray
    validation: np.ndarray
    noise: float


def mean_rms(states: np.ndarray) -> float:
    """Mean over the variables of the root mean square of each, over time and space."""
    squares = np.square(states, dtype=np.float64)
    return float(np.sqrt(squares.mean(axis=tuple(range(states.ndim - 1)))).mean())


def add_noise(
    states: np.ndarray, level: float, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Add independent Gaussian noise to every number.

    Parameters
    ----------
    states : ndarray of shape (..., time, variable)
    level : float
        Standard deviation of the noise relative to `mean_rms`: 0.002 for "0.2% noise".
    generator : Generator
        A shorter trajectory of the same system gets the first draws of a longer one's, so that the
        same trial at two durations differs by its length (and the scale) alone; a field's do not.

    Returns
    -------
    noisy : ndarray, the shape of `states`
    noise : float
        The standard deviation.
    """
    noise = level * mean_rms(states)
    return states + noise * generator.standard_normal(states.shape), noise


def sample_counts(duration: float, dt: float, validation_share: float) -> tuple[int, int]:
    """Samples for training, and samples after them for validation.

    Parameters
    ----------
    duration, dt : float
        Time of training data, and between samples.
    validation_share : float
        Time of validation data relative to that of training: 0.5 makes it the last third.
    """
    # Durations such as 0.3 are no exact multiples of dt in binary.
    train = round(duration / dt)
    return train, round(train * validation_share)


def observe(
    states: np.ndarray, train: int, validation: int, level: float, generator: np.random.Generator
) -> Observation:
    """Measure the start of a trajectory.

    Parameters
    ----------
    states : ndarray of shape (..., time, variable)
        The true trajectory.
    train, validation : int
        Samples of each part; validation may be 0.
    level : float
        See `add_noise`; the noise is scaled by both parts together.
    generator : Generator
        The trial's.

    Raises
    ------
    DataError
        If the trajectory is too short.
    """
    samples = train + validation
    if train < 1 or states.shape[-2] < samples:
        raise DataError(
            f"{train} samples to train on and {validation} to validate on are asked of a "
            f"trajectory of {states.shape[-2]}",
            fix="simulate for longer: the longest duration of the config sets the length",
        )
    noisy, noise = add_noise(states[..., :samples, :], level, generator)
    return Observation(noisy[..., :train, :], noisy[..., train:, :], noise)
