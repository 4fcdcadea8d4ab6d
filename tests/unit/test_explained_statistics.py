"""Streamed moments, position information and variance reduction against independent libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy import stats
from sklearn.metrics import mutual_info_score

from artneuro.universality.statistics import (
    CentralMoments,
    PreActivationStatistics,
    block_moments,
    position_information,
)
from artneuro.universality.variance_reduction import ClassSums, LabelBlock

TOKENS, N_CTX = 960, 32


def adversarial(seed: int = 0) -> np.ndarray:
    """Activations, (tokens, neurons) float32: means far from zero, heavy tails, rare, drifting."""
    rng = np.random.default_rng(seed)
    t = np.arange(TOKENS)
    columns = [
        rng.normal(size=TOKENS),
        1e4 + rng.normal(size=TOKENS),  # mean / std = 1e4
        rng.standard_t(3, size=TOKENS),
        np.exp(2 * rng.normal(size=TOKENS)),
        (rng.random(TOKENS) < 0.005) * 50.0 + 1e-3 * rng.normal(size=TOKENS),
        # The first block says nothing of the rest.
        np.where(t < 100, 0.0, -1e4) + rng.normal(size=TOKENS),
        -3.0 + np.where(t % N_CTX < 8, 5.0, 0.0) + rng.normal(size=TOKENS),
        *rng.normal(size=(70, TOKENS)),  # more than a strip
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def blocks(n: int, sizes: list[int]) -> list[slice]:
    edges = np.minimum(np.cumsum([0, *sizes, n]), n)
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


@pytest.mark.parametrize("sizes", [[TOKENS], [1, 1, 30, 400], [100] * 9])
def test_moments_equal_scipy_whatever_the_blocks(sizes: list[int]) -> None:
    values = adversarial()
    found = PreActivationStatistics(values.shape[1], N_CTX)
    position = torch.arange(TOKENS) % N_CTX
    # The way of a GPU, here on a CPU.
    by_tensors = PreActivationStatistics(values.shape[1], N_CTX)
    for part in blocks(TOKENS, sizes):
        block = torch.from_numpy(values[part])
        found.add(block, position[part])
        by_tensors._add_by_tensors(block, position[part])
    wide = values.astype(np.float64)
    np.testing.assert_array_equal(by_tensors._above, found._above)
    for moments in (found.moments, by_tensors.moments):
        assert moments.n == TOKENS
        np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moments.variance, wide.var(axis=0, ddof=1), rtol=1e-10)
        np.testing.assert_allclose(moments.skew, stats.skew(wide), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(moments.kurtosis, stats.kurtosis(wide, fisher=False), rtol=1e-8)
    np.testing.assert_array_equal(found.activation_frequency, (values > 0).mean(axis=0))


def test_moments_of_constants_and_of_nothing() -> None:
    found = PreActivationStatistics(2, N_CTX)
    found.add(torch.zeros((0, 2)), torch.zeros(0, dtype=torch.int64))
    assert found.moments.n == 0
    block = torch.tensor([[2.5, 0.0]] * 7)
    found.add(block, torch.arange(7))
    found.add(block, torch.arange(7))
    np.testing.assert_array_equal(found.moments.mean, [2.5, 0.0])
    np.testing.assert_array_equal(found.moments.variance, 0.0)
    assert np.isnan(found.moments.skew).all()
    assert np.isnan(found.moments.kurtosis).all()
    np.testing.assert_array_equal(found.activation_frequency, [1.0, 0.0])
    np.testing.assert_array_equal(found.position_information, 0.0)


def test_merging_parts_in_any_order_gives_the_same() -> None:
    values = adversarial(1).astype(np.float64)
    parts = [block_moments(torch.from_numpy(values[p])) for p in blocks(TOKENS, [7, 300])]
    left = parts[0].merge(parts[1]).merge(parts[2])
    right = parts[2].merge(parts[0].merge(parts[1]))
    assert isinstance(left, CentralMoments)
    assert left.n == right.n == TOKENS
    for name in ("mean", "variance", "skew", "kurtosis"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=1e-8, atol=1e-9)


def test_position_information_equals_scikit_learn() -> None:
    values = adversarial(2)
    position = np.arange(TOKENS) % N_CTX
    # The last position is never seen, others are not equally often.
    kept = (position != N_CTX - 1) & (np.random.default_rng(0).random(TOKENS) < 0.7)
    found = PreActivationStatistics(values.shape[1], N_CTX)
    for part in blocks(TOKENS, [333, 333]):
        inside = kept[part]
        found.add(torch.from_numpy(values[part][inside]), torch.from_numpy(position[part][inside]))
    expected = [mutual_info_score(position[kept], column > 0) for column in values[kept].T]
    np.testing.assert_allclose(found.position_information, expected, rtol=1e-9, atol=1e-12)


def test_position_information_of_closed_forms() -> None:
    tokens = np.array([10, 10, 10, 10])
    above = np.array([[10, 5, 0], [10, 5, 0], [0, 5, 0], [0, 5, 0]])
    np.testing.assert_allclose(
        position_information(above, tokens), [np.log(2), 0.0, 0.0], atol=1e-15
    )


# Variance reduction


def one_at_a_time(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Equation 3.4 in pandas, an explanation and a neuron at a time."""
    found = np.full((labels.shape[1], values.shape[1]), np.nan)
    for neuron in range(values.shape[1]):
        series = pd.Series(values[:, neuron].astype(np.float64))
        for e in range(labels.shape[1]):
            beta = labels[:, e].mean()
            variances = series.groupby(labels[:, e]).var()
            if variances.isna().any() or len(variances) < 2 or series.var() == 0:
                continue
            within = (1 - beta) * variances[False] + beta * variances[True]
            found[e, neuron] = 1 - within / series.var()
    return found


