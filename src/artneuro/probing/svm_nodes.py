"""Nodes of the branch and bound for sparse support vector machines: bounds, fixing, branching."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from artneuro.probing.k_support import half_penalty, largest, split, top_squares
from artneuro.probing.svm_losses import (
    Rows,
    balance,
    dual_point,
    dual_total,
    loss_sum,
    slopes,
)
from artneuro.probing.svm_relaxation import Goal, lower_bound, minimise

OUT, FREE, IN = -1, 0, 1

# A child is solved on this share of the rows, those nearest to the margin.
_SHARE = 0.4
_FEWEST_ROWS = 64
# Below the cutoff, a gap of this many times the distance from it ends a solve: it is hopeless.
_EAGER = 1.5
_TOLERANCE = 1e-5
_SMALLEST = 1e-7
# Widths of the smoothed hinge that a child starts with.
_DELTA_LOW, _DELTA_HIGH = 0.1, 0.3
_ROUNDS, _STEPS = 6, 100


class Node(NamedTuple):
    """A set of supports: some neurons in, some out, and a solution of its relaxation.

    Attributes
    ----------
    status : ndarray of int8, shape (units,)
        OUT, FREE or IN.
    w : ndarray of shape (units,)
    b, delta : float
        Solution, and width of the smoothed hinge to go on with.
    bound : float
        No support of the set has a lower objective.
    leaf : bool
        Whether the set is the one support that is IN.
    """

    status: np.ndarray
    w: np.ndarray
    b: float
    delta: float
    bound: float
    leaf: bool


@njit(cache=True, nogil=True)
def survey(rows, kind, delta, columns, chosen, left, w, b, margin, alpha, pull):
    # pragma: no cover - compiled
    """Objective, bound and dual total on all rows, with margin, alpha and pull in place.

    `columns` are the neurons that w, chosen and pull speak of.
    """
    n = rows.y.size
    for i in range(n):
        margin[i] = b * rows.y[i]
    for a in range(columns.size):
        if w[a] != 0.0:
            line = rows.signed[columns[a]]
            for i in range(n):
                margin[i] += w[a] * line[i]
    curvature, cap = np.empty(n), np.empty(n)
    low = slopes(rows.weight, kind, delta, curvature, cap)
    dual_point(margin, curvature, cap, low, alpha)
    feasible = alpha.copy()
    balance(feasible, rows.y, 0.0, 0.0, low)
    total = dual_total(feasible, curvature, kind)
    for a in range(columns.size):
        pull[a] = np.dot(rows.signed[columns[a]], feasible)
    if columns.size - chosen.sum() <= left:
        chosen, left = np.ones(columns.size, np.bool_), 0
    part = np.empty(columns.size, np.int8)
    theta, share = split(w, chosen, left, part)
    objective = loss_sum(margin, rows.weight, kind) + half_penalty(w, part, theta, share)
    return objective, lower_bound(total, pull, chosen, left, rows.rounding), total


@njit(cache=True, nogil=True)
def _near_margin(rows, kind, delta, columns, margin, alpha, size):  # pragma: no cover - compiled
    """The rows whose dual variables are likely to move, the others fixed as they are."""
    n = rows.y.size
    distance = np.empty(n)
    for i in range(n):
        t = 1.0 - margin[i]
        if kind == 0:
            distance[i] = max(0.0, max(-t, t - delta))
        elif kind == 1:
            distance[i] = max(0.0, -t)
        else:
            distance[i] = 0.0
    limit = _limit(distance, size)
    kept = np.empty(n, np.int64)
    count = 0
    positive, negative = 0.0, 0.0
    fixed = np.zeros(n)
    for i in range(n):
        if distance[i] <= limit:
            kept[count] = i
            count += 1
        elif alpha[i] > 0.0:
            fixed[i] = alpha[i]
            if rows.y[i] > 0:
                positive += alpha[i]
            else:
                negative += alpha[i]
    y, weight = np.empty(count), np.empty(count)
    for e in range(count):
        y[e], weight[e] = rows.y[kept[e]], rows.weight[kept[e]]
    signed, pull = np.empty((columns.size, count)), np.zeros(columns.size)
    for a in range(columns.size):
        line = rows.signed[columns[a]]
        for e in range(count):
            signed[a, e] = line[kept[e]]
        if count < n:
            pull[a] = np.dot(line, fixed)
    total = positive + negative
    return Rows(signed, y, weight, pull, total, positive, negative, rows.rounding)


@njit(cache=True, nogil=True)
def _limit(distance, size):  # pragma: no cover - compiled
    """A distance that about `size` rows, or a few more, do not exceed."""
    if size >= distance.size:
        return np.inf
    below, above = -1.0, 0.0
    for value in distance:
        above = max(above, value)
    for _ in range(16):
        middle = 0.5 * (max(below, 0.0) + above)
        count = 0
        for value in distance:
            if value <= middle:
                count += 1
        if count >= size:
            above = middle
        else:
            below = middle
    return above


@njit(cache=True, nogil=True)
def expand(rows, kind, k, node, cutoff):  # pragma: no cover - compiled
    """Prove that a node holds nothing below the cutoff, or part it in two.

    Parameters
    ----------
    rows : Rows
        The whole problem.
    kind, k : int
    node : Node
        Not a leaf.
    cutoff : float
        Supports with a higher objective are of no interest.

    Returns
    -------
    bound : float
        Of the node.
    dropped : float
        Lower bound of the supports in it that neither child holds; infinite if none.
    steps : int
    parts : int
        How many children there are; if none, the bound is no lower than the cutoff.
    first, second : Node
        With `dropped`, they make up the node. Their bounds may be above the cutoff.
    promising : ndarray of bool, shape (units,)
        The k neurons with the largest weights in the relaxation.
    """
    units, n = rows.signed.shape
    columns, chosen, w = _columns(node.status, node.w)
    size = columns.size
    left, b, delta = k - chosen.sum(), node.b, node.delta
    margin, alpha, fresh, pull = np.empty(n), np.empty(n), np.empty(size), np.empty(size)
    near = max(_FEWEST_ROWS, int(_SHARE * n))
    bound, of_pull, total, steps = node.bound, -np.inf, 0.0, 0
    for turn in range(_ROUNDS):
        objective, found, part_total = survey(
            rows, kind, delta, columns, chosen, left, w, b, margin, alpha, fresh
        )
        if found > of_pull:
            of_pull, total = found, part_total
            pull[:] = fresh
        bound = max(bound, found)
        hopeless = objective < cutoff and objective - bound < _EAGER * (cutoff - objective)
        if bound >= cutoff or hopeless or turn == _ROUNDS - 1:
            break
        goal = Goal(cutoff, _EAGER, _TOLERANCE, _SMALLEST, _STEPS)
        part = _near_margin(rows, kind, delta, columns, margin, alpha, near)
        b, _, found, part_total, count, delta = minimise(
            part, kind, chosen, left, w, b, delta, goal, fresh
        )
        steps += count
        if found > of_pull:
            of_pull, total = found, part_total
            pull[:] = fresh
        bound = max(bound, found)
        if bound >= cutoff:
            break
        # The solution leaves the rows it was found on: take more of them.
        near = min(n, 2 * near)
    promising = np.zeros(units, np.bool_)
    if bound >= cutoff:
        return bound, np.inf, steps, 0, node, node, promising
    status, dropped = _fix(node.status, columns, chosen, left, pull, total, cutoff, rows.rounding)
    others, count = 0, 0
    for j in range(units):
        if status[j] == 1:
            promising[j] = True
            count += 1
        elif status[j] == 0:
            others += 1
    pick = -1
    if count < k < count + others:
        pick = _branch_on(rows, kind, columns, status, chosen, left, w, margin)
    while count < k and others > 0:
        leader, most = -1, -1.0
        for a in range(size):
            j = columns[a]
            if status[j] == 0 and not promising[j] and abs(w[a]) > most:
                leader, most = j, abs(w[a])
        promising[leader] = True
        others -= 1
        count += 1
    near = max(_FEWEST_ROWS, int(_SHARE * n))
    part = _near_margin(rows, kind, delta, columns, margin, alpha, near)
    wide = np.zeros(units)
    for a in range(size):
        wide[columns[a]] = w[a]
    start = Node(node.status, wide, b, delta, bound, False)
    first, count = _child(part, kind, k, columns, status, pick, 1, start, cutoff)
    steps += count
    if pick < 0:
        return bound, dropped, steps, 1, first, first, promising
    second, count = _child(part, kind, k, columns, status, pick, -1, start, cutoff)
    return bound, dropped, steps + count, 2, first, second, promising


@njit(cache=True, nogil=True)
def _columns(status, wide):  # pragma: no cover - compiled
    """Neurons that are not out, whether each is in, and their weights."""
    columns = np.flatnonzero(status >= 0)
    chosen, w = np.empty(columns.size, np.bool_), np.empty(columns.size)
    for a in range(columns.size):
        chosen[a], w[a] = status[columns[a]] == 1, wide[columns[a]]
    return columns, chosen, w


@njit(cache=True, nogil=True)
def _branch_on(rows, kind, columns, status, chosen, left, w, margin):
    # pragma: no cover - compiled
    """The free neuron whose loss would hurt most, less so if the relaxation has nearly all of it.

    The first children then differ most from the node, which keeps the tree small: on real
    activations three times smaller than branching on the largest weight.
    """
    part = np.empty(w.size, np.int8)
    theta, _ = split(w, chosen, left, part)
    pick, most = -1, -1.0
    for a in range(w.size):
        if status[columns[a]] != 0:
            continue
        effect = 0.0
        if w[a] != 0.0:
            line = rows.signed[columns[a]]
            for i in range(margin.size):
                t = 1.0 - margin[i]
                u = t + w[a] * line[i]
                if kind == 0:
                    effect += rows.weight[i] * (max(u, 0.0) - max(t, 0.0))
                elif kind == 1:
                    effect += rows.weight[i] * (max(u, 0.0) ** 2 - max(t, 0.0) ** 2)
                else:
                    effect += rows.weight[i] * (u * u - t * t)
            inside = abs(w[a]) / theta if part[a] == 1 else 1.0
            effect = max(effect, 0.0) * (1.1 - inside)
        if effect > most:
            pick, most = columns[a], effect
    return pick


@njit(cache=True, nogil=True)
def _fix(
    before, columns, chosen, left, pull, total, cutoff, rounding
):  # pragma: no cover - compiled
    """Neurons that must be in or out for the bound to stay below the cutoff."""
    status = before.copy()
    squares = pull * pull
    ranked = largest(squares, chosen, left + 1)
    last, next_ = ranked[left - 1], ranked[left]
    top = top_squares(squares, chosen, left)
    base = total - 0.5 * top - rounding * (abs(total) + top)
    dropped = np.inf
    for a in range(squares.size):
        if chosen[a]:
            continue
        if squares[a] < last:
            other = base + 0.5 * (last - squares[a])
        else:
            other = base + 0.5 * (squares[a] - next_)
        if other >= cutoff:
            status[columns[a]] = -1 if squares[a] < last else 1
            dropped = min(dropped, other)
    return status, dropped


@njit(cache=True, nogil=True)
def _child(part, kind, k, columns, before, pick, value, start, cutoff):
    # pragma: no cover - compiled
    """The node with one more neuron in or out, its relaxation solved near the margin."""
    status = before.copy()
    if pick >= 0:
        status[pick] = value
    inside, outside = 0, 0
    for value_ in status:
        inside += value_ == 1
        outside += value_ == -1
    left = k - inside
    leaf = left <= 0 or status.size - inside - outside <= left
    if leaf:
        for j in range(status.size):
            if status[j] == 0:
                status[j] = 1 if left > 0 else -1
    names, chosen, w = _columns(status, start.w)
    signed, pull = np.empty((names.size, part.y.size)), np.empty(names.size)
    a = 0
    for e in range(columns.size):
        if status[columns[e]] >= 0:
            signed[a], pull[a] = part.signed[e], part.pull[e]
            a += 1
    rows = Rows(
        signed, part.y, part.weight, pull, part.total, part.positive, part.negative, part.rounding
    )
    goal = Goal(cutoff, _EAGER, _TOLERANCE, _SMALLEST, _STEPS)
    b, _, bound, _, steps, delta = minimise(
        rows, kind, chosen, 0 if leaf else left, w, start.b, start.delta, goal, np.empty(names.size)
    )
    wide = np.zeros(start.w.size)
    for a in range(names.size):
        wide[names[a]] = w[a]
    delta = min(max(delta, _DELTA_LOW), _DELTA_HIGH)
    return Node(status, wide, b, delta, max(bound, start.bound), leaf), steps
