"""What a table of entities gives away: targets in names, and what train and test share."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from artneuro.datasets.entity_names import contains_words, name_key
from artneuro.datasets.entity_table import LEAKAGE_SCHEMA, TEST

EXAMPLES = 5
# 4 decimals of a degree are about 10 m.
COORDINATE_DECIMALS = 4
REGIONS = ("country", "continent", "state", "borough")
SHARED = {
    "coordinates": "place (to 0.0001 degrees)",
    "name": "name, without regard to case, accents and punctuation,",
    "page": "page",
    "creator": "creator",
    "complex": "complex",
}


def leakage_of(frame: pl.DataFrame) -> pl.DataFrame:
    """The report on a table of entities.

    Parameters
    ----------
    frame : pl.DataFrame
        The table with `split`; with `is_test` too, where a file came with a split of its own.

    Returns
    -------
    pl.DataFrame
        In `LEAKAGE_SCHEMA`, a row a check. `n_rows` entities are concerned, `n_test` of them in
        the split test, which is `share` of that split. Checks of names: `name_has_country`,
        `_continent`, `_state`, `_borough`, `_modifier`, `_any_region`, `_year`, `_decade`,
        `_degrees`. Checks of splits, `{name, page, creator, complex, coordinates}_in_train`:
        entities whose value is on the other side too; the same with `published_` in front, for
        the split of the file.
    """
    in_test = (frame["split"] == TEST).to_numpy()
    rows = [_row(frame, in_test, *check) for check in _name_checks(frame)]
    rows += _split_checks(frame, in_test, "")
    if frame["is_test"].null_count() == 0:
        rows += _split_checks(frame, frame["is_test"].to_numpy(), "published_")
    return pl.DataFrame(rows, schema=LEAKAGE_SCHEMA, orient="row")


def _row(
    frame: pl.DataFrame, in_test: np.ndarray, check: str, concerned: np.ndarray, description: str
) -> tuple[object, ...]:
    names = frame["name"].filter(pl.Series(concerned & in_test)).head(EXAMPLES).to_list()
    n_test = int((concerned & in_test).sum())
    share = n_test / max(int(in_test.sum()), 1)
    return check, int(concerned.sum()), n_test, share, names, description


def _name_checks(frame: pl.DataFrame) -> Iterator[tuple[str, np.ndarray, str]]:
    names = frame["name"].to_list()
    any_region = np.zeros(frame.height, dtype=bool)
    for column in REGIONS:
        if frame[column].null_count() == frame.height:
            continue
        found = np.array(
            [
                value is not None and contains_words(name, value)
                for name, value in zip(names, frame[column].to_list(), strict=True)
            ]
        )
        any_region |= found
        yield f"name_has_{column}", found, f"The name contains the entity's own {column}."
    moved = frame["is_moved"].fill_null(False).to_numpy()
    if moved.any():
        any_region |= moved
        yield "name_has_modifier", moved, "The name begins with a region that told it apart."
    if any_region.any():
        yield "name_has_any_region", any_region, "The name contains one of the entity's regions."
    if frame["time"].null_count() < frame.height:
        years = [int(abs(time) // 1) for time in frame["time"].to_list()]
        found = np.array([_has_number(n, {y}) for n, y in zip(names, years, strict=True)])
        yield "name_has_year", found, "The name contains the year itself."
        found = np.array(
            [
                _has_number(n, set(range(y // 10 * 10, y // 10 * 10 + 10)))
                for n, y in zip(names, years, strict=True)
            ]
        )
        yield "name_has_decade", found, "The name contains a year of the same decade."
    else:
        places = zip(names, frame["latitude"].to_list(), frame["longitude"].to_list(), strict=True)
        found = np.array([_has_degrees(name, (north, east)) for name, north, east in places])
        yield "name_has_degrees", found, "The name contains the degrees of latitude or longitude."


def _has_number(name: str, numbers: set[int]) -> bool:
    return any(int(text) in numbers for text in re.findall(r"(?<!\d)\d{3,4}(?!\d)", name))


def _has_degrees(name: str, degrees: tuple[float, float]) -> bool:
    """Whether a name has a number of two or three digits, or with decimals, that is one of both."""
    for text in re.findall(r"(?<![\d.])\d{2,3}(?:\.\d+)?(?![\d.])", name):
        step = 10.0 ** -len(text.partition(".")[2])
        if any(abs(float(text) - abs(value)) < step for value in degrees):
            return True
    return False


def _split_checks(
    frame: pl.DataFrame, in_test: np.ndarray, prefix: str
) -> list[tuple[object, ...]]:
    values: dict[str, list[str | None]] = {
        "coordinates": _places(frame),
        "name": [name_key(name) or name for name in frame["name"].to_list()],
        **{column: frame[column].to_list() for column in ("page", "creator", "complex")},
    }
    whose = "the file's own split" if prefix else "the split"
    rows = []
    for key, found in values.items():
        if all(value is None for value in found):
            continue
        sides = {True: set[str](), False: set[str]()}
        for value, test in zip(found, in_test.tolist(), strict=True):
            if value is not None:
                sides[test].add(value)
        both = sides[True] & sides[False]
        concerned = np.array([value in both for value in found])
        description = f"Another entity of the same {SHARED[key]} is on the other side of {whose}."
        rows.append(_row(frame, in_test, f"{prefix}{key}_in_train", concerned, description))
    return rows


def _places(frame: pl.DataFrame) -> list[str | None]:
    return [
        None if north is None else f"{north:.{COORDINATE_DECIMALS}f} {east:.{COORDINATE_DECIMALS}f}"
        for north, east in zip(frame["latitude"], frame["longitude"], strict=True)
    ]
