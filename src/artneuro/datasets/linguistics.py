"""Linguistic features of tokens (A.2.2, table A.3): parts of speech, dependencies, morphology.

All are read off the words that came with the documents (`words`), brought to tokens by `alignment`.
A token that has characters of several words is an example of a feature only where all of them agree
on it; for the ends of sentences its last word decides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.alignment import align
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.linguistics_config import FEATURES, Linguistics
from artneuro.datasets.seeding import generator_of
from artneuro.datasets.text_features import sample_examples
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.datasets.tokens import TokenDataset
from artneuro.datasets.words import WORDS_COLUMN

log = logging.getLogger(__name__)

# Negatives of a feature `attribute_value` are words with another value of the attribute, such as
# singulars for plurals, but for these. Few words have another number type, and active verbs have
# no voice in English treebanks.
AGAINST_ALL = ("NumType_Card",)
AGAINST_VERBS = ("Voice_Pass",)


@dataclass(frozen=True)
class WordTable:
    """The words of all sequences, in order.

    Attributes
    ----------
    sequence, start, end : (n_words,) int
        Row of the sequence, and characters [start, end) in the document's text.
    upos, deprel, feats : (n_words,) object
        Strings, or None where unknown.
    sentence_end, cut : (n_words,) bool
        Whether the word ends its sentence, and whether the sequence has only a part of it.
    """

    sequence: np.ndarray
    start: np.ndarray
    end: np.ndarray
    upos: np.ndarray
    deprel: np.ndarray
    feats: np.ndarray
    sentence_end: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True)
class TokenTable:
    """Tokens that stand for words.

    Attributes
    ----------
    sequence, position : (n_tokens,) int64
        Where the token is.
    first, stop : (n_tokens,) int64
        The rows [first, stop) of the table of words that it has characters of; one at least.
    """

    sequence: np.ndarray
    position: np.ndarray
    first: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True)
class FeatureWords:
    """Words with and without a feature; those in neither array are no examples of it.

    Attributes
    ----------
    positive, negative : (n_words,) bool
        Never both.
    of_last : bool
        Whether the last word of a token decides, rather than all of its words together.
    """

    positive: np.ndarray
    negative: np.ndarray
    of_last: bool = False


def word_table(sequences: pl.DataFrame) -> WordTable:
    """Flatten the column `words` of the table of sequences.

    Raises
    ------
    DataError
        If no sequence has annotations.
    """
    if WORDS_COLUMN not in sequences.columns or sequences[WORDS_COLUMN].null_count() == len(
        sequences
    ):
        raise DataError(
            "the documents of this dataset have no annotated words",
            fix="read a treebank (reader: conllu), or set annotate_with of the corpus' parts",
        )
    flat = (
        sequences.select("sequence", "char_start", "char_end", WORDS_COLUMN)
        .explode(WORDS_COLUMN)
        .drop_nulls(WORDS_COLUMN)
        .unnest(WORDS_COLUMN)
    )
    start, end = flat["start"].to_numpy(), flat["end"].to_numpy()
    cut = (start < flat["char_start"].to_numpy()) | (end > flat["char_end"].to_numpy())
    upos, deprel, feats = (
        np.array(flat[name].to_list(), dtype=object) for name in ("upos", "deprel", "feats")
    )
    ends = flat["sentence_end"].to_numpy()
    return WordTable(flat["sequence"].to_numpy(), start, end, upos, deprel, feats, ends, cut)


def token_table(
    dataset: TokenDataset, words: WordTable, labelled_token: str, may: np.ndarray
) -> TokenTable:
    """Find the tokens that stand for words.

    Parameters
    ----------
    dataset : TokenDataset
        Tokens with their characters.
    words : WordTable
        From the same dataset.
    labelled_token : {"first", "last", "all"}
        See `alignment.align`.
    may : (n_sequences, n_ctx) bool
        Tokens that may be taken.
    """
    n = len(dataset.tokens)
    edges = np.searchsorted(words.sequence, np.arange(n + 1))
    text = dataset.labelled(0)
    parts = []
    for row in range(n):
        position = np.flatnonzero(text[row])
        own = slice(edges[row], edges[row + 1])
        found = align(
            dataset.starts[row, position],
            dataset.ends[row, position],
            words.start[own],
            words.end[own],
            labelled_token,  # type: ignore[arg-type]
        )
        kept = found.chosen & may[row, position]
        parts.append(
            np.stack(
                [
                    np.full(kept.sum(), row),
                    position[kept],
                    found.first[kept] + edges[row],
                    found.stop[kept] + edges[row],
                ]
            )
        )
    return TokenTable(*np.concatenate(parts, axis=1).astype(np.int64))


def feature_words(words: WordTable) -> Iterator[tuple[str, str, FeatureWords]]:
    """The words with and without each feature: collection, name, words (table A.3).

    A part of speech and a dependency are set against all words whose own is known. A relation's
    subtype that is no feature itself, such as obl:unmarked for obl, is neither in nor out of it.
    Morphological features are set against words of their class: those with another value of the
    attribute (singular for plural), or verbs for the passive voice. The first end of a sentence in
    a sequence is set against the further ones.
    """
    known = np.array([value is not None for value in words.upos], dtype=bool)
    for name in FEATURES["part_of_speech"]:
        has = words.upos == ("PUNCT" if name == "PUNC" else name)
        yield "part_of_speech", name, FeatureWords(has, known & ~has)
    known = np.array([value is not None for value in words.deprel], dtype=bool)
    base = np.array([(value or "").partition(":")[0] for value in words.deprel], dtype=object)
    other = ~np.isin(words.deprel.astype(str), FEATURES["dependencies"])
    for name in FEATURES["dependencies"]:
        has = words.deprel == name
        yield "dependencies", name, FeatureWords(has, known & ~has & ~((base == name) & other))
    values = _attribute_values(words.feats)
    for name in FEATURES["morphology"]:
        if name.endswith("eos_True"):
            yield "morphology", name, _sentence_ends(words, first_only=name.startswith("first"))
            continue
        attribute, value = name.split("_")
        has = np.array([value in found.get(attribute, ()) for found in values], dtype=bool)
        if name in AGAINST_VERBS:
            against = (words.upos == "VERB") & np.array([v is not None for v in words.feats])
        elif name in AGAINST_ALL:
            against = np.array([v is not None for v in words.feats], dtype=bool)
        else:
            against = np.array([attribute in found for found in values], dtype=bool)
        yield "morphology", name, FeatureWords(has, against & ~has)


def _attribute_values(feats: np.ndarray) -> list[Mapping[str, tuple[str, ...]]]:
    """Attributes and their values of each word: `PronType=Int,Rel` has two of one."""
    parsed: dict[str | None, Mapping[str, tuple[str, ...]]] = {}
    for text in set(feats.tolist()):
        pairs = (item.split("=", 1) for item in (text or "").split("|") if "=" in item)
        parsed[text] = {name: tuple(value.split(",")) for name, value in pairs}
    return [parsed[text] for text in feats]


def _sentence_ends(words: WordTable, first_only: bool) -> FeatureWords:
    ends = words.sentence_end.astype(bool)
    if not first_only:
        return FeatureWords(ends, ~ends, of_last=True)
    rows = np.flatnonzero(ends)
    _, earliest = np.unique(words.sequence[rows], return_index=True)
    first = np.zeros(len(ends), dtype=bool)
    first[rows[earliest]] = True
    return FeatureWords(first, ends & ~first, of_last=True)


def feature_tokens(
    feature: FeatureWords, tokens: TokenTable, words: WordTable
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are positives and which negatives of a feature, each (n_tokens,) bool.

    Tokens with a part of a word that the sequence cuts are neither.
    """
    first = tokens.stop - 1 if feature.of_last else tokens.first
    size = tokens.stop - first
    whole = ~_any_within(words.cut, tokens.first, tokens.stop)
    positive = _count_within(feature.positive, first, tokens.stop) == size
    negative = _count_within(feature.negative, first, tokens.stop) == size
    return positive & whole, negative & whole


