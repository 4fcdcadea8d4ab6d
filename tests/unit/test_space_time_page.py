"""The page about space and time: its numbers from planted tables, and what it leaves out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from lxml import html

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.report.space_time import build_space_time_page, verdict
from artneuro.report.space_time_holdouts import interval
from artneuro.report.space_time_neurons import best_neurons, pinned_changes
from artneuro.report.space_time_probes import best_rows, enough_components, prompt_gains
from artneuro.spacetime.fit_tables import DIMENSIONS_SCHEMA, SCORES_SCHEMA
from artneuro.spacetime.holdouts import HOLDOUTS_SCHEMA
from artneuro.spacetime.neurons_schemas import (
    ABLATIONS_SCHEMA,
    CONTEXTS_SCHEMA,
    NEURONS_SCHEMA,
    PINNED_SCHEMA,
    PROJECTIONS_SCHEMA,
)
from artneuro.spacetime.prompt_transfer import PROMPTS_SCHEMA, TRANSFER_SCHEMA

EVIL = r"<script>alert(1)</script>$\frac{$"
RUN = {"model": "tiny", "entities": "world", "prompt": "empty"}


def table(schema: pl.Schema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows in a schema, with null where a row has nothing."""
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


def score_rows(entities: str = "world", prompt: str = "empty") -> list[dict[str, Any]]:
    run = {**RUN, "entities": entities, "prompt": prompt, "split": "test"}
    linear = [
        {
            **run, "layer": layer, "probe": "linear", "r2": r2, "r2_train": 0.9, "r2_loo": loo,
            "spearman": r2 + 0.1, "proximity": 0.5 - r2 / 2, "penalty_extended": layer == 2,
            "mae": 12.34, "n_train": 800, "n_test": 200,
        }
        # Layer 3 is the best on the test, layer 2 by leave-one-out.
        for layer, r2, loo in ((0, 0.11, 0.1), (1, 0.3, 0.3), (2, 0.42, 0.5), (3, 0.48, 0.4))
    ]  # fmt: skip
    others = [
        {**run, "probe": "bag_of_tokens", "r2": 0.21, "spearman": 0.3, "proximity": 0.4},
        {**run, "probe": "random_features", "r2": 0.05, "spearman": 0.1, "proximity": 0.45},
        {**run, "probe": "shuffled_targets", "r2": -0.02, "spearman": 0.0, "proximity": 0.5},
        {**run, "probe": "mlp", "layer": 2, "r2": 0.45, "spearman": 0.6},
        {**run, "probe": "mlp", "layer": 1, "r2": 0.29, "spearman": 0.5},
    ]
    return linear + others


def scores(entities: str = "world", prompt: str = "empty") -> pl.DataFrame:
    return table(SCORES_SCHEMA, score_rows(entities, prompt))


def holdouts() -> pl.DataFrame:
    blocks = [
        {
            **RUN, "layer": 2, "kind": "block", "unit": name, "n": 10, "n_held_out": 50 + i,
            "proximity_nominal": nominal, "proximity_held_out": held, "spearman_nominal": 0.5,
            "spearman_held_out": 0.25, "error_nominal": 1000.0, "error_held_out": 3000.0,
            "angle": angle, "direction_correct": angle < 90,
        }
        for i, (name, nominal, held, angle) in enumerate(
            (("France", 0.1, 0.2, 20.0), (EVIL, 0.2, 0.3, 60.0), ("Chad", 0.3, 0.43, 130.0),
             ("Peru", 0.15, 0.25, 40.0), ("Mali", 0.25, 0.37, 100.0))
        )
    ]  # fmt: skip
    types = [
        {
            **RUN, "layer": 2, "kind": "entity_type", "unit": name, "n": 10, "n_held_out": 50,
            "proximity_nominal": 0.2, "proximity_held_out": 0.2,
        }
        for name in ("airport", "port")
    ]  # fmt: skip
    return table(HOLDOUTS_SCHEMA, blocks + types)


