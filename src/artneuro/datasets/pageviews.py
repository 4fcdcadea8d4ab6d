"""How often pages of Wikipedia were viewed in a period, from files or from the REST service.

Views are counted under the title that was asked for: views of redirects to a page are not its own.
"""

from __future__ import annotations

import bz2
import calendar
import glob
import gzip
import json
import logging
import re
import unicodedata
import urllib.parse
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError, SourceError
from artneuro.core.hashing import sha256_json
from artneuro.datasets.pageviews_config import (
    DumpedPageviews,
    PageviewsBase,
    RequestedPageviews,
)
from artneuro.datasets.polite_http import BadAnswer, PoliteClient

log = logging.getLogger(__name__)

REPORT_EVERY = 50_000_000
# A month, with a day or not, in the name of a file: 201801, 2018-01, 20180131.
_MONTH = re.compile(r"(?<!\d)(\d{4})-?(0[1-9]|1[0-2])-?([0-3]\d)?(?!\d)")
_PAGE = re.compile(r"^https?://[^/]+/(?:wiki|resource)/")


def normalise_title(text: str) -> str:
    """The title of a page as Wikimedia's files write it.

    Underscores for spaces, percent-encoding resolved, no section, Unicode's composed form, the
    first letter a capital; of an address only the part behind `/wiki/` or `/resource/`.

    Parameters
    ----------
    text : str
        A title, or the address of a page.
    """
    title, n = _PAGE.subn("", text.strip())
    # Only in an address is a hash the start of a section; no title has one.
    title = title.split("#")[0] if n else title
    try:
        title = urllib.parse.unquote(title, errors="strict")
    except UnicodeDecodeError:
        log.debug("no UTF-8 in %r: left as it is", title)
    title = re.sub(r"[\s_]+", "_", unicodedata.normalize("NFC", title)).strip("_")
    first = title[:1].upper()
    # MediaWiki leaves letters whose capital is two (ß).
    return first + title[1:] if len(first) == 1 else title


def count_views(
    config: PageviewsBase, titles: Collection[str], cache: str | Path
) -> dict[str, int]:
    """Views of pages over the period.

    Parameters
    ----------
    config : DumpedPageviews or RequestedPageviews
        Where they are counted.
    titles : collection of str
        Normalised titles.
    cache : path
        Folder of what was counted before; a killed run goes on from it.

    Returns
    -------
    dict of str to int
        Views by title; 0 for a page that nobody viewed or that there is not.

    Raises
    ------
    DataError
        If files are missing, damaged or of overlapping times.
    SourceError
        If files cannot be read, or the service does not answer.
    """
    if isinstance(config, DumpedPageviews):
        views = _from_dumps(config, titles, Path(cache))
    else:
        assert isinstance(config, RequestedPageviews)
        client = PoliteClient(config.http, cache)
        views = {title: request_views(config, client, title) for title in sorted(set(titles))}
    n_seen = sum(count > 0 for count in views.values())
    log.info("page views of %s: %d of %d pages were viewed", config.months[0], n_seen, len(views))
    return views


def request_views(config: RequestedPageviews, client: PoliteClient, title: str) -> int:
    """Views of one page from the REST service; 0 where it knows none.

    Raises
    ------
    SourceError
        If the service does not answer.
    """
    last = config.last_month
    days = calendar.monthrange(int(last[:4]), int(last[5:]))[1]
    period = f"monthly/{config.first_month.replace('-', '')}01/{last.replace('-', '')}{days}"
    address = "/".join(
        [config.endpoint.rstrip("/"), config.project, config.access, config.agent,
         urllib.parse.quote(title, safe=""), period]
    )  # fmt: skip
    # A page without views in the period is answered as 404.
    return client.ask(address, {}, _read_views, if_missing=b'{"items": []}')


def _read_views(body: bytes) -> int:
    try:
        views = [int(item["views"]) for item in json.loads(body)["items"]]
        if any(not 0 <= count < 2**53 for count in views):
            raise ValueError("not a number of views")
        return sum(views)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadAnswer(f"no page views ({error!r})") from error


def _from_dumps(config: DumpedPageviews, titles: Collection[str], cache: Path) -> dict[str, int]:
    wanted = set(titles)
    asked = sha256_json([config.project, sorted(wanted)])
    total: Counter[str] = Counter()
    for path in files_of_period(config):
        stat = path.stat()
        key = sha256_json([asked, path.name, stat.st_size, stat.st_mtime_ns])
        kept = cache / f"{key}.parquet"
        counted = _kept_counts(kept)
        if counted is None:
            log.info("counting views of %s", path)
            counted = count_file(path, config.language, wanted)
            rows = sorted(counted.items())
            write_table(
                pl.DataFrame(rows, {"title": pl.String, "views": pl.Int64}, orient="row"), kept
            )
        total.update(counted)
    return {title: total[title] for title in wanted}


