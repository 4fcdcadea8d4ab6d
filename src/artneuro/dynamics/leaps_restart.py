"""Fresh factors of some columns, for a search of `leaps` that is started anew.

Loops over small matrices, rather than calls of a library that would wake its threads for each.
"""

from __future__ import annotations

import numpy as np

from artneuro.dynamics.leaps_tree import Base, compiled
from artneuro.dynamics.supports import dot

# Diagonal that makes a singular factor regular; bounds are lowered by what it may add to them.
DIAGONAL = 1e-11


@compiled
def restart(task, root, names):  # pragma: no cover - compiled
    """The base over the columns `names` of the task, from orthogonal factors of them alone.

    Parameters
    ----------
    task : Task
    root : Base
        Of all columns.
    names : ndarray of int64
    """
    m, length = names.size, task.target.size
    work = np.zeros((m + 1, length))
    _fill(task, names, work)
    _reflect(work, m)
    diagonal = 0.0
    if length < m or _least(work, m) < DIAGONAL:
        diagonal = DIAGONAL
        work = np.zeros((m + 1, length + m))
        _fill(task, names, work)
        for p in range(m):
            work[p, length + p] = DIAGONAL
        _reflect(work, m)
    rest = task.rest
    for i in range(m, work.shape[1]):
        rest += work[m, i] * work[m, i]
    # Vectors dual to the columns: u_p is orthogonal to all columns but its own.
    vectors, dual, trace = np.zeros((m, m)), np.empty((m, m)), 0.0
    corr, dual_corr, gram = np.empty(m), np.empty(m), np.empty((m, m))
    for p in range(m):
        u = vectors[p]
        u[p] = 1.0 / work[p, p]
        for i in range(p + 1, m):
            u[i] = -dot(work[i, p:i], u[p:i]) / work[i, i]
        square = dot(u[p:], u[p:])
        trace += square
        scale = 1.0 / np.sqrt(square)
        for i in range(p, m):
            u[i] *= scale
        dual_corr[p] = dot(u[p:], work[m, p:m])
        for q in range(p + 1):
            dual[p, q] = dual[q, p] = dot(u[p:], vectors[q, p:])
        corr[p] = root.corr[names[p]]
        for q in range(m):
            gram[p, q] = root.gram[names[p], names[q]]
    slack = root.slack + (diagonal * task.cap) ** 2
    return Base(names, gram, dual, corr, dual_corr, rest, slack, trace, _widest(dual))


@compiled
def _widest(matrix):  # pragma: no cover - compiled
    """Upper bound of the eigenvalues of a matrix: the largest sum of absolute values in a line."""
    largest = 0.0
    for p in range(matrix.shape[0]):
        total = 0.0
        for q in range(matrix.shape[0]):
            total += abs(matrix[p, q])
        largest = max(largest, total)
    return largest * (1.0 + 1e-9)


@compiled
def _fill(task, names, work):  # pragma: no cover - compiled
    """Put the columns in, one a line, and the target behind them."""
    for p in range(names.size):
        for i in range(task.target.size):
            work[p, i] = task.columns[names[p], i]
    for i in range(task.target.size):
        work[names.size, i] = task.target[i]


@compiled
def _least(work, m):  # pragma: no cover - compiled
    """Least diagonal entry of a triangular factor."""
    least = np.inf
    for p in range(m):
        least = min(least, abs(work[p, p]))
    return least


@compiled
def _reflect(work, m):  # pragma: no cover - compiled
    """Householder's factor of the first m lines, applied to all: line p ends at its entry p."""
    length = work.shape[1]
    for p in range(min(m, length)):
        line = work[p, p:]
        size = np.sqrt(dot(line, line))
        if size == 0.0:
            continue
        # Away from zero, so that nothing cancels.
        turned = -size if line[0] > 0.0 else size
        line[0] -= turned
        factor = 2.0 / dot(line, line)
        for q in range(p + 1, work.shape[0]):
            other = work[q, p:]
            part = factor * dot(line, other)
            for i in range(other.size):
                other[i] -= part * line[i]
        work[p, p] = turned
        for i in range(p + 1, length):
            work[p, i] = 0.0
