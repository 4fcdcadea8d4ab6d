"""Which of the entities that a part reads are kept, and what they are called (C.1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import (
    BlockColumn,
    DbpediaPart,
    EntityPart,
    FilmsPart,
    PublishedPart,
    SimplemapsPart,
)
from artneuro.datasets.entity_countries import country_of
from artneuro.datasets.entity_names import fill_template, region_first, tidy
from artneuro.datasets.entity_packages import US
from artneuro.datasets.seeding import hash_of

log = logging.getLogger(__name__)

NOT_CONTIGUOUS = frozenset(
    ["Alaska", "Hawaii", "Puerto Rico", "Guam", "American Samoa", "U.S. Virgin Islands",
     "Northern Mariana Islands", "United States Virgin Islands", "Virgin Islands"]
)  # fmt: skip
# The lower 48 lie between these degrees, for places whose state is unknown.
SOUTH, NORTH, WEST, EAST = 24.4, 49.4, -125.0, -66.9
WORKS_TEMPLATE = "{creator}'s {title}"
POSSESSIVE_LAYOUTS = ("world_place", "us_place")


def filtered(part: EntityPart, found: pl.DataFrame, seed: int, where: str) -> pl.DataFrame:
    """Apply the filters and the rules of names of a part.

    Parameters
    ----------
    part : EntityPart
        The part.
    found : pl.DataFrame
        What its reader found, in `FOUND_SCHEMA`.
    seed : int
        Seed of what is drawn.
    where : str
        What messages call the part.

    Raises
    ------
    DataError
        If nothing is left.
    """
    steps = [("read", found.height)]
    for step, keep in (("where", _in_place), ("when", _in_time)):
        for condition in keep(part):  # what is null does not fulfil it
            found = found.filter(condition)
        steps.append((step, found.height))
    found = _named(part, found)
    steps.append(("names", found.height))
    if part.duplicate_ratio is not None:
        found = most_popular_alone(found, part.duplicate_ratio)
    found = _without_repetitions(found)
    steps.append(("duplicates", found.height))
    if part.min_popularity is not None:
        found = found.filter(pl.col("popularity") > part.min_popularity)
        steps.append(("popularity", found.height))
    found = limited(found, part, seed)
    steps.append(("limits", found.height))
    log.info("%s: %s", where, ", ".join(f"{step} {count}" for step, count in steps))
    if found.is_empty():
        counts = ", ".join(f"{count} after {step}" for step, count in steps)
        raise DataError(
            f"no entity is left: {counts}", where, "loosen the filters of the part, or correct it"
        )
    return found


def _in_place(part: EntityPart) -> Iterator[pl.Expr]:
    if part.types:
        yield pl.col("entity_type").is_in(part.types)
    if part.countries:
        yield pl.col("country").is_in([country_of(name)[0] for name in part.countries])
    if part.contiguous_us:
        yield pl.col("country") == US
        by_place = pl.col("latitude").is_between(SOUTH, NORTH) & pl.col("longitude").is_between(
            WEST, EAST
        )
        by_state = ~pl.col("state").is_in(sorted(NOT_CONTIGUOUS))
        yield pl.when(pl.col("state").is_null()).then(by_place).otherwise(by_state)


def _in_time(part: EntityPart) -> Iterator[pl.Expr]:
    if part.earliest is not None:
        yield pl.col("time") >= part.earliest
    if part.latest is not None:
        yield pl.col("time") < part.latest


def _named(part: EntityPart, found: pl.DataFrame) -> pl.DataFrame:
    """What the model reads; entities without it, and names that are not wanted, are left out."""
    is_possessive = names_of(part) == "possessive"
    names: list[str | None] = []
    moved: list[bool] = []
    for entity in found.iter_rows(named=True):
        name = tidy(entity["name"] or "")
        # What a query of DBpedia finds may be works, whose titles keep their commas.
        is_moved = is_possessive and (part.names is not None or entity["title"] is None)
        plain, name = name, region_first(name) if is_moved else name
        moved.append(not plain.startswith(name))
        template = template_of(part, entity)
        text = fill_template(template, entity | {"name": name}) if template else name
        names.append(text if text and len(name) >= part.min_chars else None)
    found = found.with_columns(
        pl.Series("name", names, dtype=pl.String), pl.Series("is_moved", moved, dtype=pl.Boolean)
    ).drop_nulls("name")
    # By the expressions of Python, as the config checked them: those of polars know less.
    for pattern, is_wanted in ((part.names_like, True), (part.names_unlike, False)):
        if pattern is not None:
            kept = [bool(re.search(pattern, name)) is is_wanted for name in found["name"]]
            found = found.filter(pl.Series(kept, dtype=pl.Boolean))
    if part.entity_type is not None:
        found = found.with_columns(pl.lit(part.entity_type).alias("entity_type"))
    return found


def names_of(part: EntityPart) -> str:
    """The rule of names of a part: its own, or that of C.1 for what it reads."""
    if part.names is not None:
        return part.names
    is_place = (
        part.layout in POSSESSIVE_LAYOUTS
        if isinstance(part, PublishedPart)
        else isinstance(part, DbpediaPart | SimplemapsPart)
    )
    return "possessive" if is_place else "as_is"


def template_of(part: EntityPart, entity: dict[str, object]) -> str | None:
    """The template of an entity's name, if there is one."""
    if part.template is not None:
        return part.template
    of_works = isinstance(part, FilmsPart) or (
        isinstance(part, PublishedPart) and part.layout == "art"
    )
    # A query of DBpedia finds places or works: works have a title.
    is_work = of_works or (isinstance(part, DbpediaPart) and entity["title"] is not None)
    return WORKS_TEMPLATE if is_work else None


