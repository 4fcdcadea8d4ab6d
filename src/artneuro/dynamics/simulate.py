"""True trajectories of systems from random initial conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.integrate import solve_ivp

from artneuro.core.errors import DataError
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.equations import Box, NearTrajectory, Ring, System, right_hand_side
from artneuro.dynamics.spectral import draw_field, integrate_field

Role = Literal["train", "test"]


@dataclass(frozen=True)
class Accuracy:
    """How closely trajectories are integrated.

    Attributes
    ----------
    rtol, atol : float
        Tolerances of the integrator of flows (DOP853).
    substeps : int
        Steps of the integrator of fields (ETDRK4) from one sample to the next.
    """

    rtol: float = 1e-12
    atol: float = 1e-12
    substeps: int = 4


def draw_initial(system: System, points: int, generator: np.random.Generator) -> np.ndarray:
    """A random initial condition: (variable,), or (points..., variable) of a field. Thesis, D.1.

    Parameters
    ----------
    points : int
        Points along each axis of a field; ignored otherwise.
    """
    initial = system.initial
    if isinstance(initial, Box):
        return generator.uniform(initial.low, initial.high)
    if isinstance(initial, Ring):
        angle = generator.uniform(0, 2 * np.pi)
        radius = generator.uniform(initial.inner, initial.outer)
        return radius * np.array([np.cos(angle), np.sin(angle)])
    if isinstance(initial, NearTrajectory):
        samples = round(initial.duration / initial.dt)
        path = simulate(system, np.array(initial.start, dtype=np.float64), initial.dt, samples)
        state = path[generator.integers(samples)]
        state = generator.normal(state, initial.spread * path.std(axis=0))
        chosen = list(initial.positive)
        state[chosen] = np.abs(state[chosen])
        return state
    return draw_field(system, points, generator)


def simulate(
    system: System,
    initial: np.ndarray,
    dt: float,
    samples: int,
    accuracy: Accuracy | None = None,
) -> np.ndarray:
    """States at times 0, dt, 2 dt, ...

    Parameters
    ----------
    system : System
    initial : ndarray of shape (variable,), of a field (points..., variable)
    dt : float
        Time between samples; a map takes one step from each to the next.
    samples : int
        How many, the initial condition among them.
    accuracy : Accuracy, optional

    Returns
    -------
    ndarray of shape (samples, variable), of a field (points..., samples, variable)

    Raises
    ------
    DataError
        If the trajectory leaves all bounds or cannot be integrated.
    """
    accuracy = accuracy or Accuracy()
    if system.kind == "field":
        return integrate_field(system, initial, dt, samples, substeps=accuracy.substeps)
    evaluate = right_hand_side(system)
    if system.kind == "map":
        states = np.empty((samples, system.dimension))
        states[0] = initial
        for step in range(1, samples):
            states[step] = evaluate(states[step - 1])
    elif samples == 1:
        return np.array(initial, dtype=np.float64)[None]
    else:
        times = dt * np.arange(samples)
        solution = solve_ivp(
            lambda _, state: evaluate(state),
            (0.0, times[-1]),
            initial,
            method="DOP853",
            t_eval=times,
            rtol=accuracy.rtol,
            atol=accuracy.atol,
        )
        if not solution.success:
            raise DataError(
                f"{system.name} cannot be integrated from {np.round(initial, 3).tolist()}: "
                f"{solution.message}",
                fix="take shorter durations, or check the system's parameters",
            )
        states = solution.y.T
    if not np.isfinite(states).all():
        raise DataError(
            f"{system.name} is not finite from {np.round(initial, 3).tolist()} on",
            fix="check the system's parameters",
        )
    return states


def simulate_trial(
    system: System,
    role: Role,
    trial: int,
    dt: float,
    samples: int,
    *,
    seed: int,
    points: int = 0,
    accuracy: Accuracy | None = None,
) -> np.ndarray:
    """One trajectory from its own random initial condition, which depends on nothing but its name.

    Parameters
    ----------
    role, trial : str, int
        Which trajectory: more trials leave the first ones as they are.
    points : int
        Points along each axis of a field; 0: the thesis's.

    Returns
    -------
    ndarray
        See `simulate`.
    """
    generator = generator_of(seed, "dynamics", system.name, role, trial)
    initial = draw_initial(system, points or system.points, generator)
    return simulate(system, initial, dt, samples, accuracy)
