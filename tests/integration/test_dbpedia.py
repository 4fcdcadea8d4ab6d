"""Tables from a SPARQL endpoint on loopback: planted things come back whatever it does."""

from __future__ import annotations

import functools
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("pyoxigraph")

import pyoxigraph as ox

from artneuro.core.errors import DataError, SourceError
from artneuro.datasets import dbpedia
from artneuro.datasets.dbpedia_config import DbpediaConfig
from artneuro.datasets.pageviews import request_views
from artneuro.datasets.pageviews_config import RequestedPageviews
from artneuro.datasets.polite_config import PoliteConfig
from artneuro.datasets.polite_http import PoliteClient
from artneuro.datasets.sparql import SparqlClient
from tests.sparql_server import WIKIPEDIA, Things, dbo, dbr, english, serving, typed

pytestmark = pytest.mark.integration

# Letters beyond ASCII, quotes, a backslash and ends that sort differently by words and characters.
NAMES = [f"Town_{i:02d}" for i in range(40)] + [
    "Århus", "Zürich", "A_Coruña", "St._John's", "東京", "O%22Brien", "Town_(Ohio)", "Ｔown",
    "towns", "Town", "𝔗own", "\u00c5s", "Back%5Cslash",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def places() -> Things:
    things = Things()
    for i, name in enumerate(NAMES):
        things.place(name, "PopulatedPlace", i - 20.5, 3 * i - 60.25)
    for i in range(12):
        # An island is a populated place too, and is found by one query only.
        things.place(f"Lake_{i}", "Lake", i, -i, type=[dbo("NaturalPlace"), dbo("Lake")])
    return things


def config(url: str, **values) -> DbpediaConfig:
    http = {"requests_per_second": 100, "backoff_s": 0.001, "timeout_s": 5, "user_agent": "test/1"}
    return DbpediaConfig.model_validate(
        {
            "table": "places", "endpoint": url, "graph": None, "page_size": 7, **values,
            "http": {**http, **values.get("http", {})},
        }
    )  # fmt: skip


def build(config: DbpediaConfig, folder: Path):
    """The table, its problems and the facts of a run in the folder."""
    table, problems = folder / "table.parquet", folder / "problems.parquet"
    facts = dbpedia.query_dbpedia(config, folder / "cache", table, problems)
    return pl.read_parquet(table), pl.read_parquet(problems), facts


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Waits of the client, which takes none."""
    waited: list[float] = []
    patient = functools.partial(PoliteClient, sleep=waited.append)
    monkeypatch.setattr(dbpedia, "PoliteClient", patient)
    return waited


def assert_planted(table: pl.DataFrame) -> None:
    towns = table.filter(pl.col("entity_type") == "populated_place")
    assert towns["subject"].to_list() == sorted(f"http://dbpedia.org/resource/{n}" for n in NAMES)
    found = {row["subject"].rpartition("/")[2]: row for row in towns.to_dicts()}
    for i, name in enumerate(NAMES):
        row = found[name]
        assert row["name"] == name.replace("_", " ")
        assert (row["latitude"], row["longitude"]) == (i - 20.5, 3 * i - 60.25)
        assert (row["country"], row["entity_subtype"]) == ("Norway", "PopulatedPlace")
    lakes = table.filter(pl.col("entity_type") == "natural_place")
    assert len(lakes) == 12
    assert set(lakes["entity_subtype"]) == {"Lake"}


# --- paging and truncation -----------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [2, 7, 1000])
def test_pages_of_any_size_hold_everything_once(places, page_size, tmp_path):
    with serving(places.store) as endpoint:
        table, problems, facts = build(config(endpoint.url, page_size=page_size), tmp_path)
    assert_planted(table)
    assert problems.is_empty()
    assert facts["rows"] == {"natural_place": 12, "populated_place": len(NAMES)}
    assert facts["queries"]["populated_place"]["counted"] == len(NAMES)
    assert facts["queries"]["populated_place"]["short_pages"] == 0
    assert {request.user_agent for request in endpoint.requests} == {"test/1"}
    assert max(Counter(endpoint.whole).values()) == 1


@pytest.mark.parametrize("max_rows", [11, 25, 60])
def test_answers_cut_without_saying_so_lose_nothing(places, max_rows, tmp_path, caplog):
    with serving(places.store) as endpoint, caplog.at_level(logging.WARNING, "artneuro"):
        endpoint.max_rows = max_rows
        table, problems, facts = build(config(endpoint.url, page_size=30), tmp_path)
    assert_planted(table)
    assert facts["queries"]["populated_place"]["short_pages"] > 0
    assert "without saying so" in caplog.text
    assert "rows_may_be_cut" not in problems["problem"].to_list()


def test_things_with_more_rows_than_the_endpoint_gives_are_named(places, tmp_path):
    with serving(places.store) as endpoint:
        # Each town has eight rows.
        endpoint.max_rows = 7
        table, problems, _ = build(config(endpoint.url), tmp_path)
    n_towns = table.filter(pl.col("entity_type") == "populated_place").height
    lost = problems.filter(pl.col("lost") == "row")
    cut = problems.filter(pl.col("problem") == "rows_may_be_cut")
    # Nothing disappears without a word: a town has a row or a problem, and the cut ones are named.
    assert n_towns + lost.filter(pl.col("query") == "populated_place").height == len(NAMES)
    assert cut["subject"].n_unique() >= len(NAMES) - 1


def test_an_empty_page_too_early_is_found_by_counting(places, tmp_path):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "empty" if number == 3 else None
        with pytest.raises(SourceError, match="no longer has a subject"):
            build(config(endpoint.url), tmp_path / "a")
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "empty" if number == 0 else None
        with pytest.raises(DataError, match=f"counts {len(NAMES)} things .* answers 0"):
            build(config(endpoint.url), tmp_path / "b")
    assert not (tmp_path / "a" / "table.parquet").exists()


def test_an_endpoint_that_ignores_the_order_is_refused(places, tmp_path):
    with serving(places.store) as endpoint:
        honest = endpoint.results

        def shuffled(query: str) -> bytes:
            answer = json.loads(honest(query))
            answer["results"]["bindings"].reverse()
            return json.dumps(answer).encode()

        endpoint.results = shuffled
        with pytest.raises(SourceError, match="does not order subjects"):
            build(config(endpoint.url), tmp_path)


# --- failures of the network and of the endpoint -------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    ["429:1", "503", "500", "drop", "cut", "cut_quietly", "broken_off", "partial", "html", "hang"],
)
def test_failures_that_pass(places, fault, tmp_path, waits):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: fault if number in (1, 2, 5) else None
        patience = {"timeout_s": 4} if fault == "hang" else {}
        table, _, _ = build(config(endpoint.url, http=patience), tmp_path)
        failed = [request.query for request in endpoint.requests if request.answer == fault]
        assert len(failed) == 3
        # The same query again, until it is answered; then never more.
        assert set(failed) <= set(endpoint.whole)
        assert max(Counter(endpoint.whole).values()) == 1
    assert_planted(table)
    if fault == "429:1":
        assert sum(wait >= 1 for wait in waits) == 3


def test_waits_grow_and_end(places, tmp_path, waits):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "503"
        http = {"attempts": 5, "backoff_s": 10, "max_wait_s": 50, "requests_per_second": 100}
        with pytest.raises(SourceError, match="no whole answer in 5 attempts: 503"):
            build(config(endpoint.url, http=http), tmp_path)
        assert len(endpoint.requests) == 5
    # Short ones keep the rate.
    long = [wait for wait in waits if wait > 1]
    assert len(long) == 4
    for wait, most in zip(long, [10, 20, 40, 50], strict=True):
        assert most / 2 <= wait <= most


def test_a_wait_that_is_too_long_ends_the_run(places, tmp_path, waits):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "429:7200"
        with pytest.raises(SourceError, match="asks to wait 7200 s"):
            build(config(endpoint.url), tmp_path)
        assert len(endpoint.requests) == 1


def test_retry_after_may_be_a_date(places, tmp_path, waits):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: (
            "503:Fri, 01 Jan 2100 00:00:00 GMT" if number == 0 else None
        )
        with pytest.raises(SourceError, match=r"asks to wait \d{7,} s"):
            build(config(endpoint.url), tmp_path)


def test_redirects(places, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"head": {"vars": []}, "results": {"bindings": []}}))
    for target in (secret.as_uri(), "ftp://127.0.0.1/x", "data:application/json,{}"):
        with serving(places.store) as endpoint:
            endpoint.fault = lambda number, query, target=target: f"redirect:{target}"
            with pytest.raises(SourceError, match="sends the request elsewhere"):
                build(config(endpoint.url), tmp_path / "refused")
            assert len(endpoint.requests) == 1
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: (
            f"redirect:{endpoint.url}" if number % 2 == 0 else None
        )
        assert_planted(build(config(endpoint.url), tmp_path / "followed")[0])


def test_answers_that_are_too_large(places, tmp_path):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "huge:3000000"
        with pytest.raises(SourceError, match=r"larger than 0\.1 MB"):
            build(config(endpoint.url, http={"max_answer_mb": 0.1}), tmp_path)


def test_refusals_are_final_and_quoted(places, tmp_path):
    with serving(places.store) as endpoint:
        endpoint.fault = lambda number, query: "400"
        with pytest.raises(SourceError, match=r"400 Bad Request: Virtuoso 22023 Error: busy"):
            build(config(endpoint.url), tmp_path)
        assert len(endpoint.requests) == 1


def test_long_queries_are_sent_as_forms(places, tmp_path):
    iris = " ".join(f"<urn:{i:050d}>" for i in range(90))
    query = f"SELECT ?s WHERE {{ VALUES ?s {{ {iris} }} }}"
    with serving(places.store) as endpoint:
        client = PoliteClient(PoliteConfig(requests_per_second=100), tmp_path)
        assert len(SparqlClient(endpoint.url, client).select(query)) == 90
        assert endpoint.whole == [query]


# --- what is kept --------------------------------------------------------------------------------


def test_a_second_run_asks_nothing_and_damaged_answers_are_asked_for_again(places, tmp_path):
    with serving(places.store) as endpoint:
        chosen = config(endpoint.url)
        build(chosen, tmp_path)
        first, n = (tmp_path / "table.parquet").read_bytes(), len(endpoint.requests)
        build(chosen, tmp_path)
        assert len(endpoint.requests) == n
        kept = sorted((tmp_path / "cache").rglob("*.answer"))
        assert len(kept) == n
        # What was asked stands beside each answer.
        assert all(
            "query" in json.loads(p.read_bytes().split(b"\n")[0])["parameters"] for p in kept
        )
        kept[0].write_bytes(kept[0].read_bytes()[:-10])
        kept[1].write_bytes(b"")
        flipped = bytearray(kept[2].read_bytes())
        flipped[-20] ^= 1
        kept[2].write_bytes(flipped)
        build(chosen, tmp_path)
        assert len(endpoint.requests) == n + 3
        assert (tmp_path / "table.parquet").read_bytes() == first


KILLED = """
import sys
from artneuro.datasets.dbpedia import query_dbpedia
from artneuro.datasets.dbpedia_config import DbpediaConfig
folder = sys.argv[1]
query_dbpedia(
    DbpediaConfig.model_validate_json(sys.argv[2]),
    folder + "/cache", folder + "/table.parquet", folder + "/problems.parquet",
)
"""


def test_killed_runs_go_on_where_they_were(places, tmp_path):
    with serving(places.store) as endpoint:
        build(config(endpoint.url), tmp_path / "undisturbed")
        undisturbed, n = set(endpoint.whole), len(endpoint.requests)
        endpoint.requests.clear()
        for number in (2, 7):
            endpoint.held.clear()
            endpoint.fault = lambda n, query, number=number: "hold" if n == number else None
            command = [sys.executable, "-c", KILLED, str(tmp_path)]
            with subprocess.Popen([*command, config(endpoint.url).model_dump_json()]) as run:
                assert endpoint.held.wait(60)
                run.kill()
        assert not (tmp_path / "table.parquet").exists()
        endpoint.fault = lambda n, query: None
        build(config(endpoint.url), tmp_path)
        assert set(endpoint.whole) == undisturbed
        assert len(endpoint.whole) == n
    for name in ("table.parquet", "problems.parquet"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


# --- what DBpedia has ----------------------------------------------------------------------------


def test_places_with_problems_are_dropped_and_named(tmp_path, caplog):
    things = Things()
    things.place("Good", "PopulatedPlace", 1.5, 2.5)
    things.place("Nowhere", "PopulatedPlace", None, None)
    things.place("Half", "PopulatedPlace", typed("12.3abc", "float"), 0)
    things.place("Beyond", "PopulatedPlace", 91, 0)
    things.place("Infinite", "PopulatedPlace", 0, typed("INF", "float"))
    things.place("Pageless", "PopulatedPlace", 0, 0, page=None)
    things.place("Nameless", "PopulatedPlace", 0, 0, label=ox.Literal("Ohne", language="de"))
    things.place(
        "Crowd", "PopulatedPlace", 0, 0,
        populationTotal=[typed("many", "integer"), typed("-5", "integer"), typed("7", "integer")],
        areaTotal=[typed("2.5E6", "double"), typed("1e6", "double")],
    )  # fmt: skip
    with serving(things.store) as endpoint, caplog.at_level(logging.WARNING, "artneuro"):
        table, problems, facts = build(config(endpoint.url), tmp_path)
    assert table["page"].to_list() == ["Crowd", "Good"]
    assert table.row(0, named=True)["population"] == 7
    assert table.row(0, named=True)["total_area"] == 2.5e6
    found = {
        (subject.rpartition("/")[2], problem, lost): value
        for subject, problem, value, lost in problems.select(
            "subject", "problem", "value", "lost"
        ).iter_rows()
    }
    assert found == {
        ("Nowhere", "no_coordinates", "row"): "",
        ("Half", "malformed_number", "value"): "12.3abc",
        ("Half", "no_coordinates", "row"): "",
        ("Beyond", "out_of_range", "value"): "91",
        ("Beyond", "no_coordinates", "row"): "",
        ("Infinite", "malformed_number", "value"): "INF",
        ("Infinite", "no_coordinates", "row"): "",
        ("Pageless", "no_page", "row"): "",
        ("Nameless", "no_name", "row"): "",
        ("Crowd", "malformed_number", "value"): "many",
        ("Crowd", "out_of_range", "value"): "-5",
    }
    assert facts["problems"]["no_coordinates"] == 4
    assert "populated_place: 4 times no_coordinates (lost: row)" in caplog.text


def test_several_values_become_one_and_pages_are_unique(tmp_path):
    things = Things()
    things.place("Border", "PopulatedPlace", 0, 0, country=[dbr("Sweden"), dbr("Norway")])
    things.place(
        "Isle", "Island", 5, 6, type=[dbo("PopulatedPlace"), dbo("Island"), dbo("NaturalPlace")]
    )
    things.place("Isle_(island)", "PopulatedPlace", 5, 6, page=ox.NamedNode(WIKIPEDIA + "Isle"))
    floats = [typed(text, "float") for text in ("10.0", "10.25", "50.5")]
    things.place("Moved", "PopulatedPlace", floats, 0, point=ox.Literal("50.5 3.75"))
    things.place("Twice", "PopulatedPlace", floats[:2], 8)
    near = [typed("10", "float"), typed("10.0625", "float")]
    things.place("Near", "PopulatedPlace", near, 8)
    with serving(things.store) as endpoint:
        table, problems, _ = build(config(endpoint.url), tmp_path)
    rows = {row["page"]: row for row in table.to_dicts()}
    assert list(rows) == ["Border", "Isle", "Moved", "Near"]
    assert rows["Border"]["country"] == "Norway"
    assert rows["Isle"]["entity_type"] == "populated_place"
    assert rows["Isle"]["entity_subtype"] == "Island"
    assert (rows["Moved"]["latitude"], rows["Moved"]["longitude"]) == (50.5, 3.75)
    assert rows["Near"]["latitude"] == 10
    kinds = Counter(problems.select("problem", "lost").iter_rows())
    assert kinds == {
        ("duplicate_page", "row"): 2,
        ("several_coordinates", "nothing"): 3,
        ("contradicting_coordinates", "row"): 1,
    }


def test_colleges_of_one_country(tmp_path):
    things = Things()
    things.place("Here", "University", 1, 2, country=dbr("United_States"), state=dbr("Ohio"))
    things.place("There", "College", 1, 2)
    # Of both classes, and yet one thing: it does not take the place of another on a page.
    both = {"type": [dbo("University"), dbo("College")], "country": dbr("United_States")}
    for name in ("C1", "C2", "C3"):
        things.place(name, "College", 3, 4, **both)
    queries = {"college": {"classes": ["University", "College"], "country": "United_States"}}
    with serving(things.store) as endpoint:
        table, _, facts = build(config(endpoint.url, queries=queries, page_size=2), tmp_path)
    assert table.select("page", "state").rows() == [
        ("C1", None), ("C2", None), ("C3", None), ("Here", "Ohio"),
    ]  # fmt: skip
    assert set(table["entity_type"]) == {"college"}
    assert facts["queries"]["college"]["counted"] == 4
    assert facts["queries"]["college"]["short_pages"] == 0


def test_works(tmp_path):
    things = Things()
    song = functools.partial(things.work, kind="Song", by="artist")
    song("It_(song)", creator="Band_(band)", when="1986-09-15", runtime=typed("200.0", "double"))
    song("Duet", creator="Zoe", when="1970-01-02")
    things.add("Duet", artist=dbr("Band_(band)"), releaseDate=typed("1969-12-31", "date"))
    song("February", creator="Zoe", when="1986-02-30")
    song("Antique", creator="Zoe", when="-0044-03-15")
    song("Wrong_year", creator="Zoe", when="x", releaseDate=typed("1950-01-01", "gYear"))
    song("Only_year", creator="Zoe", when="x", releaseDate=typed("1950", "gYear"))
    song(
        "Year_and_day", creator="Zoe", when="x",
        releaseDate=[typed("1950", "gYear"), typed("1950-11-12", "date"), typed("oops", "date")],
    )  # fmt: skip
    song("Undated", creator="Zoe", when="x", releaseDate=None)
    song("Orphan", creator="Zoe", when="1960-01-02", artist=None)
    things.work("Film_(1999_film)", "Film", "Ann", "director", "1999-05-06",
                runtime=[typed("5940.0", "double"), typed("6000.0", "double")])  # fmt: skip
    things.work("Book", "Book", "Bob", "author", "1990-01-02",
                publicationDate=typed("1989-03-04T00:00:00Z", "dateTime"),
                numberOfPages=typed("288", "positiveInteger"))  # fmt: skip
    with serving(things.store) as endpoint:
        table, problems, facts = build(config(endpoint.url, table="works"), tmp_path)
    columns = ["title", "creator", "release_date", "length", "page_name", "entity_type", "decade"]
    assert table.columns[:6] == [*columns[:5], "page_views"]
    assert table.select([*columns, "date_precision"]).rows() == [
        ("Duet", "Band", "1969-12-31", None, "Duet", "song", 1960, "day"),
        ("It", "Band", "1986-09-15", None, "It_(song)", "song", 1980, "day"),
        ("Only year", "Zoe", "1950-07-02", None, "Only_year", "song", 1950, "year"),
        ("Year and day", "Zoe", "1950-11-12", None, "Year_and_day", "song", 1950, "day"),
        ("Film", "Ann", "1999-05-06", 5940, "Film_(1999_film)", "movie", 1990, "day"),
        ("Book", "Bob", "1989-03-04", 288, "Book", "book", 1980, "day"),
    ]
    assert table["creators"].to_list()[0] == ["Band", "Zoe"]
    named = problems.select("problem", "value", "lost").rows()
    assert sorted(named) == sorted(
        [
            ("malformed_date", "1986-02-30", "value"),
            ("before_common_era", "-0044-03-15", "value"),
            ("malformed_date", "1950-01-01", "value"),
            ("malformed_date", "oops", "value"),
            *[("no_date", "", "row")] * 4,
            ("no_creator", "", "row"),
        ]
    )
    assert facts["rows"] == {"book": 1, "movie": 1, "song": 4}


# --- page views of the REST service --------------------------------------------------------------


def test_page_views_are_requested_once_and_kept(tmp_path):
    things = Things()
    for name, title in [("Known", "Known"), ("Little", "Little"), ("Àx?_(y/z)", "Never")]:
        things.place(name, "PopulatedPlace", 1, 2, page=ox.NamedNode(WIKIPEDIA + title))
    with serving(things.store) as endpoint:
        base = "/views/en.wikipedia/all-access/user"
        period = "monthly/20180101/20201231"
        views = {"Known": [3000, 2001], "Little": [5000]}
        endpoint.other = {
            f"{base}/{title}/{period}": json.dumps(
                {"items": [{"views": n} for n in found]}
            ).encode()
            for title, found in views.items()
        }
        address = endpoint.url.replace("/sparql", "/views")
        http = {"requests_per_second": 100, "attempts": 1}
        pageviews = {"reader": "rest", "endpoint": address, "http": http}
        chosen = config(endpoint.url, pageviews=pageviews)
        table, _, _ = build(chosen, tmp_path)
        # More than 5,000: the page with just as many is left out, and the one that is not there.
        assert table.select("page", "page_views").rows() == [("Known", 5001.0)]
        n = len(endpoint.requests)
        build(chosen, tmp_path)
        assert len(endpoint.requests) == n
        client = PoliteClient(PoliteConfig(requests_per_second=100), tmp_path / "other")
        rest = RequestedPageviews.model_validate(pageviews)
        assert request_views(rest, client, "AC/DC_?_ü") == 0
        assert endpoint.requests[-1].path == f"{base}/AC%2FDC_%3F_%C3%BC/{period}"


def test_labels_in_quotes_are_asked_for(tmp_path):
    things = Things()
    things.place("A", "PopulatedPlace", 1, 2, label=english('"Heroes"\\\n'))
    with serving(things.store) as endpoint:
        table, _, _ = build(config(endpoint.url), tmp_path)
    assert table["name"].to_list() == ['"Heroes"\\']
