"""The page of maps: TopoJSON, projections, numbers against brute force, and what the page says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import polars as pl
import pytest
from lxml import etree, html

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.report.coastlines import around_pole, read_topology, unwrapped
from artneuro.report.map_drawing import (
    WORLD,
    Frame,
    arrows,
    ground,
    labels,
    nice_ticks,
    path_of,
    points,
)
from artneuro.report.maps import build_maps_page
from artneuro.report.maps_numbers import (
    SPACE,
    TIME,
    area_medians,
    errors_by,
    errors_of,
    mean_guess_error,
    notable,
    r2_of,
    running_quantiles,
    spread_ratios,
)
from artneuro.report.maps_pictures import cut, distance, year
from artneuro.report.maps_regions import (
    DIVISIONS,
    STATE_CODES,
    area_label,
    colour_classes,
    kind_of,
    with_colour,
)

# Two squares side by side, as in the specification of the format: they share arc 0.
TWO_SQUARES = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.25], "translate": [100.0, 10.0]},
    "arcs": [
        [[2, 0], [0, 4]],  # the border, from (101, 10) to (101, 11)
        [[2, 4], [-2, 0], [0, -4], [2, 0]],  # around the west
        [[2, 4], [2, 0], [0, -4], [-2, 0]],  # around the east
    ],
    "objects": {
        "countries": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "arcs": [[0, 1]], "id": 7, "properties": {"name": "West"}},
                {"type": "MultiPolygon", "arcs": [[[-3, -1]]], "properties": {"name": "East"}},
                {"type": "Point", "coordinates": [0, 0]},
            ],
        },
        "land": {"type": "Polygon", "arcs": [[1, -3]]},
    },
}


def topology(tmp_path, content=TWO_SQUARES):
    path = tmp_path / "countries-110m.json"
    path.write_text(json.dumps(content))
    return path


# Coastlines


def test_arcs_are_decoded_and_joined(tmp_path):
    found = read_topology(topology(tmp_path))
    west, east, nothing = found.shapes("countries")
    assert (west.identifier, west.name, east.identifier) == ("7", "West", None)
    assert nothing.rings == ()
    np.testing.assert_allclose(
        west.rings[0], [[101, 10], [101, 11], [100, 11], [100, 10], [101, 10]]
    )
    # Arc 2 backwards, then arc 0 backwards.
    np.testing.assert_allclose(
        east.rings[0], [[101, 10], [102, 10], [102, 11], [101, 11], [101, 10]]
    )
    (land,) = found.shapes("land")
    assert len(land.rings[0]) == 7
    (border,) = found.borders("countries")
    np.testing.assert_allclose(border, [[101, 10], [101, 11]])


def test_a_file_that_is_no_map_is_an_error(tmp_path):
    with pytest.raises(DataError, match="not a topology"):
        read_topology(topology(tmp_path, {"type": "FeatureCollection"}))
    found = read_topology(topology(tmp_path))
    with pytest.raises(DataError, match="no 'states'"):
        found.shapes("states")
    broken = json.loads(json.dumps(TWO_SQUARES))
    broken["objects"]["land"]["arcs"] = [[9]]
    with pytest.raises(DataError, match="arc 9"):
        read_topology(topology(tmp_path, broken)).shapes("land")


def test_rings_cross_the_date_line_and_go_around_poles():
    chukotka = np.array([[178.0, 66], [-178, 66], [-178, 68], [178, 68], [178, 66]])
    np.testing.assert_allclose(unwrapped(chukotka)[:, 0], [178, 182, 182, 178, 178])
    assert around_pole(unwrapped(chukotka)) is not None
    south = np.array([[-180.0, -80], [-90, -75], [0, -70], [90, -75], [-180, -80]])
    ring = around_pole(unwrapped(south))
    np.testing.assert_allclose(ring[-3:], [[180, -90], [-180, -90], [-180, -80]])
    north = around_pole(unwrapped(south * [1, -1]))
    assert north[:, 1].max() == 90


def test_the_path_shows_both_ends_of_what_crosses_the_edge():
    frame = Frame(-180, 180, -90, 90, width=360)
    assert frame.height == pytest.approx(180)
    chukotka = np.array([[178.0, 66], [182, 66], [182, 68], [178, 68], [178, 66]])
    drawn = path_of([chukotka], frame, closed=True)
    assert drawn == "M-2,24L2,24L2,22L-2,22L-2,24ZM358,24L362,24L362,22L358,22L358,24Z"
    assert (
        path_of([np.array([[0.0, 0], [0.1, 0], [9, 0]])], frame, closed=False) == "M180,90L189,90"
    )


def test_the_frame_maps_corners_to_corners():
    np.testing.assert_allclose(
        WORLD.at(np.array([-180, 180]), np.array([85, -60])), [[0, 0], [1200, WORLD.height]]
    )
    # At its parallel a degree of latitude is as long as one of longitude is on the Earth.
    across, down = WORLD.scale
    assert across / down == pytest.approx(np.cos(np.radians(25)))
    assert WORLD.holds([0, 190, 0], [0, 0, 86]).tolist() == [True, False, False]
    assert WORLD.clamped(np.array([[-50.0, 9999]])).tolist() == [[3, WORLD.height - 3]]


def test_ticks_are_round_and_within():
    assert nice_ticks(1790, 2026, 8).tolist() == [1800, 1850, 1900, 1950, 2000]
    assert nice_ticks(-1000, 2000, 6).tolist() == [-1000, -500, 0, 500, 1000, 1500, 2000]
    assert nice_ticks(3, 3).size <= 1


# Drawings

EVIL = "<script>alert(1)</script>\"'&"


def test_names_are_escaped_everywhere(tmp_path):
    at = np.array([[10.0, 10], [50, 50]])
    frame = Frame(0, 100, 0, 100, width=1000)
    drawn = [
        points(at, at, [EVIL, EVIL], ["k0", '"><b>']),
        arrows(at, at, ["k0", EVIL], [EVIL, EVIL]),
        labels(at * 8, [EVIL, "b"], frame),
        ground(EVIL, frame, ()),
    ]
    for markup in drawn:
        assert "<script" not in markup
        assert "<b>" not in markup
        etree.fromstring(f"<svg>{markup}</svg>")
    assert EVIL in etree.fromstring(f"<svg>{drawn[2]}</svg>").itertext()


def test_labels_hide_neither_each_other_nor_marks():
    rng = np.random.default_rng(0)
    frame = Frame(0, 100, 0, 50, width=1000)
    at = rng.uniform([50, 50], [900, 450], (60, 2))
    texts = [f"place {i}" for i in range(60)]
    tree = etree.fromstring(labels(at, texts, frame))
    shown = [t.text for t in tree]
    assert 20 < len(shown) <= 60
    assert shown[0] == "place 0"
    boxes = [(float(t.get("x")), float(t.get("y")) - 11, 0.56 * 13 * len(t.text)) for t in tree]
    for i, (x, y, wide) in enumerate(boxes):
        for x2, y2, wide2 in boxes[:i]:
            assert x + wide <= x2 or x2 + wide2 <= x or abs(y - y2) >= 13
        for mx, my in at:
            assert not (x < mx < x + wide and y < my < y + 13)


def test_numbers_are_said_as_a_reader_says_them():
    assert year(1986.7) == "1986"
    assert year(-43.5) == "−44"
    assert year(None) == "–"
    assert distance(1234.4) == "1\u202f234\u00a0km"
    assert distance(0.44) == "0.4\u00a0km"
    assert distance(float("nan")) == "–"
    assert len(cut("x" * 500)) == 90


# Numbers


def place_rows(n=60, draw=0, **columns) -> pl.DataFrame:
    """A table of predictions of places: true places with noise."""
    rng = np.random.default_rng(draw)
    latitude, longitude = rng.uniform(-50, 70, n), rng.uniform(-170, 170, n)
    base = {
        "model": ["tiny"] * n, "entities": ["world"] * n, "prompt": ["empty"] * n,
        "layer": pl.Series([3] * n, dtype=pl.Int16), "entity": pl.Series(range(n), dtype=pl.Int32),
        "split": ["test" if i % 3 == 0 else "train" for i in range(n)],
        "name": [f"place {i}" for i in range(n)], "entity_type": ["city"] * n,
        "block": [f"country {i % 5}" for i in range(n)],
        "country": [f"country {i % 5}" for i in range(n)],
        "continent": [["EU", "Asia", None, "AF", "Europe"][i % 5] for i in range(n)],
        "state": pl.Series([None] * n, dtype=pl.String),
        "borough": pl.Series([None] * n, dtype=pl.String),
        "latitude": latitude, "longitude": longitude,
        "time": pl.Series([None] * n, dtype=pl.Float64),
        "predicted_latitude": 0.5 * latitude + rng.normal(0, 5, n),
        "predicted_longitude": 0.5 * longitude + rng.normal(0, 15, n),
        "predicted_time": pl.Series([None] * n, dtype=pl.Float64),
    }  # fmt: skip
    return pl.DataFrame({**base, **columns})


def date_rows(n=60, draw=0, **columns) -> pl.DataFrame:
    rng = np.random.default_rng(draw)
    time = rng.uniform(-500, 2000, n)
    nothing = pl.Series([None] * n, dtype=pl.Float64)
    return place_rows(n, draw, **{
        "entities": ["art"] * n, "entity_type": ["song", "book", "film"] * (n // 3),
        "latitude": nothing, "longitude": nothing, "predicted_latitude": nothing,
        "predicted_longitude": nothing, "time": time,
        "predicted_time": time + rng.normal(0, 100, n), **columns,
    })  # fmt: skip


def test_errors_and_r2_are_those_of_the_formulas():
    rows = place_rows()
    a, b, c, d = (
        np.radians(rows[name].to_numpy())
        for name in ("latitude", "longitude", "predicted_latitude", "predicted_longitude")
    )
    # The angle between unit vectors, another way to the great circle.
    cosine = np.sin(a) * np.sin(c) + np.cos(a) * np.cos(c) * np.cos(b - d)
    np.testing.assert_allclose(errors_of(rows, SPACE), 6371.0088 * np.arccos(cosine), rtol=1e-6)
    from sklearn.metrics import r2_score

    wanted = [r2_score(rows[t], rows[f"predicted_{t}"]) for t in SPACE]
    np.testing.assert_allclose(r2_of(rows, SPACE), wanted)
    dates = date_rows()
    np.testing.assert_allclose(errors_of(dates, TIME), abs(dates["predicted_time"] - dates["time"]))
    np.testing.assert_allclose(
        spread_ratios(dates, TIME), [dates["predicted_time"].std() / dates["time"].std()]
    )


def test_the_mean_guess_is_the_mean_of_train_alone():
    rows = date_rows(6, time=[0.0, 100, 200, 10, 300, 400], split=["test", "train"] * 3)
    # Train: 100, 10, 400 -> 170. Test: 0, 200, 300 -> errors 170, 30, 130.
    assert mean_guess_error(rows, TIME) == pytest.approx(130)


def test_errors_by_group_by_hand():
    rows = date_rows(
        6, time=[0.0, 0, 0, 0, 0, 0], predicted_time=[1.0, -3, 5, 10, 20, 7],
        entity_type=["a", "a", "a", "b", "b", None],
    )  # fmt: skip
    found = errors_by(rows, "entity_type", TIME)
    assert found["entity_type"].to_list() == ["a", "b"]
    assert found["n"].to_list() == [3, 2]
    assert found["median"].to_list() == [3, 15]
    assert found["upper_quartile"].to_list() == [4, 17.5]
    assert found["shift_time"].to_list() == [1, 15]


def test_medians_of_areas_by_hand():
    rows = with_colour(
        place_rows(
            5, country=["A", "A", "A", "B", None], latitude=[1.0, 2, 9, 5, 5],
            longitude=[10.0, 20, 30, 5, 5], predicted_latitude=[2.0, 2, 2, 0, 0],
            predicted_longitude=[20.0, 20, 20, 0, 0], continent=["EU", "EU", "AS", "AF", None],
        ),
        "world",
    )  # fmt: skip
    (row,) = area_medians(rows, "country", 2).iter_rows(named=True)
    assert (row["n"], row["latitude"], row["longitude"], row["colour"]) == (3, 2, 20, "Europe")
    assert row["distance_km"] == pytest.approx(0)


def test_running_quantiles_against_a_loop():
    rng = np.random.default_rng(1)
    x, y = rng.random(103), rng.random(103)
    centres, values = running_quantiles(x, y, 20)
    order = np.argsort(x)
    starts = [*range(0, 84, 10), 83]
    assert len(centres) == len(starts)
    for start, centre, value in zip(starts, centres, values, strict=True):
        part = order[start : start + 20]
        assert centre == np.median(x[part])
        np.testing.assert_allclose(value, np.quantile(y[part], [0.25, 0.5, 0.75]))
    one, all_of_it = running_quantiles(x[:5], y[:5], 20)
    assert len(one) == 1
    assert all_of_it[0, 1] == np.median(y[:5])


def test_named_places_are_chosen_without_their_errors():
    rows = with_colour(
        place_rows(
            30, popularity=[float(i % 7) if i % 2 else None for i in range(30)],
            continent=["EU"] * 20 + ["AS"] * 10,
        ),
        "world",
    )  # fmt: skip
    found = notable(rows, 4)
    # Two of each continent, those of the largest popularity.
    assert found.group_by("colour").agg("popularity").sort("colour")["popularity"].to_list() == [
        [6, 4], [6, 5],
    ]  # fmt: skip
    plain = with_colour(place_rows(30), "world")
    worse = plain.with_columns(pl.col("predicted_latitude") + 90)
    assert notable(plain, 4)["name"].equals(notable(worse, 4)["name"])
    assert notable(plain, 4)["colour"].n_unique() == 4


# Regions


def test_every_state_has_one_division():
    assert len(STATE_CODES) == 51
    assert len(DIVISIONS) == 102
    assert DIVISIONS["TX"] == DIVISIONS["Texas"] == "West South Central"
    assert area_label("District of Columbia", "usa") == "DC"
    assert area_label("Sri_Lanka", "world") == "Sri Lanka"


def test_kinds_of_tables():
    n = 60
    usa = {
        "latitude": np.linspace(30, 45, n), "longitude": np.linspace(-120, -75, n),
        "state": ["TX"] * n,
    }  # fmt: skip
    city = {
        "latitude": np.linspace(40.6, 40.8, n), "longitude": np.linspace(-74.1, -73.8, n),
        "borough": ["Queens"] * n,
    }  # fmt: skip
    assert kind_of(place_rows()) == "world"
    assert kind_of(place_rows(state=["TX"] * n)) == "world"  # states, but all over the world
    assert kind_of(place_rows(**usa)) == "usa"
    assert kind_of(place_rows(**city)) == "city"
    assert kind_of(date_rows()) == "time"


def test_colours_do_not_depend_on_what_else_is_there():
    rows = with_colour(place_rows(), "world")
    assert set(rows["colour"]) == {"Europe", "Asia", "Africa", "not told"}
    classes = colour_classes(rows["colour"], "world")
    assert classes == {"Africa": "k0", "Europe": "k1", "Asia": "k2", "not told": "kx"}
    alone = colour_classes(pl.Series("colour", ["Asia"]), "world")
    assert alone == {"Asia": "k2"}


def test_kinds_beyond_the_colours_become_one():
    kinds = [f"type {i}" for i in range(12) for _ in range(12 - i)]
    n = len(kinds)
    rows = with_colour(date_rows(78, entity_type=kinds), "time")
    assert n == 78
    counts = dict(rows["colour"].value_counts().iter_rows())
    assert counts == {f"type {i}": 12 - i for i in range(8)} | {"other kinds": 4 + 3 + 2 + 1}
    classes = colour_classes(rows["colour"], "time")
    assert classes["type 0"] == "k0"
    assert classes["other kinds"] == "k8"
    assert len(set(classes.values())) == 9


# The page


def write(folder, name, table):
    path = folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path)
    return path


def holdout_rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "model": ["tiny"] * 3, "entities": ["world"] * 3,
            "kind": ["block", "block", "entity_type"],
            "unit": ["country 1", "country 2", "city"], "n_held_out": [12, 11, 60],
            "true_latitude": [10.0, 20, 0], "true_longitude": [10.0, 20, 0],
            "predicted_latitude": [5.0, 9, 0], "predicted_longitude": [2.0, 8, 0],
            "training_latitude": [1.0, 2, 0], "training_longitude": [3.0, 4, 0],
            "angle": [30.0, 120, 10],
        }
    )  # fmt: skip


def score_rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "model": ["tiny"] * 3, "entities": ["world"] * 3,
            "probe": ["linear", "linear", "bag_of_tokens"], "layer": [2, 3, None],
            "r2": [0.1, 0.2, 0.0625], "error_km_median": [1.0, 2.0, 4321.0],
        }
    )  # fmt: skip


def build(tmp_path, predictions, **more):
    page = tmp_path / "maps.html"
    scores = [write(tmp_path, "scores", score_rows())]
    build_maps_page(predictions=predictions, scores=scores, output=page, **more)
    return page.read_text(), html.fromstring(page.read_text())


def test_the_page_says_what_the_tables_say(tmp_path):
    atlas = topology(tmp_path).parent
    world, art = place_rows(), date_rows(entities=["art"] * 60)
    better = place_rows(model=["bigger"] * 60).with_columns(
        predicted_latitude=pl.col("latitude"), predicted_longitude=pl.col("longitude") + 1
    )
    popular = pl.DataFrame(
        {"entity": pl.Series(range(60), dtype=pl.Int32), "popularity": np.arange(60.0)}
    )
    text, tree = build(
        tmp_path,
        [write(tmp_path, "art", art), write(tmp_path, "world", world)],
        holdouts=[write(tmp_path, "holdouts", holdout_rows())],
        entities=[write(tmp_path, "world/entities", popular)],
        world_atlas=atlas,
    )
    test = world.filter(pl.col("split") == "test")
    median = float(np.median(errors_of(test, SPACE)))
    assert f"median error {distance(median)}" in text
    assert f"{np.mean(r2_of(test, SPACE)):.2f}" in text
    assert "4\u202f321\u00a0km (R² 0.06) for a probe of the counts of tokens" in text
    assert "75° on average, and below 90° for 1 of 2" in text
    assert [h.text for h in tree.iter("h2")] == ["world: places of the world", "art: dates"]
    first, second = tree.xpath("(//svg[@class='map'])[position() <= 2]")
    circles = [svg.xpath(".//g[@class='points']/circle") for svg in (first, second)]
    assert len(circles[0]) == len(circles[1]) == 20
    for here, there in zip(*circles, strict=True):
        # Each of the two pictures knows where the other has the point.
        assert here.get("data-t") == f"{there.get('cx')},{there.get('cy')}"
        assert there.get("data-t") == f"{here.get('cx')},{here.get('cy')}"
    names = tree.xpath("//figure[h3='Some by name']//g[@class='arrows']//title/text()")
    assert len(names) == 20
    assert names[0].startswith("place 57, country 2: predicted ")
    (land,) = tree.xpath("//symbol[@id='ground-world']/path[@class='land']/@d")
    assert land.startswith("M")
    # With a second model, the better one comes first.
    text, tree = build(
        tmp_path, [write(tmp_path, "world", world), write(tmp_path, "better", better)]
    )
    titles = [t for t in tree.xpath("//h3/text()") if "inside" in t]
    assert titles == ["The map inside bigger", "The map inside tiny"]
    assert "Layer 3 of bigger" in text


def test_the_page_loads_nothing_and_escapes_names(tmp_path):
    world = place_rows(name=[EVIL] * 60, country=[EVIL] * 60, continent=[EVIL] * 60)
    art = date_rows(name=[EVIL] * 60, entity_type=[EVIL] * 60)
    text, tree = build(tmp_path, [write(tmp_path, "world", world), write(tmp_path, "art", art)])
    assert "<script>alert" not in text
    assert len(tree.xpath("//script")) == 1
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert EVIL in tree.xpath("//td/text()") + tree.xpath("//th/text()")


def test_city_and_states_have_their_maps(tmp_path):
    n = 60
    usa = place_rows(
        entities=["usa"] * n, latitude=np.linspace(30, 45, n), longitude=np.linspace(-120, -75, n),
        state=["TX", "California", "NY", "VT", "FL"] * (n // 5),
        predicted_longitude=[-200.0, *([-100.0] * (n - 1))], predicted_latitude=[40.0] * n,
    )  # fmt: skip
    city = place_rows(
        entities=["nyc"] * n, latitude=np.linspace(40.6, 40.8, n),
        longitude=np.linspace(-74.1, -73.8, n), borough=["Queens", "Bronx"] * (n // 2),
        predicted_longitude=[-74.0] * n, predicted_latitude=[40.7] * n,
    )  # fmt: skip
    text, tree = build(tmp_path, [write(tmp_path, "usa", usa), write(tmp_path, "nyc", city)])
    labelled = set(tree.xpath("//figure[h3='Medians by state']//g[@class='labels']/text/text()"))
    assert labelled <= {"TX", "CA", "NY", "VT", "FL"}
    assert labelled
    assert "1 of the predictions and 0 of the true places lie outside of the map" in text
    assert tree.xpath("//figure[h3='Medians by borough']")
    assert "West South Central (4)" in text


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no prediction"):
        build_maps_page(predictions=[], scores=[], output=tmp_path / "maps.html")


# In a browser

READER = """
const see = (name, value) => {
  const line = document.createElement("pre");
  line.className = "seen"; line.dataset.name = name; line.textContent = value;
  document.body.append(line);
};
const figure = document.querySelector(".atlas");
const [model, truth] = figure.querySelectorAll("svg.map");
const first = (svg) => svg.querySelector(".points circle");
const box = first(model).getBoundingClientRect();
model.dispatchEvent(new PointerEvent("pointermove", {
  clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }));
