"""The order of the work: batches of sequences of similar length, and parts of batches.

The plan is made before anything runs and depends on nothing but the rows and the settings, so an
interrupted dump that goes on computes every batch as an undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Widths are rounded up to this: kernels are faster, and fewer shapes occur. Names are so short that
# the padding would cost more: up to this width a batch has one width, once it has so many tokens.
WIDTH_MULTIPLE = 8
EXACT_WIDTH = 16
MIN_TOKENS = 512


@dataclass(frozen=True)
class Batch:
    """Sequences that run together.

    Attributes
    ----------
    sequences : ndarray of int
        Rows of the token array.
    width : int
        Tokens of each that are run: up to the end of the last span that is wanted.
    rows : ndarray of int
        Rows of the store that this batch gives.
    where : ndarray of int
        For each of them, its sequence as an index into `sequences`.
    """

    sequences: np.ndarray
    width: int
    rows: np.ndarray
    where: np.ndarray


@dataclass(frozen=True)
class Part:
    """Consecutive batches whose rows fill one half of the write buffer.

    Attributes
    ----------
    number : int
        Its place in the plan.
    batches : tuple of Batch
    rows : ndarray of int
        Rows of the store that it gives, in the order in which they are computed.
    """

    number: int
    batches: tuple[Batch, ...]
    rows: np.ndarray


def make_plan(
    sequence: np.ndarray,
    end: np.ndarray,
    n_ctx: int,
    batch_tokens: int,
    part_rows: int,
    shard_rows: int,
) -> list[Part]:
    """Divide the rows into batches and parts.

    Sequences are sorted by length, longest first, within windows that hold about the rows of
    one shard, so that a shard of the store is made of few parts.

    Parameters
    ----------
    sequence, end : ndarray of int, shape (n_rows,)
        Sequence and end position of each row, sorted by sequence.
    n_ctx : int
        Width of the token array: no batch is wider.
    batch_tokens : int
        Tokens of a batch, padding included.
    part_rows, shard_rows : int
        Rows of half a write buffer and of a shard.

    Returns
    -------
    list of Part
        Every row is in exactly one batch of one part.
    """
    ids, first, counts = np.unique(sequence, return_index=True, return_counts=True)
    length = np.maximum.reduceat(end, first)
    rounded = np.minimum(-(-length // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, n_ctx)
    width = np.where(length <= EXACT_WIDTH, length, rounded)
    order = np.lexsort((ids, -length, first // shard_rows))
    batches: list[list[int]] = []
    window = tokens = rows = -1
    for i in order:
        fits = (
            batches
            and window == first[i] // shard_rows
            and tokens + width[batches[-1][0]] <= batch_tokens
            and rows + counts[i] <= part_rows
            and (width[i] > EXACT_WIDTH or tokens < MIN_TOKENS or width[i] == width[batches[-1][0]])
        )
        if fits:
            batches[-1].append(int(i))
            tokens += width[batches[-1][0]]
            rows += counts[i]
        else:
            batches.append([int(i)])
            window, tokens, rows = first[i] // shard_rows, width[i], counts[i]
    made = [
        Batch(
            sequences=ids[batch],
            width=int(width[batch[0]]),
            rows=np.concatenate([np.arange(first[i], first[i] + counts[i]) for i in batch]),
            where=np.repeat(np.arange(len(batch)), counts[batch]),
        )
        for batch in batches
    ]
    return _in_parts(made, part_rows)


def share_plan(plan: Sequence[Part], jobs: int, part_rows: int) -> list[list[Part]]:
    """Divide a plan among jobs: each gets consecutive batches of about the same number of tokens.

    The batches stay as they are, so that each gives the same numbers whichever job runs it.

    Parameters
    ----------
    plan : sequence of Part
        The whole work.
    jobs : int
        Shares to make. Where there are fewer batches, some are empty.
    part_rows : int
        Rows of half a write buffer, as for `make_plan`.

    Returns
    -------
    list of list of Part
        The parts of each share; their numbers go on from one share to the next.
    """
    batches = [batch for part in plan for batch in part.batches]
    tokens = np.array([len(b.sequences) * b.width for b in batches])
    middle = np.cumsum(tokens) - tokens / 2
    owner = np.minimum((middle * jobs / tokens.sum()).astype(int), jobs - 1)
    shares: list[list[Part]] = []
    n_parts = 0
    for job in range(jobs):
        own = [batch for batch, of in zip(batches, owner, strict=True) if of == job]
        shares.append(_in_parts(own, part_rows, n_parts))
        n_parts += len(shares[-1])
    return shares


def _in_parts(batches: Sequence[Batch], part_rows: int, first: int = 0) -> list[Part]:
    """Consecutive batches as parts of at most `part_rows` rows, or one batch."""
    parts: list[list[Batch]] = []
    filled = 0
    for batch in batches:
        if parts and filled + len(batch.rows) <= part_rows:
            parts[-1].append(batch)
            filled += len(batch.rows)
        else:
            parts.append([batch])
            filled = len(batch.rows)
    return [
        Part(number, tuple(part), np.concatenate([b.rows for b in part]))
        for number, part in enumerate(parts, first)
    ]
