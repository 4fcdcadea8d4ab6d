"""Readers of entities: small files in the layout of each source, good and bad."""

from __future__ import annotations

import bz2
import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from artneuro.core.errors import DataError
from artneuro.datasets.entities_config import (
    AirportsPart,
    CitiesPart,
    CountiesPart,
    FiguresPart,
    FilmsPart,
    HeadlinesPart,
    NycPart,
    PortsPart,
    PublishedPart,
    SimplemapsPart,
    SpeechesPart,
    SummaryPersonsPart,
    WordnetPersonsPart,
    ZipcodesPart,
)
from artneuro.datasets.entity_filters import filtered
from artneuro.datasets.entity_packages import (
    read_airports,
    read_cities,
    read_counties,
    read_ports,
    read_zipcodes,
)
from artneuro.datasets.entity_persons import (
    death_year,
    kind_of,
    read_summary_persons,
    read_wordnet_persons,
)
from artneuro.datasets.entity_published import LAYOUTS, read_published
from artneuro.datasets.entity_raw import (
    read_figures,
    read_headlines,
    read_nyc_points,
    read_simplemaps,
)
from artneuro.datasets.entity_topojson import centroid, decode_arcs, read_shapes
from artneuro.datasets.entity_works import is_plain, read_films, read_speeches, sentences


def write(path: Path, text: str | bytes | dict | list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, dict | list):
        text = json.dumps(text)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- packages ------------------------------------------------------------------------------------

STATES = {"OH": {"code": "OH", "name": "Ohio"}, "VA": {"code": "VA", "name": "Virginia"}}


def city(name, country, latitude, longitude, population=20000, state="01"):
    return {"name": name, "countrycode": country, "latitude": latitude, "longitude": longitude,
            "population": population, "admin1code": state}  # fmt: skip


def test_cities_airports_and_ports(tmp_path):
    cities = {"1": city("Lübeck", "DE", 53.9, 10.7), "2": city("Akron", "US", 41, -81.5, 9, "OH")}
    write(tmp_path / "g/data/cities15000.json", cities)
    write(tmp_path / "g/data/us_states.json", STATES)
    write(
        tmp_path / "a/airports.csv",
        "icao,iata,name,city,subd,country,lat,lon\nEDHL,LBC,Lübeck Airport,Lübeck,SH,DE,53.8,10.7\n"
        "X,,No Code,Here,,US,1,1\nY,,No Code Either,Here,,US,1,1\n"
        # Namibia's code looks like a missing value.
        "FYWH,WDH,Hosea Kutako Airport,Windhoek,,NA,-22.5,17.5\n",
    )
    ports = {
        "DELBC": {"name": "Lubeck", "city": "Lubeck", "country": "Germany",
                  "coordinates": [10.69, 53.87]},
        "CDMAT": {"name": "Matadi", "country": "Congo, The Democratic Republic of the",
                  "coordinates": [13.45, -5.82]},
        "BHAHD": {"name": "Al Hidd", "country": "Bahrain"},
    }  # fmt: skip
    write(tmp_path / "p/lib/ports.json", ports)
    found = read_cities(CitiesPart(reader="geonames_cities", source="g"), tmp_path / "g")
    assert found.select("name", "country", "continent", "state", "popularity").rows() == [
        ("Lübeck", "Germany", "Europe", None, 20000.0),
        ("Akron", "United States", "North America", "Ohio", 9.0),
    ]
    airports = read_airports(AirportsPart(reader="airports", source="a"), tmp_path / "a")
    assert airports.select("name", "country", "complex").rows() == [
        ("Lübeck Airport", "Germany", "Germany/lubeck"),
        ("Hosea Kutako Airport", "Namibia", "Namibia/windhoek"),
    ]
    harbours = read_ports(PortsPart(reader="sea_ports", source="p"), tmp_path / "p")
    assert harbours.select("latitude", "longitude", "country").rows() == [
        (53.87, 10.69, "Germany"), (-5.82, 13.45, "Democratic Republic of the Congo"),
    ]  # fmt: skip
    # A city, its airport and its port are on one side of the split.
    assert found["complex"][0] == airports["complex"][0] == harbours["complex"][0]


