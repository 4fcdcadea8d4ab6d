"""Films and dated sentences of the packages that the demo embeds."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import FilmsPart, SpeechesPart
from artneuro.datasets.entity_csv import decimal_year, read_rows, with_unique_keys
from artneuro.datasets.entity_names import tidy, title_of_work
from artneuro.datasets.entity_packages import file_in
from artneuro.datasets.entity_table import found_frame

Entity = dict[str, object]
_FILMS = """
    SELECT o.Title, o.Year, o.Released, o.Director, o.imdbID, t.Reviews
    FROM omdb o JOIN tomatoes t ON t.ID = o.ID
    WHERE o.Title <> '' AND o.Year IS NOT NULL AND o.Director <> '' ORDER BY o.ID
"""
# Not behind "Mr." or "U.S.".
_SENTENCE_END = re.compile(r"(?<=[a-z]{2}[.!?])\s+(?=[A-Z])")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_UNUSUAL = re.compile(r"[\[\]{}()\"\u201c\u201d*_$%;:|=]|--|\.\.|\b[A-Z]{2,}\b")


def read_films(part: FilmsPart, folder: Path) -> pl.DataFrame:
    """Read the films of bokeh's sample data.

    The day of release where it is of the film's year, else the middle of the year. Of several
    directors the first one counts.
    """
    path = file_in(folder, "movies.db")
    try:
        with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as database:
            rows = database.execute(_FILMS).fetchall()
    except sqlite3.Error as error:
        raise DataError(
            f"not the database of films ({error})", str(path), "fetch the source again"
        ) from error

    def entities() -> Iterator[Entity]:
        for title, year, released, director, number, reviews in rows:
            yield {
                "name": title_of_work(title),
                "title": title_of_work(title),
                "entity_type": "film",
                "creator": tidy(director.split(",")[0]),
                "time": _released(year, released, f"{path}, {number}"),
                "page": number,
                "popularity": float(reviews or 0),
            }

    return found_frame((film for film in entities() if film["name"]), str(path))


def _released(year: int, released: str | None, where: str) -> float:
    # The first of January stands for an unknown day in this database.
    if not released or not released.startswith(f"{year}-") or released == f"{year}-01-01":
        return year + 0.5
    try:
        return decimal_year(released)
    except ValueError:
        raise DataError(f"not a date: {released!r}", where) from None


def read_speeches(part: SpeechesPart, folder: Path) -> pl.DataFrame:
    """Read sentences of the State of the Union addresses, without the full stop behind them."""
    table = file_in(folder, "metadata.csv")
    columns = ["fileid", "date", "president_full", "sotu_type"]

    def entities() -> Iterator[Entity]:
        for row in with_unique_keys(read_rows(table, columns), "fileid"):
            speech, date = row.text("fileid"), row.time("date")
            if date is None:
                raise row.wrong("date", "the speech has no date")
            text = file_in(folder, f"{speech}.txt").read_text(encoding="utf-8")
            for sentence in sentences(text):
                if is_plain(sentence, part.min_words, part.max_words, part.with_years):
                    yield {
                        "name": sentence.removesuffix("."),
                        "entity_type": row.text("sotu_type") or "speech",
                        "creator": row.text("president_full"),
                        "complex": speech,
                        "time": date,
                    }

    return found_frame(entities(), str(table))


def sentences(text: str) -> Iterator[str]:
    """The sentences of the paragraphs of a text."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from (tidy(part) for part in _SENTENCE_END.split(tidy(paragraph)) if tidy(part))


def is_plain(sentence: str, min_words: int, max_words: int, with_years: bool = False) -> bool:
    """Whether a sentence reads like one: a statement of some length, without lists and quotations.

    Parameters
    ----------
    sentence : str
        The sentence.
    min_words, max_words : int
        Its length in words.
    with_years : bool
        Whether it may name a year.
    """
    words = sentence.split()
    return (
        min_words <= len(words) <= max_words
        and sentence[0].isupper()
        and sentence.endswith(".")
        and not _UNUSUAL.search(sentence)
        and (with_years or not _YEAR.search(sentence))
    )
