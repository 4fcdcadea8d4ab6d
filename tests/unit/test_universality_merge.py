"""Sums over parts of the tokens, merged: against exact fractions, and against one undivided sum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from artneuro.universality.moments import Product, ProductSums
from artneuro.universality.similarity import Units, similarity
from artneuro.universality.sums import merge_products, merge_units

BLOCK = 512


def exact_sums(x: np.ndarray, y: np.ndarray) -> tuple[list, list, list]:
    """Means, centred products and squared deviations of integers (row, unit), as fractions."""
    n = len(x)
    means = [[Fraction(int(v), n) for v in values.sum(axis=0)] for values in (x, y)]
    away = [
        [[Fraction(int(v)) - m for v, m in zip(row, mean, strict=True)] for row in values]
        for values, mean in zip((x, y), means, strict=True)
    ]
    products = [
        [
            sum((a[i] * b[j] for a, b in zip(*away, strict=True)), Fraction(0))
            for j in range(y.shape[1])
        ]
        for i in range(x.shape[1])
    ]
    squares = [
        [sum((row[i] ** 2 for row in values), Fraction(0)) for i in range(len(values[0]))]
        for values in away
    ]
    return means, products, squares


def floats(values: list) -> torch.Tensor:
    return torch.tensor(np.array(values, dtype=np.float64))


@pytest.mark.parametrize("mean", [0, 10**3, 10**6])
def test_merging_is_exact_but_for_the_last_bits(mean):
    """Sums of each part as exact as float64 holds them, means that differ from part to part."""
    rng = np.random.default_rng(mean)
    x = rng.integers(-100, 100, (60, 4)) + mean
    y = rng.integers(-100, 100, (60, 3)) - mean
    y[:, 0] += x[:, 0]
    # What differs between parts is as large as what varies within them.
    for part in range(3):
        x[part * 20 : (part + 1) * 20] += 50 * part
    spans = [slice(0, 7), slice(7, 20), slice(20, 58), slice(58, 60)]
    parts, left, right = [], [], []
    for span in spans:
        means, products, squares = exact_sums(x[span], y[span])
        n = span.stop - span.start
        parts.append(floats(products))
        left.append(Units(floats(means[0]), floats(squares[0]), n))
        right.append(Units(floats(means[1]), floats(squares[1]), n))
    means, products, squares = exact_sums(x, y)
    merged, a, b = merge_products(parts, left, right), merge_units(left), merge_units(right)
    # A mean is rounded to its own last bit, so that far from zero it is known less well.
    spread = 60.0
    tolerance = 8 * np.finfo(np.float64).eps * (1 + mean / spread)
    lengths = torch.outer(floats(squares[0]).sqrt(), floats(squares[1]).sqrt())
    assert (merged - floats(products)).abs().div(lengths).max() < tolerance
    assert (a.deviations / floats(squares[0]) - 1).abs().max() < tolerance
    assert (b.mean - floats(means[1])).abs().max() <= 4 * np.spacing(max(mean, 100.0))


def sums_of(arrays: dict[str, np.ndarray], centre: bool) -> tuple[torch.Tensor, Units, Units]:
    """Centred products and moments of float32 arrays (row, unit), as one job has them."""
    units = {name: values.shape[1] for name, values in arrays.items()}
    whole = Product("x", "y", slice(0, units["x"]), slice(0, units["y"]))
    found = ProductSums(units, [whole], centre=centre)
    n = len(arrays["x"])
    for name, values in arrays.items():
        # As jobs do: the first row is what all others are read against.
        if centre:
            found.moments[name].reference.copy_(torch.from_numpy(values[0]))
    for i in range(0, n, BLOCK):
        blocks = {k: torch.from_numpy(v[i : i + BLOCK].copy()) for k, v in arrays.items()}
        found.add({k: b - found.moments[k].reference for k, b in blocks.items()})
    (products,) = found.centred()
    return products, *(Units(found.mean(k), found.deviations(k), n) for k in ("x", "y"))


def merged(arrays: dict[str, np.ndarray], n_parts: int, centre: bool = True):
    n = len(arrays["x"])
    parts = [
        sums_of(
            {k: v[i * n // n_parts : (i + 1) * n // n_parts] for k, v in arrays.items()}, centre
        )
        for i in range(n_parts)
    ]
    products, left, right = zip(*parts, strict=True)
    return merge_products(products, left, right), merge_units(left), merge_units(right)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_any_number_of_parts_gives_the_same_correlations(offset):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6000, 40)).astype(np.float32) + np.float32(offset)
    y = (0.5 * x[:, :30] + rng.standard_normal((6000, 30))).astype(np.float32)
    x[:3000, :10] += 5
    arrays = {"x": x, "y": y}
    wanted = np.corrcoef(x.astype(np.float64).T, y.astype(np.float64).T)[:40, 40:]
    for n_parts in (1, 2, 3, 7, 50):
        found = similarity("pearson", *merged(arrays, n_parts))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-7)


def test_counts_are_the_same_for_any_number_of_parts():
    """Jaccard indices are of whole numbers, which no order of sums changes."""
    rng = np.random.default_rng(1)
    arrays = {k: (rng.random((6000, d)) < 0.1).astype(np.float32) for k, d in (("x", 9), ("y", 7))}
    whole = similarity("jaccard", *merged(arrays, 1, centre=False))
    x, y = (values.astype(bool) for values in arrays.values())
    both = (x[:, :, None] & y[:, None]).sum(axis=0)
    either = (x[:, :, None] | y[:, None]).sum(axis=0)
    assert np.array_equal(whole.numpy(), both / either)
    for n_parts in (2, 3, 7, 50):
        assert torch.equal(similarity("jaccard", *merged(arrays, n_parts, centre=False)), whole)
