"""The penalty of the relaxation: the least ridge penalty over fractional choices of k neurons.

For weights w, min over 0 <= s <= 1, sum s <= k of sum_j w_j^2 / s_j (the squared k-support norm):
the largest weights are chosen whole and pay their square; the rest share what is left of k and pay
the square of their sum over it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ZERO, SHARED, WHOLE = 0, 1, 2


@njit(cache=True, nogil=True)
def split(w, chosen, left, part):  # pragma: no cover - compiled
    """Which weights are zero, shared or whole, in place in `part`.

    Parameters
    ----------
    w : ndarray of shape (units,)
    chosen : ndarray of bool, shape (units,)
        Neurons that are in the support for certain.
    left : int
        How many others may be.
    part : ndarray of int8, shape (units,)

    Returns
    -------
    theta : float
        Half the derivative of the penalty by a shared |w_j|; a weight at zero stays there if the
        loss pulls less. Infinite if nothing is left to share.
    share : int
        How much of k the shared weights have between them.
    """
    order = np.empty(w.size, np.int64)
    count, rest = 0, 0.0
    for j in range(w.size):
        if chosen[j]:
            part[j] = 2
        elif w[j] == 0.0:
            part[j] = 0
        else:
            size = abs(w[j])
            rest += size
            e = count
            while e > 0 and abs(w[order[e - 1]]) < size:
                order[e] = order[e - 1]
                e -= 1
            order[e] = j
            count += 1
            part[j] = 1
    # With all of k in use, the smallest one shares with the weights at zero.
    most = left - 1 if count >= left else count
    whole = 0
    while whole < most:
        size = abs(w[order[whole]])
        if size * (left - whole) < rest * (1.0 - 1e-12):
            break
        part[order[whole]] = 2
        rest -= size
        whole += 1
    share = left - whole
    if share <= 0:
        return np.inf, 0
    return (max(rest, 0.0) / share if whole < count else 0.0), share


@njit(cache=True, nogil=True)
def half_penalty(w, part, theta, share):  # pragma: no cover - compiled
    """Half the squared k-support norm, from what `split` found."""
    total = 0.0
    for j in range(w.size):
        if part[j] == 2:
            total += w[j] * w[j]
    if share > 0:
        total += theta * theta * share
    return 0.5 * total


@njit(cache=True, nogil=True)
def largest(values, skip, count):  # pragma: no cover - compiled
    """The `count` largest values that are not skipped, descending; missing ones are minus one."""
    best = np.full(count, -1.0)
    for j in range(values.size):
        if skip[j] or count == 0 or best[count - 1] >= values[j]:
            continue
        e = count - 1
        while e > 0 and best[e - 1] < values[j]:
            best[e] = best[e - 1]
            e -= 1
        best[e] = values[j]
    return best


@njit(cache=True, nogil=True)
def top_squares(squares, chosen, left):  # pragma: no cover - compiled
    """Sum of squares over the chosen neurons and the `left` largest others."""
    total = 0.0
    for value in largest(squares, chosen, left):
        total += max(value, 0.0)
    for j in range(squares.size):
        if chosen[j]:
            total += squares[j]
    return total