def label_block(labels: np.ndarray) -> LabelBlock:
    matrix = sp.csc_array(labels)
    return LabelBlock(len(labels), matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Activations, some of which labels explain, with degenerate labels and dead neurons."""
    rng = np.random.default_rng(3)
    labels = rng.random((TOKENS, 9)) < np.array([0.5, 0.2, 0.05, 0.01, 0.9, 0.3, 0, 0, 0])
    labels[:, 6], labels[:, 7] = False, True
    labels[:, 8] = np.arange(TOKENS) == 17  # one token has no variance
    values = adversarial()[:, :12]
    values[:, 7] += 4 * labels[:, 1]
    values[:, 8] = 1e4 + 3 * labels[:, 2] + 0.1 * values[:, 8]
    values[:, 9] = 0.25  # dead
    values[:, 10] = 7 * labels[:, 0]  # nothing but the label
    return values.astype(np.float32), labels


@pytest.mark.parametrize("sizes", [[TOKENS], [3, 200, 17, 500]])
@pytest.mark.parametrize("way", ["compiled", "products"])
def test_variance_reduction_equals_one_explanation_at_a_time(sizes: list[int], way: str) -> None:
    values, labels = planted()
    sums = ClassSums(labels.shape[1], values.shape[1])
    for part in blocks(TOKENS, sizes):
        if way == "compiled":
            sums.add(torch.from_numpy(values[part]), label_block(labels[part]))
            continue
        if sums.shift is None:
            sums.shift = values[part].mean(axis=0, dtype=np.float64).astype(np.float32)
        block = label_block(labels[part])
        sums.n += block.tokens
        sums.counts += np.diff(block.offsets)
        sums._add_by_products(torch.from_numpy(values[part]), block)
    found = sums.reduction()
    expected = one_at_a_time(values, labels)
    np.testing.assert_array_equal(found.degenerate, [False] * 6 + [True] * 3)
    np.testing.assert_array_equal(found.constant, np.arange(12) == 9)
    np.testing.assert_allclose(found.variance_reduction, expected, rtol=1e-9, atol=1e-9)
    assert found.variance_reduction[0, 10] == pytest.approx(1.0)
    for e in range(6):
        yes = labels[:, e]
        wide = values.astype(np.float64)
        np.testing.assert_allclose(found.mean_in[e], wide[yes].mean(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.mean_out[e], wide[~yes].mean(axis=0), rtol=1e-9, atol=1e-9)


def test_the_same_blocks_give_the_same_bits() -> None:
    values, labels = planted()
    found = []
    for _ in range(2):
        sums = ClassSums(labels.shape[1], values.shape[1])
        for part in blocks(TOKENS, [100, 400]):
            sums.add(torch.from_numpy(values[part]), label_block(labels[part]))
        found.append(sums.reduction().variance_reduction)
    np.testing.assert_array_equal(found[0], found[1])
