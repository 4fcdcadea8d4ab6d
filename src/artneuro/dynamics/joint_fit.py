"""Least squares on a few columns under linear constraints, in orthogonal arithmetic."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.optimize import nnls

from artneuro.dynamics.joint_problem import JointTask
from artneuro.dynamics.supports import SINGULAR, dot, fit

# A constraint whose entries, relative to those it had, are no larger depends on others.
_DEPENDS = 1e-12
# Constraints hold if they are met up to this share of what they add up, and this share of what
# coefficients of the target's length would.
MET, BLUR = 1e-9, 1e-14
# Diagonal that makes columns regular while active constraints are looked for, and the share of the
# longest at which they need one.
_RIDGE, _FLAT = 1e-8, 1e-10


@njit(cache=True, nogil=True)
def fit_equal(columns, target, rest, lhs, rhs, names):  # pragma: no cover - compiled
    """Least squares on the columns `names` under lhs w = rhs.

    Returns
    -------
    value : float
        The objective; infinite if nothing meets the constraints.
    coef : ndarray
    least : float
        How far the most dependent direction that the constraints leave stands out.
    """
    k, m, length = names.size, lhs.shape[0], target.size
    if m == 0:
        return fit(columns, target, rest, names)
    work, before = np.empty((k, m + length)), np.zeros(m)
    for i in range(k):
        for c in range(m):
            work[i, c] = lhs[c, names[i]]
            before[c] += work[i, c] * work[i, c]
        for j in range(length):
            work[i, m + j] = columns[names[i], j]
    # Rotate the coordinates of w so that the constraints determine the first r of them.
    vectors, used, fixed = np.zeros((m, k)), np.full(m, -1, dtype=np.int64), np.zeros(m)
    open_rows, r = np.ones(m, dtype=np.bool_), 0
    while r < min(k, m):
        best, most = -1, _DEPENDS * _DEPENDS
        for c in range(m):
            if open_rows[c] and before[c] > 0.0:
                left = 0.0
                for i in range(r, k):
                    left += work[i, c] * work[i, c]
                if left / before[c] > most:
                    best, most = c, left / before[c]
        if best < 0:
            break
        size = 0.0
        for i in range(r, k):
            vectors[r, i] = work[i, best]
            size += work[i, best] * work[i, best]
        turned = -np.sqrt(size) if vectors[r, r] > 0.0 else np.sqrt(size)
        vectors[r, r] -= turned
        _reflect(vectors[r], r, work)
        value = rhs[best]
        for q in range(r):
            value -= work[q, best] * fixed[q]
        fixed[r] = value / work[r, best]
        open_rows[best], used[r] = False, best
        r += 1
    for c in range(m):
        if open_rows[c]:
            value, size = -rhs[c], abs(rhs[c])
            for q in range(r):
                value += work[q, c] * fixed[q]
                size += abs(work[q, c] * fixed[q])
            if abs(value) > MET * size:
                return np.inf, np.zeros(k), 1.0
    left_over = target.copy()
    for q in range(r):
        for j in range(length):
            left_over[j] -= fixed[q] * work[q, m + j]
    rotated = np.empty((k, 1))
    value, free, least = fit(work[r:, m:].copy(), left_over, rest, np.arange(k - r))
    for q in range(k):
        rotated[q, 0] = fixed[q] if q < r else free[q - r]
    for q in range(r - 1, -1, -1):
        _reflect(vectors[q], q, rotated)
    return value, rotated[:, 0].copy(), least


@njit(cache=True, nogil=True)
def _reflect(vector, first, work):  # pragma: no cover - compiled
    """Reflect the lines of `work` along `vector`, which is zero before `first`."""
    factor = 2.0 / dot(vector[first:], vector[first:])
    for j in range(work.shape[1]):
        part = 0.0
        for i in range(first, vector.size):
            part += vector[i] * work[i, j]
        part *= factor
        for i in range(first, vector.size):
            work[i, j] -= part * vector[i]


def fit_support(task: JointTask, names: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Least squares on the columns `names` under all constraints of a problem.

    Returns
    -------
    value : float
        The objective; infinite if nothing meets the constraints, or where columns depend on each
        other and fewer do as well.
    coef : ndarray of shape (names,)
    active : ndarray of bool, shape (inequalities + 2 * names,)
        Which inequalities, upper and lower bounds hold with equality and matter.
    """
    lhs, rhs = _uppers(task, names)
    value, coef, least = fit_equal(task.columns, task.target, task.rest, task.lhs, task.rhs, names)
    none = np.zeros(rhs.size, dtype=bool)
    if value == np.inf or not task.bounded:
        return (value if least > SINGULAR else np.inf), coef, none
    if least > SINGULAR and _holds(task, lhs, rhs, coef):
        return value, coef, none
    found = _active(task, names, lhs, rhs)
    if found is None:
        return np.inf, coef, none
    coef, active = found
    polished = _with_active(task, names, lhs, rhs, active)
    if polished is not None and _holds(task, lhs, rhs, polished):
        coef = polished
    left = task.target - coef @ task.columns[names]
    return task.rest + float(left @ left), coef, active


