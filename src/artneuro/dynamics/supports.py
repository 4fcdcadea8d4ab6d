"""Least squares on a few columns, and on every few columns, in orthogonal arithmetic.

Nothing here goes through products of columns: columns are made orthogonal to each other twice over,
which keeps the digits that a Gram matrix of nearly dependent columns has lost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# A column of unit length that is no longer than this beside others depends on them: float64 says
# nothing about what is left of it.
SINGULAR = 1e-13
# Size of the rounding in a projection, relative to the lengths of what is projected.
UNIT = 2 * np.finfo(np.float64).eps


class Task(NamedTuple):
    """A least-squares problem with columns of unit length.

    The objective of coefficients w is `rest + |target - w columns|^2`.

    Attributes
    ----------
    columns : ndarray of shape (columns, length)
        A column of the problem in each line.
    target : ndarray of shape (length,)
    rest : float
        Squared distance of the target from all that these coordinates can hold.
    size : float
        Length of the target, `rest` included.
    most : int
        Largest number of columns of a support.
    noise : float
        Rounding of a projection, relative to the lengths of what is projected.
    cap : float
        Bounds hold against supports whose coefficients' absolute values sum to this at most.
    """

    columns: np.ndarray
    target: np.ndarray
    rest: float
    size: float
    most: int
    noise: float
    cap: float


class Found(NamedTuple):
    """Supports of each size that are the best or nearly; the first axis is the size.

    Attributes
    ----------
    supports : ndarray of int64, shape (most + 1, places, most)
    values, errors : ndarray of shape (most + 1, places)
        Objectives, and what rounding may have added to or taken from them.
    held : ndarray of int64, shape (most + 1,)
        Number of supports held.
    best : ndarray of shape (most + 1,)
        Upper bound of the best objective of a size.
    limits : ndarray of shape (2, most + 1)
        Supports with objectives below the first are to be held; the second, at most the first,
        is what bounds have to reach. Factors of `best` are in `factors`.
    factors : ndarray of shape (2,)
    lost : ndarray of shape (most + 1,)
        Lower bound of what had to be given up for want of places.
    counts : ndarray of int64, shape (3,)
        Nodes, supports that were singular, and supports that were fitted.
    floor : ndarray of shape (most + 1,)
        A size whose best is no higher than this is finished.
    """

    supports: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    held: np.ndarray
    best: np.ndarray
    limits: np.ndarray
    factors: np.ndarray
    lost: np.ndarray
    counts: np.ndarray
    floor: np.ndarray


def make_found(most: int, places: int, factors: tuple[float, float], floor: float) -> Found:
    """An empty record for sizes up to `most`; no objective is below `floor`."""
    sizes = most + 1
    return Found(
        np.zeros((sizes, places, max(most, 1)), dtype=np.int64),
        np.full((sizes, places), np.inf),
        np.zeros((sizes, places)),
        np.zeros(sizes, dtype=np.int64),
        np.full(sizes, np.inf),
        np.full((2, sizes), np.inf),
        np.array(factors, dtype=np.float64),
        np.full(sizes, np.inf),
        np.zeros(3, dtype=np.int64),
        np.full(sizes, floor),
    )


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot(a, b):  # pragma: no cover - compiled
    """Inner product."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True)
def copy(a, b):  # pragma: no cover - compiled
    """Copy a vector into another (which compiles far faster than a slice does)."""
    for i in range(a.size):
        b[i] = a[i]


@njit(cache=True, nogil=True)
def fit(columns, target, rest, names):  # pragma: no cover - compiled
    """Objective and coefficients on columns, and how far the most dependent of them stands out.

    Columns that depend on those before them get the coefficient 0.
    """
    k, length = names.size, target.size
    basis, factor, along = np.empty((k, length)), np.zeros((k, k)), np.zeros(k)
    left, least = np.empty(length), 1.0
    copy(target, left)
    for p in range(k):
        line = basis[p]
        copy(columns[names[p]], line)
        for _ in range(2):
            for q in range(p):
                part = dot(basis[q], line)
                factor[q, p] += part
                for i in range(length):
                    line[i] -= part * basis[q, i]
        size = np.sqrt(dot(line, line))
        least = min(least, size)
        if size <= SINGULAR:
            for i in range(length):
                line[i] = 0.0
            factor[p, p] = np.inf
            continue
        factor[p, p] = size
        for i in range(length):
            line[i] /= size
        for _ in range(2):
            part = dot(line, left)
            along[p] += part
            for i in range(length):
                left[i] -= part * line[i]
    coef = np.zeros(k)
    for p in range(k - 1, -1, -1):
        if factor[p, p] < np.inf:
            value = along[p]
            for q in range(p + 1, k):
                value -= factor[p, q] * coef[q]
            coef[p] = value / factor[p, p]
    return rest + dot(left, left), coef, least


@njit(cache=True, nogil=True)
def _limits(found, size):  # pragma: no cover - compiled
    """Set the limits of a size from its best."""
    best = found.best[size]
    found.limits[0, size] = best * found.factors[0]
    found.limits[1, size] = best * found.factors[1]
    if best <= found.floor[size] and found.factors[0] <= 1.0:
        found.limits[1, size] = -np.inf


