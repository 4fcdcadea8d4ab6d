"""The best supports of all sizes for several targets under constraints, and what is proven."""

from __future__ import annotations

import math
import time

import numpy as np

from artneuro.dynamics.certificate_types import Status
from artneuro.dynamics.joint_fit import fit_support, plane_of
from artneuro.dynamics.joint_problem import Joint, JointTask
from artneuro.dynamics.joint_search import CREDIT, DONE, FOUND, REFRESH, advance, prepare
from artneuro.dynamics.joint_tree import (
    IN,
    INSIDE,
    LEAF,
    LEVEL,
    NEXT,
    JointTree,
    make_tree,
    refresh,
)
from artneuro.dynamics.sparse_path import COEF_CAP, SPREAD, Path, Size

# Where bounds would not hold for all coefficients, problems with no more supports are enumerated.
ENUMERATED = 50_000
# Objectives, relative to those of all columns, no columns and the least coefficients that meet
# equalities, for which bounds hold. Where nothing so good does, they are raised up to the last.
_REACH, _FURTHER, _FAR = 100.0, 1e6, 1e14
# Nodes between two looks at the clock, supports held for each size, gaps of relaxed passes.
_NODES, _PLACES, _RELAXED = 500, 64, (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)

Entry = tuple[tuple[int, ...], float, float]


class JointFound:
    """Supports of each size that are the best of up to that size, or nearly.

    Parameters
    ----------
    most : int
        Largest size.
    factors : tuple of float
        Supports with objectives up to the best times the first are held; bounds have to reach the
        best times the second.
    worst : float
        No objective that matters is above it.
    floor : float
        A size whose best is no higher is finished.
    """

    def __init__(self, most: int, factors: tuple[float, float], worst: float, floor: float) -> None:
        self.held: list[list[Entry]] = [[] for _ in range(most + 1)]
        self.best = np.full(most + 1, np.inf)
        self.lost = np.full(most + 1, np.inf)
        self.limits = np.full((2, most + 1), worst)
        self.counts = np.array([0, 0, CREDIT])
        self.factors, self.floor = factors, floor

    def offer(self, task: JointTask, names: np.ndarray) -> None:
        """Fit a support, and hold it if it is good enough."""
        k = names.size
        names = np.sort(names)
        value, coef, _ = fit_support(task, names)
        if value == math.inf:
            return
        weight = task.noise * (task.size + float(np.abs(coef).sum()))
        error = 2.0 * weight * math.sqrt(value) + weight * weight
        if not value - error < self.limits[0, k]:
            return
        held = self.held[k]
        held.append((tuple(int(j) for j in names), value, error))
        if len(held) > _PLACES:
            held.sort(key=lambda entry: entry[1] - entry[2])
            last = held.pop()
            self.lost[k] = min(self.lost[k], last[1] - last[2])
        self.best[k:] = np.minimum(self.best[k:], value + error)
        self.set_limits(self.factors)

    def set_limits(self, factors: tuple[float, float]) -> None:
        """Limits of each size from its best."""
        some = np.isfinite(self.best)
        for line, factor in zip(self.limits, factors, strict=True):
            line[some] = self.best[some] * factor
        if factors[0] <= 1.0:
            self.limits[1, self.best <= self.floor] = -np.inf


def search_jointly(
    joint: Joint, room: np.ndarray, most: int, *, forced: np.ndarray, floors: np.ndarray,
    pool_tol: float = 0.0, rel_gap: float = 0.0, time_limit: float = math.inf,
) -> Path:  # fmt: skip
    """The best supports of at most 0, ..., most columns of all targets together.

    Parameters
    ----------
    joint : Joint
    room : ndarray of int64, shape (targets,)
        Largest number of columns of each target.
    most : int
    forced : ndarray of int64
        Columns of every support.
    floors : ndarray of shape (targets, most + 1)
        See JointTask.
    pool_tol, rel_gap, time_limit : float
        As in `sparse_path.search`.

    Returns
    -------
    Path
        Its sizes begin with the number of forced columns. The pool of a size holds supports of
        exactly so many columns; its bound holds for up to so many. What no support of a size can
        do has an empty pool.
    """
    started = time.perf_counter()
    deadline = started + time_limit
    size, task = joint.task.size, joint.task
    # Before anything is known: the objective of all columns, and the least coefficients.
    whole, _, _ = fit_support(task, np.arange(task.columns.shape[0]))
    plane = plane_of(task.lhs, task.rhs)
    least = float(plane[0] @ plane[0]) if plane is not None else 0.0
    scale = max(size * size, least, whole if whole < math.inf else 0.0)
    reach, far = _REACH * scale, _FAR * scale
    free = task.columns.shape[0] - forced.size
    supports = sum(math.comb(free, n) for n in range(most - forced.size + 1))
    sizes: dict[int, Size] = {}
    nodes = singular = 0
    largest = 0.0
    while True:
        cap, capped = _cap(joint, most, size + math.sqrt(reach))
        if capped and supports <= ENUMERATED:
            cap, capped = math.inf, False
        limited = task._replace(room=room, floors=floors, most=most, cap=cap)
        found, opened = _search(limited, forced, pool_tol, rel_gap, started, deadline)
        nodes, singular = nodes + int(found.counts[0]), singular + int(found.counts[1])
        late = time.perf_counter() > deadline
        worst = found.best[np.isfinite(found.best)].max(initial=0.0)
        if worst > reach and cap < math.inf and not late:
            # Bounds did not hold for coefficients of so high an objective.
            reach = _REACH * worst
            continue
        short = worst > reach and cap < math.inf
        largest = max(largest, cap) if capped else largest
        relax = 1.0 + pool_tol - found.factors[1]
        for k in range(forced.size, most + 1):
            sizes[k] = _settle(found, k, float(opened[k]), relax, capped, short)
        none = np.flatnonzero(~np.isfinite(found.best[forced.size :])) + forced.size
        if not none.size or cap == math.inf or late or reach >= far:
            break
        # Constraints may ask for coefficients that are larger still.
        most, reach = int(none[-1]), _FURTHER * reach
    seconds = time.perf_counter() - started
    return Path(sizes, nodes, singular, seconds, largest if largest else math.inf)


