"""Sparse support vector machines with some neurons chosen and the rest of k relaxed.

Newton steps with exact line searches on the smoothed loss plus half the squared k-support norm,
restricted to the weights that are not zero or want to leave zero. With every neuron chosen this is
the ordinary machine on a support. Any dual point bounds the objective of every support from below,
so a bound is valid however inexact the solution.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from artneuro.probing.k_support import half_penalty, split, top_squares
from artneuro.probing.svm_losses import (
    balance,
    dual_point,
    dual_total,
    loss_sum,
    slopes,
    smoothing,
)


class Goal(NamedTuple):
    """When to stop.

    Attributes
    ----------
    cutoff : float
        A bound as high as this is high enough.
    eager : float
        Below the cutoff, a gap of this many times the distance from it is small enough: no exact
        solution would reach it. Negative: go on to `tolerance`.
    tolerance : float
        Largest gap relative to the objective.
    smallest : float
        Smallest width of the smoothed part of the hinge.
    steps : int
        Largest number of Newton steps.
    """

    cutoff: float
    eager: float
    tolerance: float
    smallest: float
    steps: int


@njit(cache=True, nogil=True)
def lower_bound(total, pull, chosen, left, rounding):  # pragma: no cover - compiled
    """Bound of the objective over all supports that a dual point proves, less its rounding."""
    squares = top_squares(pull * pull, chosen, left)
    return total - 0.5 * squares - rounding * (abs(total) + 0.5 * squares)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def solve(matrix, right):  # pragma: no cover - compiled
    """Solve a positive definite system by Cholesky, both arrays in place; False if it is not."""
    n = right.size
    for p in range(n):
        for q in range(p + 1):
            value = matrix[p, q]
            for r in range(q):
                value -= matrix[p, r] * matrix[q, r]
            if p != q:
                matrix[p, q] = value / matrix[q, q]
            elif value > 0.0:
                matrix[p, p] = np.sqrt(value)
            else:
                return False
    for p in range(n):
        value = right[p]
        for r in range(p):
            value -= matrix[p, r] * right[r]
        right[p] = value / matrix[p, p]
    for p in range(n - 1, -1, -1):
        value = right[p]
        for r in range(p + 1, n):
            value -= matrix[r, p] * right[r]
        right[p] = value / matrix[p, p]
    return True


@njit(cache=True, nogil=True)
def minimise(rows, kind, chosen, left, w, b, delta, goal, best_pull):  # pragma: no cover - compiled
    """Minimise the relaxation over w, in place, and b.

    Parameters
    ----------
    rows : Rows
    kind : int
        One of `LOSSES`.
    chosen : ndarray of bool, shape (units,)
        Neurons that are in the support.
    left : int
        How many of the others may be.
    w : ndarray of shape (units,)
        Start, and in place the result, for activations times sqrt(gamma).
    b : float
        Start of the intercept.
    delta : float
        Width of the smoothed part of the hinge to start with.
    goal : Goal
    best_pull : ndarray of shape (units,)
        In place: sum_i alpha_i signed_ij of the best dual point.

    Returns
    -------
    b, objective, bound, total, steps, delta
        `total` is the part of the best dual point that goes with `best_pull` (`lower_bound`). The
        objective is that of the rows given, with the other rows linear: no higher than the true
        one.
    """
    signed, y, weight = rows.signed, rows.y, rows.weight
    units, n = signed.shape
    if units - chosen.sum() <= left:
        chosen, left = np.ones(units, np.bool_), 0
    curvature, cap, alpha, feasible = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    low = slopes(weight, kind, delta, curvature, cap)
    margin = b * y
    for j in range(units):
        if w[j] != 0.0:
            for i in range(n):
                margin[i] += w[j] * signed[j, i]
    part = np.empty(units, np.int8)
    offset = rows.positive - rows.negative
    best, best_total, objective = -np.inf, 0.0, np.inf
    gain, steps, grow = np.inf, 0, True
    while True:
        dual_point(margin, curvature, cap, low, alpha)
        theta, share = split(w, chosen, left, part)
        value = loss_sum(margin, weight, kind) + half_penalty(w, part, theta, share)
        value += rows.total - b * offset - np.dot(rows.pull, w)
        objective = min(objective, value)
        solved = 0.0
        feasible[:] = alpha
        if balance(feasible, y, rows.positive, rows.negative, low):
            total = rows.total + dual_total(feasible, curvature, kind)
            pull = rows.pull + np.dot(signed, feasible)
            bound = lower_bound(total, pull, chosen, left, rows.rounding)
            if bound > best:
                best, best_total = bound, total
                best_pull[:] = pull
            if kind == 0:
                above, below = smoothing(margin, feasible, weight, delta)
                solved = value - above - (bound - below)
        if best >= goal.cutoff or steps >= goal.steps:
            break
        if objective - best <= goal.tolerance * abs(objective):
            break
        if objective < goal.cutoff and objective - best < goal.eager * (goal.cutoff - objective):
            break
        stalled = grow and gain <= 1e-13 * abs(objective)
        if kind == 0 and delta > goal.smallest and (stalled or solved <= 0.3 * (objective - best)):
            # What is left of the gap is mostly due to the smoothing.
            delta = max(0.2 * delta, goal.smallest)
            low = slopes(weight, kind, delta, curvature, cap)
            dual_point(margin, curvature, cap, low, alpha)
        elif stalled:
            break
        steps += 1
        pull = rows.pull + np.dot(signed, alpha)
        step, step_b = _direction(
            rows, curvature, cap, low, alpha, pull, chosen, left, w, part, theta, share, grow
        )
        change = step_b * y
        along = -step_b * offset - np.dot(rows.pull, step)
        for j in range(units):
            if step[j] != 0.0:
                for i in range(n):
                    change[i] += step[j] * signed[j, i]
        t, snap, slope = _line_search(
            w, step, chosen, left, part, margin, change, curvature, cap, low, along
        )
        # Where no row is in the quadratic zone the loss may be flat in the intercept, and rounding
        # would send it off; no minimum is further away than twice the largest margin.
        reach = 2.0
        for i in range(n):
            reach = max(reach, 2.0 * (1.0 + abs(margin[i])))
        if t * abs(step_b) > reach:
            t, snap = reach / abs(step_b), -1
        gain = -slope * t
        grow = snap < 0
        for j in range(units):
            w[j] += t * step[j]
        if snap >= 0:
            w[snap] = 0.0
        for i in range(n):
            margin[i] += t * change[i]
        b += t * step_b
    return b, objective, best, best_total, steps, delta


@njit(cache=True, nogil=True)
def _direction(
    rows, curvature, cap, low, alpha, pull, chosen, left, w, part, theta, share, grow
):  # pragma: no cover - compiled
    """Newton step of w and b; if the support may grow, weights that want to leave zero are set off
    from it, in place.
    """
    signed, y = rows.signed, rows.y
    units, n = signed.shape
    tiny = 0.0
    for value in w:
        tiny = max(tiny, abs(value))
    tiny = 1e-9 * tiny + 1e-12
    if share > 0 and grow:
        for j in range(units):
            if part[j] == 0 and abs(pull[j]) > theta * (1.0 + 1e-6):
                w[j] = tiny if pull[j] > 0 else -tiny
        theta, share = split(w, chosen, left, part)
    zone, root = np.empty(n, np.int64), np.empty(n)
    count = 0
    slope_b = rows.negative - rows.positive
    for i in range(n):
        slope_b -= y[i] * alpha[i]
        if alpha[i] > low and alpha[i] < cap[i]:
            zone[count], root[count] = i, np.sqrt(curvature[i])
            count += 1
    step = np.zeros(units)
    active = np.empty(units, np.int64)
    while True:
        size = 0
        for j in range(units):
            if part[j] > 0:
                active[size] = j
                size += 1
        half = np.empty((size + 1, count))
        for a in range(size):
            line = signed[active[a]]
            for e in range(count):
                half[a, e] = root[e] * line[zone[e]]
        for e in range(count):
            half[size, e] = root[e] * y[zone[e]]
        matrix = np.dot(half, half.T)
        right = np.empty(size + 1)
        for a in range(size):
            j = active[a]
            if part[j] == 2:
                matrix[a, a] += 1.0
                right[a] = pull[j] - w[j]
                continue
            sign = 1.0 if w[j] > 0 else -1.0
            right[a] = pull[j] - theta * sign
            # Shared weights have curvature along their sum only.
            matrix[a, a] += 1e-8
            for e in range(size):
                other = active[e]
                if part[other] == 1:
                    matrix[a, e] += (sign if w[other] > 0 else -sign) / share
        if count == 0:
            matrix[size, size] = rows.weight.sum()
        matrix[size, size] *= 1.0 + 1e-10
        right[size] = -slope_b
        if not solve(matrix, right):
            for a in range(size):
                right[a] = 0.0
            right[size] = -slope_b / rows.weight.sum()
        again = False
        for a in range(size):
            j = active[a]
            if part[j] == 1 and abs(w[j]) <= 1.5 * tiny and right[a] * w[j] < 0.0:
                w[j] = 0.0
                part[j] = 0
                again = True
        if not again:
            break
        theta, share = split(w, chosen, left, part)
    for a in range(size):
        step[active[a]] = right[a]
    return step, right[size]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _slope(
    t, w, step, chosen, left, part, margin, change, curvature, cap, low, along, point, zero
):  # pragma: no cover - compiled
    """First (from the right) and second derivative along a step, and theta; w[zero] is 0 there."""
    for j in range(w.size):
        point[j] = w[j] + t * step[j]
    if zero >= 0:
        point[zero] = 0.0
    theta, share = split(point, chosen, left, part)
    first, second, shared = along, 0.0, 0.0
    for j in range(w.size):
        if part[j] == 2:
            first += point[j] * step[j]
            second += step[j] * step[j]
        elif part[j] == 1:
            shared += step[j] if point[j] > 0 else -step[j]
        else:
            shared += abs(step[j])
    if share > 0:
        first += theta * shared
        second += shared * shared / share
    for i in range(margin.size):
        value = curvature[i] * (1.0 - margin[i] - t * change[i])
        first -= min(max(value, low), cap[i]) * change[i]
        second += curvature[i] * change[i] * change[i] if low < value < cap[i] else 0.0
    return first, second, theta


@njit(cache=True, nogil=True)
def _line_search(
    w, step, chosen, left, part, margin, change, curvature, cap, low, along
):  # pragma: no cover - compiled
    """Where the objective is least along a step.

    Returns the length of the step, the weight that is zero there because the least value is at its
    kink (or -1), and the slope at the start.
    """
    point = np.empty(w.size)
    start, _, _ = _slope(
        0.0, w, step, chosen, left, part, margin, change, curvature, cap, low, along, point, -1
    )
    if start >= 0.0:
        return 0.0, -1, 0.0
    before, after, t = 0.0, np.inf, 1.0
    for _ in range(60):
        first, second, _ = _slope(
            t, w, step, chosen, left, part, margin, change, curvature, cap, low, along, point, -1
        )
        if abs(first) <= 1e-8 * abs(start):
            break
        if first > 0.0:
            after = t
        else:
            before = t
        guess = t - first / second if second > 0.0 else -1.0
        if after < np.inf:
            kink, snap = -1.0, -1
            for j in range(w.size):
                if step[j] * w[j] < 0.0 and not chosen[j]:
                    crossing = -w[j] / step[j]
                    inside = before * (1.0 + 1e-12) < crossing < after * (1.0 - 1e-12)
                    if inside and (snap < 0 or abs(crossing - guess) < abs(kink - guess)):
                        kink, snap = crossing, j
            if snap >= 0:
                right, _, theta = _slope(
                    kink, w, step, chosen, left, part, margin, change, curvature, cap, low,
                    along, point, snap,
                )  # fmt: skip
                if right - 2.0 * theta * abs(step[snap]) <= 0.0 <= right:
                    return kink, snap, start
                if right < 0.0:
                    before = kink
                else:
                    after = kink
        if not before < guess < after:
            guess = 2.0 * t if after == np.inf else 0.5 * (before + after)
        if abs(guess - t) <= 1e-13 * t:
            break
        t = guess
    return t, -1, start