def _uppers(task: JointTask, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inequalities and bounds on some columns, as lhs w <= rhs."""
    k = names.size
    lhs = np.vstack([task.upper_lhs[:, names], np.eye(k), -np.eye(k)])
    return lhs, np.concatenate([task.upper_rhs, task.bound[names], task.bound[names]])


def _holds(task: JointTask, lhs: np.ndarray, rhs: np.ndarray, coef: np.ndarray) -> bool:
    """Are inequalities met?"""
    some = np.isfinite(rhs)
    rows = np.abs(lhs[some])
    size = rows @ np.abs(coef) + np.abs(rhs[some])
    room = MET * size + BLUR * task.size * rows.sum(axis=1)
    return bool((lhs[some] @ coef - rhs[some] <= room).all())


def plane_of(lhs: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A point that meets equalities and directions that keep them; None if there is no point."""
    k = lhs.shape[1]
    if not lhs.shape[0] or not k:
        return (np.zeros(k), np.eye(k)) if (np.abs(rhs) <= 0.0).all() else None
    size = np.sqrt(np.square(lhs).sum(axis=1))
    size[size == 0.0] = 1.0
    lhs, rhs = lhs / size[:, None], rhs / size
    left, values, right = np.linalg.svd(lhs)
    rank = int((values > _DEPENDS * max(values[0], 1e-300)).sum())
    point = right[:rank].T @ ((left[:, :rank].T @ rhs) / values[:rank])
    off = np.abs(lhs @ point - rhs)
    blur = 10.0 * BLUR * np.sqrt(point @ point)
    if (off > MET * (np.abs(lhs) @ np.abs(point) + np.abs(rhs)) + blur).any():
        return None
    return point, right[rank:].T


def _active(
    task: JointTask, names: np.ndarray, lhs: np.ndarray, rhs: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The best coefficients under inequalities too, and which of these matter; None if nothing
    meets them. As the point of a polyhedron that is next to the origin (Lawson and Hanson, Solving
    Least Squares Problems, 1974, chapter 23).
    """
    plane = plane_of(task.lhs[:, names], task.rhs)
    if plane is None:
        return None
    point, ways = plane
    some = np.flatnonzero(np.isfinite(rhs))
    room = rhs[some] - lhs[some] @ point
    active = np.zeros(rhs.size, dtype=bool)
    if not ways.shape[1]:
        return (point, active) if _holds(task, lhs, rhs, point) else None
    along = task.columns[names].T @ ways
    target = task.target - point @ task.columns[names]
    if np.linalg.svd(along, compute_uv=False)[-1] < _FLAT or along.shape[0] < along.shape[1]:
        along = np.vstack([along, _RIDGE * np.eye(ways.shape[1])])
        target = np.concatenate([target, np.zeros(ways.shape[1])])
    turn, factor = np.linalg.qr(along)
    best = turn.T @ target
    # With c = factor z - best, the objective is |c|^2, and c meets normals c >= needs.
    normals = -np.linalg.solve(factor.T, (lhs[some] @ ways).T).T
    needs = -(room + normals @ best)
    size = np.sqrt(np.square(normals).sum(axis=1))
    flat = size <= 1e-14
    if (needs[flat] > MET * (np.abs(rhs[some][flat]) + 1e-300)).any():
        return None
    size[flat] = 1.0
    normals, needs = normals / size[:, None], needs / size
    unit = max(float(np.abs(needs[~flat]).max(initial=0.0)), 1e-300)
    both = np.vstack([normals.T, needs[None] / unit])
    both[:, flat] = 0.0
    goal = np.zeros(both.shape[0])
    goal[-1] = 1.0
    duals, left = nnls(both, goal, maxiter=100 * both.shape[1] + 100)
    if left <= 1e-11:
        return None
    off = both @ duals - goal
    c = -off[:-1] / off[-1] * unit
    coef = point + ways @ np.linalg.solve(factor, c + best)
    active[some[duals > 0.0]] = True
    return coef, active


def _with_active(
    task: JointTask, names: np.ndarray, lhs: np.ndarray, rhs: np.ndarray, active: np.ndarray
) -> np.ndarray | None:
    """The best coefficients where active inequalities are equalities."""
    plane = plane_of(np.vstack([task.lhs[:, names], lhs[active]]), np.append(task.rhs, rhs[active]))
    if plane is None:
        return None
    point, ways = plane
    along = task.columns[names].T @ ways
    target = task.target - point @ task.columns[names]
    return point + ways @ np.linalg.lstsq(along, target, rcond=None)[0]
