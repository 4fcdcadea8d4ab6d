"""Streamed correlations against float64, on data made to break them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.metrics import jaccard_score
from sklearn.metrics.pairwise import cosine_similarity

from artneuro.core.errors import DataError
from artneuro.universality.moments import Product, ProductSums
from artneuro.universality.products import ErrorRecord, multiply, multiply_checked
from artneuro.universality.rotations import random_rotation
from artneuro.universality.similarity import (
    Units,
    largest_rotated,
    rotated_directions,
    similarity,
)


def adversarial(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays (row, unit) of float32: far means, tiny spreads, dead and rare units, drift."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 6))
    rare = np.zeros(n)
    rare[rng.integers(0, n, 5)] = 30
    drift = np.where(np.arange(n) < n // 2, 0.0, 1e4)
    columns = [
        shared[:, 0] + 1e4,  # mean/std 1e4
        shared[:, 0] * 1e-4 + 1,
        -shared[:, 1] * 1e3 - 1e7,
        shared[:, 2],
        np.maximum(shared[:, 3], 0),
        np.full(n, 0.3),  # dead
        np.zeros(n),
        np.where(np.arange(n) == 7, 1.0, 0.0),  # once
        1 + 1e-7 * (shared[:, 4] > 0),  # the last bit of a float32
        rare,
        shared[:, 5] + drift,
        np.concatenate([[1e4], np.ones(n - 1)]) + shared[:, 5] * 1e-2,
    ]
    x = np.stack(columns, axis=1).astype(np.float32)
    mixed = 0.8 * x + rng.standard_normal(x.shape) * x.std(axis=0)
    mixed[:, 3] = 2.5
    return x, mixed[:, ::-1].astype(np.float32)


def streamed(x: np.ndarray, y: np.ndarray, cuts: list[int], **options) -> ProductSums:
    """Sums of products over the blocks between cuts, shifted as a job does."""
    units = {"x": x.shape[1], "y": y.shape[1]}
    product = Product("x", "y", slice(0, units["x"]), slice(0, units["y"]))
    sums = ProductSums(units, [product], **options)
    for name, rows in (("x", x), ("y", y)):
        sums.moments[name].reference.copy_(torch.from_numpy(rows[0].copy()))
    for start, stop in zip([0, *cuts], [*cuts, len(x)], strict=True):
        if stop > start:
            sums.add({"x": shifted(x, start, stop), "y": shifted(y, start, stop)})
    return sums


def shifted(x: np.ndarray, start: int, stop: int) -> torch.Tensor:
    return torch.from_numpy(x[start:stop] - x[0])


def correlations(sums: ProductSums) -> np.ndarray:
    (centred,) = sums.centred()
    x, y = (Units(sums.mean(m), sums.deviations(m), sums.n) for m in ("x", "y"))
    return similarity("pearson", centred, x, y).numpy()


def exact(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Numpy's correlations in float64, 0 for units that are constant."""
    both = np.concatenate([x, y], axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(both.T)[: x.shape[1], x.shape[1] :]
    constant = [np.ptp(z, axis=0) == 0 for z in (x, y)]
    found[constant[0]] = 0
    found[:, constant[1]] = 0
    return found


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 2999), max_size=12, unique=True).map(sorted), st.integers(0, 3))
def test_equal_to_corrcoef_on_adversarial_data_for_any_split(cuts, seed):
    x, y = adversarial(seed=seed)
    found = correlations(streamed(x, y, cuts))
    assert np.abs(found - exact(x, y)).max() < 1e-5
    assert np.abs(found).max() <= 1


def test_many_blocks_and_the_same_split_gives_the_same_bits():
    x, y = adversarial()
    cuts = list(range(17, 3000, 17))  # more blocks than wait for each other
    first, second = (streamed(x, y, cuts) for _ in range(2))
    assert np.abs(correlations(first) - exact(x, y)).max() < 1e-5
    second.centred()
    for a, b in zip(first.totals, second.totals, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first.deviations("x"), second.deviations("x"))


def test_constant_units_have_deviations_of_exactly_zero():
    x, y = adversarial()
    sums = streamed(x, y, [100, 1000])
    constant = np.ptp(x, axis=0) == 0
    assert ((sums.deviations("x") == 0).numpy() == constant).all()
    assert constant.sum() == 2
    assert not np.isnan(correlations(sums)).any()


