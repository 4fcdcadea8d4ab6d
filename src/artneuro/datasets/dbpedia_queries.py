"""SPARQL of the tables from DBpedia: one row a fact, so that many values multiply nothing."""

from __future__ import annotations

from collections.abc import Iterable

from artneuro.datasets.dbpedia_config import DbpediaQuery
from artneuro.datasets.sparql import quoted

ONTOLOGY = "http://dbpedia.org/ontology/"
RESOURCE = "http://dbpedia.org/resource/"
LANGUAGE = "en"

TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
PAGE = "http://xmlns.com/foaf/0.1/isPrimaryTopicOf"
LATITUDE = "http://www.w3.org/2003/01/geo/wgs84_pos#lat"
LONGITUDE = "http://www.w3.org/2003/01/geo/wgs84_pos#long"
POINT = "http://www.georss.org/georss/point"
COUNTRY, STATE = f"{ONTOLOGY}country", f"{ONTOLOGY}state"
THUMBNAIL = f"{ONTOLOGY}thumbnail"
POPULATION, AREA = f"{ONTOLOGY}populationTotal", f"{ONTOLOGY}areaTotal"
# Not of DBpedia: the name of who made a work, two steps away.
CREATOR = "urn:artneuro:creator"

PLACE_PROPERTIES = [
    TYPE, LABEL, PAGE, LATITUDE, LONGITUDE, POINT, COUNTRY, STATE, THUMBNAIL, POPULATION, AREA,
]  # fmt: skip


def properties_of(query: DbpediaQuery) -> list[str]:
    """IRIs of the properties that are read of a thing itself."""
    if not query.creators:
        return PLACE_PROPERTIES
    return [TYPE, LABEL, PAGE, *(ONTOLOGY + name for name in [*query.dates, *query.lengths])]


def page_query(query: DbpediaQuery, after: str, from_it_on: bool, page_size: int) -> str:
    """The facts of one page of things.

    The inner query chooses the things by their type alone. Whatever else a thing may lack, it has
    a row of its type, so that no page is empty before the last one.
    DISTINCT has a query of its own: Virtuoso loses the order where both are in one.

    Parameters
    ----------
    query : DbpediaQuery
        Which things.
    after : str
        IRI of the last thing that is known; empty for the first page.
    from_it_on : bool
        Whether that thing is asked for again.
    page_size : int
        Number of things.

    Returns
    -------
    str
        A SELECT query of `?s ?p ?o`, ordered by `?s`: literals in English or without a language,
        types of DBpedia's ontology, and the names of creators as `CREATOR`.
    """
    facts = f"""{{
    VALUES ?p {{ {_iris(properties_of(query))} }}
    ?s ?p ?o .
    FILTER(!isLiteral(?o) || LANG(?o) = "" || LANG(?o) = "{LANGUAGE}")
    FILTER(?p != <{TYPE}> || STRSTARTS(STR(?o), "{ONTOLOGY}"))
  }}"""
    if query.creators:
        facts += f""" UNION {{
    VALUES ?by {{ {_iris(ONTOLOGY + name for name in query.creators)} }}
    ?s ?by ?creator .
    ?creator <{LABEL}> ?o .
    FILTER(LANG(?o) = "{LANGUAGE}")
    BIND(<{CREATOR}> AS ?p)
  }}"""
    sign = ">=" if from_it_on else ">"
    return f"""SELECT ?s ?p ?o WHERE {{
  {{
    SELECT ?s WHERE {{
      SELECT DISTINCT ?s WHERE {{
        {_things(query)}
        FILTER(isIRI(?s) && STR(?s) {sign} {quoted(after)})
      }}
    }}
    ORDER BY STR(?s)
    LIMIT {page_size}
  }}
  {facts}
}}
ORDER BY STR(?s)"""


def count_query(query: DbpediaQuery) -> str:
    """The number `?n` of all things that the pages hold."""
    return f"""SELECT (COUNT(DISTINCT ?s) AS ?n) WHERE {{
  {_things(query)}
  FILTER(isIRI(?s))
}}"""


def _things(query: DbpediaQuery) -> str:
    pattern = (
        f"VALUES ?class {{ {_iris(ONTOLOGY + name for name in query.classes)} }} ?s a ?class ."
    )
    if query.country is not None:
        pattern += f" ?s <{COUNTRY}> <{RESOURCE}{query.country}> ."
    return pattern


def _iris(iris: Iterable[str]) -> str:
    return " ".join(f"<{iri}>" for iri in iris)
