"""The schema of tables of entities, and of what readers hand over."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from artneuro.core.errors import DataError

TRAIN, TEST = "train", "test"
TEXTS = ("title", "creator", "country", "continent", "state", "borough", "page", "complex")

# What a reader knows of an entity; `is_test` is the split that a file came with, and `is_moved`
# whether a rule of names has moved a region in front.
FOUND_SCHEMA = pl.Schema(
    {
        "name": pl.String(),
        "entity_type": pl.String(),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        "time": pl.Float64(),
        **dict.fromkeys(TEXTS, pl.String()),
        "popularity": pl.Float64(),
        "is_test": pl.Boolean(),
        "is_moved": pl.Boolean(),
    }
)
ENTITY_SCHEMA = pl.Schema(
    {
        "entity": pl.Int32(),
        **{name: kind for name, kind in FOUND_SCHEMA.items() if kind != pl.Boolean()},
        "block": pl.String(),
        "group": pl.String(),
        "split": pl.String(),
    }
)
LEAKAGE_SCHEMA = pl.Schema(
    {
        "check": pl.String(),
        "n_rows": pl.Int64(),
        "n_test": pl.Int64(),
        "share": pl.Float64(),
        "examples": pl.List(pl.String()),
        "description": pl.String(),
    }
)


def found_frame(rows: Iterable[dict[str, object]], where: str) -> pl.DataFrame:
    """A frame of `FOUND_SCHEMA` from rows that may lack columns.

    Raises
    ------
    DataError
        If there are no rows, or a value has the wrong type.
    """
    listed = list(rows)
    if not listed:
        raise DataError("no entity is left", where, "correct the file, or loosen the filters")
    try:
        columns = {name: [row.get(name) for row in listed] for name in FOUND_SCHEMA}
        return pl.DataFrame(columns, schema=FOUND_SCHEMA)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"a value has the wrong type ({error})", where) from error
