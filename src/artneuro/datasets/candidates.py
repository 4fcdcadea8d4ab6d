"""Which documents of a corpus may give sequences, and in which order they are tried."""

from __future__ import annotations

import logging

import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.config import CategoryCollection, DatasetConfig
from artneuro.datasets.seeding import hash_of

log = logging.getLogger(__name__)

CLASS_COLUMN = {
    "natural_language": "language",
    "code_language": "language",
    "data_subset": "subset",
}


def choose_candidates(
    config: DatasetConfig, documents: pl.DataFrame, where: str = ""
) -> pl.DataFrame:
    """Documents that may be cropped, in the order in which they are tried.

    Texts that occur more than once are kept once, or not at all if they occur in several classes.

    Returns
    -------
    polars.DataFrame
        Columns `document` and `class` ("" where the collection has none).
    """
    if documents.is_empty():
        raise DataError(
            "the corpus has no documents",
            where=where,
            fix="see the log of read_documents for the sources that it left out",
        )
    _check_unique(documents, where)
    collection = config.collection
    if isinstance(collection, CategoryCollection):
        documents = documents.with_columns(pl.col(CLASS_COLUMN[collection.kind]).alias("class"))
        documents = documents.filter(pl.col("class").is_not_null())
        documents = _keep_classes(documents, collection, where)
    else:
        documents = documents.with_columns(pl.lit("").alias("class"))
    # No token has less than a byte, and one is the document token: shorter ones cannot do.
    documents = documents.filter(pl.col("text").str.len_bytes() >= config.shortest - 1)
    kept = _drop_repeated_texts(documents)
    if len(kept) < len(documents):
        log.warning(
            "left out %d of %d documents whose text is that of another",
            len(documents) - len(kept),
            len(documents),
        )
    ranked = kept.select(
        "document",
        "class",
        "group",
        _ranks(config.seed, kept["document"]).alias("rank"),
        _ranks(config.seed, kept["group"]).alias("group_rank"),
    ).sort("rank", "document")
    return (
        ranked.with_columns(pl.int_range(pl.len()).over("class", "group").alias("turn"))
        .sort("class", "turn", "group_rank", "group")
        .select("document", "class")
    )


def _ranks(seed: int, names: pl.Series) -> pl.Series:
    ranks = {name: hash_of(seed, names.name, name) >> 64 for name in names.unique()}
    return pl.Series([ranks[name] for name in names], dtype=pl.UInt64)


def _check_unique(documents: pl.DataFrame, where: str) -> None:
    repeated = documents.filter(pl.col("document").is_duplicated())["document"].unique().sort()
    if len(repeated):
        raise DataError(
            f"{len(repeated)} documents occur more than once, such as {repeated[0]!r}",
            where=where,
            fix="give each document of the corpus a name of its own",
        )


def _keep_classes(
    documents: pl.DataFrame, collection: CategoryCollection, where: str
) -> pl.DataFrame:
    known = set(documents["class"].unique())
    unknown = [name for name in collection.classes if name not in known]
    if unknown and collection.missing_classes == "error":
        raise DataError(
            f"the corpus has no documents of: {', '.join(unknown)}; "
            f"it has: {', '.join(sorted(known)) or 'no classes at all'}",
            where=where,
            fix="change collection.classes of the dataset, or set missing_classes: leave_out",
        )
    for name in unknown:
        log.warning("class %s left out: the corpus has no documents of it", name)
    if collection.classes:
        documents = documents.filter(pl.col("class").is_in(collection.classes))
    return documents


def _drop_repeated_texts(documents: pl.DataFrame) -> pl.DataFrame:
    keyed = documents.with_columns(pl.col("text").str.strip_chars().alias("key"))
    several = pl.col("class").n_unique().over("key") > 1
    first = pl.col("document") == pl.col("document").min().over("key", "class")
    return keyed.filter(first & ~several).drop("key")
