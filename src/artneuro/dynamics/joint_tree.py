"""State of the search of `joint_search`, and fresh factors for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from artneuro.dynamics.joint_problem import JointTask
from artneuro.dynamics.leaps_restart import DIAGONAL
from artneuro.dynamics.leaps_tree import compiled
from artneuro.dynamics.supports import dot

# Second index of `shifts`, `numbers`, `whole`; values of `state`.
GOAL, TILT, BLUR = range(3)
REST, TOTAL, LOSS, BOUND, SLACK, START = range(6)
INSIDE, COUNT, NEXT, STAGE, FRESH = range(5)
OPEN, IN, OUT = range(3)
LEVEL, LEAF = range(2)

# A row no longer than this many times its own rounding says nothing.
_LOST = 1e3
_EPS = float(np.finfo(np.float64).eps)


class JointTree(NamedTuple):
    """State of a search. The first axis is the level: how many columns were left out, one by one.

    A row is a vector u, orthogonal to all columns but those that its condition is about, and a
    number t: coefficients w that meet the condition have u (target - w columns) = t, or for an
    inequality at least t. The condition of a column is that it is left out. Rows come in the order:
    columns, inequalities, equalities.

    `rows`: the vectors. `shifts`: for each, t, how far it is from orthogonal to a column of unit
    length, and the rounding of t. `bound`: bounds of |w| in units of the row.

    `vector`: a sum v of rows of what was left out. `numbers`: the squared length of what no column
    reaches (one more coordinate of v); the same sum of t; what rounding may take from it; a lower
    bound of the node; what a diagonal took from all bounds; and what rounding could take when
    factors were fresh.

    `state`: of each column. `order` and `drops`: open columns by the bound of what is left without
    them, the highest first. `whole`: how many columns are in; the length of `order`; the next
    child; whether its leaf was looked at; whether the rows are those of fresh factors.

    `own_*`: rows, shifts, vectors and numbers of each target alone, without constraints; empty for
    one target.

    `names`: the support of a leaf. `place`: the level, and the size of that support. `spare`:
    vectors to work with.
    """

    rows: np.ndarray
    shifts: np.ndarray
    bound: np.ndarray
    vector: np.ndarray
    numbers: np.ndarray
    state: np.ndarray
    order: np.ndarray
    drops: np.ndarray
    whole: np.ndarray
    own_rows: np.ndarray
    own_shifts: np.ndarray
    own_vector: np.ndarray
    own_numbers: np.ndarray
    names: np.ndarray
    place: np.ndarray
    spare: np.ndarray


def make_tree(task: JointTask) -> JointTree:
    """An empty tree for a problem."""
    n = task.columns.shape[0]
    rows = n + task.upper_lhs.shape[0] + task.lhs.shape[0]
    levels, targets = n + 2, task.room.size
    own = levels if targets > 1 else 0
    return JointTree(
        np.zeros((levels, rows, n)),
        np.zeros((levels, rows, 3)),
        np.zeros((levels, n)),
        np.zeros((levels, n)),
        np.zeros((levels, 6)),
        np.zeros((levels, n), dtype=np.int64),
        np.zeros((levels, n), dtype=np.int64),
        np.zeros((levels, n + 1)),
        np.zeros((levels, 5), dtype=np.int64),
        np.zeros((own, n, n)),
        np.zeros((own, n, 3)),
        np.zeros((own, targets, n)),
        np.zeros((own, targets, 6)),
        np.zeros(max(task.most, 1), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros((3, max(rows + n, 1))),
    )


def refresh(task: JointTask, tree: JointTree, level: int) -> None:
    """Rows of a level from orthogonal factors of the columns that are not out, equalities met."""
    rows, shifts, state = tree.rows[level], tree.shifts[level], tree.state[level]
    numbers, n = tree.numbers[level], task.columns.shape[0]
    noise = 2.0 * task.noise
    rows[:], shifts[:], tree.bound[level], tree.vector[level] = 0.0, 0.0, np.inf, 0.0
    lengths, rests, slacks = np.zeros(n), np.zeros(task.room.size), np.zeros(task.room.size)
    for t in range(task.room.size):
        names = np.flatnonzero((task.owner == t) & (state != OUT))
        span = task.columns[task.owner == t].any(axis=0)
        if not names.size:
            rests[t] = float(np.square(task.target[span]).sum())
            continue
        dual, size, goals, left, diagonal = _duals(task.columns[names][:, span], task.target[span])
        where = np.flatnonzero(task.owner == t)[0]
        rows[names, where : where + names.size] = dual
        shifts[names, GOAL], lengths[names] = goals, size
        rests[t], slacks[t] = left, (diagonal * task.cap) ** 2 if diagonal else 0.0
    open_names = np.flatnonzero(state != OUT)
    shifts[open_names, TILT], shifts[open_names, BLUR] = noise, noise * task.size
    tree.bound[level, open_names] = task.bound[open_names] / lengths[open_names]
    if tree.own_rows.size:
        tree.own_rows[level], tree.own_shifts[level] = rows[:n], shifts[:n]
        tree.own_vector[level], own = 0.0, tree.own_numbers[level]
        own[:, REST], own[:, TOTAL], own[:, SLACK], own[:, BOUND] = rests, rests, slacks, 0.0
        own[:, LOSS] = [_blur_of(task, noise, left) for left in rests]
    # Conditions on several columns.
    lhs = np.vstack([task.upper_lhs, task.lhs])
    rhs = np.concatenate([task.upper_rhs, task.rhs])
    parts = lhs * lengths
    both = parts @ rows[:n]
    size = np.sqrt(np.square(both).sum(axis=1))
    some = size > 0.0
    size[~some] = 1.0
    rows[n:] = both / size[:, None]
    shifts[n:, GOAL] = (parts @ shifts[:n, GOAL] - rhs) / size
    shifts[n:, TILT] = noise * np.abs(parts).sum(axis=1) / size
    shifts[n:, BLUR] = noise * (np.abs(parts).sum(axis=1) * task.size + np.abs(rhs)) / size
    rest = task.rest + rests.sum()
    numbers[REST] = numbers[TOTAL] = rest
    numbers[LOSS] = _blur_of(task, noise, rest)
    numbers[SLACK] = slacks.sum()
    tree.whole[level, FRESH] = 1
    left_out = list(range(n + task.upper_lhs.shape[0], rows.shape[0]))
    while left_out:
        squares = [float(rows[e] @ rows[e]) for e in left_out]
        e = left_out.pop(int(np.argmax(squares)))
        eliminate(
            task, rows, shifts, rows, shifts, state, tree.vector[level], numbers, e, True
        )  # fmt: skip
    numbers[START] = numbers[LOSS]


def _blur_of(task: JointTask, noise: float, rest: float) -> float:
    """How far what no column reaches may be from orthogonal to columns."""
    return float(noise * np.sqrt(rest)) * (task.cap + task.size) if rest > 0.0 else 0.0


def _duals(
    columns: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Unit vectors that are each orthogonal to all columns but their own, in coordinates of the
    columns' span; the lengths that they would have for inner products of 1; their inner products
    with the target; what is left of it; and the diagonal that made the columns regular.
    """
    m, diagonal = columns.shape[0], 0.0
    both = np.column_stack([columns.T, target])
    triangle = np.asarray(np.linalg.qr(both, mode="r"))
    if columns.shape[1] < m or np.abs(np.diag(triangle)[:m]).min() < DIAGONAL:
        diagonal = DIAGONAL
        below = np.hstack([diagonal * np.eye(m), np.zeros((m, 1))])
        triangle = np.asarray(np.linalg.qr(np.vstack([both, below]), mode="r"))
    rest = float(np.square(triangle[m:, m]).sum())
    dual = solve_triangular(triangle[:m, :m], np.eye(m), trans="T", check_finite=False).T
    lengths = np.sqrt(np.square(dual).sum(axis=1))
    dual = dual / lengths[:, None]
    return dual, lengths, dual @ triangle[:m, m], rest, diagonal


