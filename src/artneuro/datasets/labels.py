"""Label tables: which spans of which sequences are in or out of which feature.

Each kind of collection has a labeller, a function of the dataset that gives its examples. A further
kind is a config class in `config.Collection` and an entry in `LABELLERS`; a labeller that reads the
text has it in `TokenDataset.sequences` and each token's characters in `starts` and `ends`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.datasets.candidates import CLASS_COLUMN
from artneuro.datasets.compound_words import label_compound_words
from artneuro.datasets.config import CategoryCollection, DatasetConfig
from artneuro.datasets.latex import label_latex
from artneuro.datasets.linguistics import label_linguistics
from artneuro.datasets.people import label_people
from artneuro.datasets.people_config import CLASSES
from artneuro.datasets.text_features import label_text_features
from artneuro.datasets.tokenizer import TextTokenizer, check_ids, load_tokenizer
from artneuro.datasets.tokens import TokenDataset, read_token_dataset

log = logging.getLogger(__name__)

# Gives columns feature, sequence, start, end, label, and collection where a dataset has several.
Labeller = Callable[[DatasetConfig, TextTokenizer, TokenDataset], pl.DataFrame]
SCHEMA = {
    "collection": pl.String,
    "feature": pl.String,
    "sequence": pl.Int32,
    "start": pl.Int32,
    "end": pl.Int32,
    "label": pl.Boolean,
}


def label_category(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Label whole sequences with their class, one binary feature for each (section 2.4).

    The positives of a feature are the sequences of its class, its negatives those of all other
    classes. A label covers the tokens of a sequence from `skip_tokens` on.

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `start`, `end`, `label`; sequences times classes rows.
    """
    collection = config.collection
    assert isinstance(collection, CategoryCollection)
    spans = dataset.sequences.select(
        "sequence",
        pl.max_horizontal("n_prefix", pl.lit(collection.skip_tokens, dtype=pl.Int32)).alias(
            "start"
        ),
        pl.col("n_tokens").alias("end"),
        pl.col(CLASS_COLUMN[collection.kind]).alias("class"),
    )
    features = spans.select(pl.col("class").unique().sort().alias("feature"))
    return features.join(spans, how="cross").select(
        "feature", "sequence", "start", "end", (pl.col("class") == pl.col("feature")).alias("label")
    )


LABELLERS: dict[str, Labeller] = {
    "natural_language": label_category,
    "code_language": label_category,
    "data_subset": label_category,
    "text_features": label_text_features,
    "linguistics": label_linguistics,
    "compound_words": label_compound_words,
    "latex": label_latex,
    **dict.fromkeys(CLASSES, label_people),
}


def label_features(
    config: DatasetConfig,
    tokenizer: str | Path,
    tokens: str | Path,
    sequences: str | Path,
    labels: str | Path,
) -> None:
    """Label a token dataset with the features of its collection and write the table.

    Parameters
    ----------
    config : DatasetConfig
        Its `collection` says which features.
    tokenizer : path
        The local tokenizer folder that the tokens are from.
    tokens, sequences : path
        What `build_tokens` wrote.
    labels : path
        Table to write, see docs/architecture.md.

    Raises
    ------
    DataError
        If the tokens are not this tokenizer's, or a feature lacks a class in a split.
    """
    text_tokenizer = load_tokenizer(tokenizer, config.document_token)
    dataset = read_token_dataset(tokens, sequences)
    check_ids(dataset.tokens, text_tokenizer.n_ids, str(tokens))
    kind = config.collection.kind
    found = LABELLERS[kind](config, text_tokenizer, dataset)
    if "collection" not in found.columns:
        found = found.with_columns(pl.lit(kind).alias("collection"))
    table = found.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()).sort(
        "collection", "feature", "sequence", "start", "end"
    )
    check_labels(table, dataset, text_tokenizer.special)
    write_table(table, labels)
    log.info(
        "%d features, %d examples of %d spans, %.0f %% positive",
        table["feature"].n_unique(),
        len(table),
        table.select("sequence", "start", "end").n_unique(),
        100 * float(table["label"].to_numpy().mean()),
    )


def check_labels(
    labels: pl.DataFrame, dataset: TokenDataset, special: tuple[int, ...] = ()
) -> None:
    """Check that labels can be probed.

    Raises
    ------
    DataError
        If there are none, a span is empty or covers the prefix, padding or a special token, an
        example occurs twice, or a feature lacks positives or negatives in a split.
    """
    if labels.is_empty():
        raise DataError("there are no labels", fix="choose features that the corpus has")
    spans = labels.select("sequence", "start", "end").unique().sort("sequence", "start", "end")
    sequence, start, end = (spans[name].to_numpy() for name in spans.columns)
    text = dataset.labelled(0) & ~np.isin(dataset.tokens, special)
    covered = np.concatenate(
        [np.zeros((len(text), 1), dtype=np.int64), np.cumsum(text, axis=1)], axis=1
    )
    legal = (start < end) & (start >= 0) & (end <= text.shape[1])
    inside = (
        covered[sequence, np.clip(end, 0, text.shape[1])]
        - covered[sequence, np.clip(start, 0, text.shape[1])]
    )
    wrong = np.flatnonzero(~legal | (inside != end - start))
    if len(wrong):
        i = wrong[0]
        raise DataError(
            f"{len(wrong)} labelled spans are empty or cover a special token or padding",
            where=f"sequence {sequence[i]}, tokens {start[i]} to {end[i]}",
            fix="correct the collection's labeller",
        )
    if labels.select("feature", "sequence", "start", "end").is_duplicated().any():
        raise DataError(
            "an example of a feature occurs twice", fix="correct the collection's labeller"
        )
    splits = labels.join(dataset.sequences.select("sequence", "split"), on="sequence")
    counts = (
        splits.group_by("feature")
        .agg(
            ((pl.col("label") == label) & (pl.col("split") == split)).sum().alias(f"{split} {word}")
            for split in ("train", "test")
            for label, word in ((True, "positives"), (False, "negatives"))
        )
        .sort("feature")
    )
    for row in counts.iter_rows(named=True):
        lacking = [name for name, count in row.items() if name != "feature" and not count]
        if lacking:
            raise DataError(
                f"feature {row['feature']!r} has no {' and no '.join(lacking)}",
                fix="take more sequences, or leave the feature out",
            )
