"""What places and dates can be told from names alone, without a model.

Two sets of features that need no language model: which tokens a name has, and a random vector for
each token. A probe of a model shows something where it does better than ridge regressions on them.
"""

from __future__ import annotations

import numpy as np

from artneuro.core.errors import DataError
from artneuro.datasets.seeding import generator_of


def name_tokens(tokens: np.ndarray, start: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
    """The tokens of each name.

    Parameters
    ----------
    tokens : ndarray of int, shape (n, n_ctx)
    start, end : ndarray of int, shape (n,)
        Positions of the name's tokens, half-open.

    Raises
    ------
    DataError
        If a name has no token, or lies outside of its sequence.
    """
    is_inside = (start >= 0) & (start < end) & (end <= tokens.shape[1])
    if not is_inside.all():
        row = int(np.flatnonzero(~is_inside)[0])
        raise DataError(
            f"the name of sequence {row} has the tokens {start[row]} to {end[row]} of "
            f"{tokens.shape[1]}",
            fix="delete the prompts and run snakemake again",
        )
    return [row[a:b] for row, a, b in zip(tokens, start, end, strict=True)]


def token_counts(names: list[np.ndarray], train: np.ndarray, limit: int) -> np.ndarray:
    """How often each name has each of the most frequent tokens.

    Parameters
    ----------
    names : list of n arrays of token ids
    train : ndarray of bool, shape (n,)
        Names that say which tokens are frequent: those that most of them have. Equally frequent
        ones are taken by their ids.
    limit : int
        How many tokens are counted at most.

    Returns
    -------
    ndarray of float32, shape (n, at most `limit`)
        Columns by falling frequency.
    """
    rows = np.repeat(np.arange(len(names)), [len(name) for name in names])
    ids = np.concatenate(names)
    seen = np.unique(np.stack([rows, ids])[:, train[rows]], axis=1)[1]
    found, frequency = np.unique(seen, return_counts=True)
    chosen = found[np.lexsort((found, -frequency))[:limit]]
    column = np.full(int(ids.max()) + 1, -1)
    column[chosen] = np.arange(len(chosen))
    counts = np.zeros((len(names), len(chosen)), dtype=np.float32)
    known = column[ids] >= 0
    np.add.at(counts, (rows[known], column[ids[known]]), 1.0)
    return counts


def random_features(names: list[np.ndarray], width: int, seed: int) -> np.ndarray:
    """Features that are as many as a model's units and know a name's tokens, but not the world.

    Each token of the vocabulary has a vector of independent standard normal numbers. A name's
    features are the mean of its tokens' vectors in the first half of the units, and the vector of
    its last token in the second.

    Parameters
    ----------
    names : list of n arrays of token ids
    width : int
        Units.
    seed : int
        A token's vector hangs on this and on its id alone.

    Returns
    -------
    ndarray of float32, shape (n, width)
    """
    ids, inverse = np.unique(np.concatenate(names), return_inverse=True)
    vectors = np.stack(
        [generator_of(seed, "token", int(i)).standard_normal(width, np.float32) for i in ids]
    )
    half = width - width // 2
    lengths = np.array([len(name) for name in names])
    ends = np.cumsum(lengths)
    means = np.add.reduceat(vectors[inverse, :half], ends - lengths, axis=0)
    return np.concatenate([means / lengths[:, None], vectors[inverse[ends - 1], half:]], axis=1)
