"""The moves of the search of `leaps`: a column in, a column out, and which is next."""

from __future__ import annotations

import numpy as np

from artneuro.dynamics.leaps_tree import (
    BOUND,
    CHOSEN,
    COUNT,
    DROP,
    DUAL,
    GRAM,
    HOME,
    IN_CORR,
    IN_LEFT,
    IN_NAME,
    IN_SIZE,
    IN_TRACE,
    KNOWN,
    KNOWN_TRACE,
    NAMES,
    OPEN,
    OPENED,
    OUT_CORR,
    OUT_COUNT,
    OUT_LEFT,
    OUT_LEVEL,
    OUT_NAME,
    OUT_SIZE,
    OUT_TRACE,
    PENDING,
    PHASE,
    PLACES,
    REST,
    SPARE,
    TOPS,
    compiled,
    inlined,
    summed,
)

# Pivots of the factors, relative to columns of unit length, that are left to a fresh start.
_PIVOT = 1e-11
# Share of what matters that may be lost to a rough bound of rounding.
_LITTLE = 0.01
# Share of the objective that rounding may take from a bound; more is left to a fresh start too.
_SHARE = 0.5


@inlined
def put_in(noise, vectors, numbers, whole, names, in_rows, level):  # pragma: no cover - compiled
    """Put the chosen column of a level in: the objective with it, and the trace."""
    p = whole[level, CHOSEN]
    e = names[level, NAMES, p]
    trace = numbers[level, IN_TRACE]
    pivot = max(vectors[level, IN_SIZE, p], noise * (1.0 + trace))
    # Coefficients of the column on those before it, from the rows of the factor.
    square = 1.0
    for s in range(level - 1, -1, -1):
        value = in_rows[s, e]
        for r in range(s + 1, level):
            value -= in_rows[s, whole[r, IN_NAME]] * vectors[level, TOPS, r]
        value /= in_rows[s, whole[s, IN_NAME]]
        vectors[level, TOPS, s] = value
        square += value * value
    numbers[level + 1, IN_TRACE] = trace + square / pivot
    corr = vectors[level, IN_CORR, p]
    numbers[level + 1, IN_LEFT] = numbers[level, IN_LEFT] - corr * corr / pivot
    whole[level, IN_NAME] = e


@inlined
def hopeful(
    noise, scale, limit, vectors, numbers, whole, matrices, level
):  # pragma: no cover - compiled
    """Can one more column beside those in and the chosen one be good enough? If so, 1 in the
    level's spare vector for each of these.
    """
    count, p, home = whole[level, COUNT], whole[level, CHOSEN], whole[level, HOME]
    rounding = noise * (1.0 + numbers[level + 1, IN_TRACE])
    shift = rounding * scale
    need = numbers[level + 1, IN_LEFT] - shift * scale - limit
    pivot = max(vectors[level, IN_SIZE, p], noise * (1.0 + numbers[level, IN_TRACE]))
    inverse = 1.0 / pivot
    share = vectors[level, IN_CORR, p] * inverse
    part, e = 0.0, p
    if home < level:
        e = whole[home, CHOSEN]
        part = matrices[home, GRAM, e, p] / vectors[home, IN_SIZE, e]
    hopes = 0
    for q in range(count):
        along = matrices[home, GRAM, p, q] - part * matrices[home, GRAM, e, q]
        gain = abs(vectors[level, IN_CORR, q] - along * share) + shift
        room = vectors[level, IN_SIZE, q] - along * along * inverse - rounding
        # With no room left nothing is known of the column.
        hope = (gain * gain >= need * room) | (room <= 0.0) | (need <= 0.0)
        hopes += hope & (vectors[level, OPEN, q] > 0.0)
    if hopes > 0:
        for q in range(count):
            along = matrices[home, GRAM, p, q] - part * matrices[home, GRAM, e, q]
            gain = abs(vectors[level, IN_CORR, q] - along * share) + shift
            room = vectors[level, IN_SIZE, q] - along * along * inverse - rounding
            hope = (gain * gain >= need * room) | (room <= 0.0) | (need <= 0.0)
            vectors[level, SPARE, q] = hope & (vectors[level, OPEN, q] > 0.0)
    return hopes > 0


