"""Fields on a periodic domain: Fourier collocation in space, exponential Runge-Kutta in time.

The parts of the right-hand side come from the system's table: what is linear in a variable's own
even derivatives is integrated exactly, the rest by ETDRK4 (Cox and Matthews, 2002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfftn, rfftn

from artneuro.core.errors import DataError
from artneuro.dynamics.equations import Spiral, System, Term, Waves

TAYLOR_TERMS = 20


def field_grid(system: System, points: int) -> list[np.ndarray]:
    """Coordinates of the grid along each axis of space, each of shape (points,).

    The domain is periodic: its end, which is its start, is left out.
    """
    return [start + length * np.arange(points) / points for start, length in system.domain]


def draw_field(system: System, points: int, generator: np.random.Generator) -> np.ndarray:
    """A random initial field, shape (points along each axis..., variable). Thesis, section D.1.4.

    The waves of Kuramoto-Sivashinsky jump at the end of the domain unless 4 r1 is a whole number,
    which the fourth derivative smooths away at once.
    """
    if isinstance(system.initial, Waves):
        phase, waves = generator.uniform(0, 1, size=2)
        angle = 2 * np.pi * np.arange(points) / points
        wave = np.cos(angle + phase) + np.sin(4 * waves * angle)
        return (wave / np.abs(wave).max())[:, None]
    if isinstance(system.initial, Spiral):
        scale = generator.uniform(system.initial.low, system.initial.high)
        turn = generator.uniform(0, 2 * np.pi)
        x, y = np.meshgrid(*field_grid(system, points), indexing="ij")
        radius = np.hypot(x, y)
        angle = np.arctan2(y, x) + turn - scale * radius
        return np.tanh(radius)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    raise ValueError(f"{system.name} is no field")


def integrate_field(
    system: System, initial: np.ndarray, dt: float, samples: int, *, substeps: int = 1
) -> np.ndarray:
    """A field at times 0, dt, 2 dt, ...

    Parameters
    ----------
    system : System
        Of kind "field".
    initial : ndarray of shape (points along each axis..., variable)
        An even number of points along each axis.
    dt : float
        Time between samples.
    samples : int
        How many, the initial field among them.
    substeps : int
        Steps of the integrator from one sample to the next.

    Returns
    -------
    ndarray of shape (points along each axis..., samples, variable)

    Raises
    ------
    DataError
        If the field is not finite any more.
    """
    right = _RightHandSide(system, initial.shape[:-1])
    step = _Etdrk4(right, dt / substeps)
    found = np.empty((*initial.shape[:-1], samples, initial.shape[-1]))
    state = right.transform(np.moveaxis(initial, -1, 0))
    found[..., 0, :] = initial
    for sample in range(1, samples):
        for _ in range(substeps):
            state = step(state)
        found[..., sample, :] = np.moveaxis(right.restore(state), 0, -1)
        if not np.isfinite(state).all():
            raise DataError(
                f"the field of {system.name} is not finite after {sample * dt:g} time units",
                fix="raise the system's substeps, or check its parameters",
            )
    return found


@dataclass(frozen=True)
class _Product:
    """A term of the nonlinear part: coefficient, monomial, and what is differentiated if any."""

    target: int
    coefficient: float
    powers: tuple[int, ...]
    derivative: int | None


class _RightHandSide:
    """The linear and the nonlinear part of a field's equation, in Fourier space."""

    def __init__(self, system: System, shape: tuple[int, ...]) -> None:
        if system.kind != "field" or len(shape) != len(system.axes) or any(n % 2 for n in shape):
            raise ValueError(f"{system.name} on a grid of {shape}")
        self.shape = shape
        self.axes = tuple(range(1, len(shape) + 1))
        self.waves = _wave_numbers(system, shape)
        modes = np.broadcast_shapes(*(w.shape for w in self.waves))
        self.linear = np.zeros((system.dimension, *modes))
        self.products: list[_Product] = []
        derivatives: list[tuple[int, tuple[int, ...]]] = []
        for target, terms in enumerate(system.equations):
            for term, coefficient in terms:
                if _is_linear(term, target):
                    symbol = self._symbol(term.orders) if term.orders else np.ones(())
                    self.linear[target] += coefficient * symbol.real
                    continue
                at = None
                if term.orders:
                    if (term.of, term.orders) not in derivatives:
                        derivatives.append((term.of, term.orders))
                    at = derivatives.index((term.of, term.orders))
                self.products.append(_Product(target, coefficient, term.powers, at))
        self.derivatives = [(of, self._symbol(orders)) for of, orders in derivatives]

    def _symbol(self, orders: tuple[int, ...]) -> np.ndarray:
        symbol: np.ndarray = np.ones((), dtype=np.complex128)
        for wave, order in zip(self.waves, orders, strict=True):
            factor = (1j * wave) ** order
            if order % 2:
                # On the grid the highest wave is a cosine alone, whose odd derivatives vanish.
                factor = np.where(np.abs(wave) == np.abs(wave).max(), 0.0, factor)
            symbol = symbol * factor
        return symbol

    def transform(self, fields: np.ndarray) -> np.ndarray:
        """Fields (variable, space...) to their Fourier coefficients."""
        return rfftn(fields, axes=self.axes)

    def restore(self, state: np.ndarray) -> np.ndarray:
        """Fourier coefficients to fields (variable, space...)."""
        return irfftn(state, s=self.shape, axes=self.axes)

    def nonlinear(self, state: np.ndarray) -> np.ndarray:
        """Fourier coefficients of the nonlinear part."""
        extra = [symbol * state[of] for of, symbol in self.derivatives]
        values = self.restore(np.stack([*state, *extra]))
        fields, slopes = values[: len(state)], values[len(state) :]
        monomials: dict[tuple[int, ...], np.ndarray] = {}
        result = np.zeros_like(fields)
        for product in self.products:
            if product.powers not in monomials:
                monomials[product.powers] = _monomial(fields, product.powers)
            value = monomials[product.powers]
            if product.derivative is not None:
                value = value * slopes[product.derivative]
            result[product.target] += product.coefficient * value
        return self.transform(result)


