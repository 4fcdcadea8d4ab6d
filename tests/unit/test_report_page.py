"""The HTML page: its numbers, its safety, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lxml import etree, html
from report_example import make_scores, write_example

from artneuro.core.artifacts import read_json, write_json, write_table
from artneuro.core.errors import DataError
from artneuro.report import drawing
from artneuro.report.config import ReportConfig
from artneuro.report.page import build_report

EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return write_example(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("page") / "index.html"
    build_report(ReportConfig(), **run, output=output)
    return output.read_text(encoding="utf-8")


def cells(section: html.HtmlElement, table: int = 0) -> list[list[str]]:
    rows = section.findall(".//table")[table].findall("tbody/tr")
    return [[cell.text_content().strip() for cell in row] for row in rows]


def test_the_same_run_gives_the_same_bytes(
    run: dict[str, list[Path]], page: str, tmp_path: Path
) -> None:
    build_report(ReportConfig(), **run, output=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_it_loads_nothing(page: str) -> None:
    tree = html.fromstring(page)
    assert not tree.xpath("//img | //link | //iframe | //object | //embed | //base | //form")
    assert not tree.xpath("//@src")
    assert all(link.startswith("#") for link in tree.xpath("//@href"))
    assert "url(" not in page
    assert "@import" not in page
    targets = set(tree.xpath("//@id"))
    assert {link[1:] for link in tree.xpath("//@href")} <= targets
    assert len(targets) == len(tree.xpath("//@id"))


def test_the_browser_may_run_its_one_script_and_no_other(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert not re.search(r"\son\w+=", page)


def test_the_table_shows_the_neuron_that_train_chose_and_its_test_scores(
    run: dict[str, list[Path]], page: str
) -> None:
    scores = pl.read_parquet(run["scores"][0])
    sections = html.fromstring(page).xpath("//section[contains(@class, 'results')]")
    titles = [s.find(".//h2").text_content() for s in sections]
    assert titles == ["Code language", "Natural language"]
    shown = {row[0]: row for section in sections for row in cells(section)}
    assert len(shown) == 5
    for feature, row in shown.items():
        own = [
            r
            for r in scores.filter(pl.col("feature") == feature).iter_rows(named=True)
            if r["k"] == 1
        ]
        real = [r for r in own if r["control"] == "none" and r["method"] != "random"]
        best = sorted(real, key=lambda r: (-r["f1_train"], r["layer"], r["method"]))[0]
        random = [r for r in own if r["control"] == "none" and r["method"] == "random"]
        shuffled = [r for r in own if r["control"] != "none" and r["method"] != "random"]
        assert row[1] == f"L{best['layer']}.{best['neurons'][0]}"
        names = ("f1", "precision", "recall", "mcc", "auc", "f1_train")
        assert row[2:8] == [f"{best[name]:.2f}" for name in names]
        assert row[9] == f"{max(random, key=lambda r: r['f1_train'])['f1']:.2f}"
        assert row[10] == f"{max(shuffled, key=lambda r: r['f1_train'])['f1']:.2f}"
        assert row[11:] == ["24 / 210", "10 / 90"]


def test_scores_on_the_other_dataset_are_shown(run: dict[str, list[Path]], page: str) -> None:
    transfer = pl.read_parquet(run["transfer"][0])
    expected = {r["feature"]: f"{r['f1_frozen']:.2f}" for r in transfer.iter_rows(named=True)}
    for section in html.fromstring(page).xpath("//section[contains(@class, 'results')]"):
        for row in cells(section):
            assert row[8] == expected[row[0]]
        for row in cells(section, 1):
            assert row[2] == "other"
            assert row[4] == expected[row[0]]


def test_without_transfer_there_is_no_such_column(
    run: dict[str, list[Path]], tmp_path: Path
) -> None:
    build_report(ReportConfig(), **{**run, "transfer": []}, output=tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "other text</th>" not in text
    assert "The same neurons on other text" not in text
    sections = html.fromstring(text).xpath("//section[contains(@class, 'results')]")
    assert all(len(row) == 12 for section in sections for row in cells(section))


def test_scores_alone_make_a_page(run: dict[str, list[Path]], tmp_path: Path) -> None:
    build_report(
        ReportConfig(title="Only scores"),
        models=run["models"],
        scores=run["scores"],
        best_neurons=[],
        output=tmp_path / "index.html",
    )
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<h1>Only scores</h1>" in text
    assert "How the best neurons respond" not in text


def test_what_was_run_and_what_was_left_out_is_told(page: str) -> None:
    run = html.fromstring(page).get_element_by_id("run").text_content()
    for words in ("135 million", "21 / 9", "MPL-2.0", "there is no apt-get here", "Klingon",
                  "3 min 10 s", "5 min 14 s in all"):  # fmt: skip
        assert words in run
    where = html.fromstring(page).get_element_by_id("where").text_content()
    assert "0123456789ab, with changes that were not committed" in " ".join(where.split())


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    args = write_example(tmp_path, {EVIL + "c": [EVIL + "f", "plain"]}, layers=2, ks=(1,))
    for path in (*args["scores"], *args["best_neurons"], *args["transfer"]):
        table = pl.read_parquet(path)
        columns = [
            c for c in ("model", "dataset", "site", "method", "source") if c in table.columns
        ]
        write_table(table.with_columns(pl.col(c) + EVIL for c in columns), path)
    for path in (args["models"][0], args["sources"][1] / "source.json"):
        values = read_json(path)
        texts = {k: v + EVIL for k, v in values.items() if isinstance(v, str)}
        write_json(values | texts, path)
    output = tmp_path / "index.html"
    build_report(ReportConfig(title=EVIL), **args, output=output)
    text = output.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    tree = html.fromstring(text)
    assert tree.findtext(".//title") == EVIL
    shown = [row[0] for row in cells(tree.xpath("//section[contains(@class, 'results')]")[0])]
    assert EVIL + "f" in [name.replace("  ", " ") for name in shown]


@pytest.mark.parametrize("what", ["no tables", "no rows", "random only"])
def test_no_scores_is_an_error_that_says_where_and_leaves_no_page(
    what: str, run: dict[str, list[Path]], tmp_path: Path
) -> None:
    table = make_scores({"c": ["f"]}, layers=1, ks=(1,))
    keep = table.head(0) if what == "no rows" else table.filter(pl.col("method") == "random")
    write_table(keep, tmp_path / "scores.parquet")
    scores = [] if what == "no tables" else [tmp_path / "scores.parquet"]
    with pytest.raises(DataError, match="no scores of single neurons"):
        build_report(
            ReportConfig(), **{**run, "scores": scores}, output=tmp_path / "out" / "index.html"
        )
    assert not (tmp_path / "out").exists()


def test_a_probe_without_a_test_score_is_a_dash(run: dict[str, list[Path]], tmp_path: Path) -> None:
    scores = pl.read_parquet(run["scores"][0]).with_columns(
        f1=pl.when(pl.col("feature") == "Go").then(float("nan")).otherwise(pl.col("f1"))
    )
    write_table(scores, tmp_path / "scores.parquet")
    build_report(
        ReportConfig(),
        **{**run, "scores": [tmp_path / "scores.parquet"]},
        output=tmp_path / "index.html",
    )
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = html.fromstring(text).find("body").text_content().lower()
    attributes = html.fromstring(text).xpath("//body//@*")
    for word in ("nan", "none"):
        assert not re.search(rf"\b{word}\b", shown.split("use strict")[0])
        assert not any(re.search(rf"\b{word}\b", value.lower()) for value in attributes)
    section = html.fromstring(text).get_element_by_id("s1")
    assert [row[2] for row in cells(section) if row[0] == "Go"] == ["–"]


def test_several_models_and_datasets_have_headings_that_tell_them_apart(tmp_path: Path) -> None:
    first = make_scores({"language": ["German"]}, dataset="help", layers=2, ks=(1,))
    second = make_scores({"language": ["German"]}, dataset="manuals", layers=2, ks=(1,))
    third = make_scores({"code": ["Go"]}, dataset="files", layers=2, ks=(1,))
    write_table(pl.concat([first, second, third]), tmp_path / "scores.parquet")
    build_report(
        ReportConfig(),
        models=[],
        scores=tmp_path / "scores.parquet",
        best_neurons=[],
        output=tmp_path / "index.html",
    )
    tree = html.fromstring((tmp_path / "index.html").read_text(encoding="utf-8"))
    titles = [h.text_content() for h in tree.xpath("//section[contains(@class, 'results')]/h2")]
    assert titles == ["Code", "Language (help)", "Language (manuals)"]


def test_drawings_are_well_formed_and_within_their_frame(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(pictures) > 20
    for picture in pictures:
        root = etree.fromstring(picture)
        width, height = (float(v) for v in root.get("viewBox").split()[2:])
        for mark in root.iter("rect", "circle", "text", "line"):
            for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                if mark.get(key) is not None:
                    assert -0.1 <= float(mark.get(key)) <= most + 0.1


def test_histogram_heights_are_shares_of_their_own_class() -> None:
    picture = drawing.histogram([0.0, 1.0, 2.0], [1, 3], [10, 0], "label")
    paths = {p.get("class"): p.get("d") for p in etree.fromstring(picture).iter("path")}
    heights = {
        name: [float(v) for v in re.findall(r"V([\d.]+)H", path)] for name, path in paths.items()
    }
    base = float(re.search(r"M[\d.]+,([\d.]+)", paths["in"]).group(1))
    top = {name: [base - y for y in ys] for name, ys in heights.items()}
    # The tallest bar (all of the 10) spans the frame: 1/4 and 3/4 of it for the other class.
    assert top["out"][1] == 0
    assert top["in"][0] == pytest.approx(top["out"][0] / 4, abs=0.11)
    assert top["in"][1] == pytest.approx(top["out"][0] * 3 / 4, abs=0.11)


def test_heat_map_shades_are_linear_between_low_and_one() -> None:
    grid = np.array([[0.5, 0.75, 1.0, np.nan, 0.2]])
    picture = etree.fromstring(drawing.heat_map(["f"], [0, 1, 2, 5, 9], grid, [5], 0.5, "label"))
    shades = [r.get("fill-opacity") for r in picture.iter("rect") if r.get("fill-opacity")]
    assert shades == ["0.00", "0.50", "1.00", "0.00"]
    (ring,) = [r for r in picture.iter("rect") if r.get("class") == "chosen"]
    cells_x = [float(r.get("x")) for r in picture.iter("rect") if r.get("fill-opacity")]
    assert float(ring.get("x")) == pytest.approx(cells_x[2] + cells_x[1] - cells_x[0], abs=0.11)