see("tip", figure.querySelector(".tip").textContent);
const lines = [...figure.querySelectorAll(".pointer line")];
see("pointers", String(lines.length));
see("from", `${lines[0].getAttribute("x1")},${lines[0].getAttribute("y1")}`);
see("to", `${lines[0].getAttribute("x2")},${lines[0].getAttribute("y2")}`);
see("there", first(model).dataset.t);
const slider = figure.querySelector("input[type=range]");
slider.value = 0; slider.dispatchEvent(new Event("input"));
const c = first(model);
see("moved", `${c.getAttribute("cx")},${c.getAttribute("cy")}`);
const find = figure.querySelector(".find");
find.value = "PLACE 3,"; find.dispatchEvent(new Event("input"));
see("found", figure.querySelector("output").textContent);
see("dim", String(model.querySelectorAll(".points .dim").length));
find.value = ""; find.dispatchEvent(new Event("input"));
const button = [...figure.querySelectorAll(".colours button")]
  .find((b) => b.textContent.includes("Europe"));
button.click();
see("left", String(truth.querySelectorAll(".points circle:not(.dim)").length));
see("pressed", button.getAttribute("aria-pressed"));
button.click();
see("all", String(truth.querySelectorAll(".points .dim").length));
see("wide", String(document.documentElement.scrollWidth - window.innerWidth));
"""


@pytest.mark.integration
@pytest.mark.parametrize("width", [1280, 500])
def test_points_say_their_names_and_move_in_a_browser(width, tmp_path):
    world = place_rows()
    text, _ = build(
        tmp_path, [write(tmp_path, "world", world), write(tmp_path, "art", date_rows())]
    )
    # The page lets no other script run, so the copy that is clicked through goes without the rule.
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"<script>{READER}</script></body>"))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "this test needs chromium: apt-get install chromium"
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=5000",
         f"--window-size={width},900", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         copy.as_uri()],
        capture_output=True, text=True, check=True, timeout=400,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    tree = html.fromstring(done.stdout)
    assert tree.get("data-maps") == "ready"
    seen = {p.get("data-name"): p.text_content() for p in tree.xpath("//pre[@class='seen']")}
    test = with_colour(world, "world").filter(pl.col("split") == "test")
    assert re.fullmatch(r"place \d+, country \d: predicted .* off", seen["tip"])
    assert seen["pointers"] == "2"
    assert seen["to"] == seen["there"] == seen["moved"]
    assert seen["from"] != seen["to"]
    assert (seen["found"], seen["dim"]) == ("1 of 20", "19")
    assert seen["left"] == str((test["colour"] == "Europe").sum())
    assert (seen["pressed"], seen["all"]) == ("true", "0")
    assert float(seen["wide"]) <= 0, "the page is wider than the window"