def test_wrong_packages_are_named(tmp_path):
    part = PortsPart(reader="sea_ports", source="p")
    with pytest.raises(DataError, match=r"no file ports.json"):
        read_ports(part, tmp_path)
    write(tmp_path / "ports.json", {"A": {"name": "A", "coordinates": [53.87, 110.0]}})
    with pytest.raises(DataError, match=r"latitude 110.0[\s\S]*ports.json, A"):
        read_ports(part, tmp_path)
    write(tmp_path / "ports.json", "{")
    with pytest.raises(DataError, match="not a JSON file"):
        read_ports(part, tmp_path)
    columns = "iata,name,city,subd,country,lat,lon\n"
    airports = AirportsPart(reader="airports", source="a")
    row = "AAA,A,A,,FR,{},5\n"
    write(tmp_path / "airports.csv", columns + row.format(45) + row.format(46))
    with pytest.raises(DataError, match=r"occurs in row 1 already[\s\S]*row 2, column iata"):
        read_airports(airports, tmp_path)
    for latitude, what in (("95", "between -90 and 90"), ("x", "not a number"), ("nan", None)):
        write(tmp_path / "airports.csv", columns + row.format(latitude))
        if what is None:
            assert read_airports(airports, tmp_path)["latitude"][0] is None
            continue
        with pytest.raises(DataError, match=rf"{what}[\s\S]*row 1, column lat"):
            read_airports(airports, tmp_path)
    write(tmp_path / "airports.csv", "iata,name\nAAA,A\n")
    with pytest.raises(DataError, match=r"lacks the columns \['city'"):
        read_airports(airports, tmp_path)
    for broken in ("", "iata,name,NAME\nAAA,A,a\n"):
        write(tmp_path / "airports.csv", broken)
        with pytest.raises(DataError, match="cannot read the file as CSV"):
            read_airports(airports, tmp_path)


def test_zipcodes(tmp_path):
    def code(number, kind="STANDARD", active=True, latitude="41.0", state="OH"):
        return {"zip_code": number, "zip_code_type": kind, "active": active, "state": state,
                "lat": latitude, "long": "-81.0"}  # fmt: skip

    codes = [code("04401"), code("2", "PO BOX"), code("3", active=False), code("4", latitude="0.0"),
             code("5", state="PR")]  # fmt: skip
    write(tmp_path / "zips.json.bz2", bz2.compress(json.dumps(codes).encode()))
    found = read_zipcodes(ZipcodesPart(reader="zipcodes", source="z"), tmp_path)
    assert found.select("name", "state", "longitude").rows() == [("04401", "Ohio", -81.0)]


# A square of two degrees around (10 N, 20 E) and its neighbour to the east, on a grid of half a
# degree; they share arc 0, which the neighbour has backwards.
TOPOLOGY = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.5], "translate": [19, 9]},
    "arcs": [
        [[4, 0], [0, 4]],
        [[4, 4], [-4, 0], [0, -4], [4, 0]],
        [[4, 0], [4, 0], [0, 4], [-4, 0]],
    ],
    "objects": {
        "counties": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "id": "39001", "arcs": [[0, 1]]},
                {"type": "MultiPolygon", "id": "51510", "arcs": [[[2, -1]]]},
            ],
        }
    },
}


def test_counties(tmp_path):
    path = write(tmp_path / "u/counties-10m.json", TOPOLOGY)
    shapes = read_shapes(path, "counties")
    assert shapes["39001"][0].tolist() == [[21, 9], [21, 11], [19, 11], [19, 9], [21, 9]]
    assert shapes["51510"][0].tolist() == [[21, 9], [23, 9], [23, 11], [21, 11], [21, 9]]
    names = [
        {"fips": "39001", "name": "Adams County", "state": "OH"},
        {"fips": "51510", "name": "Alexandria city", "state": "VA"},
        {"fips": "99999", "name": "No Shape County", "state": "OH"},
    ]
    write(tmp_path / "g/us_counties.json", names)
    write(tmp_path / "g/us_states.json", STATES)
    part = CountiesPart(reader="county_shapes", source="u", names_source="g")
    found = read_counties(part, tmp_path / "u", tmp_path / "g")
    assert found.select("name", "state").rows() == [("Adams County", "Ohio")]
    # By hand: sides of great circles bulge to the north, and the middle of a square of two
    # degrees stays within 0.01 degrees of the crossing of its diagonals.
    assert found["longitude"][0] == pytest.approx(20, abs=1e-9)
    assert found["latitude"][0] == pytest.approx(10, abs=0.01)
    with pytest.raises(DataError, match="no_layer"):
        read_shapes(path, "no_layer")