@njit(cache=True, nogil=True)
def offer(task, found, names):  # pragma: no cover - compiled
    """Fit a support, and hold it if it is good enough."""
    k = names.size
    value, coef, least = fit(task.columns, task.target, task.rest, names)
    found.counts[2] += 1
    if least <= SINGULAR:
        found.counts[1] += 1
        return
    total = 0.0
    for q in range(k):
        total += abs(coef[q])
    weight = task.noise * (task.size + total)
    error = 2.0 * weight * np.sqrt(value) + weight * weight
    low = value - error
    if not low < found.limits[0, k]:
        return
    ordered = np.empty(k, dtype=np.int64)
    for q in range(k):
        p = q
        while p > 0 and ordered[p - 1] > names[q]:
            ordered[p] = ordered[p - 1]
            p -= 1
        ordered[p] = names[q]
    n, worst, worst_low = found.held[k], 0, -np.inf
    for p in range(n):
        same = True
        for q in range(k):
            same = same and found.supports[k, p, q] == ordered[q]
        if same:
            return
        if found.values[k, p] - found.errors[k, p] > worst_low:
            worst, worst_low = p, found.values[k, p] - found.errors[k, p]
    place = n
    if n == found.values.shape[1]:
        if low >= worst_low:
            found.lost[k] = min(found.lost[k], low)
            return
        found.lost[k] = min(found.lost[k], worst_low)
        place = worst
    else:
        found.held[k] += 1
    for q in range(k):
        found.supports[k, place, q] = ordered[q]
    found.values[k, place], found.errors[k, place] = value, error
    if value + error < found.best[k]:
        found.best[k] = value + error
        _limits(found, k)


@njit(cache=True, nogil=True)
def enumerate_supports(task, found, forced, smallest, budget, place):  # pragma: no cover - compiled
    """Look at every support that contains `forced`; whether any is left.

    Parameters
    ----------
    task : Task
    found : Found
    forced : ndarray of int64
        Columns of every support.
    smallest : int
        Smallest size that is of interest.
    budget : int
        Supports to look at in this call.
    place : ndarray of int64, shape (most + 1,)
        Where the enumeration is, updated in place: the columns that are chosen among those that
        are not forced, and in the last entry their number, or -1 before the first.
    """
    total, most = task.columns.shape[0], task.most
    inside, length = forced.size, task.target.size
    free = np.empty(total - inside, dtype=np.int64)
    n = 0
    for j in range(total):
        taken = False
        for e in range(inside):
            taken = taken or forced[e] == j
        if not taken:
            free[n] = j
            n += 1
    depth = most - inside
    basis, left = np.empty((most, length)), np.empty((most + 1, length))
    factor, along = np.zeros((most, most)), np.zeros(most)
    names = np.empty(most, dtype=np.int64)
    copy(task.target, left[0])
    for e in range(inside):
        names[e] = forced[e]
        _extend(task, basis, left, factor, along, names, e)
    chosen = place[-1]
    if chosen < 0:
        chosen = 0
        if inside >= smallest and inside > 0:
            offer(task, found, names[:inside])
    else:
        for p in range(chosen):
            names[inside + p] = free[place[p]]
            _extend(task, basis, left, factor, along, names, inside + p)
    while True:
        # The next support: one more column, or else the next in place of the last.
        if chosen < depth and (chosen == 0 or place[chosen - 1] + 1 < n):
            place[chosen] = 0 if chosen == 0 else place[chosen - 1] + 1
            if place[chosen] >= n:
                break
            chosen += 1
        else:
            while chosen > 0 and place[chosen - 1] + 1 >= n:
                chosen -= 1
            if chosen == 0:
                break
            place[chosen - 1] += 1
        size = inside + chosen
        names[size - 1] = free[place[chosen - 1]]
        _extend(task, basis, left, factor, along, names, size - 1)
        found.counts[0] += 1
        if size >= smallest:
            value = task.rest + dot(left[size], left[size])
            total_coef = _sum_of_coefficients(factor, along, size)
            weight = task.noise * (task.size + total_coef)
            if total_coef == np.inf:
                found.counts[1] += 1
            elif value - 2.0 * weight * np.sqrt(value) - weight * weight < found.limits[0, size]:
                offer(task, found, names[:size])
        budget -= 1
        if budget <= 0:
            place[-1] = chosen
            return True
    place[-1] = 0
    return False


@njit(cache=True, nogil=True)
def _sum_of_coefficients(factor, along, k):  # pragma: no cover - compiled
    """Sum of the absolute coefficients of the first k columns; infinite if they are singular."""
    coef, total = np.empty(k), 0.0
    for p in range(k - 1, -1, -1):
        if factor[p, p] == 0.0:
            return np.inf
        value = along[p]
        for q in range(p + 1, k):
            value -= factor[p, q] * coef[q]
        coef[p] = value / factor[p, p]
        total += abs(coef[p])
    return total


@njit(cache=True, nogil=True)
def _extend(task, basis, left, factor, along, names, p):  # pragma: no cover - compiled
    """Put the column names[p] behind p others: its direction, and what it leaves of the target."""
    length = task.target.size
    line = basis[p]
    copy(task.columns[names[p]], line)
    for q in range(p):
        factor[q, p] = 0.0
    for _ in range(2):
        for q in range(p):
            part = dot(basis[q], line)
            factor[q, p] += part
            for i in range(length):
                line[i] -= part * basis[q, i]
    size = np.sqrt(dot(line, line))
    copy(left[p], left[p + 1])
    factor[p, p], along[p] = 0.0, 0.0
    if size <= SINGULAR:
        # Supports that contain these columns are singular.
        for i in range(length):
            line[i] = 0.0
        return
    factor[p, p] = size
    for i in range(length):
        line[i] /= size
    along[p] = dot(line, left[p + 1])
    for i in range(length):
        left[p + 1, i] -= along[p] * line[i]
