"""Choices of the report are made on train scores: against loops and planted truths."""

from __future__ import annotations

import polars as pl
import pytest
from report_example import make_scores

from artneuro.report import choose

FEATURES = {"language": ["German", "French"], "code": ["Go"]}


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    return make_scores(FEATURES, layers=4, ks=(1, 2))


def row(**values: object) -> dict:
    return {
        "model": "m", "dataset": "d", "site": "mlp_post", "collection": "c", "feature": "f",
        "layer": 0, "method": "mean_difference", "k": 1, "control": "none", "f1": 0.5,
        "f1_train": 0.5,
    } | values  # fmt: skip


def test_best_by_layer_is_what_a_loop_finds(scores: pl.DataFrame) -> None:
    found = choose.best_by_layer(scores)
    assert found.height == 3 * 4
    for best in found.iter_rows(named=True):
        rivals = [
            r
            for r in scores.iter_rows(named=True)
            if (r["feature"], r["layer"], r["k"]) == (best["feature"], best["layer"], 1)
            and r["control"] == "none"
            and r["method"] != "random"
        ]
        assert best["f1_train"] == max(r["f1_train"] for r in rivals)
        winners = [r["f1"] for r in rivals if r["f1_train"] == best["f1_train"]]
        assert best["f1"] in winners


def test_the_test_score_plays_no_role() -> None:
    table = pl.DataFrame(
        [
            row(layer=1, f1_train=0.9, f1=0.1),
            row(layer=2, f1_train=0.8, f1=1.0),
            row(layer=3, f1_train=0.9, f1=0.9),
        ]
    )
    best = choose.best_by_feature(table)
    assert best["layer"].to_list() == [1]
    assert best["f1"].to_list() == [0.1]


def test_ties_go_to_the_lower_layer_then_the_first_name_whatever_the_order() -> None:
    table = pl.DataFrame(
        [
            row(layer=2, method="a", f1_train=0.9),
            row(layer=1, method="z", f1_train=0.9, f1=0.2),
            row(layer=1, method="b", f1_train=0.9, f1=0.1),
        ]
    )
    for seed in range(5):
        best = choose.best_by_feature(table.sample(fraction=1.0, shuffle=True, seed=seed))
        assert best.select("layer", "method").row(0) == (1, "b")


def test_rows_without_a_train_score_are_never_chosen() -> None:
    table = pl.DataFrame(
        [row(layer=1, f1_train=float("nan")), row(layer=2, f1_train=None), row(layer=3)]
    )
    assert choose.best_by_feature(table)["layer"].to_list() == [3]


def test_random_neurons_and_controls_do_not_enter_the_best() -> None:
    table = pl.DataFrame(
        [
            row(f1=0.6),
            row(method="random", f1_train=0.99, f1=0.4),
            row(control="shuffled_labels", f1_train=0.98, f1=0.2),
            row(k=2, f1_train=0.97, f1=0.7),
        ]
    )
    summary = choose.summary(table, good_f1=0.6)
    assert summary.select("features", "f1", "good", "f1_random", "f1_shuffled").row(0) == (
        1, 0.6, 1, 0.4, 0.2,
    )  # fmt: skip


def test_summary_has_null_for_controls_that_were_not_run() -> None:
    summary = choose.summary(pl.DataFrame([row()]), good_f1=0.9)
    assert summary.select("good", "f1_random", "f1_shuffled").row(0) == (0, None, None)


def test_mean_by_k_is_the_mean_over_features_of_the_chosen_layer(scores: pl.DataFrame) -> None:
    means = choose.mean_by_k(choose.best_by_k(scores))
    for mean in means.iter_rows(named=True):
        picked = []
        for feature in FEATURES[mean["collection"]]:
            rivals = [
                r
                for r in scores.iter_rows(named=True)
                if all(r[c] == mean[c] for c in ("method", "k", "control", "collection"))
                and r["feature"] == feature
            ]
            rivals.sort(key=lambda r: (-r["f1_train"], r["layer"]))
            picked.append(rivals[0]["f1"])
        assert mean["f1"] == pytest.approx(sum(picked) / len(picked), abs=1e-12)
        assert mean["features"] == len(picked)


def test_sections_are_kept_apart() -> None:
    table = pl.DataFrame([row(model="a", f1_train=0.9), row(model="b", f1_train=0.1)])
    assert choose.sections(table) == [("a", "d", "mlp_post", "c"), ("b", "d", "mlp_post", "c")]
    assert choose.best_by_feature(table)["model"].to_list() == ["a", "b"]
    only = choose.in_section(table, ("b", "d", "mlp_post", "c"))
    assert only["f1_train"].to_list() == [0.1]