def test_going_on_from_a_saved_state_gives_the_same_bits():
    x, y = adversarial()
    cuts = list(range(100, 3000, 100))
    whole = streamed(x, y, cuts)
    half = streamed(x[:1500], y[:1500], [c for c in cuts if c < 1500])
    other = ProductSums({"x": 12, "y": 12}, half.products)
    other.load_state(half.state())
    for start in range(1500, 3000, 100):
        other.add({"x": shifted(x, start, start + 100), "y": shifted(y, start, start + 100)})
    assert torch.equal(whole.centred()[0], other.centred()[0])
    assert torch.equal(whole.deviations("y"), other.deviations("y"))
    assert whole.n == other.n == 3000
    assert whole.errors == other.errors


def test_products_of_parts_of_the_units_and_within_a_layer(monkeypatch):
    monkeypatch.setattr("artneuro.universality.moments.SQUARE", 5)
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((400, 12)), rng.standard_normal((400, 9))
    products = [
        Product("x", "y", slice(2, 12), slice(1, 8)),
        Product("y", "y", slice(3, 6), slice(3, 6)),
    ]
    sums = ProductSums({"x": 12, "y": 9}, products)
    for i in range(0, 400, 50):
        sums.add({m: torch.from_numpy(v[i : i + 50]).float() for m, v in (("x", x), ("y", y))})
    cross, own = (total.numpy() for total in sums.centred())
    dx, dy = x - x.mean(axis=0), y - y.mean(axis=0)
    np.testing.assert_allclose(cross, dx[:, 2:].T @ dy[:, 1:8], atol=2e-4)
    np.testing.assert_allclose(own, dy[:, 3:6].T @ dy[:, 3:6], atol=2e-4)


def test_a_nan_names_the_model_and_the_neuron():
    sums = ProductSums({"x": 3}, [])
    block = torch.ones(4, 3)
    block[2, 1] = float("nan")
    with pytest.raises(DataError, match=r"activation of x is NaN(.|\n)*neuron 1"):
        sums.add({"x": block})


# --- precision -----------------------------------------------------------------------------------


def error_of(precision: str, x: torch.Tensor, y: torch.Tensor) -> float:
    """Largest error of a product over the lengths of its columns."""
    out = torch.empty(x.shape[1], y.shape[1])
    multiply(x, y, precision, out)
    scale = torch.outer(x.double().norm(dim=0), y.double().norm(dim=0))
    return float(((out - x.double().T @ y.double()).abs() / scale).max())


@pytest.mark.parametrize("kind", ["gaussian", "rectified", "rare"])
def test_errors_of_precisions(kind: str):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2048, 40, generator=generator)
    noise = torch.randn(2048, 40, generator=generator)
    x = {"gaussian": z, "rectified": z.relu(), "rare": z * (z > 2.5)}[kind]
    y = x + 0.1 * noise
    assert error_of("float32", x, y) < 2e-6
    assert error_of("bf16x3", x, y) < 2e-5
    assert 1e-7 < error_of("tf32", x, y) < 1e-3


def test_tf32_rounds_to_eleven_bits():
    # 1 + 2^-11 lies halfway between neighbours of 11 significant bits (spacing 2^-10), and goes to
    # the even one; a little more goes up.
    x = torch.tensor([[1 + 2**-11], [1 + 2**-11 + 2**-20]])
    out = torch.empty(1, 1)
    multiply(x[:1], torch.ones(1, 1), "tf32", out)
    assert out.item() == 1
    multiply(x[1:], torch.ones(1, 1), "tf32", out)
    assert out.item() == 1 + 2**-10


def test_products_that_are_too_inexact_are_repeated():
    generator = torch.Generator().manual_seed(1)
    # Two rows: nothing averages the rounding out.
    x, y = (torch.randn(2, 30, generator=generator) for _ in range(2))
    out, record = torch.empty(30, 30), ErrorRecord()
    multiply_checked(x, y, "tf32", 1e-4, out, record)
    assert record.n_repeated == 1
    assert record.largest < 1e-4
    assert error_of("tf32", x, y) > 1e-4
    np.testing.assert_allclose(out, x.T @ y, atol=1e-4)
    record = ErrorRecord()
    multiply_checked(x, y, "tf32", 1e-9, out, record)
    assert record.n_repeated == 2
    assert torch.equal(out, x.T @ y)