def test_centroid_of_an_octant_and_across_the_date_line():
    octant = np.array([[0.0, 0.0], [90, 0], [0, 90], [0, 0]])
    latitude = math.degrees(math.atan(1 / math.sqrt(2)))
    for ring in (octant, octant[::-1]):
        assert centroid([ring]) == pytest.approx((latitude, 45))
    strip = np.array([[179.0, -1], [-179, -1], [-179, 1], [179, 1], [179, -1]])
    north, east = centroid([strip])
    assert (north, abs(east)) == pytest.approx((0, 180))
    with pytest.raises(DataError, match="no area"):
        centroid([octant[[0, 1, 0]]])


def test_centroid_against_monte_carlo():
    # A band with a hole in it, by points drawn evenly on the sphere.
    south, north = [[lon, 10] for lon in range(41)], [[lon, 40] for lon in range(40, -1, -1)]
    outer = np.array([*south, *north, [0, 10]], dtype=float)
    inner = np.array([[5.0, 20], [5, 30], [15, 30], [15, 20], [5, 20]])
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, 2_000_000)
    latitude, longitude = np.degrees(np.arcsin(z)), rng.uniform(-180, 180, z.size)
    inside = (latitude > 10) & (latitude < 40) & (longitude > 0) & (longitude < 40)
    inside &= ~((latitude > 20) & (latitude < 30) & (longitude > 5) & (longitude < 15))
    phi, theta = np.radians(latitude[inside]), np.radians(longitude[inside])
    x, y, z = (
        (np.cos(phi) * np.cos(theta)).mean(),
        (np.cos(phi) * np.sin(theta)).mean(),
        np.sin(phi).mean(),
    )
    expected = math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))
    # Parallels are not great circles: sides of one and of ten degrees differ by up to 0.1 degrees.
    assert centroid([outer, inner]) == pytest.approx(expected, abs=0.15)


def test_arcs_without_a_transform():
    arcs = decode_arcs({"arcs": [[[1, 2, 7], [3, 4, 7]]]})
    assert arcs[0].tolist() == [[1, 2], [3, 4]]


def test_films(tmp_path):
    path = tmp_path / "films" / "movies.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE omdb (ID, Title, Year, Released, Director, imdbID)")
        database.execute("CREATE TABLE tomatoes (ID, Reviews)")
        films = [
            (1, "Skyfall", 2012, "2012-07-02", "Sam Mendes", "tt1"),
            (2, "Late", 2011, "2026-10-18", "A. B., C. D.", "tt2"),
            (3, "New Year", 1999, "1999-01-01", "E", "tt3"),
            (4, "Nobody's", 1999, None, "", "tt4"),
        ]
        database.executemany("INSERT INTO omdb VALUES (?, ?, ?, ?, ?, ?)", films)
        database.executemany("INSERT INTO tomatoes VALUES (?, ?)", [(1, 388), (2, None), (3, 1)])
        database.commit()
    part = FilmsPart(reader="movies_db", source="f")
    found = read_films(part, path.parent)
    assert found.select("title", "creator", "popularity", "page").rows() == [
        ("Skyfall", "Sam Mendes", 388.0, "tt1"), ("Late", "A. B.", 0.0, "tt2"),
        ("New Year", "E", 1.0, "tt3"),
    ]  # fmt: skip
    assert found["time"].to_list() == pytest.approx([2012.5, 2011.5, 1999.5])
    assert filtered(part, found, 0, "x")["name"][0] == "Sam Mendes' Skyfall"
    path.write_bytes(b"no database, whatever it is called, and long enough to be one" * 20)
    with pytest.raises(DataError, match="not the database of films"):
        read_films(part, path.parent)


