"""How few neurons tell a feature, by model and by depth."""

from __future__ import annotations

import lxml.html
import numpy as np
import polars as pl
import pytest
from report_example import make_scores

from artneuro.core.artifacts import read_table, write_json, write_table
from artneuro.core.errors import DataError
from artneuro.probing.scale import (
    SCALE_SCHEMA,
    best_per_k,
    by_collection,
    by_depth,
    by_layer,
    neurons_needed,
    scale_table,
)
from artneuro.report.config import ReportConfig
from artneuro.report.scale import build_scale_page


def probes(feature: str, f1: dict, model: str = "m", **columns) -> list[dict]:
    """Probes {(layer, method, k): (f1_train, f1)} of a feature."""
    return [
        {
            "model": model, "dataset": "d", "site": "mlp_post", "collection": "c",
            "feature": feature, "layer": layer, "method": method, "k": k, "control": "none",
            "neurons": [10 * layer + i for i in range(k)], "f1_train": train, "f1": test,
        } | columns
        for (layer, method, k), (train, test) in f1.items()
    ]  # fmt: skip


def table(*parts: list[dict]) -> pl.DataFrame:
    return pl.DataFrame([row for part in parts for row in part])


def curve(feature: str, values: list[float], **columns) -> list[dict]:
    """Probes of one layer and method with test F1 `values` for k = 1, 2, ..."""
    return probes(
        feature, {(0, "a", k): (0.9, value) for k, value in enumerate(values, 1)}, **columns
    )


@pytest.mark.parametrize(
    ("values", "enough", "most"),
    [
        ([0.95, 0.96, 0.95], 1, 2),
        ([0.50, 0.93, 0.95, 0.94], 2, 3),
        ([0.50, 0.929, 0.95], 3, 3),
        ([0.90, 0.92], 1, 2),
        ([0.2, 0.4, 0.6, 0.8], 4, 4),
        # Not one that falls back behind: the smallest size counts.
        ([0.95, 0.5, 0.96], 1, 3),
        ([0.7], 1, 1),
        ([0.0, 0.0], 1, 1),
    ],
)
def test_planted_numbers_of_neurons(values, enough, most):
    (row,) = neurons_needed(best_per_k(table(curve("x", values))), 0.02).to_dicts()
    assert (row["k_enough"], row["k_most"], row["k_largest"]) == (enough, most, len(values))
    assert row["f1"] == values[0]
    assert row["f1_enough"] == values[enough - 1]
    assert row["f1_most"] == max(values)


def test_layers_and_rankings_are_chosen_on_train():
    scores = table(
        probes("x", {(0, "a", 1): (0.8, 0.9), (3, "b", 1): (0.9, 0.5), (5, "a", 1): (0.9, 0.99)}),
        probes("x", {(2, "a", 2): (0.7, 0.6), (1, "b", 2): (0.7, 0.55)}),
        probes("x", {(4, "random", 1): (1.0, 1.0)}),
        probes("x", {(4, "a", 1): (1.0, 1.0)}, control="shuffled_labels"),
    )
    (row,) = neurons_needed(best_per_k(scores), 0.0).to_dicts()
    # Train F1 of 0.9 twice: the lower layer. Of 0.7 twice: layer 1, not the first ranking.
    assert (row["layer"], row["neuron"], row["f1"], row["f1_most"]) == (3, 30, 0.5, 0.55)


def test_means_by_collection_in_the_order_of_size():
    parts = [
        curve("x", [0.5, 0.9], model="large"), curve("y", [0.8, 0.8], model="large"),
        curve("x", [0.4, 0.4], model="small"), curve("y", [0.2, 0.3], model="small"),
    ]  # fmt: skip
    sizes = {"large": (7_000, 4), "small": (70, 2)}
    found = scale_table(table(*parts), sizes, 0.02)
    assert found.schema == SCALE_SCHEMA
    means = by_collection(found)
    assert means["model"].to_list() == ["small", "large"]
    assert means["f1"].to_list() == pytest.approx([0.3, 0.65])
    assert means["k_enough"].to_list() == [1.5, 1.5]
    assert means["enough"].to_list() == [0.5, 0.5]
    with pytest.raises(DataError, match="'small'"):
        scale_table(table(*parts), {"large": (1, 1)}, 0.02)


