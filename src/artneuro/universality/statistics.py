"""Statistics of activations over a stream of tokens: exact central moments, frequency, position.

Moments are taken block by block about the block's own mean in float64 and merged exactly, so that
neither the order of the blocks nor a mean that is large beside the deviations costs digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange

# Neurons of a strip: what a strip needs of a block of tokens stays in a core's cache.
_STRIP = 64
# Of a GPU's block in float64, whose copy is four times that of a bfloat16 activation.
_GPU_TOKENS = 1024


@dataclass(frozen=True)
class CentralMoments:
    """Means of several quantities over n observations, and sums of powers of the deviations.

    Attributes
    ----------
    n : int
        Observations.
    mean : (neurons,) float64
    m2, m3, m4 : (neurons,) float64
        Sums over the observations of (x - mean) to the power of 2, 3 and 4.
    """

    n: int
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray

    def merge(self, other: CentralMoments) -> CentralMoments:
        """The moments of both sets of observations together.

        Notes
        -----
        Chan, Golub and LeVeque (1979) for the variance; Pebay, SAND2008-6212, for the higher ones.
        """
        if not other.n:
            return self
        if not self.n:
            return other
        n = self.n + other.n
        a, b = self.n / n, other.n / n
        delta = other.mean - self.mean
        square = delta * delta
        mean = self.mean + b * delta
        m2 = self.m2 + other.m2 + square * (a * other.n)
        m3 = (
            self.m3
            + other.m3
            + delta * square * (a * other.n * (a - b))
            + 3 * delta * (a * other.m2 - b * self.m2)
        )
        m4 = (
            self.m4
            + other.m4
            + square * square * (a * other.n * (a * a - a * b + b * b))
            + 6 * square * (a * a * other.m2 + b * b * self.m2)
            + 4 * delta * (a * other.m3 - b * self.m3)
        )
        return CentralMoments(n, mean, m2, m3, m4)

    @property
    def variance(self) -> np.ndarray:
        """Variance with n - 1 in the denominator; 0 for a single observation."""
        return self.m2 / max(self.n - 1, 1)

    @property
    def skew(self) -> np.ndarray:
        """Skew m3 / n over (m2 / n) ** 1.5; NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(self.n) * self.m3 / self.m2**1.5

    @property
    def kurtosis(self) -> np.ndarray:
        """Kurtosis m4 / n over (m2 / n) ** 2: 3 for a Gaussian, NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.n * self.m4 / self.m2**2


def no_moments(neurons: int) -> CentralMoments:
    """The moments of no observations."""
    zeros = np.zeros(neurons)
    return CentralMoments(0, zeros, zeros, zeros, zeros)


class PreActivationStatistics:
    """Streamed statistics of the pre-activations of a layer.

    Parameters
    ----------
    neurons : int
    n_ctx : int
        Positions of a sequence.
    """

    def __init__(self, neurons: int, n_ctx: int) -> None:
        self.moments = no_moments(neurons)
        self._above = np.zeros((n_ctx, neurons), dtype=np.int64)
        self._tokens = np.zeros(n_ctx, dtype=np.int64)

    def add(self, values: torch.Tensor, position: torch.Tensor) -> None:
        """Take a block of tokens.

        Parameters
        ----------
        values : (tokens, neurons) tensor of float
            Pre-activations, on any device.
        position : (tokens,) tensor of int64
            Position of each token in its sequence, on the same device.
        """
        if not len(values):
            return
        self._tokens += np.bincount(position.cpu().numpy(), minlength=len(self._tokens))
        if values.device.type == "cpu":
            block = np.ascontiguousarray(values.float().numpy())
            parts = _block_moments(block, position.numpy(), self._above)
            self.moments = self.moments.merge(CentralMoments(len(block), *parts))
        else:
            self._add_by_tensors(values, position)

    def _add_by_tensors(self, values: torch.Tensor, position: torch.Tensor) -> None:
        """What the compiled loop does, with tensors on any device."""
        above = torch.zeros(self._above.shape, dtype=torch.int64, device=values.device)
        # Integers, whose sum does not depend on the order that a GPU adds them in.
        above.index_add_(0, position, (values > 0).long())
        self._above += above.cpu().numpy()
        for part in values.split(_GPU_TOKENS):
            self.moments = self.moments.merge(block_moments(part))

    @property
    def activation_frequency(self) -> np.ndarray:
        """Share of the tokens whose pre-activation is above zero, (neurons,)."""
        return self._above.sum(axis=0) / max(int(self._tokens.sum()), 1)

    @property
    def position_information(self) -> np.ndarray:
        """Mutual information of (pre-activation > 0) with the position, in nats, (neurons,)."""
        return position_information(self._above, self._tokens)


def block_moments(values: torch.Tensor) -> CentralMoments:
    """Central moments of one block of tokens in float64 by torch, on any device.

    Parameters
    ----------
    values : (tokens, neurons) tensor of float
    """
    block = values.double()
    mean = block.mean(dim=0)
    d = block - mean
    square = d * d
    sums = (square.sum(dim=0), (square * d).sum(dim=0), (square * square).sum(dim=0))
    return CentralMoments(len(block), *(part.cpu().numpy() for part in (mean, *sums)))


@njit(cache=True, parallel=True, fastmath={"contract"})
def _block_moments(values, position, above):
    """Mean and sums of powers of the deviations of a block; counts positive values by position."""
    n, neurons = values.shape
    mean, m2, m3, m4 = np.zeros(neurons), np.zeros(neurons), np.zeros(neurons), np.zeros(neurons)
    for strip in prange((neurons + _STRIP - 1) // _STRIP):
        low = strip * _STRIP
        high = min(neurons, low + _STRIP)
        width = high - low
        mu, a2, a3, a4 = np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
        for t in range(n):
            for j in range(width):
                mu[j] += np.float64(values[t, low + j])
        for j in range(width):
            mu[j] /= n
        for t in range(n):
            at = position[t]
            for j in range(width):
                x = np.float64(values[t, low + j])
                d = x - mu[j]
                square = d * d
                a2[j] += square
                a3[j] += square * d
                a4[j] += square * square
                above[at, low + j] += x > 0
        mean[low:high], m2[low:high], m3[low:high], m4[low:high] = mu, a2, a3, a4
    return mean, m2, m3, m4


def position_information(above: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Mutual information of a binary variable with the position in the sequence, in nats.

    The plug-in estimate, which for independent variables is about (positions - 1) / (2 tokens)
    above zero.

    Parameters
    ----------
    above : (positions, neurons) array of int
        How often the variable is true at each position.
    tokens : (positions,) array of int
        Tokens at each position.

    Returns
    -------
    (neurons,) float64
        0 to log 2.

    Notes
    -----
    Thesis, section 3.4.3, position neurons.
    """
    seen = tokens > 0
    inside, tokens = above[seen].astype(np.float64), tokens[seen].astype(np.float64)
    total = tokens.sum()
    found = np.zeros(above.shape[1])
    for joint in (inside, tokens[:, None] - inside):
        share = joint.sum(axis=0) / total
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = joint / total * np.log(joint / (tokens[:, None] * share))
        found += np.where(joint > 0, terms, 0.0).sum(axis=0)
    return np.maximum(found, 0.0)
