"""Compound words: windows that end with XY, against X with another word and another word with Y.

A word is a run of letters; what is joined to more by a digit, underscore, hyphen or apostrophe is
none. A pair is two words with one space between them. Case does not matter. See A.2.2 and 2.5.1.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.config import CompoundWords, DatasetConfig
from artneuro.datasets.seeding import hash_of
from artneuro.datasets.windows import Target, Window, WindowSource, in_random_order

if TYPE_CHECKING:
    from artneuro.datasets.tokenizer import TextTokenizer
    from artneuro.datasets.tokens import TokenDataset

log = logging.getLogger(__name__)

Pair = tuple[str, str]
# The kinds of examples of a pair XY, and how many there are of each for one positive.
KINDS = {"XY": 1, "XW": 2, "ZY": 2}
_LETTERS = r"([^\W\d_]+)"
_BEFORE = r"(?<!\w)(?<!\w['’\-])"  # where a word may begin
_AFTER = r"(?!\w|['’\-]\w)"  # where one may end
_PAIR = re.compile(rf"{_BEFORE}{_LETTERS}[ ](?={_LETTERS}{_AFTER})")
_NEXT = re.compile(rf"[ ]{_LETTERS}{_AFTER}")
_PREVIOUS = re.compile(rf"{_BEFORE}{_LETTERS}[ ]\Z")
# Characters to look back for the previous word; longer runs of letters are no words.
LONGEST_WORD = 64


@dataclass(frozen=True)
class PairCounts:
    """How often words occur in pairs.

    Attributes
    ----------
    pairs : Counter
        Occurrences of each pair.
    first, second : Counter
        Pairs that each word is the first or second word of.
    """

    pairs: Counter[Pair]
    first: Counter[str]
    second: Counter[str]

    def conditionals(self, pair: Pair) -> tuple[float, float]:
        """P(second word | first word) and P(first word | second word); 0 for an unknown pair."""
        count = self.pairs[pair]
        if not count:
            return 0.0, 0.0
        return count / self.first[pair[0]], count / self.second[pair[1]]


def lowered(text: str) -> str:
    """The text in lower case, character for character."""
    # The one character whose lower case is two characters.
    return text.replace("İ", "I").lower()


def find_pairs(text: str, words: Collection[str]) -> Iterator[tuple[str, str, int, int]]:
    """Find the pairs in a text that have one of some words in them.

    Yields
    ------
    first, second, start, stop
        The words in lower case, and the characters [start, stop) of the second one.
    """
    text = lowered(text)
    for match in _any_of(frozenset(words)).finditer(text):
        start, stop = match.span()
        follows = _NEXT.match(text, stop)
        if follows:
            yield match[0], follows[1], *follows.span(1)
        precedes = _PREVIOUS.search(text[max(0, start - LONGEST_WORD) : start])
        if precedes and precedes[1] not in words:
            yield precedes[1], match[0], start, stop


@cache
def _any_of(words: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"{_BEFORE}(?:{'|'.join(map(re.escape, sorted(words)))}){_AFTER}")


def count_pairs(texts: Iterable[str], words: Collection[str] = ()) -> PairCounts:
    """Count the pairs of words in texts.

    Parameters
    ----------
    texts : iterable of str
        The texts.
    words : collection of str
        Count only pairs with one of these words in them, which is faster. None: count all.
    """
    pairs: Counter[Pair] = Counter()
    for text in texts:
        if words:
            pairs.update(found[:2] for found in find_pairs(text, words))
        else:
            pairs.update(_PAIR.findall(lowered(text)))
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (x, y), count in pairs.items():
        first[x] += count
        second[y] += count
    return PairCounts(pairs, first, second)


def choose_pairs(config: CompoundWords, counts: PairCounts) -> list[Pair]:
    """Choose the pairs to probe for: those listed, or the most frequent unpredictable ones.

    Words of a list of common English words (scikit-learn's) and short words are in no pair that is
    chosen automatically. The thesis chose by hand from the pairs that are left.

    Raises
    ------
    DataError
        If a listed pair is too rare or too predictable, or no pair is left.
    """
    listed = [(x, y) for x, y in (word.lower().split(" ") for word in config.words)]
    if not listed:
        chosen = _frequent_pairs(config, counts)
        if not chosen:
            raise DataError(
                "no pair of words in the corpus is frequent enough and unpredictable",
                fix="read more text, raise max_conditional, or lower min_letters or min_positives",
            )
        log.info("chose the pairs %s", ", ".join(" ".join(pair) for pair in chosen))
        return chosen
    wrong = []
    for pair in listed:
        forward, backward = counts.conditionals(pair)
        said = f"{pair[0]} {pair[1]}: {counts.pairs[pair]} times, P({pair[1]} | {pair[0]}) = "
        said += f"{forward:.2f}, P({pair[0]} | {pair[1]}) = {backward:.2f}"
        log.info(said)
        if (
            counts.pairs[pair] < config.min_positives
            or max(forward, backward) >= config.max_conditional
        ):
            wrong.append((pair, said))
    if wrong and config.missing_words == "error":
        raise DataError(
            "compound words are too rare or too predictable: "
            + "; ".join(said for _, said in wrong),
            fix="leave them out of collection.words, set missing_words: leave_out, or change "
            "min_positives or max_conditional",
        )
    for _, said in wrong:
        log.warning("left out %s", said)
    return [pair for pair in dict.fromkeys(listed) if pair not in {p for p, _ in wrong}]


def _frequent_pairs(config: CompoundWords, counts: PairCounts) -> list[Pair]:
    # Importing scikit-learn takes seconds, and every dataset imports this module.
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    chosen: list[Pair] = []
    for pair, count in sorted(counts.pairs.items(), key=lambda item: (-item[1], item[0])):
        if len(chosen) == config.max_words or count < config.min_positives:
            break
        if any(len(word) < config.min_letters or word in ENGLISH_STOP_WORDS for word in pair):
            continue
        if max(counts.conditionals(pair)) < config.max_conditional:
            chosen.append(pair)
    return chosen


def choose_compound_windows(
    config: DatasetConfig, names: Sequence[str], texts: Mapping[str, str], source: WindowSource
) -> list[Window]:
    """Take windows that end with each pair, and with each of its words and another (A.2.2).

    For every pair there are as many windows as the rarest kind allows in the ratio 1 : 2 : 2. An
    occurrence that could serve several pairs is one window.

    Parameters
    ----------
    config : DatasetConfig
        Its `collection` is of compound words.
    names : sequence of str
        The documents that windows may be from.
    texts : mapping of str to str
        The documents.
    source : WindowSource
        Where windows are taken from.
    """
    collection = config.collection
    assert isinstance(collection, CompoundWords)
    listed = {word for pair in collection.words for word in pair.lower().split(" ")}
    chosen = choose_pairs(collection, count_pairs((texts[name] for name in names), listed))
    places = _places(names, texts, chosen)
    n = collection.sequences_per_word // sum(KINDS.values())
    windows = []
    for pair in chosen:
        name = feature_name(pair)
        ordered = {kind: in_random_order(places[pair, kind], config.seed) for kind in KINDS}
        # Negatives are needed for the positives that there are, no more.
        n_pair = min(n, *(len(ordered[kind]) // ratio for kind, ratio in KINDS.items()))
        taken = {kind: source.take(ordered[kind], n_pair * ratio) for kind, ratio in KINDS.items()}
        n_pair = min(len(taken[kind]) // ratio for kind, ratio in KINDS.items())
        if n_pair < collection.min_positives:
            message = f"{' '.join(pair)}: only {n_pair} windows that end with it are to be had"
            if collection.words and collection.missing_words == "error":
                raise DataError(message, fix="lower min_tokens, or leave the word out")
            log.warning("left out %s", message)
            continue
        for kind, ratio in KINDS.items():
            windows += taken[kind][: n_pair * ratio]
        log.info("%s: %d windows", name, n_pair * sum(KINDS.values()))
    return windows


def _places(
    names: Sequence[str], texts: Mapping[str, str], chosen: list[Pair]
) -> dict[tuple[Pair, str], list[Target]]:
    """Occurrences of each chosen pair and kind. Each is listed for one pair and kind only."""
    exact = set(chosen)
    words = {word for pair in chosen for word in pair}
    by_first, by_second = defaultdict(list), defaultdict(list)
    for pair in chosen:
        by_first[pair[0]].append(pair)
        by_second[pair[1]].append(pair)
    places: dict[tuple[Pair, str], list[Target]] = defaultdict(list)
    for document in names:
        for first, second, start, stop in find_pairs(texts[document], words):
            if first not in by_first and second not in by_second:
                continue
            found: list[tuple[Pair, str]]
            if (first, second) in exact:
                found = [((first, second), "XY")]
            else:
                found = [(pair, "XW") for pair in by_first.get(first, ())]
                found += [(pair, "ZY") for pair in by_second.get(second, ())]
            # Pairs that share a word share its occurrences out among them.
            pair, kind = found[hash_of(0, document, stop) % len(found)]
            name = f"{first} {second}"
            places[pair, kind].append(
                Target(document, start, stop, name, f"{feature_name(pair)}/{kind}")
            )
    return places


def feature_name(pair: Pair) -> str:
    """The feature of a pair, such as `social-security`."""
    return "-".join(pair)


def compound_kinds(sequences: pl.DataFrame) -> pl.DataFrame:
    """Of which kind each sequence is for each compound word: XY, XW or ZY.

    A sequence that ends with one compound word may be an example for another: "social security" is
    XW for "social media".

    Parameters
    ----------
    sequences : polars.DataFrame
        The table of a dataset of compound words.

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `kind`, sorted; sequences that contain neither word at their
        end are not in it.
    """
    features = sequences["target_class"].str.split("/").list.first().unique().sort().to_list()
    ends = sequences.select(
        "sequence",
        pl.col("target").str.split(" ").list.first().alias("first"),
        pl.col("target").str.split(" ").list.last().alias("second"),
    )
    parts = []
    for feature in features:
        x, y = feature.split("-")
        is_x, is_y = pl.col("first") == x, pl.col("second") == y
        kind = pl.when(is_x & is_y).then(pl.lit("XY")).when(is_x).then(pl.lit("XW"))
        parts.append(
            ends.filter(is_x | is_y).select(
                pl.lit(feature).alias("feature"),
                "sequence",
                kind.otherwise(pl.lit("ZY")).alias("kind"),
            )
        )
    return pl.concat(parts).sort("feature", "sequence")


def label_compound_words(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Label the last token of windows: positive where they end with the pair.

    Negatives are windows with one of its words, at most twice as many of each kind as positives.
    `compound_kinds` tells the kinds apart.

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `start`, `end`, `label`.
    """
    kinds = compound_kinds(dataset.sequences)
    priority = np.array(
        [
            hash_of(config.seed, "compound_words", *row) >> 65
            for row in kinds.join(dataset.sequences, on="sequence", maintain_order="left")
            .select("feature", "document", "char_end")
            .iter_rows()
        ],
        dtype=np.int64,
    )
    most = pl.col("kind").replace_strict(KINDS, return_dtype=pl.Int64) * pl.col("positives")
    ratio = (
        kinds.with_columns(pl.Series("priority", priority))
        .with_columns(
            (pl.col("kind") == "XY").sum().over("feature").cast(pl.Int64).alias("positives"),
            pl.col("priority").rank("ordinal").over("feature", "kind").alias("rank"),
        )
        .filter(pl.col("rank") <= most)
    )
    last = dataset.sequences.select("sequence", pl.col("n_tokens").alias("end"))
    return ratio.join(last, on="sequence").select(
        "feature",
        "sequence",
        (pl.col("end") - 1).alias("start"),
        "end",
        (pl.col("kind") == "XY").alias("label"),
    )
