"""The weak form: library terms integrated against test functions on random domains.

The numbers are those of PySINDy's `WeakPDELibrary` on the same domains (a test compares them). What
differs is the cost: weights are shared by domains of the same size, and space derivatives are taken
on each domain alone, so the reaction-diffusion library needs no copies of the whole field.
Thesis, sections 5.2.1 and 5.3.5.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import ConfigError
from artneuro.dynamics.libraries import derivative_orders, polynomial_terms

# Exponent of the test function (1 - s^2)^p along each axis.
EXPONENT = 4
# Integration by parts leaves at most half of a term's derivatives on the data, rounded up, and
# differences over three points give two.
HIGHEST_DERIVATIVE = 4


@dataclass(frozen=True)
class Domains:
    """Boxes of grid points in space and time.

    Attributes
    ----------
    starts : ndarray of int, shape (domains, axes)
        First point of each along each axis of space and, last, along time.
    counts : ndarray of int, shape (domains, axes)
        Points along each axis.
    spacing : tuple of float
        Distance of points along each axis.
    """

    starts: np.ndarray
    counts: np.ndarray
    spacing: tuple[float, ...]

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        for start, count in zip(self.starts, self.counts, strict=True):
            yield tuple(slice(int(a), int(a + n)) for a, n in zip(start, count, strict=True))


def draw_domains(
    shape: Sequence[int],
    spacing: Sequence[float],
    count: int,
    width: float,
    generator: np.random.Generator,
) -> Domains:
    """Domains of equal width around uniform centres, shrunk to the grid points inside.

    Parameters
    ----------
    shape : sequence of int
        Points along each axis of space and along time.
    spacing : sequence of float
        Distance of points along each.
    count : int
        How many domains.
    width : float
        Width of a domain along each axis over the length of that axis, below 1. PySINDy's default
        is 0.1.
    generator : Generator

    Raises
    ------
    ConfigError
        If a domain would hold fewer than three points along an axis.
    """
    lengths = (np.asarray(shape) - 1) * np.asarray(spacing, dtype=np.float64)
    half = width * lengths / 2
    if np.any(2 * half < 3 * np.asarray(spacing)) or not 0 < width < 1:
        raise ConfigError(
            f"domains of width {width:g} hold too few points of a grid of {tuple(shape)}",
            where="dynamics.systems, weak.width",
            fix="widen the domains, or take longer durations or smaller dt",
        )
    centres = generator.uniform(half, lengths - half, size=(count, len(lengths)))
    # Points strictly inside, so that each domain has a neighbour on either side, rounding or not.
    starts = np.maximum(np.floor((centres - half) / spacing).astype(np.int64) + 1, 1)
    stops = np.minimum(np.ceil((centres + half) / spacing).astype(np.int64), np.asarray(shape) - 1)
    return Domains(starts, stops - starts, tuple(float(h) for h in spacing))


@functools.lru_cache(maxsize=4096)
def axis_weights(points: int, spacing: float, order: int, exponent: int = EXPONENT) -> np.ndarray:
    """Weights that integrate data against a derivative of the test function along one axis.

    Parameters
    ----------
    points : int
        Points of the domain along the axis, at least 2.
    spacing : float
        Their distance.
    order : int
        Order of the derivative of (1 - s^2)^exponent, where s is -1 and 1 at the outermost points.

    Returns
    -------
    ndarray of shape (points,)
        Exact for data that are linear between points.
    """
    test = np.polynomial.Polynomial([1, 0, -1]) ** exponent
    derivative = test.deriv(order) if order else test
    nodes, node_weights = np.polynomial.legendre.leggauss(exponent + 1)
    edges = np.linspace(-1, 1, points)
    cell = 2 / (points - 1)
    right = (nodes + 1) / 2
    values = derivative(edges[:-1, None] + cell * right) * node_weights * cell / 2
    weights = np.zeros(points)
    weights[:-1] += values @ (1 - right)
    weights[1:] += values @ right
    weights *= (spacing * (points - 1) / 2) ** (1 - order)
    weights.setflags(write=False)
    return weights


def weak_targets(states: np.ndarray, domains: Domains) -> np.ndarray:
    """Time derivatives in the weak form: minus the states against the test function's derivative.

    Parameters
    ----------
    states : ndarray of shape (points..., time, variable)

    Returns
    -------
    ndarray of shape (domains, variable)
    """
    orders = (0,) * (len(domains.spacing) - 1) + (1,)
    exponent = max(EXPONENT, *orders)
    found = [
        -np.tensordot(_weights(counts, domains, orders, exponent), states[box], len(orders))
        for box, counts in zip(domains, domains.counts, strict=True)
    ]
    return np.array(found)


def weak_features(
    states: np.ndarray,
    domains: Domains,
    degree: int,
    derivative_order: int = 0,
    *,
    bias: bool = True,
) -> np.ndarray:
    """Library terms in the weak form.

    Parameters
    ----------
    states : ndarray of shape (points..., time, variable)
    domains : Domains
    degree : int
        Highest degree of the monomials.
    derivative_order : int
        Highest order of space derivatives; 0 without space.
    bias : bool
        Is the constant the first term?

    Returns
    -------
    ndarray of shape (domains, terms)
        In the order of `artneuro.dynamics.libraries.field_terms` (or `polynomial_terms`).

    Raises
    ------
    ConfigError
        If the derivatives are of an order above 4.
    """
    if derivative_order > HIGHEST_DERIVATIVE:
        raise ConfigError(
            f"the weak form has no derivatives of order {derivative_order}",
            where="dynamics.systems, derivative_order",
            fix=f"at most {HIGHEST_DERIVATIVE}",
        )
    space = len(domains.spacing) - 1
    exponent = max(EXPONENT, derivative_order)
    powers = [t.powers for t in polynomial_terms(states.shape[-1], degree, bias=False)]
    orders = derivative_orders(space, derivative_order)
    # Without derivatives domains need no margin, and overlapping ones share the monomials.
    leading = np.ascontiguousarray(np.moveaxis(states, -1, 0))
    whole = None if orders else monomials(leading, powers)
    rows = []
    for box, counts in zip(domains, domains.counts, strict=True):
        plain = _weights(counts, domains, (0,) * (space + 1), exponent)
        row = [np.array([plain.sum()])] if bias else []
        if whole is not None:
            row.append(_against(plain, whole[:, *box]))
        else:
            wide = (*(slice(s.start - 1, s.stop + 1) for s in box[:-1]), box[-1])
            patch = _Patch(np.ascontiguousarray(leading[:, *wide]), powers, domains.spacing[:-1])
            row.append(_against(plain, patch.functions((0,) * space)))
            weights = {
                o: _weights(counts, domains, (*o, 0), exponent) for o in [(0,) * space, *orders]
            }
            row += [
                (-1) ** sum(o) * _against(weights[o], patch.fields((0,) * space)) for o in orders
            ]
            row += [_mixed(patch, o, weights) for o in orders]
        rows.append(np.concatenate(row))
    return np.array(rows)


def monomials(values: np.ndarray, powers: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Monomials of variables.

    Parameters
    ----------
    values : ndarray of shape (variable, ...)
    powers : sequence of tuple of int
        Exponents of each monomial, by ascending degree, none of them constant; every monomial but
        those of first degree is one variable times another of the list.

    Returns
    -------
    ndarray of shape (monomials, ...)
    """
    places = {power: at for at, power in enumerate(powers)}
    found = np.empty((len(powers), *values.shape[1:]))
    for at, power in enumerate(powers):
        variable = next(v for v, n in enumerate(power) if n)
        rest = (*power[:variable], power[variable] - 1, *power[variable + 1 :])
        if any(rest):
            np.multiply(found[places[rest]], values[variable], out=found[at])
        else:
            found[at] = values[variable]
    return found


