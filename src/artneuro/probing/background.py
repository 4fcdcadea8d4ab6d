"""Single tokens of other texts, as everything that a compound word must be told from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.probing.inputs import check_finite

# Characters before a token that are looked at: two words of the longest kind.
_LOOK_BACK = 130


@dataclass(frozen=True)
class Background:
    """Paths of another dataset of the same model: its store and rows, sequences and tokens."""

    store: Path
    rows: Path
    sequences: Path
    tokens: Path


@dataclass(frozen=True)
class Endings:
    """The single tokens of a background.

    Attributes
    ----------
    store : Path
        Where their activations are.
    rows : ndarray of int64
        Rows of that store.
    texts : Series of str
        What each token ends, in lower case, with single spaces.
    """

    store: Path
    rows: np.ndarray
    texts: pl.Series

    def without(self, first: str, second: str) -> np.ndarray:
        """Which of the tokens do not end these two words, a mask."""
        return ~self.texts.str.ends_with(f"{first} {second}").to_numpy()

    def read(self, site: str, layer: int) -> np.ndarray:
        """Activations of the tokens, (tokens, units).

        Raises
        ------
        StoreError
            If the store has no such site or layer, or a value is not finite.
        """
        activations = open_store(self.store).read(site, layer, self.rows)
        check_finite(activations, f"{self.store}, site {site}, layer {layer}")
        return activations


def read_endings(background: Background, groups: Collection[str]) -> Endings:
    """Find the single tokens of a background and the text that each ends.

    Parameters
    ----------
    background : Background
    groups : collection of str
        Groups of rows to leave out: those that neurons were chosen on.

    Raises
    ------
    DataError
        If no row of the background is a single token.
    """
    rows = read_table(background.rows, ["row", "sequence", "start", "end", "group"])
    rows = rows.filter(
        (pl.col("end") - pl.col("start") == 1) & ~pl.col("group").is_in(list(groups))
    )
    if rows.is_empty():
        raise DataError(
            "no row is a single token of a text that the neurons were not chosen on",
            where=f"probing.superposition.background, {background.rows}",
            fix="name a dataset that labels tokens, such as one of text features",
        )
    sequences = read_table(background.sequences, ["sequence", "char_start", "text"])
    ends = read_table(background.tokens, ["ends"]).select(pl.col("ends").cast(pl.List(pl.Int32)))
    ends = ends.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("sequence"))
    stop = pl.col("ends").list.get(pl.col("end") - 1) - pl.col("char_start")
    texts = (
        rows.join(sequences, on="sequence", maintain_order="left")
        .join(ends, on="sequence", maintain_order="left")
        .select(
            pl.col("text")
            .str.slice(0, stop.clip(0).cast(pl.UInt32))
            .str.tail(_LOOK_BACK)
            .str.replace_all(r"\s+", " ")
            .str.to_lowercase()
        )["text"]
    )
    if len(texts) != rows.height:
        raise DataError(
            "rows and sequences are of different versions of the dataset",
            where=f"{background.rows} against {background.sequences}",
            fix="run snakemake again: the activations are of another version of the dataset",
        )
    return Endings(background.store, rows["row"].to_numpy().astype(np.int64), texts)
