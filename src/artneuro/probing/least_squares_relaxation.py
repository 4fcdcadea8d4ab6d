"""Relaxation of best subsets for least squares: fractional choices of columns."""

from __future__ import annotations

import numpy as np
from numba import njit

from artneuro.probing.k_support import half_penalty, split, top_squares
from artneuro.probing.svm_relaxation import solve

# Steps of a relaxation, and of the search along each.
_NEWTON, _HALVINGS = 6, 6
# Below the cutoff, a gap of this many times the distance from it ends a relaxation: it is hopeless.
_EAGER = 1.0


@njit(cache=True, nogil=True)
def perspective_bound(
    gram, moment, total, k, names, kept, relaxed, cutoff
):  # pragma: no cover - compiled
    """Lower bound of total - 2 moment v + v gram v over v with k entries among `names`.

    Parameters
    ----------
    gram : ndarray of shape (columns, columns)
        Such that gram - 1 is positive semidefinite: the part |v|^2 is charged at the least cost of
        fractional choices of k columns.
    moment : ndarray of shape (columns,)
    total : float
    k : int
    names : ndarray of int64, shape (size,)
        Columns that are left.
    kept : ndarray of bool, shape (size,)
        Which of them are in every subset.
    relaxed : ndarray of shape (columns,)
        Where to start, and in place the solution. Any v gives a bound; a few Newton steps make it
        good.
    cutoff : float
        The steps end as soon as the bound reaches it, or cannot.
    """
    size = names.size
    left = k - kept.sum()
    rest, drive, t = np.empty((size, size)), np.empty(size), np.empty(size)
    for a in range(size):
        drive[a], t[a] = moment[names[a]], relaxed[names[a]]
        for c in range(size):
            rest[a, c] = gram[names[a], names[c]]
        rest[a, a] -= 1.0
    part = np.empty(size, np.int8)
    best = -np.inf
    curved = np.dot(rest, t)
    for step in range(_NEWTON + 1):
        pull = drive - curved
        quadratic = np.dot(t, curved)
        theta, share = split(t, kept, left, part)
        bound = total - quadratic - top_squares(pull * pull, kept, left)
        now = total + quadratic - 2.0 * np.dot(drive, t)
        now += 2.0 * half_penalty(t, part, theta, share)
        best = max(best, bound)
        if step == _NEWTON or best >= cutoff or now - best < _EAGER * (cutoff - now):
            break
        if now - best <= 1e-5 * total:
            break
        move = _newton_move(rest, pull, t, kept, left, part, theta, share)
        length, lower = 1.0, False
        for _ in range(_HALVINGS):
            moved = t + length * move
            for a in range(size):
                # A shared weight that would change its sign stops at zero.
                if not kept[a] and moved[a] * t[a] < 0.0:
                    moved[a] = 0.0
            curved = np.dot(rest, moved)
            theta, share = split(moved, kept, left, part)
            there = total + np.dot(moved, curved) - 2.0 * np.dot(drive, moved)
            there += 2.0 * half_penalty(moved, part, theta, share)
            if there < now:
                lower = True
                break
            length *= 0.4
        if not lower:
            break
        t[:] = moved
    for a in range(size):
        relaxed[names[a]] = t[a]
    return best


@njit(cache=True, nogil=True)
def _newton_move(rest, pull, t, kept, left, part, theta, share):  # pragma: no cover - compiled
    """Newton step of the relaxation; weights that want to leave zero are set off from it."""
    size = t.size
    tiny = 1e-9 * np.abs(t).max() + 1e-12
    if share > 0:
        for a in range(size):
            if part[a] == 0 and abs(pull[a]) > theta * (1.0 + 1e-6):
                t[a] = tiny if pull[a] > 0.0 else -tiny
        theta, share = split(t, kept, left, part)
    move = np.zeros(size)
    while True:
        active = np.flatnonzero(part > 0)
        n = active.size
        matrix, right = np.empty((n, n)), np.empty(n)
        for p in range(n):
            a = active[p]
            sign = 1.0 if t[a] > 0.0 else -1.0
            right[p] = pull[a] - (t[a] if part[a] == 2 else theta * sign)
            for q in range(p + 1):
                c = active[q]
                matrix[p, q] = rest[a, c]
                if part[a] == 1 and part[c] == 1:
                    # Shared weights have curvature along their sum only.
                    matrix[p, q] += (sign if t[c] > 0.0 else -sign) / share
            matrix[p, p] += 1.0 if part[a] == 2 else 1e-8
        if not solve(matrix, right):
            return move
        again = False
        for p in range(n):
            a = active[p]
            if part[a] == 1 and abs(t[a]) <= 1.5 * tiny and right[p] * t[a] < 0.0:
                t[a], part[a], again = 0.0, 0, True
        if not again:
            break
        theta, share = split(t, kept, left, part)
    for p in range(n):
        move[active[p]] = right[p]
    return move