def _cap(joint: Joint, most: int, length: float) -> tuple[float, bool]:
    """Sum of absolute coefficients that bounds hold for; is it less than all that there can be?"""
    box = float(np.sort(joint.task.bound)[::-1][:most].sum()) if most else 0.0
    capped = joint.spread < SPREAD
    cap = math.sqrt(max(most, 1)) * length * (COEF_CAP if capped else 1.0 / joint.spread)
    return (box, False) if box <= cap else (cap, capped)


def _search(
    task: JointTask, forced: np.ndarray, pool_tol: float, rel_gap: float, started: float,
    deadline: float,
) -> tuple[JointFound, np.ndarray]:  # fmt: skip
    """Supports, and for each size a bound of what was not looked at."""
    relax = rel_gap if rel_gap > 1e-6 and pool_tol == 0.0 else 0.0
    floor = task.rest * (1.0 + 1e-12) + (64 * np.finfo(np.float64).eps * task.size) ** 2
    found = JointFound(
        task.most, (1.0 + pool_tol, 1.0 + pool_tol - relax), (task.size + task.cap) ** 2, floor
    )
    limit = deadline if math.isinf(deadline) else started + 0.4 * (deadline - started)
    opened = _run(task, forced, found, limit)
    if (opened >= found.limits[1]).all():
        return found, opened
    bounds = opened
    for share in _RELAXED:
        found.set_limits((found.factors[0], 1.0 - share))
        opened = _run(task, forced, found, deadline)
        if (opened < found.limits[1]).any() or time.perf_counter() > deadline:
            break
        bounds = np.maximum(bounds, found.best * (1.0 - share))
    found.set_limits(found.factors)
    return found, bounds


def _run(task: JointTask, forced: np.ndarray, found: JointFound, deadline: float) -> np.ndarray:
    """Search; returns bounds of what was not looked at by the deadline, for each size."""
    tree = make_tree(task)
    tree.state[0, forced] = IN
    tree.whole[0, INSIDE] = forced.size
    if not found.held[forced.size]:
        found.offer(task, forced)
    said = REFRESH
    while said != DONE:
        if said == REFRESH:
            level = int(tree.place[LEVEL])
            refresh(task, tree, level)
            prepare(task, tree, found.limits, found.counts, level)
        elif said == FOUND:
            names = tree.names[: tree.place[LEAF]].copy()
            if tuple(sorted(names.tolist())) not in {e[0] for e in found.held[names.size]}:
                found.offer(task, names)
        if time.perf_counter() > deadline:
            return _open_bounds(tree, task.most)
        said = advance(task, tree, found.limits, found.counts, _NODES)
    return np.full(task.most + 1, np.inf)


def _open_bounds(tree: JointTree, most: int) -> np.ndarray:
    """Bounds of all that was not looked at yet, for each size."""
    opened = np.full(most + 1, np.inf)
    for level in range(int(tree.place[LEVEL]) + 1):
        inside = int(tree.whole[level, INSIDE])
        for j in range(1, int(tree.whole[level, NEXT]) + 1):
            first = min(inside + j - 1, most + 1)
            opened[first:] = np.minimum(opened[first:], tree.drops[level, j - 1])
    return opened


def _settle(
    found: JointFound, k: int, opened: float, relax: float, capped: bool, short: bool
) -> Size:
    """What is proven of supports of up to k columns."""
    best = float(found.best[k])
    held = sorted(
        (e for e in found.held[k] if e[1] - e[2] < found.limits[0, k]),
        key=lambda entry: (entry[1], entry[0]),
    )
    bound = min(best * (1.0 - relax) if best < math.inf else math.inf, float(found.lost[k]), opened)
    status: Status = "capped" if capped else "optimal"
    if opened < best or short:
        status = "time_limit"
    return Size(held, 0.0 if short else bound, status)
