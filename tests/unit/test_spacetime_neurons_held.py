"""Neurons held at values: a planted neuron that writes the date, and one that a text needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import transformers

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.spacetime.ablation import ablate_entity_neurons
from artneuro.spacetime.config import AblationConfig, PinningConfig
from artneuro.spacetime.neurons_schemas import (
    ABLATIONS_SCHEMA,
    CONTEXTS_SCHEMA,
    NEURONS_SCHEMA,
    PINNED_SCHEMA,
)
from artneuro.spacetime.pinning import make_texts, pin_entity_neurons
from tests.tiny import make_tokenizer
from tests.tiny_models import N_CTX, VOCAB, make_model, write_info

LAYER, NEURON = 1, 11
TEXT_CTX = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model whose neuron writes the token "8" and writes against "3", and what goes with it."""
    path = tmp_path_factory.mktemp("held")
    make_model("gpt2", path / "weights", tokenizer=False)
    make_tokenizer(path / "weights", n_ids=VOCAB)
    digits = {d: int(load_tokenizer(path / "weights").encode([d])[0].ids[0]) for d in "0123456789"}
    model = transformers.AutoModelForCausalLM.from_pretrained(path / "weights")
    head = model.get_output_embeddings().weight
    direction = torch.randn(head.shape[1], generator=torch.Generator().manual_seed(1))
    direction -= direction.mean()
    with torch.no_grad():
        # What the last norm multiplies by lies between neuron and head.
        model.transformer.h[LAYER].mlp.c_proj.weight[NEURON] = direction
        head[digits["8"]] = direction / model.transformer.ln_f.weight
        head[digits["3"]] = -head[digits["8"]]
        # The last block adds nothing that could undo it.
        for part in (model.transformer.h[2].attn.c_proj, model.transformer.h[2].mlp.c_proj):
            part.weight.zero_()
    model.save_pretrained(path / "weights")
    write_info(path / "weights", path / "model.json")
    write_entities(path / "entities.parquet")
    write_neurons(path / "neurons.parquet")
    return path


def write_entities(path: Path, **columns) -> pl.DataFrame:
    n = 40
    random = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "entity": pl.Series(range(n), dtype=pl.Int32),
            "name": [f"The quick dog {i}" for i in range(n)],
            "entity_type": ["song"] * n,
            "title": ["dog" if i % 2 else None for i in range(n)],
            "creator": ["fox"] * n,
            "latitude": pl.Series([None] * n, dtype=pl.Float64),
            "longitude": pl.Series([None] * n, dtype=pl.Float64),
            "time": random.uniform(1950, 2020, n).round(1),
            "popularity": [None if i == 3 else float(i % 17) for i in range(n)],
            "group": [str(i) for i in range(n)],
            "split": np.where(np.arange(n) % 4 == 3, "test", "train"),
            **columns,
        }
    )
    write_table(table, path)
    return table


def write_neurons(path: Path, target: str = "time") -> None:
    rows = [
        {"layer": 0, "neuron": 5, "spearman_train": 0.9, "activation_spearman_train": 0.1},
        {"layer": LAYER, "neuron": NEURON, "spearman_train": -0.5,
         "activation_spearman_train": 0.6, "activation_spearman": 0.4},
        {"layer": 2, "neuron": 7, "spearman_train": 0.3, "activation_spearman_train": 0.4},
    ]  # fmt: skip
    frame = pl.DataFrame(rows).with_columns(pl.lit(target).alias("target"))
    missing = [pl.lit(None).alias(c) for c in NEURONS_SCHEMA if c not in frame.columns]
    frame = frame.with_columns(missing).select(NEURONS_SCHEMA.names()).cast(NEURONS_SCHEMA)
    write_table(frame, path)


def pin(folder: Path, out: Path, entities: Path | None = None, **options) -> pl.DataFrame:
    settings = {
        "template": "{name} was in 19", "examples": 2, "controls": 3, "deviations": [-9, 0, 9],
        "top_tokens": 4, **options,
    }  # fmt: skip
    pin_entity_neurons(
        PinningConfig(**settings),
        weights=folder / "weights",
        model_info=folder / "model.json",
        tokenizer=folder / "weights",
        entities=entities or folder / "entities.parquet",
        neurons=folder / "neurons.parquet",
        output=out / "pinned.parquet",
        model="tiny",
        table="songs",
        device="cpu",
    )
    return read_table(out / "pinned.parquet")


def test_a_neuron_that_writes_a_digit_moves_the_date(folder, tmp_path):
    table = pin(folder, tmp_path, deviations=[-40, 0, 40])
    assert table.schema == PINNED_SCHEMA
    # Two entities; the model as it is, and three settings of four neurons; four tokens each.
    assert table.height == 2 * (1 + 3 * 4) * 4
    own = table.filter(pl.col("control").not_())
    assert own.select("layer", "neuron").unique().rows() == [(LAYER, NEURON)]
    value = pl.col("activation_mean") + pl.col("setting") * pl.col("activation_std")
    assert (own.select((value - pl.col("value")).abs().max()).item()) < 1e-9
    for (_entity,), part in own.group_by("entity"):
        by_setting = part.unique("setting").sort("setting")
        assert by_setting["expected_digit"].is_sorted()
        assert by_setting["expected_digit"][0] < 5 < by_setting["expected_digit"][-1]
        up = part.filter(setting=40).sort("rank")
        assert up["token_text"][0] == "8"
        assert up["top_token_text"][0] == "8"
        assert part.filter(setting=-40).sort("rank")["token_text"][0] == "3"
    controls = table.filter("control").unique(["entity", "neuron", "setting"])
    assert controls["divergence"].mean() < own["divergence"].mean() / 3
    assert controls["neuron"].n_unique() == 3
    plain = table.filter(pl.col("neuron").is_null())
    assert plain.height == 2 * 4
    assert plain["divergence"].abs().max() < 1e-12
    assert table["probability"].is_between(0, 1).all()
    shares = table.group_by("entity", "neuron", "setting").agg(pl.col("probability").sum())
    assert shares["probability"].max() <= 1 + 1e-9