class _Patch:
    """Values on one domain with a margin of one point in space, and their space derivatives."""

    def __init__(
        self, wide: np.ndarray, powers: Sequence[tuple[int, ...]], spacing: Sequence[float]
    ) -> None:
        self.wide, self.spacing = wide, spacing
        self.wide_functions = monomials(wide, powers)
        self._fields: dict[tuple[int, ...], np.ndarray] = {}
        self._functions: dict[tuple[int, ...], np.ndarray] = {}

    def fields(self, orders: tuple[int, ...]) -> np.ndarray:
        """A derivative of the variables without the margin, (variable, points..., time)."""
        if orders not in self._fields:
            self._fields[orders] = _differences(self.wide, orders, self.spacing)
        return self._fields[orders]

    def functions(self, orders: tuple[int, ...]) -> np.ndarray:
        """A derivative of the monomials without the margin, (monomial, points..., time)."""
        if orders not in self._functions:
            self._functions[orders] = _differences(self.wide_functions, orders, self.spacing)
        return self._functions[orders]


def _differences(
    values: np.ndarray, orders: tuple[int, ...], spacing: Sequence[float]
) -> np.ndarray:
    """Central differences of second order along the axes after the first, without the margin."""
    for axis, (order, h) in enumerate(zip(orders, spacing, strict=True), start=1):
        points = values.shape[axis]
        before, here, after = (
            values[(slice(None),) * axis + (slice(start, points - 2 + start),)]
            for start in (0, 1, 2)
        )
        if order == 0:
            values = here
        elif order == 1:
            values = (after - before) / (2 * h)
        else:
            values = (after - 2 * here + before) / h**2
    return values


def _mixed(
    patch: _Patch, orders: tuple[int, ...], weights: dict[tuple[int, ...], np.ndarray]
) -> np.ndarray:
    """Every monomial times a derivative of every variable; the variable changes last.

    Half of the derivatives are moved by parts to the test function and, by the product rule, to the
    monomial.
    """
    moved = tuple(order // 2 for order in orders)
    left = tuple(order - half for order, half in zip(orders, moved, strict=True))
    fields = patch.fields(left)
    total = 0.0
    for on_test in itertools.product(*(range(order + 1) for order in moved)):
        ways = math.prod(math.comb(n, k) for n, k in zip(moved, on_test, strict=True))
        on_function = tuple(n - k for n, k in zip(moved, on_test, strict=True))
        weighted = (fields * weights[on_test]).reshape(len(fields), -1)
        functions = patch.functions(on_function)
        total = total + ways * (weighted @ functions.reshape(len(functions), -1).T)
    return (-1) ** sum(moved) * np.ravel(total)


def _weights(
    counts: np.ndarray, domains: Domains, orders: tuple[int, ...], exponent: int
) -> np.ndarray:
    """Weights of all points of a domain: the product of those along each axis."""
    along = [
        axis_weights(int(n), h, order, exponent)
        for n, h, order in zip(counts, domains.spacing, orders, strict=True)
    ]
    return functools.reduce(np.multiply.outer, along)


def _against(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Integrals of each of some functions, (functions, points..., time), over a domain."""
    return values.reshape(len(values), -1) @ weights.ravel()