def most_popular_alone(found: pl.DataFrame, ratio: float) -> pl.DataFrame:
    """Of entities of one name and type, the most popular, if it is `ratio` times the next (C.1).

    There are 31 Washington Counties: unless one is that much larger, none of them is meant. Without
    a popularity none is larger.
    """
    if found.is_empty():
        return found
    kept = []
    ordered = found.with_row_index("_row").sort(
        "name", "entity_type", "popularity", "_row",
        descending=[False, False, True, False], nulls_last=True,
    )  # fmt: skip
    keys = ordered.select("name", "entity_type", "popularity", "_row").iter_rows()
    for _, same in groupby(keys, key=lambda row: row[:2]):
        first, *others = same
        popularity, next_one = first[2], others[0][2] if others else None
        if not others or (popularity is not None and popularity > ratio * (next_one or 0)):
            kept.append(first[3])
    return found[sorted(kept)]


def _without_repetitions(found: pl.DataFrame) -> pl.DataFrame:
    """Each entity once: the most popular of those alike in name, type, place and time."""
    return (
        found.with_row_index("_row")
        .sort("popularity", descending=True, nulls_last=True, maintain_order=True)
        .unique(
            ["name", "entity_type", "latitude", "longitude", "time"],
            keep="first",
            maintain_order=True,
        )
        .sort("_row")
        .drop("_row")
    )


def limited(found: pl.DataFrame, part: EntityPart, seed: int) -> pl.DataFrame:
    """At most as many entities as a part says, the most popular ones or drawn by their hashes."""
    if not part.max_per and part.max_entities is None:
        return found
    drawn = [hash_of(seed, *_identity(row)) for row in found.iter_rows(named=True)]
    popularity = found["popularity"].fill_null(float("-inf")).to_numpy()
    if part.choose == "random":
        popularity = np.zeros(found.height)
    order = sorted(range(found.height), key=lambda i: (-popularity[i], drawn[i]))
    for column, limit in part.max_per.items():
        values = blocks_of(found, column)
        counts: dict[str | None, int] = {}
        kept = []
        for i in order:
            counts[values[i]] = counts.get(values[i], 0) + 1
            if counts[values[i]] <= limit:
                kept.append(i)
        order = kept
    return found[sorted(order[: part.max_entities])]


def _identity(row: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(row[key]) for key in ("entity_type", "name", "latitude", "longitude", "time"))


def blocks_of(found: pl.DataFrame, column: BlockColumn) -> list[str | None]:
    """The value of a column, or the period of `time`, of each entity: `1900s`, `1950s`, `2012`.

    A century is called by its first year, so that the 1900s have the digits of their years; before
    the year 1 they are counted from there: 44 BC is of the `40s BC` and the `0s BC`.
    """
    step = {"century": 100, "decade": 10, "year": 1}.get(column)
    if step is None:
        return found[column].to_list()
    return [None if time is None else period(time, step) for time in found["time"].to_list()]


def period(time: float, step: int) -> str:
    """The name of the period of `step` years that a decimal year is in."""
    first = int(abs(time) // step * step)
    return f"{first}{'s' if step > 1 else ''}{' BC' if time < 0 else ''}"
