"""What the search of `leaps` works on: matrices of columns, and the state of its tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Divisions need no checks here. Small functions are inlined, and take only the arrays they need: a
# call with a tuple of all of them would cost more than what it does.
compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
inlined = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, inline="always")

# Second index of `Tree.vectors`, `numbers`, `whole`, `names`, `matrices`, `out_whole`, `bounds`.
OPEN, IN_CORR, IN_SIZE, OUT_CORR, OUT_SIZE, SPARE, TOPS, DROP = range(8)
IN_LEFT, IN_TRACE, OUT_LEFT, OUT_TRACE, KNOWN_TRACE = range(5)
COUNT, OPENED, HOME, PENDING, KNOWN, OUT_COUNT, IN_NAME, CHOSEN, PHASE = range(9)
NAMES, PLACES = range(2)
GRAM, DUAL = range(2)
OUT_NAME, OUT_LEVEL = range(2)
BOUND, REST = range(2)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def summed(values, count):  # pragma: no cover - compiled
    """Sum of the first `count` values, in any order."""
    total = 0.0
    for p in range(count):
        total += values[p]
    return total


class Scale(NamedTuple):
    """Numbers of a task and its base that bounds need."""

    most: int
    noise: float
    cap: float
    size: float
    rest: float
    slack: float
    trace: float
    widest: float


class Base(NamedTuple):
    """Both matrices of a problem over the columns `names`, in units in which their diagonals are 1.

    Attributes
    ----------
    names : ndarray of int64, shape (m,)
        Columns of the task.
    gram, dual : ndarray of shape (m, m)
        Inner products of the columns, and of the vectors dual to them, each of unit length.
    corr, dual_corr : ndarray of shape (m,)
        Inner products with the target.
    rest : float
        Objective of all columns together.
    slack : float
        What the objective of any support may be below a bound of this base beside rounding.
    trace : float
        Sum of the squared lengths that the dual vectors had: no trace is larger.
    widest : float
        No eigenvalue of `dual` is larger.
    """

    names: np.ndarray
    gram: np.ndarray
    dual: np.ndarray
    corr: np.ndarray
    dual_corr: np.ndarray
    rest: float
    slack: float
    trace: float
    widest: float


class Tree(NamedTuple):
    """State of a search. The first axis is the level, but for `out_*`: the number of the exclusion.

    A level has its own numbering of `count` columns. `names` are these columns in the base, and
    the place of each column of the base among them.

    `vectors`, over these columns: 1 for those that are neither in nor out; correlations and squared
    lengths of what putting I in leaves of columns, and of what leaving E out leaves of duals; what
    leaving a column out costs times that squared length.

    `numbers`: the objective on I and the trace of its inverse; the objective of all columns but E,
    a bound of the trace of the inverse in the dual, and this trace when it was last computed.

    `whole`: how many columns the level has, and how many of them are open; its `home`, the level
    whose matrices it uses (the last level uses those of the one above); rows of the dual's factor
    that were not yet subtracted from its matrix; exclusions when the trace was last computed, and
    exclusions; the column (of the base) put in above this level; the column (of the level) put in
    below; 1 while what is below is searched.

    `matrices`: those of the base after I was put in, and after E was left out.

    `in_rows`: the factor of I, over the base. `out_rows`: that of E, over the columns of the level
    of the exclusion; `out_factor`, over E; `out_whole`: names, and levels.

    `bounds`: for each size, of what the level contains, and of that without the column put in
    below. `place`: the level, and the first level.
    """

    vectors: np.ndarray
    numbers: np.ndarray
    whole: np.ndarray
    names: np.ndarray
    matrices: np.ndarray
    in_rows: np.ndarray
    out_rows: np.ndarray
    out_factor: np.ndarray
    out_whole: np.ndarray
    bounds: np.ndarray
    place: np.ndarray

    def part(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What has to be started anew: columns in, columns out (of the base), bounds."""
        level = int(self.place[0]) + 1
        return (
            self.whole[:level, IN_NAME].copy(),
            self.out_whole[: self.whole[level, OUT_COUNT], OUT_NAME].copy(),
            self.bounds[level, REST].copy(),
        )

    def open_bounds(self) -> np.ndarray:
        """Bounds of all that was not looked at yet, for each size."""
        levels = range(int(self.place[1]), int(self.place[0]) + 1)
        return np.minimum.reduce([self.bounds[p, int(self.whole[p, PHASE])] for p in levels])


def make_tree(columns: int, most: int) -> Tree:
    """An empty tree for supports of at most `most` out of `columns` columns."""
    levels, m = most + 1, columns
    return Tree(
        np.zeros((levels, 8, max(m, levels + 1))),
        np.zeros((levels, 5)),
        np.zeros((levels, 9), dtype=np.int64),
        np.zeros((levels, 2, m), dtype=np.int64),
        np.empty((max(1, levels - 3), 2, m, m)),
        np.zeros((levels, m)),
        np.empty((m, m)),
        np.empty((m, m)),
        np.zeros((m, 2), dtype=np.int64),
        np.full((levels, 2, levels), np.inf),
        np.zeros(2, dtype=np.int64),
    )