@compiled
def combine(total, square, goal, along, size):  # pragma: no cover - compiled
    """The factor of a row with squared length `size` and inner product `along` with v that makes
    the bound of v and the row the highest.
    """
    below = total * size - goal * along
    if below > 0.0 and square > 0.0:
        return (goal * square - total * along) / below
    return goal / size


@compiled
def eliminate(
    task, rows, shifts, new_rows, new_shifts, state, vector, numbers, e, equalities
):  # fmt: skip # pragma: no cover - compiled
    """Meet the condition of row `e`: make the others orthogonal to it, and add it to v.

    Writes `new_rows` and `new_shifts` (which may be the old ones), and changes `vector` and
    `numbers`. Rows of columns that are out are not needed any more, those of columns that are in
    only where they have bounds, and those of equalities only while these are met.
    """
    n, uppers = task.columns.shape[0], task.upper_lhs.shape[0]
    count = rows.shape[0] if equalities else n + uppers
    u, length = rows[e], vector.size
    size = dot(u, u)
    goal, tilt, blur = shifts[e, GOAL], shifts[e, TILT], shifts[e, BLUR]
    fine = np.sqrt(size) > _LOST * tilt
    inverse = 1.0 / size if fine else 0.0
    for i in range(count):
        if i == e or (i < n and (state[i] == OUT or (state[i] == IN and not task.bounded))):
            continue
        old, new = rows[i], new_rows[i]
        part = dot(old, u) * inverse
        square = dot(old, old)
        for j in range(length):
            new[j] = old[j] - part * u[j]
        shift = abs(part)
        new_shifts[i, TILT] = shifts[i, TILT] + shift * tilt + 4.0 * _EPS * np.sqrt(square)
        new_shifts[i, BLUR] = (
            shifts[i, BLUR] + shift * blur
            + 4.0 * _EPS * (abs(shifts[i, GOAL]) + abs(part * goal))
        )  # fmt: skip
        new_shifts[i, GOAL] = shifts[i, GOAL] - part * goal
    if not fine:
        # Columns that are left cannot meet the condition, or they all do.
        gain = abs(goal) - blur - task.cap * tilt
        if gain > 0.0:
            numbers[BOUND] = max(numbers[BOUND], gain * gain / size - numbers[SLACK])
    else:
        square = numbers[REST] + dot(vector, vector)
        c = combine(numbers[TOTAL], square, goal, dot(vector, u), size)
        for j in range(length):
            vector[j] += c * u[j]
        numbers[TOTAL] += c * goal
        numbers[LOSS] += abs(c) * (blur + task.cap * tilt) + 4.0 * _EPS * (
            np.sqrt(numbers[REST] + dot(vector, vector)) * (task.cap + task.size)
        )
