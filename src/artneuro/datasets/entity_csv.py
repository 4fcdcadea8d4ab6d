"""CSV files of entities, read as text; what is wrong is named by file, row and column."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from artneuro.core.errors import DataError
from artneuro.core.sources import pinned_download
from artneuro.datasets.entities_config import EntityPart
from artneuro.datasets.entity_names import tidy

MISSING = frozenset(["", "nan", "NaN", "None", "null", "NULL", "NA", "N/A"])
_DATE = re.compile(r"(-?\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?$")
_YEAR = re.compile(r"-?\d{1,4}(?:\.0*)?$")


@dataclass(frozen=True)
class Row:
    """A row of a CSV file.

    Attributes
    ----------
    file : str
        The file, for messages.
    number : int
        Its number in the file, from 1; the header is not counted.
    values : dict of str to str
        What stands in its columns, without space at the ends.
    """

    file: str
    number: int
    values: dict[str, str]

    def wrong(self, column: str, what: str, fix: str | None = None) -> DataError:
        """The error that says what is wrong with one of the row's values."""
        found = self.values.get(column, "")
        return DataError(
            f"{what}: {found!r}", f"{self.file}, row {self.number}, column {column}", fix
        )

    def text(self, column: str) -> str | None:
        """The text of a column; None where it is empty."""
        value = tidy(self.values.get(column, ""))
        return None if value in MISSING else value

    def number_of(self, column: str) -> float | None:
        """The number in a column; None where it is empty.

        Raises
        ------
        DataError
            If it is no finite number.
        """
        value = self.text(column)
        if value is None:
            return None
        try:
            number = float(value.replace(",", ""))
        except ValueError:
            raise self.wrong(column, "not a number") from None
        if number != number or abs(number) == float("inf"):
            raise self.wrong(column, "not a finite number")
        return number

    def latitude(self, column: str) -> float | None:
        """The degrees of latitude in a column, checked; None where it is empty."""
        return self._degrees(column, 90)

    def longitude(self, column: str) -> float | None:
        """The degrees of longitude in a column, checked; None where it is empty."""
        return self._degrees(column, 180)

    def _degrees(self, column: str, limit: int) -> float | None:
        degrees = self.number_of(column)
        if degrees is not None and abs(degrees) > limit:
            raise self.wrong(
                column,
                f"not degrees between -{limit} and {limit}",
                "if latitude and longitude are swapped, rename the columns"
                if limit == 90
                else None,
            )
        return degrees

    def time(self, column: str) -> float | None:
        """The date in a column as decimal year; None where it is empty.

        Raises
        ------
        DataError
            If it is neither a year nor a date such as 1986-09-15.
        """
        value = self.text(column)
        if value is None:
            return None
        try:
            return decimal_year(value)
        except ValueError:
            raise self.wrong(column, "neither a year nor a date like 1986-09-15") from None


def decimal_year(text: str) -> float:
    """A date as decimal year: 1986-07-02 is half way through 1986; a year alone is its start.

    Raises
    ------
    ValueError
        If the text is neither a year nor a date of the calendar.
    """
    if _YEAR.match(text):
        return float(text)
    match = _DATE.match(text)
    if match is None:
        raise ValueError(text)
    year, month, day = (int(part) for part in match.groups())
    if year < 1:  # before the calendar of Python: the month is as near as it needs to be
        if not 1 <= month <= 12 or not 1 <= day <= 31:
            raise ValueError(text)
        return year + (month - 1) / 12
    passed = (date(year, month, day) - date(year, 1, 1)).days
    return year + passed / (366 if calendar.isleap(year) else 365)


def read_rows(path: Path, columns: Sequence[str], file: str | None = None) -> Iterator[Row]:
    """Rows of a CSV file as text.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str
        Columns that it must have, in small letters whatever they are in the file.
    file : str, optional
        What messages call it; its path if None.

    Raises
    ------
    DataError
        If the file is missing, no CSV, has no rows, or lacks a column.
    """
    name = file or str(path)
    try:
        frame = pl.read_csv(path, infer_schema=False).fill_null("")
        # Exports of one data set differ in the case of their headers.
        frame = frame.rename({column: column.strip().lower() for column in frame.columns})
    except (OSError, pl.exceptions.PolarsError) as error:
        message = str(error).splitlines()[0]
        raise DataError(
            f"cannot read the file as CSV ({message})", name, "correct `path` or the file"
        ) from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(
            f"the file lacks the columns {missing}; it has {frame.columns}",
            name,
            "is it in the layout that the part names?",
        )
    if not frame.height:
        raise DataError("the file has no rows", name)
    for number, values in enumerate(frame.iter_rows(), 1):
        yield Row(name, number, dict(zip(frame.columns, values, strict=True)))


def with_unique_keys(rows: Iterable[Row], column: str) -> Iterator[Row]:
    """The rows, with an error where a key occurs a second time.

    Raises
    ------
    DataError
        At the second row of one key, or a row without one.
    """
    seen: dict[str, int] = {}
    for row in rows:
        key = row.text(column)
        if key is None:
            raise row.wrong(column, "the row has no key")
        if key in seen:
            raise row.wrong(column, f"the key occurs in row {seen[key]} already", "remove one row")
        seen[key] = row.number
        yield row


def local_copy(part: EntityPart, scratch: Path) -> Path:
    """The file of a part: as it is where it is local, else downloaded into the folder `scratch`.

    Raises
    ------
    DataError
        If the file does not exist.
    SourceError
        If it cannot be downloaded, or is not what was pinned.
    """
    path = part.path or ""
    if not part.is_remote:
        if not Path(path).is_file():
            raise DataError(
                "the file does not exist",
                path,
                "correct `path`; it is relative to the folder that snakemake runs in",
            )
        return Path(path)
    return pinned_download(path, part.sha256, "download.csv", scratch)
