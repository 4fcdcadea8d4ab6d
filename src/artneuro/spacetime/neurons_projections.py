"""Activations projected on the weights of neurons, and how they order places and dates (4.5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from artneuro.models.info import ModelShape
from artneuro.models.shapes import read_config
from artneuro.weights.families import family_of

# Fewer entities of a type, and their rank correlation says little.
MIN_OF_TYPE = 10
_EPSILONS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps")


def norm_epsilon(folder: str | Path, trust_remote_code: bool = False) -> float:
    """What the norms of a model folder add to a variance before its root."""
    config = read_config(Path(folder), trust_remote_code)
    return float(next((getattr(config, e) for e in _EPSILONS if hasattr(config, e)), 0.0))


def normalised(residual: np.ndarray, shape: ModelShape, epsilon: float) -> np.ndarray:
    """The residual stream as the norms of a model make it, before their gain and shift.

    Parameters
    ----------
    residual : ndarray, shape (row, unit)
    shape : ModelShape
        Whose norms: RMS norms divide, layer norms take the mean away first.
    epsilon : float
        What `norm_epsilon` gives.
    """
    if family_of(shape.architecture).centred:
        residual = residual - residual.mean(axis=1, keepdims=True)
    # Sums in float64 without a float64 copy of everything.
    squares = np.einsum("ij,ij->i", residual, residual, dtype=np.float64, casting="safe")
    size = np.sqrt(squares / residual.shape[1] + epsilon)
    return residual / size[:, None].astype(residual.dtype)


def rank_correlations(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each column with the truth; ties share their mean rank.

    Parameters
    ----------
    values : ndarray, shape (row, column)
    truth : ndarray, shape (row,) or (row, target)

    Returns
    -------
    ndarray of float64, shape (column,) or (target, column)
        NaN where a column or the truth is constant.
    """
    if len(truth) < 2:
        return np.full((*truth.shape[1:], values.shape[1]), np.nan)
    ranks, order = (stats.rankdata(v, axis=0) for v in (values, truth))
    ranks -= ranks.mean(axis=0)
    order -= order.mean(axis=0)
    size = np.sqrt(np.multiply.outer(np.square(order).sum(axis=0), np.square(ranks).sum(axis=0)))
    return np.divide(order.T @ ranks, size, out=np.full(size.shape, np.nan), where=size > 0)


def correlations_by_type(
    values: np.ndarray, truth: np.ndarray, types: np.ndarray
) -> tuple[list[str], list[int], np.ndarray]:
    """The same among the entities of each type.

    Parameters
    ----------
    values, truth
        As in `rank_correlations`.
    types : ndarray of str or None, shape (row,)
        None where a type is not known: these rows are of none.

    Returns
    -------
    names : list of str
        Types of `MIN_OF_TYPE` entities or more, sorted.
    counts : list of int
    correlations : ndarray of float64, shape (type, column)
    """
    known = [str(name) for name in types if name is not None]
    names, counts = np.unique(known, return_counts=True)
    kept = [(str(n), int(c)) for n, c in zip(names, counts, strict=True) if c >= MIN_OF_TYPE]
    found = [rank_correlations(values[types == n], truth[types == n]) for n, _ in kept]
    empty = np.empty((0, values.shape[1]))
    return [n for n, _ in kept], [c for _, c in kept], np.stack(found) if found else empty
