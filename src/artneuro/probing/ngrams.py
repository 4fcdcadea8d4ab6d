"""The n-grams that a neuron fires on, each as long as the firing needs it to be.

A polysemantic neuron fires on many unrelated short spans of text (thesis, figures 2.1b and A.7).
They are listed here for all neurons from one index of the n-grams of a text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NgramIndex:
    """All n-grams of a text up to a length, each known by the position where it ends.

    The n-grams of one length have codes from 0. A list has one entry for each length from 1.

    Attributes
    ----------
    tokens : ndarray of int, shape (positions,)
        The text: all sequences, one behind the other.
    codes : list of ndarray of int64, shape (positions,)
        Code of the n-gram that ends at each position, -1 where it would begin before its text.
    suffix : list of ndarray of int64, shape (n-grams,)
        Code of the n-gram without its first token, among those shorter by one; of single tokens
        all 0.
    counts : list of ndarray of int64, shape (n-grams,)
        Occurrences.
    ends : list of ndarray of int64, shape (n-grams,)
        A position where the n-gram ends.
    """

    tokens: np.ndarray
    codes: list[np.ndarray]
    suffix: list[np.ndarray]
    counts: list[np.ndarray]
    ends: list[np.ndarray]

    def tokens_of(self, length: int, code: int) -> list[int]:
        """Token ids of an n-gram."""
        end = int(self.ends[length - 1][code]) + 1
        return [int(token) for token in self.tokens[end - length : end]]


@dataclass(frozen=True)
class FiringNgram:
    """An n-gram that a neuron fires on at its last token.

    Attributes
    ----------
    length, code : int
        Which one of the index.
    count, firings : int
        Its occurrences, and those at which the neuron fires.
    """

    length: int
    code: int
    count: int
    firings: int


def index_ngrams(tokens: np.ndarray, text: np.ndarray, max_length: int) -> NgramIndex:
    """Index the n-grams of up to `max_length` tokens.

    Parameters
    ----------
    tokens : ndarray of int, shape (sequences, n_ctx)
    text : ndarray of bool, shape (sequences, n_ctx)
        Tokens of the text; an n-gram has no other and stays in its sequence.
    max_length : int
    """
    sequences, width = tokens.shape
    flat = tokens.ravel().astype(np.int64)
    size = int(flat.max(initial=0)) + 1
    codes: list[np.ndarray] = []
    suffix: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    shorter = np.where(text.ravel(), 0, -1)
    for length in range(1, min(max_length, width) + 1):
        back = length - 1
        begins = np.zeros((sequences, width), dtype=np.bool_)
        begins[:, back:] = text[:, : width - back]
        here = np.flatnonzero(begins.ravel() & (shorter >= 0))
        pairs = shorter[here] * size + flat[here - back]
        values, first, inverse, n = np.unique(
            pairs, return_index=True, return_inverse=True, return_counts=True
        )
        found = np.full(flat.size, -1, dtype=np.int64)
        found[here] = inverse
        codes.append(found)
        suffix.append(values // size)
        counts.append(n.astype(np.int64))
        ends.append(here[first])
        shorter = found
    return NgramIndex(flat, codes, suffix, counts, ends)


def sum_over(index: NgramIndex, length: int, values: np.ndarray) -> np.ndarray:
    """Sum of a value over the positions where each n-gram of a length ends.

    Parameters
    ----------
    index : NgramIndex
    length : int
    values : ndarray, shape (positions,)
        Finite wherever there is text.

    Returns
    -------
    ndarray of float64, shape (n-grams,)
    """
    code = index.codes[length - 1]
    there = code >= 0
    weights = values[there].astype(np.float64)
    return np.bincount(code[there], weights, minlength=len(index.counts[length - 1]))


def firing_ngrams(
    index: NgramIndex, fires: np.ndarray, *, min_count: int, min_rate: float
) -> list[FiringNgram]:
    """The maximal n-grams that a neuron fires on.

    An n-gram is supported if the neuron fires on at least `min_count` of its occurrences and on a
    share of at least `min_rate` of them. A supported n-gram is extended by a token on the left
    wherever the extension is supported and the n-gram without it would not be; what cannot be
    extended further is listed. So a token that the neuron always fires on stands alone, and one
    that it fires on behind certain others comes with them.

    Parameters
    ----------
    index : NgramIndex
    fires : ndarray of bool, shape (positions,)
        Where the neuron fires.
    min_count : int
    min_rate : float

    Returns
    -------
    list of FiringNgram
        By length, then code. No n-gram is the end of another.
    """
    firings = [
        np.rint(sum_over(index, length, fires)).astype(np.int64)
        for length in range(1, len(index.codes) + 1)
    ]
    supported = [
        _supported(found, count, min_count, min_rate)
        for found, count in zip(firings, index.counts, strict=True)
    ]
    reached = np.ones(len(index.counts[0]), dtype=np.bool_)
    listed: list[FiringNgram] = []
    for level, count in enumerate(index.counts):
        needs_more = np.zeros(len(count), dtype=np.bool_)
        if level + 1 < len(index.counts):
            longer = np.flatnonzero(supported[level + 1])
            short = index.suffix[level + 1][longer]
            stands = _supported(
                firings[level][short] - firings[level + 1][longer],
                count[short] - index.counts[level + 1][longer],
                min_count,
                min_rate,
            )
            needs_more[short[~stands]] = True
        chosen = reached & supported[level] & ~needs_more
        listed += [
            FiringNgram(level + 1, int(c), int(count[c]), int(firings[level][c]))
            for c in np.flatnonzero(chosen)
        ]
        if level + 1 < len(index.counts):
            reached = (reached & ~chosen)[index.suffix[level + 1]]
    return listed


def _supported(
    firings: np.ndarray, count: np.ndarray, min_count: int, min_rate: float
) -> np.ndarray:
    return (firings >= min_count) & (firings >= min_rate * count)
