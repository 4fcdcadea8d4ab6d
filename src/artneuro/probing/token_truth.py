"""The truth of a feature on every token of a text, not only on the labelled ones.

Labels are sampled: positives are taken more often than they occur. What share of a neuron's firing
a feature explains can only be counted in text as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.candidates import CLASS_COLUMN
from artneuro.datasets.config import DatasetConfig, Latex, TextFeatures
from artneuro.datasets.latex import NAMES as LATEX_NAMES
from artneuro.datasets.latex import token_states
from artneuro.datasets.latex_parser import parse_latex
from artneuro.datasets.linguistics import feature_tokens, feature_words, token_table, word_table
from artneuro.datasets.linguistics_config import Linguistics
from artneuro.datasets.text_features import NAMES, decided_table, feature_table
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.datasets.tokens import TokenDataset

UNKNOWN = -1
Truth = dict[tuple[str, str], np.ndarray]


def take_sequences(dataset: TokenDataset, chosen: np.ndarray) -> TokenDataset:
    """A token dataset of some sequences, which are numbered anew in their order."""
    return replace(
        dataset,
        tokens=dataset.tokens[chosen],
        starts=dataset.starts[chosen],
        ends=dataset.ends[chosen],
        sequences=dataset.sequences[chosen].with_columns(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("sequence")
        ),
    )


def token_truth(
    config: DatasetConfig,
    tokenizer: TextTokenizer,
    dataset: TokenDataset,
    labels: pl.DataFrame,
    features: Iterable[tuple[str, str]],
) -> Truth:
    """Whether each token of a dataset is in the class of each feature.

    Categories, plain-text features, LaTeX and linguistic features are known of all their tokens:
    a sequence's class is that of its tokens, and the others are labelled anew without sampling. Of
    other collections only what `labels` covers is known.

    Parameters
    ----------
    config : DatasetConfig
        Its `collection` says what the features are.
    tokenizer : TextTokenizer
        What the tokens are from.
    dataset : TokenDataset
        Of the chosen sequences.
    labels : DataFrame
        `collection`, `feature`, `sequence` (as in `dataset`), `start`, `end`, `label`.
    features : iterable of (collection, feature)

    Returns
    -------
    dict of (collection, feature) to ndarray of int8, shape (sequences, n_ctx)
        1 in the class, 0 out of it, -1 where that is not known: outside of the text too.

    Raises
    ------
    DataError
        If a feature is none of the collection's. A class that no sequence has is one without
        positives here: some sequences may have been chosen without it.
    """
    text = dataset.labelled(0) & ~np.isin(dataset.tokens, tokenizer.special)
    wanted = set(features)
    collection = config.collection
    if collection.kind in CLASS_COLUMN:
        found = _of_categories(dataset, text, CLASS_COLUMN[collection.kind], wanted)
    elif isinstance(collection, TextFeatures):
        found = _of_text(tokenizer, dataset, text, wanted)
    elif isinstance(collection, Latex):
        found = _of_latex(dataset, text, wanted)
    elif isinstance(collection, Linguistics):
        found = _of_words(collection, dataset, text, wanted)
    else:
        found = _of_labels(dataset, labels, wanted)
    missing = sorted(wanted - found.keys())
    if missing:
        raise DataError(
            f"the dataset has no feature {missing[0][1]!r} of {missing[0][0]}",
            where="the scores against the token dataset",
            fix="run snakemake again: the scores are of other labels",
        )
    return found


def is_known_everywhere(config: DatasetConfig) -> bool:
    """Whether `token_truth` knows the class of tokens that are not labelled."""
    collection = config.collection
    return collection.kind in CLASS_COLUMN or isinstance(
        collection, TextFeatures | Latex | Linguistics
    )


def _blank(text: np.ndarray) -> np.ndarray:
    return np.full(text.shape, UNKNOWN, dtype=np.int8)


def _of_categories(
    dataset: TokenDataset, text: np.ndarray, column: str, wanted: set[tuple[str, str]]
) -> Truth:
    classes = dataset.sequences[column]
    return {
        (collection, name): np.where(
            text, (classes == name).fill_null(False).to_numpy()[:, None], UNKNOWN
        ).astype(np.int8)
        for collection, name in wanted
    }


def _of_text(
    tokenizer: TextTokenizer,
    dataset: TokenDataset,
    text: np.ndarray,
    wanted: set[tuple[str, str]],
) -> Truth:
    strings = tokenizer.strings()
    ids, place = np.unique(dataset.tokens, return_inverse=True)
    decided = decided_table(tokenizer.whole(strings)[ids])
    states = np.where(decided, feature_table([strings[i] for i in ids]), UNKNOWN)
    return {
        (collection, name): np.where(
            text, states[place.reshape(text.shape), NAMES.index(name)], UNKNOWN
        ).astype(np.int8)
        for collection, name in wanted
        if name in NAMES
    }


def _of_latex(dataset: TokenDataset, text: np.ndarray, wanted: set[tuple[str, str]]) -> Truth:
    found = {feature: _blank(text) for feature in wanted if feature[1] in LATEX_NAMES}
    columns = dataset.sequences.select("sequence", "before", "text", "after")
    for row, before, crop, after in columns.iter_rows():
        whole, mine = before + crop + after, text[row]
        parsed = parse_latex(whole)
        starts, ends = dataset.starts[row][mine], dataset.ends[row][mine]
        for (_, name), state in found.items():
            state[row, mine] = token_states(parsed, name, whole, starts, ends)
    return found


def _of_words(
    settings: Linguistics, dataset: TokenDataset, text: np.ndarray, wanted: set[tuple[str, str]]
) -> Truth:
    words = word_table(dataset.sequences)
    tokens = token_table(dataset, words, settings.labelled_token, text)
    found = {}
    for collection, name, feature in feature_words(words):
        if (collection, name) in wanted:
            state = _blank(text)
            positive, negative = feature_tokens(feature, tokens, words)
            state[tokens.sequence[positive], tokens.position[positive]] = 1
            state[tokens.sequence[negative], tokens.position[negative]] = 0
            found[collection, name] = state
    return found


def _of_labels(dataset: TokenDataset, labels: pl.DataFrame, wanted: set[tuple[str, str]]) -> Truth:
    found = {}
    position = np.arange(dataset.tokens.shape[1])
    for key, part in labels.group_by(["collection", "feature"], maintain_order=True):
        feature = (str(key[0]), str(key[1]))
        if feature not in wanted:
            continue
        state = np.full(dataset.tokens.shape, UNKNOWN, dtype=np.int8)
        for label in (False, True):
            spans = part.filter(pl.col("label") == label)
            rows = spans["sequence"].to_numpy()
            covered = (position >= spans["start"].to_numpy()[:, None]) & (
                position < spans["end"].to_numpy()[:, None]
            )
            span, place = np.nonzero(covered)
            state[rows[span], place] = int(label)
        found[feature] = state
    return found
