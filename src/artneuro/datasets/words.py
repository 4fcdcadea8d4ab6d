"""Words of a document with their grammar: what every source of linguistic annotations gives.

A treebank, a tagged corpus and a parser all come down to a list of `Word` for each document, in the
terms of Universal Dependencies, with character offsets in the document's text. The list travels in
the column `words` of the tables of documents and sequences.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from artneuro.core.errors import DataError

WORDS_COLUMN = "words"
WORDS_TYPE = pl.List(
    pl.Struct(
        {
            "start": pl.Int32,
            "end": pl.Int32,
            "upos": pl.String,
            "deprel": pl.String,
            "feats": pl.String,
            "sentence_end": pl.Boolean,
            "entity": pl.String,
        }
    )
)


class Word(NamedTuple):
    """A syntactic word.

    Attributes
    ----------
    start, end : int
        Its characters [start, end) in the text. Words that are written as one without a border
        between them (French *du* = *de* + *le*) have the same ones.
    upos : str or None
        Universal part of speech, such as NOUN; None where the source does not say.
    deprel : str or None
        Universal relation to its head with its subtype, such as nsubj:pass; None where unknown.
    feats : str or None
        Morphological features as CoNLL-U writes them, `Number=Sing|Person=3`; empty where the word
        has none, None where unknown.
    sentence_end : bool
        Whether it is the last word of its sentence.
    entity : str or None
        Type of the named entity that it is part of, such as PERSON; None where it is part of none
        or nobody looked.
    """

    start: int
    end: int
    upos: str | None
    deprel: str | None
    feats: str | None
    sentence_end: bool
    entity: str | None = None


@dataclass(frozen=True)
class AnnotatedText:
    """A text with its words, in the order of the text."""

    text: str
    words: tuple[Word, ...]


def shifted(words: Iterable[Word], offset: int) -> list[Word]:
    """The same words, `offset` characters further on."""
    return [word._replace(start=word.start + offset, end=word.end + offset) for word in words]


def words_within(words: Sequence[Word], start: int, stop: int) -> Sequence[Word]:
    """The words with a character in [start, stop), as they are; the outer ones may be cut."""
    first = bisect_right(words, start, key=lambda word: word.end)
    last = bisect_left(words, stop, key=lambda word: word.start)
    return words[first:last]


def check_words(words: Sequence[Word], text: str, where: str) -> None:
    """Check that words lie in a text, in its order.

    Raises
    ------
    DataError
        If a word is empty, outside of the text, or before the one that it follows.
    """
    previous = (0, 0)
    for word in words:
        inside = 0 <= word.start < word.end <= len(text)
        if not inside or word.start < previous[0] or word.end < previous[1]:
            raise DataError(
                f"a word has the characters {word.start} to {word.end} of a text of {len(text)}, "
                f"after one with {previous[0]} to {previous[1]}",
                where=where,
                fix="correct the annotations, or the reader that gives them",
            )
        previous = (word.start, word.end)


def as_records(words: Iterable[Word] | None) -> list[dict[str, object]] | None:
    """Words as the values of a column of `WORDS_TYPE`; None where a text has no annotations."""
    return None if words is None else [word._asdict() for word in words]


def from_records(records: Iterable[Mapping[str, object]] | None) -> list[Word]:
    """Words from a value of a column of `WORDS_TYPE`."""
    return [Word(**record) for record in records or ()]  # type: ignore[arg-type]


def words_of_crops(crops: pl.DataFrame, documents: pl.DataFrame) -> pl.Series:
    """Words that crops of documents have a character of, as a column of `WORDS_TYPE`.

    Parameters
    ----------
    crops : polars.DataFrame
        Columns `document`, `char_start`, `char_end`.
    documents : polars.DataFrame
        Columns `document` and `words`.
    """
    used = documents.filter(pl.col("document").is_in(crops["document"].unique().to_list()))
    words = {
        name: from_records(records)
        for name, records in used.select("document", WORDS_COLUMN).iter_rows()
        if records is not None
    }
    found = [
        as_records(words_within(words[name], start, stop) if name in words else None)
        for name, start, stop in crops.select("document", "char_start", "char_end").iter_rows()
    ]
    return pl.Series(WORDS_COLUMN, found, dtype=WORDS_TYPE)
