"""Moments, extremes and class means of the effects of neurons on a vocabulary, in one pass.

The effects of all neurons on all tokens are as many numbers as both multiplied: they are made for a
block of neurons and tokens at a time and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit

# Tokens and neurons of a block: its effects take 8 MiB.
TOKENS, NEURONS = 4096, 384
# Values that are summed at a time, and skipped together if none of them is an extreme.
_RUN = 128


@dataclass(frozen=True)
class EffectStatistics:
    """What is known of the effects of n neurons on v tokens.

    Attributes
    ----------
    variance, skew, kurtosis : ndarray of float64, shape (n,)
        Central moments over the tokens (divided by v; kurtosis is 3 for a Gaussian). Skew and
        kurtosis are NaN where the variance is zero.
    top, bottom : ndarray of int64, shape (n, k)
        Tokens with the highest and lowest effects, the most extreme first.
    top_values, bottom_values : ndarray of float32, shape (n, k)
    class_means : ndarray of float64, shape (n, classes)
        Mean effect on the tokens of each class.
    mean : ndarray of float64, shape (n,)
    """

    mean: np.ndarray
    variance: np.ndarray
    skew: np.ndarray
    kurtosis: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    top_values: np.ndarray
    bottom_values: np.ndarray
    class_means: np.ndarray


def effect_statistics(
    directions: np.ndarray,
    vocabulary: torch.Tensor,
    classes: np.ndarray,
    keep: int,
    threads: int = 1,
) -> EffectStatistics:
    """Statistics of the products of directions with the vectors of a vocabulary.

    Parameters
    ----------
    directions : ndarray, shape (n, d_model)
        Output weights of neurons, of unit length for cosines.
    vocabulary : Tensor of float32, shape (v, d_model)
        A vector for each token, on the device that computes.
    classes : ndarray of bool, shape (v, classes)
        Which tokens each class has.
    keep : int
        Extreme tokens to keep, at most v.
    threads : int
        Cores that take the moments, on a CPU.

    Returns
    -------
    EffectStatistics
    """
    n, v = len(directions), len(vocabulary)
    keep = min(keep, v)
    # The mean is known before the products are, so moments are central from the start.
    average = vocabulary.mean(dim=0, dtype=torch.float64).cpu().numpy()
    mean = directions.astype(np.float64) @ average
    weights = torch.from_numpy(np.ascontiguousarray(directions, dtype=np.float32))
    labels = torch.from_numpy(classes.astype(np.float32))
    found = _Found(n, keep, classes.shape[1])

    def work(first: int) -> None:
        rows = slice(first, min(first + NEURONS, n))
        block, part = weights[rows].to(vocabulary.device), found.of(rows)
        for start in range(0, v, TOKENS):
            effects = block @ vocabulary[start : start + TOKENS].T
            of_class = effects @ labels[start : start + TOKENS].to(effects.device)
            part.sums += of_class.double().cpu().numpy()
            if effects.is_cuda:
                _reduce_on_gpu(effects, mean[rows], start, part)
            else:
                _reduce_rows(
                    effects.numpy(), mean[rows], start, part.powers, part.values, part.tokens
                )

    blocks = range(0, n, NEURONS)
    if vocabulary.is_cuda or threads == 1:
        for first in blocks:
            work(first)
    else:
        with _one_thread_each(), ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, blocks))
    return found.statistics(mean, v, classes.sum(axis=0))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Products that run side by side are to take one core each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Found:
    """What has been added up so far."""

    def __init__(self, n: int, keep: int, classes: int) -> None:
        self.powers = np.zeros((n, 4))
        self.sums = np.zeros((n, classes))
        self.values = np.full((2, n, keep), -np.inf, dtype=np.float32)
        self.tokens = np.zeros((2, n, keep), dtype=np.int64)

    def of(self, rows: slice) -> _Found:
        part = object.__new__(_Found)
        part.powers, part.sums = self.powers[rows], self.sums[rows]
        part.values, part.tokens = self.values[:, rows], self.tokens[:, rows]
        return part

    def statistics(self, mean: np.ndarray, v: int, sizes: np.ndarray) -> EffectStatistics:
        # The first is what rounding moved the mean by.
        moved, second, third, fourth = (self.powers / v).T
        variance = np.maximum(second - moved**2, 0.0)
        cubes = third - 3 * moved * second + 2 * moved**3
        fourths = fourth - 4 * moved * third + 6 * moved**2 * second - 3 * moved**4
        with np.errstate(invalid="ignore", divide="ignore"):
            skew, kurtosis = cubes / variance**1.5, fourths / variance**2
            class_means = self.sums / np.where(sizes > 0, sizes, np.nan)
        flat = variance == 0
        return EffectStatistics(
            mean + moved,
            variance,
            np.where(flat, np.nan, skew),
            np.where(flat, np.nan, kurtosis),
            self.tokens[0],
            self.tokens[1],
            self.values[0],
            -self.values[1],
            class_means,
        )


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nnan", "nsz"})
def _add_powers(run, mean, powers):
    """Add the first four powers of the distances from the mean; the largest and least value."""
    one = two = three = four = 0.0
    high, low = run[0], run[0]
    for x in run:
        d = np.float64(x) - mean
        square = d * d
        one += d
        two += square
        three += square * d
        four += square * square
    for x in run:
        high = x if x > high else high
        low = x if x < low else low
    powers[0] += one
    powers[1] += two
    powers[2] += three
    powers[3] += four
    return high, low


@njit(cache=True, nogil=True)
def _insert(value, token, values, tokens):
    """Put a value into a descending list; of equal ones the first that came stays first."""
    at = len(values) - 1
    while at > 0 and values[at - 1] < value:
        values[at] = values[at - 1]
        tokens[at] = tokens[at - 1]
        at -= 1
    values[at] = value
    tokens[at] = token


@njit(cache=True, nogil=True)
def _reduce_rows(effects, mean, start, powers, values, tokens):
    last = values.shape[2] - 1
    for i in range(effects.shape[0]):
        for first in range(0, effects.shape[1], _RUN):
            run = effects[i, first : first + _RUN]
            high, low = _add_powers(run, mean[i], powers[i])
            if high > values[0, i, last]:
                for j in range(len(run)):
                    if run[j] > values[0, i, last]:
                        _insert(run[j], start + first + j, values[0, i], tokens[0, i])
            if -low > values[1, i, last]:
                for j in range(len(run)):
                    if -run[j] > values[1, i, last]:
                        _insert(-run[j], start + first + j, values[1, i], tokens[1, i])


def _reduce_on_gpu(effects: torch.Tensor, mean: np.ndarray, start: int, found: _Found) -> None:
    """The same with whole-block operations."""
    distance = effects.double() - torch.from_numpy(mean).to(effects.device)[:, None]
    power = torch.ones_like(distance)
    for i in range(4):
        power *= distance
        found.powers[:, i] += power.sum(dim=1).cpu().numpy()
    for side, signed in enumerate((effects, -effects)):
        keep = min(found.values.shape[2], signed.shape[1])
        best = torch.topk(signed, keep, dim=1)
        values = np.concatenate([found.values[side], best.values.cpu().numpy()], axis=1)
        tokens = np.concatenate([found.tokens[side], best.indices.cpu().numpy() + start], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, : found.values.shape[2]]
        found.values[side] = np.take_along_axis(values, order, axis=1)
        found.tokens[side] = np.take_along_axis(tokens, order, axis=1)