@compiled
def descend(
    most, vectors, numbers, whole, names, matrices, in_rows, out_rows, level
):  # pragma: no cover - compiled
    """Begin the next level, of what is open on this one, with its chosen column put in."""
    below, e, old = level + 1, whole[level, CHOSEN], whole[level, COUNT]
    # First subtract the pending rows from the level's dual.
    t = whole[level, OUT_COUNT]
    for p in range(old):
        if vectors[level, OPEN, p] > 0.0 or p == e:
            for s in range(t - whole[level, PENDING], t):
                part = out_rows[s, p]
                for q in range(old):
                    matrices[level, DUAL, p, q] -= part * out_rows[s, q]
    whole[level, PENDING] = 0
    pivot = vectors[level, IN_SIZE, e]
    root, share = 1.0 / np.sqrt(pivot), vectors[level, IN_CORR, e] / pivot
    keep = below + 3 > most
    count = 0
    for p in range(old):
        along = matrices[level, GRAM, e, p]
        in_rows[level, names[level, NAMES, p]] = along * root
        # The last level keeps the numbering.
        if keep or vectors[level, OPEN, p] > 0.0:
            names[below, NAMES, count] = names[level, NAMES, p]
            names[below, PLACES, names[level, NAMES, p]] = count
            vectors[below, OPEN, count] = vectors[level, OPEN, p]
            vectors[below, IN_CORR, count] = vectors[level, IN_CORR, p] - along * share
            vectors[below, IN_SIZE, count] = vectors[level, IN_SIZE, p] - along * along / pivot
            vectors[below, OUT_CORR, count] = vectors[level, OUT_CORR, p]
            vectors[below, OUT_SIZE, count] = vectors[level, OUT_SIZE, p]
            count += 1
    if not keep:
        row = 0
        for p in range(old):
            if vectors[level, OPEN, p] > 0.0:
                part, column = matrices[level, GRAM, e, p] / pivot, 0
                for q in range(old):
                    if vectors[level, OPEN, q] > 0.0:
                        left = matrices[level, GRAM, p, q] - part * matrices[level, GRAM, e, q]
                        matrices[below, GRAM, row, column] = left
                        matrices[below, DUAL, row, column] = matrices[level, DUAL, p, q]
                        column += 1
                row += 1
    whole[below, COUNT], whole[below, OPENED] = count, whole[level, OPENED]
    whole[below, HOME] = level if keep else below
    whole[below, PENDING], whole[below, PHASE] = 0, 0
    whole[below, OUT_COUNT], whole[below, KNOWN] = t, whole[level, KNOWN]
    for n in (OUT_LEFT, OUT_TRACE, KNOWN_TRACE):
        numbers[below, n] = numbers[level, n]


@inlined
def _lowered(scale, pushed, trace):  # pragma: no cover - compiled
    """What rounding may have added to a bound that is `pushed` above that of all columns."""
    part = np.sqrt(trace * pushed)
    return (
        scale.slack
        + 2.0 * scale.noise * scale.cap * (part + np.sqrt(scale.rest) + scale.size * scale.noise)
        + scale.noise * trace * pushed
    )


@inlined
def select(scale, limits, vectors, numbers, whole, bounds, level):  # pragma: no cover - compiled
    """Bound what a level contains; the open column that costs most to leave out, or -1."""
    trace = numbers[level, OUT_TRACE]
    pushed = max(numbers[level, OUT_LEFT] - scale.rest, 0.0)
    stretch = np.sqrt(trace)
    blur = scale.noise * (1.0 + trace)
    shift = scale.noise * (scale.size + stretch * np.sqrt(pushed)) * (1.0 + stretch)
    cut = 2.0 * scale.cap * scale.noise * np.sqrt(1.0 + trace)
    last, count = scale.most - level, whole[level, COUNT]
    for p in range(count):
        here = abs(vectors[level, OUT_CORR, p]) - shift
        size = vectors[level, OUT_SIZE, p] + blur
        part = max(here, 0.0) * max(here - cut, 0.0) * vectors[level, OPEN, p]
        vectors[level, DROP, p] = part
        vectors[level, SPARE, p] = part / size
    best = -1
    for t in range(last + 1):
        vectors[level, TOPS, t] = 0.0
    least_top = 0.0
    for p in range(count):
        cost = vectors[level, SPARE, p]
        if cost > least_top:
            if cost > vectors[level, TOPS, 0]:
                best = p
            t = last
            while t > 0 and vectors[level, TOPS, t - 1] < cost:
                vectors[level, TOPS, t] = vectors[level, TOPS, t - 1]
                t -= 1
            vectors[level, TOPS, t] = cost
            least_top = vectors[level, TOPS, last]
    if best < 0:
        # None costs more than rounding: the one that would, but for that.
        gain = -1.0
        for p in range(count):
            corr, size = vectors[level, OUT_CORR, p], vectors[level, OUT_SIZE, p] + blur
            if vectors[level, OPEN, p] > 0.0 and corr * corr > gain * size:
                best, gain = p, corr * corr / size
    least = numbers[level, OUT_LEFT] - _lowered(scale, pushed, trace)
    # What leaves costs no less together than the sum of its drops over the largest eigenvalue. No
    # squared length is above 1, so that the drops of what stays are no larger than `TOPS`.
    total = summed(vectors[level, DROP], count) * (1.0 - 1e-12)
    widest, kept, more = scale.widest + count * blur, vectors[level, TOPS, 0], 1.0 + 1e-12 + blur
    going = False
    for s in range(level + 2, scale.most + 1):
        kept += vectors[level, TOPS, s - level - 1]
        if s > level + whole[level, OPENED]:
            # There are not so many columns; smaller sizes see to what is left.
            bounds[level, BOUND, s], bounds[level, REST, s] = np.inf, np.inf
            continue
        # All but s - level columns leave, of the s - level + 1 that cost most one at least.
        together = (total - kept * more) / widest
        bound = least + max(vectors[level, TOPS, s - level], together)
        bounds[level, BOUND, s] = max(bound, 0.0)
        bounds[level, REST, s] = max(max(bound, least + vectors[level, TOPS, 0]), 0.0)
        going = going or bound < limits[1, s]
    return best if going else -1


