"""Titles as Wikimedia writes them, and page views counted in files of all its formats."""

from __future__ import annotations

import bz2
import gzip
import logging
from pathlib import Path

import pytest

from artneuro.core.errors import DataError, SourceError
from artneuro.datasets.pageviews import (
    count_file,
    count_views,
    files_of_period,
    normalise_title,
)
from artneuro.datasets.pageviews_config import DumpedPageviews


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("los angeles", "Los_angeles"),
        ("  Los__Angeles _", "Los_Angeles"),
        ("iPhone", "IPhone"),
        ("%C3%85rhus", "Århus"),
        ("A\u030arhus", "Århus"),
        ("élan", "Élan"),
        ("ß", "ß"),
        ("100%_(song)", "100%_(song)"),
        ("%FF", "%FF"),
        ("AC/DC", "AC/DC"),
        ("http://en.wikipedia.org/wiki/It_(novel)", "It_(novel)"),
        ("https://en.wikipedia.org/wiki/AC/DC#History", "AC/DC"),
        ("http://dbpedia.org/resource/st._John's", "St._John's"),
        ("", ""),
    ],
)
def test_titles(text, title):
    assert normalise_title(text) == title
    assert normalise_title(title) == title


COMPLETE = """\
de.wikipedia Oslo 7 desktop 900 A900
en.wikipedia Oslo 7 desktop 100 A40B60
en.wikipedia Oslo 7 mobile-web 20 C20
en.wikipedia %C3%85rhus null mobile-app 3 A3
en.wikipedia Other 8 desktop 5000 A5000
en.wiktionary Oslo 9 desktop 800 A800
en.wikipedia Bergen desktop 4 D4
"""
EZ = (
    "en.b Oslo 70 A70\nen.z Oslo 120 A40B60C20\nen.z Århus 3 A3\nde.z Oslo 9 A9\nen.z Bergen 4 D4\n"
)
TOTALS = "en.z Oslo 120\nen.z Århus 3\nen.z Bergen 4\nde.z Oslo 7\n"
HOURLY = (
    "de Oslo 8 0\nen Oslo 100 0\nen.m Oslo 20 0\nen Århus 3 0\nen.m.d Oslo 5 0\nen Bergen 4 0\n"
)


@pytest.mark.parametrize("text", [COMPLETE, EZ, TOTALS, HOURLY])
@pytest.mark.parametrize(("suffix", "compress"), [
    (".bz2", bz2.compress), (".gz", gzip.compress), ("", bytes),
])  # fmt: skip
def test_all_formats_are_counted(text, suffix, compress, tmp_path):
    path = tmp_path / f"pageviews-201801{suffix}"
    path.write_bytes(compress(text.encode()))
    views = count_file(path, "en", {"Oslo", "Århus", "Bergen", "Unseen"})
    assert views == {"Oslo": 120, "Århus": 3, "Bergen": 4}


def dumps(folder: Path, **values) -> DumpedPageviews:
    return DumpedPageviews.model_validate(
        {"reader": "dumps", "paths": [f"{folder}/*"], "first_month": "2018-11",
         "last_month": "2019-01", **values}
    )  # fmt: skip


def write(folder: Path, name: str, views: int) -> Path:
    path = folder / name
    path.write_bytes(bz2.compress(f"en.wikipedia Oslo 7 desktop {views} A{views}\n".encode()))
    return path


def test_months_of_the_period_are_added_up_and_kept(tmp_path, caplog):
    folder, cache = tmp_path / "dumps", tmp_path / "cache"
    folder.mkdir()
    write(folder, "pageviews-201810-user.bz2", 1000)
    write(folder, "pageviews-201811-user.bz2", 1)
    write(folder, "pagecounts-2018-12-views-ge-5.bz2", 20)
    last = write(folder, "pageviews-201901-user.bz2", 300)
    config = dumps(folder)
    assert config.months == ["2018-11", "2018-12", "2019-01"]
    expected = {"Oslo": 321, "Nowhere": 0}
    assert count_views(config, ["Oslo", "Nowhere"], cache) == expected
    caplog.clear()
    with caplog.at_level(logging.INFO, "artneuro"):
        assert count_views(config, ["Oslo", "Nowhere"], cache) == expected
    assert "counting views" not in caplog.text
    # Other titles, a changed file and a damaged count are counted anew.
    assert count_views(config, ["Oslo"], cache) == {"Oslo": 321}
    write(folder, last.name, 4000)
    assert count_views(config, ["Oslo"], cache) == {"Oslo": 4021}
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert count_views(config, ["Oslo"], cache) == {"Oslo": 4021}


def test_periods_that_are_not_covered_are_refused(tmp_path):
    write(tmp_path, "pageviews-201811-user.bz2", 1)
    write(tmp_path, "pageviews-201901-user.bz2", 1)
    with pytest.raises(DataError, match="2018-12': 'no file'"):
        files_of_period(dumps(tmp_path))
    for day in range(1, 31):
        write(tmp_path, f"pageviews-201812{day:02d}-user.bz2", 1)
    with pytest.raises(DataError, match=r"no file of days \[31\]"):
        files_of_period(dumps(tmp_path))
    write(tmp_path, "pageviews-20181231-230000.bz2", 1)
    assert len(files_of_period(dumps(tmp_path))) == 33
    write(tmp_path, "pageviews-201812-user.bz2", 1)
    with pytest.raises(DataError, match="files of the month and of its days"):
        files_of_period(dumps(tmp_path))
    (tmp_path / "README").write_text("")
    with pytest.raises(DataError, match="no month in its name"):
        files_of_period(dumps(tmp_path))


def test_damaged_files_are_errors(tmp_path):
    lines = "".join(f"en.wikipedia T{i} 7 desktop {i} A{i}\n" for i in range(20000)).encode()
    for name, packed in [("a.bz2", bz2.compress(lines)), ("a.gz", gzip.compress(lines))]:
        path = tmp_path / name
        path.write_bytes(packed[: len(packed) // 2])
        with pytest.raises(DataError, match="damaged"):
            count_file(path, "en", {"T1"})
    path = tmp_path / "b.bz2"
    path.write_bytes(b"no bzip2")
    with pytest.raises(SourceError, match="cannot read"):
        count_file(path, "en", {"T1"})
    path = tmp_path / "other"
    path.write_text("<html>\nen.wikipedia Oslo seven views\n")
    with pytest.raises(DataError, match="no line of 2 has views"):
        count_file(path, "en", {"Oslo"})
