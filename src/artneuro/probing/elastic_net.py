"""Balanced logistic regression with an elastic-net penalty, solved to a proven gap.

Proximal Newton steps on a working set of neurons: the quadratic model is minimised by coordinate
descent on the small weighted Gram matrix of the set, with exact steps on its current support.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from artneuro.probing.logistic import _loss, balanced_weights, solve_positive

_MAX_SETS = 200


@dataclass(frozen=True)
class ElasticNetFit:
    """A solution and what is proven of it.

    Attributes
    ----------
    coef : ndarray of shape (units,)
    intercept : float
    objective : float
        Value of the penalised loss at the solution.
    gap : float
        `objective` minus a lower bound of the minimum (the dual value).
    converged : bool
        Whether the gap is within the tolerance.
    """

    coef: np.ndarray
    intercept: float
    objective: float
    gap: float
    converged: bool


def fit_elastic_net(
    columns: np.ndarray,
    positive: np.ndarray,
    *,
    C: float = 0.1,
    l1_ratio: float = 1.0,
    tolerance: float = 1e-8,
    coef: np.ndarray | None = None,
) -> ElasticNetFit:
    """Fit a balanced logistic probe with an elastic-net penalty on all neurons given.

    Parameters
    ----------
    columns : ndarray of shape (units, rows)
        Activations, one neuron a line.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.
    C : float
        Inverse strength of the penalty.
    l1_ratio : float
        Share of the l1 penalty, in [0, 1]; 1 is the lasso.
    tolerance : float
        Largest duality gap to stop at, relative to the objective.
    coef : ndarray of shape (units,), optional
        Where to start from, such as the solution for another C.

    Returns
    -------
    ElasticNetFit
        The minimum over w, b of C sum_i s_i log(1 + exp(-y_i (w x_i + b))) + l1_ratio |w|_1
        + (1 - l1_ratio) |w|_2^2 / 2 with balanced weights s and b unpenalised: what
        sklearn.linear_model.LogisticRegression(solver="saga") solves with the same arguments.

    Notes
    -----
    Thesis, section A.2.3 (l1 regularized, adaptive thresholding).
    """
    # Centring changes the intercept only, and saves digits where a mean is far from zero.
    mean = columns.mean(axis=1, dtype=np.float64)
    centred = np.ascontiguousarray(columns - mean[:, None], dtype=np.float64)
    start = np.zeros(mean.size) if coef is None else np.array(coef, dtype=np.float64)
    weight = C * balanced_weights(positive)
    w, b, objective, gap = _fit(
        centred,
        np.asarray(positive, dtype=np.float64),
        weight,
        float(l1_ratio),
        1.0 - float(l1_ratio),
        tolerance,
        start,
    )
    return ElasticNetFit(w, b - float(w @ mean), objective, gap, gap <= tolerance * objective)


@njit(cache=True, nogil=True)
def _residual(f, target, weight, residual, curvature):  # pragma: no cover - compiled
    """Derivatives of the loss in f, in place."""
    for i in range(f.size):
        e = np.exp(-abs(f[i]))
        low = e / (1.0 + e)
        if target[i] > 0.5:
            residual[i] = -weight[i] * (low if f[i] > 0 else 1.0 - low)
        else:
            residual[i] = weight[i] * (1.0 - low if f[i] > 0 else low)
        curvature[i] = weight[i] * low * (1.0 - low)


@njit(cache=True, nogil=True)
def _entropy(residual, weight, target, scale_positive, scale_negative):  # pragma: no cover
    total = 0.0
    for i in range(residual.size):
        scale = scale_positive if target[i] > 0.5 else scale_negative
        q = min(abs(residual[i]) * scale / weight[i], 1.0)
        if q > 0.0:
            total -= weight[i] * q * np.log(q)
        if q < 1.0:
            total -= weight[i] * (1.0 - q) * np.log1p(-q)
    return total


@njit(cache=True, nogil=True)
def _gap(columns, objective, residual, weight, target, l1, l2):  # pragma: no cover - compiled
    rows = residual.size
    positive, negative = 0.0, 0.0
    for i in range(rows):
        if target[i] > 0.5:
            positive -= residual[i]
        else:
            negative += residual[i]
    # The intercept has no penalty: in the dual both classes must pull equally.
    both = min(positive, negative)
    up = both / positive if positive > 0 else 0.0
    down = both / negative if negative > 0 else 0.0
    balanced = np.empty(rows)
    for i in range(rows):
        balanced[i] = residual[i] * (up if target[i] > 0.5 else down)
    pull = np.abs(np.dot(columns, balanced))
    largest = pull.max() if pull.size > 0 else 0.0
    shrink = l1 / largest if largest > l1 else 1.0
    best = _entropy(residual, weight, target, up * shrink, down * shrink)
    if l2 > 0.0:
        excess = 0.0
        for value in pull:
            if value > l1:
                excess += (value - l1) ** 2
        best = max(best, _entropy(residual, weight, target, up, down) - 0.5 * excess / l2)
    return objective - best


@njit(cache=True, nogil=True)
def _penalty(w, l1, l2):  # pragma: no cover - compiled
    total = 0.0
    for value in w:
        total += l1 * abs(value) + 0.5 * l2 * value * value
    return total


@njit(cache=True, nogil=True)
def _violation(g, w, l1, l2):  # pragma: no cover - compiled
    """How far one coordinate is from its optimality condition."""
    if w > 0.0:
        return abs(g + l2 * w + l1)
    if w < 0.0:
        return abs(g + l2 * w - l1)
    return max(abs(g) - l1, 0.0)


@njit(cache=True, nogil=True)
def _fit(columns, target, weight, l1, l2, tolerance, w):  # pragma: no cover - compiled
    units, rows = columns.shape
    f = np.dot(w, columns)
    b = 0.0
    residual, curvature = np.empty(rows), np.empty(rows)
    b = _intercept(f, target, weight, residual, curvature)
    violation = np.empty(units)
    objective, gap = np.inf, np.inf
    for _ in range(_MAX_SETS):
        _residual(f, target, weight, residual, curvature)
        gradient = np.dot(columns, residual)
        objective = _loss(f, target, weight) + _penalty(w, l1, l2)
        gap = _gap(columns, objective, residual, weight, target, l1, l2)
        if gap <= tolerance * objective:
            break
        active = 0
        for j in range(units):
            violation[j] = _violation(gradient[j], w[j], l1, l2)
            if w[j] != 0.0:
                active += 1
        worst = violation.max()
        for j in range(units):
            if w[j] != 0.0:
                violation[j] = np.inf
        size = min(units, max(16, 2 * active))
        order = np.argsort(-violation)
        kept = 0
        while kept < size and violation[order[kept]] > 0.0:
            kept += 1
        chosen = np.sort(order[:kept])
        block = np.empty((kept, rows))
        for q in range(kept):
            block[q] = columns[chosen[q]]
        part = w[chosen]
        b, moved = _newton_on_set(block, target, weight, l1, l2, 0.1 * worst, part, f, b)
        w[chosen] = part
        if not moved:
            break
    return w, b, objective, gap


@njit(cache=True, nogil=True)
def _intercept(f, target, weight, residual, curvature):  # pragma: no cover - compiled
    """Best intercept for given f by guarded Newton steps; added to f in place."""
    b = 0.0
    for _ in range(100):
        _residual(f, target, weight, residual, curvature)
        step = residual.sum() / max(curvature.sum(), 1e-12 * weight.sum())
        step = min(max(step, -2.0), 2.0)
        b -= step
        for i in range(f.size):
            f[i] -= step
        if abs(step) < 1e-12 * (1.0 + abs(b)):
            break
    return b


@njit(cache=True, nogil=True)
def _newton_on_set(block, target, weight, l1, l2, aim, w, f, b):  # pragma: no cover - compiled
    """Proximal Newton on the rows of `block`; w and f in place. Returns b and whether it moved."""
    size, rows = block.shape
    residual, curvature = np.empty(rows), np.empty(rows)
    trial = np.empty(rows)
    moved = False
    value = _loss(f, target, weight) + _penalty(w, l1, l2)
    for _ in range(50):
        _residual(f, target, weight, residual, curvature)
        gradient = np.dot(block, residual)
        slope_b = residual.sum()
        worst = abs(slope_b) / max(1.0, np.sqrt(rows))
        for q in range(size):
            worst = max(worst, _violation(gradient[q], w[q], l1, l2))
        if moved and worst <= aim:
            break
        total = curvature.sum() + 1e-14 * weight.sum()
        half = block * np.sqrt(curvature)
        gram = np.dot(half, half.T)
        pull = np.dot(block, curvature)
        for p in range(size):
            for q in range(size):
                gram[p, q] -= pull[p] * pull[q] / total
            # A ridge at the size of rounding keeps columns that are equal or dead from dividing 0.
            gram[p, p] += 1e-13 * (gram[p, p] + pull[p] * pull[p] / total) + 1e-300
        start = gradient - slope_b / total * pull
        step = _minimise_model(gram, start, w, l1, l2)
        step_b = -(slope_b + np.dot(pull, step)) / total
        change = np.dot(step, block) + step_b
        descent = np.dot(gradient, step) + slope_b * step_b
        descent += _penalty(w + step, l1, l2) - _penalty(w, l1, l2)
        if not descent < 0.0:
            break
        t, found = 1.0, False
        for _ in range(40):
            for i in range(rows):
                trial[i] = f[i] + t * change[i]
            candidate = _loss(trial, target, weight) + _penalty(w + t * step, l1, l2)
            # Near the optimum the gain drowns in rounding; the model is then exact enough.
            if candidate <= value + 1e-4 * t * descent or -descent < 1e-13 * value:
                found = True
                break
            t *= 0.5
        if not found:
            break
        value = candidate
        w += t * step
        b += t * step_b
        f[:] = trial
        moved = True
        if -descent < 1e-15 * value:
            break
    return b, moved


@njit(cache=True, nogil=True)
def _minimise_model(gram, start, w, l1, l2):  # pragma: no cover - compiled
    """Minimise start d + d gram d / 2 + penalty(w + d) over d."""
    size = w.size
    new, slope = w.copy(), start.copy()
    first = 0.0
    for epoch in range(400):
        worst = 0.0
        for q in range(size):
            old = new[q]
            lead = gram[q, q] + l2
            point = gram[q, q] * old - slope[q]
            fresh = 0.0
            if point > l1:
                fresh = (point - l1) / lead
            elif point < -l1:
                fresh = (point + l1) / lead
            if fresh != old:
                delta = fresh - old
                new[q] = fresh
                for p in range(size):
                    slope[p] += delta * gram[q, p]
                worst = max(worst, abs(delta) * lead)
        first = max(first, worst)
        if worst <= 1e-10 * first or worst == 0.0:
            break
        if epoch % 8 == 7:
            _support_step(gram, new, slope, l1, l2)
    return new - w


@njit(cache=True, nogil=True)
def _support_step(gram, new, slope, l1, l2):  # pragma: no cover - compiled
    """Exact minimum with the signs as they are, or the way there up to the first change of sign."""
    size, count = new.size, 0
    index = np.empty(size, np.int64)
    for q in range(size):
        if new[q] != 0.0:
            index[count] = q
            count += 1
    if count == 0:
        return
    matrix, right = np.empty((count, count)), np.empty(count)
    for p in range(count):
        for q in range(count):
            matrix[p, q] = gram[index[p], index[q]]
        matrix[p, p] += l2 + 1e-12 * matrix[p, p]
        value = new[index[p]]
        right[p] = -(slope[index[p]] + l2 * value + (l1 if value > 0 else -l1))
    delta = solve_positive(matrix, right)
    t = 1.0
    for p in range(count):
        value = new[index[p]]
        if (value + delta[p]) * value < 0.0:
            t = min(t, -value / delta[p])
    for p in range(count):
        q = index[p]
        old = new[q]
        fresh = old + t * delta[p]
        if fresh * old < 0.0 or abs(fresh) < 1e-14 * abs(old):
            fresh = 0.0
        new[q] = fresh
        for r in range(size):
            slope[r] += (fresh - old) * gram[q, r]
