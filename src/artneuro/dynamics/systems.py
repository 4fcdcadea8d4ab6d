"""The dynamical systems of the thesis by name, with their parameters and initial conditions.

Each right-hand side is written once, as a table of terms with coefficients. Thesis, sections 5.3.2
to 5.4.2 and D.1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Literal

from artneuro.core.errors import ConfigError
from artneuro.dynamics.equations import (
    Box,
    Initial,
    Kind,
    NearTrajectory,
    Ring,
    Spiral,
    System,
    Waves,
    parse_term,
)

Table = Mapping[str, Mapping[str, float]]


def _system(
    name: str,
    table: Table,
    initial: Initial,
    parameters: Mapping[str, float],
    *,
    kind: Kind = "flow",
    inputs: str = "",
    targets: str = "",
    domain: Mapping[str, tuple[float, float]] | None = None,
    points: int = 0,
) -> System:
    variables, space = tuple(table), domain or {}
    axes = tuple(space)
    equations = tuple(
        tuple((parse_term(text, variables, axes), float(c)) for text, c in terms.items() if c)
        for terms in table.values()
    )
    chosen = [
        tuple(variables.index(v) for v in (names.split() or variables))
        for names in (inputs, targets)
    ]
    return System(
        name, kind, variables, equations, initial, chosen[0], chosen[1],
        dict(parameters), axes, tuple(space.values()), points,
    )  # fmt: skip


def lorenz(sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3) -> System:
    """The Lorenz system (5.23)."""
    table = {
        "x": {"y": sigma, "x": -sigma},
        "y": {"x": rho, "x z": -1, "y": -1},
        "z": {"x y": 1, "z": -beta},
    }
    parameters = {"sigma": sigma, "rho": rho, "beta": beta}
    return _system("lorenz", table, Box((-5, -5, 10), (5, 5, 40)), parameters)


def hopf(mu: float = -0.05, omega: float = 1.0, a: float = 1.0) -> System:
    """The normal form of a Hopf bifurcation (5.24).

    The authors' code turns the other way (omega = -1), which changes no result but signs.
    """
    table = {
        "x": {"x": mu, "y": omega, "x^3": -a, "x y^2": -a},
        "y": {"x": -omega, "y": mu, "x^2 y": -a, "y^3": -a},
    }
    return _system("hopf", table, Ring(0.75, 1.25), {"mu": mu, "omega": omega, "a": a})


def mhd() -> System:
    """Three modes of an ideal magnetohydrodynamic flow and of its magnetic field (5.25)."""
    table = {
        "V1": {"V2 V3": 4, "B2 B3": -4},
        "V2": {"V1 V3": -7, "B1 B3": 7},
        "V3": {"V1 V2": 3, "B1 B2": -3},
        "B1": {"B3 V2": 2, "V3 B2": -2},
        "B2": {"V3 B1": 5, "B3 V1": -5},
        "B3": {"V1 B2": 9, "B1 V2": -9},
    }
    return _system("mhd", table, Box((-1.5,) * 6, (1.5,) * 6), {})


def duffing(omega: float = -2.0, alpha: float = 0.1) -> System:
    """The Duffing oscillator of two dimensions, whose forces are fitted on the position (5.26).

    With the potential as printed in (5.27), -omega/2 r^2 + alpha/4 r^4, its omega = -2 is a single
    well; the authors' code has the other sign before omega, a ring of minima: omega = 2 here.
    """
    force = {"x^3": -alpha, "x y^2": -alpha}, {"x^2 y": -alpha, "y^3": -alpha}
    table: Table = {
        "x": {"X": 1}, "y": {"Y": 1}, "X": {"x": omega, **force[0]}, "Y": {"y": omega, **force[1]}
    }  # fmt: skip
    return _system(
        "duffing", table, Box((-math.pi,) * 4, (math.pi,) * 4), {"omega": omega, "alpha": alpha},
        inputs="x y", targets="X Y",
    )  # fmt: skip


def van_der_pol(mu: float = 3.0) -> System:
    """The Van der Pol oscillator (5.28)."""
    table: Table = {"x": {"y": 1}, "y": {"y": mu, "x^2 y": -mu, "x": -1}}
    return _system("van_der_pol", table, Box((-1, -abs(mu)), (1, abs(mu))), {"mu": mu})


def lotka_volterra(p1: float = 1.0, p2: float = 10.0) -> System:
    """Predators and prey (5.29)."""
    table = {"x": {"x": p1, "x y": -p2}, "y": {"x y": p2, "y": -2 * p1}}
    return _system("lotka_volterra", table, Box((0, 0), (1, 1)), {"p1": p1, "p2": p2})


def roessler(a: float = 0.2, b: float = 0.2, c: float = 5.7) -> System:
    """The Roessler system (5.30)."""
    table: Table = {
        "x": {"y": -1, "z": -1},
        "y": {"x": 1, "y": a},
        "z": {"1": b, "z": -c, "x z": 1},
    }
    initial = NearTrajectory((5, 3, 0), positive=(2,))
    return _system("roessler", table, initial, {"a": a, "b": b, "c": c})


def logistic_map(r: float = 3.9) -> System:
    """The logistic map (5.33)."""
    return _system("logistic_map", {"x": {"x": r, "x^2": -r}}, Box((0.1,), (0.9,)), {"r": r},
                   kind="map")  # fmt: skip


def kuramoto_sivashinsky(length: float = 32 * math.pi) -> System:
    """The Kuramoto-Sivashinsky equation (5.31).

    The authors' code integrates on 32 pi and calls that 100, half a percent less.
    """
    return _system(
        "kuramoto_sivashinsky", {"u": {"u u_x": -1, "u_xx": -1, "u_xxxx": -1}}, Waves(),
        {"length": length}, kind="field", domain={"x": (0.0, length)}, points=1024,
    )  # fmt: skip


def reaction_diffusion(diffusion: float = 0.1, beta: float = 1.0, length: float = 20.0) -> System:
    """Reaction and diffusion with spiral waves (5.32)."""
    spread = diffusion
    table = {
        "u": {"u_xx": spread, "u_yy": spread, "u": 1, "u v^2": -1, "u^3": -1, "v^3": beta,
              "u^2 v": beta},
        "v": {"v_xx": spread, "v_yy": spread, "v": 1, "u v^2": -beta, "u^3": -beta, "v^3": -1,
              "u^2 v": -1},
    }  # fmt: skip
    side = (-length / 2, length)
    return _system(
        "reaction_diffusion", table, Spiral(),
        {"diffusion": diffusion, "beta": beta, "length": length},
        kind="field", domain={"x": side, "y": side}, points=256,
    )  # fmt: skip


SystemName = Literal[
    "lorenz", "hopf", "mhd", "duffing", "van_der_pol", "lotka_volterra", "roessler",
    "logistic_map", "kuramoto_sivashinsky", "reaction_diffusion",
]  # fmt: skip
SYSTEMS: dict[str, Callable[..., System]] = {
    "lorenz": lorenz,
    "hopf": hopf,
    "mhd": mhd,
    "duffing": duffing,
    "van_der_pol": van_der_pol,
    "lotka_volterra": lotka_volterra,
    "roessler": roessler,
    "logistic_map": logistic_map,
    "kuramoto_sivashinsky": kuramoto_sivashinsky,
    "reaction_diffusion": reaction_diffusion,
}


def build_system(name: str, parameters: Mapping[str, float] | None = None) -> System:
    """A system by its name, with the thesis's parameters but for those given.

    Raises
    ------
    ConfigError
        If there is no such system, or it has no such parameter.
    """
    if name not in SYSTEMS:
        raise ConfigError(f"there is no system {name!r}", fix=f"take one of {', '.join(SYSTEMS)}")
    known = inspect.signature(SYSTEMS[name]).parameters
    unknown = [key for key in parameters or {} if key not in known]
    if unknown:
        raise ConfigError(
            f"the system {name} has no parameter {unknown[0]!r}",
            fix=f"its parameters: {', '.join(known) or 'none'}",
        )
    return SYSTEMS[name](**(parameters or {}))