@inlined
def worth_it(most, limits, bounds, level):  # pragma: no cover - compiled
    """Is there anything left on a level once its chosen column is out?"""
    worth = False
    for s in range(level + 2, most + 1):
        worth = worth or bounds[level, REST, s] < limits[1, s]
    return worth


@inlined
def _know_trace(vectors, numbers, whole, out_factor, level):  # pragma: no cover - compiled
    """Compute the trace, and the squared length of the last exclusion's coefficients plus 1."""
    square = 1.0
    for t in range(whole[level, KNOWN], whole[level, OUT_COUNT]):
        square = 1.0
        for s in range(t):
            vectors[level, SPARE, s] = out_factor[t, s]
        for s in range(t - 1, -1, -1):
            weight = vectors[level, SPARE, s] / out_factor[s, s]
            square += weight * weight
            for r in range(s):
                vectors[level, SPARE, r] -= weight * out_factor[s, r]
        numbers[level, KNOWN_TRACE] += square / (out_factor[t, t] * out_factor[t, t])
    whole[level, KNOWN] = whole[level, OUT_COUNT]
    numbers[level, OUT_TRACE] = numbers[level, KNOWN_TRACE]
    return square


@inlined
def leave_out(
    scale, limits, vectors, numbers, whole, names, matrices, out_rows, out_factor, out_whole,
    bounds, level,
):  # fmt: skip # pragma: no cover - compiled
    """Leave the chosen column of a level out; False if that needs a fresh start."""
    p, t, count = whole[level, CHOSEN], whole[level, OUT_COUNT], whole[level, COUNT]
    e, home = names[level, NAMES, p], whole[level, HOME]
    pivot, trace = vectors[level, OUT_SIZE, p], numbers[level, OUT_TRACE]
    out_whole[t, OUT_NAME], out_whole[t, OUT_LEVEL] = e, level
    whole[level, OUT_COUNT] = t + 1
    fine = pivot >= _PIVOT
    if fine:
        for s in range(t):
            out_factor[t, s] = out_rows[s, names[out_whole[s, OUT_LEVEL], PLACES, e]]
        root = np.sqrt(pivot)
        out_factor[t, t] = root
        for q in range(count):
            out_rows[t, q] = matrices[home, DUAL, p, q]
        for s in range(t - whole[level, PENDING], t):
            part = out_factor[t, s]
            for q in range(count):
                out_rows[t, q] -= part * out_rows[s, q]
        share = vectors[level, OUT_CORR, p] / root
        left = numbers[level, OUT_LEFT] + share * share
        # A bound of the trace will do as long as it changes nothing.
        rough = min(trace + (1.0 + trace) / pivot, scale.trace)
        numbers[level, OUT_TRACE] = rough
        worst = 0.0
        for s in range(level + 2, scale.most + 1):
            if bounds[level, REST, s] < limits[1, s] < np.inf:
                worst = max(worst, limits[1, s])
        pushed = left - scale.rest
        lost = _lowered(scale, pushed, rough)
        if scale.noise * (1.0 + rough) > _LITTLE * pivot or lost > _LITTLE * worst:
            square = _know_trace(vectors, numbers, whole, out_factor, level)
            lost = _lowered(scale, pushed, numbers[level, OUT_TRACE])
            much = lost > _SHARE * worst and lost > 2.0 * _lowered(scale, 0.0, 0.0)
            fine = pivot >= 20.0 * scale.noise * square and not (t > 0 and much)
        if fine:
            whole[level, PENDING] += 1
            numbers[level, OUT_LEFT] = left
            inverse = 1.0 / root
            for q in range(count):
                row = out_rows[t, q] * inverse
                out_rows[t, q] = row
                vectors[level, OUT_CORR, q] -= share * row
                vectors[level, OUT_SIZE, q] -= row * row
    return fine
