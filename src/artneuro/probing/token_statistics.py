"""What a neuron's activations on single tokens say about it, as functions of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TokenMeans:
    """Mean activations on each token of the vocabulary that occurs.

    Attributes
    ----------
    ids, counts : ndarray of int64, shape (tokens,)
        Token ids, ascending, and their occurrences.
    means, errors : ndarray of float64, shape (tokens, neurons)
        Means, and their standard errors for independent occurrences: NaN where there is one only.
    """

    ids: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    errors: np.ndarray


@dataclass(frozen=True)
class Firing:
    """How often a neuron fires on tokens of a class and on others.

    Attributes
    ----------
    edges : ndarray of float64, shape (bins + 1,)
    counts_in, counts_out, counts_unknown : ndarray of int64, shape (bins,)
        Tokens in the class, out of it, and of unknown class, by activation.
    fires_in, fires_out, fires_unknown : int
        Those above the threshold.
    """

    edges: np.ndarray
    counts_in: np.ndarray
    counts_out: np.ndarray
    counts_unknown: np.ndarray
    fires_in: int
    fires_out: int
    fires_unknown: int


def mean_by_token(ids: np.ndarray, values: np.ndarray) -> TokenMeans:
    """Mean activation of each neuron on each token (thesis, section 2.5.4 and figure 2.5a).

    Parameters
    ----------
    ids : ndarray of int, shape (n,)
        Tokens of a text.
    values : ndarray, shape (n, neurons)
        Activations on them, finite.
    """
    tokens, code, counts = np.unique(ids, return_inverse=True, return_counts=True)
    means = np.empty((len(tokens), values.shape[1]))
    errors = np.full(means.shape, np.nan)
    many = counts > 1
    for neuron in range(values.shape[1]):
        column = values[:, neuron].astype(np.float64)
        means[:, neuron] = np.bincount(code, column, len(tokens)) / counts
        # Squares of differences from the token's own mean: no small difference of large sums.
        squares = np.bincount(code, (column - means[code, neuron]) ** 2, len(tokens))
        errors[many, neuron] = np.sqrt(squares[many] / (counts[many] - 1) / counts[many])
    return TokenMeans(tokens.astype(np.int64), counts.astype(np.int64), means, errors)


def count_firing(values: np.ndarray, truth: np.ndarray, threshold: float, bins: int) -> Firing:
    """Count activations by class, in the frequency of the text (thesis, figure 2.5d).

    Parameters
    ----------
    values : ndarray, shape (n,)
        Activations on the tokens of a text, finite; larger ones speak for the class.
    truth : ndarray of int8, shape (n,)
        1 in the class, 0 out of it, -1 unknown.
    threshold : float
        The neuron fires above it.
    bins : int
    """
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    counts, fires = [], []
    for state in (1, 0, -1):
        mine = values[truth == state]
        counts.append(np.histogram(mine, edges)[0])
        fires.append(int((mine > threshold).sum()))
    return Firing(edges, counts[0], counts[1], counts[2], fires[0], fires[1], fires[2])


def sample_by_quantile(
    values: np.ndarray, quantiles: Sequence[float], n: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Sample places between each two quantiles of the values, so that not only the top is seen.

    Parameters
    ----------
    values : ndarray, shape (places,)
        Finite.
    quantiles : sequence of float
        Ascending from 0 to 1: the edges of the bins.
    n : int
        Places to sample from each bin, all of them where it has fewer.
    generator : Generator

    Returns
    -------
    list of ndarray of int64
        Places of each bin, by falling value. The bins share out all places by rank, so that equal
        values may be in two of them.
    """
    order = np.argsort(values, kind="stable")
    edges = np.rint(np.asarray(quantiles) * len(values)).astype(np.int64)
    found = []
    for start, stop in itertools.pairwise(edges.tolist()):
        chosen = generator.choice(stop - start, min(n, stop - start), replace=False)
        found.append(order[start + np.sort(chosen)[::-1]])
    return found


def sequences_to_trace(
    n_tokens: np.ndarray, is_test: np.ndarray, max_tokens: int, generator: np.random.Generator
) -> np.ndarray:
    """Sequences to run, ascending: in random order test ones first, while their tokens fit.

    Parameters
    ----------
    n_tokens : ndarray of int, shape (sequences,)
    is_test : ndarray of bool, shape (sequences,)
    max_tokens : int
        Tokens of the chosen sequences at most; the first one is chosen whatever its length.
    generator : Generator
    """
    order = generator.permutation(len(n_tokens))
    order = order[np.argsort(~is_test[order], kind="stable")]
    fits = np.cumsum(n_tokens[order].astype(np.int64)) <= max_tokens
    return np.sort(order[: max(1, int(fits.sum()))])


def balanced_precision(precision: float, recall: float, share: float) -> float:
    """The precision that a probe would have if the class were half of the examples.

    The share of positives in a labelled sample is a choice, and precision falls with it even where
    the neuron and the threshold are the same.

    Parameters
    ----------
    precision, recall : float
    share : float
        Share of positives among the examples that they were measured on.

    Returns
    -------
    float
        recall / (recall + false positive rate); 0 where nothing is called positive.
    """
    if precision <= 0 or recall <= 0:
        return 0.0
    false_positive_rate = recall * share * (1 - precision) / (precision * (1 - share))
    return recall / (recall + false_positive_rate)
