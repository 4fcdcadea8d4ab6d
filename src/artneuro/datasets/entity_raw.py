"""The files behind the thesis's tables of US and New York places, figures and headlines (C.1)."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import (
    FiguresPart,
    HeadlinesPart,
    NycPart,
    SimplemapsPart,
)
from artneuro.datasets.entity_countries import country_of
from artneuro.datasets.entity_csv import Row, read_rows, with_unique_keys
from artneuro.datasets.entity_names import without_capitals
from artneuro.datasets.entity_table import found_frame

Entity = dict[str, object]

# name, unique key and further columns of simplemaps.com's files
SIMPLEMAPS = {
    "cities": ("city", "id", "city"),
    "counties": ("county_full", "county_fips", "county"),
    "zips": ("zip", "zip", "zip"),
}
BOROUGHS = {
    "1": "Manhattan", "2": "Bronx", "3": "Brooklyn", "4": "Queens", "5": "Staten Island",
    "6": "Nassau County", "7": "Westchester", "8": "New Jersey",
}  # fmt: skip
FACILITIES = {
    "1": "residential", "2": "education", "3": "culture", "4": "recreation",
    "5": "social_services", "6": "transportation", "7": "commerce", "8": "government",
    "9": "religion", "10": "health", "11": "public_safety", "12": "water", "13": "miscellaneous",
}  # fmt: skip
_POINT = re.compile(r"POINT\s*\(\s*(\S+)\s+(\S+?)\s*\)", re.IGNORECASE)
_BUOY = re.compile(r"\bB(?:UO|OU)YS?\b|BUOY|BOUY", re.IGNORECASE)
# The sections of the paper that articles of a desk must be of; obituaries may be of any.
DESKS = {"Foreign": "World", "National": "U.S.", "Politics": "U.S.", "Washington": "U.S.",
         "Obits": None}  # fmt: skip


def read_simplemaps(part: SimplemapsPart, path: Path) -> pl.DataFrame:
    """Read US cities, counties or zip codes of simplemaps.com."""
    name, key, entity_type = SIMPLEMAPS[part.layout]
    columns = {name, key, "lat", "lng", "state_name", "population"}
    if part.layout == "zips":
        columns.add("density")
    file = part.path or str(path)

    def entities() -> Iterator[Entity]:
        for row in with_unique_keys(read_rows(path, sorted(columns), file), key):
            population = row.number_of("population")
            text = row.text(name)
            if part.layout == "zips":
                if not _is_large_zip(population, row.number_of("density")):
                    continue
                # Spreadsheets drop leading zeros.
                text = text and text.zfill(5)
            yield {
                "name": text,
                "entity_type": entity_type,
                "latitude": row.latitude("lat"),
                "longitude": row.longitude("lng"),
                "country": "United States",
                "continent": "North America",
                "state": row.text("state_name"),
                "popularity": population,
            }

    return found_frame(entities(), file)


def _is_large_zip(population: float | None, density: float | None) -> bool:
    """Whether a zip code has more than 10,000 people, or 2,000 where they live densely (C.1)."""
    if population is None:
        return False
    return population > 10_000 or (population > 2_000 and (density or 0) > 50)


def read_nyc_points(part: NycPart, path: Path) -> pl.DataFrame:
    """Read New York City's points of interest without its buoys."""
    file = part.path or str(path)
    columns = ["the_geom", "complexid", "placeid", "borough", "facility_t", "name"]

    def entities() -> Iterator[Entity]:
        for row in with_unique_keys(read_rows(path, columns, file), "placeid"):
            name = row.text("name")
            if name is None or _BUOY.search(name):
                continue
            latitude, longitude = _point(row)
            group = _code(row, "complexid")
            yield {
                "name": without_capitals(name) if part.title_case else name,
                "entity_type": FACILITIES.get(_code(row, "facility_t") or "", "miscellaneous"),
                "latitude": latitude,
                "longitude": longitude,
                "country": "United States",
                "continent": "North America",
                "state": "New York",
                "borough": BOROUGHS.get(_code(row, "borough") or ""),
                "complex": None if group == "0" else group,
            }

    return found_frame(entities(), file)


def _code(row: Row, column: str) -> str | None:
    """A code that some exports write as 3 and others as 3.0."""
    text = row.text(column)
    return text.removesuffix(".0") if text else None


def _point(row: Row) -> tuple[float, float]:
    """Latitude and longitude of a point in well-known text, which has the longitude first."""
    match = _POINT.search(row.values["the_geom"])
    try:
        longitude, latitude = (float(part) for part in match.groups()) if match else (0.0, 0.0)
    except ValueError:
        raise row.wrong("the_geom", "not a point") from None
    if not (40 < latitude < 42 and -75 < longitude < -73):
        raise row.wrong(
            "the_geom",
            "not a point near New York",
            "well-known text has the longitude first: POINT (-73.99 40.73)",
        )
    return latitude, longitude


def read_figures(part: FiguresPart, path: Path) -> pl.DataFrame:
    """Read the dead of the Age dataset; the lower the number of a Wikidata item, the more known."""
    file = part.path or str(path)
    columns = ["id", "name", "country", "occupation", "death year"]

    def entities() -> Iterator[Entity]:
        for row in with_unique_keys(read_rows(path, columns, file), "id"):
            died, occupation, item = row.time("death year"), row.text("occupation"), row.text("id")
            if died is None or row.text("name") is None:
                continue
            number = re.fullmatch(r"Q(\d+)", item or "")
            if number is None:
                raise row.wrong("id", "not an item of Wikidata such as Q23")
            # Several countries are parted by semicolons.
            country, continent = country_of((row.text("country") or "").split(";")[0])
            yield {
                "name": row.text("name"),
                "entity_type": occupation.lower() if occupation else "unknown",
                "time": died,
                "country": country,
                "continent": continent,
                "page": item,
                "popularity": -float(number[1]),
            }

    return found_frame(entities(), file)


def read_headlines(part: HeadlinesPart, path: Path | None = None) -> pl.DataFrame:
    """Read headlines of events: of the desks for news, in front, and no questions.

    Parameters
    ----------
    part : HeadlinesPart
        Whose `path` may be a glob of files.
    path : Path, optional
        The file instead of the part's path.
    """
    where = str(path or part.path)
    files = [path] if path else [Path(name) for name in sorted(glob.glob(part.path or ""))]
    if not files:
        raise DataError("no file matches", where, "correct `path` of the part")
    columns = ["headline", "pub_date", "print_page", "section", "news_desk"]

    def entities() -> Iterator[Entity]:
        for file in files:
            for row in read_rows(file, columns):
                desk, headline = row.text("news_desk"), row.text("headline")
                if headline is None or desk not in DESKS or row.text("type") == "multimedia":
                    continue
                page = row.text("print_page") or ""
                last = part.max_page_foreign if desk == "Foreign" else part.max_page
                # Pages such as E1 are of other sections.
                if not re.fullmatch(r"\d+(\.0)?", page) or float(page) > last:
                    continue
                if DESKS[desk] not in (None, row.text("section")):
                    continue
                # What ends in a full stop is a standing title ("News Summary.").
                if "?" in headline or headline.endswith("."):
                    continue
                yield {"name": headline, "entity_type": desk, "time": row.time("pub_date")}

    return found_frame(entities(), where)