def neurons() -> pl.DataFrame:
    rows = []
    for rank, (neuron, rho) in enumerate(((7, 0.3), (8, -0.6), (9, None)), start=1):
        for weights in ("input", "gate"):
            sign = 1 if weights == "input" else 0.5
            rows.append(
                {
                    **RUN, "target": "latitude", "weights": weights, "rank": rank, "layer": 1,
                    "neuron": neuron, "cosine": (0.5 - 0.1 * rank) * sign, "cosine_random": 0.3,
                    "cosine_shuffled": 0.45,
                    "spearman": None if rho is None else rho * sign + 0.01,
                    "spearman_train": None if rho is None else rho * sign,
                    "n_random": 100, "spearman_random": 0.2, "n_controls": 50,
                    "spearman_controls": 0.25, "types": ["city", EVIL],
                    "n_by_type": [5, 5], "spearman_by_type": [0.4, None],
                }
            )  # fmt: skip
    return table(NEURONS_SCHEMA, [{k: v for k, v in r.items() if k != "prompt"} for r in rows])


def projections() -> pl.DataFrame:
    return table(
        PROJECTIONS_SCHEMA,
        [
            {
                "model": "tiny", "entities": "world", "target": "latitude", "weights": "input",
                "layer": 1, "neuron": 8, "entity": i, "entity_type": ["city", EVIL][i % 2],
                "split": "test", "truth": float(i), "value": float(i * i),
            }
            for i in range(10)
        ],
    )  # fmt: skip


def pinned() -> pl.DataFrame:
    """A time neuron that changes the top token of one text of two, with two controls."""
    rows = []
    for entity, (name, tops) in enumerate((("It", "678"), (EVIL, "777"))):
        base = {
            "model": "tiny", "entities": "art", "entity": entity, "name": name,
            "time": 1986.5, "text": f"{name} was written in 19", "probability": 0.25,
            "divergence": 0.1, "token": 7, "token_text": "7", "rank": 1,
        }  # fmt: skip
        rows.append({**base, "top_token_text": "7"})
        for setting, top in zip((-4.0, 0.0, 4.0), tops, strict=True):
            own = {**base, "layer": 1, "setting": setting}
            rows += [
                {**own, "neuron": 3, "control": False, "top_token_text": top},
                {**own, "neuron": 4, "control": True, "top_token_text": "7"},
                {
                    **own, "neuron": 5, "control": True,
                    "top_token_text": "9" if entity == 0 and setting > 0 else "7",
                },
            ]  # fmt: skip
    return table(PINNED_SCHEMA, rows)


def ablations() -> tuple[pl.DataFrame, pl.DataFrame]:
    base = {"model": "tiny", "entities": "world", "target": "latitude", "layer": 1}
    table_rows = [
        {**base, "neuron": 8, "control": False, "n_tokens": 4096, "loss": 3.0, "increase": 0.01,
         "increase_se": 0.001},
        {**base, "neuron": 2, "control": True, "n_tokens": 4096, "loss": 3.0, "increase": 0.001,
         "increase_se": 0.001},
    ]  # fmt: skip
    shown = [
        {**base, "neuron": 8, "control": False, "rank": 1, "context": f"in\n\n{EVIL}",
         "token_text": " Europe", "increase": 1.971},
        {**base, "neuron": 2, "control": True, "rank": 1, "context": "of a control",
         "token_text": "x", "increase": 0.1},
    ]  # fmt: skip
    return table(ABLATIONS_SCHEMA, table_rows), table(CONTEXTS_SCHEMA, shown)


def quality() -> pl.DataFrame:
    return table(
        PROMPTS_SCHEMA,
        [
            {
                "model": "tiny", "entities": "world", "prompt": prompt, "layer": layer,
                "r2": r2 - 0.1 * (layer == 1), "spearman": 0.5, "is_best": layer == 2,
                "n_test": 190,
            }
            for prompt, r2 in (("empty", 0.4), ("random", 0.25), ("where", 0.46))
            for layer in (1, 2)
        ],
    )  # fmt: skip


def transfer() -> pl.DataFrame:
    return table(
        TRANSFER_SCHEMA,
        [
            {
                "model": "tiny", "entities": "world", "train_prompt": a, "test_prompt": b,
                "best_for": "main", "layer": 2, "r2": 0.4 if a == b else -0.1,
                "r2_moved": 0.4 if a == b else 0.31,
            }
            for a in ("empty", "where")
            for b in ("empty", "where")
        ],
    )  # fmt: skip


