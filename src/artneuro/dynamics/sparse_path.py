"""The best supports of all sizes for one target: scaling, factors, search, and what is proven."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from artneuro.dynamics import leaps
from artneuro.dynamics.certificate_types import Status
from artneuro.dynamics.leaps_restart import restart
from artneuro.dynamics.leaps_tree import make_tree
from artneuro.dynamics.sparse_library import Library
from artneuro.dynamics.supports import (
    UNIT,
    Found,
    Task,
    enumerate_supports,
    make_found,
)

# Smallest singular value of columns of unit length for which bounds hold for all coefficients.
SPREAD = 1e-8
# Coefficients, relative to the target's length and for columns of unit length, that bounds reach to
# otherwise. Columns that stand out from each other by less than its inverse (pivots of their Gram
# matrix below 1e-12) can have larger ones.
COEF_CAP = 1e6
# Libraries with no more supports than this are enumerated then.
ENUMERATED = 400_000
# Nodes, and supports of an enumeration, between two looks at the clock.
_NODES, _SUPPORTS = 2_000, 50_000
# Supports held for each size, and gaps of the passes that give a bound if time runs out.
_PLACES, _RELAXED = 64, (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
# Share of the time for exact passes before those, if it is limited.
_EXACTLY = 0.4


@dataclass(frozen=True)
class Size:
    """What the search found and proved for supports of one size.

    Attributes
    ----------
    pool : list of (tuple of int, float, float)
        Supports (places in the library's usable columns), objectives, and their rounding, from the
        best on.
    bound : float
        No support of this size is below it.
    status : {"optimal", "capped", "time_limit"}
        "capped": the bound is for supports whose coefficients' absolute values, for columns of
        unit length, sum to `cap` at most.
    """

    pool: list[tuple[tuple[int, ...], float, float]]
    bound: float
    status: Status


@dataclass(frozen=True)
class Path:
    """Sizes 1, ..., most of one target; `cap` is infinite if bounds hold for all supports."""

    sizes: dict[int, Size]
    nodes: int
    singular: int
    seconds: float
    cap: float


def search(
    library: Library,
    target: int,
    most: int,
    *,
    forced: tuple[int, ...] = (),
    pool_tol: float = 0.0,
    rel_gap: float = 0.0,
    time_limit: float = math.inf,
) -> Path:
    """The best supports of 1, ..., most columns for one target, by one search.

    Parameters
    ----------
    library : Library
    target : int
    most : int
        Largest size; no larger than the number of usable columns.
    forced : tuple of int
        Columns (places in `usable`) that every support contains; sizes begin with their number.
    pool_tol : float
        Hold all supports whose objective is within this share of the best of their size.
    rel_gap : float
        A bound this close to the objective, relative to it, will do.
    time_limit : float
        Seconds.

    Returns
    -------
    Path
    """
    started = time.perf_counter()
    deadline = started + time_limit
    size = float(library.sizes[target])
    usable, length = library.columns.shape
    noise = UNIT * math.sqrt(max(length, 1))
    spread = library.geometry.spread
    # Coefficients of supports whose columns stand out by `spread`.
    capped = spread < SPREAD
    cap = math.sqrt(most) * size * (COEF_CAP if capped else 1.0 / spread)
    task = Task(
        library.columns,
        np.ascontiguousarray(library.targets[target]),
        float(library.rest[target]),
        size,
        most,
        noise,
        cap,
    )
    relax = rel_gap if rel_gap > 1e-6 and pool_tol == 0.0 else 0.0
    floor = task.rest * (1.0 + 1e-12) + (64 * np.finfo(np.float64).eps * size) ** 2
    found = make_found(most, _PLACES, (1.0 + pool_tol, 1.0 + pool_tol - relax), floor)
    inside = np.array(forced, dtype=np.int64)
    supports = sum(math.comb(usable - inside.size, k - inside.size) for k in _sizes(inside, most))
    if capped and supports <= ENUMERATED:
        open_bound = _enumerate(task, found, inside, deadline)
        capped = False
    else:
        limit = deadline if math.isinf(deadline) else started + _EXACTLY * time_limit
        open_bound = _grown(library, target, task, found, inside, limit)
        if (open_bound < found.limits[1]).any():
            open_bound = _relaxed(library, target, task, found, inside, open_bound, deadline)
    sizes = {}
    for k in _sizes(inside, most):
        sizes[k] = _settle(library, task, found, k, float(open_bound[k]), relax, capped)
    return Path(
        sizes,
        int(found.counts[0]),
        int(found.counts[1]),
        time.perf_counter() - started,
        cap if capped else math.inf,
    )


def _sizes(inside: np.ndarray, most: int) -> range:
    """Sizes that supports can have."""
    return range(max(1, inside.size), most + 1)


def _enumerate(task: Task, found: Found, inside: np.ndarray, deadline: float) -> np.ndarray:
    """Look at all supports; returns bounds of what was not looked at, for each size."""
    place = np.zeros(task.most + 1, dtype=np.int64)
    place[-1] = -1
    while enumerate_supports(task, found, inside, max(1, inside.size), _SUPPORTS, place):
        if time.perf_counter() > deadline:
            return np.full(task.most + 1, task.rest)
    return np.full(task.most + 1, np.inf)


def _grown(
    library: Library, target: int, task: Task, found: Found, inside: np.ndarray, deadline: float
) -> np.ndarray:
    """Search; if there is a deadline, for small sizes before larger ones, which take far longer.

    Returns bounds of what was not looked at, for each size.
    """
    most = task.most
    ends = range(most if math.isinf(deadline) else 2 - most % 2, most + 1, 2)
    bounds = np.full(most + 1, task.rest)
    for end in ends:
        if end < max(1, inside.size):
            continue
        opened = _run(library, target, task._replace(most=end), found, inside, deadline)
        np.maximum(bounds[: end + 1], opened, out=bounds[: end + 1])
        if (opened < found.limits[1, : end + 1]).any():
            break
        # Nothing of these sizes is left to be found.
        found.limits[1, : end + 1] = -np.inf
    return bounds


def _run(
    library: Library, target: int, task: Task, found: Found, inside: np.ndarray, deadline: float
) -> np.ndarray:
    """Search; returns bounds of what was not looked at by the deadline, for each size."""
    never = np.full(task.most + 1, np.inf)
    # Parts of the search: columns in, columns out, bounds.
    parts = [(inside, np.empty(0, dtype=np.int64), np.zeros(task.most + 1))]
    root, first = library.geometry.base(target, task.cap), True
    while parts:
        into, out, bounds = parts[-1]
        if time.perf_counter() > deadline and not first:
            return np.minimum.reduce([never, *(b for _, _, b in parts)])
        parts.pop()
        if not (first or (bounds < found.limits[1, : task.most + 1]).any()):
            continue
        base = root if first else restart(task, root, np.delete(root.names, out))
        tree = make_tree(base.names.size, task.most)
        leaps.start(task, base, tree, found, np.searchsorted(base.names, into), first)
        first = False
        while True:
            said = leaps.advance(task, base, tree, found, _NODES)
            if said == leaps.DONE:
                break
            if said == leaps.RESTART:
                inner, gone, least = tree.part()
                more = np.concatenate([out, base.names[gone]])
                parts.append((base.names[inner], more, np.maximum(bounds, least)))
            elif time.perf_counter() > deadline:
                return np.minimum.reduce([never, tree.open_bounds(), *(b for _, _, b in parts)])
    return never


def _relaxed(
    library: Library, target: int, task: Task, found: Found, inside: np.ndarray,
    bounds: np.ndarray, deadline: float,
) -> np.ndarray:  # fmt: skip
    """Passes that leave out what cannot be better by a given share: bounds of all that is open.

    A depth-first search that is stopped has no good bound, and these have.
    """
    exact = found.factors[1]
    for share in (*_RELAXED, None):
        # Last, with the time that is left, what leaves nothing out.
        found.factors[1] = exact if share is None else 1.0 - share
        going = np.isfinite(found.limits[1])
        found.limits[1, going] = found.best[going] * found.factors[1]
        opened = _run(library, target, task, found, inside, deadline)
        if (opened < found.limits[1]).any():
            break
        bounds = np.maximum(bounds, opened if share is None else found.best * found.factors[1])
    found.factors[1] = exact
    return bounds


def _settle(
    library: Library, task: Task, found: Found, k: int, opened: float, relax: float, capped: bool
) -> Size:
    """Order what was found of a size, look at near ties again, and say what is proven."""
    held = [
        (tuple(int(j) for j in found.supports[k, p, :k]), found.values[k, p], found.errors[k, p])
        for p in range(int(found.held[k]))
        if found.values[k, p] - found.errors[k, p] < found.limits[0, k]
    ]
    held.sort(key=lambda entry: (entry[1], entry[0]))
    best = float(found.best[k])
    if not held:
        return Size([], opened, "time_limit" if opened < best else "optimal")
    bound = min(best * (1.0 - relax), float(found.lost[k]), opened)
    status: Status = "capped" if capped else "optimal"
    if opened < best:
        status = "time_limit"
    return Size([(s, float(v), float(e)) for s, v, e in held], bound, status)
