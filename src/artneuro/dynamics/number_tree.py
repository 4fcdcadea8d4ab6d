"""The tree of all tokens that spell a number, and the distribution over numbers that it gives.

A model says how likely each next token is. Along a path of the tree these probabilities multiply,
so that the distribution over all numbers of a format is exact, whatever the tokenizer: with one
token for three digits the tree has one level, with one token a digit it has three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from artneuro.core.errors import DataError


@dataclass(frozen=True)
class NumberTree:
    """Nodes of a tree of tokens; the root, node 0, is what stands before the number.

    Attributes
    ----------
    tokens : ndarray of int64, shape (node,)
        The token that leads to each node; -1 for the root.
    parents : ndarray of int64, shape (node,)
        Before their children; -1 for the root.
    depths : ndarray of int64, shape (node,)
        Tokens from the root.
    numbers : ndarray of int64, shape (node,)
        The number that a leaf spells; -1 within the tree.
    count : int
        How many numbers there are.
    """

    tokens: np.ndarray
    parents: np.ndarray
    depths: np.ndarray
    numbers: np.ndarray
    count: int

    @cached_property
    def inner(self) -> np.ndarray:
        """Nodes with children, the root first: the model is asked what follows each."""
        return np.flatnonzero(self.numbers < 0)

    def distribution(self, conditionals: np.ndarray) -> np.ndarray:
        """Probability of each number.

        Parameters
        ----------
        conditionals : ndarray of shape (..., node)
            Logarithm of the probability of each node's token after its parent; the root's is not
            read.

        Returns
        -------
        ndarray of shape (..., count)
            The sum is the probability that what follows is spelled like one of the numbers; what
            follows its last digit is not asked.
        """
        logs = np.array(conditionals, dtype=np.float64)
        logs[..., 0] = 0.0
        for depth in range(2, int(self.depths.max()) + 1):
            here = np.flatnonzero(self.depths == depth)
            logs[..., here] += logs[..., self.parents[here]]
        leaves = np.flatnonzero(self.numbers >= 0)
        found = np.zeros((*logs.shape[:-1], self.count))
        # Leaves of the same number add up.
        np.add.at(found.T, self.numbers[leaves], np.exp(logs[..., leaves]).T)
        return found


def build_tree(spellings: Sequence[Sequence[tuple[int, ...]]]) -> NumberTree:
    """The tree of all spellings of all numbers.

    Parameters
    ----------
    spellings : sequence of sequences of tuple of int
        For each number its spellings as tokens: from `canonical_spellings` or `all_spellings`.

    Raises
    ------
    DataError
        If a number cannot be spelled, or a spelling begins with another.
    """
    tokens, parents, depths, numbers = [-1], [-1], [0], [-1]
    children: dict[tuple[int, int], int] = {}
    paths = [(path, code) for code, ways in enumerate(spellings) for path in ways]
    missing = [code for code, ways in enumerate(spellings) if not ways]
    if missing:
        raise DataError(
            f"the tokenizer has no tokens that spell the number of digits {missing[0]}",
            fix="choose another prefix, or spellings: canonical",
        )
    # Level by level, so that parents come before children.
    at = [0] * len(paths)
    for level in range(max(len(path) for path, _ in paths)):
        for i, (path, code) in enumerate(paths):
            if level >= len(path):
                continue
            key, last = (at[i], path[level]), level + 1 == len(path)
            if key not in children:
                children[key] = len(tokens)
                tokens.append(path[level])
                parents.append(at[i])
                depths.append(level + 1)
                numbers.append(code if last else -1)
            elif last or numbers[children[key]] >= 0:
                raise DataError(
                    f"a spelling of the number of digits {code} begins another",
                    fix="give spellings of which none begins another",
                )
            at[i] = children[key]
    as_array = [np.array(column, dtype=np.int64) for column in (tokens, parents, depths, numbers)]
    return NumberTree(as_array[0], as_array[1], as_array[2], as_array[3], len(spellings))


@dataclass(frozen=True)
class Forecast:
    """What a distribution over numbers says.

    Attributes
    ----------
    mass : ndarray of shape (n,)
        Probability of the format: that what follows is spelled like one of the numbers.
    mean, median, std : ndarray of shape (n,)
        Of the distribution within the format, in the units of `values`.
    """

    mass: np.ndarray
    mean: np.ndarray
    median: np.ndarray
    std: np.ndarray


def summarise(probabilities: np.ndarray, values: np.ndarray) -> Forecast:
    """Mean, median and standard deviation of distributions over numbers.

    Parameters
    ----------
    probabilities : ndarray of shape (n, count)
        From `NumberTree.distribution`.
    values : ndarray of shape (count,)
        The value of each number, ascending.
    """
    mass = probabilities.sum(axis=1)
    shares = probabilities / mass[:, None]
    mean = shares @ values
    # Centred first: the difference of two moments would cancel.
    spread = np.square(values[None, :] - mean[:, None])
    median = values[(np.cumsum(shares, axis=1) >= 0.5).argmax(axis=1)]
    return Forecast(mass, mean, median, np.sqrt((shares * spread).sum(axis=1)))
