"""Fields: against closed forms, an independent integrator, refinement and what is conserved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from artneuro.core.errors import DataError
from artneuro.dynamics.equations import true_coefficients
from artneuro.dynamics.libraries import library_terms
from artneuro.dynamics.spectral import draw_field, field_grid, integrate_field, phi_functions
from artneuro.dynamics.systems import (
    build_system,
    kuramoto_sivashinsky,
    reaction_diffusion,
)
from artneuro.dynamics.weak import draw_domains, weak_features, weak_targets

LENGTH = 8 * math.pi


def smooth_wave(points: int) -> np.ndarray:
    x = 2 * np.pi * np.arange(points) / points
    return (np.cos(x) + 0.3 * np.sin(2 * x + 1) + 0.5)[:, None]


def test_phi_functions_are_their_integrals():
    for z in (-300.0, -2.0, -1.0, -0.999, -1e-3, 0.0, 1e-9, 0.7, 3.0):
        for k, value in enumerate(phi_functions(np.array(z)), start=1):
            expected, _ = quad(
                lambda s, z=z, k=k: math.exp((1 - s) * z) * s ** (k - 1) / math.factorial(k - 1),
                0, 1, epsabs=0, epsrel=1e-12, points=[1 - min(1, 10 / max(1, -z))], limit=200,
            )  # fmt: skip
            assert value == pytest.approx(expected, rel=1e-9)


def test_kuramoto_sivashinsky_agrees_with_an_independent_integrator():
    points = 64
    waves = 2 * np.pi / LENGTH * np.fft.fftfreq(points, 1 / points)

    def right(_, u):
        # In conservative form, which the package does not use.
        v, square = np.fft.fft(u), np.fft.fft(u * u)
        slope = 1j * waves * square
        slope[points // 2] = 0
        return np.fft.ifft((waves**2 - waves**4) * v - slope / 2).real

    initial = smooth_wave(points)
    expected = solve_ivp(right, (0, 2), initial[:, 0], method="Radau", rtol=1e-9, atol=1e-10,
                         t_eval=[0, 1, 2]).y  # fmt: skip
    found = integrate_field(kuramoto_sivashinsky(LENGTH), initial, 1.0, 3, substeps=100)
    assert found.shape == (points, 3, 1)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-7)
    assert np.abs(found[:, 2] - found[:, 0]).max() > 0.3


def test_integrator_is_of_fourth_order_and_keeps_the_mean():
    system, initial = kuramoto_sivashinsky(LENGTH), smooth_wave(32)
    finest = integrate_field(system, initial, 0.5, 2, substeps=640)[:, 1]
    errors = [
        np.abs(integrate_field(system, initial, 0.5, 2, substeps=n)[:, 1] - finest).max()
        for n in (10, 20, 40)
    ]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.05)
    assert finest.mean() == pytest.approx(0.5, abs=1e-13)


def test_uniform_reaction_follows_its_closed_form():
    system, radius = reaction_diffusion(), 0.3
    initial = np.zeros((8, 8, 2))
    initial[..., 0] = radius
    found = integrate_field(system, initial, 0.5, 7, substeps=50)
    growth = radius**2 * np.expm1(2 * 0.5 * np.arange(7))
    size = np.sqrt(radius**2 * np.exp(np.arange(7)) / (1 + growth))
    angle = -np.log1p(growth) / 2
    expected = np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-7)


def test_plane_waves_of_reaction_and_diffusion():
    d, beta = 0.1, 1.0
    system = reaction_diffusion(d, beta)
    qx, qy = 2 * np.pi / 20 * 2, 2 * np.pi / 20 * -1
    x, y = np.meshgrid(*field_grid(system, 24), indexing="ij")
    squared = 1 - d * (qx**2 + qy**2)
    times = np.arange(5) * 0.4
    angle = (qx * x + qy * y)[..., None] - beta * squared * times
    expected = math.sqrt(squared) * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    found = integrate_field(system, expected[..., 0, :], 0.4, 5, substeps=40)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "points", "dt", "samples", "order", "atol"),
    [
        ("kuramoto_sivashinsky", 512, 0.02, 301, 4, 3e-3),
        ("reaction_diffusion", 64, 0.02, 101, 2, 1e-2),
    ],
)
def test_equations_hold_in_the_weak_form(name, points, dt, samples, order, atol):
    # Table, integrator, initial fields, order of terms and weak form must all be right for this.
    system = build_system(name, {"length": 10.0} if name == "reaction_diffusion" else {})
    generator = np.random.default_rng(2)
    initial = draw_field(system, points, generator)
    # The first moments smooth what jumps at the edge of the domain.
    states = integrate_field(system, initial, dt, samples + 50, substeps=2)[..., 50:, :]
    spacing = [length / points for _, length in system.domain] + [dt]
    domains = draw_domains(states.shape[:-1], spacing, 40, 0.4, generator)
    features = weak_features(states, domains, 3, order, bias=False)
    target = weak_targets(states, domains)
    true = true_coefficients(system, library_terms(system, 3, order))
    residual = np.linalg.norm(target - features @ true.T) / np.linalg.norm(target)
    assert residual < atol
    wrong = true * (1 + 0.05 * (true != 0))
    assert np.linalg.norm(target - features @ wrong.T) / np.linalg.norm(target) > 3 * residual


def test_initial_fields_are_those_of_the_appendix():
    ks, rd = build_system("kuramoto_sivashinsky"), build_system("reaction_diffusion")
    generator = np.random.default_rng(0)
    r0, r1 = np.random.default_rng(0).uniform(0, 1, size=2)
    wave = draw_field(ks, 1024, generator)[:, 0]
    mesh = np.linspace(0, 2 * np.pi, 1024, endpoint=False)
    expected = np.cos(mesh + r0) + np.sin(4 * r1 * mesh)
    np.testing.assert_allclose(wave, expected / np.abs(expected).max(), atol=1e-12)
    spiral = draw_field(rd, 64, generator)
    x, y = np.meshgrid(*field_grid(rd, 64), indexing="ij")
    assert (x.min(), x[1, 0] - x[0, 0]) == (-10, 20 / 64)
    np.testing.assert_allclose(np.hypot(spiral[..., 0], spiral[..., 1]), np.tanh(np.hypot(x, y)))
    # Along a ray the phase turns by between 0.95 and 1.05 a unit of length.
    phase = np.unwrap(np.angle(spiral[33:, 32, 0] + 1j * spiral[33:, 32, 1]))
    slope = np.diff(phase) / (20 / 64)
    np.testing.assert_allclose(slope, slope[0])
    assert 0.95 <= -slope[0] <= 1.05


def test_fields_that_blow_up_are_refused():
    with pytest.raises(DataError, match="not finite after"), np.errstate(all="ignore"):
        integrate_field(kuramoto_sivashinsky(LENGTH), 1e6 * smooth_wave(32), 1.0, 5)
    with pytest.raises(ValueError, match="grid"):
        integrate_field(kuramoto_sivashinsky(LENGTH), smooth_wave(33), 1.0, 5)
