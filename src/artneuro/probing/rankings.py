"""Rankings of the neurons of a layer for many binary features at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Units that are centred and squared at a time: bounds the float64 copies of a wide layer.
_BLOCK = 1024
# Relative size below which a difference of float64 sums is rounding, not signal.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class ClassStatistics:
    """First and second moments of every neuron in both classes of every task.

    Attributes
    ----------
    difference : ndarray of shape (tasks, units)
        Mean of the positives minus mean of the negatives, exactly 0 for neurons that are constant.
    within : ndarray of shape (tasks, units)
        Sum of squares about the class means, over both classes.
    n_positive, n_negative : ndarray of shape (tasks,)
    """

    difference: np.ndarray
    within: np.ndarray
    n_positive: np.ndarray
    n_negative: np.ndarray

    @property
    def between(self) -> np.ndarray:
        """Sum of squares between the class means, (tasks, units)."""
        n = self.n_positive + self.n_negative
        return (self.n_positive * self.n_negative / n)[:, None] * self.difference**2

    @property
    def std(self) -> np.ndarray:
        """Standard deviation over the rows of each task (ddof 0), (tasks, units)."""
        n = (self.n_positive + self.n_negative)[:, None]
        return np.sqrt((self.within + self.between) / n)

    @property
    def f_statistic(self) -> np.ndarray:
        """One-way ANOVA F of two groups, (tasks, units).

        It is 0 for constant neurons, and infinite for neurons that are constant within each class
        but not across.
        """
        freedom = np.maximum(self.n_positive + self.n_negative - 2, 1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            f = self.between / (self.within / freedom)
        return np.where(self.difference == 0, 0.0, f)


def class_statistics(
    activations: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> ClassStatistics:
    """Statistics of all neurons for all tasks by matrix products, accumulated in float64.

    Parameters
    ----------
    activations : ndarray of shape (rows, units)
        Finite values of any floating type.
    positive, negative : ndarray of bool, shape (tasks, rows)
        Which rows are in each class of each task; rows in neither do not count.

    Notes
    -----
    Each neuron is shifted by its mean first, so that a mean far larger than the standard
    deviation costs no digits. Thesis, section A.2.3.
    """
    tasks, units = positive.shape[0], activations.shape[1]
    members = np.concatenate([positive, negative]).astype(np.float64)
    counts = members.sum(axis=1)
    difference, within = np.empty((tasks, units)), np.empty((tasks, units))
    for start in range(0, units, _BLOCK):
        block = slice(start, start + _BLOCK)
        centred = activations[:, block].astype(np.float64)
        low, high = centred.min(axis=0), centred.max(axis=0)
        centred -= np.where(low == high, low, centred.mean(axis=0))
        sums = members @ centred
        np.square(centred, out=centred)
        squares = members @ centred
        means = sums / counts[:, None]
        total = squares[:tasks] + squares[tasks:]
        spread = squares - sums * means
        inside = np.maximum(spread[:tasks], 0.0) + np.maximum(spread[tasks:], 0.0)
        within[:, block] = np.where(inside > _ROUNDING * total, inside, 0.0)
        gap = means[:tasks] - means[tasks:]
        size = np.abs(means[:tasks]) + np.abs(means[tasks:])
        difference[:, block] = np.where(np.abs(gap) > _ROUNDING * size, gap, 0.0)
    return ClassStatistics(difference, within, counts[:tasks], counts[tasks:])


def top(score: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores, best first; of equal ones the lower index first."""
    return np.argsort(-score, kind="stable")[:k]


def scale_of(std: np.ndarray) -> np.ndarray:
    """The thesis's optional scaling of activations, which gives a standard deviation of 0.1."""
    return 10.0 * np.maximum(std, 1e-3)
