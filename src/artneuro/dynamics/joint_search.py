"""Branch and bound for several targets under linear constraints, compiled.

A node contains the supports with all of the columns I, none of E, and any of the open ones. For
coefficients w of such a support and any vector v that is a sum of rows (see JointTree) of E, of
equalities, and of inequalities with weights that are not negative,

    |target - w columns| >= v (target - w columns) / |v| >= (the sum of the rows' t) / |v|

So every v gives a bound, however it was come by, once it is lowered by how far its rows are from
orthogonal to the columns, times `cap`. Rows are made orthogonal to those that were added before,
so that the bound is the least objective under equalities of all columns but E; inequalities are
added by coordinate ascent.

The children of a node: let p1, p2, ... be the open columns, in the order of the bounds of what is
left without them, the highest first. Any support but that of all open columns lacks one; child j
holds those that lack pj first, so p1, ..., p(j-1) are in and pj is out. Bounds fall with j while
sizes grow: the leaps of Furnival and Wilson. Columns that are in take no arithmetic.

Without constraints targets are apart: for every way to share a size among them, the leaps of each
alone and what is known of its best supports bound a node too. Without this, the trees of the
targets would multiply instead of add up where constraints matter little.
"""

from __future__ import annotations

import numpy as np

from artneuro.dynamics.joint_fit import fit_equal
from artneuro.dynamics.joint_tree import (
    BLUR,
    BOUND,
    COUNT,
    FRESH,
    GOAL,
    IN,
    INSIDE,
    LEAF,
    LEVEL,
    LOSS,
    NEXT,
    OPEN,
    OUT,
    REST,
    SLACK,
    STAGE,
    START,
    TILT,
    TOTAL,
    combine,
    eliminate,
)
from artneuro.dynamics.leaps_tree import compiled
from artneuro.dynamics.supports import SINGULAR, copy, dot

# Nodes that fresh factors cost as much as, and how many are paid for at first.
_COST, CREDIT = 100, 1000
# What `advance` says.
DONE, GOING, REFRESH, FOUND = range(4)
# Passes of the ascent over inequalities.
_PASSES = 30
# Share of a bound that rounding may take before factors are made afresh, if it has grown so much
# since they were.
_SHARE, _GROWN = 0.01, 10.0


@compiled
def bound_of(total, loss, square, slack):  # pragma: no cover - compiled
    """The bound of a v with these sums."""
    gain = total - loss
    if gain > 0.0 and square > 0.0:
        return max(gain * gain / square - slack, 0.0)
    return 0.0


@compiled
def _ascend(task, tree, level, v):  # pragma: no cover - compiled
    """Add inequalities and bounds that are not met to v; what they add to TOTAL and LOSS."""
    rows, shifts, state = tree.rows[level], tree.shifts[level], tree.state[level]
    n, uppers, length = task.columns.shape[0], task.upper_lhs.shape[0], v.size
    duals, z = tree.spare[1], tree.spare[2, :length]
    for i in range(n + uppers):
        duals[i] = 0.0
    for j in range(length):
        z[j] = 0.0
    total, loss = 0.0, 0.0
    for _ in range(_PASSES):
        moved = 0.0
        for i in range(n + uppers):
            edge = 0.0
            if i < n:
                edge = tree.bound[level, i]
                if state[i] == OUT or edge == np.inf:
                    continue
            u = rows[i]
            size = dot(u, u)
            if not np.sqrt(size) > 1e3 * shifts[i, TILT]:
                continue
            off = shifts[i, GOAL] - dot(u, z)
            # For a bound the dual's sign is the side.
            goal = duals[i] + off / size
            new = max(goal, 0.0)
            if i < n:
                new = max(abs(goal) - edge / size, 0.0) * (1.0 if goal > 0.0 else -1.0)
            step = new - duals[i]
            if step != 0.0:
                duals[i] = new
                for j in range(length):
                    z[j] += step * u[j]
                moved = max(moved, step * step * size)
        if moved <= 1e-10 * (dot(z, z) + 1e-300):
            break
    for i in range(n + uppers):
        if duals[i] != 0.0:
            weight = abs(duals[i])
            edge = tree.bound[level, i] if i < n else 0.0
            total += duals[i] * shifts[i, GOAL] - weight * edge
            loss += weight * (shifts[i, BLUR] + task.cap * shifts[i, TILT])
    for j in range(length):
        v[j] += z[j]
    return total, loss


