"""Mutual information of many neurons with binary labels, by nearest neighbours in one dimension.

The estimator is that of Ross (2014) for a continuous and a discrete variable. In one dimension
the k nearest neighbours of a point of its own class are a window of the sorted values, so that
one sort per neuron replaces the two tree searches per neuron of the usual implementations.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from scipy.special import digamma

# Below this a standard deviation counts as zero, as in sklearn.preprocessing.scale.
_ZERO = 10 * np.finfo(np.float64).eps


@functools.lru_cache(maxsize=2)
def tie_breaking_noise(rows: int, columns: int, seed: int) -> np.ndarray:
    """Standard normal noise, (columns, rows): the numbers that scikit-learn adds for this seed.

    It draws them as (rows, columns) from the legacy generator, which fixes their order.
    """
    noise = np.random.RandomState(seed).standard_normal(size=(rows, columns))
    return np.ascontiguousarray(noise.T)


def mutual_information(
    columns: np.ndarray, positive: np.ndarray, *, neighbors: int = 3, seed: int = 0
) -> np.ndarray:
    """Mutual information in nats of each neuron's activation with a binary label.

    Parameters
    ----------
    columns : ndarray of shape (units, rows)
        Activations, one neuron a line.
    positive : ndarray of bool, shape (rows,)
        The label of each row; both classes have at least two rows.
    neighbors : int
        Neighbours within the class that set the radius of a point (capped by the class's size).
    seed : int
        Of the noise of relative size 1e-10 that separates equal values.

    Returns
    -------
    ndarray of shape (units,)
        Never negative. Equals `sklearn.feature_selection.mutual_info_classif(columns.T, positive,
        n_neighbors=neighbors, random_state=seed)`.

    Notes
    -----
    Thesis, section A.2.3; Ross, PLoS ONE 9(2), 2014.
    """
    units, rows = columns.shape
    values = columns.astype(np.float64)
    scale = values.std(axis=1)
    scale[scale < _ZERO] = 1.0
    values /= scale[:, None]
    size = np.maximum(1.0, np.abs(values).mean(axis=1))
    values += (1e-10 * size)[:, None] * tie_breaking_noise(rows, units, seed)
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    labels = np.asarray(positive, dtype=np.bool_)[order]
    n_positive = int(np.count_nonzero(positive))
    counts = np.array([rows - n_positive, n_positive])
    # A point that is alone in its class has no neighbour: it is left out, as by Ross.
    used = counts[counts > 1]
    if used.size == 0:
        return np.zeros(units)
    psi = np.concatenate([[0.0], digamma(np.arange(1, rows + 1))])
    sums = _sum_of_digamma(values, labels, counts, neighbors, psi)
    total = int(used.sum())
    k_used = np.minimum(neighbors, used - 1)
    constant = psi[total] + (used * (psi[k_used] - psi[used])).sum() / total
    return np.maximum(0.0, constant - sums / total)


@njit(cache=True, nogil=True)
def _sum_of_digamma(values, labels, counts, neighbors, psi):  # pragma: no cover - compiled
    """Sum over rows of psi(number of rows within the row's radius), for sorted lines of values."""
    units, rows = values.shape
    out = np.zeros(units)
    place = np.empty((2, rows), np.int64)
    filled = np.empty(2, np.int64)
    for u in range(units):
        line = values[u]
        filled[:] = 0
        for i in range(rows):
            c = 1 if labels[u, i] else 0
            place[c, filled[c]] = i
            filled[c] += 1
        total = 0.0
        for c in range(2):
            count = counts[c]
            if count < 2:
                continue
            k = min(neighbors, count - 1)
            for p in range(count):
                i = place[c, p]
                x = line[i]
                distance = np.inf
                for first in range(max(0, p - k), min(p, count - 1 - k) + 1):
                    low = x - line[place[c, first]]
                    high = line[place[c, first + k]] - x
                    reach = low if low > high else high
                    if reach < distance:
                        distance = reach
                radius = np.nextafter(distance, 0.0)
                total += psi[_within(line, i, x, radius)]
        out[u] = total
    return out


@njit(cache=True, nogil=True)
def _within(line, i, x, radius):  # pragma: no cover - compiled
    """How many sorted values lie within `radius` of x = line[i], itself included."""
    last = line.size - 1
    low, step = i, 1
    # Gallop, then bisect: most radii hold few points, those of a rare class hold many.
    while low - step >= 0 and x - line[low - step] <= radius:
        low -= step
        step *= 2
    while step > 0:
        if low - step >= 0 and x - line[low - step] <= radius:
            low -= step
        step //= 2
    high, step = i, 1
    while high + step <= last and line[high + step] - x <= radius:
        high += step
        step *= 2
    while step > 0:
        if high + step <= last and line[high + step] - x <= radius:
            high += step
        step //= 2
    return high - low + 1