# --- persons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("French physicist (1892\u20131987)", 1987), ("Roman poet (c. 84 \u2013 c. 54 BC)", -54),
        ("Emperor (63 BC \u2013 AD 14)", 14), ("Monk (died 1274)", 1274),
        ("Emperor of Russia from 1855 to 1881", None), ("Singer (born 1958)", None),
        ("Poet (1220/21\u20131287/88)", 1287),
    ],
)  # fmt: skip
def test_years_of_death(text, year):
    assert death_year(text) == year


def test_kinds_of_persons():
    assert kind_of(["French", "physicist", "and", "queen,"]) == "ruler"
    assert kind_of({"military_officer", "person"}) == "soldier"
    assert kind_of(["American"]) == "other"


def test_persons(tmp_path):
    articles = {
        "a": {"title": "Bede (monk)", "description": "English monk (673\u2013735)",
              "topic": "People", "extract": "abc"},
        "b": {"title": "Lord X, 1st Baron X", "description": "Poet (1800\u20131850)",
              "topic": "People"},
        "c": {"title": "Film", "description": "Film (1900\u20131950)", "topic": "Arts"},
        "d": {"title": "King II", "description": "King until 1100", "topic": "People"},
    }  # fmt: skip
    write(tmp_path / "w/summaries_en-us.json", articles)
    part = SummaryPersonsPart(reader="summary_persons", source="w")
    found = read_summary_persons(part, tmp_path / "w")
    assert found.select("name", "entity_type", "time", "complex", "popularity").rows() == [
        ("Bede", "clergyman", 735.0, "bede 735", 3.0), ("Lord X", "writer", 1850.0, "lord 1850", 0),
    ]  # fmt: skip
    lines = [
        "  1 the licence",
        "00000001 18 n 01 person 0 000 | a human being",
        "00000002 18 n 01 poet 0 001 @ 00000001 n 0000 | writes",
        "00000003 18 n 02 Byron 0 George_Gordon_Byron 0 001 @i 00000002 n 0000 | (1788-1824)",
        "00000004 18 n 01 Alive 0 001 @i 00000002 n 0000 | (born in 1950)",
    ]
    write(tmp_path / "n/data.noun", "\n".join(lines) + "\n")
    part = WordnetPersonsPart(reader="wordnet_persons", source="n")
    found = read_wordnet_persons(part, tmp_path / "n")
    assert found.select("name", "entity_type", "time", "complex").rows() == [
        ("George Gordon Byron", "writer", 1824.0, "byron 1824")
    ]


# --- speeches ------------------------------------------------------------------------------------

SENTENCE = "The state of the Union has never been stronger than it is today."


@pytest.mark.parametrize(
    "wrong",
    [
        "It is strong.", SENTENCE[:-1] + "?", SENTENCE.lower(),
        SENTENCE.replace("never", "[never]"), SENTENCE.replace("today", "in 1861"),
        SENTENCE.replace("The", '"The'),
        SENTENCE.replace("stronger", "so very " * 20 + "strong"), SENTENCE.replace("has", "-- has"),
    ],
)  # fmt: skip
def test_what_does_not_read_like_a_sentence(wrong):
    assert is_plain(SENTENCE, 8, 30)
    assert not is_plain(wrong, 8, 30)


def test_speeches(tmp_path):
    assert list(sentences("One is. Two\nis!  Mr. Smith of the U.S. Army is three.\n\nFour")) == [
        "One is.", "Two is!", "Mr. Smith of the U.S. Army is three.", "Four"
    ]  # fmt: skip
    write(tmp_path / "speeches/1861-L-1.txt", f"My friends:\n\n{SENTENCE} {SENTENCE}")
    table = "fileid,date,president_full,sotu_type\n1861-L-1,1861-12-03,Abraham Lincoln,written\n"
    write(tmp_path / "metadata.csv", table)
    found = read_speeches(SpeechesPart(reader="speeches", source="s"), tmp_path)
    assert found.height == 2
    assert found["name"][0] == SENTENCE[:-1]
    assert found.select("creator", "complex", "entity_type").row(0) == (
        "Abraham Lincoln", "1861-L-1", "written"
    )  # fmt: skip
    assert found["time"][0] == pytest.approx(1861 + 336 / 365)