def test_prompts_are_of_popular_test_entities_of_the_century(tmp_path):
    table = write_entities(tmp_path / "entities.parquet")
    config = PinningConfig(template="{title} by {creator} was written in 19", examples=3)
    found = make_texts(config, table)
    fit = table.filter(pl.col("split") == "test", pl.col("time") < 2000, pl.col("title") == "dog")
    expected = fit.sort("popularity", "entity", descending=[True, False], nulls_last=True)
    assert found["entity"].to_list() == expected["entity"].to_list()[:3]
    assert found["text"].to_list() == ["dog by fox was written in 19"] * 3
    open_end = make_texts(PinningConfig(template="{name} is of", examples=100), table)
    assert open_end.height == 10
    # Entities of unknown popularity come last.
    assert open_end["entity"][-1] == 3
    for template in ("no field", "{name} and {year}", "{name", "{}"):
        with pytest.raises(ConfigError, match="template"):
            make_texts(PinningConfig(template=template), table)
    with pytest.raises(DataError, match="fit for the template"):
        make_texts(PinningConfig(template="{name} was written in 17"), table)


def test_tables_of_places_are_refused(folder, tmp_path):
    here = pl.Series("x", np.arange(40.0))
    write_entities(
        tmp_path / "places.parquet", latitude=here, longitude=here,
        time=pl.Series([None] * 40, dtype=pl.Float64),
    )  # fmt: skip
    with pytest.raises(DataError, match="places"):
        pin(folder, tmp_path, tmp_path / "places.parquet")


def write_text(folder: Path) -> np.ndarray:
    ids = np.random.default_rng(1).integers(1, VOCAB, (7, TEXT_CTX)).astype(np.int32)
    ids[:, 0] = 0
    tokens = pl.Series("tokens", ids, dtype=pl.Array(pl.Int32, TEXT_CTX))
    write_table(pl.DataFrame([tokens]), folder / "text.parquet")
    write_table(
        pl.DataFrame({"n_tokens": pl.Series([TEXT_CTX] * 7, dtype=pl.Int32)}),
        folder / "text_sequences.parquet",
    )
    return ids


def ablate(folder: Path, out: Path, neurons: Path, **options):
    settings = {"sequences": 5, "n_ctx": 20, "neurons": 2, "contexts": 6, "context_tokens": 4}
    facts = ablate_entity_neurons(
        AblationConfig(**{**settings, **options}),
        weights=folder / "weights",
        model_info=folder / "model.json",
        tokenizer=folder / "weights",
        neurons=neurons,
        tokens=out / "text.parquet",
        sequences=out / "text_sequences.parquet",
        ablations=out / "ablations.parquet",
        contexts=out / "contexts.parquet",
        model="tiny",
        table="songs",
        device="cpu",
    )
    return facts, read_table(out / "ablations.parquet"), read_table(out / "contexts.parquet")


def test_ablations_and_their_contexts(folder, tmp_path):
    ids = write_text(tmp_path)
    facts, ablations, contexts = ablate(folder, tmp_path, folder / "neurons.parquet")
    assert (facts.n_neurons, facts.n_controls, facts.n_sequences) == (2, 2, 5)
    assert facts.n_tokens == 5 * 19
    assert ablations.schema == ABLATIONS_SCHEMA
    assert contexts.schema == CONTEXTS_SCHEMA
    # The weaker of two correlations chooses: 0.5 and 0.3, not 0.1.
    places = ablations.select("layer", "of_neuron", "control").rows()
    assert places == [(1, 11, False), (1, 11, True), (2, 7, False), (2, 7, True)]
    assert (ablations["neuron"] == ablations["of_neuron"]).to_list() == [True, False, True, False]
    # Nothing that the last block's neurons write arrives, so that nothing changes without them.
    still = ablations.filter(layer=2)
    assert still["increase"].abs().max() < 1e-6
    assert still["share_raised"].max() == 0
    assert ablations["loss"].n_unique() == 1
    assert contexts.height == 4 * 6
    first = contexts.filter(layer=1, control=False)
    assert first["increase"].is_sorted(descending=True)
    own = ablations.row(0, named=True)
    assert first["increase"][0] == own["increase_max"]
    assert own["increase"] == pytest.approx(own["loss_ablated"] - own["loss"])
    tokenizer = load_tokenizer(folder / "weights").backend
    for row in first.iter_rows(named=True):
        line, at = ids[row["sequence"]], row["position"]
        assert row["token"] == line[at]
        assert row["token_text"] == tokenizer.decode([int(line[at])])
        before = [int(i) for i in line[max(0, at - 4) : at] if i]
        assert row["context"] == tokenizer.decode(before)


def test_ablations_need_neurons_and_text(folder, tmp_path):
    write_text(tmp_path)
    write_table(pl.DataFrame(schema=NEURONS_SCHEMA), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no neuron"):
        ablate(folder, tmp_path, tmp_path / "none.parquet")
    with pytest.raises(DataError, match="n_ctx"):
        ablate(folder, tmp_path, folder / "neurons.parquet", n_ctx=N_CTX)
