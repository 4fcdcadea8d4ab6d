"""A SPARQL endpoint on loopback, with things as DBpedia has them, that fails as public ones do."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyoxigraph as ox

ONTOLOGY = "http://dbpedia.org/ontology/"
RESOURCE = "http://dbpedia.org/resource/"
WIKIPEDIA = "http://en.wikipedia.org/wiki/"
XSD = "http://www.w3.org/2001/XMLSchema#"
PROPERTIES = {
    "type": "http://www.w3.org/1999/02/22-rdf-syntax-ns#type",
    "label": "http://www.w3.org/2000/01/rdf-schema#label",
    "page": "http://xmlns.com/foaf/0.1/isPrimaryTopicOf",
    "lat": "http://www.w3.org/2003/01/geo/wgs84_pos#lat",
    "long": "http://www.w3.org/2003/01/geo/wgs84_pos#long",
    "point": "http://www.georss.org/georss/point",
}


def dbo(name: str) -> ox.NamedNode:
    return ox.NamedNode(ONTOLOGY + name)


def dbr(name: str) -> ox.NamedNode:
    return ox.NamedNode(RESOURCE + name)


def typed(text: str, datatype: str) -> ox.Literal:
    return ox.Literal(text, datatype=ox.NamedNode(XSD + datatype))


def english(text: str) -> ox.Literal:
    return ox.Literal(text, language="en")


class Things:
    """A store that is filled thing by thing."""

    def __init__(self) -> None:
        self.store = ox.Store()

    def add(self, thing: str, **facts: Any) -> None:
        """Add facts by the name of the property; lists are several values of it."""
        for name, values in facts.items():
            p = ox.NamedNode(PROPERTIES.get(name, ONTOLOGY + name))
            for value in values if isinstance(values, list) else [values]:
                self.store.add(ox.Quad(dbr(thing), p, value, ox.DefaultGraph()))

    def place(self, thing: str, kind: str, lat: Any, long: Any, **facts: Any) -> None:
        """A place with all it needs, besides other types, labels and literals to be left alone."""
        usual: dict[str, Any] = {
            "type": [dbo("Place"), dbo(kind), ox.NamedNode("http://schema.org/Place")],
            "label": [english(thing.replace("_", " ")), ox.Literal("Ort", language="de")],
            "page": ox.NamedNode(WIKIPEDIA + thing),
            "lat": typed(str(lat), "float") if isinstance(lat, int | float) else lat,
            "long": typed(str(long), "float") if isinstance(long, int | float) else long,
            "country": dbr("Norway"),
        }
        merged = {**usual, **facts}
        self.add(thing, **{name: value for name, value in merged.items() if value is not None})

    def work(self, thing: str, kind: str, creator: str, by: str, when: str, **facts: Any) -> None:
        """A work with all it needs, and the label of who made it."""
        self.add(creator, label=english(creator.replace("_", " ")))
        usual: dict[str, Any] = {
            "type": [dbo("Work"), dbo(kind)],
            "label": english(thing.replace("_", " ")),
            "page": ox.NamedNode(WIKIPEDIA + thing),
            by: dbr(creator),
            "releaseDate": typed(when, "date"),
        }
        merged = {**usual, **facts}
        self.add(thing, **{name: value for name, value in merged.items() if value is not None})


@dataclass
class Request:
    """What was asked and how it was answered."""

    path: str
    query: str
    user_agent: str
    answer: str


@dataclass
class Endpoint:
    """The running server: set `fault` or `max_rows` to make it fail."""

    store: ox.Store
    url: str = ""
    # Number of the request (from 0) and its query, to the name of a fault or None.
    fault: Callable[[int, str], str | None] = lambda number, query: None
    max_rows: int | None = None
    other: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def whole(self) -> list[str]:
        """Queries that were answered as they should."""
        return [request.query for request in self.requests if request.answer == "whole"]

    def results(self, query: str) -> bytes:
        """The result as JSON, cut at `max_rows` rows."""
        found = self.store.query(query)
        body = found.serialize(format=ox.QueryResultsFormat.JSON)
        if self.max_rows is None:
            return body
        answer = json.loads(body)
        answer["results"]["bindings"] = answer["results"]["bindings"][: self.max_rows]
        return json.dumps(answer).encode()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        split = urllib.parse.urlsplit(self.path)
        self._answer(split.path, dict(urllib.parse.parse_qsl(split.query)))

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(self.path, dict(urllib.parse.parse_qsl(form)))

    def _answer(self, path: str, parameters: dict[str, str]) -> None:
        endpoint = self.server.endpoint
        query = parameters.get("query", "")
        with endpoint.lock:
            number = len(endpoint.requests)
            fault = endpoint.fault(number, query)
            request = Request(path, query, self.headers["User-Agent"], fault or "whole")
            endpoint.requests.append(request)
        if path in endpoint.other or path != "/sparql":
            body = endpoint.other.get(path)
            self._send(200, body) if body is not None else self._send(404, b"not here")
        else:
            with contextlib.suppress(ConnectionError):
                self._fail(fault, query) if fault else self._send(200, endpoint.results(query))

    def _fail(self, fault: str, query: str) -> None:
        endpoint = self.server.endpoint
        name, _, value = fault.partition(":")
        if name.isdigit():
            headers = {"Retry-After": value} if value else {}
            self._send(int(name), b"Virtuoso 22023 Error: busy", headers)
        elif name == "redirect":
            self._send(302, b"", {"Location": value + "?" + urllib.parse.urlsplit(self.path).query})
        elif name == "drop":
            self.close_connection = True
        elif name in ("hold", "hang"):
            endpoint.held.set()
            endpoint.release.wait(30)
        elif name == "cut":
            body = endpoint.results(query)
            self._send(200, body[: len(body) // 2], {"Content-Length": str(len(body))})
        elif name == "cut_quietly":
            body = endpoint.results(query)
            self._send(200, body[: len(body) // 2], {"Content-Length": ""})
        elif name == "empty":
            body = json.loads(endpoint.results(query))
            body["results"]["bindings"] = []
            self._send(200, json.dumps(body).encode())
        elif name == "broken_off":
            self._send(200, endpoint.results(query), {"X-SQL-State": "S1TAT"})
        elif name == "partial":
            self._send(206, endpoint.results(query))
        elif name == "huge":
            self._send(200, b" " * int(value), {"Content-Length": ""})
        elif name == "html":
            self._send(200, b"<html>maintenance</html>")
        else:
            raise AssertionError(fault)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in sent.items():
            # An empty value: the header is left out, and the end of the body is that of the stream.
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: Endpoint


@contextlib.contextmanager
def serving(store: ox.Store) -> Iterator[Endpoint]:
    """Serve the store on loopback at `/sparql`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.endpoint = Endpoint(store, f"http://127.0.0.1:{server.server_address[1]}/sparql")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.endpoint
    finally:
        server.endpoint.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
