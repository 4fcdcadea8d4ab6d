"""Which tokens are compared, and in which blocks they are read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import DataError
from artneuro.datasets.tokens import TokenDataset


@dataclass(frozen=True)
class Batch:
    """Sequences of one forward pass.

    Attributes
    ----------
    sequences : ndarray of int
        Rows of the token array.
    width : int
        Tokens of each that are run: up to the last one that is wanted.
    wanted : ndarray of int
        Wanted tokens, as indices into the flattened (sequence, position) of the batch.
    """

    sequences: np.ndarray
    width: int
    wanted: np.ndarray


@dataclass(frozen=True)
class Block:
    """Batches whose tokens are multiplied together."""

    batches: tuple[Batch, ...]

    @property
    def n_rows(self) -> int:
        """Tokens of the block."""
        return sum(len(batch.wanted) for batch in self.batches)


def wanted_tokens(
    dataset: TokenDataset, strings: list[str], exclude: Collection[str]
) -> np.ndarray:
    """Tokens that are compared, (sequence, position) bool (appendix B.2.2): never padding.

    Parameters
    ----------
    dataset : TokenDataset
    strings : list of str
        The text of every id.
    exclude : collection of {"document_token", "newline"}
        The prefix of each sequence; tokens of nothing but line breaks.

    Raises
    ------
    DataError
        If fewer than two tokens are left.
    """
    position = np.arange(dataset.tokens.shape[1])
    first = dataset.sequences["n_prefix"].to_numpy() if "document_token" in exclude else 0
    wanted = (position >= np.reshape(first, (-1, 1))) & (
        position < dataset.sequences["n_tokens"].to_numpy()[:, None]
    )
    if "newline" in exclude:
        breaks = [i for i, text in enumerate(strings) if text and not text.strip("\r\n")]
        wanted &= ~np.isin(dataset.tokens, breaks)
    if wanted.sum() < 2:
        raise DataError(
            f"{wanted.sum()} tokens are left to compare activations on, which takes two or more",
            where="universality.exclude",
            fix="give a longer text, or leave out fewer tokens",
        )
    return wanted


def part_of(wanted: np.ndarray, part: int, n_parts: int) -> np.ndarray:
    """The tokens of one of several parts of consecutive sequences, the others set to False."""
    n = len(wanted)
    own = np.zeros_like(wanted)
    span = slice(part * n // n_parts, (part + 1) * n // n_parts)
    own[span] = wanted[span]
    return own


def plan_blocks(wanted: np.ndarray, block_tokens: int, batch_tokens: int) -> list[Block]:
    """Divide the wanted tokens into blocks of batches, in the order of the sequences.

    Parameters
    ----------
    wanted : ndarray of bool, shape (sequence, position)
    block_tokens : int
        Wanted tokens of a block at most, unless one sequence has more.
    batch_tokens : int
        Tokens of a forward pass at most, padding included, unless one sequence has more.
    """
    counts = wanted.sum(axis=1)
    widths = wanted.shape[1] - np.argmax(wanted[:, ::-1], axis=1)
    blocks: list[list[list[int]]] = []
    rows = width = 0
    for i in np.flatnonzero(counts):
        if not blocks or rows + counts[i] > block_tokens:
            blocks.append([[]])
            rows = width = 0
        width = max(width, widths[i])
        if blocks[-1][-1] and width * (len(blocks[-1][-1]) + 1) > batch_tokens:
            blocks[-1].append([])
            width = widths[i]
        blocks[-1][-1].append(int(i))
        rows += counts[i]
    return [Block(tuple(_batch(wanted, np.array(b)) for b in block)) for block in blocks]


def _batch(wanted: np.ndarray, sequences: np.ndarray) -> Batch:
    own = wanted[sequences]
    width = int(np.flatnonzero(own.any(axis=0))[-1]) + 1
    return Batch(sequences, width, np.flatnonzero(own[:, :width]))
