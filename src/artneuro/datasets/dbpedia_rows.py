"""One row for one thing: the facts that DBpedia has of it, reduced by stated rules."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from artneuro.datasets import dbpedia_queries as iri
from artneuro.datasets import dbpedia_values as values
from artneuro.datasets.dbpedia_config import DbpediaQuery
from artneuro.datasets.pageviews import normalise_title
from artneuro.datasets.sparql import Row, Term

T = TypeVar("T")
# Degrees, about 11 km: coordinates of one thing that differ by more are no two readings of one.
NEAR = 0.1


class Problem(NamedTuple):
    """Something that is wrong with what DBpedia has.

    Attributes
    ----------
    query : str
        Entity type of the query.
    subject : str
        IRI of the thing.
    problem : str
        What is wrong, such as `no_coordinates`.
    value : str
        The value that it concerns, empty if none.
    lost : str
        What was dropped for it: "value", "row" or "nothing".
    """

    query: str
    subject: str
    problem: str
    value: str
    lost: str


class _NoRow(Exception):
    """The thing lacks what every row must have; the message is the kind of problem."""


class Facts:
    """The facts of one thing, and the problems met in reading them.

    Parameters
    ----------
    query : str
        Entity type of the query.
    subject : str
        IRI of the thing.
    rows : sequence of Row
        Its rows `?p ?o`.
    """

    def __init__(self, query: str, subject: str, rows: Sequence[Row]) -> None:
        self.query, self.subject = query, subject
        self.problems: list[Problem] = []
        found = defaultdict(set)
        for row in rows:
            found[row["p"].value].add(row["o"])
        # Sorted, so that the order of an endpoint's rows means nothing.
        self._terms = {p: sorted(terms) for p, terms in found.items()}

    def note(self, problem: str, value: str = "", lost: str = "nothing") -> None:
        """Remember a problem."""
        self.problems.append(Problem(self.query, self.subject, problem, value, lost))

    def texts(self, *properties: str) -> list[str]:
        """Texts of the values that are not empty, each once, by the alphabet."""
        terms = [term for p in properties for term in self._terms.get(p, [])]
        return sorted({term.value.strip() for term in terms} - {""})

    def read(self, reader: Callable[[Term], T], *properties: str) -> list[T]:
        """Values that the reader accepts; the others become problems."""
        found = []
        for p in properties:
            for term in self._terms.get(p, []):
                try:
                    found.append(reader(term))
                except values.BadValue as error:
                    self.note(str(error), term.value, lost="value")
        return found

    def first(self, problem: str, *properties: str) -> str:
        """The first text by the alphabet; without one there is no row."""
        found = self.texts(*properties)
        if not found:
            raise _NoRow(problem)
        return found[0]


def place_row(query: DbpediaQuery, facts: Facts) -> dict[str, Any] | None:
    """The row of a place; None, with a problem noted, if it lacks a name, page or coordinates.

    Of several names, pages, countries and states the first by the alphabet is taken, of several
    populations and areas the largest, of several coordinates those of `coordinates`.
    """

    def build() -> dict[str, Any]:
        types = {values.local_name(text) for text in facts.texts(iri.TYPE)}
        label = facts.first("no_name", iri.LABEL)
        page = normalise_title(facts.first("no_page", iri.PAGE))
        latitude, longitude = coordinates(facts)
        return {
            "name": label,
            "entity_subtype": next((t for t in query.subtypes if t in types), query.classes[0]),
            "country": _first_name(facts, iri.COUNTRY),
            "latitude": latitude,
            "longitude": longitude,
            "has_thumbnail": int(bool(facts.texts(iri.THUMBNAIL))),
            "entity_type": facts.query,
            "total_area": max(facts.read(values.amount, iri.AREA), default=None),
            "population": max(facts.read(values.amount, iri.POPULATION), default=None),
            "state": _first_name(facts, iri.STATE),
            "page": page,
            "subject": facts.subject,
        }

    return _row_or_problem(build, facts)


def work_row(query: DbpediaQuery, facts: Facts) -> dict[str, Any] | None:
    """The row of a work; None, with a problem noted, if it lacks a name, page, creator or date.

    Of several titles, pages and creators the first by the alphabet is taken, of several dates the
    earliest (a day before the year or month that it lies in), of several lengths the smallest. A
    year or month alone stands for its middle. What Wikipedia adds in parentheses to tell pages
    apart is no part of a title or a creator's name.
    """

    def build() -> dict[str, Any]:
        title = values.without_parenthesis(facts.first("no_name", iri.LABEL))
        page = normalise_title(facts.first("no_page", iri.PAGE))
        creators = sorted({values.without_parenthesis(t) for t in facts.texts(iri.CREATOR)})
        if not creators:
            raise _NoRow("no_creator")
        dates = facts.read(values.date, *(iri.ONTOLOGY + name for name in query.dates))
        if not dates:
            raise _NoRow("no_date")
        released = min(dates, key=lambda found: found.order)
        lengths = facts.read(values.amount, *(iri.ONTOLOGY + name for name in query.lengths))
        return {
            "title": title,
            "creator": creators[0],
            "release_date": released.middle(),
            "length": min(lengths, default=None),
            "page_name": page,
            "entity_type": facts.query,
            "decade": released.year // 10 * 10,
            "date_precision": released.precision,
            "creators": creators,
            "subject": facts.subject,
        }

    return _row_or_problem(build, facts)


def coordinates(facts: Facts) -> tuple[float, float]:
    """Latitude and longitude of a thing.

    DBpedia says which latitude belongs to which longitude only in its points. With one of each,
    they are taken. With several, the first point by its numbers; without a point, the medians if
    all lie near each other, else none.
    """
    latitudes = sorted(set(facts.read(_degrees(90), iri.LATITUDE)))
    longitudes = sorted(set(facts.read(_degrees(180), iri.LONGITUDE)))
    if len(latitudes) == len(longitudes) == 1:
        return latitudes[0], longitudes[0]
    points = sorted(set(facts.read(values.point, iri.POINT)))
    if not points and not (latitudes and longitudes):
        raise _NoRow("no_coordinates")
    several = [*latitudes, *longitudes] or [number for found in points for number in found]
    if max(len(latitudes), len(longitudes), len(points)) > 1:
        facts.note("several_coordinates", " ".join(map(str, several)))
    if points:
        return points[0]
    if max(latitudes[-1] - latitudes[0], longitudes[-1] - longitudes[0]) > NEAR:
        raise _NoRow("contradicting_coordinates")
    return statistics.median_low(latitudes), statistics.median_low(longitudes)


def _degrees(most: float) -> Callable[[Term], float]:
    return lambda term: values.in_range(values.number(term), most)


def _first_name(facts: Facts, name: str) -> str | None:
    return next((values.local_name(text) for text in facts.texts(name)), None)


def _row_or_problem(build: Callable[[], dict[str, Any]], facts: Facts) -> dict[str, Any] | None:
    try:
        return build()
    except _NoRow as error:
        facts.note(str(error), lost="row")
        return None
