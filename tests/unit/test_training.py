"""Training: the same data for every seed, a loss that means what it says, runs that go on."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch
from transformers import AutoModelForCausalLM

from artneuro.config import load_config
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError, ModelError
from artneuro.core.holdout import held_out
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.models import training
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_model
from artneuro.models.train_tokenizer import tokenize_documents, train_tokenizer
from artneuro.models.training import initial_model, learning_rate, make_optimizer, train_model
from artneuro.models.training_config import TrainingConfig
from artneuro.models.training_data import (
    TrainingText,
    batch_at,
    read_training_text,
    unigram_losses,
)
from tests.tiny import SENTENCES

CPU = torch.device("cpu")


def recipe(**values) -> TrainingConfig:
    settings = {
        "corpus": "prose",
        "held_out": 0.25,
        "vocabulary": 300,
        "n_layers": 2,
        "d_model": 16,
        "n_heads": 2,
        "n_ctx": 12,
        "steps": 12,
        "batch": 6,
        "learning_rate": 1e-2,
        "warmup": 3,
        "record_every": 4,
        "held_out_sequences": 5,
        "checkpoint_minutes": 0,
    }
    return TrainingConfig.model_validate({**settings, **values})


def documents(n: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "document": [f"d{i}" for i in range(n)],
            "group": [f"g{i}" for i in range(n)],
            "text": [" ".join(rng.choice(SENTENCES, 2)) for _ in range(n)],
        }
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Documents with the tokenizer and the tokens of the recipe."""
    folder = tmp_path_factory.mktemp("recipe")
    write_table(documents(), folder / "documents.parquet")
    train_tokenizer(recipe(), folder / "documents.parquet", folder / "tokenizer")
    tokenize_documents(
        recipe(), folder / "documents.parquet", folder / "tokenizer", folder / "tokens.parquet"
    )
    return folder


def train(corpus: Path, folder: Path, seed: int = 0, **values) -> pl.DataFrame:
    return train_model(
        recipe(**values),
        seed=seed,
        model_name="tiny-a",
        recipe="tiny",
        tokens=corpus / "tokens.parquet",
        tokenizer=corpus / "tokenizer",
        weights=folder / "weights",
        info=folder / "model.json",
        curve=folder / "training.parquet",
        work=folder / "training.parts",
        device="cpu",
    )


# The tokenizer