# --- published layouts ---------------------------------------------------------------------------


def published(path: Path, layout: str, *rows: str) -> PublishedPart:
    write(path, "\n".join([",".join(LAYOUTS[layout][1]), *rows]) + "\n")
    return PublishedPart(reader="published", layout=layout, path=str(path))


def test_published_layouts(tmp_path):
    path = tmp_path / "t.csv"
    part = published(path, "world_place", "Ford Rotunda,United_States,42.3,-83.2,40773.0,b,True")
    assert read_published(part, path).row(0, named=True) == {
        **dict.fromkeys(read_published(part, path).columns), "name": "Ford Rotunda",
        "country": "United States", "continent": "North America", "latitude": 42.3,
        "longitude": -83.2, "popularity": 40773.0, "entity_type": "b", "is_test": True,
    }  # fmt: skip
    part = published(path, "us_place", "New York,40.7,-73.9,New York,18972871.0,city,,False")
    assert read_published(part, path).select("state", "popularity").row(0) == ("New York", 18972871)
    part = published(
        path, "nyc_place", "ROOSEVELT IS,40.7,-73.9,0,Transportation Facility,Queens,True",
        "BOW BRIDGE,40.7,-73.9,444,Transportation Facility,Manhattan,False",
    )  # fmt: skip
    assert read_published(part, path).select("name", "borough", "complex").rows() == [
        ("Roosevelt IS", "Queens", None), ("Bow Bridge", "Manhattan", "444")
    ]  # fmt: skip
    part = published(path, "art", "It,Stephen King,1986-07-02,It_(novel),4503905.0,book,False")
    found = filtered(part, read_published(part, path), 0, "x")
    assert found.select("name", "title", "page").row(0) == ("Stephen King's It", "It", "It_(novel)")
    assert found["time"][0] == pytest.approx(1986 + 182 / 365)
    part = published(path, "historical_figure", "Cato,Politician,-46,Q1,False")
    assert read_published(part, path).select("time", "entity_type").row(0) == (-46.0, "politician")
    part = published(path, "headline", "Pilgrims Arrive.,2020-07-01T05:00,Foreign,False")
    assert read_published(part, path)["name"][0] == "Pilgrims Arrive"


@pytest.mark.parametrize(
    ("layout", "row", "message"),
    [
        ("world_place", "A,B,142.3,-83.2,1,b,True", r"between -90 and 90[\s\S]*swapped"),
        ("world_place", "A,B,42.3,-283.2,1,b,True", r"-180 and 180[\s\S]*row 1, column longitude"),
        ("world_place", "A,B,42.3,-83.2,many,b,True", "not a number: 'many'"),
        ("world_place", "A,B,42.3,-83.2,1,b,maybe", "neither True nor False"),
        ("art", "It,King,15 Sept 1986,It,1,book,False", r"date like[\s\S]*column release_date"),
    ],
)
def test_wrong_values_are_named(tmp_path, layout, row, message):
    path = tmp_path / "t.csv"
    part = published(path, layout, row)
    with pytest.raises(DataError, match=message):
        read_published(part, path)


# --- raw files -----------------------------------------------------------------------------------


def test_simplemaps(tmp_path):
    path = tmp_path / "s.csv"
    part = SimplemapsPart(reader="simplemaps", layout="zips", path=str(path))
    rows = ["4401,44,-69,Maine,10001,1", "2,44,-69,Maine,2001,51", "3,44,-69,Maine,2001,50",
            "4,44,-69,Maine,10000,1", "5,44,-69,Maine,,9"]  # fmt: skip
    write(path, "\n".join(["zip,lat,lng,state_name,population,density", *rows]))
    assert read_simplemaps(part, path)["name"].to_list() == ["04401", "00002"]
    part = SimplemapsPart(
        reader="simplemaps", layout="cities", path=str(path), contiguous_us=True, duplicate_ratio=2,
        min_popularity=500,
    )  # fmt: skip
    rows = ["1,Dallas,33,-97,Texas,900", "2,Dallas,45,-123,Oregon,400", "3,Troy,43,-74,NY,600",
            "4,Troy,33,-86,Alabama,400", "5,Small,43,-74,NY,500",
            "6,Hilo,20,-155,Hawaii,9000"]  # fmt: skip
    write(path, "\n".join(["id,city,lat,lng,state_name,population", *rows]))
    found = filtered(part, read_simplemaps(part, path), 0, "x")
    assert found.select("name", "state").rows() == [("Dallas", "Texas")]