def dimensions() -> pl.DataFrame:
    values = {2: (0.1, 0.3), 8: (0.2, 0.46), 32: (0.37, 0.5), 64: (0.4, 0.5)}
    rows = [
        {**RUN, "layer": 2, "k": k, "r2": r2, "spearman": rho, "explained_variance": k / 64}
        for k, (r2, rho) in values.items()
    ]
    return table(DIMENSIONS_SCHEMA, rows)


def leakage() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "check": ["own_region", "shared_name"], "n_rows": [12, 0], "n_test": [2, 0],
            "share": [0.0125, 0.0], "examples": [[EVIL, "b", "c", "d"], []],
            "description": ["names with their own region", "names in both splits"],
        },
        schema_overrides={"examples": pl.List(pl.String)},
    )  # fmt: skip


def build(tmp_path, **tables: list[pl.DataFrame]):
    paths: dict[str, list] = {}
    for name, found in tables.items():
        for i, frame in enumerate(found):
            path = tmp_path / f"world{i}" / f"{name}.parquet"
            path.parent.mkdir(exist_ok=True)
            write_table(frame, path)
            paths.setdefault(name, []).append(path)
    page = tmp_path / "space_time.html"
    build_space_time_page(**paths, output=page)
    text = page.read_text()
    return text, html.fromstring(text)


def headings(tree) -> list[str]:
    return [h.text for h in tree.iter("h2")]


def row_of(tree, *words: str) -> list[str]:
    """Cells of the first row that has these."""
    for row in tree.iter("tr"):
        cells = [cell.text_content() for cell in row]
        if all(word in cells for word in words):
            return cells
    raise AssertionError(f"no row with {words}")


# Numbers


def test_the_layer_is_chosen_without_the_test_split():
    (row,) = best_rows(scores()).iter_rows(named=True)
    assert (row["layer"], row["r2"]) == (2, 0.42)
    said = verdict(scores())
    assert "world: test R² 0.42 at layer 2 of tiny, against 0.21 with bag of tokens." in said


def test_components_that_are_enough():
    (row,) = enough_components(dimensions()).iter_rows(named=True)
    assert row == {
        "entities": "world", "model": "tiny", "full": 64, "r2": 0.4, "spearman": 0.5,
        "k_r2": 32, "k_spearman": 8,
    }  # fmt: skip
    nothing = dimensions().with_columns(r2=pl.lit(-0.1))
    assert enough_components(nothing)["k_r2"].to_list() == [None]
    constant = dimensions().with_columns(spearman=pl.lit(None, pl.Float64))
    assert enough_components(constant)["k_spearman"].to_list() == [None]
    (row,) = enough_components(dimensions(), share=0.99).iter_rows(named=True)
    assert (row["k_r2"], row["k_spearman"]) == (None, 32)


def test_prompts_are_held_against_the_main_one():
    found = prompt_gains(quality(), "empty")
    assert found["prompt"].to_list() == ["where", "empty", "random"]
    np.testing.assert_allclose(found["gain"], [0.06, 0, -0.15])


def test_neurons_are_chosen_by_the_train_split_and_once():
    found = best_neurons(neurons(), 5)
    assert found.select("neuron", "weights").rows() == [(8, "input"), (7, "input")]


def test_pinning_counts_what_changes_the_top_token():
    found = pinned_changes(pinned())
    assert found["changes"].to_list() == [True, False]
    assert found["share_controls"].to_list() == [0.5, 0]
    assert found.select("as_it_is", "lowest", "highest").row(0) == ("7", "6", "8")


def test_intervals_as_a_reader_sees_them():
    assert interval({"mean": 0.25, "low": -0.5, "high": 1.0}, 2) == "0.25 [−0.50, 1.00]"
    assert interval({"mean": 0.25, "low": None, "high": None}) == "0.250"
    assert interval({"mean": None, "low": None, "high": None}) == "–"


# The page


