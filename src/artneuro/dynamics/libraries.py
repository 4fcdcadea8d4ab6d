"""Libraries of candidate terms, as PySINDy orders them, and their values on trajectories.

The weak form is in `artneuro.dynamics.weak`. Thesis, section 5.2.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from artneuro.dynamics.derivatives import needs_pysindy
from artneuro.dynamics.equations import System, Term


def polynomial_terms(variables: int, degree: int, *, bias: bool = True) -> tuple[Term, ...]:
    """All monomials up to a degree, by degree and then by variables: the order of PySINDy.

    Parameters
    ----------
    variables : int
        How many there are.
    degree : int
        The highest degree.
    bias : bool
        Is the constant the first term?
    """
    choices = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(range(variables), size)
        for size in range(0 if bias else 1, degree + 1)
    )
    return tuple(Term(tuple(chosen.count(v) for v in range(variables))) for chosen in choices)


def derivative_orders(axes: int, highest: int) -> tuple[tuple[int, ...], ...]:
    """Orders along each axis of all space derivatives up to a total order."""
    every = itertools.product(range(highest + 1), repeat=axes)
    return tuple(orders for orders in every if 0 < sum(orders) <= highest)


def field_terms(
    variables: int, axes: int, degree: int, derivative_order: int, *, bias: bool = False
) -> tuple[Term, ...]:
    """Terms of a library with space derivatives, in the order of PySINDy.

    Monomials first, then the derivatives of each variable, then every monomial but the constant
    times every derivative. Third degree with up to fourth derivatives of one variable along one
    axis makes 19 terms; with up to second derivatives of two along two axes, 109 (thesis, section
    5.3.6).
    """
    monomials = polynomial_terms(variables, degree, bias=False)
    orders = derivative_orders(axes, derivative_order)
    constant = (0,) * variables
    slopes = [Term(constant, of, order) for order in orders for of in range(variables)]
    mixed = [
        Term(monomial.powers, slope.of, slope.orders) for slope in slopes for monomial in monomials
    ]
    return (*([Term(constant)] if bias else []), *monomials, *slopes, *mixed)


def library_terms(
    system: System, degree: int, derivative_order: int = 0, *, bias: bool = True
) -> tuple[Term, ...]:
    """The terms of a library over the inputs of a system; a field's has no constant."""
    inputs = len(system.inputs)
    if system.kind == "field":
        return field_terms(inputs, len(system.axes), degree, derivative_order)
    return polynomial_terms(inputs, degree, bias=bias)


def term_names(system: System, terms: Sequence[Term]) -> list[str]:
    """Names of terms over the inputs of a system, such as "x y^2" or "u u_xx"."""
    variables = [system.variables[at] for at in system.inputs]
    return [term.label(variables, system.axes) for term in terms]


def polynomial_library(degree: int, *, bias: bool = True) -> Any:
    """A `pysindy.PolynomialLibrary`, whose terms are `polynomial_terms`.

    Raises
    ------
    ConfigError
        If PySINDy is not installed.
    """
    try:
        from pysindy import PolynomialLibrary
    except ImportError as error:
        raise needs_pysindy() from error
    return PolynomialLibrary(degree=degree, include_bias=bias)


def polynomial_features(states: np.ndarray, degree: int, *, bias: bool = True) -> np.ndarray:
    """Values of `polynomial_terms` on states.

    Parameters
    ----------
    states : ndarray of shape (time, input)

    Returns
    -------
    ndarray of shape (time, terms)
    """
    return np.asarray(polynomial_library(degree, bias=bias).fit_transform(np.asarray(states)))


def field_library(
    grid: Sequence[np.ndarray], degree: int, derivative_order: int, *, bias: bool = False
) -> Any:
    """A `pysindy.PDELibrary` on a periodic grid, whose terms are `field_terms`.

    Parameters
    ----------
    grid : sequence of ndarray
        Coordinates along each axis of space, such as `artneuro.dynamics.spectral.field_grid` gives.
    degree, derivative_order : int

    Raises
    ------
    ConfigError
        If PySINDy is not installed.
    """
    try:
        from pysindy import PDELibrary
    except ImportError as error:
        raise needs_pysindy() from error
    return PDELibrary(
        function_library=polynomial_library(degree, bias=False),
        derivative_order=derivative_order,
        spatial_grid=np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1),
        include_bias=bias,
        diff_kwargs={"periodic": True},
    )
