"""Probing tasks: for each feature its rows of the activation store, labels, split and groups."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError

SPAN = ["sequence", "start", "end"]


@dataclass(frozen=True)
class Feature:
    """A binary feature on the rows of an activation store.

    Attributes
    ----------
    collection, name : str
    train, test : ndarray of int64
        Rows of the store, ascending.
    train_positive, test_positive : ndarray of bool
        The label of each of them.
    train_groups, test_groups : ndarray of int64
        Which of the rows must not be parted (equal numbers: same document, page, ...).
    """

    collection: str
    name: str
    train: np.ndarray
    test: np.ndarray
    train_positive: np.ndarray
    test_positive: np.ndarray
    train_groups: np.ndarray
    test_groups: np.ndarray


def load_features(rows: str | Path, labels: str | Path) -> tuple[Feature, ...]:
    """The features of a label table, sorted by collection and name.

    Parameters
    ----------
    rows, labels : path
        Tables of the schemas `rows` and `labels`.

    Raises
    ------
    DataError
        If labels point at rows that do not exist, a span is labelled twice for one feature, or a
        feature has only one class in a split.
    """
    return _load_features(_version(rows), _version(labels))


def _version(path: str | Path) -> tuple[str, int, int]:
    stat = Path(path).stat()
    return str(path), stat.st_mtime_ns, stat.st_size


# A worker calls for the same tables once per layer; the time stamps keep a long-lived worker from
# seeing an older version of a file.
@functools.lru_cache(maxsize=2)
def _load_features(rows: tuple[str, int, int], labels: tuple[str, int, int]) -> tuple[Feature, ...]:
    rows_path, labels_path = rows[0], labels[0]
    row_table = read_table(rows_path, ["row", *SPAN, "group", "split"])
    label_table = read_table(labels_path, ["collection", "feature", *SPAN, "label"])
    if label_table.is_empty():
        raise DataError(
            "there are no labels to probe for",
            where=labels_path,
            fix="check that the dataset's features occur in its corpus",
        )
    joined = label_table.join(row_table, on=SPAN, how="left", maintain_order="left")
    lost = joined.filter(pl.col("row").is_null())
    if not lost.is_empty():
        first = lost.row(0, named=True)
        raise DataError(
            f"{lost.height} labels point at spans that have no row of activations, the first of "
            f"{first['feature']!r} at sequence {first['sequence']}, tokens {first['start']} to "
            f"{first['end']}",
            where=f"{labels_path} against {rows_path}",
            fix="rebuild the activations: the labels are of another version of the dataset",
        )
    joined = joined.sort(["collection", "feature", "row"])
    codes = joined["group"].rank("dense").cast(pl.Int64).to_numpy()
    joined = joined.with_columns(pl.Series("group", codes))
    return tuple(
        _feature(str(key[0]), str(key[1]), part, labels_path)
        for key, part in joined.group_by(["collection", "feature"], maintain_order=True)
    )


def _feature(collection: str, name: str, part: pl.DataFrame, where: str) -> Feature:
    index = part["row"].to_numpy().astype(np.int64)
    positive = part["label"].to_numpy().astype(np.bool_)
    groups = part["group"].to_numpy()
    split = part["split"].to_numpy()
    if np.any(index[1:] == index[:-1]):
        row = index[1:][index[1:] == index[:-1]][0]
        raise DataError(
            f"the feature {name!r} of {collection} labels the span of row {row} twice",
            where=where,
            fix="give each span one label for each feature",
        )
    train, test = split == "train", split == "test"
    for part_name, mask in (("train", train), ("test", test)):
        n_positive = int(positive[mask].sum())
        n_negative = int(mask.sum()) - n_positive
        if min(n_positive, n_negative) == 0:
            raise DataError(
                f"the feature {name!r} of {collection} has {n_positive} positive and {n_negative} "
                f"negative examples in the {part_name} split: a probe needs both classes",
                where=where,
                fix="take more documents for this dataset, or leave the feature out",
            )
    return Feature(
        collection=collection,
        name=name,
        train=index[train],
        test=index[test],
        train_positive=positive[train],
        test_positive=positive[test],
        train_groups=groups[train],
        test_groups=groups[test],
    )


def random_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the names only, not on the order of calls."""
    digest = hashlib.sha256("\0".join(str(name) for name in names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def shuffled_labels(feature: Feature, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels of `feature`, permuted within each split: the null that no neuron knows of it.

    Both splits are permuted. With true test labels a neuron that does tell the feature, chosen by
    chance under permuted training labels because it varies most, would score near 0 or near 1.
    Where every group of a split has a single label, and some group has several rows, whole groups
    change labels, because rows of a group resemble each other; else rows do.

    Returns
    -------
    train, test : ndarray of bool
        Each holds both classes.
    """
    generator = random_generator(seed, "shuffled_labels", feature.collection, feature.name)
    train = _permuted(feature.train_positive, feature.train_groups, generator)
    return train, _permuted(feature.test_positive, feature.test_groups, generator)


def _permuted(
    positive: np.ndarray, groups: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    of_group = positive[first]
    if first.size < code.size and np.array_equal(of_group[code], positive):
        return generator.permutation(of_group)[code]
    return generator.permutation(positive)
