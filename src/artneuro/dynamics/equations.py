"""Equations as sparse tables of terms with coefficients: what a dynamical system is made of.

A table is the only place where an equation is written: what integrates it, the true coefficients in
a library and the names of terms all come from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from artneuro.core.errors import ConfigError

FACTOR = re.compile(r"(?P<variable>[A-Za-z][A-Za-z0-9]*)(?:\^(?P<power>\d+)|_(?P<axes>[a-z]+))?")


@dataclass(frozen=True)
class Term:
    """A monomial of the variables, or one times a space derivative of a variable.

    Attributes
    ----------
    powers : tuple of int
        Exponent of each variable.
    of : int
        The variable that is differentiated; 0 without a derivative.
    orders : tuple of int
        Order of the derivative along each axis of space; empty without one.
    """

    powers: tuple[int, ...]
    of: int = 0
    orders: tuple[int, ...] = ()

    @property
    def degree(self) -> int:
        """Degree of the monomial."""
        return sum(self.powers)

    def label(self, variables: Sequence[str], axes: Sequence[str] = ()) -> str:
        """Name such as "1", "x y^2", "u_xx" or "u u_x"."""
        parts = [
            name if power == 1 else f"{name}^{power}"
            for name, power in zip(variables, self.powers, strict=True)
            if power
        ]
        if self.orders:
            letters = "".join(a * n for a, n in zip(axes, self.orders, strict=True))
            parts.append(f"{variables[self.of]}_{letters}")
        return " ".join(parts) or "1"


def parse_term(text: str, variables: Sequence[str], axes: Sequence[str] = ()) -> Term:
    """The term that `Term.label` names; factors are separated by spaces, in any order.

    Raises
    ------
    ValueError
        If a factor is not a power or a derivative of one of the variables.
    """
    powers, of, orders = [0] * len(variables), 0, tuple[int, ...]()
    for factor in [] if text == "1" else text.split():
        found = FACTOR.fullmatch(factor)
        if found is None or found["variable"] not in variables:
            raise ValueError(f"{factor!r} in {text!r} is no power or derivative of {variables}")
        at = list(variables).index(found["variable"])
        if not found["axes"]:
            powers[at] += int(found["power"] or 1)
            continue
        if orders or set(found["axes"]) - set(axes):
            raise ValueError(f"{text!r}: at most one derivative along {axes}")
        of, orders = at, tuple(found["axes"].count(axis) for axis in axes)
    return Term(tuple(powers), of, orders)


@dataclass(frozen=True)
class Box:
    """Initial conditions uniform in a box, each coordinate alone."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Ring:
    """Initial conditions with a uniform angle and a uniform radius."""

    inner: float
    outer: float


@dataclass(frozen=True)
class NearTrajectory:
    """Initial conditions around points of a trajectory, drawn uniformly in time.

    Attributes
    ----------
    start : tuple of float
        Where the trajectory starts.
    duration, dt : float
        Its length and step.
    spread : float
        Standard deviation of the Gaussian noise, relative to that of each coordinate on the
        trajectory.
    positive : tuple of int
        Coordinates whose absolute values are taken.
    """

    start: tuple[float, ...]
    duration: float = 10.0
    dt: float = 0.01
    spread: float = 0.1
    positive: tuple[int, ...] = ()


@dataclass(frozen=True)
class Waves:
    """cos(s + r0) + sin(4 r1 s) over its largest absolute value, r0 and r1 uniform in [0, 1]; the
    axis is mapped to s in [0, 2 pi).
    """


@dataclass(frozen=True)
class Spiral:
    """tanh(r) times cos and sin of (angle + o - s r) in two variables, with o uniform in [0, 2 pi]
    and s in [low, high].
    """

    low: float = 0.95
    high: float = 1.05


Initial = Box | Ring | NearTrajectory | Waves | Spiral
Kind = Literal["flow", "map", "field"]


@dataclass(frozen=True)
class System:
    """A dynamical system.

    Attributes
    ----------
    name : str
    kind : {"flow", "map", "field"}
        An ordinary differential equation, a map from one step to the next, or a partial
        differential equation on a periodic domain.
    variables : tuple of str
    equations : tuple of tuple of (Term, float)
        Right-hand side of each variable: its terms with their coefficients, none of them zero.
    initial : Initial
        How initial conditions are drawn.
    inputs, targets : tuple of int
        Variables that libraries are built of, and those whose equations are to be found.
    parameters : dict of str to float
    axes : tuple of str
        Names of the axes of space, for a field.
    domain : tuple of (float, float)
        Start and length of each of them.
    points : int
        Grid points along each of them that the thesis used.
    """

    name: str
    kind: Kind
    variables: tuple[str, ...]
    equations: tuple[tuple[tuple[Term, float], ...], ...]
    initial: Initial
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    domain: tuple[tuple[float, float], ...] = ()
    points: int = 0

    @property
    def dimension(self) -> int:
        """Number of variables."""
        return len(self.variables)


def right_hand_side(system: System) -> Callable[[np.ndarray], np.ndarray]:
    """The function from states (..., variable) to their right-hand sides of the same shape.

    Of a flow it gives time derivatives, of a map the next states. Fields are not evaluated point by
    point: see `artneuro.dynamics.spectral`.
    """
    if system.kind == "field":
        raise ValueError(f"{system.name} has space derivatives")
    monomials = sorted({term.powers for terms in system.equations for term, _ in terms})
    width = max(1, max(sum(powers) for powers in monomials))
    # Each monomial as a fixed number of factors, padded by the constant that is put after the
    # state: one lookup and one product for all of them.
    factors = np.full((len(monomials), width), system.dimension)
    for row, powers in enumerate(monomials):
        flat = [at for at, power in enumerate(powers) for _ in range(power)]
        factors[row, : len(flat)] = flat
    matrix = np.zeros((len(monomials), system.dimension))
    for column, terms in enumerate(system.equations):
        for term, coefficient in terms:
            matrix[monomials.index(term.powers), column] += coefficient

    def evaluate(states: np.ndarray) -> np.ndarray:
        padded = np.ones((*states.shape[:-1], states.shape[-1] + 1))
        padded[..., :-1] = states
        return padded[..., factors].prod(axis=-1) @ matrix

    return evaluate


def true_coefficients(system: System, terms: Sequence[Term]) -> np.ndarray:
    """Coefficients of the true equations in a library.

    Parameters
    ----------
    system : System
    terms : sequence of Term
        The terms of the library, over the variables `system.inputs`.

    Returns
    -------
    ndarray of shape (targets, terms)

    Raises
    ------
    ConfigError
        If the library lacks a term of an equation: what is to be found is not in it.
    """
    places = {term: at for at, term in enumerate(terms)}
    found = np.zeros((len(system.targets), len(terms)))
    for row, target in enumerate(system.targets):
        for term, coefficient in system.equations[target]:
            own = _over_inputs(system, term)
            if own not in places:
                name = term.label(system.variables, system.axes)
                raise ConfigError(
                    f"the library has no term {name!r}, which the equation of "
                    f"{system.variables[target]} in {system.name} needs",
                    fix="raise its degree or derivative order",
                )
            found[row, places[own]] += coefficient
    return found


def _over_inputs(system: System, term: Term) -> Term | None:
    """The term in the numbering of the inputs; None if it uses a variable that is not one."""
    used = {at for at, power in enumerate(term.powers) if power}
    if term.orders:
        used.add(term.of)
    if used - set(system.inputs):
        return None
    powers = tuple(term.powers[at] for at in system.inputs)
    return Term(powers, system.inputs.index(term.of) if term.orders else 0, term.orders)
