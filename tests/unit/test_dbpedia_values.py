"""Literals of DBpedia, good and bad; rows from facts; configs that would ask for something else."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from pydantic import ValidationError

from artneuro.datasets import dbpedia_queries as iri
from artneuro.datasets.dbpedia_config import COLLEGES, PLACES, WORKS, DbpediaConfig, DbpediaQuery
from artneuro.datasets.dbpedia_rows import Facts, place_row
from artneuro.datasets.dbpedia_values import (
    BadValue,
    PartialDate,
    amount,
    date,
    local_name,
    number,
    point,
    without_parenthesis,
)
from artneuro.datasets.sparql import XSD, Term


def literal(text: str, datatype: str = "") -> Term:
    return Term("literal", text, XSD + datatype if datatype else "")


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-0.5", -0.5), ("+1.", 1), (".5", 0.5), ("1.2E3", 1200), (" 7 ", 7)],
)
def test_numbers(text, value):
    assert number(literal(text, "double")) == value


@pytest.mark.parametrize(
    "text",
    ["", "12.3abc", "1,5", "1_000", "NaN", "INF", "1e999", "0x10", "--1", "1 2", "١٢", "12°"],
)
def test_malformed_numbers(text):
    with pytest.raises(BadValue, match="malformed_number"):
        number(literal(text, "float"))


def test_numbers_are_literals_and_amounts_are_not_negative():
    with pytest.raises(BadValue, match="malformed_number"):
        number(Term("uri", "12"))
    with pytest.raises(BadValue, match="out_of_range"):
        amount(literal("-1"))
    assert amount(literal("0")) == 0


@pytest.mark.parametrize(
    ("text", "datatype", "expected"),
    [
        ("1986-09-15", "date", (1986, 9, 15)),
        ("1986-09-15Z", "date", (1986, 9, 15)),
        ("1986-09-15+02:00", "date", (1986, 9, 15)),
        ("2000-02-29", "date", (2000, 2, 29)),
        ("0450-01-01", "date", (450, 1, 1)),
        ("1989-03-04T00:00:00.5Z", "dateTime", (1989, 3, 4)),
        ("1950", "gYear", (1950, None, None)),
        ("1950-07", "gYearMonth", (1950, 7, None)),
    ],
)
def test_dates(text, datatype, expected):
    assert date(literal(text, datatype)) == PartialDate(*expected)


@pytest.mark.parametrize(
    ("text", "datatype"),
    [
        ("1986-02-30", "date"), ("1900-02-29", "date"), ("1986-13-01", "date"),
        ("1986-00-10", "date"), ("1986-10-00", "date"), ("1986-9-5", "date"), ("1986", "date"),
        ("1950-01-01", "gYear"), ("50", "gYear"), ("12345", "gYear"), ("1950-00", "gYearMonth"),
        ("1986-09-15", ""), ("1986-09-15", "string"), ("1986-09-15x", "date"), ("", "date"),
        ("--09-15", "gMonthDay"), ("1986-09-15", "dateTime"),
    ],
)  # fmt: skip
def test_malformed_dates(text, datatype):
    with pytest.raises(BadValue, match="malformed_date"):
        date(literal(text, datatype))


@pytest.mark.parametrize(
    ("text", "datatype"), [("-0044-03-15", "date"), ("-0044", "gYear"), ("0000", "gYear")]
)
def test_years_before_the_common_era_are_told_apart(text, datatype):
    with pytest.raises(BadValue, match="before_common_era"):
        date(literal(text, datatype))


def test_every_day_of_the_calendar_and_no_other():
    for year in (1900, 1999, 2000, 2004):
        for month, day in itertools.product(range(14), range(34)):
            text = f"{year}-{month:02d}-{day:02d}"
            try:
                expected = dt.date.fromisoformat(text)
            except ValueError:
                with pytest.raises(BadValue):
                    date(literal(text, "date"))
            else:
                found = date(literal(text, "date"))
                assert found.middle() == text == expected.isoformat()
                assert found.precision == "day"


def test_a_day_comes_before_the_year_that_it_lies_in():
    day, month, year = PartialDate(1986, 3, 4), PartialDate(1986, 3), PartialDate(1986)
    mixed = [year, month, PartialDate(1985), day]
    ordered = sorted(mixed, key=lambda found: found.order)
    assert ordered == [PartialDate(1985), day, month, year]
    assert [month.middle(), year.middle()] == ["1986-03-15", "1986-07-02"]
    # The second of July is the middle of a year that is no leap year.
    assert dt.date(1986, 7, 2).timetuple().tm_yday == (365 + 1) / 2


def test_points():
    assert point(literal("48.5 -2.25")) == (48.5, -2.25)
    for text, kind in [("48.5", "malformed"), ("a b", "malformed"), ("91 0", "out_of"),
                       ("0 181", "out_of")]:  # fmt: skip
        with pytest.raises(BadValue, match=kind):
            point(literal(text))


def test_names():
    assert local_name("http://dbpedia.org/resource/AC/DC") == "AC/DC"
    assert local_name("http://dbpedia.org/ontology/Lake") == "Lake"
    assert without_parenthesis("It (novel)") == "It"
    assert without_parenthesis("(Sittin' On) The Dock of the Bay") == (
        "(Sittin' On) The Dock of the Bay"
    )
    assert without_parenthesis("Queen (band) (live)") == "Queen (band)"
    assert without_parenthesis("(500)") == "(500)"


def test_rows_do_not_depend_on_the_order_of_facts():
    facts = [
        (iri.TYPE, "uri", iri.ONTOLOGY + "Lake"), (iri.TYPE, "uri", iri.ONTOLOGY + "Sea"),
        (iri.LABEL, "literal", "B"), (iri.LABEL, "literal", "A"),
        (iri.PAGE, "uri", "http://en.wikipedia.org/wiki/b_c"), (iri.POINT, "literal", "3 4"),
        (iri.POINT, "literal", "1 2"), (iri.COUNTRY, "uri", iri.RESOURCE + "Y"),
        (iri.COUNTRY, "uri", iri.RESOURCE + "X"), (iri.AREA, "literal", "oops"),
    ]  # fmt: skip
    query = DbpediaQuery(classes=["NaturalPlace"], subtypes=["Sea", "Lake"])
    found = []
    for order in (facts, facts[::-1], facts[3:] + facts[:3]):
        rows = [{"p": Term("uri", p), "o": Term(kind, text)} for p, kind, text in order]
        facts_of = Facts("q", "urn:s", rows)
        found.append((place_row(query, facts_of), facts_of.problems))
    assert found[0] == found[1] == found[2]
    row = found[0][0]
    assert row is not None
    chosen = ("name", "page", "country", "entity_subtype", "latitude", "longitude")
    assert [row[k] for k in chosen] == ["A", "B_c", "X", "Sea", 1, 2]


@pytest.mark.parametrize(
    "values",
    [
        {"queries": {"q": {"classes": ["Place> } # "]}}},
        {"queries": {"q": {"classes": []}}},
        {"queries": {"q": {"classes": ["Place"], "country": "X> . ?s ?p ?o"}}},
        {"queries": {"q": {"classes": ["Place"], "creators": ["artist"]}}},
        {"table": "works", "queries": {"q": {"classes": ["Book"], "creators": ["author"]}}},
        {"table": "works", "queries": {"q": {"classes": ["Book"], "dates": ["a b"]}}},
        {"endpoint": "file:///etc/passwd"},
        {"graph": "http://a> } #"},
        {"http": {"user_agent": "a\r\nHost: b"}},
        {"http": {"requests_per_second": 0}},
        {"pageviews": {"reader": "dumps", "paths": ["a"], "first_month": "2021-01"}},
        {"pageviews": {"reader": "dumps", "paths": []}},
        {"pageviews": {"reader": "rest", "project": "en.wikipedia/../x"}},
        {"page_size": 1},
    ],
)
def test_configs_that_are_refused(values):
    with pytest.raises(ValidationError):
        DbpediaConfig.model_validate({"table": "places", **values})


def test_default_queries():
    assert DbpediaConfig(table="places").all_queries == PLACES
    assert DbpediaConfig(table="works").all_queries == WORKS
    own = DbpediaConfig(table="places", queries=COLLEGES)
    assert own.all_queries == COLLEGES
    text = iri.page_query(COLLEGES["college"], 'x"y', True, 50)
    assert "<http://dbpedia.org/resource/United_States>" in text
    assert 'STR(?s) >= "x\\"y"' in text
    assert "LIMIT 50" in text
