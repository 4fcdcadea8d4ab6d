"""Paging through an endpoint that cuts its answers, and reading what it says."""

from __future__ import annotations

import json
import random

import pytest

from artneuro.core.errors import SourceError
from artneuro.datasets.polite_http import BadAnswer
from artneuro.datasets.sparql import Pages, SparqlClient, Term, quoted, read_results


class Endpoint(SparqlClient):
    """Answers from a dict, cut at a number of rows that is drawn for each answer."""

    def __init__(self, things: dict[str, int], cut) -> None:
        self.endpoint, self.things, self.cut = "memory", things, cut

    def select(self, query: str):
        after, from_it_on, size = json.loads(query)
        found = sorted(s for s in self.things if s > after or (from_it_on and s == after))[:size]
        rows = [
            {"s": Term("uri", s), "o": Term("literal", str(i))}
            for s in found
            for i in range(self.things[s])
        ]
        return rows[: self.cut()]


def read_all(things: dict[str, int], size: int, cut):
    pages = Pages()
    page = lambda after, from_it_on: json.dumps([after, from_it_on, size])  # noqa: E731
    found = [(s, len(rows)) for s, rows in Endpoint(things, cut).subjects(page, size, pages)]
    assert pages.n_subjects == len(found)
    return found, pages


def draw(rng: random.Random) -> dict[str, int]:
    return {
        "".join(rng.choices("aåZ東𝔗", k=4)): rng.randint(1, 6) for _ in range(rng.randint(0, 40))
    }


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_to_a_limit_above_the_largest_thing(seed):
    rng = random.Random(seed)
    things, limit = draw(rng), rng.randint(7, 40)
    found, pages = read_all(things, rng.randint(2, 12), lambda: limit)
    assert found == sorted(things.items())
    assert pages.cut == []


@pytest.mark.parametrize("seed", range(40))
def test_a_lower_limit_loses_no_subject_and_names_those_that_lack_rows(seed):
    rng = random.Random(seed)
    things, limit = draw(rng), rng.randint(1, 5)
    found, pages = read_all(things, rng.randint(2, 12), lambda: limit)
    assert [s for s, _ in found] == sorted(things)
    lacking = {s for s, n in found if n < things[s]}
    # With one thing alone nothing tells a limit from all there is.
    assert lacking <= set(pages.cut) or len(things) == 1


@pytest.mark.parametrize("seed", range(20))
def test_limits_that_change_lose_no_subject(seed):
    rng = random.Random(seed)
    things = draw(rng)
    found, _ = read_all(things, 5, lambda: rng.randint(1, 30))
    assert [s for s, _ in found] == sorted(things)


def test_whole_pages_are_not_called_short():
    things = {f"s{i:02d}": 3 for i in range(20)}
    for size in (2, 5, 19, 20, 21, 100):
        assert read_all(things, size, lambda: 1000)[1].n_short == 0
    assert read_all(things, 10, lambda: 9)[1].n_short > 0


def test_subjects_that_were_not_asked_for_are_refused():
    class Stuck(Endpoint):
        def select(self, query):
            return super().select(json.dumps(["", False, 3]))

    with pytest.raises(SourceError, match="not asked for"):
        list(Stuck({"a": 1, "b": 1, "c": 1}, lambda: 9).subjects(lambda *a: "", 3, Pages()))


def test_quoted_text_stays_inside_its_quotes():
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_results_are_read():
    body = {
        "head": {"vars": ["s", "o"]},
        "results": {
            "bindings": [
                {
                    "s": {"type": "uri", "value": "urn:a"},
                    "o": {"type": "typed-literal", "value": "1", "datatype": "urn:int"},
                },
                {"s": {"type": "literal", "value": "x", "xml:lang": "en"}},
            ]
        },
    }
    assert read_results(json.dumps(body).encode()) == [
        {"s": Term("uri", "urn:a"), "o": Term("literal", "1", "urn:int")},
        {"s": Term("literal", "x")},
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"head": {}, "results": {"bindings": [{"s": {"type": "uri", "value": "urn:a"}}',
        b'{"boolean": true}',
        b'{"results": {"bindings": [{"s": {"type": "uri"}}]}}',
        b'{"results": {"bindings": [{"s": {"type": "triple", "value": "x"}}]}}',
        b'{"results": {"bindings": [{"s": {"type": "uri", "value": 1}}]}}',
        b"\xff\xfe",
    ],
)
def test_other_bodies_are_bad_answers(body):
    with pytest.raises(BadAnswer):
        read_results(body)
