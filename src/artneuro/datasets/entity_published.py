"""Tables of entities in the layouts that the thesis published (github.com/wesg52/world-models)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from artneuro.datasets.entities_config import PublishedPart
from artneuro.datasets.entity_countries import country_of
from artneuro.datasets.entity_csv import Row, read_rows
from artneuro.datasets.entity_names import title_of_work, without_capitals
from artneuro.datasets.entity_table import found_frame

Entity = dict[str, object]
NO_COMPLEX = "0"


def _place(row: Row) -> Entity:
    return {
        "name": row.text("name"),
        "latitude": row.latitude("latitude"),
        "longitude": row.longitude("longitude"),
    }


def _world_place(row: Row) -> Entity:
    country, continent = country_of(row.text("country"))
    return _place(row) | {
        "entity_type": row.text("entity_type"),
        "country": country,
        "continent": continent,
        "popularity": row.number_of("page_views"),
    }


def _us_place(row: Row) -> Entity:
    population = row.number_of("population")
    return _place(row) | {
        "entity_type": row.text("entity_type"),
        "country": "United States",
        "continent": "North America",
        "state": row.text("state_name"),
        "popularity": row.number_of("page_views") if population is None else population,
    }


def _nyc_place(row: Row) -> Entity:
    name, group = row.text("name"), row.text("complexid")
    return _place(row) | {
        "name": name and without_capitals(name),
        "entity_type": row.text("facility_t_name"),
        "country": "United States",
        "continent": "North America",
        "state": "New York",
        "borough": row.text("borough_name"),
        "complex": None if group == NO_COMPLEX else group,
    }


def _art(row: Row) -> Entity:
    title = row.text("title")
    return {
        "name": title and title_of_work(title),
        "title": title and title_of_work(title),
        "entity_type": row.text("entity_type"),
        "creator": row.text("creator"),
        "time": row.time("release_date"),
        "page": row.text("page_name"),
        "popularity": row.number_of("page_views"),
    }


def _historical_figure(row: Row) -> Entity:
    occupation = row.text("occupation")
    return {
        "name": row.text("name"),
        # The published column of centuries is off by its digits (20 for 2000): the year counts.
        "time": row.time("death_year"),
        "entity_type": occupation.lower() if occupation else "unknown",
        "page": row.text("wiki_id"),
    }


def _headline(row: Row) -> Entity:
    headline = row.text("headline")
    return {
        # A period behind it belongs to the prompt.
        "name": headline and headline.removesuffix("."),
        "time": row.time("pub_date"),
        "entity_type": row.text("news_desk"),
    }


LAYOUTS: dict[str, tuple[Callable[[Row], Entity], tuple[str, ...]]] = {
    "world_place": (
        _world_place,
        ("name", "country", "latitude", "longitude", "page_views", "entity_type", "is_test"),
    ),
    "us_place": (
        _us_place,
        ("name", "latitude", "longitude", "state_name", "population", "entity_type", "page_views",
         "is_test"),
    ),
    "nyc_place": (
        _nyc_place,
        ("name", "latitude", "longitude", "complexid", "facility_t_name", "borough_name",
         "is_test"),
    ),
    "art": (
        _art,
        ("title", "creator", "release_date", "page_name", "page_views", "entity_type", "is_test"),
    ),
    "historical_figure": (
        _historical_figure, ("name", "occupation", "death_year", "wiki_id", "is_test"),
    ),
    "headline": (_headline, ("headline", "pub_date", "news_desk", "is_test")),
}  # fmt: skip


def read_published(part: PublishedPart, path: Path) -> pl.DataFrame:
    """Read a table in one of the thesis's layouts.

    Returns
    -------
    pl.DataFrame
        In `FOUND_SCHEMA`, in the order of the file.

    Raises
    ------
    DataError
        With the row and the column, if a value is not what the layout has there.
    """
    read, columns = LAYOUTS[part.layout]
    file = part.path or str(path)
    # NYC's points without a name are no entities; in the other layouts every row has one.
    found = [read(row) | {"is_test": _is_test(row)} for row in read_rows(path, columns, file)]
    return found_frame((entity for entity in found if entity["name"]), file)


def _is_test(row: Row) -> bool:
    value = (row.text("is_test") or "").lower()
    if value not in ("true", "false"):
        raise row.wrong("is_test", "neither True nor False")
    return value == "true"