@pytest.mark.parametrize("content", [b"", b'{"version": "1.0"', b"\xff\xfe", None])
def test_a_damaged_tokenizer_is_named(corpus: Path, tmp_path: Path, content: bytes | None):
    shutil.copytree(corpus / "tokenizer", tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_bytes(content) if content is not None else file.unlink()
    with pytest.raises(ModelError, match="cannot load the tokenizer") as caught:
        tokenize_documents(
            recipe(), corpus / "documents.parquet", tmp_path / "tokenizer", tmp_path / "out"
        )
    assert str(file) in str(caught.value)
    assert "delete the folder and run snakemake again" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_tokenizer_is_the_same_each_time_and_on_any_number_of_threads(corpus, tmp_path):
    code = (
        "import sys; from artneuro.models.train_tokenizer import train_tokenizer;"
        "from artneuro.models.training_config import TrainingConfig;"
        "train_tokenizer(TrainingConfig.model_validate_json(sys.argv[1]), *sys.argv[2:])"
    )
    once = (corpus / "tokenizer" / "tokenizer.json").read_bytes()
    assert json.loads(once)["model"]["type"] == "BPE"
    subprocess.run(
        [sys.executable, "-c", code, recipe().model_dump_json(),
         corpus / "documents.parquet", tmp_path / "again"],
        check=True,
        env={**os.environ, "RAYON_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == once


def test_tokenizer_loads_alone_and_gives_text_back(corpus):
    loaded = load_tokenizer(corpus / "tokenizer")
    assert loaded.document_token == 0
    assert loaded.n_ids == 300
    for text in ("  Two\n\nlines \u03b1\u2603 <|endoftext|> of 1984.", SENTENCES[1]):
        ids = loaded.encode([text])[0].ids
        assert loaded.backend.decode(ids.tolist(), skip_special_tokens=False) == text
        assert 0 not in ids


def test_tokenizer_never_sees_what_is_held_out(corpus, tmp_path):
    table = documents()
    held = pl.Series(held_out(table["group"], 0.25))
    assert 0 < held.sum() < len(held)
    other = table.with_columns(
        pl.when(held).then(pl.lit("zzz qqq " * 200)).otherwise("text").alias("text")
    )
    write_table(other, tmp_path / "documents.parquet")
    train_tokenizer(recipe(), tmp_path / "documents.parquet", tmp_path / "tokenizer")
    assert (tmp_path / "tokenizer" / "tokenizer.json").read_bytes() == (
        corpus / "tokenizer" / "tokenizer.json"
    ).read_bytes()


def test_a_vocabulary_beyond_the_text_is_an_error(corpus, tmp_path):
    with pytest.raises(DataError, match="lower vocabulary"):
        train_tokenizer(
            recipe(vocabulary=20_000), corpus / "documents.parquet", tmp_path / "tokenizer"
        )
    assert not (tmp_path / "tokenizer").exists()


# What is learned from


def test_sequences_are_the_documents_one_after_the_other(corpus):
    text = read_training_text(corpus / "tokens.parquet", 12, 10**6, 0)
    table = documents()
    tokenizer = load_tokenizer(corpus / "tokenizer")
    is_held = held_out(table["group"], 0.25)
    for rows, wanted in ((text.train, False), (text.held_out, True)):
        stream: list[int] = []
        for body, held in zip(table["text"], is_held, strict=True):
            if held == wanted:
                stream += [0, *tokenizer.encode([body])[0].ids.tolist()]
        assert np.all(rows[:, 0] == 0)
        assert rows[:, 1:].ravel().tolist() == stream[: len(stream) // 12 * 12]
    few = read_training_text(corpus / "tokens.parquet", 12, 5, 0).held_out
    assert len(few) == 5
    assert np.array_equal(few[[0, -1]], text.held_out[[0, -1]])


def test_empty_documents_do_no_harm(tmp_path):
    tokens = [[5, 6], [], [7, 8, 9], [4]]
    table = pl.DataFrame(
        {
            "document": list("abcd"),
            "held_out": [False, False, False, True],
            "tokens": pl.Series(tokens, dtype=pl.List(pl.UInt32)),
        }
    )
    write_table(table, tmp_path / "tokens.parquet")
    text = read_training_text(tmp_path / "tokens.parquet", 2, 9, 0)
    assert text.train.tolist() == [[0, 0, 5], [0, 6, 0], [0, 0, 7], [0, 8, 9]]
    assert text.held_out.tolist() == [[0, 0, 4]]
    with pytest.raises(DataError, match="held-out documents have 2 tokens"):
        read_training_text(tmp_path / "tokens.parquet", 3, 9, 0)


def test_every_epoch_has_every_sequence_once():
    n, batch = 17, 5
    seen = np.concatenate([batch_at(step, batch, n, 3) for step in range(17)])
    epochs = seen.reshape(5, n)
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 5
    assert np.array_equal(batch_at(7, batch, n, 3), seen[35:40])
    assert not np.array_equal(batch_at(7, batch, n, 4), seen[35:40])


def test_unigram_losses_against_scipy():
    rng = np.random.default_rng(0)
    text = TrainingText(rng.integers(0, 9, (40, 8)), rng.integers(0, 7, (30, 8)))
    entropy, cross = unigram_losses(text, 10)
    held = np.bincount(text.held_out[:, 1:].ravel(), minlength=10)
    seen = np.bincount(text.train[:, 1:].ravel(), minlength=10) + 1
    assert entropy == pytest.approx(scipy.stats.entropy(held))
    share = held / held.sum()
    divergence = scipy.stats.entropy(share, seen / seen.sum())
    assert cross == pytest.approx(entropy + divergence)


# Training


def test_rates_rise_and_fall_as_said():
    config = recipe(steps=101, warmup=10, final_rate=0.2, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.6)
    assert rates[100] == pytest.approx(0.2)
    assert np.all(np.diff(rates[10:]) < 0)


def test_initial_weights_spread_as_said():
    weights = dict(initial_model(recipe(init_std=0.1, d_model=64), 0, 0).named_parameters())
    assert weights["transformer.wte.weight"].std().item() == pytest.approx(0.1, rel=0.05)
    # Twice as many updates of the residual stream as layers.
    assert weights["transformer.h.0.mlp.c_proj.weight"].std().item() == pytest.approx(
        0.1 / 2, rel=0.05
    )


def test_only_matrices_decay():
    model = initial_model(recipe(), 0, 0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, recipe(weight_decay=0.5, learning_rate=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim == 2 else 1
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_micro_batches_add_up_to_a_batch(corpus):
    text = read_training_text(corpus / "tokens.parquet", 12, 5, 0)
    after = []
    for size in (None, 2):
        config = recipe(micro_batch=size)
        model = initial_model(config, 0, 0).double().train()
        optimizer = torch.optim.SGD(model.parameters())
        loss = training._update(model, optimizer, text.train[:6], config, 0, 5, CPU)
        after.append((loss.item(), torch.cat([p.detach().ravel() for p in model.parameters()])))
    assert after[0][0] == pytest.approx(after[1][0])
    torch.testing.assert_close(after[0][1], after[1][1])


def test_training_learns_and_saves_what_it_says(corpus, tmp_path):
    settings = {"steps": 300, "record_every": 100, "held_out_sequences": 100}
    table = train(corpus, tmp_path, learning_rate=0.03, **settings)
    assert read_table(tmp_path / "training.parquet").equals(table)
    assert table["step"].to_list() == [0, 100, 200, 300]
    assert table["tokens"].to_list() == [0, 7200, 14400, 21600]
    assert table["held_out_loss"][0] == pytest.approx(math.log(300), abs=0.1)
    assert table["held_out_loss"][-1] < table["unigram_entropy"][-1] - 1
    assert table["loss"][0] is None
    # An independent reading of the saved model: transformers' own loss.
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "weights", local_files_only=True)
    rows = torch.from_numpy(
        read_training_text(corpus / "tokens.parquet", 12, 100, 0).held_out.astype(np.int64)
    )
    with torch.no_grad():
        logits = model(rows[:, :-1]).logits
    losses = -logits.log_softmax(-1).gather(-1, rows[:, 1:, None])
    assert losses.mean().item() == pytest.approx(table["held_out_loss"][-1], abs=1e-5)
    info = read_model_info(tmp_path / "model.json")
    assert (info.source, info.revision) == ("trained:tiny", "seed 0")
    assert info.n_parameters == recipe().parameters == model.num_parameters()
    assert load_model(tmp_path / "weights").shape == info.shape
    assert load_tokenizer(tmp_path / "weights").document_token == 0
    assert not (tmp_path / "training.parts").exists()


def weights(folder: Path) -> bytes:
    return (folder / "weights" / "model.safetensors").read_bytes()


def test_seeds_differ_and_repeat(corpus, tmp_path):
    first = train(corpus, tmp_path / "a")
    again = train(corpus, tmp_path / "b")
    other = train(corpus, tmp_path / "c", seed=1)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert first.equals(again)
    assert first["step"].equals(other["step"])
    assert not first["held_out_loss"].equals(other["held_out_loss"])
    assert other.select("model", "recipe", "seed").unique().rows() == [("tiny-a", "tiny", 1)]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_killed_run_ends_in_the_same_bits(corpus, tmp_path, monkeypatch, dropout):
    whole = train(corpus, tmp_path / "whole", dropout=dropout)
    update = training._update

    def dies(model, optimizer, rows, config, seed, step, device):
        if step in (5, 9) and step not in died:
            died.append(step)
            raise KeyboardInterrupt
        return update(model, optimizer, rows, config, seed, step, device)

    died: list[int] = []
    monkeypatch.setattr(training, "_update", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(corpus, tmp_path / "cut", dropout=dropout)
        assert not (tmp_path / "cut" / "weights").exists()
    cut = train(corpus, tmp_path / "cut", dropout=dropout)
    assert died == [5, 9]
    assert cut.equals(whole)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["other recipe", "truncated"])
def test_a_checkpoint_that_does_not_fit_is_not_taken_up(corpus, tmp_path, monkeypatch, harm):
    whole = train(corpus, tmp_path / "whole")
    update = training._update

    def dies(*args):
        if args[-2] == 5:
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr(training, "_update", dies)
    changed = {"weight_decay": 0.3} if harm == "other recipe" else {}
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "cut", **changed)
    state = tmp_path / "cut" / "training.parts" / "state.safetensors"
    if harm == "truncated":
        state.write_bytes(state.read_bytes()[:5000])
    monkeypatch.setattr(training, "_update", update)
    assert train(corpus, tmp_path / "cut").equals(whole)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_loss_that_is_not_finite_is_an_error(corpus, tmp_path):
    with pytest.raises(ModelError, match="no longer finite at step 4"):
        train(corpus, tmp_path, learning_rate=1e38, clip=1e38)
    assert not (tmp_path / "weights").exists()


# The config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 15}, "not a multiple of n_heads"),
        ({"micro_batch": 4}, "not a multiple of micro_batch"),
        ({"warmup": 12}, "leaves nothing"),
        ({"betas": [0.9, 1.0]}, "between 0 and 1"),
        ({"vocabulary": 257}, "greater than 257"),
    ],
)
def test_recipes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        recipe(**change)


def test_config_of_an_ensemble_is_checked(tmp_path):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "sources.yaml").write_text("sources: {}\n")
    part = {"reader": "files", "path": "docs", "files": ["*.txt"], "subset": "s"}
    base = {
        "corpora": {"prose": {"parts": [part]}},
        "training": {"tiny": {"corpus": "prose"}, "other": {"corpus": "nowhere"}},
        "texts": {"long": {"corpus": "prose", "n_ctx": 2048, "split": "held_out", "held_out": 0.2}},
        "models": {
            "a": {"source": {"kind": "trained", "recipe": "tiny"}},
            "b": {"source": {"kind": "trained", "recipe": "tiny", "seed": 1}, "tokenizer": "a"},
            "c": {"source": {"kind": "trained", "recipe": "gone"}},
            "d": {"source": {"kind": "trained", "recipe": "other"}, "tokenizer": "a"},
            "recipes": {"source": {"kind": "trained", "recipe": "tiny"}},
        },
        "universality": {"groups": {"g": {"reference": "a", "others": ["b"], "text": "long"}}},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(base, tmp_path)
    said = str(caught.value)
    for part in (
        "training.other.corpus: there is no 'nowhere'",
        "models.c.source.recipe: there is no 'gone'",
        "models.d.tokenizer: 'a' is not of the recipe 'other'",
        "texts.long.held_out: 0.2 is more than the recipe tiny holds out (0.1)",
        "models.recipes: this name is taken",
        "texts.long.n_ctx: 2048 tokens are more than a reads (training.tiny.n_ctx: 1024)",
    ):
        assert part in said
    assert "models.b" not in said
