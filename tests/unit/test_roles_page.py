"""The page about functional roles says what the tables say."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from artneuro.core.errors import DataError
from artneuro.interventions.attention_neurons import score_attention_neurons
from artneuro.interventions.entropy_neurons import pin_entropy_neurons
from artneuro.interventions.next_tokens import score_next_tokens
from artneuro.interventions.roles_config import (
    AttentionNeuronsConfig,
    EntropyNeuronsConfig,
    NextTokensConfig,
)
from artneuro.report.roles import build_roles_page
from artneuro.report.roles_interventions import path_summary, strongest_entropy, texts_of
from artneuro.weights.config import WeightsConfig
from artneuro.weights.effects import measure_effects
from tests.tiny_models import make_model, write_info
from tests.unit.test_roles import N_CTX, write_text


def test_the_page_of_a_gated_and_a_plain_model(tmp_path):
    tables: dict[str, list] = {}
    for name in ("gpt2", "llama"):
        folder = tmp_path / name
        weights, info = make_model(name, folder / "m"), folder / "model.json"
        write_info(weights, info)
        write_text(folder)
        paths = {
            k: folder / f"{k}.parquet"
            for k in ("effects", "examples", "entropy", "scores", "attention", "next_tokens")
        }
        measure_effects(
            WeightsConfig(kurtosis=3.2), weights, info, weights, paths["effects"],
            paths["examples"], model=name, device="cpu",
        )  # fmt: skip
        text = (folder / "tokens.parquet", folder / "sequences.parquet")
        names = {"model": name, "text": "t", "device": "cpu"}
        sizes = {"sequences": 4, "n_ctx": N_CTX}
        pin_entropy_neurons(
            EntropyNeuronsConfig(
                **sizes, positions=4, skip=2, controls=3, values=[0, 2], gated_values=[0, 2],
                deviations=[-1, 1], antipode_cosine=0,
            ),
            weights, info, paths["effects"], *text, paths["entropy"], **names,
        )  # fmt: skip
        score_attention_neurons(
            AttentionNeuronsConfig(**sizes, positions=4, pairs=2),
            weights, info, *text, paths["scores"], paths["attention"], **names,
        )  # fmt: skip
        score_next_tokens(
            NextTokensConfig(**sizes, min_count=1, deviations=2, per_role=5, resamples=20),
            weights, info, weights, paths["effects"], *text, paths["next_tokens"], **names,
        )  # fmt: skip
        for key, path in paths.items():
            tables.setdefault(key, []).append(path)
    output = tmp_path / "roles.html"
    build_roles_page(**tables, kurtosis=3.2, output=output)
    page = output.read_text()
    assert page.count("<h2") == 1 + 2 * 4
    effects = pl.read_parquet(tables["effects"][1])
    n = (effects["role"] == "suppression").sum()
    assert re.search(rf"llama: of 144 neurons, \d+ prediction neurons, {n} suppression", page)
    assert "standard deviations of each neuron" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_without_models_there_is_no_page(tmp_path):
    with pytest.raises(DataError, match="no neurons"):
        build_roles_page(effects=[], examples=[], kurtosis=10, output=tmp_path / "p.html")


def test_paths_are_summarised_by_pair():
    rng = np.random.default_rng(0)
    activation = rng.normal(size=50)
    frame = pl.DataFrame(
        {
            "pair": 0, "kind": "deactivation", "layer": 3, "head": 1, "neuron_layer": 2,
            "neuron": 9, "score": 0.5, "deviations": 6.0, "activation": activation,
            "attention": 0.5, "attention_ablated": 0.5 - 0.1 * activation,
            "output_norm": 2.0, "output_norm_ablated": 2.0 + 0.4 * activation,
        }
    )  # fmt: skip
    (row,) = path_summary(frame).iter_rows(named=True)
    at = np.abs(activation).argmax()
    assert row["correlation"] == pytest.approx(-1)
    assert row["largest_change"] == pytest.approx(-0.1 * activation[at])
    assert row["norm_ratio"] == pytest.approx(1 + 0.2 * activation[at])
    assert row["mean_change"] == pytest.approx(0.1 * np.abs(activation).mean())


def test_the_strongest_change_of_entropy_is_held_against_controls():
    rows = [
        ("entropy", 1, "activation", 2.0, 0.3),
        ("antipode", 2, "activation", 6.0, -0.8),
        ("control", 3, "activation", 6.0, 0.2),
        ("control", 4, "activation", 6.0, -0.4),
        ("control", 5, "activation", 2.0, 0.9),
    ]
    frame = pl.DataFrame(rows, ["kind", "neuron", "unit", "setting", "change"], orient="row")
    best, ratio = strongest_entropy(frame.with_columns(pl.lit("entropy").alias("statistic")))
    assert (best["neuron"], ratio) == (2, pytest.approx(2.0))


def test_white_space_of_tokens_is_visible():
    frame = pl.DataFrame({"a": [[" week", "\n", "x"], ["b"]]})
    assert frame.select(texts_of("a"))["a"].to_list() == ["␣week  ⏎  x", "b"]