def _count_within(mask: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0], np.cumsum(mask)])
    return total[stop] - total[first]


def _any_within(mask: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    return _count_within(mask, first, stop) > 0


def label_linguistics(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Sample tokens with and without each linguistic feature (A.2.2).

    In each split a feature has `positive_share` positives. All features take the tokens that come
    first in one random order, so that they share most of them.

    Returns
    -------
    polars.DataFrame
        Columns `collection`, `feature`, `sequence`, `start`, `end`, `label`.

    Raises
    ------
    DataError
        If the documents have no annotations, or no feature has enough examples.
    """
    settings = config.collection
    assert isinstance(settings, Linguistics)
    words = word_table(dataset.sequences)
    may = dataset.labelled(settings.skip_tokens) & ~np.isin(dataset.tokens, tokenizer.special)
    tokens = token_table(dataset, words, settings.labelled_token, may)
    is_test = (dataset.sequences["split"] == "test").to_numpy()[tokens.sequence]
    priority = generator_of(config.seed, "linguistics").random(len(is_test))
    parts = []
    for collection, name, feature in feature_words(words):
        if collection not in settings.collections or (
            settings.features and name not in settings.features
        ):
            continue
        positive, negative = feature_tokens(feature, tokens, words)
        chosen = _sample(settings, positive, negative, is_test, priority, f"{collection}: {name}")
        if chosen is None:
            continue
        parts.append(
            pl.DataFrame(
                {
                    "sequence": tokens.sequence[chosen].astype(np.int32),
                    "start": tokens.position[chosen].astype(np.int32),
                    "end": (tokens.position[chosen] + 1).astype(np.int32),
                    "label": positive[chosen],
                }
            ).select(
                pl.lit(collection).alias("collection"), pl.lit(name).alias("feature"), pl.all()
            )
        )
    if not parts:
        raise DataError(
            f"none of the linguistic features has {settings.min_positives} positives and as many "
            f"negatives in both splits, among {len(is_test)} tokens",
            fix="raise max_sequences or n_ctx, lower min_positives, or check the annotations",
        )
    return pl.concat(parts)


def _sample(
    settings: Linguistics,
    positive: np.ndarray,
    negative: np.ndarray,
    is_test: np.ndarray,
    priority: np.ndarray,
    name: str,
) -> np.ndarray | None:
    """Examples of a feature, or None, said in the log, where there are too few."""
    examples = []
    for split, side in (("train", ~is_test), ("test", is_test)):
        most = int(settings.max_samples_per_feature * side.mean() + 0.5)
        candidate = (positive | negative) & side
        found = sample_examples(positive, candidate, priority, most, settings.positive_share)
        n_yes = int(positive[found].sum())
        if min(n_yes, len(found) - n_yes) < settings.min_positives:
            log.warning(
                "left out %s: the %s split has %d tokens with it and %d to set against them, of "
                "which %d and %d could be taken; %d of each are needed",
                name, split, (positive & side).sum(), (negative & side).sum(), n_yes,
                len(found) - n_yes, settings.min_positives,
            )  # fmt: skip
            return None
        examples.append(found)
    return np.sort(np.concatenate(examples))