@compiled
def _apart(task, tree, limits, level):  # pragma: no cover - compiled
    """The largest size of which targets without constraints have supports that are good enough."""
    rows, shifts, state = tree.own_rows[level], tree.own_shifts[level], tree.state[level]
    most, targets = task.most, task.room.size
    loss = task.noise * np.sqrt(task.rest) * (task.cap + task.size)
    # least[s]: of the targets so far, with at most s columns.
    least, more = np.full(most + 1, bound_of(task.rest, loss, task.rest, 0.0)), np.empty(most + 1)
    tops = np.empty(most + 2)
    for t in range(targets):
        v, numbers = tree.own_vector[level, t], tree.own_numbers[level, t]
        square, total, inside = numbers[REST] + dot(v, v), numbers[TOTAL], 0
        node = max(numbers[BOUND], bound_of(total, numbers[LOSS], square, numbers[SLACK]))
        for p in range(most + 1):
            tops[p] = node
        for i in range(state.size):
            if task.owner[i] != t:
                continue
            inside += state[i] == IN
            size = dot(rows[i], rows[i])
            if state[i] != OPEN or size == 0.0:
                continue
            goal, along = shifts[i, GOAL], dot(v, rows[i])
            c = combine(total, square, goal, along, size)
            lost = numbers[LOSS] + abs(c) * (shifts[i, BLUR] + task.cap * shifts[i, TILT])
            square_with = square + 2.0 * c * along + c * c * size
            drop = bound_of(total + c * goal, lost, square_with, numbers[SLACK])
            # Drops, the largest first.
            p = most + 1
            while p > 0 and (p > most or tops[p] < drop) and tops[p - 1] < drop:
                if p <= most:
                    tops[p] = tops[p - 1]
                p -= 1
            if p <= most and tops[p] < drop:
                tops[p] = drop
        for s in range(most + 1):
            more[s] = np.inf
            for k in range(inside, min(task.room[t], s) + 1):
                more[s] = min(more[s], least[s - k] + max(tops[k - inside], task.floors[t, k]))
        copy(more, least)
    for s in range(most, -1, -1):
        if least[s] < limits[1, s]:
            return s
    return -1


@compiled
def prepare(task, tree, limits, counts, level):  # pragma: no cover - compiled
    """Bound a node and its children, and put these in order; False if that needs fresh factors."""
    rows, shifts, state = tree.rows[level], tree.shifts[level], tree.state[level]
    numbers, whole = tree.numbers[level], tree.whole[level]
    order, drops = tree.order[level], tree.drops[level]
    n, inside = task.columns.shape[0], whole[INSIDE]
    v = tree.spare[0, : tree.vector.shape[1]]
    copy(tree.vector[level], v)
    total, loss = numbers[TOTAL], numbers[LOSS]
    if task.bounded:
        more, less = _ascend(task, tree, level, v)
        total, loss = total + more, loss + less
    square = numbers[REST] + dot(v, v)
    node = max(numbers[BOUND], bound_of(total, loss, square, numbers[SLACK]))
    whole[COUNT] = whole[NEXT] = whole[STAGE] = 0
    top = task.most
    if tree.own_rows.size:
        top = _apart(task, tree, limits, level)
    if inside >= top:
        return True
    limit, wanted, count, full = limits[1, inside + 1], False, 0, -1
    taken = np.zeros(task.room.size, dtype=np.int64)
    for i in range(n):
        if state[i] == IN:
            taken[task.owner[i]] += 1
    for i in range(n):
        if state[i] != OPEN:
            continue
        u, goal = rows[i], shifts[i, GOAL]
        size, drop = dot(u, u), node
        if size > 0.0:
            along = dot(v, u)
            c = combine(total, square, goal, along, size)
            s, q = total + c * goal, square + 2.0 * c * along + c * c * size
            less = loss + abs(c) * (shifts[i, BLUR] + task.cap * shifts[i, TILT])
            drop = max(node, bound_of(s, less, q, numbers[SLACK]))
            if q > 0.0 and drop < limit and s * s / q >= limit * (1.0 + _SHARE):
                grown = shifts[i, TILT] > _GROWN * task.noise
                wanted = wanted or grown or numbers[LOSS] > _GROWN * numbers[START]
        # No room for the column: leave it out before anything else.
        if taken[task.owner[i]] >= task.room[task.owner[i]] and (full < 0 or drop > drops[n]):
            full, drops[n] = i, drop
        p = count
        while p > 0 and drops[p - 1] < drop:
            order[p], drops[p] = order[p - 1], drops[p - 1]
            p -= 1
        order[p], drops[p] = i, drop
        count += 1
    if wanted and whole[FRESH] == 0 and counts[2] >= _COST:
        counts[2] -= _COST
        return False
    if full >= 0:
        order[0], drops[0] = full, drops[n]
        whole[COUNT] = whole[NEXT] = 1
        return True
    # One of any more columns of a target than it has room for has to go.
    for p in range(count):
        t = task.owner[order[p]]
        if taken[t] == task.room[t]:
            node = max(node, drops[p])
        taken[t] += 1
    for p in range(count):
        drops[p] = max(drops[p], node)
    drops[count] = node
    last = min(count + 1, top - inside + 1)
    for i in range(task.room.size):
        taken[i] = 0
    for i in range(n):
        if state[i] == IN:
            taken[task.owner[i]] += 1
    for p in range(last - 1):
        t = task.owner[order[p]]
        taken[t] += 1
        if taken[t] > task.room[t]:
            last = p + 1
            break
    whole[COUNT], whole[NEXT] = count, last
    return True


