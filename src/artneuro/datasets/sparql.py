"""SPARQL over HTTP, page by page, from public endpoints that cannot be trusted to answer whole.

Pages are cut by the subject's IRI (keyset paging) and not by OFFSET, which public endpoints limit,
and which moves when data are added. Endpoints also cut answers at a number of rows of their own,
without saying so. Therefore the number of rows says nothing here: the last subject of a page counts
as incomplete and starts the next one, and the pages end where one has no rows. That loses nothing
however short the pages are. What an endpoint leaves out in other ways (an empty page too early) is
found by comparing with its own count of the subjects.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import NamedTuple

from artneuro.core.errors import SourceError
from artneuro.datasets.polite_http import BadAnswer, PoliteClient

log = logging.getLogger(__name__)

RESULTS = "application/sparql-results+json"
XSD = "http://www.w3.org/2001/XMLSchema#"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
REPORT_EVERY = 20


class Term(NamedTuple):
    """A term of RDF.

    Attributes
    ----------
    kind : str
        "uri", "literal" or "bnode".
    value : str
        The IRI, or the literal's text.
    datatype : str
        IRI of the literal's type; empty for plain text and for IRIs.
    """

    kind: str
    value: str
    datatype: str = ""


Row = dict[str, Term]


def quoted(text: str) -> str:
    """A string literal of SPARQL with this text."""
    return f'"{text.translate(_ESCAPES)}"'


@dataclass
class Pages:
    """How reading page by page went.

    Attributes
    ----------
    n_pages, n_subjects : int
        Pages read; subjects found.
    n_short : int
        Pages that held fewer subjects than asked for although there were more: the endpoint cut
        them without saying so.
    cut : list of str
        Subjects whose rows alone filled such a page, so that some may be missing.
    """

    n_pages: int = 0
    n_subjects: int = 0
    n_short: int = 0
    cut: list[str] = field(default_factory=list)


class SparqlClient:
    """Asks one endpoint.

    Parameters
    ----------
    endpoint : str
        Address of the endpoint.
    http : PoliteClient
        Who asks.
    graph : str, optional
        IRI of the default graph, where the endpoint holds several.
    """

    def __init__(self, endpoint: str, http: PoliteClient, graph: str | None = None) -> None:
        self.endpoint, self.http = endpoint, http
        self._graph = {"default-graph-uri": graph} if graph else {}

    def select(self, query: str) -> list[Row]:
        """Rows of a SELECT query, in the endpoint's order.

        Raises
        ------
        SourceError
            As `PoliteClient.ask`.
        """
        return self.http.ask(
            self.endpoint, {**self._graph, "query": query}, read_results, accept=RESULTS
        )

    def count(self, query: str) -> int:
        """The single number `?n` of a query.

        Raises
        ------
        SourceError
            As `select`, or if the answer is no such number.
        """
        rows = self.select(query)
        number = rows[0]["n"].value if len(rows) == 1 and "n" in rows[0] else ""
        # No count has so many digits that int() would refuse them.
        if not number.isdecimal() or len(number) > 18:
            raise SourceError("the endpoint answers no count", self.endpoint)
        return int(number)

    def subjects(
        self, page: Callable[[str, bool], str], page_size: int, pages: Pages
    ) -> Iterator[tuple[str, list[Row]]]:
        """All subjects of a query with their rows, page by page.

        Parameters
        ----------
        page : function of (str, bool)
            The query for one page: at most `page_size` subjects `?s` whose text is behind the given
            one, or from it on where the flag is set, with all their rows, ordered by `STR(?s)`.
        page_size : int
            Subjects asked for on a page.
        pages : Pages
            Filled in while reading.

        Yields
        ------
        subject : str
            IRI; in the order of their characters' code points.
        rows : list of Row
            Its rows, in the endpoint's order.

        Raises
        ------
        SourceError
            As `select`, or if the endpoint does not keep the order.
        """
        last, from_it_on = "", False
        # That a page was short is known only when a further subject follows.
        short: list[tuple[int, str]] = []
        n_rows = most_rows = 0
        while rows := self.select(page(last, from_it_on)):
            groups = [
                (s, list(found)) for s, found in groupby(rows, key=lambda row: row["s"].value)
            ]
            n_rows, most_rows = len(rows), max(most_rows, len(rows))
            self._check_order([s for s, _ in groups], last, from_it_on)
            if len(groups) > 1 or not from_it_on:
                self._note_short(short, page_size, pages)
                short.clear()
            pages.n_pages += 1
            if pages.n_pages % REPORT_EVERY == 0:
                log.info("%d pages, %d subjects, at %s", pages.n_pages, pages.n_subjects, last)
            if len(groups) < page_size:
                short.append((len(groups), groups[0][0]))
            for subject, found in groups[:-1] or groups:
                pages.n_subjects += 1
                yield subject, found
            last, from_it_on = groups[-1][0], len(groups) > 1
        if from_it_on:
            raise self._changed(last)
        # Nothing follows the last subject, but as many rows as ever came are a limit's mark.
        if pages.n_short and n_rows == most_rows:
            pages.cut.append(last)

    def _check_order(self, subjects: list[str], last: str, from_it_on: bool) -> None:
        if from_it_on and subjects[0] > last:
            raise self._changed(last)
        expected = subjects if from_it_on else [last, *subjects]
        wrong = [s for before, s in pairwise(expected) if s <= before]
        if wrong or subjects[0] < last:
            raise SourceError(
                "the endpoint does not order subjects by their characters, or answers some that "
                "were not asked for",
                where=f"{self.endpoint}, {[*wrong, subjects[0]][0]}",
                fix="ask an endpoint that follows SPARQL 1.1 in ORDER BY and FILTER",
            )

    def _changed(self, subject: str) -> SourceError:
        return SourceError(
            "the endpoint no longer has a subject that it answered before",
            where=f"{self.endpoint}, {subject}",
            fix="its data changed, or it answers at random: delete the kept answers and run again",
        )

    def _note_short(self, short: list[tuple[int, str]], page_size: int, pages: Pages) -> None:
        if short and not pages.n_short:
            log.warning(
                "%s answered %d subjects of the %d asked for although it has more, without saying "
                "so; going on from the last one. Smaller pages would spare requests",
                self.endpoint, short[0][0], page_size,
            )  # fmt: skip
        pages.n_short += len(short)
        pages.cut += [subject for n, subject in short if n == 1]


def read_results(body: bytes) -> list[Row]:
    """Rows of a SPARQL 1.1 JSON result.

    Raises
    ------
    BadAnswer
        If it is cut off or no such result.
    """
    try:
        answer = json.loads(body)
        return [
            {name: _term(value) for name, value in binding.items()}
            for binding in answer["results"]["bindings"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        start = body[:80].decode("utf-8", errors="replace")
        raise BadAnswer(f"no whole SPARQL result ({error!r}): {start!r}...") from error


def _term(value: dict) -> Term:
    # Virtuoso calls literals with a type "typed-literal".
    kind = {"typed-literal": "literal"}.get(value["type"], value["type"])
    if kind not in ("uri", "literal", "bnode") or not isinstance(value["value"], str):
        raise ValueError(f"no term of RDF: {value}")
    return Term(kind, value["value"], value.get("datatype", ""))