def _is_linear(term: Term, target: int) -> bool:
    """Is it a multiple of the variable itself, or of an even derivative of it?"""
    if term.orders:
        even = all(order % 2 == 0 for order in term.orders)
        return term.of == target and term.degree == 0 and even
    return term.degree == 1 and term.powers[target] == 1


def _wave_numbers(system: System, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Angular wave numbers along each axis, of shapes that broadcast to that of the modes."""
    found = []
    for axis, (points, (_, length)) in enumerate(zip(shape, system.domain, strict=True)):
        last = axis == len(shape) - 1
        numbers = (
            np.fft.rfftfreq(points, 1 / points) if last else np.fft.fftfreq(points, 1 / points)
        )
        place = [1] * len(shape)
        place[axis] = len(numbers)
        found.append((2 * np.pi / length * numbers).reshape(place))
    return found


def _monomial(fields: np.ndarray, powers: tuple[int, ...]) -> np.ndarray:
    factors = [fields[at] for at, power in enumerate(powers) for _ in range(power)]
    if not factors:
        return np.ones(fields.shape[1:])
    value = factors[0]
    for factor in factors[1:]:
        value = value * factor
    return value


class _Etdrk4:
    """One step of the fourth-order exponential Runge-Kutta method of Cox and Matthews."""

    def __init__(self, right: _RightHandSide, h: float) -> None:
        self.right = right
        z = h * right.linear
        first, second, third = phi_functions(z)
        half, _, _ = phi_functions(z / 2)
        self.whole_decay, self.half_decay = np.exp(z), np.exp(z / 2)
        self.half_weight = h / 2 * half
        self.start = h * (first - 3 * second + 4 * third)
        self.middle = h * (2 * second - 4 * third)
        self.end = h * (4 * third - second)

    def __call__(self, state: np.ndarray) -> np.ndarray:
        nonlinear, half = self.right.nonlinear, self.half_weight
        at_start = nonlinear(state)
        decayed = self.half_decay * state
        first = decayed + half * at_start
        at_first = nonlinear(first)
        at_second = nonlinear(decayed + half * at_first)
        at_end = nonlinear(self.half_decay * first + half * (2 * at_second - at_start))
        return (
            self.whole_decay * state
            + self.start * at_start
            + self.middle * (at_first + at_second)
            + self.end * at_end
        )


def phi_functions(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The functions phi_k(z) = sum over j of z^j / (j + k)! for k = 1, 2, 3.

    phi_1 = (e^z - 1)/z, and phi_(k+1) = (phi_k - 1/k!)/z. Near 0 these differences cancel, so the
    series is summed there.
    """
    z = np.asarray(z, dtype=np.float64)
    near = np.abs(z) < 1
    safe = np.where(near, 1.0, z)
    series, direct = np.where(near, z, 0.0), np.exp(safe)
    found = []
    for k in (1, 2, 3):
        direct = (direct - 1 / math.factorial(k - 1)) / safe
        value = np.zeros_like(series)
        for j in reversed(range(TAYLOR_TERMS)):
            value = value * series + 1 / math.factorial(j + k)
        found.append(np.where(near, value, direct))
    return found[0], found[1], found[2]
