"""Leaps and bounds for least squares with few columns: the tree of the search, compiled.

A node contains the supports with all of the columns I, none of E, and any others. None of them fits
better than all columns but E together, and what this fit costs grows by leaps as columns leave it.
Each level of the search has one more column in I. On a level, the column that would cost most to
leave out is put in (next level), then left out, until what remains on the level costs too much. So
the search needs, for the columns that are still open, what leaving one out costs, which comes from
the inverse of the Gram matrix by eliminating E, and what putting one in gains, which comes from the
Gram matrix by eliminating I. Both are partial Cholesky factors whose rows are made when needed. The
last column of a support is not searched for: the largest gain closes it.

Two bounds are used. All but r columns have to leave, so at least one of any r + 1 does. And what
they cost together is at least the sum of their squared correlations with the dual vectors, over the
largest eigenvalue of the dual vectors' Gram matrix, which no exclusion raises.

Furnival and Wilson (Technometrics 16(4), 1974) gave the leaps; the two factors, the exact last
column, the sum, and one search for all sizes are this module's.

Rounding. With t excluded columns the bound is |v|^2 for a v orthogonal to the open columns, up to
noise * sqrt(trace) |v|, where trace is that of the inverse of the factored matrix. Against
coefficients whose absolute values sum to `cap` that is worth 2 cap times as much in the objective,
and bounds are lowered by it. Where that is too much, the search hands the node back, to be started
anew from orthogonal factors of its own columns.
"""

from __future__ import annotations

import numpy as np

from artneuro.dynamics.leaps_moves import (
    descend,
    hopeful,
    leave_out,
    put_in,
    select,
    worth_it,
)
from artneuro.dynamics.leaps_tree import (
    CHOSEN,
    COUNT,
    DUAL,
    GRAM,
    IN_CORR,
    IN_LEFT,
    IN_NAME,
    IN_SIZE,
    NAMES,
    OPEN,
    OPENED,
    OUT_CORR,
    OUT_LEFT,
    OUT_SIZE,
    PHASE,
    PLACES,
    SPARE,
    Scale,
    compiled,
)
from artneuro.dynamics.supports import SINGULAR, copy, fit, offer

# Below this squared length a column is looked at closely before it is put in.
_NEARLY = 1e-9
# What `advance` says.
DONE, GOING, RESTART = 0, 1, 2


@compiled
def start(task, base, tree, found, inside, first):  # pragma: no cover - compiled
    """Put the columns `inside` (places in the base) in; close the next size if it is the first
    start of a search.
    """
    m, level = base.names.size, inside.size
    tree.place[0] = tree.place[1] = level
    if first:
        if level > 0:
            offer(task, found, base.names[inside])
        if level < task.most:
            more = np.empty(level + 1, dtype=np.int64)
            for p in range(m):
                more[level] = base.names[p]
                fresh = True
                for s in range(level):
                    more[s] = base.names[inside[s]]
                    fresh = fresh and inside[s] != p
                if fresh:
                    offer(task, found, more)
    if level + 2 > task.most:
        tree.place[0] = level - 1
        return
    vectors, numbers, whole, names = tree.vectors, tree.numbers, tree.whole, tree.names
    whole[0, COUNT] = whole[0, OPENED] = m
    numbers[0, IN_LEFT], numbers[0, OUT_LEFT] = task.size * task.size, base.rest
    for p in range(m):
        names[0, NAMES, p], names[0, PLACES, p], vectors[0, OPEN, p] = p, p, 1.0
        vectors[0, IN_CORR, p], vectors[0, IN_SIZE, p] = base.corr[p], base.gram[p, p]
        vectors[0, OUT_CORR, p], vectors[0, OUT_SIZE, p] = base.dual_corr[p], base.dual[p, p]
        copy(base.gram[p], tree.matrices[0, GRAM, p])
        copy(base.dual[p], tree.matrices[0, DUAL, p])
    for depth in range(level):
        p = names[depth, PLACES, inside[depth]]
        whole[depth, CHOSEN] = p
        vectors[depth, OPEN, p] = 0.0
        whole[depth, OPENED] -= 1
        put_in(task.noise, vectors, numbers, whole, names, tree.in_rows, depth)
        descend(
            task.most, vectors, numbers, whole, names, tree.matrices, tree.in_rows, tree.out_rows,
            depth,
        )  # fmt: skip


@compiled
def _offer_hopes(task, base, tree, found, level):  # pragma: no cover - compiled
    """Offer the columns in, the chosen one, and each that `hopeful` has marked."""
    size = level + 2
    names = np.empty(size, dtype=np.int64)
    for s in range(level + 1):
        names[s] = base.names[tree.whole[s, IN_NAME]]
    for q in range(tree.whole[level, COUNT]):
        if tree.vectors[level, SPARE, q] > 0.0:
            names[size - 1] = base.names[tree.names[level, NAMES, q]]
            offer(task, found, names)


@compiled
def _singular(task, base, tree, level):  # pragma: no cover - compiled
    """Does the chosen column of a level depend on those that are in?"""
    names = np.empty(level + 1, dtype=np.int64)
    for s in range(level):
        names[s] = base.names[tree.whole[s, IN_NAME]]
    names[level] = base.names[tree.names[level, NAMES, tree.whole[level, CHOSEN]]]
    return fit(task.columns, task.target, task.rest, names)[2] <= SINGULAR


@compiled
def advance(task, base, tree, found, budget):  # pragma: no cover - compiled
    """Go on for `budget` nodes.

    Returns
    -------
    int
        DONE, GOING if the budget ended first, or RESTART: what `Tree.part` says is not searched
        here but has to be started anew. `advance` can be called again for the rest.
    """
    vectors, numbers, whole, names = tree.vectors, tree.numbers, tree.whole, tree.names
    matrices, in_rows, out_rows = tree.matrices, tree.in_rows, tree.out_rows
    out_factor, out_whole, bounds, place = tree.out_factor, tree.out_whole, tree.bounds, tree.place
    limits, counts, most, noise, size = found.limits, found.counts, task.most, task.noise, task.size
    scale = Scale(most, noise, task.cap, size, base.rest, base.slack, base.trace, base.widest)
    first = place[1]
    while place[0] >= first:
        level = place[0]
        if whole[level, PHASE] == 1:
            whole[level, PHASE] = 0
            if not worth_it(most, limits, bounds, level):
                place[0] -= 1
                continue
            if not leave_out(
                scale, limits, vectors, numbers, whole, names, matrices, out_rows, out_factor,
                out_whole, bounds, level,
            ):  # fmt: skip
                place[0] -= 1
                return RESTART
        p = select(scale, limits, vectors, numbers, whole, bounds, level)
        if p < 0:
            place[0] -= 1
            continue
        if budget <= 0:
            return GOING
        budget -= 1
        counts[0] += 1
        vectors[level, OPEN, p] = 0.0
        whole[level, OPENED] -= 1
        whole[level, CHOSEN], whole[level, PHASE] = p, 1
        if vectors[level, IN_SIZE, p] < _NEARLY and _singular(task, base, tree, level):
            # So are all supports that contain these columns.
            counts[1] += 1
            continue
        put_in(noise, vectors, numbers, whole, names, in_rows, level)
        limit = limits[0, level + 2]
        if hopeful(noise, size, limit, vectors, numbers, whole, matrices, level):
            _offer_hopes(task, base, tree, found, level)
        if level + 3 <= most:
            descend(most, vectors, numbers, whole, names, matrices, in_rows, out_rows, level)
            place[0] += 1
    return DONE
