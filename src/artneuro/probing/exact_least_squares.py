"""Best subsets of columns for least squares, with proof: leaps and bounds on a Gram matrix.

A node of the search is the fit on all columns that are not dropped, some of them marked as kept. No
subset of these columns fits better than all of them, and the inverse of their Gram matrix says what
dropping each one would cost: what costs too much is kept. Columns are dropped in descending order
of that cost, so that most nodes cost too much at once (Furnival and Wilson, Technometrics 16(4),
1974, drop the cheapest first); a drop updates the inverse. What is left is bounded once more by a
relaxation that knows how many columns may stay.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from artneuro.core.errors import DataError
from artneuro.probing.least_squares_relaxation import perspective_bound

# Nodes between two looks at the clock.
_BATCH = 200
# Rounding of a residual sum of squares, relative to the total, times the condition of the matrix.
_ROUNDING = 64 * np.finfo(np.float64).eps
# Beyond this condition number bounds would be mostly rounding.
_WORST_CONDITION = 1e9


@dataclass(frozen=True)
class LeastSquaresSubset:
    """The best subset found and what is proven of it.

    Attributes
    ----------
    support : ndarray of int64
        Columns, ascending.
    coef : ndarray of float64
        Their coefficients.
    objective : float
        `total - 2 moment v + v gram v` at these coefficients.
    bound : float
        No subset of so many columns has a lower objective.
    nodes : int
        Fits of the search.
    """

    support: np.ndarray
    coef: np.ndarray
    objective: float
    bound: float
    nodes: int


def best_least_squares(
    gram: np.ndarray,
    moment: np.ndarray,
    total: float,
    k: int,
    *,
    gap: float = 0.0,
    deadline: float = np.inf,
    starts: Iterable[Iterable[int]] = (),
) -> LeastSquaresSubset:
    """Minimise total - 2 moment v + v gram v over v with at most k entries that are not zero.

    Parameters
    ----------
    gram : ndarray of shape (columns, columns)
        Positive definite: X^T X, with a ridge penalty on its diagonal if there is one.
    moment : ndarray of shape (columns,)
        X^T y.
    total : float
        y^T y: what is left without any column.
    k : int
        Size of the subset.
    gap : float
        Largest gap to stop at, relative to the objective.
    deadline : float
        When to stop, on the clock of `time.perf_counter`.
    starts : iterable of iterable of int
        Subsets to begin with; longer ones are cut, shorter ones are filled up.

    Returns
    -------
    LeastSquaresSubset
        With a bound within the gap, unless the deadline came first.

    Raises
    ------
    DataError
        If the matrix is so close to singular that no bound would mean anything.
    """
    columns = moment.size
    k = min(k, columns)
    scale = np.sqrt(np.diag(gram))
    if columns == 0 or not scale.min() > 0.0:
        raise DataError(
            "a column of the least-squares problem is zero and has no ridge penalty",
            fix="leave constant columns out, or add a ridge penalty",
        )
    # The subset does not depend on the scale of columns, but the rounding does.
    unit = gram / scale / scale[:, None]
    values = np.linalg.eigvalsh(unit)
    condition = float(values[-1] / values[0]) if values[0] > 0 else np.inf
    if condition > _WORST_CONDITION:
        raise DataError(
            f"columns of a least-squares problem depend on each other (condition {condition:.1g})",
            fix="leave repeated columns out, or add a larger ridge penalty",
        )
    slack = _ROUNDING * columns * condition * float(total)
    scale *= np.sqrt(_diagonal_below(unit))
    task = _Task(
        np.ascontiguousarray(gram / scale / scale[:, None], dtype=np.float64),
        np.ascontiguousarray(moment / scale, dtype=np.float64),
        float(total),
        k,
        gap,
        slack,
    )
    best, nodes, bound = _search(task, starts, deadline)
    support = np.sort(best)
    coef, objective = _fit(task, support)
    return LeastSquaresSubset(
        support,
        coef / scale[support],
        float(objective),
        float(min(bound, objective) - slack),
        nodes,
    )


class _Task(NamedTuple):
    """The problem, with columns scaled such that gram - 1 is still positive semidefinite.

    `slack` is what rounding may add to a bound.
    """

    gram: np.ndarray
    moment: np.ndarray
    total: float
    k: int
    gap: float
    slack: float


class _Stack(NamedTuple):
    """Fits, each of one column less than the one above; the first axis is the level.

    `names` are the columns of a fit and `kept` those that its subsets contain; `order` are the
    places of the columns that its children drop, `turn` the next child and their number; `value`
    is the objective of the fit and the bound of the subsets in it, infinite once it is done;
    `relaxed` is a solution of the relaxation, by column.
    """

    names: np.ndarray
    kept: np.ndarray
    order: np.ndarray
    turn: np.ndarray
    inverse: np.ndarray
    coef: np.ndarray
    value: np.ndarray
    relaxed: np.ndarray


class _Record(NamedTuple):
    """What the search has found: `limits` are the objective of the best subset and the smallest
    bound of what was set aside, `counts` the level of the stack and the nodes so far.
    """

    best: np.ndarray
    limits: np.ndarray
    counts: np.ndarray


def _diagonal_below(gram: np.ndarray, sweeps: int = 8) -> np.ndarray:
    """A large diagonal matrix D with gram - D positive semidefinite."""
    found = np.zeros(gram.shape[0])
    for _ in range(sweeps):
        inverse = np.linalg.inv(gram - np.diag(found))
        for j in range(found.size):
            # A part of what is left for this entry, so that the later ones get theirs.
            step = 0.3 / inverse[j, j]
            found[j] += step
            line = inverse[j].copy()
            inverse += np.outer(line, line) * (step / (1.0 - step * line[j]))
    least = np.linalg.eigvalsh(gram / np.sqrt(found) / np.sqrt(found)[:, None])[0]
    return found * min(1.0, least) * (1.0 - 1e-9)


def _search(
    task: _Task, starts: Iterable[Iterable[int]], deadline: float
) -> tuple[np.ndarray, int, float]:
    """The best subset, the number of nodes, and the bound of all subsets."""
    columns, k = task.moment.size, task.k
    levels = columns - k + 1
    stack = _Stack(
        np.zeros((levels, columns), dtype=np.int64),
        np.zeros((levels, columns), dtype=np.bool_),
        np.zeros((levels, k), dtype=np.int64),
        np.zeros((levels, 2), dtype=np.int64),
        np.zeros((levels, columns, columns)),
        np.zeros((levels, columns)),
        np.full((levels, 2), np.inf),
        np.zeros((levels, columns)),
    )
    stack.names[0] = np.arange(columns)
    stack.inverse[0] = np.linalg.inv(task.gram)
    stack.coef[0] = np.linalg.solve(task.gram, task.moment)
    stack.value[0] = max(task.total - task.moment @ stack.coef[0], 0.0)
    record = _Record(np.arange(k), np.array([np.inf, np.inf]), np.array([0, 0], dtype=np.int64))
    by_size = np.argsort(-np.abs(stack.coef[0]), kind="stable")
    for start in starts:
        names = list(dict.fromkeys([*(int(j) for j in start), *by_size.tolist()]))[:k]
        _try(task, record, np.array(names, dtype=np.int64))
    # The root is opened in any case.
    going = _advance(task, stack, record, 1)
    while going and time.perf_counter() < deadline:
        going = _advance(task, stack, record, _BATCH)
    open_bounds = stack.value[: record.counts[0] + 1, 1]
    bound = min(record.limits[1], open_bounds.min(initial=np.inf))
    return record.best, int(record.counts[1]), float(bound)


@njit(cache=True, nogil=True)
def _fit(task, support):  # pragma: no cover - compiled
    """Coefficients on a subset, and the objective there."""
    size = support.size
    factor, coef = np.empty((size, size)), np.empty(size)
    for p in range(size):
        for q in range(p + 1):
            value = task.gram[support[p], support[q]]
            for r in range(q):
                value -= factor[p, r] * factor[q, r]
            factor[p, q] = np.sqrt(max(value, 1e-300)) if p == q else value / factor[q, q]
    left = task.total
    for p in range(size):
        value = task.moment[support[p]]
        for r in range(p):
            value -= factor[p, r] * coef[r]
        coef[p] = value / factor[p, p]
        left -= coef[p] * coef[p]
    for p in range(size - 1, -1, -1):
        value = coef[p]
        for r in range(p + 1, size):
            value -= factor[r, p] * coef[r]
        coef[p] = value / factor[p, p]
    return coef, max(left, 0.0)


@njit(cache=True, nogil=True)
def _try(task, record, chosen):  # pragma: no cover - compiled
    """Take a subset as the best if it is; returns its objective."""
    objective = _fit(task, chosen)[1]
    if objective < record.limits[0]:
        record.limits[0] = objective
        record.best[:] = chosen
    return objective


@njit(cache=True, nogil=True)
def _set_aside(record, bound):  # pragma: no cover - compiled
    """Note the bound of subsets that will not be looked at."""
    record.limits[1] = min(record.limits[1], bound)


@njit(cache=True, nogil=True)
def _drop(stack, level, size, place):  # pragma: no cover - compiled
    """Put the fit without the column at `place` on the next level."""
    inverse, coef = stack.inverse[level], stack.coef[level]
    names, kept = stack.names[level], stack.kept[level]
    target = stack.inverse[level + 1]
    pivot = inverse[place, place]
    stack.relaxed[level + 1] = stack.relaxed[level]
    for a in range(size - 1):
        p = a if a < place else a + 1
        stack.names[level + 1, a] = names[p]
        stack.kept[level + 1, a] = kept[p]
        ratio = inverse[p, place] / pivot
        stack.coef[level + 1, a] = coef[p] - ratio * coef[place]
        for c in range(place):
            target[a, c] = inverse[p, c] - ratio * inverse[place, c]
        for c in range(place, size - 1):
            target[a, c] = inverse[p, c + 1] - ratio * inverse[place, c + 1]


@njit(cache=True, nogil=True)
def _open(task, stack, record, level, size):  # pragma: no cover - compiled
    """Keep what must be kept, try the dearest columns, bound the node and order its drops."""
    names, kept, coef = stack.names[level], stack.kept[level], stack.coef[level]
    value, k = stack.value[level], task.k
    cutoff = record.limits[0] * (1.0 - task.gap) + task.slack
    cost = np.empty(size)
    inside = 0
    for a in range(size):
        cost[a] = coef[a] * coef[a] / stack.inverse[level, a, a]
        if not kept[a] and value[0] + cost[a] >= cutoff:
            kept[a] = True
            _set_aside(record, value[0] + cost[a])
        inside += kept[a]
    stack.turn[level] = 0
    if inside > k:
        value[1] = np.inf
        return
    # The subset of what is kept and of what is dearest to drop.
    chosen, count, taken = np.empty(k, np.int64), 0, 0
    for a in range(size):
        if kept[a]:
            chosen[count] = names[a]
            count += 1
    ranked = np.argsort(-cost)
    for a in ranked:
        if not kept[a] and count < k:
            chosen[count] = names[a]
            count += 1
            stack.order[level, taken] = a
            taken += 1
    _set_aside(record, _try(task, record, chosen))
    leaving = size - k
    if leaving == 0 or inside == k:
        value[1] = np.inf
        return
    # What leaves costs at least as much as its dearest column.
    place = leaving
    for e in range(size - 1, -1, -1):
        a = ranked[e]
        place -= not kept[a]
        if place == 0:
            value[1] = max(value[1], value[0] + cost[a])
            break
    cutoff = record.limits[0] * (1.0 - task.gap) + task.slack
    if value[1] < cutoff:
        found = perspective_bound(
            task.gram, task.moment, task.total, k, names[:size], kept[:size],
            stack.relaxed[level], cutoff,
        )  # fmt: skip
        value[1] = max(value[1], found)
    if value[1] >= cutoff:
        _set_aside(record, value[1])
        value[1] = np.inf
        return
    # The r-th child keeps the r dearest columns and drops the next one. A last one, without a drop
    # among the dearest, is the subset that was tried.
    stack.turn[level, 1] = taken


@njit(cache=True, nogil=True)
def _advance(task, stack, record, budget):  # pragma: no cover - compiled
    """Go on for `budget` nodes; whether anything is left."""
    columns, counts = task.moment.size, record.counts
    if counts[1] == 0:
        counts[1] = 1
        budget -= 1
        _open(task, stack, record, 0, columns)
    while counts[0] >= 0:
        level = counts[0]
        if stack.turn[level, 0] >= stack.turn[level, 1]:
            stack.value[level, 1] = np.inf
            counts[0] -= 1
            continue
        if budget <= 0:
            return True
        place = stack.order[level, stack.turn[level, 0]]
        stack.turn[level, 0] += 1
        pivot = stack.inverse[level, place, place]
        found = stack.value[level, 0] + stack.coef[level, place] ** 2 / pivot
        bound = max(found, stack.value[level, 1])
        if bound >= record.limits[0] * (1.0 - task.gap) + task.slack:
            _set_aside(record, bound)
        else:
            _drop(stack, level, columns - level, place)
            counts[0] += 1
            counts[1] += 1
            budget -= 1
            stack.value[level + 1, 0], stack.value[level + 1, 1] = found, bound
            _open(task, stack, record, level + 1, columns - level - 1)
        # Later children keep it.
        stack.kept[level, place] = True
    return False
