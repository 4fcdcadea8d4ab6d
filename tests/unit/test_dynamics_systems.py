"""Systems: tables against independent right-hand sides, and true coefficients in libraries."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from artneuro.core.errors import ConfigError
from artneuro.dynamics.equations import (
    Term,
    parse_term,
    right_hand_side,
    true_coefficients,
)
from artneuro.dynamics.libraries import library_terms, polynomial_terms, term_names
from artneuro.dynamics.systems import (
    SYSTEMS,
    SystemName,
    build_system,
    duffing,
)

odes = pytest.importorskip("pysindy.utils.odes")

# PySINDy's functions with the thesis's parameters; its Hopf system turns the other way.
REFERENCES = {
    "lorenz": lambda x: odes.lorenz(0, x, sigma=10, beta=8 / 3, rho=28),
    "hopf": lambda x: odes.hopf(0, x, mu=-0.05, omega=-1, A=1),
    "mhd": lambda x: odes.mhd(0, x),
    "van_der_pol": lambda x: odes.van_der_pol(0, x, p=[3]),
    "lotka_volterra": lambda x: odes.lotka(0, x, p=[1, 10]),
    "roessler": lambda x: odes.rossler(0, x, p=[0.2, 0.2, 5.7]),
    "logistic_map": lambda x: [odes.logistic_map(x[0], 3.9)],
}


def states_of(name: str, count: int = 40) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 2, size=(count, build_system(name).dimension))


@pytest.mark.parametrize("name", REFERENCES)
def test_right_hand_sides_are_those_of_pysindy(name: str):
    states = states_of(name)
    expected = np.array([REFERENCES[name](x) for x in states])
    evaluate = right_hand_side(build_system(name))
    np.testing.assert_allclose(evaluate(states), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(evaluate(states[0]), expected[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("omega", [-2.0, 2.0])
def test_duffing_force_is_the_gradient_of_the_printed_potential(omega: float):
    alpha, h = 0.1, 1e-5

    def potential(x, y):
        return -omega / 2 * (x**2 + y**2) + alpha / 4 * (x**2 + y**2) ** 2

    states = states_of("duffing")
    x, y = states[:, 0], states[:, 1]
    force_x = (potential(x - h, y) - potential(x + h, y)) / (2 * h)
    force_y = (potential(x, y - h) - potential(x, y + h)) / (2 * h)
    found = right_hand_side(duffing(omega, alpha))(states)
    np.testing.assert_allclose(found[:, :2], states[:, 2:])
    np.testing.assert_allclose(found[:, 2], force_x, atol=1e-7)
    np.testing.assert_allclose(found[:, 3], force_y, atol=1e-7)


@pytest.mark.parametrize("name", [n for n in SYSTEMS if build_system(n).kind != "field"])
@pytest.mark.parametrize("degree", [3, 5])
def test_true_coefficients_give_the_right_hand_side(name: str, degree: int):
    system = build_system(name)
    terms = library_terms(system, degree)
    coefficients = true_coefficients(system, terms)
    states = states_of(name)
    inputs = states[:, list(system.inputs)]
    # Every monomial in plain numpy, apart from the package.
    library = np.stack([np.prod(inputs ** np.array(t.powers), axis=1) for t in terms], axis=1)
    expected = right_hand_side(system)(states)[:, list(system.targets)]
    np.testing.assert_allclose(library @ coefficients.T, expected, rtol=1e-10, atol=1e-10)


def test_sizes_and_places_of_the_thesis_libraries():
    # Sizes of sections 5.3.2 and 5.3.6; places of the true terms as counted by hand.
    for name, degree, order, size in [
        ("lorenz", 5, 0, 56), ("hopf", 5, 0, 21), ("mhd", 3, 0, 84), ("duffing", 3, 0, 10),
        ("kuramoto_sivashinsky", 3, 4, 19), ("reaction_diffusion", 3, 2, 109),
    ]:  # fmt: skip
        assert len(library_terms(build_system(name), degree, order)) == size
    ks = build_system("kuramoto_sivashinsky")
    found = true_coefficients(ks, library_terms(ks, 3, 4))
    assert np.flatnonzero(found).tolist() == [4, 6, 7]
    assert found[0, [4, 6, 7]].tolist() == [-1, -1, -1]
    assert [term_names(ks, library_terms(ks, 3, 4))[i] for i in (4, 6, 7)] == [
        "u_xx", "u_xxxx", "u u_x",
    ]  # fmt: skip
    rd = build_system("reaction_diffusion")
    found = true_coefficients(rd, library_terms(rd, 3, 2))
    assert np.flatnonzero(found[0]).tolist() == [0, 5, 6, 7, 8, 11, 17]
    assert np.flatnonzero(found[1]).tolist() == [1, 5, 6, 7, 8, 12, 18]


def test_duffing_coefficients_make_a_force_without_curl():
    system = build_system("duffing")
    terms = library_terms(system, 3)
    assert term_names(system, terms)[:5] == ["1", "x", "y", "x^2", "x y"]
    rng = np.random.default_rng(0)
    points, h = rng.normal(size=(20, 2)), 1e-5
    x_force, y_force = true_coefficients(system, terms)

    def force(coefficients, x, y):
        values = [x ** t.powers[0] * y ** t.powers[1] for t in terms]
        return coefficients @ np.array(values)

    x, y = points.T
    along_y = force(x_force, x, y + h) - force(x_force, x, y - h)
    along_x = force(y_force, x + h, y) - force(y_force, x - h, y)
    np.testing.assert_allclose(along_y, along_x, atol=1e-11)
    assert np.abs(along_y).max() > 1e-7


def test_terms_are_read_as_they_are_written():
    for text, term in {
        "1": Term((0, 0)), "u": Term((1, 0)), "u v^2": Term((1, 2)),
        "v_xx": Term((0, 0), 1, (2, 0)), "u^2 v u_xy": Term((2, 1), 0, (1, 1)),
    }.items():  # fmt: skip
        assert parse_term(text, "uv", "xy") == term
        assert term.label("uv", "xy") == text
    assert parse_term("v u", "uv") == Term((1, 1))
    for wrong in ("w", "u_z", "u_x v_x", "2 u"):
        with pytest.raises(ValueError, match="u"):
            parse_term(wrong, "uv", "xy")


def test_what_does_not_exist_is_named():
    assert set(typing.get_args(SystemName)) == set(SYSTEMS)
    assert all(build_system(name).name == name for name in SYSTEMS)
    with pytest.raises(ConfigError, match="no system 'lorentz'"):
        build_system("lorentz")
    with pytest.raises(ConfigError, match="sigma, rho, beta"):
        build_system("lorenz", {"gamma": 1.0})
    assert build_system("lorenz", {"rho": 13.0}).parameters["rho"] == 13.0
    with pytest.raises(ConfigError, match="'x z'"):
        true_coefficients(build_system("lorenz"), polynomial_terms(3, 1))
