"""Values of DBpedia: numbers, dates and names, checked by the rules of XML Schema.

DBpedia is extracted from what people typed into boxes, and holds literals that are none of their
type. They are told apart here and never guessed at.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import NamedTuple

from artneuro.datasets.dbpedia_queries import RESOURCE
from artneuro.datasets.sparql import XSD, Term

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ZONE = r"(Z|[+-]\d\d:\d\d)?"
# No longer than a date of the standard library can be asked for.
_YEAR = r"(?P<year>-?\d{4,9})"
_FORMS = {
    f"{XSD}date": rf"{_YEAR}-(?P<month>\d\d)-(?P<day>\d\d){_ZONE}",
    f"{XSD}dateTime": rf"{_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)T\d\d:\d\d:\d\d(\.\d+)?{_ZONE}",
    f"{XSD}gYearMonth": rf"{_YEAR}-(?P<month>\d\d){_ZONE}",
    f"{XSD}gYear": rf"{_YEAR}{_ZONE}",
}
_PATTERNS = {datatype: re.compile(form, re.ASCII) for datatype, form in _FORMS.items()}
_PARENTHESIS = re.compile(r"\s+\([^()]*\)$")


class BadValue(ValueError):
    """A value that cannot be used; the message is the kind of problem."""


class PartialDate(NamedTuple):
    """A day, or the month or year of one.

    Attributes
    ----------
    year : int
        1 or later.
    month, day : int or None
        None where it is not known.
    """

    year: int
    month: int | None = None
    day: int | None = None

    @property
    def precision(self) -> str:
        """How much of it is known: "day", "month" or "year"."""
        return "year" if self.month is None else "month" if self.day is None else "day"

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts by time; what is less exact comes behind the days that it may mean."""
        return self.year, self.month or 13, self.day or 32

    def middle(self) -> str:
        """YYYY-MM-DD: the day, or the middle of the month or of the year."""
        month, day = self.month or 7, self.day or (2 if self.month is None else 15)
        return f"{self.year:04d}-{month:02d}-{day:02d}"


def number(term: Term) -> float:
    """A finite number.

    Raises
    ------
    BadValue
        "malformed_number" for everything else, NaN and infinity included.
    """
    text = term.value.strip()
    if term.kind != "literal" or not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise BadValue("malformed_number")
    return float(text)


def amount(term: Term) -> float:
    """A number that is not negative: of people, of square metres, of pages.

    Raises
    ------
    BadValue
        As `number`; "out_of_range" if it is negative.
    """
    found = number(term)
    if found < 0:
        raise BadValue("out_of_range")
    return found


def point(term: Term) -> tuple[float, float]:
    """Latitude and longitude of a GeoRSS point, "48.85 2.35".

    Raises
    ------
    BadValue
        "malformed_number" if it is none, "out_of_range" if it is not on the Earth.
    """
    parts = term.value.split()
    if len(parts) != 2:
        raise BadValue("malformed_number")
    latitude, longitude = (number(Term(term.kind, part)) for part in parts)
    return in_range(latitude, 90), in_range(longitude, 180)


def in_range(degrees: float, most: float) -> float:
    """The same number, if its size is at most so much.

    Raises
    ------
    BadValue
        "out_of_range".
    """
    if abs(degrees) > most:
        raise BadValue("out_of_range")
    return degrees


def date(term: Term) -> PartialDate:
    """A date of type xsd:date, xsd:dateTime, xsd:gYearMonth or xsd:gYear.

    Raises
    ------
    BadValue
        "malformed_date" if the text is none of its type, or no day of the calendar;
        "before_common_era" if the year is 0 or less.
    """
    pattern = _PATTERNS.get(term.datatype)
    match = pattern.fullmatch(term.value.strip()) if pattern else None
    if match is None:
        raise BadValue("malformed_date")
    found = match.groupdict()
    year, month, day = (int(found[k]) if found.get(k) else None for k in ("year", "month", "day"))
    assert year is not None
    if year <= 0:
        raise BadValue("before_common_era")
    try:
        # Year and calendar are checked by building the day.
        dt.date(year, month or 1, day or 1)
    except ValueError as error:
        raise BadValue("malformed_date") from error
    # A month or a day of 00 is none.
    if month == 0 or day == 0:
        raise BadValue("malformed_date")
    return PartialDate(year, month, day)


def local_name(iri: str) -> str:
    """What follows DBpedia's address of resources, as `United_States`; else the last part."""
    return iri.removeprefix(RESOURCE) if iri.startswith(RESOURCE) else iri.rpartition("/")[2]


def without_parenthesis(title: str) -> str:
    """A title without what Wikipedia adds to tell pages apart: `It` for `It (novel)`."""
    return _PARENTHESIS.sub("", title) or title
