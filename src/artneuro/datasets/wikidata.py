"""People from a dump of Wikidata, read as a stream: one entity a line inside a JSON array.

See https://doc.wikimedia.org/Wikibase for the format.
"""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from artneuro.core.errors import DataError, SourceError
from artneuro.datasets.people_config import WikidataPeople
from artneuro.datasets.people_table import Person

log = logging.getLogger(__name__)

# Compact JSON and JSON with a space after colons; most entities have neither and are not parsed.
_HUMAN = (b'"id":"Q5"', b'"id": "Q5"', b'"numeric-id":5,', b'"numeric-id": 5,', b'"numeric-id":5}')
_YEAR = re.compile(r"^([+-]\d+)-")
REPORT_EVERY = 5_000_000
# Times less exact than a year: decade 8, century 7 and so on (Wikibase's `precision`).
YEAR_PRECISION = 9


def read_wikidata(config: WikidataPeople) -> Iterator[Person]:
    """Read the people of a dump, in its order.

    One line is in memory at a time.

    Parameters
    ----------
    config : WikidataPeople
        The dump, and the language of names.

    Yields
    ------
    Person
        Entities that are instances of human (Q5) and have a label in the language.

    Raises
    ------
    SourceError
        If the dump cannot be read.
    DataError
        If it is damaged, or a line is no entity.
    """
    number = people = 0
    for number, line in _lines(config.path):
        if any(mark in line for mark in _HUMAN):
            person = person_of(_entity(line, config.path, number), config.language)
            if person is not None:
                people += 1
                yield person
        if number % REPORT_EVERY == 0:
            log.info("%d lines of the dump, %d people", number, people)
    log.info("%d lines of the dump, %d people", number, people)


def person_of(entity: dict[str, Any], language: str) -> Person | None:
    """The person that an entity describes, or None if it is none or has no name.

    Of a property's statements those of the best rank count: preferred ones if there are any, else
    normal ones, never deprecated ones. Statements of an unknown or no value give no value, but an
    unknown date of death is a death.

    Parameters
    ----------
    entity : dict
        An element of the dump.
    language : str
        Language code of the name.
    """
    claims = entity.get("claims") or {}
    if "Q5" not in _items(claims, "P31"):
        return None
    # PHP writes an empty object as an empty array.
    labels = entity.get("labels") or {}
    name = labels.get(language, {}).get("value") if isinstance(labels, dict) else None
    if not name:
        return None
    return Person(
        name=name,
        entity=entity["id"],
        n_properties=len(claims),
        sex_or_gender=_items(claims, "P21"),
        occupation=[*_items(claims, "P106"), *_items(claims, "P641")],
        political_party=_items(claims, "P102"),
        is_dead=any(s["mainsnak"]["snaktype"] != "novalue" for s in _best(claims, "P570")),
        death_year=_year(claims, "P570"),
    )


def _best(claims: dict[str, Any], name: str) -> list[dict[str, Any]]:
    statements = claims.get(name, [])
    preferred = [s for s in statements if s.get("rank") == "preferred"]
    return preferred or [s for s in statements if s.get("rank", "normal") == "normal"]


def _values(claims: dict[str, Any], name: str) -> list[Any]:
    snaks = [statement["mainsnak"] for statement in _best(claims, name)]
    return [snak["datavalue"]["value"] for snak in snaks if snak.get("snaktype") == "value"]


def _items(claims: dict[str, Any], name: str) -> list[str]:
    # Older dumps have the number of an item only.
    values = _values(claims, name)
    return list(dict.fromkeys(v.get("id") or f"Q{v['numeric-id']}" for v in values))


def _year(claims: dict[str, Any], name: str) -> int | None:
    """The earliest year among a property's dates; None if there is none to the year."""
    years = []
    for value in _values(claims, name):
        match = _YEAR.match(value["time"])
        if match and value.get("precision", YEAR_PRECISION) >= YEAR_PRECISION:
            years.append(int(match[1]))
    return min(years, default=None)


def _entity(line: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        entity = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"a line of the dump is no JSON ({error})",
            where=f"{path}, line {number}",
            fix="fetch the dump again; it has one entity a line",
        ) from error
    if not isinstance(entity, dict) or "id" not in entity:
        raise DataError("a line of the dump is no entity", f"{path}, line {number}")
    return entity


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Number and text of the lines of the dump, without the array's brackets and commas."""
    number = 0
    try:
        with _open(Path(path)) as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.strip().rstrip(b",")
                if line not in (b"[", b"]", b""):
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the dump is damaged ({error})",
            where=f"{path}, after line {number}",
            fix="fetch it again",
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot read the dump ({error})",
            where=f"{path}, after line {number}",
            fix="correct `path`, or fetch the dump again",
        ) from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".bz2":
        return cast(IO[bytes], bz2.open(path))
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")
