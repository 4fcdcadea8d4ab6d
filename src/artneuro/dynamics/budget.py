"""One budget of terms for several targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def share_terms(values: Sequence[np.ndarray], total: int) -> tuple[float, list[int]]:
    """Choose a number of terms for each target so that the sum of objectives is least.

    Parameters
    ----------
    values : sequence of ndarray
        For each target, its objective (times its weight) with at most 0, 1, ... terms; infinite
        where there is no such model.
    total : int
        Terms of all targets together.

    Returns
    -------
    value : float
        The least sum.
    terms : list of int
        Numbers of terms; the fewest that reach it, for later targets first.
    """
    least = np.zeros(total + 1)
    choices = []
    for line in values:
        # least[t]: the first targets with at most t terms.
        table = np.full((total + 1, total + 1), np.inf)
        for n in range(min(total, line.size - 1) + 1):
            table[n, n:] = least[: total + 1 - n] + line[n]
        choices.append(table.argmin(axis=0))
        least = table.min(axis=0)
    terms, left = [], total
    for choice in reversed(choices):
        n = int(choice[left])
        terms.append(n)
        left -= n
    return float(least[total]), terms[::-1]
