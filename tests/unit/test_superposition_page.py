"""The page about compound words: what it says of made-up tables."""

from __future__ import annotations

from pathlib import Path

import lxml.html
import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.probing.sparsity import SPARSITY_SCHEMA
from artneuro.probing.superposition import (
    BASIS_SCHEMA,
    HISTOGRAMS_SCHEMA,
    SUPERPOSITION_SCHEMA,
)
from artneuro.report.superposition import build_superposition_page, word_table
from artneuro.weights.neurons import NEURONS_SCHEMA

WORDS = {"social-security": 3, "civil-war": 5}
PARTS = [("neuron", 1, 7, 1), ("neuron", 2, 8, -1), ("sum", None, None, None),
         ("probe", None, None, None)]  # fmt: skip


def frame(rows: list[dict], schema: pl.Schema) -> pl.DataFrame:
    fixed = {"model": "m", "dataset": "d", "site": "mlp_post", "collection": "compound_words"}
    full = [{**fixed, **row} for row in rows]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in full], schema=schema)


def scores() -> pl.DataFrame:
    rows = [
        {
            "feature": word, "layer": layer, "method": "f_statistic", "part": part, "rank": rank,
            "neuron": neuron, "sign": sign, "against": against, "f1": 0.5, "f1_train": 1.0,
            "auc": {"neuron": 0.8, "sum": 0.9, "probe": 0.95}[part] if rank != 2 else 0.1,
            # The sum is further apart for one of the two words.
            "separation": {"neuron": 2.0, "sum": 1.0 + (layer == 3) * 4, "probe": 3.0}[part],
            "n_positive": 12, "n_negative": 2000,
        }
        for word, layer in WORDS.items()
        for part, rank, neuron, sign in PARTS
        for against in ("XW", "ZY", "both", "else")
    ]  # fmt: skip
    return frame(rows, SUPERPOSITION_SCHEMA)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, list[Path]]:
    root = tmp_path_factory.mktemp("tables")
    generator = np.random.default_rng(0)
    histograms = frame(
        [
            {
                "feature": word, "layer": layer, "part": part, "rank": rank, "neuron": neuron,
                "sign": sign, "edges": [0.0, 1.0, 2.0], "counts_XY": [0, 3], "counts_XW": [2, 1],
                "counts_ZY": [4, 0], "counts_else": [0, 0],
            }
            for word, layer in WORDS.items()
            for part, rank, neuron, sign in PARTS
        ],
        HISTOGRAMS_SCHEMA,
    )  # fmt: skip
    basis = frame(
        [
            {
                "feature": word, "layer": layer, "basis": basis, "draw": draw, "rank": rank,
                "f1_train": 1.0, "f1": {"neurons": 0.75, "random": 0.25}[basis],
            }
            for word, layer in WORDS.items()
            for basis, draw in (("neurons", 0), ("random", 1), ("random", 2))
            for rank in (1, 2)
        ],
        BASIS_SCHEMA,
    )  # fmt: skip
    sparsity = frame(
        [
            {
                "feature": word, "layer": layer + other, "basis": basis, "k": k, "f1": 0.5,
                "log_loss": 0.1 / k, "f1_train": 1.0,
            }
            for word, layer in WORDS.items()
            for other in (0, 1)
            for basis in ("neurons", "random")
            for k in (1, 2, 4)
        ],
        SPARSITY_SCHEMA,
    )  # fmt: skip
    made = {
        "superposition": scores(), "histograms": histograms, "basis": basis, "sparsity": sparsity
    }  # fmt: skip
    for biased in (True, False):
        rows = [
            {
                "layer": layer, "neuron": neuron, "norm_in": generator.random(), "norm_out": 1.0,
                "norm_up": None if biased else 1.0, "cos_in_out": 0.0,
                "cos_up_out": None if biased else 0.0,
                "bias_in": -1.0 if biased else None, "fingerprint": -0.5 if biased else None,
            }
            for layer in range(6)
            for neuron in range(9)
        ]  # fmt: skip
        made["biased" if biased else "gated"] = frame(rows, NEURONS_SCHEMA)
    for name, table in made.items():
        write_table(table, root / name)
    return {name: [root / name] for name in made}


def build(tables: dict[str, list[Path]], weights: str, output: Path, **changes) -> str:
    given = {k: tables[k] for k in ("superposition", "histograms", "basis", "sparsity")}
    build_superposition_page(**{**given, **changes}, weights=tables[weights], output=output)
    return output.read_text(encoding="utf-8")


def test_the_answer_and_the_tables(tables, tmp_path):
    text = build(tables, "gated", tmp_path / "page.html")
    page = lxml.html.fromstring(text.encode())
    lead = page.xpath("string(//p[@class='lead'])")
    assert "a mean AUC of 0.900, the best of these neurons alone with 0.800" in lead
    assert "1 of 2 words further apart" in lead
    assert "mean distance 3.0 against 2.0" in lead
    first = page.xpath("(//table)[1]/tbody/tr")
    assert [row.xpath("string(th)") for row in first] == ["civil war", "social security"]
    assert first[1].xpath("string(td[1])") == "L3:\u00a0+7\u00a0−8"
    assert "The best neuron reaches a test F1 of 0.75" in text
    assert "of a random basis 0.25 (mean of 2 bases)" in text
    # Two words, the directions, the curves, the toy model and the weights.
    assert len(page.xpath("//img")) == 6


def test_architectures_without_biases_are_told_from_those_with(tables, tmp_path):
    without = build(tables, "gated", tmp_path / "a.html")
    assert "m: the MLPs of this architecture have no biases" in without
    assert "norm of the linear part" in without
    with_bias = build(tables, "biased", tmp_path / "b.html", sparsity=[])
    assert "have no biases" not in with_bias
    assert "m: the fingerprint is the norm" in with_bias
    assert with_bias.count("<img") == 5


def test_the_table_of_words_takes_the_neuron_that_was_best_on_train():
    row = word_table(scores()).filter(pl.col("feature") == "civil-war").row(0, named=True)
    assert row["auc_neuron_both"] == 0.8
    assert (row["n"], row["n_else"]) == (12, 2000)
    assert row["separation_sum_else"] == 1.0