def test_the_page_has_all_sections_and_their_numbers(tmp_path):
    zeroed, contexts = ablations()
    text, tree = build(
        tmp_path, scores=[scores(), scores("art"), scores(prompt="where")],
        dimensions=[dimensions()], prompts=[quality()], transfer=[transfer()],
        holdouts=[holdouts()], neurons=[neurons()], projections=[projections()],
        pinned=[pinned()], ablations=[zeroed], contexts=[contexts], leakage=[leakage()],
    )  # fmt: skip
    assert headings(tree) == [
        "By layer", "Linear or not", "Prompts", "Held-out blocks", "Held-out types", "Dimensions",
        "Neurons", "Held at values: art", "Held at zero", "Leakage",
    ]  # fmt: skip
    assert "R² rises by 0.31 on average" in text
    assert "above every baseline in 2 of 2 cases, by 0.21 on average (from 0.21 to 0.21)" in text
    # Linear or not: 0.45 - 0.42 at the best layer, 0.29 - 0.30 at 60 % of the depth, two tables.
    assert "changes R² by 0.01 on average over 4 layers, between −0.01 and 0.03" in text
    assert row_of(tree, "world", "best")[4:7] == ["0.420", "0.450", "0.030"]
    # Prompts.
    assert "in brackets: random −0.15 (1), where 0.06 (1)." in text
    assert "R² 0.40 in the median on its own prompt and −0.10 on others; 0.31 if all" in text
    # Averages over blocks: 0.2 trained on, 0.31 held out, and 0.11 lost on average.
    assert "0.20 trained on, 0.31 held out. Of the 1 case with at least 5 units" in text
    assert "larger when held out in 1 and smaller in 0; held out it is below 0.5 in 1." in text
    blocks = row_of(tree, "world", "tiny", "5")
    assert blocks[3].startswith("0.200 [")
    assert blocks[4].startswith("0.310 [")
    assert blocks[5].startswith("0.110 [0.10")
    directions = next(
        t for t in tree.iter("table") if "right direction" in t.text_content()
    )  # fmt: skip
    assert "70 [" in directions.text_content()
    assert "0.60 [" in directions.text_content()
    # Types: nothing lost.
    assert "0.20 trained on, 0.20 held out. No case has 5 units" in text
    assert "in 1 of the 1 cases where both are above zero: 8 against 32 in the median" in text
    assert row_of(tree, "world", "64")[4:] == ["8", "32", "0.50", "2", "8"]
    # Of the two searches, the input weights' largest cosine exceeds the random one.
    assert "In 1 of 2 searches" in text
    # As do directions that mean nothing.
    assert "in 0 of 2 it exceeds the largest that probes of shuffled targets have" in text
    assert "in 1 of 1 cases, and all other neurons drawn from its layer in 1." in text
    assert "L1.8 of tiny (input weights) follows latitude in world with" in text
    assert "of −0.59 on test entities; the best of 100 random directions has 0.20" in text
    assert "most likely token of 1 of 2; each of the 2 other" in text
    assert "does so for 0.50 on average" in text
    assert "for 1 of 1 space and time neurons, and for 0 of 1 controls" in text
    assert "of a control" not in text
    assert "1 of 2 checks find nothing." in text
    assert "names in both splits" not in text
    assert "The largest share is 1.2 %, of world0: names with their own region" in text


def test_a_page_of_scores_alone(tmp_path):
    _, tree = build(tmp_path, scores=[scores()])
    assert headings(tree) == ["By layer", "Linear or not"]
    only_linear = scores().filter(pl.col("probe") == "linear")
    _, tree = build(tmp_path, scores=[only_linear])
    assert headings(tree) == ["By layer"]
    assert "against" not in tree.xpath("//p[@class='lead']")[0].text_content()


def test_the_page_loads_nothing_and_escapes_names(tmp_path):
    zeroed, contexts = ablations()
    text, tree = build(
        tmp_path, scores=[scores("<b>")], holdouts=[holdouts()], neurons=[neurons()],
        projections=[projections()], pinned=[pinned()], ablations=[zeroed], contexts=[contexts],
        leakage=[leakage()],
    )  # fmt: skip
    assert "<script>alert" not in text
    assert len(tree.xpath("//script")) == 1
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    cells = tree.xpath("//td/text()") + tree.xpath("//th/text()")
    assert EVIL in cells
    assert f"in {EVIL}" in cells


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no score of the prompt 'empty'"):
        build_space_time_page(scores=[], output=tmp_path / "page.html")
    with pytest.raises(DataError, match="no score of the prompt 'empty'"):
        build(tmp_path, scores=[scores(prompt="where")])
