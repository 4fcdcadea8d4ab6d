"""Best subsets by splicing: the heuristic of the package abess, which an extra installs."""

from __future__ import annotations

import numpy as np

from artneuro.core.errors import ConfigError
from artneuro.probing.logistic import balanced_weights


def best_subsets(
    columns: np.ndarray, positive: np.ndarray, k: int, *, C: float = 1.0
) -> list[np.ndarray]:
    """The best subsets of 1, ..., k neurons for the balanced logistic probe with its l2 penalty.

    The objective is that of `fit_probes_nested`. Splicing swaps neurons in and out of a set while
    that lowers it, which is fast and usually good, but proves nothing. Sets of different sizes
    need not contain each other.

    Parameters
    ----------
    columns : ndarray of shape (units, rows)
        Activations, one neuron a line.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.
    k : int
        Largest size.
    C : float
        Inverse strength of the l2 penalty.

    Returns
    -------
    list of ndarray of int64
        For each size the lines of `columns` in its subset, in descending order of coefficient
        times standard deviation; fewer than asked for where not so many neurons vary.

    Raises
    ------
    ConfigError
        If abess is not installed.

    Notes
    -----
    Zhu et al., PNAS 117(52), 2020; a further column of the thesis's table A.4.
    """
    try:
        from abess import LogisticRegression
    except ImportError as error:
        raise ConfigError(
            "the ranking 'best_subset' needs the package abess, which is not installed",
            where="probing.rankings, probing.comparison.rankings",
            fix="pip install 'artneuro[subsets]', or take best_subset out of the list",
        ) from error
    spread = columns.std(axis=1)
    usable = np.flatnonzero(spread > 1e-12 * np.abs(columns).max(axis=1))
    design = np.ascontiguousarray(columns[usable].T)
    weights, target = balanced_weights(positive), positive.astype(np.int64)
    found = []
    for size in range(1, k + 1):
        if usable.size <= size:
            found.append(usable)
            continue
        # abess adds alpha |w|^2 to the summed loss.
        model = LogisticRegression(
            support_size=[size], alpha=0.5 / C, thread=1, primary_model_fit_max_iter=30
        )
        model.fit(design, target, is_normal=False, sample_weight=weights)
        weight = np.abs(np.nan_to_num(np.ravel(model.coef_))) * spread[usable]
        found.append(usable[np.argsort(-weight, kind="stable")[:size]])
    return found
