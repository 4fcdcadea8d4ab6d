"""Adaptive thresholding: elastic-net probes on ever fewer neurons, from many down to one.

Thesis, sections 2.3.2 and A.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import ConfigError
from artneuro.probing.config import SCHEDULE, descends
from artneuro.probing.elastic_net import fit_elastic_net

# Relative gap to stop at: far below what could change the order of two neurons that matter.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class SparsityPath:
    """The probes of a descending schedule of sizes, each fitted on neurons that the last kept.

    Attributes
    ----------
    sizes : tuple of int
        Number of neurons of each step, descending.
    supports : tuple of ndarray of int64
        Lines of each step; every step's are among those of the step before it. They come in the
        order of the step before: largest absolute coefficient there first.
    coef : tuple of ndarray of float64
        Coefficients of the elastic-net probe of each step, in the order of its support.
    intercept : ndarray of shape (steps,)
    converged : ndarray of bool, shape (steps,)
    order : ndarray of int64, shape (lines,)
        All lines, those that stayed longest first; within a step by absolute coefficient.
    """

    sizes: tuple[int, ...]
    supports: tuple[np.ndarray, ...]
    coef: tuple[np.ndarray, ...]
    intercept: np.ndarray
    converged: np.ndarray
    order: np.ndarray

    def decide(self, columns: np.ndarray) -> np.ndarray:
        """Decision values of each step's probe, (steps, rows), of activations (lines, rows)."""
        return np.stack(
            [
                w @ columns[support] + b
                for w, support, b in zip(self.coef, self.supports, self.intercept, strict=True)
            ]
        )


def penalty_of(k: int) -> tuple[float, float]:
    """C and l1_ratio of the elastic net on k neurons: k / 20 and exp(-k / 20) in [0.1, 0.9]."""
    return k / 20, float(np.clip(np.exp(-k / 20), 0.1, 0.9))


def steps_of(schedule: Sequence[int], lines: int) -> tuple[int, ...]:
    """The sizes of a schedule that so many neurons can serve, the number itself where none can."""
    return tuple(k for k in schedule if k <= lines) or (lines,)


def adaptive_thresholding(
    columns: np.ndarray, positive: np.ndarray, *, schedule: Sequence[int] = SCHEDULE
) -> SparsityPath:
    """Fit elastic-net probes on ever fewer neurons, dropping the smallest coefficients.

    Parameters
    ----------
    columns : ndarray of shape (lines, rows)
        Activations, one neuron a line, those to prefer first: the first step takes the first
        lines, and neurons of equal coefficients (all zero, say) stay in the order of their step.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.
    schedule : sequence of int
        Numbers of neurons, strictly descending. Those above the number of lines are left out.

    Returns
    -------
    SparsityPath
        At k neurons the probe minimises the balanced logistic loss times C plus the elastic-net
        penalty (`fit_elastic_net`), with C and l1_ratio of `penalty_of(k)`. Each fit starts from
        the coefficients of the one before.

    Raises
    ------
    ConfigError
        If the schedule does not descend to at least one neuron.

    Notes
    -----
    Thesis, section A.2.3 (adaptive thresholding).
    """
    if not descends(schedule):
        raise ConfigError(
            f"the schedule {list(schedule)} does not descend strictly to one neuron or more",
            where="probing.sparsity.schedule",
            fix="give numbers of neurons such as [256, 64, 16, 4, 1]",
        )
    sizes = steps_of(schedule, columns.shape[0])
    left = np.arange(columns.shape[0])
    weights = np.zeros(left.size)
    supports, coefs, dropped = [], [], []
    intercept, converged = np.empty(len(sizes)), np.empty(len(sizes), dtype=np.bool_)
    for step, k in enumerate(sizes):
        dropped.append(left[k:])
        left, weights = left[:k], weights[:k]
        C, l1_ratio = penalty_of(k)
        fit = fit_elastic_net(
            columns[left], positive, C=C, l1_ratio=l1_ratio, tolerance=_TOLERANCE, coef=weights
        )
        supports.append(left)
        coefs.append(fit.coef)
        intercept[step], converged[step] = fit.intercept, fit.converged
        ranked = np.argsort(-np.abs(fit.coef), kind="stable")
        left, weights = left[ranked], fit.coef[ranked]
    order = np.concatenate([left, *reversed(dropped)])
    return SparsityPath(sizes, tuple(supports), tuple(coefs), intercept, converged, order)
