"""What a model sees at which step of its training: a function of the recipe's seed alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError


@dataclass(frozen=True)
class TrainingText:
    """Sequences to train on and held-out ones; each begins with the document token.

    Attributes
    ----------
    train, held_out : (n_sequences, n_ctx + 1) int32
        Inputs are all but the last token, targets all but the first. Documents follow each other
        with a document token before each, and sequences are cut from that without overlap.
    """

    train: np.ndarray
    held_out: np.ndarray


def read_training_text(
    path: str | Path, n_ctx: int, held_out_sequences: int, document_token: int
) -> TrainingText:
    """Cut the tokens that `tokenize_documents` wrote into sequences.

    Parameters
    ----------
    path : path
        Table with `held_out` and `tokens` of each document.
    n_ctx : int
        Tokens that the model reads at a time.
    held_out_sequences : int
        Held-out sequences to take, evenly spread over all of them; fewer where there are fewer.
    document_token : int
        Id of the token before each document.

    Raises
    ------
    DataError
        If there is not one sequence to train on, or none that is held out.
    """
    table = read_table(path, columns=["held_out", "tokens"])
    parts = []
    for held in (False, True):
        stream = _stream(table.filter(pl.col("held_out") == held)["tokens"], document_token)
        n = len(stream) // n_ctx
        if n == 0:
            raise DataError(
                f"the {'held-out' if held else 'training'} documents have {len(stream)} tokens, "
                f"fewer than one sequence of {n_ctx}",
                where=str(path),
                fix="read more documents, or change held_out or n_ctx of the recipe",
            )
        first = np.full((n, 1), document_token, dtype=np.int32)
        parts.append(np.hstack([first, stream[: n * n_ctx].reshape(n, n_ctx)]))
    train, held_out = parts
    chosen = np.linspace(0, len(held_out) - 1, min(held_out_sequences, len(held_out)))
    return TrainingText(train, held_out[np.round(chosen).astype(int)])


def _stream(tokens: pl.Series, document_token: int) -> np.ndarray:
    """Documents one after the other, the document token before each, (n,) int32."""
    sizes = tokens.list.len().to_numpy().astype(np.int64)
    stream = np.empty(int(sizes.sum()) + len(sizes), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]]) if len(sizes) else sizes
    stream[starts] = document_token
    inside = np.ones(len(stream), dtype=bool)
    inside[starts] = False
    stream[inside] = tokens.explode(empty_as_null=False).to_numpy()
    return stream


def batch_at(step: int, batch: int, n_sequences: int, seed: int) -> np.ndarray:
    """Which sequences a step learns from, (batch,) int.

    Every epoch has all sequences in a random order of its own; a batch may end one epoch and begin
    the next.
    """
    place = np.arange(step * batch, (step + 1) * batch)
    epochs, within = np.divmod(place, n_sequences)
    chosen = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        chosen[here] = _order(int(epoch), n_sequences, seed)[within[here]]
    return chosen


@functools.lru_cache(maxsize=2)
def _order(epoch: int, n_sequences: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n_sequences)


def unigram_losses(text: TrainingText, vocabulary: int) -> tuple[float, float]:
    """What the held-out targets cost without any context, in nats a token.

    Returns
    -------
    entropy : float
        Of the held-out targets themselves: no unigram model can do better, even in hindsight.
    cross_entropy : float
        Of a unigram model with the frequencies of all training tokens, one added to each count.
    """
    counts = np.bincount(text.held_out[:, 1:].ravel(), minlength=vocabulary).astype(float)
    share = counts / counts.sum()
    seen = np.bincount(text.train[:, 1:].ravel(), minlength=vocabulary) + 1.0
    log_q = np.log(seen / seen.sum())
    used = share > 0
    entropy = -float(np.sum(share[used] * np.log(share[used])))
    return entropy, -float(share @ log_q)


def pieces(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
