"""Classification scores of many probes on the same rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metrics:
    """Scores of probes, each an array of shape (probes,)."""

    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    mcc: np.ndarray
    auc: np.ndarray


def score_probes(decision: np.ndarray, positive: np.ndarray) -> Metrics:
    """F1, precision, recall, Matthews correlation and area under the ROC curve of each probe.

    Parameters
    ----------
    decision : ndarray of shape (probes, rows)
        Decision values; a row counts as positive where its value is above 0.
    positive : ndarray of bool, shape (rows,)
        The truth; holds both classes.

    Returns
    -------
    Metrics
        What `sklearn.metrics` gives with `zero_division=0`. Thesis, section 2.3.3.
    """
    truth = np.asarray(positive, dtype=np.float64)
    rows, n_positive = truth.size, float(truth.sum())
    n_negative = rows - n_positive
    called = (decision > 0).astype(np.float64)
    n_called = called.sum(axis=1)
    tp = called @ truth
    fp, fn = n_called - tp, n_positive - tp
    tn = n_negative - fp
    precision = _ratio(tp, n_called)
    recall = tp / n_positive
    f1 = _ratio(2 * tp, 2 * tp + fp + fn)
    spread = np.sqrt(n_called * (rows - n_called) * n_positive * n_negative)
    mcc = _ratio(tp * tn - fp * fn, spread)
    ranks = average_ranks(decision) @ truth
    auc = (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return Metrics(f1, precision, recall, mcc, auc)


def f1_of(decision: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """F1 alone of each probe, (probes,): see `score_probes`."""
    truth = np.asarray(positive, dtype=np.float64)
    called = (decision > 0).astype(np.float64)
    return _ratio(2 * (called @ truth), called.sum(axis=1) + truth.sum())


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 along each line of `values`, equal values sharing their mean rank."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    lines, columns = values.shape
    place = np.arange(columns)
    new = np.ones((lines, columns), dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones((lines, columns), dtype=np.bool_)
    ends[:, :-1] = new[:, 1:]
    last = np.where(ends, place, columns)[:, ::-1]
    last = np.minimum.accumulate(last, axis=1)[:, ::-1]
    ranks = np.empty((lines, columns))
    np.put_along_axis(ranks, order, (first + last) / 2 + 1.0, axis=1)
    return ranks


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.zeros_like(numerator), where=np.asarray(denominator) > 0
    )
