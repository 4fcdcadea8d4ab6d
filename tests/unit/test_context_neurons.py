"""The page about context neurons."""

from __future__ import annotations

import itertools

import lxml.html
import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.interventions.schemas import ABLATIONS_SCHEMA, ACTIVATIONS_SCHEMA, TOKENS_SCHEMA
from artneuro.report.context_figures import visible
from artneuro.report.context_neurons import build_context_page, own_and_others

# Rise of the loss in thousandths of a nat: neurons of the classes a, b, c in the contexts a, b, c.
RISES = {
    "none": [[30.0, 1.0, -2.0], [0.0, 8.0, 9.0], [1.0, 0.5, 40.0]],
    "random_neuron": [[0.1, 0.3, 0.0], [0.2, 0.1, 0.0], [0.0, -0.2, 0.1]],
}
UNIT = {"model": "tiny", "dataset": "letters", "site": "mlp_post", "collection": "kind"}


def table(rows: list[dict], schema: pl.Schema) -> pl.DataFrame:
    filled = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(filled, schema=schema)


def losses() -> pl.DataFrame:
    rows = []
    for control, (i, feature), (j, context) in itertools.product(
        RISES, enumerate("abc"), enumerate("abc")
    ):
        rise = RISES[control][i][j] / 1000
        rows.append(
            {
                **UNIT, "feature": feature, "control": control, "layer": i, "neuron": 10 + i,
                "f1": 0.9, "active_in_class": True if control == "none" else None,
                "kind": "zero", "value": 0.0, "context": context, "n_sequences": 12,
                "n_tokens": 700, "loss": 4.0, "loss_ablated": 4.0 + rise, "increase": rise,
                "increase_se": 0.001, "relative_increase": rise / 4,
            }
        )  # fmt: skip
    return table(rows, ABLATIONS_SCHEMA)


def activations() -> pl.DataFrame:
    edges = np.linspace(-1, 4, 6).tolist()
    return table(
        [
            {
                **UNIT, "feature": feature, "control": "none", "layer": i, "neuron": 10 + i,
                "context": context, "n_sequences": 12, "n_tokens": 100, "mean": 1.0, "std": 1.0,
                "quantiles": [0.0] * 9, "edges": edges,
                "counts": [0, 0, 10, 40, 50] if feature == context else [40, 50, 10, 0, 0],
            }
            for (i, feature), context in itertools.product(enumerate("abc"), "abc")
        ],
        ACTIVATIONS_SCHEMA,
    )  # fmt: skip


def tokens() -> pl.DataFrame:
    rows = [
        {
            **UNIT, "feature": "a", "control": "none", "layer": 0, "neuron": 10, "token": i,
            "text": text, "n_in": 5, "n_out": 7, "mean_in": 3.0, "mean_out": 0.5,
            "difference": 2.5,
        }
        for i, text in enumerate([" le", "$x$", "<b>\n"])
    ]  # fmt: skip
    return table(rows, TOKENS_SCHEMA)


def test_a_neuron_is_compared_in_its_own_class_with_the_class_where_the_loss_rises_most():
    found = own_and_others(losses())
    chosen = found.filter(pl.col("control") == "none")
    assert chosen["own_highest"].to_list() == [True, False, True]
    assert chosen["other"].to_list() == ["b", "c", "a"]
    assert chosen["increase"].to_list() == pytest.approx([0.030, 0.008, 0.040])
    assert chosen["increase_other"].to_list() == pytest.approx([0.001, 0.009, 0.001])
    assert chosen["increase_others"].to_list() == pytest.approx([-0.0005, 0.0045, 0.00075])
    own_only = losses().filter(pl.col("feature") == pl.col("context"))
    assert own_and_others(own_only)["own_highest"].null_count() == 6


def test_the_page_says_the_answer_first_and_shows_every_neuron(tmp_path):
    for name, frame in (("l", losses()), ("a", activations()), ("t", tokens())):
        write_table(frame, tmp_path / f"{name}.parquet")
    paths = [[tmp_path / f"{name}.parquet"] for name in "lat"]
    build_context_page(*paths, tmp_path / "page.html")
    page = lxml.html.fromstring((tmp_path / "page.html").read_bytes())
    lead = page.xpath("//p[@class='lead']")[0].text_content()
    assert "For 2 of 3 neurons the loss then rises more" in lead
    assert "this is so for 1 of 3 (1.0 are expected by chance)" in lead
    assert "its own class by 0.75 %, the median random neuron changes that loss by 0.00 %" in lead
    assert len(page.xpath("//img[@alt]")) == 2
    rows = [[c.text_content() for c in row] for row in page.xpath("(//tbody)[1]/tr")]
    assert [row[:5] for row in rows] == [
        ["a", "L0.10", "0.90", "4.00", "0.75"],
        ["b", "L1.11", "0.90", "4.00", "0.20"],
        ["c", "L2.12", "0.90", "4.00", "1.00"],
    ]
    assert rows[0][5:] == ["30.0", "1.0", "b", "1.0", "1.0", "0.1", "1.0"]
    assert page.xpath("(//tbody)[2]/tr/td[1]/text()") == ["␣le", "$x$", "<b>⏎"]
    missed = "Not so L1.11 (b): 8.0 ± 1.0 thousandths of a nat a token in b, but 9.0 ± 1.0 in c."
    assert missed in page.text_content()


def test_an_empty_run_is_refused(tmp_path):
    for name, schema in (("l", ABLATIONS_SCHEMA), ("a", ACTIVATIONS_SCHEMA), ("t", TOKENS_SCHEMA)):
        write_table(pl.DataFrame(schema=schema), tmp_path / f"{name}.parquet")
    paths = [[tmp_path / f"{name}.parquet"] for name in "lat"]
    with pytest.raises(DataError, match="no neuron was ablated"):
        build_context_page(*paths, tmp_path / "page.html")


def test_white_space_of_tokens_is_visible():
    assert visible(" a\tb\n") == "␣a⇥b⏎"
