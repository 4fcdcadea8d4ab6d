"""Tables of entities: rules of names, filters, groups and splits, leakage, the whole build."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artneuro.core.artifacts import read_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.entities import build_entities, with_nearest_state
from artneuro.datasets.entities_config import EntitiesConfig, EntitySplitConfig, PublishedPart
from artneuro.datasets.entity_countries import countries, country_of
from artneuro.datasets.entity_csv import decimal_year
from artneuro.datasets.entity_filters import blocks_of, limited, most_popular_alone, period
from artneuro.datasets.entity_groups import group_names, in_test, with_split
from artneuro.datasets.entity_leakage import leakage_of
from artneuro.datasets.entity_names import (
    contains_words,
    fill_template,
    name_key,
    region_first,
    title_of_work,
    without_capitals,
)
from artneuro.datasets.entity_table import ENTITY_SCHEMA, LEAKAGE_SCHEMA, found_frame

# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dallas County, Iowa", "Iowa's Dallas County"),
        ("Roseland Theatre (Nova Scotia)", "Nova Scotia's Roseland Theatre"),
        ("Proctor's Theatre (Schenectady, New York)", "Schenectady, New York's Proctor's Theatre"),
        ("St Mary's Church, Mary Street, Dublin", "Dublin's St Mary's Church, Mary Street"),
        ("Under (restaurant)", "Under"),
        ("Los Angeles", "Los Angeles"),
        ("  The Verge,  Singapore ", "Singapore's The Verge"),
        ("Paris,", "Paris"),
        ("(Paris)", "Paris"),
    ],
)
def test_regions_move_in_front(name, expected):
    assert region_first(name) == expected


@given(st.text(alphabet="aB ,()'é", max_size=20))
def test_names_have_no_space_at_their_ends(name):
    moved = region_first(name)
    assert moved == moved.strip()
    assert "  " not in moved


def test_templates():
    work = {"title": "It", "creator": "Stephen King"}
    assert fill_template("{creator}'s {title}", work) == "Stephen King's It"
    assert fill_template("{creator}'s {title}", work | {"creator": "Yes"}) == "Yes' It"
    assert fill_template("{creator}'s {title}", {"title": "It"}) is None
    assert fill_template("Port of {name}", {"name": "Oslo"}) == "Port of Oslo"
    # Braces in a name are text.
    assert fill_template("{title}!", {"title": "{x}"}) == "{x}!"
    assert title_of_work('"Help!"') == "Help!"
    assert title_of_work("Mr. Smith...") == "Mr. Smith"


def test_capitals():
    assert without_capitals("MUSEUM OF THE CITY OF NEW YORK") == "Museum of the City of New York"
    assert without_capitals("PS 24 ST. MARY'S") == "PS 24 St. Mary's"
    assert without_capitals("PED-BIKE PATH") == "Ped-Bike Path"
    assert without_capitals("McDonald Park") == "McDonald Park"


def test_name_keys():
    assert name_key("São  Tomé-Príncipe") == name_key("Sao Tome principe")
    assert contains_words("Iowa's Dallas County", "iowa")
    assert not contains_words("Nigeria Street", "Niger")


def test_countries_have_one_name():
    assert country_of("US") == country_of("United_States_of_America") == country_of("Hawaii")
    assert country_of("England") == ("United Kingdom", "Europe")
    assert country_of("Republic_of_China")[0] == "Taiwan"
    assert country_of("Georgia_(country)") == ("Georgia", "Asia")
    assert country_of("Atlantis_") == ("Atlantis", None)
    assert country_of(" ") == (None, None)
    assert len(countries()) == 250


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1986", 1986.0), ("1986.0", 1986.0), ("-44", -44.0), ("2000-01-01", 2000.0),
        ("2001-12-31", 2001 + 364 / 365), ("2000-03-01", 2000 + 60 / 366),
        ("2010-01-02T05:00:00+0000", 2010 + 1 / 365), ("-0044-07-15", -43.5),
    ],
)  # fmt: skip
def test_decimal_years(text, year):
    assert decimal_year(text) == pytest.approx(year)


@pytest.mark.parametrize("text", ["", "May 1986", "2001-02-29", "1986-13-01", "86-1", "-44-13-01"])
def test_what_is_no_date(text):
    with pytest.raises(ValueError):
        decimal_year(text)


def test_periods():
    assert [period(t, 100) for t in (1999.9, 2000.0, 7.0, -44.0, -144.0)] == [
        "1900s", "2000s", "0s", "0s BC", "100s BC"
    ]  # fmt: skip
    assert period(1986.7, 10) == "1980s"
    assert period(2012.3, 1) == "2012"


# --- filters -------------------------------------------------------------------------------------


def people(*rows: tuple) -> pl.DataFrame:
    keys = ("name", "popularity", "time", "entity_type")
    return found_frame((dict(zip(keys, row, strict=False)) for row in rows), "here")


def test_duplicates_need_twice_the_popularity_of_the_next():
    found = people(
        ("Washington", 100.0), ("Washington", 51.0), ("Dallas", 100.0), ("Dallas", 49.0),
        ("Dallas", 3.0), ("Reno", 1.0), ("Troy", None), ("Troy", None), ("Rome", 5.0),
        ("Rome", None),
    )  # fmt: skip
    kept = most_popular_alone(found, 2)
    assert kept.select("name", "popularity").rows() == [
        ("Dallas", 100.0), ("Reno", 1.0), ("Rome", 5.0)
    ]  # fmt: skip


def limits(**keys) -> PublishedPart:
    return PublishedPart(reader="published", layout="art", path="x.csv", **keys)


def test_limits_by_popularity_and_period():
    found = people(*((f"p{i}", float(i), 1900.0 + i % 20) for i in range(100)))
    kept = limited(found, limits(max_per={"decade": 3}), 0)
    assert sorted(kept["popularity"]) == [87, 88, 89, 97, 98, 99]
    assert limited(found, limits(max_entities=2), 0)["popularity"].to_list() == [98, 99]


def test_drawing_keeps_what_was_drawn():
    found = people(*((f"p{i}", float(i), 1900.0) for i in range(100)))
    few = set(limited(found, limits(max_entities=10, choose="random"), 0)["name"])
    more = set(limited(found.reverse(), limits(max_entities=30, choose="random"), 0)["name"])
    assert len(few) == 10
    assert few < more
    assert few != set(limited(found, limits(max_entities=10, choose="random"), 1)["name"])


# --- groups and splits ---------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=2), max_size=8))
def test_groups_against_brute_force(keys):
    expected = [set(row) for row in keys]
    for _, a, b in itertools.product(range(len(keys)), expected, expected):
        if a & b:
            a |= b
            b |= a
    assert group_names(keys) == [min(found) for found in expected]


def test_groups_of_a_table():
    rows = [
        {"name": "It", "creator": "King", "page": "It"},
        {"name": "Carrie", "creator": "king"},
        {"name": "Thé Stand", "creator": "B", "page": "It"},
        {"name": "the stand", "creator": "C"},
        {"name": "Alone", "creator": "D"},
    ]
    frame = found_frame(({"entity_type": "book", "time": 1.0} | row for row in rows), "here")
    many = pl.concat([frame, *(people((f"x{i}", 1.0, 1.0, "b")) for i in range(50))])
    split = with_split(many, EntitySplitConfig(), "here")
    assert split["group"][:5].n_unique() == 2
    assert split["group"][0] == "creator:b"
    by_group = split.group_by("group").agg(pl.col("split").n_unique())
    assert by_group["split"].max() == 1
    # Further entities move none.
    fewer = with_split(many[:40], EntitySplitConfig(), "here")
    assert fewer["split"].to_list() == split["split"][:40].to_list()


def test_share_of_the_split():
    chosen = [in_test(f"g{i}", 0.2, 0) for i in range(4000)]
    # Binomial: five standard deviations.
    assert abs(np.mean(chosen) - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 4000)
    assert chosen != [in_test(f"g{i}", 0.2, 1) for i in range(4000)]


def test_one_group_cannot_be_split():
    frame = people(*(("same", 1.0, float(i), "b") for i in range(10)))
    with pytest.raises(DataError, match=r"one group[\s\S]*keep_together"):
        with_split(frame, EntitySplitConfig(), "here")
    with pytest.raises(DataError, match="is_test"):
        with_split(frame, EntitySplitConfig(kind="published"), "here")


# --- leakage -------------------------------------------------------------------------------------


def test_leakage_of_places():
    rows = [
        ("Iowa's Dallas", "Iowa", 41.5, -93.5, "test", True),
        ("Dallas", "Texas", 32.8, -96.8, "train", False),
        ("dallas", "Oregon", 45.0, -123.0, "test", False),
        ("Point 45", None, 45.4, -123.00001, "train", True),
        ("Twin", None, 45.00001, -123.0, "train", True),
    ]
    keys = ("name", "state", "latitude", "longitude", "split", "is_test")
    listed = [dict(zip(keys, row, strict=True)) for row in rows]
    frame = found_frame(listed, "x").with_columns(pl.Series("split", [r["split"] for r in listed]))
    report = {row["check"]: row for row in leakage_of(frame).iter_rows(named=True)}
    assert leakage_of(frame).schema == LEAKAGE_SCHEMA

    def counts(check: str) -> tuple[int, int]:
        return report[check]["n_rows"], report[check]["n_test"]

    assert counts("name_has_state") == (1, 1)
    assert report["name_has_state"]["share"] == 0.5
    assert report["name_has_state"]["examples"] == ["Iowa's Dallas"]
    assert counts("name_has_degrees") == (1, 0)
    assert counts("name_in_train") == (2, 1)
    assert counts("coordinates_in_train") == (2, 1)
    assert counts("published_coordinates_in_train") == (2, 1)
    assert counts("published_name_in_train") == (0, 0)
    assert "page_in_train" not in report


def test_leakage_of_dates():
    frame = people(("1986", 1.0, 1986.5), ("1989 (album)", 1.0, 1981.0), ("Route 66", 1.0, 66.0))
    frame = frame.with_columns(pl.Series("split", ["test", "test", "train"]))
    report = {row["check"]: row["n_rows"] for row in leakage_of(frame).iter_rows(named=True)}
    assert (report["name_has_year"], report["name_has_decade"]) == (1, 2)


# --- the whole -----------------------------------------------------------------------------------

PLACES = "name,country,latitude,longitude,page_views,entity_type,is_test\n"


def places_file(path: Path, n: int = 60) -> Path:
    rows = [
        f'"Town {chr(65 + i % 26)}{i}, Iowa",United_States,{i % 90},{-i},{i},city,{i % 5 == 0}'
        for i in range(n)
    ]
    path.write_text(PLACES + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def build(tmp_path: Path, **config) -> tuple[pl.DataFrame, pl.DataFrame]:
    paths = tmp_path / "entities.parquet", tmp_path / "leakage.parquet"
    build_entities(EntitiesConfig(**config), {}, {}, *paths)
    return read_table(paths[0]), read_table(paths[1])


def world(path: Path, **keys) -> dict:
    return {"reader": "published", "layout": "world_place", "path": str(path), **keys}


def test_a_table_of_places(tmp_path):
    path = places_file(tmp_path / "world.csv")
    table, report = build(tmp_path, target="space", parts=[world(path)])
    assert table.schema == ENTITY_SCHEMA
    assert table["entity"].to_list() == list(range(60))
    assert table["name"][0] == "Iowa's Town A0"
    assert table.select("entity_type", "name").rows() == sorted(
        table.select("entity_type", "name").rows()
    )
    assert set(table["block"]) == {"United States"}
    assert table["time"].null_count() == 60
    assert set(table["split"]) == {"train", "test"}
    assert report.filter(pl.col("check") == "name_has_modifier")["n_rows"].item() == 60
    # The same input gives the same bytes.
    first = (tmp_path / "entities.parquet").read_bytes()
    build(tmp_path, target="space", parts=[world(path)])
    assert (tmp_path / "entities.parquet").read_bytes() == first


def test_the_published_split(tmp_path):
    path = places_file(tmp_path / "world.csv")
    table, _ = build(
        tmp_path, target="space", split={"kind": "published"}, parts=[world(path, min_popularity=9)]
    )
    assert table.height == 50
    assert (table["split"] == "test").to_list() == (table["popularity"] % 5 == 0).to_list()


def test_an_earlier_part_displaces(tmp_path):
    path = places_file(tmp_path / "world.csv")
    parts = [world(path, max_entities=25, entity_type="a"), world(path, entity_type="b")]
    table, _ = build(tmp_path, target="space", parts=parts, one_per=["name"])
    assert dict(table["entity_type"].value_counts().rows()) == {"a": 25, "b": 35}
    table, _ = build(tmp_path, target="space", parts=parts, max_entities=40)
    assert table.height == 40


def test_names_are_matched_as_the_config_checked_them(tmp_path):
    path = places_file(tmp_path / "world.csv")
    # Looking ahead is of Python's expressions, and not of those of polars.
    part = world(path, names_like=r"Town (?![A-M])", names_unlike=r"Z(?=\d)")
    table, _ = build(tmp_path, target="space", parts=[part])
    letters = {name.rpartition(" ")[2][0] for name in table["name"]}
    assert letters == set("NOPQRSTUVWXY")


def test_nothing_left_says_where_it_went(tmp_path):
    path = places_file(tmp_path / "world.csv")
    with pytest.raises(DataError, match=r"no entity is left: 60 after read[\s\S]*published of"):
        build(tmp_path, target="space", parts=[world(path, countries=["France"])])
    with pytest.raises(DataError, match="have no time"):
        build(tmp_path, target="time", parts=[world(path)])


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(ConfigError, match="geonames"):
        build(tmp_path, target="space", parts=[{"reader": "geonames_cities", "source": "geonames"}])
    with pytest.raises(ConfigError, match="places"):
        build(tmp_path, target="space", parts=[{"reader": "dbpedia", "query": "places"}])
    with pytest.raises(DataError, match="does not exist"):
        build(tmp_path, target="space", parts=[world(tmp_path / "no.csv")])


def test_queries_of_dbpedia(tmp_path):
    columns = {
        "title": [f"T{i}" for i in range(30)], "creator": [f"C{i}" for i in range(30)],
        "release_date": ["1986-07-02"] * 30, "page_name": [f"P{i}" for i in range(30)],
        "page_views": [6000.0] * 29 + [4000.0], "entity_type": ["song"] * 30,
    }  # fmt: skip
    pl.DataFrame(columns).write_parquet(tmp_path / "works.parquet")
    config = EntitiesConfig(target="time", parts=[{"reader": "dbpedia", "query": "works"}])
    assert config.query_names() == ["works"]
    table = build_entities(
        config, {}, {"works": tmp_path / "works.parquet"}, tmp_path / "e", tmp_path / "l"
    )
    assert table.height == 29
    assert table["name"][0] == "C0's T0"
    assert table["block"][0] == "1980s"
    assert table["time"][0] == pytest.approx(1986 + 182 / 365)
    # A comma in a title parts no region from a name.
    columns["title"] = [f"Hello, T{i}" for i in range(30)]
    pl.DataFrame(columns).write_parquet(tmp_path / "works.parquet")
    table = build_entities(
        config, {}, {"works": tmp_path / "works.parquet"}, tmp_path / "e", tmp_path / "l"
    )
    assert table["name"][0] == "C0's Hello, T0"
    assert "name_has_modifier" not in read_table(tmp_path / "l")["check"].to_list()


def test_nearest_states():
    rows = [("a", "Maine", 45.0, -69.0), ("b", "Texas", 31.0, -99.0), ("c", None, 32.0, -98.0)]
    keys = ("name", "state", "latitude", "longitude")
    frame = found_frame(
        ({"country": "United States", **dict(zip(keys, r, strict=True))} for r in rows), "x"
    )
    assert with_nearest_state(frame)["state"].to_list() == ["Maine", "Texas", "Texas"]
    elsewhere = frame.with_columns(pl.lit("France").alias("country"))
    assert with_nearest_state(elsewhere)["state"].null_count() == 1


def test_blocks():
    frame = people(("a", 1.0, 1986.0))
    assert blocks_of(frame, "century") == ["1900s"]
    assert blocks_of(frame, "country") == [None]


# --- config --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "space", "block": "decade"},
        {"target": "time", "block": "borough"},
        {"parts": []},
        {"parts": [{"reader": "airports"}]},
        {"parts": [{"reader": "airports", "source": "a", "path": "b"}]},
        {"parts": [{"reader": "airports", "source": "a", "names_like": "("}]},
        {"parts": [{"reader": "airports", "source": "a", "template": "{nothing}"}]},
        {"parts": [{"reader": "dbpedia", "query": "q", "path": "b"}]},
        {"prompts": {}},
    ],
)
def test_wrong_configs(wrong):
    right = {"target": "space", "parts": [{"reader": "airports", "source": "a"}]}
    EntitiesConfig(**right)
    with pytest.raises(ValidationError):
        EntitiesConfig(**(right | wrong))


def test_config_names_its_inputs():
    config = EntitiesConfig(
        target="space",
        parts=[
            {"reader": "county_shapes", "source": "us-atlas", "names_source": "geonames"},
            world(Path("a.csv")),
            world("https://example.org/b.csv", sha256="0" * 64),
            world(Path("a.csv")),
        ],
    )
    assert config.source_names() == ["geonames", "us-atlas"]
    assert config.local_paths() == ["a.csv"]
    assert EntitiesConfig(**config.model_dump(mode="json")) == config
