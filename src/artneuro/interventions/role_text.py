"""The sequences and positions on which functional roles are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from artneuro.activations.rows import read_tokens
from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.models.info import ModelShape
from artneuro.probing.data import random_generator


def draw_text(
    tokens: Path, sequences: Path, shape: ModelShape, n_sequences: int, n_ctx: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of a text, cut to one length.

    Parameters
    ----------
    tokens, sequences : Path
        Tables of a text.
    shape : ModelShape
        Of the model that is to read them.
    n_sequences : int
        Sequences to draw; all that are long enough, if they are fewer.
    n_ctx : int
        Tokens that are kept of each; shorter sequences are not drawn.
    seed : int

    Returns
    -------
    ids : ndarray of int64, shape (n, n_ctx)
    sequence : ndarray of int, shape (n,)
        Their rows in the text, ascending.

    Raises
    ------
    DataError
        If fewer than two sequences are long enough, or tokens are not of the model's vocabulary.
    """
    ids = read_tokens(tokens)
    length = read_table(sequences, ["n_tokens"])["n_tokens"].to_numpy()
    enough = np.flatnonzero(length >= n_ctx)
    if len(enough) < 2 or n_ctx > shape.n_ctx:
        raise DataError(
            f"{len(enough)} sequences have {n_ctx} tokens or more, and the model reads "
            f"{shape.n_ctx} at most",
            where=str(tokens),
            fix="lower n_ctx of this part of the config, or raise that of the text",
        )
    drawn = random_generator(seed, "sequences").permutation(enough)[:n_sequences]
    drawn.sort()
    chosen = ids[drawn, :n_ctx].astype(np.int64)
    if chosen.min() < 0 or chosen.max() >= shape.vocab:
        raise DataError(
            f"the text has the token {chosen.max()}, but the vocabulary has {shape.vocab}",
            where=str(tokens),
            fix="rebuild the text with this model's tokenizer",
        )
    return chosen, drawn


def draw_positions(
    sequence: np.ndarray, first: int, end: int, per_sequence: int, seed: int
) -> np.ndarray:
    """Positions of each sequence, ascending: int, shape (n, m) with m = min(per_sequence, room).

    What is drawn in a sequence depends on its row and the seed alone.

    Raises
    ------
    DataError
        If there is no position from `first` to before `end`.
    """
    if first >= end:
        raise DataError(
            f"no position lies from {first} to before {end}",
            fix="let skip or min_position be below n_ctx",
        )
    most = min(per_sequence, end - first)
    return np.stack(
        [
            np.sort(random_generator(seed, "positions", int(s)).permutation(end - first)[:most])
            + first
            for s in sequence
        ]
    )
