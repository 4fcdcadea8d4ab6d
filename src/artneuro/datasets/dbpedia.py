"""Tables of places and works from DBpedia, in the columns of those that the thesis published.

What is dropped and why is in a table of problems; nothing of it ends the run. The same answers of
the endpoint give the same bytes, in whatever order and however cut they come.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.datasets.dbpedia_config import DbpediaConfig, DbpediaQuery
from artneuro.datasets.dbpedia_queries import count_query, page_query
from artneuro.datasets.dbpedia_rows import Facts, Problem, place_row, work_row
from artneuro.datasets.pageviews import count_views
from artneuro.datasets.polite_http import PoliteClient
from artneuro.datasets.sparql import Pages, SparqlClient

log = logging.getLogger(__name__)

# The columns of the published files come first, in their order; `is_test` is not of DBpedia.
PLACE_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "entity_subtype": pl.String,
    "country": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "has_thumbnail": pl.Int64,
    "page_views": pl.Float64,
    "entity_type": pl.String,
    "total_area": pl.Float64,
    "population": pl.Float64,
    "state": pl.String,
    "page": pl.String,
    "subject": pl.String,
}
WORK_SCHEMA: dict[str, Any] = {
    "title": pl.String,
    "creator": pl.String,
    "release_date": pl.String,
    "length": pl.Float64,
    "page_name": pl.String,
    "page_views": pl.Float64,
    "entity_type": pl.String,
    "decade": pl.Int64,
    "date_precision": pl.String,
    "creators": pl.List(pl.String),
    "subject": pl.String,
}
PROBLEM_SCHEMA: dict[str, Any] = dict.fromkeys(Problem._fields, pl.String)
EXAMPLES = 3


def query_dbpedia(
    config: DbpediaConfig, cache: str | Path, output: str | Path, problems: str | Path
) -> dict[str, Any]:
    """Build a table from DBpedia.

    Parameters
    ----------
    config : DbpediaConfig
        What is read, from where.
    cache : path
        Folder of kept answers: a killed run goes on from it, a second one asks nothing. Delete it
        to read DBpedia anew.
    output : path
        Table to write, one row a page of Wikipedia, sorted by entity type (in the config's order)
        and subject. Places: name (as DBpedia labels it), entity_subtype, country and state (with
        underscores), latitude and longitude (degrees), has_thumbnail (0 or 1), page_views (null
        without `pageviews`), entity_type, total_area (square metres), population, page (title),
        subject (IRI). Works: title, creator, release_date (YYYY-MM-DD), length (pages or seconds),
        page_name, page_views, entity_type, decade, date_precision ("day", "month" or "year"; of
        the last two the middle is given), creators, subject. See `place_row` and `work_row` for
        how several values become one.
    problems : path
        Table of what was wrong: the fields of `Problem`.

    Returns
    -------
    dict
        The endpoint, counts by entity type (subjects, counted by the endpoint, rows), pages, short
        pages, and problems by kind.

    Raises
    ------
    SourceError
        If the endpoint or the source of page views fails for good.
    DataError
        If things are missing from the endpoint's answers, or no row is left.
    """
    client = SparqlClient(config.endpoint, PoliteClient(config.http, cache), config.graph)
    rows: list[dict[str, Any]] = []
    found: list[Problem] = []
    facts: dict[str, Any] = {"endpoint": config.endpoint, "queries": {}}
    for name, query in config.all_queries.items():
        counts = _read_query(config, client, name, query, rows, found)
        facts["queries"][name] = counts
        log.info("%s: %s", name, counts)
    log.info("%d answers fetched, %d kept from before", client.http.n_fetched, client.http.n_kept)
    kept = _popular(config, _one_per_page(rows, found), Path(cache))
    _log_problems(found)
    schema = PLACE_SCHEMA if config.table == "places" else WORK_SCHEMA
    table = pl.DataFrame([{key: row.get(key) for key in schema} for row in kept], schema)
    if table.is_empty():
        raise DataError(
            f"no row is left of {sum(n['subjects'] for n in facts['queries'].values())} things",
            where=config.endpoint,
            fix="see the log for what was wrong with them, and correct the classes, the graph or "
            "`pageviews`",
        )
    write_table(pl.DataFrame(found, PROBLEM_SCHEMA, orient="row").sort(pl.all()), problems)
    write_table(table, output)
    facts["rows"] = dict(sorted(Counter(row["entity_type"] for row in kept).items()))
    facts["problems"] = dict(sorted(Counter(problem.problem for problem in found).items()))
    return facts


def _read_query(
    config: DbpediaConfig,
    client: SparqlClient,
    name: str,
    query: DbpediaQuery,
    rows: list[dict[str, Any]],
    found: list[Problem],
) -> dict[str, int | None]:
    """Append the rows and problems of one query; what was read and counted."""
    build = place_row if config.table == "places" else work_row
    pages = Pages()

    def page(after: str, from_it_on: bool) -> str:
        return page_query(query, after, from_it_on, config.page_size)

    before = len(rows)
    for subject, answered in client.subjects(page, config.page_size, pages):
        facts = Facts(name, subject, answered)
        row = build(query, facts)
        if row is not None:
            rows.append(row)
        found += facts.problems
    found += [Problem(name, subject, "rows_may_be_cut", "", "nothing") for subject in pages.cut]
    if pages.n_subjects == 0:
        log.warning("%s: nothing is of the classes %s", name, ", ".join(query.classes))
    counted = client.count(count_query(query)) if config.compare_counts else None
    if counted is not None and counted - pages.n_subjects > config.max_missing * counted:
        raise DataError(
            f"the endpoint counts {counted} things of type {name} and answers {pages.n_subjects}",
            where=config.endpoint,
            fix="delete the kept answers and run again; if that helps nothing, ask for smaller "
            "pages, or take another endpoint",
        )
    return {
        "subjects": pages.n_subjects,
        "counted": counted,
        "usable": len(rows) - before,
        "pages": pages.n_pages,
        "short_pages": pages.n_short,
    }


def _page_of(row: dict[str, Any]) -> str:
    return row.get("page") or row["page_name"]


def _one_per_page(rows: Sequence[dict[str, Any]], found: list[Problem]) -> list[dict[str, Any]]:
    """The first row of each page: by the order of the queries, then of the subjects."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        page = _page_of(row)
        if page in first:
            found.append(Problem(row["entity_type"], row["subject"], "duplicate_page", page, "row"))
        else:
            first[page] = row
    return list(first.values())


def _popular(
    config: DbpediaConfig, rows: Sequence[dict[str, Any]], cache: Path
) -> list[dict[str, Any]]:
    """Rows whose pages were viewed often enough, with their views."""
    if config.pageviews is None:
        return list(rows)
    views = count_views(config.pageviews, {_page_of(row) for row in rows}, cache)
    counted = [{**row, "page_views": float(views[_page_of(row)])} for row in rows]
    kept = [row for row in counted if row["page_views"] > config.pageviews.min_page_views]
    log.info(
        "%d of %d pages were viewed more than %d times",
        len(kept), len(rows), config.pageviews.min_page_views,
    )  # fmt: skip
    return kept


def _log_problems(found: Sequence[Problem]) -> None:
    kinds: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for problem in found:
        kinds[problem.query, problem.problem, problem.lost].append(problem)
    for (query, kind, lost), some in sorted(kinds.items()):
        examples = ", ".join(f"{p.subject} {p.value}".strip() for p in some[:EXAMPLES])
        log.warning("%s: %d times %s (lost: %s), as %s", query, len(some), kind, lost, examples)
