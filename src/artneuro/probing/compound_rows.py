"""The rows of compound words: which are of the word, of its parts alone, and of anything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.datasets.compound_words import compound_kinds
from artneuro.probing.background import Background, Endings, read_endings
from artneuro.probing.data import Feature, load_features
from artneuro.probing.inputs import read_layer
from artneuro.probing.readout import ELSE, KINDS, XY


@dataclass(frozen=True)
class Words:
    """The compound words of a store.

    Attributes
    ----------
    store : Path
    features : dict of str to Feature
        By name.
    samples : dict of str to dict of str to ndarray
        Test rows of each word by kind (`rows_by_kind`).
    endings : list of Endings
        Tokens of other texts that count as "else" too.
    """

    store: Path
    features: dict[str, Feature]
    samples: dict[str, dict[str, np.ndarray]]
    endings: list[Endings]


def rows_by_kind(
    feature: Feature, rows: pl.DataFrame, kinds: pl.DataFrame
) -> dict[str, np.ndarray]:
    """Test rows of a compound word by kind.

    Parameters
    ----------
    feature : Feature
    rows : DataFrame
        The schema `rows`, in order.
    kinds : DataFrame
        What `compound_kinds` gives.

    Returns
    -------
    dict of str to ndarray of int64
        "XY", "XW" and "ZY": rows that are labelled for the word. "else": rows of other words.

    Raises
    ------
    DataError
        If the labels do not follow from the windows.
    """
    own = kinds.filter(pl.col("feature") == feature.name).select("sequence", "kind")
    joined = rows.join(own, on="sequence", how="left", maintain_order="left")
    kind = joined["kind"].fill_null(ELSE).to_numpy()
    use = (joined["split"] == "test").to_numpy() & (kind == ELSE)
    use[feature.test] = True
    found = {name: np.flatnonzero(use & (kind == name)) for name in KINDS}
    if not np.array_equal(found[XY], feature.test[feature.test_positive]):
        raise DataError(
            f"the windows labelled {feature.name!r} are not those that end with it",
            where="labels against sequences",
            fix="run snakemake again: labels and sequences are of different versions",
        )
    return found


def read_words(
    store: Path, rows: Path, labels: Path, sequences: Path, background: Sequence[Background]
) -> Words:
    """Read what the words of a store are.

    Parameters
    ----------
    store, rows, labels, sequences : path
        Of a dataset of compound words.
    background : sequence of Background
        Texts whose tokens count as "else", but for those of groups that are trained on.
    """
    features = {feature.name: feature for feature in load_features(rows, labels)}
    row_table = read_table(rows).sort("row")
    kinds = compound_kinds(read_table(sequences))
    trained_on = set(row_table.filter(pl.col("split") == "train")["group"])
    return Words(
        store,
        features,
        {name: rows_by_kind(feature, row_table, kinds) for name, feature in features.items()},
        [read_endings(one, trained_on) for one in background],
    )


def layers_of(
    words: Words, probes: pl.DataFrame
) -> Iterator[tuple[str, int, np.ndarray, list[dict[str, Any]]]]:
    """Site, layer and activations (rows, units) of each layer that probes are of, and those."""
    for (site, layer), part in probes.group_by(["site", "layer"], maintain_order=True):
        found = part.to_dicts()
        used = [words.features[probe["feature"]] for probe in found]
        at = int(str(layer))
        yield str(site), at, read_layer(words.store, str(site), at, used), found