# --- other metrics -------------------------------------------------------------------------------


def test_cosines_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((500, 7)) + 3).astype(np.float32)
    y = (x[:, ::-1] + rng.standard_normal((500, 7))).astype(np.float32)
    y[:, 2] = 0
    sums = streamed(x, y, [200, 333])
    (centred,) = sums.centred()
    own = [Units(sums.mean(m), sums.deviations(m), sums.n) for m in ("x", "y")]
    found = similarity("cosine", centred, *own)
    wanted = cosine_similarity(x.T.astype(np.float64), y.T.astype(np.float64))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_jaccard_indices_are_those_of_scikit_learn():
    rng = np.random.default_rng(6)
    x = rng.random((600, 5)) < [0.0, 0.01, 0.3, 0.9, 1.0]
    y = np.where(rng.random((600, 5)) < 0.8, x, rng.random((600, 5)) < 0.5)
    y[:, 0] = False
    product = Product("x", "y", slice(0, 5), slice(0, 5))
    sums = ProductSums({"x": 5, "y": 5}, [product], centre=False)
    for i in range(0, 600, 77):
        sums.add({m: torch.from_numpy(v[i : i + 77]).float() for m, v in (("x", x), ("y", y))})
    (centred,) = sums.centred()
    own = [Units(sums.mean(m), sums.deviations(m), sums.n) for m in ("x", "y")]
    found = similarity("jaccard", centred, *own)
    wanted = [
        [jaccard_score(x[:, i], y[:, j], zero_division=0) for j in range(5)] for i in range(5)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


# --- the baseline --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["pearson", "cosine"])
@pytest.mark.parametrize("kind", ["orthogonal", "gaussian"])
def test_rotated_moments_are_those_of_rotated_activations(metric: str, kind: str):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((700, 6)) + 2
    y = (x @ rng.standard_normal((6, 9)) + rng.standard_normal((700, 9))) * [*range(1, 9), 0]
    rotation = random_rotation(kind, 9, 0, "b", 2, 1)
    turned = y @ rotation.T
    if metric == "pearson":
        wanted = np.corrcoef(x.T, turned.T)[:6, 6:].max(axis=1)
    else:
        wanted = cosine_similarity(x.T, turned.T).max(axis=1)
    dx, dy = x - x.mean(axis=0), y - y.mean(axis=0)
    own = [
        Units(torch.from_numpy(z.mean(axis=0)), torch.from_numpy((d**2).sum(axis=0)), 700)
        for z, d in ((x, dx), (y, dy))
    ]
    alike = similarity(metric, torch.from_numpy(dx.T @ dy), *own).float()
    directions = rotated_directions(
        metric, torch.from_numpy(dy.T @ dy), own[1], torch.from_numpy(rotation)
    )
    np.testing.assert_allclose(largest_rotated(alike, directions), wanted, atol=1e-5)


def test_rotations_are_orthogonal_uniform_and_seeded():
    draws = np.array([random_rotation("orthogonal", 3, 0, "b", 0, i) for i in range(4000)])
    np.testing.assert_allclose(
        draws @ draws.transpose(0, 2, 1), np.eye(3)[None].repeat(4000, 0), atol=1e-12
    )
    # Moments of the uniform distribution; half of all draws are reflections.
    uniform = ortho_group(3, seed=0).rvs(4000)
    for power in (1, 2, 4):
        np.testing.assert_allclose(
            (draws**power).mean(axis=0), (uniform**power).mean(axis=0), atol=0.05
        )
    assert abs(np.linalg.det(draws).mean()) < 0.06
    again = random_rotation("orthogonal", 3, 0, "b", 0, 5)
    assert np.array_equal(draws[5], again)
    for other in ((1, "b", 0, 5), (0, "c", 0, 5), (0, "b", 1, 5)):
        assert not np.allclose(again, random_rotation("orthogonal", 3, *other))
    gaussian = random_rotation("gaussian", 50, 0, "b", 0, 0)
    np.testing.assert_allclose(np.linalg.norm(gaussian, axis=1), 1)
    assert not np.allclose(gaussian @ gaussian.T, np.eye(50), atol=0.1)