def test_depth_is_counted_in_layers_of_each_model():
    f1 = {(layer, "a", 1): (0.1 * layer, 0.1 * layer) for layer in range(8)}
    scores = table(
        probes("x", f1), probes("x", {k: v for k, v in f1.items() if k[0] < 4}, model="n")
    )
    found = by_depth(scores, {"m": 8, "n": 4})
    assert found["part"].to_list() == [0, 1, 2, 3] * 2
    assert found["f1"].to_list() == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.0, 0.1, 0.2, 0.3])
    assert found["best"].to_list() == [0, 0, 0, 1] * 2
    assert by_layer(scores).filter(model="m")["layer"].to_list() == list(range(8))


def write_run(folder, models: dict[str, int]):
    """Scores and model.json of some models, with random F1."""
    scores, infos = [], []
    features = {"natural_language": ["Dutch", "<b>"], "code_language": ["Go", "C++", "PHP"]}
    for seed, (name, size) in enumerate(models.items()):
        made = make_scores(features, seed=seed).with_columns(pl.lit(name).alias("model"))
        write_table(made, folder / name / "text" / "scores.parquet")
        (folder / "models" / name).mkdir(parents=True)
        write_json({"n_parameters": size, "n_layers": 6}, folder / "models" / name / "model.json")
        scores.append(folder / name / "text" / "scores.parquet")
        infos.append(folder / "models" / name / "model.json")
    return {"models": infos, "scores": scores}


def test_the_page_of_one_model_says_that_a_second_is_needed(tmp_path):
    run = write_run(tmp_path, {"one": 135_000_000})
    build_scale_page(
        ReportConfig(), **run, output=tmp_path / "s.html", table=tmp_path / "s.parquet"
    )
    found = read_table(tmp_path / "s.parquet")
    assert found.schema == SCALE_SCHEMA
    page = lxml.html.parse(str(tmp_path / "s.html"))
    lead = page.xpath("//p[@class='lead']")[0].text_content()
    n = int((found["k_enough"] == 1).sum())
    assert f"for {n} of 5 features" in lead
    assert "takes a second model" in lead
    assert "Against the size of the model" not in [h.text for h in page.iter("h2")]
    tables = page.findall(".//table")
    assert [len(t.findall("tbody/tr")) for t in tables] == [2, 2, 5]
    features = {row[0].text_content() for row in tables[2].findall("tbody/tr")}
    assert features == {"Dutch", "<b>", "Go", "C++", "PHP"}


def test_the_page_of_several_models_has_the_axis_of_size(tmp_path):
    run = write_run(tmp_path, {"small": 10**8, "large": 10**10, "middle": 10**9})
    build_scale_page(
        ReportConfig(), **run, output=tmp_path / "s.html", table=tmp_path / "s.parquet"
    )
    page = lxml.html.parse(str(tmp_path / "s.html"))
    assert "Against the size of the model" in [h.text for h in page.iter("h2")]
    heads = [th.text for th in page.findall(".//table")[2].findall("thead/tr/th")]
    expected = [f"F1, {m}" for m in ("small", "middle", "large")]
    assert heads[2:5] == expected
    found = read_table(tmp_path / "s.parquet").filter(feature="Go").sort("parameters")
    row = next(
        r for r in page.findall(".//table")[2].findall("tbody/tr") if r[0].text_content() == "Go"
    )
    assert [float(c.get("data-value")) for c in row[2:5]] == pytest.approx(
        np.round(found["f1"].to_numpy(), 6), abs=1e-5
    )
