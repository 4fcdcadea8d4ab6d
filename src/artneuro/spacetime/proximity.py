"""Proximity error: how many other entities are predicted nearer to the truth than the entity is.

Thesis, section 4.2.3: of an entity i with the true point t_i, the share of the other entities j
whose prediction p_j is nearer to t_i than p_i is. Chance is 0.5, and the best is 0. No matrix of
all pairs is held: dates are counted in their order, places by a loop over pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from artneuro.core.errors import DataError
from artneuro.spacetime.metrics import SPACE, on_sphere, unit_vectors, wrapped


def proximity_errors(
    truth: np.ndarray,
    predicted: np.ndarray,
    target_names: Sequence[str],
    *,
    among: np.ndarray | None = None,
    as_published: bool = False,
) -> np.ndarray:
    """Proximity error of every row.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n, t)
        Degrees, or years.
    target_names : sequence of str
        What the columns are: "latitude" and "longitude" in any order, or one other name. Distances
        are great circles in the one case and absolute differences in the other.
    among : ndarray, optional
        Rows whose predictions may be nearer, as a mask of all rows or as their numbers. None: all.
        A row is never compared with itself.
    as_published : bool
        Latitude and longitude in each other's place, as the thesis's code had them.

    Returns
    -------
    ndarray of shape (n,)
        Shares between 0 and 1. Predictions just as far as a row's own are not nearer.

    Raises
    ------
    DataError
        If shapes do not fit, values are missing, or a row has no other to be compared with.
    """
    names = tuple(target_names)
    truth, predicted = _checked(truth, names), _checked(predicted, names)
    n = len(truth)
    if truth.shape != predicted.shape:
        raise DataError(f"{len(predicted)} predictions for {n} entities")
    rows = np.arange(n) if among is None else np.arange(n)[among]
    others = np.full(n, len(rows), dtype=np.int64)
    others[rows] -= 1
    if n and others.min() < 1:
        raise DataError("a proximity error needs other entities to compare with")
    if set(names) == set(SPACE):
        columns = [names.index(name) for name in SPACE]
        if as_published:
            # Nothing was clipped there, and the formula takes "latitudes" of up to 180 degrees.
            true, own = (unit_vectors(*wrapped(v[:, columns[::-1]]).T) for v in (truth, predicted))
        else:
            true, own = (unit_vectors(*on_sphere(*v[:, columns].T)) for v in (truth, predicted))
        nearer = _count_nearer_points(true, own, np.ascontiguousarray(own[rows]))
    else:
        nearer = _count_nearer_numbers(truth[:, 0], predicted[:, 0], predicted[rows, 0])
    return nearer / others


def _checked(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if set(names) != set(SPACE) and len(names) != 1:
        raise DataError(f"no distance is defined for the targets {names}")
    if found.ndim != 2 or found.shape[1] != len(names) or not np.isfinite(found).all():
        raise DataError(f"{found.shape} is no complete table of the targets {names}")
    return found


def _count_nearer_numbers(truth: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of `others` are nearer to each truth than its own number is."""
    values, counts = np.unique(others, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    distance = np.abs(own - truth)
    # Distances to a truth fall and then rise along the values, rounded as they are; the ends of the
    # stretch of nearer ones are therefore right but for rounding, and moved until they are exact.
    low = np.searchsorted(values, truth - distance, side="left")
    high = np.searchsorted(values, truth + distance, side="right")
    last = len(values)

    def is_nearer(at: np.ndarray) -> np.ndarray:
        inside = (at >= 0) & (at < last)
        return inside & (np.abs(values[np.clip(at, 0, last - 1)] - truth) < distance)

    while (move := is_nearer(low - 1)).any():
        low = low - move
    while (move := (low < high) & ~is_nearer(low)).any():
        low = low + move
    while (move := is_nearer(high)).any():
        high = high + move
    while (move := (low < high) & ~is_nearer(high - 1)).any():
        high = high - move
    return below[high] - below[low]


@njit(cache=True, nogil=True)
def _count_nearer_points(truth: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    found = np.zeros(len(truth), dtype=np.int64)
    for i in range(len(truth)):
        x, y, z = truth[i]
        limit = (own[i, 0] - x) ** 2 + (own[i, 1] - y) ** 2 + (own[i, 2] - z) ** 2
        count = 0
        for j in range(len(others)):
            dx, dy, dz = others[j, 0] - x, others[j, 1] - y, others[j, 2] - z
            count += dx * dx + dy * dy + dz * dz < limit
        found[i] = count
    return found
