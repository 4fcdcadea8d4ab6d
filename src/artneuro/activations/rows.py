"""Which spans of which sequences become rows of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError


def read_tokens(path: str | Path) -> np.ndarray:
    """Read `tokens.parquet` as an int32 array of shape (sequence, position).

    Raises
    ------
    DataError
        If the rows differ in length.
    """
    frame = read_table(path, columns=["tokens"])
    values = frame["tokens"].explode(empty_as_null=True).to_numpy()
    width = len(values) // max(frame.height, 1)
    if width * frame.height != len(values):
        raise DataError(
            "the sequences differ in length",
            where=str(path),
            fix="rebuild the token dataset: tokens must be a fixed-size list",
        )
    return values.astype(np.int32, copy=False).reshape(frame.height, width)


def build_rows(labels: pl.DataFrame, sequences: pl.DataFrame, tokens: np.ndarray) -> pl.DataFrame:
    """The distinct spans of the labels, sorted by (sequence, start, end).

    Parameters
    ----------
    labels : DataFrame
        Columns `sequence`, `start`, `end` (token positions, half-open); further ones are ignored.
    sequences : DataFrame
        Columns `sequence` (the row number in `tokens`), `n_tokens`, `group`, `split`.
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids.

    Returns
    -------
    DataFrame
        `row`, `sequence`, `start`, `end` (int32), `group`, `split` (str), `token` (int32, the id
        of the span's last token).

    Raises
    ------
    DataError
        If there is no label, or a span is empty or not within the tokens of its sequence.
    """
    spans = (
        labels.select(pl.col("sequence", "start", "end").cast(pl.Int32))
        .unique()
        .sort("sequence", "start", "end")
    )
    if spans.is_empty():
        raise DataError(
            "there are no labels, so there are no rows to dump",
            fix="check that the dataset's feature collections found something in its text",
        )
    known = sequences.select("sequence", "n_tokens", "group", "split")
    rows = spans.join(
        known.with_columns(pl.col("sequence").cast(pl.Int32)),
        on="sequence",
        how="left",
        maintain_order="left",
    )
    wrong = rows.filter(
        pl.col("n_tokens").is_null()
        | (pl.col("start") < 0)
        | (pl.col("start") >= pl.col("end"))
        | (pl.col("end") > pl.col("n_tokens"))
        | (pl.col("end") > tokens.shape[1])
        | (pl.col("sequence") >= tokens.shape[0])
    )
    if not wrong.is_empty():
        sequence, start, end = wrong.row(0)[:3]
        raise DataError(
            f"{wrong.height} labelled spans are empty or outside of their sequence's tokens",
            where=f"sequence {sequence}, tokens {start} to {end}",
            fix="rebuild the dataset's tokens, sequences and labels together",
        )
    token = tokens[rows["sequence"].to_numpy(), rows["end"].to_numpy() - 1]
    return rows.select(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("row"),
        "sequence",
        "start",
        "end",
        "group",
        "split",
        pl.Series("token", token, dtype=pl.Int32),
    )
