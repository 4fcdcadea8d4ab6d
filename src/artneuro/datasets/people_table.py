"""The table of people: names with facts, from Wikidata or WordNet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError

log = logging.getLogger(__name__)

PEOPLE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "name": pl.String,
    "entity": pl.String,
    "n_properties": pl.Int32,
    "sex_or_gender": pl.List(pl.String),
    "occupation": pl.List(pl.String),
    "political_party": pl.List(pl.String),
    "is_dead": pl.Boolean,
    "death_year": pl.Int32,
}
MIN_NAME_LENGTH = 8
BATCH = 100_000


class Person(NamedTuple):
    """A person under one name.

    Attributes
    ----------
    name : str
        As it stands in texts.
    entity : str
        What names the person in the source.
    n_properties : int
        How many properties the source has of the person: more for the better known.
    sex_or_gender, occupation, political_party : list of str
        Values: items of Wikidata, or nouns of WordNet.
    is_dead : bool or None
        Whether the person is known to have died; None where the source does not say.
    death_year : int or None
        Year of death, negative before the common era; None if alive or unknown.
    """

    name: str
    entity: str
    n_properties: int
    sex_or_gender: list[str]
    occupation: list[str]
    political_party: list[str]
    is_dead: bool | None
    death_year: int | None


def usable(name: str) -> bool:
    """Whether a name can be searched for: at least eight characters, with a space."""
    return len(name) >= MIN_NAME_LENGTH and " " in name.strip()


def write_people(people: Iterable[Person], output: str | Path) -> pl.DataFrame:
    """Write the table of people: usable names, each once.

    Of people with one name, the one with the most properties is kept; the first of several such.

    Parameters
    ----------
    people : iterable of Person
        From `read_wikidata` or `read_wordnet`.
    output : path
        Table to write: columns as the attributes of `Person`, sorted by name.

    Raises
    ------
    DataError
        If there is nobody.
    """
    parts = list(_batches(person for person in people if usable(person.name)))
    if not parts:
        raise DataError(
            "there are no people with a usable name", fix="see where the people are from"
        )
    # Sorting is stable, so of equals the first one stays.
    everyone = pl.concat(parts).with_row_index("order")
    table = (
        everyone.sort(["name", "n_properties", "order"], descending=[False, True, False])
        .unique("name", keep="first", maintain_order=True)
        .drop("order")
    )
    log.info("%d people, %d different names", len(everyone), len(table))
    write_table(table, output)
    return table


def _batches(people: Iterator[Person]) -> Iterator[pl.DataFrame]:
    """Tables of parts, which take far less memory than Python's objects."""
    while batch := list(islice(people, BATCH)):
        yield pl.DataFrame(batch, schema=PEOPLE_SCHEMA, orient="row")