def _kept_counts(path: Path) -> dict[str, int] | None:
    if not path.exists():
        return None
    try:
        return dict(read_table(path).iter_rows())
    except DataError as error:
        log.warning("%s: counting anew", error)
        return None


def files_of_period(config: DumpedPageviews) -> list[Path]:
    """The files whose names lie in the period, sorted.

    Raises
    ------
    DataError
        If a file names no month, or a month or a day of a month is missing or there twice over.
    """
    found = sorted(
        {path for pattern in config.paths for path in glob.glob(pattern, recursive=True)}
    )
    dated: dict[str, list[tuple[str | None, Path]]] = defaultdict(list)
    for name in found:
        match = _MONTH.search(Path(name).name)
        if match is None:
            raise DataError("a file of page views has no month in its name", name, "rename it")
        dated[f"{match[1]}-{match[2]}"].append((match[3], Path(name)))
    wrong = {m: said for m in config.months if (said := _incomplete(m, dated.get(m, [])))}
    if wrong:
        raise DataError(
            f"files of page views do not cover the period: {wrong}",
            where=f"paths: {config.paths}",
            fix="add what is missing, remove what is there twice, or correct the period",
        )
    return [path for month in config.months for _, path in dated[month]]


def _incomplete(month: str, files: list[tuple[str | None, Path]]) -> str | None:
    """What is wrong with the files of a month: of the whole month, or of each of its days."""
    if not files:
        return "no file"
    days = {int(day) for day, _ in files if day is not None}
    if not days:
        return None
    if any(day is None for day, _ in files):
        return "files of the month and of its days"
    missing = set(range(1, calendar.monthrange(int(month[:4]), int(month[5:]))[1] + 1)) - days
    return f"no file of days {sorted(missing)}" if missing else None


def count_file(path: Path, language: str, titles: Collection[str]) -> dict[str, int]:
    """Views in one file, read line by line.

    Lines are `en.wikipedia Title id access views hours` (pageview_complete), `en.z Title views
    hours` (pagecounts-ez) or `en Title views bytes` (hourly): the number of views is the one
    before the last field, or the last of three.

    Parameters
    ----------
    path : Path
        The file.
    language : str
        Code of the Wikipedia.
    titles : collection of str
        Normalised titles to count.

    Raises
    ------
    DataError
        If the file is damaged, or not a line has this form.
    SourceError
        If it cannot be read.
    """
    codes = {f"{language}{suffix}".encode() for suffix in (".wikipedia", ".z", "", ".m", ".zero")}
    # Most lines are of other wikis, and are passed over before anything else is read of them.
    wanted = set(titles)
    views: Counter[str] = Counter()
    n_lines = n_own = n_bad = 0
    for n_lines, line in enumerate(_lines(path), start=1):
        code, _, rest = line.partition(b" ")
        if n_lines % REPORT_EVERY == 0:
            log.info("%d lines of %s", n_lines, path.name)
        if code not in codes:
            continue
        fields = rest.split()
        number = fields[-2] if len(fields) > 2 else fields[-1] if len(fields) == 2 else b""
        if not number.isdigit():
            n_bad += 1
            continue
        n_own += 1
        title = fields[0].decode("utf-8", errors="replace")
        if title not in wanted:
            title = normalise_title(title)
        if title in wanted:
            views[title] += int(number)
    if n_own == 0:
        raise DataError(
            f"no line of {n_lines} has views of the {language} Wikipedia ({n_bad} malformed)",
            where=str(path),
            fix="give files of pageview_complete, pagecounts-ez or pageviews",
        )
    if n_bad:
        log.warning("%s: %d malformed lines were passed over", path.name, n_bad)
    return dict(views)


def _lines(path: Path) -> Iterator[bytes]:
    number = 0
    try:
        with _open(path) as stream:
            for line in cast(Iterable[bytes], stream):
                number += 1
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file of page views is damaged ({error})",
            where=f"{path}, after line {number}",
            fix="fetch it again",
        ) from error
    except OSError as error:
        raise SourceError(
            f"cannot read the file of page views ({error})",
            where=f"{path}, after line {number}",
            fix="correct `paths`, or fetch the file again",
        ) from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".bz2":
        return cast(IO[bytes], bz2.open(path))
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")
