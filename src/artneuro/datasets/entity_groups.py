"""Which entities belong together, and on which side of the split they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import EntitySplitConfig, GroupKey
from artneuro.datasets.entity_names import name_key
from artneuro.datasets.entity_table import TEST, TRAIN
from artneuro.datasets.seeding import hash_of

MOST_IN_ONE_GROUP = 0.5


def keys_of(frame: pl.DataFrame, columns: Sequence[GroupKey]) -> list[list[str]]:
    """What an entity shares with others: of each row the columns with their values."""
    keys: list[list[str]] = [[] for _ in range(frame.height)]
    for column in columns:
        for row, value in zip(keys, frame[column].to_list(), strict=True):
            text = name_key(value) if value and column in ("name", "creator") else value
            # A name without letters and digits is compared as it is.
            if text or value:
                row.append(f"{column}:{text or value}")
    return keys


def group_names(keys: Sequence[Sequence[str]]) -> list[str]:
    """The group of each row: rows that share a key, directly or through others, are one group.

    Parameters
    ----------
    keys : sequence of sequence of str
        Keys of each row, at least one.

    Returns
    -------
    list of str
        The least of the group's keys, so that the names of other groups do not depend on it.
    """
    number = {key: i for i, key in enumerate(sorted({key for row in keys for key in row}))}
    ordered = list(number)
    rows = np.repeat(np.arange(len(keys)), [len(row) for row in keys])
    columns = np.array([number[key] for row in keys for key in row], dtype=np.int64)
    n = len(keys)
    shape = (n + len(number), n + len(number))
    graph = coo_array((np.ones(len(rows)), (rows, n + columns)), shape=shape)
    _, label = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for key, component in zip(ordered, label[n:].tolist(), strict=True):
        first.setdefault(component, key)
    return [first[component] for component in label[:n].tolist()]


def with_split(frame: pl.DataFrame, split: EntitySplitConfig, where: str) -> pl.DataFrame:
    """The table with `group` and `split`.

    Raises
    ------
    DataError
        If a published split is asked for and a row has none, a side would have fewer than two
        rows, or half of the table is one group.
    """
    groups = group_names(
        [row or [f"row:{i}"] for i, row in enumerate(keys_of(frame, split.keep_together))]
    )
    if split.kind == "published":
        if frame["is_test"].null_count():
            raise DataError(
                "split.kind is published, but a part of the table has no column is_test",
                where,
                "choose `grouped`, or published tables alone",
            )
        is_test = frame["is_test"].to_numpy()
    else:
        largest = max(Counter(groups).values())
        if largest > MOST_IN_ONE_GROUP * frame.height:
            raise DataError(
                f"{largest} of {frame.height} entities are one group, which no split can part",
                where,
                "leave the column that joins them out of split.keep_together",
            )
        chosen = {name: in_test(name, split.test_share, split.seed) for name in set(groups)}
        is_test = np.array([chosen[name] for name in groups])
    for side, count in ((TEST, int(is_test.sum())), (TRAIN, int((~is_test).sum()))):
        if count < 2:
            raise DataError(
                f"{count} entities are in the split {side}", where, "take more entities"
            )
    return frame.with_columns(
        pl.Series("group", groups, dtype=pl.String),
        pl.Series("split", np.where(is_test, TEST, TRAIN).tolist(), dtype=pl.String),
    )


def in_test(group: str, test_share: float, seed: int) -> bool:
    """Whether a group is in the split test, by the hash of its name."""
    return hash_of(seed, "entity group", group) < test_share * 2.0**128
