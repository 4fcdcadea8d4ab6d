"""Labels of tokens from the words that came with the documents: grammar, entities, sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from artneuro.datasets.alignment import align
from artneuro.datasets.tokens import TokenDataset
from artneuro.datasets.words import WORDS_COLUMN
from artneuro.universality.explanations import NONE, Explanation, Labelling

Label = tuple[str, str]
BEGIN, END = ("sentence", "begin"), ("sentence", "end")


def grammar_labelling(dataset: TokenDataset) -> Labelling:
    """Labels of the words that tokens have characters of.

    A token has the labels of each of its words; every token of a word of several has them. The
    beginning of a sentence is the first token of its first word, its end the last token of its
    last word.

    Parameters
    ----------
    dataset : TokenDataset
        With the column `words`.
    """
    text = dataset.labelled(0)
    kinds: dict[frozenset[Label], int] = {}
    codes = np.full(dataset.tokens.shape, NONE, dtype=np.int32)
    rows = dataset.sequences.select("char_start", "text", WORDS_COLUMN).iter_rows()
    for row, (start, crop, words) in enumerate(rows):
        if words is None:
            continue
        position = np.flatnonzero(text[row])
        labels = list(_labels_of_words(words, crop, start))
        begins = [word["start"] for word in words]
        ends = [word["end"] for word in words]
        token_start, token_end = dataset.starts[row, position], dataset.ends[row, position]
        found = align(token_start, token_end, np.array(begins), np.array(ends), "all")
        for at, first, stop, low, high in zip(
            position, found.first, found.stop, token_start, token_end, strict=True
        ):
            own = set().union(*labels[first:stop])
            # A token with the space before a word starts before it.
            if BEGIN in own and not any(
                BEGIN in labels[w] and low <= begins[w] < high for w in range(first, stop)
            ):
                own.discard(BEGIN)
            if END in own and not any(
                END in labels[w] and low < ends[w] <= high for w in range(first, stop)
            ):
                own.discard(END)
            if own:
                codes[row, at] = kinds.setdefault(frozenset(own), len(kinds))
    names = sorted(set().union(*kinds))
    column = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(kinds), len(names)), dtype=bool)
    for kind, code in kinds.items():
        table[code, [column[name] for name in kind]] = True
    return Labelling(tuple(Explanation(*name) for name in names), codes, table)


def _labels_of_words(words: list[dict], crop: str, start: int) -> Iterator[set[Label]]:
    """The labels of each word of a sequence, whose text starts at a character of its document."""
    ended = start == 0  # whether the word before ended a sentence; a document begins with one
    for word in words:
        own: set[Label] = set()
        if word["upos"]:
            own.add(("part of speech", word["upos"]))
        if word["deprel"]:
            own.add(("relation", word["deprel"]))
        for feature in (word["feats"] or "").split("|"):
            if feature:
                own.add(("morphology", feature))
        entity = word.get("entity")
        if entity:
            own |= {("entity", entity), ("entity", "any")}
        form = crop[max(word["start"] - start, 0) : word["end"] - start]
        if form.casefold() in ENGLISH_STOP_WORDS:
            own.add(("stop word", "any"))
        if ended:
            own.add(BEGIN)
        ended = word["sentence_end"]
        if ended:
            own.add(END)
        yield own


def has_grammar(sequences: pl.DataFrame) -> bool:
    """Whether a table of sequences has annotated words."""
    return WORDS_COLUMN in sequences.columns and sequences[WORDS_COLUMN].null_count() < len(
        sequences
    )
