"""Train and test splits that keep groups whole and every class on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from artneuro.core.errors import DataError
from artneuro.datasets.seeding import hash_of


def grouped_split(
    groups: Sequence[str] | np.ndarray,
    strata: Sequence[str] | np.ndarray | None,
    test_fraction: float,
    seed: int,
) -> np.ndarray:
    """Split rows into train and test, with whole groups and a like share of every class.

    Groups are visited in an order drawn from `seed`; a group goes to the test side if that brings
    the classes' test counts closer to their targets (sum over classes of the squared deviation as
    a share of the class). Single groups then change sides while that helps. Neither the order of
    the rows nor of the classes matters.

    Parameters
    ----------
    groups : (n,) array of str
        Rows of one group are never split.
    strata : (n,) array of str, optional
        Class of each row; None for a single class.
    test_fraction : float
        Wanted share of each class in the test split; met to half a row of each class where groups
        are single rows, else as far as the groups allow.
    seed : int
        Seed of the order of the groups.

    Returns
    -------
    (n,) array of bool
        True for rows of the test split.

    Raises
    ------
    DataError
        If there are no rows, a class has fewer than two groups, or no choice of whole groups leaves
        every class on both sides.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if not len(group):
        raise DataError("there is nothing to split", fix="choose a corpus with documents")
    classes, stratum = np.unique(
        np.zeros(len(group), dtype=str) if strata is None else np.asarray(strata, dtype=str),
        return_inverse=True,
    )
    if len(stratum) != len(group):
        raise DataError(f"{len(group)} rows with groups, but {len(stratum)} with classes")
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group, stratum), 1)
    for i in np.flatnonzero((counts > 0).sum(axis=0) < 2):
        raise DataError(
            f"class {str(classes[i])!r} cannot be split: all of its {int(counts[:, i].sum())} rows "
            "are of one group, and both splits need one",
            fix="take more documents of this class, or leave it out",
        )
    order = np.array(sorted(range(len(names)), key=lambda i: hash_of(seed, "split", str(names[i]))))
    in_test = np.zeros(len(names), dtype=bool)
    in_test[order] = _choose(counts[order], test_fraction)
    return in_test[group]


def _choose(counts: np.ndarray, test_fraction: float) -> np.ndarray:
    """Which groups to test on, (n_groups,) bool, from counts (n_groups, n_classes)."""
    share = counts / counts.sum(axis=0)
    chosen = np.zeros(len(share), dtype=bool)
    held = np.zeros(share.shape[1])
    for i, added in enumerate(share):
        # Squared distance after minus before.
        if np.sum(added * (2 * (held - test_fraction) + added)) < 0:
            chosen[i] = True
            held += added
    chosen = _improve(share, chosen, test_fraction)
    if not _both_sides(counts, chosen):
        chosen = _feasible(counts, test_fraction)
    return chosen


def _both_sides(counts: np.ndarray, chosen: np.ndarray) -> bool:
    test = counts[chosen].sum(axis=0)
    return bool(np.all((test > 0) & (test < counts.sum(axis=0))))


def _improve(share: np.ndarray, chosen: np.ndarray, test_fraction: float) -> np.ndarray:
    """Move the one group whose change of side helps most, until none does."""
    chosen = chosen.copy()
    off = share[chosen].sum(axis=0) - test_fraction
    size = np.sum(share**2, axis=1)
    for _ in range(len(share)):
        sign = np.where(chosen, -1.0, 1.0)
        change = 2 * sign * (share @ off) + size
        best = int(np.argmin(change))
        if change[best] > -1e-12:
            break
        off += sign[best] * share[best]
        chosen[best] = not chosen[best]
    return chosen


def _feasible(counts: np.ndarray, test_fraction: float) -> np.ndarray:
    """Find the split with the least total deviation among those with all classes on both sides."""
    n_groups, n_classes = counts.shape
    present = counts > 0
    totals = counts.sum(axis=0)
    # Variables: one 0/1 for each group, one deviation for each class.
    g, c = np.nonzero(present)
    membership = coo_array((np.ones(len(g)), (c, g)), shape=(n_classes, n_groups + n_classes))
    rows, columns = np.concatenate([c, np.arange(n_classes)]), n_groups + np.arange(n_classes)
    share = (counts / totals)[g, c]
    shape = (n_classes, n_groups + n_classes)
    above = coo_array((np.r_[share, -np.ones(n_classes)], (rows, np.r_[g, columns])), shape=shape)
    below = coo_array((np.r_[share, np.ones(n_classes)], (rows, np.r_[g, columns])), shape=shape)
    found = milp(
        np.r_[np.zeros(n_groups), np.ones(n_classes)],
        integrality=np.r_[np.ones(n_groups), np.zeros(n_classes)],
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(membership, 1, present.sum(axis=0) - 1),
            LinearConstraint(above, -np.inf, test_fraction),
            LinearConstraint(below, test_fraction, np.inf),
        ],
    )
    if found.x is None:
        raise DataError(
            "no split of whole groups leaves every class in both train and test",
            fix="take more documents, or leave out the classes that share few groups",
        )
    return found.x[:n_groups] > 0.5
