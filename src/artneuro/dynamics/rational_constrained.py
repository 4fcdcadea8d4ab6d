"""Least squares under linear constraints in rational arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

from artneuro.dynamics.rational import minimise

# What is left of a constraint beside others, relative to it, that is rounding of its coefficients.
_DEPENDS = Fraction(1, 10**12)
# Share of what a constraint adds up by which it may be missed.
_MET = Fraction(1, 10**9)

Row = list[Fraction]


@dataclass(frozen=True)
class Quadratic:
    """The objective total - 2 moment x + x gram x."""

    gram: list[Row]
    moment: Row
    total: Fraction


@dataclass(frozen=True)
class _Plane:
    """Coefficients that meet equalities: x = point + free variables along `ways`.

    `rows` are the constraints that are independent, and `pivots` the variables that they determine.
    """

    point: Row
    ways: list[Row]
    rows: list[int]
    pivots: list[int]


def solve_equal(
    problem: Quadratic, lhs: list[Row], rhs: Row
) -> tuple[Fraction, Row, dict[int, Fraction]] | None:
    """The least objective under lhs x = rhs, its x, and the multiplier of each constraint that is
    independent of others; None if nothing meets them, or if x is not determined.

    A multiplier is how much the objective falls when the right-hand side is raised.
    """
    k = len(problem.moment)
    plane = _plane(k, lhs, rhs)
    if plane is None:
        return None
    point, ways = plane.point, plane.ways
    pull = [m - _dot(line, point) for line, m in zip(problem.gram, problem.moment, strict=True)]
    base = problem.total - _dot(problem.moment, point) - _dot(pull, point)
    images = [[_dot(line, way) for line in problem.gram] for way in ways]
    found = minimise(
        [[_dot(a, image) for a in ways] for image in images], [_dot(w, pull) for w in ways], base
    )
    if found is None:
        return None
    value, free = found
    x = list(point)
    for share, way in zip(free, ways, strict=True):
        x = [v + share * w for v, w in zip(x, way, strict=True)]
    # The gradient is a sum of constraints; their pivots say which.
    rest = [m - _dot(line, x) for line, m in zip(problem.gram, problem.moment, strict=True)]
    matrix = [[lhs[c][p] for c in plane.rows] for p in plane.pivots]
    multipliers = _solve(matrix, [2 * rest[p] for p in plane.pivots])
    return value, x, dict(zip(plane.rows, multipliers, strict=True))


def solve_under(
    problem: Quadratic, lhs: list[Row], rhs: Row, upper_lhs: list[Row], upper_rhs: Row,
    below: Fraction | None = None,
) -> tuple[Fraction, Row] | None:  # fmt: skip
    """The least objective under lhs x = rhs and upper_lhs x <= upper_rhs; None if there is none.

    Parameters
    ----------
    problem : Quadratic
    lhs, upper_lhs : list of list of Fraction
    rhs, upper_rhs : list of Fraction
    below : Fraction, optional
        Whatever is not below this is of no interest: then None, or a lower bound, is returned.
    """
    active: list[int] = []
    seen = set()
    while frozenset(active) not in seen:
        seen.add(frozenset(active))
        found = _try(problem, lhs, rhs, upper_lhs, upper_rhs, active)
        if found is None:
            break
        value, x, worst, missed = found
        if worst is not None:
            active.remove(worst)
        elif below is not None and value >= below:
            return value, x
        elif missed is not None:
            active.append(missed)
        else:
            return value, x
    # Every active set, fewest first.
    for n in range(min(len(upper_rhs), len(problem.moment)) + 1):
        for some in itertools.combinations(range(len(upper_rhs)), n):
            found = _try(problem, lhs, rhs, upper_lhs, upper_rhs, list(some))
            if found is not None and found[2] is None and found[3] is None:
                return found[0], found[1]
    return None


def _try(
    problem: Quadratic, lhs: list[Row], rhs: Row, upper_lhs: list[Row], upper_rhs: Row,
    active: list[int],
) -> tuple[Fraction, Row, int | None, int | None] | None:  # fmt: skip
    """The least objective with some inequalities as equalities: its value, its x, the inequality
    whose multiplier is most wrong, and the one that is missed most.
    """
    solved = solve_equal(
        problem, lhs + [upper_lhs[c] for c in active], rhs + [upper_rhs[c] for c in active]
    )
    if solved is None:
        return None
    value, x, multipliers = solved
    wrong = {c: multipliers.get(len(lhs) + p, Fraction(0)) for p, c in enumerate(active)}
    worst = min(wrong, key=lambda c: wrong[c], default=None)
    if worst is not None and wrong[worst] >= 0:
        worst = None
    off = {c: _missed(upper_lhs[c], upper_rhs[c], x) for c in range(len(upper_rhs))}
    missed = max(off, key=lambda c: off[c], default=None)
    if missed is not None and (off[missed] <= _MET or missed in active):
        missed = None
    return value, x, worst, missed


def _missed(row: Row, most: Fraction, x: Row) -> Fraction:
    """How far a constraint's sum is above its right-hand side, as a share of what it adds up."""
    size = sum((abs(a * v) for a, v in zip(row, x, strict=True)), abs(most))
    return (_dot(row, x) - most) / size if size else Fraction(0)


def _dot(a: Row, b: Row) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def _plane(k: int, lhs: list[Row], rhs: Row) -> _Plane | None:
    """What meets lhs x = rhs, by elimination."""
    done: list[tuple[int, Row]] = []
    names: list[int] = []
    for c, (row, value) in enumerate(zip(lhs, rhs, strict=True)):
        line, size = [*row, value], max((abs(a) for a in row), default=Fraction(0))
        reach = abs(value)
        for pivot, other in done:
            share = line[pivot]
            if share:
                reach += abs(share * other[-1])
                line = [a - share * b for a, b in zip(line, other, strict=True)]
        best = max(range(k), key=lambda j: abs(line[j]), default=-1)
        if best < 0 or abs(line[best]) <= _DEPENDS * size:
            if abs(line[-1]) > _MET * reach:
                return None
            continue
        line = [a / line[best] for a in line]
        done = [(p, [a - o[best] * b for a, b in zip(o, line, strict=True)]) for p, o in done]
        done.append((best, line))
        names.append(c)
    pivots = [p for p, _ in done]
    point = [Fraction(0)] * k
    for p, line in done:
        point[p] = line[-1]
    ways = []
    for j in range(k):
        if j not in pivots:
            way = [Fraction(0)] * k
            way[j] = Fraction(1)
            for p, line in done:
                way[p] = -line[j]
            ways.append(way)
    return _Plane(point, ways, names, pivots)


def _solve(matrix: list[Row], rhs: Row) -> Row:
    """The solution of a regular system."""
    rows = [[*line, value] for line, value in zip(matrix, rhs, strict=True)]
    n = len(rows)
    for p in range(n):
        best = max(range(p, n), key=lambda r: abs(rows[r][p]))
        rows[p], rows[best] = rows[best], rows[p]
        rows[p] = [a / rows[p][p] for a in rows[p]]
        for r in range(n):
            if r != p and rows[r][p]:
                share = rows[r][p]
                rows[r] = [a - share * b for a, b in zip(rows[r], rows[p], strict=True)]
    return [row[-1] for row in rows]
