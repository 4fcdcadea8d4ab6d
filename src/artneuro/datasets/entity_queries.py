"""Entities of the tables that `query_dbpedia` makes."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.entity_countries import country_of
from artneuro.datasets.entity_csv import decimal_year
from artneuro.datasets.entity_names import title_of_work
from artneuro.datasets.entity_table import found_frame

PLACE_COLUMNS = {
    "name", "country", "state", "latitude", "longitude", "page_views", "entity_type", "page",
}  # fmt: skip
WORK_COLUMNS = {"title", "creator", "release_date", "page_name", "page_views", "entity_type"}


def read_query(table: pl.DataFrame, where: str) -> pl.DataFrame:
    """Entities of a table of places or of works from DBpedia.

    Parameters
    ----------
    table : pl.DataFrame
        The table, see `query_dbpedia`.
    where : str
        What messages call it.

    Returns
    -------
    pl.DataFrame
        In `FOUND_SCHEMA`, page views as popularity.

    Raises
    ------
    DataError
        If the table is of neither kind, or a date of a work is none.
    """
    columns = set(table.columns)
    if columns >= PLACE_COLUMNS:
        return found_frame(_places(table), where)
    if columns >= WORK_COLUMNS:
        return found_frame(_works(table, where), where)
    raise DataError(
        f"neither a table of places nor of works; it has {table.columns}", where,
        "delete it and run snakemake again",
    )  # fmt: skip


def _places(table: pl.DataFrame) -> Iterator[dict[str, object]]:
    for row in table.iter_rows(named=True):
        country, continent = country_of(row["country"])
        yield {
            **{key: row[key] for key in ("name", "entity_type", "latitude", "longitude", "page")},
            "country": country,
            "continent": continent,
            "state": (row["state"] or "").replace("_", " ") or None,
            "popularity": row["page_views"],
        }


def _works(table: pl.DataFrame, where: str) -> Iterator[dict[str, object]]:
    for number, row in enumerate(table.iter_rows(named=True), 1):
        try:
            time = decimal_year(row["release_date"] or "")
        except ValueError:
            raise DataError(
                f"not a date: {row['release_date']!r}", f"{where}, row {number}, release_date"
            ) from None
        title = title_of_work(row["title"] or "")
        yield {
            "name": title or None,
            "title": title or None,
            "entity_type": row["entity_type"],
            "creator": row["creator"],
            "time": time,
            "page": row["page_name"],
            "popularity": row["page_views"],
        }
