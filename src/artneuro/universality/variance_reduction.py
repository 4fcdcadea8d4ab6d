"""How much of each neuron's variance each explanation takes away, in one pass over the tokens.

An explanation is a yes or no for every token. Equation 3.4 needs of each its tokens, and the sum
and sum of squares of the activations on them: two products of the sparse matrix of labels with the
activations and their squares, for all neurons and all explanations at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange

_STRIP = 64
# Tokens whose mean the sums are about.
SHIFTED_BY = 256


@dataclass(frozen=True)
class LabelBlock:
    """The labels of a block of tokens: for each explanation the tokens that it holds of.

    Attributes
    ----------
    tokens : int
        Tokens of the block.
    offsets : (explanations + 1,) int64
    members : (positives,) int32
        Explanation e holds of the tokens members[offsets[e] : offsets[e + 1]] of the block.
    """

    tokens: int
    offsets: np.ndarray
    members: np.ndarray


@dataclass(frozen=True)
class Reduction:
    """Variance reduction of neurons by explanations, and what it is made of.

    Attributes
    ----------
    variance_reduction : (explanations, neurons) float64
        1 - (weighted variance within the two classes) / variance; NaN where an explanation is
        degenerate or a neuron is constant.
    mean_in, mean_out : (explanations, neurons) float64
        Mean activation on tokens that an explanation holds of, and on the others.
    degenerate : (explanations,) bool
        A class has fewer than two tokens, so that it has no variance.
    constant : (neurons,) bool
        The activation does not vary.
    """

    variance_reduction: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray
    degenerate: np.ndarray
    constant: np.ndarray


class ClassSums:
    """Sums of activations and of their squares over the tokens of each explanation.

    Everything is summed in float64 about a shift, the mean of some first tokens rounded to
    float32, so that squares lose nothing where the mean is large.

    Parameters
    ----------
    explanations, neurons : int
    """

    def __init__(self, explanations: int, neurons: int) -> None:
        self.n = 0
        self.counts = np.zeros(explanations, dtype=np.int64)
        self.shift: np.ndarray | None = None
        self.sums = np.zeros((explanations, neurons))
        self.squares = np.zeros((explanations, neurons))
        self.total = np.zeros(neurons)
        self.total_squares = np.zeros(neurons)

    def add(self, values: torch.Tensor, labels: LabelBlock) -> None:
        """Take a block of tokens.

        Parameters
        ----------
        values : (tokens, neurons) tensor of float
            Activations, on any device.
        labels : LabelBlock
            Of the same tokens.
        """
        if not labels.tokens:
            return
        if self.shift is None:
            self.shift = values[:SHIFTED_BY].double().mean(dim=0).float().cpu().numpy()
        self.n += labels.tokens
        self.counts += np.diff(labels.offsets)
        if values.device.type == "cpu":
            block = np.ascontiguousarray(values.float().numpy())
            _add_block(
                block, self.shift, labels.offsets, labels.members,
                self.sums, self.squares, self.total, self.total_squares,
            )  # fmt: skip
        else:
            self._add_by_products(values, labels)

    def _add_by_products(self, values: torch.Tensor, labels: LabelBlock) -> None:
        """As products of sparse and dense matrices, which a GPU has kernels for."""
        wide = values.double() - torch.as_tensor(self.shift, device=values.device).double()
        square = wide * wide
        self.total += wide.sum(dim=0).cpu().numpy()
        self.total_squares += square.sum(dim=0).cpu().numpy()
        matrix = torch.sparse_csr_tensor(
            torch.as_tensor(labels.offsets, device=values.device),
            torch.as_tensor(labels.members.astype(np.int64), device=values.device),
            torch.ones(len(labels.members), dtype=torch.float64, device=values.device),
            (len(labels.offsets) - 1, labels.tokens),
        )
        self.sums += (matrix @ wide).cpu().numpy()
        self.squares += (matrix @ square).cpu().numpy()

    def reduction(self) -> Reduction:
        """What equation 3.4 says of all tokens that were taken.

        Notes
        -----
        Thesis, equation 3.4, with n - 1 in every variance.
        """
        n, inside = self.n, self.counts[:, None].astype(np.float64)
        outside = n - inside
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = _deviations(n, self.total, self.total_squares) / (n - 1)
            rest, rest_squares = self.total - self.sums, self.total_squares - self.squares
            within = inside / n * _deviations(inside, self.sums, self.squares) / (inside - 1)
            within += outside / n * _deviations(outside, rest, rest_squares) / (outside - 1)
            share = 1.0 - within / variance
            means = self.sums / inside, rest / outside
        shift = self.shift if self.shift is not None else np.zeros(len(self.total))
        degenerate = (self.counts < 2) | (n - self.counts < 2)
        # The shift of a constant is its value, to the last digit: nothing is left to square.
        constant = ~(variance > 0)
        share[degenerate] = np.nan
        share[:, constant] = np.nan
        return Reduction(share, means[0] + shift, means[1] + shift, degenerate, constant)


def _deviations(n, total, squares):
    """Sum of squared deviations from the mean."""
    return np.maximum(squares - total * total / n, 0.0)


@njit(cache=True, parallel=True, fastmath={"contract"})
def _add_block(values, shift, offsets, members, sums, squares, total, total_squares):
    """Add a block to all sums; each strip of neurons is one core's alone, in one fixed order."""
    n, neurons = values.shape
    for strip in prange((neurons + _STRIP - 1) // _STRIP):
        low = strip * _STRIP
        high = min(neurons, low + _STRIP)
        width = high - low
        centred = np.empty((n, width))
        one, two = np.zeros(width), np.zeros(width)
        for t in range(n):
            for j in range(width):
                d = np.float64(values[t, low + j]) - np.float64(shift[low + j])
                centred[t, j] = d
                one[j] += d
                two[j] += d * d
        for j in range(width):
            total[low + j] += one[j]
            total_squares[low + j] += two[j]
        for e in range(len(offsets) - 1):
            if offsets[e] == offsets[e + 1]:
                continue
            one[:] = 0.0
            two[:] = 0.0
            for at in range(offsets[e], offsets[e + 1]):
                t = members[at]
                for j in range(width):
                    d = centred[t, j]
                    one[j] += d
                    two[j] += d * d
            for j in range(width):
                sums[e, low + j] += one[j]
                squares[e, low + j] += two[j]