@compiled
def _leave_out(task, tree, level, j):  # pragma: no cover - compiled
    """Make child j of a level the next level."""
    below, order = level + 1, tree.order[level]
    state = tree.state[below]
    for i in range(state.size):
        state[i] = tree.state[level, i]
        tree.bound[below, i] = tree.bound[level, i]
    for p in range(j - 1):
        state[order[p]] = IN
    e = order[j - 1]
    state[e] = OUT
    copy(tree.vector[level], tree.vector[below])
    copy(tree.numbers[level], tree.numbers[below])
    tree.numbers[below, BOUND] = tree.drops[level, j - 1]
    tree.whole[below, INSIDE] = tree.whole[level, INSIDE] + j - 1
    tree.whole[below, FRESH] = 0
    eliminate(
        task, tree.rows[level], tree.shifts[level], tree.rows[below], tree.shifts[below], state,
        tree.vector[below], tree.numbers[below], e, False,
    )  # fmt: skip
    if tree.own_rows.size:
        for t in range(task.room.size):
            copy(tree.own_vector[level, t], tree.own_vector[below, t])
            copy(tree.own_numbers[level, t], tree.own_numbers[below, t])
        t = task.owner[e]
        eliminate(
            task, tree.own_rows[level], tree.own_shifts[level], tree.own_rows[below],
            tree.own_shifts[below], state, tree.own_vector[below, t], tree.own_numbers[below, t],
            e, True,
        )  # fmt: skip


@compiled
def advance(task, tree, limits, counts, budget):  # pragma: no cover - compiled
    """Go on for `budget` nodes.

    Parameters
    ----------
    task : JointTask
    tree : JointTree
    limits : ndarray of shape (2, most + 1)
        For each size, supports with objectives below the first are to be reported, and nodes with
        bounds below the second to be searched. No limit of a size is above that of a smaller one.
    counts : ndarray of int64, shape (3,)
        Nodes, supports that were singular, and nodes that have not paid for fresh factors yet.
    budget : int

    Returns
    -------
    int
        DONE; GOING if the budget ended first; REFRESH if the last level needs `refresh` and
        `prepare`; or FOUND: `tree.names` is a support to look at.
    """
    place, whole = tree.place, tree.whole
    while place[LEVEL] >= 0:
        level = place[LEVEL]
        j, inside = whole[level, NEXT], whole[level, INSIDE]
        if j == 0:
            place[LEVEL] -= 1
            continue
        bound = tree.drops[level, j - 1]
        if whole[level, STAGE] == 0:
            whole[level, STAGE] = 1
            size = inside + j - 1
            if j >= 2 and bound < limits[0, size] and _promises(task, tree, limits, counts, j):
                place[LEAF] = size
                return FOUND
            continue
        if j > whole[level, COUNT] or inside + j > task.most or not bound < limits[1, inside + j]:
            whole[level, STAGE], whole[level, NEXT] = 0, j - 1
            continue
        if budget <= 0:
            return GOING
        budget -= 1
        counts[0] += 1
        counts[2] += 1
        whole[level, STAGE], whole[level, NEXT] = 0, j - 1
        _leave_out(task, tree, level, j)
        place[LEVEL] = level + 1
        if not prepare(task, tree, limits, counts, level + 1):
            return REFRESH
    return DONE


@compiled
def _promises(task, tree, limits, counts, j):  # pragma: no cover - compiled
    """Is the leaf of child j good enough as far as equalities go? It is left in `tree.names`."""
    level, size = tree.place[LEVEL], 0
    for i in range(task.columns.shape[0]):
        if tree.state[level, i] == IN:
            tree.names[size] = i
            size += 1
    for p in range(j - 1):
        tree.names[size] = tree.order[level, p]
        size += 1
    names = tree.names[:size]
    value, coef, least = fit_equal(task.columns, task.target, task.rest, task.lhs, task.rhs, names)
    if value == np.inf:
        return False
    if least <= SINGULAR:
        counts[1] += 1
        return task.bounded
    weight = task.size
    for q in range(size):
        weight += abs(coef[q])
    weight *= task.noise
    return value - 2.0 * weight * np.sqrt(value) - weight * weight < limits[0, size]