def test_points_of_new_york(tmp_path):
    path = tmp_path / "n.csv"
    part = NycPart(reader="nyc_points", path=str(path))
    header = "the_geom,COMPLEXID,PLACEID,BOROUGH,FACILITY_T,NAME"
    rows = [
        "POINT (-73.99 40.70),3960,1,3,6,BROOKLYN BRIDGE", "POINT (-73.99 40.70),0,2,1.0,2,PS 124",
        "POINT (-73.99 40.70),0,3,1,12,LIGHTED BUOY 12",
        "POINT (-73.99 40.70),0,4,1,12,GOWANUS BOUY",
        "POINT (-73.9 40.8),0,5,9,99,SOMEWHERE ELSE", "POINT (-73.9 40.8),0,6,1,1,",
    ]  # fmt: skip
    write(path, "\n".join([header, *rows]))
    found = filtered(part, read_nyc_points(part, path), 0, "x")
    assert found.select("name", "borough", "complex", "entity_type", "latitude").rows() == [
        ("Brooklyn Bridge", "Brooklyn", "3960", "transportation", 40.7),
        ("Somewhere Else", None, None, "miscellaneous", 40.8),
    ]
    write(path, f"{header}\nPOINT (40.70 -73.99),0,1,1,1,CITY HALL\n")
    with pytest.raises(DataError, match=r"near New York[\s\S]*row 1, column the_geom"):
        read_nyc_points(part, path)


def test_figures(tmp_path):
    path = tmp_path / "f.csv"
    part = FiguresPart(reader="figures", path=str(path), max_per={"decade": 2})
    rows = ["Q23,George Washington,United States of America; Great Britain,Politician,1799",
            "Q9,Late,,,1791", "Q99,Later,,,1795", "Q5,Alive,,,", "Q6,Old,,,-1500", "Q7,New,,,2001",
            "Q8,Caesar,,Politician,-44"]  # fmt: skip
    write(path, "\n".join(["Id,Name,Country,Occupation,Death year", *rows]))
    found = filtered(part, read_figures(part, path), 0, "x")
    assert found.select("name", "time", "country", "entity_type").rows() == [
        ("George Washington", 1799.0, "United States", "politician"),
        ("Late", 1791.0, None, "unknown"),
        ("Caesar", -44.0, None, "politician"),
    ]  # fmt: skip


def test_headlines(tmp_path):
    header = "headline,pub_date,print_page,section,news_desk,type"
    rows = [
        "Far Away,2015-01-01,5,World,Foreign,article", "Too Far,2015-01-01,6,World,Foreign,article",
        "At Home,2015-01-01,10,U.S.,National,article", "Why?,2015-01-01,1,U.S.,National,article",
        "Late,2021-01-01,1,U.S.,National,article", "Sports,2015-01-01,1,Sports,Sports,article",
        "Other,2015-01-01,E1,U.S.,National,article", "Dies at 90,2015-07-02,9,Arts,Obits,article",
        "News Summary.,2015-01-01,1,U.S.,National,article",
        "Slides,2015-01-01,1,U.S.,National,multimedia",
    ]  # fmt: skip
    write(tmp_path / "stories_2015.csv", "\n".join([header, *rows[:5]]))
    write(tmp_path / "stories_2016.csv", "\n".join([header, *rows[5:]]))
    part = HeadlinesPart(reader="headlines", path=str(tmp_path / "stories_*.csv"))
    found = filtered(part, read_headlines(part), 0, "x")
    assert found["name"].to_list() == ["Far Away", "At Home", "Dies at 90"]
    with pytest.raises(DataError, match="no file matches"):
        read_headlines(HeadlinesPart(reader="headlines", path=str(tmp_path / "none_*.csv")))
