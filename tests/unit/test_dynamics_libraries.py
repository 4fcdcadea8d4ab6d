"""Libraries, derivatives and the weak form against PySINDy, scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import savgol_filter
from scipy.special import beta as beta_function

from artneuro.core.errors import ConfigError, DataError
from artneuro.dynamics.derivatives import differentiate, smoothed_difference
from artneuro.dynamics.libraries import (
    field_library,
    field_terms,
    polynomial_features,
    polynomial_library,
    polynomial_terms,
)
from artneuro.dynamics.weak import (
    Domains,
    axis_weights,
    draw_domains,
    weak_features,
    weak_targets,
)

ps = pytest.importorskip("pysindy")


@pytest.mark.parametrize("bias", [True, False])
def test_polynomials_are_in_the_order_of_pysindy(bias: bool):
    states = np.random.default_rng(0).normal(size=(20, 3))
    library = polynomial_library(4, bias=bias).fit(states)
    terms = polynomial_terms(3, 4, bias=bias)
    assert library.get_feature_names(list("xyz")) == [t.label("xyz") for t in terms]
    values = polynomial_features(states, 4, bias=bias)
    expected = np.stack([np.prod(states ** np.array(t.powers), axis=1) for t in terms], axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def name_in_pysindy(term, variables: str) -> str:
    """PySINDy numbers axes, and puts no space before what is differentiated."""
    if not term.orders:
        return term.label(variables)
    slope = f"{variables[term.of]}_" + "".join(str(a + 1) * n for a, n in enumerate(term.orders))
    powers = type(term)(term.powers)
    return ("" if term.degree == 0 else powers.label(variables)) + slope


def test_field_terms_are_in_the_order_of_pysindy():
    generator = np.random.default_rng(0)
    grid = [np.linspace(0, 1, 8, endpoint=False)] * 2
    fields = generator.normal(size=(8, 8, 5, 2))
    library = field_library(grid, 3, 2, bias=True).fit(fields)
    terms = field_terms(2, 2, 3, 2, bias=True)
    assert library.get_feature_names(["u", "v"]) == [name_in_pysindy(t, "uv") for t in terms]
    values = np.asarray(library.transform(fields))
    assert values.shape == (8, 8, 5, 110)
    at = [t.label("uv", "xy") for t in terms].index("u v^2 v_xy")
    v = fields[..., 1]
    slope = (np.roll(v, -1, 0) - np.roll(v, 1, 0)) / 0.25
    slope = (np.roll(slope, -1, 1) - np.roll(slope, 1, 1)) / 0.25
    np.testing.assert_allclose(values[..., at], fields[..., 0] * v**2 * slope)


WEAK_CASES = {
    # points and time, variables, degree, derivative order, bias
    "one trajectory": ((90,), 2, 3, 0, True),
    "one axis": ((40, 50), 1, 3, 4, False),
    "one axis, two variables": ((36, 30), 2, 2, 3, True),
    "two axes": ((26, 28, 24), 2, 3, 2, False),
}


@pytest.mark.filterwarnings("ignore:2 axes labeled")
@pytest.mark.parametrize("case", WEAK_CASES)
def test_weak_form_is_that_of_pysindy(case: str):
    shape, variables, degree, order, bias = WEAK_CASES[case]
    spacing = (0.1, 0.2, 0.05)[-len(shape) :]
    generator = np.random.default_rng(1)
    states = generator.normal(size=(*shape, variables))
    axes = [h * np.arange(n) for h, n in zip(spacing, shape, strict=True)]
    np.random.seed(0)  # noqa: NPY002 - PySINDy draws its domains from the global generator
    library = ps.WeakPDELibrary(
        function_library=ps.PolynomialLibrary(degree=degree, include_bias=False),
        derivative_order=order,
        spatiotemporal_grid=np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1),
        include_bias=bias,
        K=12,
        H_xt=[0.12 * a[-1] for a in axes],
    )
    expected = np.asarray(library.fit_transform(states))
    domains = Domains(
        np.array([[int(i[0]) for i in box] for box in library.inds_k]),
        np.array([[len(i) for i in box] for box in library.inds_k]),
        spacing,
    )
    found = weak_features(states, domains, degree, order, bias=bias)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(
        weak_targets(states, domains), library.convert_u_dot_integral(states), rtol=1e-7, atol=1e-9
    )
    if len(shape) > 1:
        terms = field_terms(variables, len(shape) - 1, degree, order, bias=bias)
        names = [name_in_pysindy(t, "uv"[:variables]) for t in terms]
        assert library.get_feature_names(list("uv"[:variables])) == names


def test_weights_integrate_piecewise_linear_data_exactly():
    # The integral of (1 - s^2)^4 over [-1, 1] is a beta function.
    h, points = 0.2, 31
    half = h * (points - 1) / 2
    weights = axis_weights(points, h, 0)
    assert weights.sum() == pytest.approx(half * beta_function(0.5, 5), rel=1e-13)
    s = np.linspace(-1, 1, points)
    # By parts, s' = 1 against the test function is minus s against its derivative.
    assert -(axis_weights(points, h, 1) @ (half * s)) == pytest.approx(weights.sum(), rel=1e-12)
    for order in (1, 2, 3, 4):
        assert axis_weights(points, h, order).sum() == pytest.approx(0, abs=1e-9)


def test_weak_form_of_exponential_growth():
    # x' = 0.5 x holds in the weak form up to the error of linear interpolation.
    times = 0.01 * np.arange(2000)
    states = np.exp(0.5 * times)[:, None]
    domains = draw_domains((2000,), (0.01,), 50, 0.1, np.random.default_rng(0))
    features = weak_features(states, domains, 1)
    np.testing.assert_allclose(weak_targets(states, domains)[:, 0], 0.5 * features[:, 1], rtol=1e-5)


def test_domains_are_inside_and_of_the_width_asked_for():
    domains = draw_domains((300, 101), (0.1, 0.5), 500, 0.1, np.random.default_rng(0))
    assert domains.starts.min() >= 1
    assert ((domains.starts + domains.counts).max(axis=0) <= [299, 100]).all()
    assert set(np.unique(domains.counts[:, 0])) <= {29, 30}
    assert set(np.unique(domains.counts[:, 1])) <= {9, 10}
    assert np.ptp(domains.starts[:, 0]) > 250
    with pytest.raises(ConfigError, match="too few points"):
        draw_domains((300, 11), (0.1, 0.5), 5, 0.1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="order 5"):
        weak_features(np.zeros((300, 101, 1)), domains, 2, 5)


def test_derivatives_are_smoothed_finite_differences():
    generator = np.random.default_rng(0)
    states = generator.normal(size=(60, 2))
    found = differentiate(states, 0.1, 9)
    smooth = savgol_filter(states, 9, 3, axis=0)
    np.testing.assert_allclose(found, np.gradient(smooth, 0.1, axis=0, edge_order=2), atol=1e-11)
    # The filter keeps cubics, and central differences are exact for quadratics.
    times = 0.1 * np.arange(60)
    np.testing.assert_allclose(
        differentiate((times**2)[:, None], 0.1, 21)[:, 0], 2 * times, atol=1e-9
    )
    with pytest.raises(DataError, match="window of 21"):
        differentiate(states[:20], 0.1, 21)


def test_libraries_are_built_of_the_states_as_measured():
    states = np.random.default_rng(0).normal(size=(60, 2))
    method = smoothed_difference(9)
    method._differentiate(states, 0.1)
    assert method.smoothed_x_ is states
    # Two of them with different windows do not share PySINDy's settings.
    other = smoothed_difference(21)
    assert (method.smoother_kws["window_length"], other.smoother_kws["window_length"]) == (9, 21)
    model = ps.SINDy(
        optimizer=ps.STLSQ(threshold=0), feature_library=polynomial_library(1),
        differentiation_method=method,
    )  # fmt: skip
    model.fit(states, t=0.1)
    design = np.column_stack([np.ones(60), states])
    expected = np.linalg.lstsq(design, differentiate(states, 0.1, 9), rcond=None)[0]
    np.testing.assert_allclose(model.coefficients(), expected.T, rtol=0.1, atol=0.05)
