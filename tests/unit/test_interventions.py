"""Ablations: planted models, the choice of neurons and sequences, and the tables of a job."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import transformers
import yaml

from artneuro.config import load_config
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.interventions.choose import choose_neurons, draw_sequences, labelled_test_spans
from artneuro.interventions.config import ContextNeuronsConfig
from artneuro.interventions.context_neurons import ablate_neurons
from artneuro.interventions.describe import (
    describe_activations,
    describe_losses,
    distinguished_tokens,
)
from artneuro.interventions.forward import Ablation
from artneuro.interventions.measure import Losses, Spans, ablation_losses
from artneuro.interventions.schemas import ABLATIONS_SCHEMA, ACTIVATIONS_SCHEMA, TOKENS_SCHEMA
from artneuro.models.loading import load_causal_lm
from tests.tiny_models import VOCAB, make_model, write_info

ROOT = Path(__file__).resolve().parents[2]
N_CTX = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny Llama with its description and a dataset of three classes of sequences."""
    folder = tmp_path_factory.mktemp("ablated")
    make_model("llama", folder / "weights")
    write_info(folder / "weights", folder / "model.json")
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 40, (24, N_CTX), dtype=np.int32)
    tokens[:, 0] = 0
    length = rng.integers(12, N_CTX + 1, 24).astype(np.int32)
    schema = {"tokens": pl.Array(pl.Int32, N_CTX)}
    write_table(pl.DataFrame({"tokens": tokens}, schema=schema), folder / "tokens.parquet")
    index = np.arange(24, dtype=np.int32)
    classes = np.array(["a", "b", "c"])[index % 3]
    split = np.where(index % 4 == 0, "train", "test")
    write_table(pl.DataFrame({"sequence": index, "split": split}), folder / "sequences.parquet")
    labels = [
        pl.DataFrame(
            {
                "collection": ["letters"] * 24,
                "feature": [name] * 24,
                "sequence": index,
                "start": np.full(24, 3, dtype=np.int32),
                "end": length,
                "label": classes == name,
            }
        )
        for name in "abc"
    ]
    write_table(pl.concat(labels), folder / "labels.parquet")
    write_table(scores({"a": (1, 5), "b": (2, 7), "c": (1, 9)}), folder / "scores.parquet")
    return folder


def scores(best: dict[str, tuple[int, int]]) -> pl.DataFrame:
    """Probes on one neuron: for each feature the given one, a worse one, and better ones that must
    not be taken (of two neurons, of shuffled labels, not active within the class).
    """
    rows = []
    for feature, (layer, neuron) in best.items():
        for where, units, f1, control, intercept in (
            (layer, [neuron], 0.9, "none", -1.0),
            (layer + 1, [neuron], 0.9, "none", -1.0),
            (0, [1], 0.5, "none", -1.0),
            (0, [1, 2], 1.0, "none", -1.0),
            (0, [3], 1.0, "shuffled_labels", -1.0),
            (0, [4], 0.95, "none", 2.0),
        ):
            row = {
                "site": "mlp_post", "collection": "letters", "feature": feature, "layer": where,
                "method": "mean_difference", "k": len(units), "control": control,
                "neurons": units, "coef": [1.0] * len(units), "intercept": intercept,
                "f1_train": f1, "f1": f1 - 0.1,
            }  # fmt: skip
            rows.append(row)
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int16})


# --- models --------------------------------------------------------------------------------------


def test_a_neuron_without_outgoing_weights_changes_nothing_and_the_model_stays_as_it_was(tmp_path):
    lm = load_causal_lm(make_model("llama", tmp_path / "m", tokenizer=False), device="cpu")
    blocks = lm.model.get_submodule("model.layers")
    blocks[1].mlp.down_proj.weight.data[:, 6] = 0.0
    tokens = np.random.default_rng(2).integers(1, VOCAB, (4, 15), dtype=np.int32)
    spans = Spans(np.arange(4), np.full(4, 1), np.full(4, 15))
    ids = torch.from_numpy(tokens.astype(np.int64))
    before = lm.model(input_ids=ids).logits
    ablations = [Ablation(1, (6,), (50.0,)), Ablation(1, (7,), (50.0,))]
    losses = ablation_losses(lm, tokens, spans, ablations)
    assert np.abs(losses.ablated[0] - losses.baseline).max() < 1e-5
    assert np.abs(losses.ablated[1] - losses.baseline).max() > 1e-2
    assert torch.equal(lm.model(input_ids=ids).logits, before)
    for module in lm.model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
        assert "forward" not in module.__dict__


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary(tmp_path):
    lm = load_causal_lm(make_model("gpt_neox", tmp_path / "m", tokenizer=False), device="cpu")
    lm.model.get_output_embeddings().weight.data.zero_()
    tokens = np.ones((2, 9), dtype=np.int32)
    spans = Spans(np.arange(2), np.array([1, 4]), np.array([9, 6]))
    losses = ablation_losses(lm, tokens, spans, [Ablation(0, (0,), (1.0,))])
    np.testing.assert_allclose(losses.baseline, np.array([8, 2]) * np.log(VOCAB), rtol=1e-6)
    np.testing.assert_allclose(losses.ablated[0], losses.baseline, rtol=1e-6)


@pytest.mark.parametrize(
    ("ablation", "span", "error", "text"),
    [
        (Ablation(3, (0,), (0.0,)), (1, 5), ConfigError, "layers 0 to 2 of 48 units"),
        (Ablation(0, (48,), (0.0,)), (1, 5), ConfigError, r"no units \[48\]"),
        (Ablation(0, (0,), (0.0,), "attn_pattern"), (1, 5), ConfigError, "attention patterns"),
        (Ablation(0, (0, 1), (0.0,)), (1, 5), ConfigError, "2 units are to be held at 1 values"),
        (Ablation(0, (0,), (0.0,)), (0, 5), DataError, "tokens 0 to 5 cannot be measured"),
        (Ablation(0, (0,), (0.0,)), (2, 7), DataError, "tokens 2 to 7 cannot be measured"),
    ],
)
def test_what_cannot_be_ablated_or_measured_is_named(folder, ablation, span, error, text):
    lm = load_causal_lm(folder / "weights", device="cpu")
    spans = Spans(np.array([0]), np.array([span[0]]), np.array([span[1]]))
    with pytest.raises(error, match=text):
        ablation_losses(lm, np.ones((1, 6), dtype=np.int32), spans, [ablation])


# --- choice --------------------------------------------------------------------------------------


def test_the_best_neuron_by_train_f1_is_taken_and_random_ones_of_its_layer():
    table = scores({"a": (1, 5), "b": (2, 7)})
    found = choose_neurons(table, "mlp_post", 12, random_neurons=3, seed=1)
    chosen = found.filter(pl.col("control") == "none")
    assert chosen.select("feature", "layer", "neuron", "f1").rows() == [
        ("a", 1, 5, 0.8), ("b", 2, 7, 0.8)
    ]  # fmt: skip
    random = found.filter(pl.col("control") == "random_neuron")
    assert random["layer"].to_list() == [1, 1, 1, 2, 2, 2]
    assert random["f1"].null_count() == 6
    for feature, neuron in (("a", 5), ("b", 7)):
        drawn = random.filter(pl.col("feature") == feature)["neuron"]
        assert drawn.n_unique() == 3
        assert neuron not in drawn
        assert drawn.is_between(0, 11).all()
    assert found.equals(choose_neurons(table, "mlp_post", 12, random_neurons=3, seed=1))
    # Without the wish for neurons that are active within the class, the highest F1 wins.
    any_kind = choose_neurons(table, "mlp_post", 12, active_in_class=False, random_neurons=0)
    assert any_kind.select("layer", "neuron", "active_in_class").rows() == [(0, 4, False)] * 2
    # Among equals the one whose activations in and out of the class are furthest apart.
    wide = table.with_columns(
        pl.when(pl.col("layer") == 3).then([0.5]).otherwise("coef").alias("coef")
    )
    for tolerance, neurons in ((0.0, [5, 7]), (0.5, [5, 7])):
        found = choose_neurons(wide, "mlp_post", 12, f1_tolerance=tolerance, random_neurons=0)
        assert found["neuron"].to_list() == neurons
        assert found["layer"].to_list() == [1, 3]
    # Where no neuron is active within the class, the best of all is taken.
    silent = table.filter((pl.col("feature") == "b") | (pl.col("intercept") > 0))
    assert choose_neurons(silent, "mlp_post", 12)["neuron"].to_list()[:2] == [4, 7]
    with pytest.raises(DataError, match="no probe on one neuron of resid_post"):
        choose_neurons(table, "resid_post", 12)


def test_sequences_are_those_of_the_test_split_with_their_labelled_tokens(folder):
    labels, sequences = (read_table(folder / f"{n}.parquet") for n in ("labels", "sequences"))
    spans, context = labelled_test_spans(labels, sequences)
    assert spans.sequence.tolist() == [i for i in range(24) if i % 4]
    assert context.tolist() == ["abc"[i % 3] for i in range(24) if i % 4]
    assert (spans.start == 3).all()
    drawn = draw_sequences(spans, context, 4, seed=3)
    assert [np.count_nonzero(context[drawn] == name) for name in "abc"] == [4, 4, 4]
    assert draw_sequences(spans, context, 99, seed=3).tolist() == list(range(len(context)))
    # A class that is left out does not change what is drawn of the others.
    rest = np.flatnonzero(context != "a")
    fewer = draw_sequences(spans.take(rest), context[rest], 4, seed=3)
    assert set(rest[fewer]) <= set(drawn)
    twice = pl.concat([labels, labels.with_columns(feature=pl.lit("d"))])
    with pytest.raises(DataError, match="several classes"):
        labelled_test_spans(twice, sequences)


# --- description ---------------------------------------------------------------------------------


def test_losses_are_means_over_sequences_with_paired_errors():
    n_tokens = np.array([2, 4, 10])
    before, change = np.array([3.0, 1.0, 2.0]), np.array([0.3, 0.0, 0.6])
    found = describe_losses(
        Losses(n_tokens, before * n_tokens, np.empty((0, 3)), []), (before + change) * n_tokens
    )
    assert found["loss"] == pytest.approx(2.0)
    assert found["loss_ablated"] == pytest.approx(2.3)
    assert found["increase"] == pytest.approx(0.3)
    assert found["increase_se"] == pytest.approx(0.3 / np.sqrt(3))
    assert found["relative_increase"] == pytest.approx(0.15)
    assert (found["n_sequences"], found["n_tokens"]) == (3, 16)


def test_histograms_hold_every_token_and_tokens_are_compared_in_and_out_of_the_class():
    rng = np.random.default_rng(5)
    context = np.repeat(["a", "b"], [4000, 700])
    values = (rng.standard_normal(4700) + 3 * (context == "b")).astype(np.float32)
    for row in describe_activations(values, context, 10):
        inside = values[context == row["context"]].astype(np.float64)
        assert sum(row["counts"]) == row["n_tokens"] == inside.size
        assert row["mean"] == pytest.approx(inside.mean())
        assert row["quantiles"][4] == pytest.approx(np.median(inside))
        assert len(row["edges"]) == 11
    (dead,) = describe_activations(np.zeros(5, np.float32), np.repeat(["a"], 5), 4)
    assert sum(dead["counts"]) == 5

    token = rng.integers(0, 60, 4700)
    found = distinguished_tokens(values, token, context == "b", 10, 8)
    frame = pl.DataFrame(
        {"token": token, "value": values.astype(np.float64), "own": context == "b"}
    )
    brute = (
        frame.group_by("token")
        .agg(
            n_in=pl.col("own").sum(),
            n_out=(~pl.col("own")).sum(),
            mean_in=pl.col("value").filter("own").mean(),
            mean_out=pl.col("value").filter(~pl.col("own")).mean(),
        )
        .filter(pl.col("n_in") >= 10, pl.col("n_out") >= 10)
        .with_columns(difference=pl.col("mean_in") - pl.col("mean_out"))
        .sort(pl.col("difference").abs(), descending=True)
        .head(8)
    )
    assert [row["token"] for row in found] == brute["token"].to_list()
    for row, wanted in zip(found, brute.iter_rows(named=True), strict=True):
        assert row == pytest.approx(wanted)
    assert distinguished_tokens(values, token, context == "b", 5000, 8) == []


# --- the job -------------------------------------------------------------------------------------


def run(folder: Path, out: Path, **settings) -> dict[str, pl.DataFrame]:
    names = ("ablations", "activations", "tokens")
    config = ContextNeuronsConfig(
        **{"sequences_per_class": 4, "min_token_count": 1, "batch_tokens": 100, **settings}
    )
    ablate_neurons(
        config,
        folder / "weights",
        folder / "model.json",
        folder / "weights",
        *(folder / f"{name}.parquet" for name in ("tokens", "sequences", "labels", "scores")),
        *(out / f"{name}.parquet" for name in names),
        model="tiny",
        dataset="letters",
        device="cpu",
    )
    return {name: read_table(out / f"{name}.parquet") for name in names}


def test_the_job_measures_what_transformers_own_loss_says(folder, tmp_path):
    found = run(folder, tmp_path)
    for name, schema in (
        ("ablations", ABLATIONS_SCHEMA),
        ("activations", ACTIVATIONS_SCHEMA),
        ("tokens", TOKENS_SCHEMA),
    ):
        assert found[name].schema == schema
    table = found["ablations"]
    assert table.height == 2 * 3 * 3  # chosen and random, neurons, classes
    labels, sequences = (read_table(folder / f"{n}.parquet") for n in ("labels", "sequences"))
    spans, context = labelled_test_spans(labels, sequences)
    drawn = draw_sequences(spans, context, 4, 0)
    tokens = read_table(folder / "tokens.parquet")["tokens"].to_numpy()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "weights").eval()

    def loss(name: str) -> float:
        each = []
        for i in drawn[context[drawn] == name]:
            ids = torch.from_numpy(tokens[spans.sequence[i] : spans.sequence[i] + 1].astype(int))
            wanted = torch.full_like(ids, -100)
            wanted[0, spans.start[i] : spans.end[i]] = ids[0, spans.start[i] : spans.end[i]]
            with torch.inference_mode():
                each.append(model(input_ids=ids, labels=wanted).loss.item())
        return float(np.mean(each))

    for name in "abc":
        rows = table.filter(pl.col("context") == name)
        np.testing.assert_allclose(rows["loss"], loss(name), rtol=1e-6)
    model.model.layers[2].mlp.down_proj.weight.data[:, 7] = 0.0
    for name in "abc":
        row = table.filter(pl.col("context") == name, pl.col("feature") == "b",
                           pl.col("control") == "none").row(0, named=True)  # fmt: skip
        assert (row["layer"], row["neuron"]) == (2, 7)
        assert row["loss_ablated"] == pytest.approx(loss(name), rel=1e-6)
        assert row["increase"] == pytest.approx(row["loss_ablated"] - row["loss"], abs=1e-9)
        assert row["n_sequences"] == 4


def test_random_neurons_can_be_kept_to_their_own_class(folder, tmp_path):
    every, own = run(folder, tmp_path), run(folder, tmp_path, control_contexts="own")
    random = pl.col("control") == "random_neuron"
    assert own["ablations"].filter(~random).height == every["ablations"].filter(~random).height
    kept = own["ablations"].filter(random)
    assert kept.select("feature", "context").rows() == [("a", "a"), ("b", "b"), ("c", "c")]
    same = every["ablations"].filter(random, pl.col("feature") == pl.col("context"))
    np.testing.assert_allclose(kept["increase"], same["increase"], atol=1e-6)
    assert every["tokens"].filter(random).is_empty()


@pytest.mark.parametrize("kind", ["mean", "pinned"])
def test_a_neuron_can_be_held_at_its_mean_or_at_a_value(folder, tmp_path, kind):
    settings = {"value": 2.5} if kind == "pinned" else {}
    found = run(folder, tmp_path, kind=kind, **settings)
    for row in found["ablations"].iter_rows(named=True):
        if kind == "pinned":
            assert row["value"] == 2.5
            continue
        told = found["activations"].filter(
            *(pl.col(name) == row[name] for name in ("feature", "control", "neuron"))
        )
        mean = (told["mean"] * told["n_tokens"]).sum() / told["n_tokens"].sum()
        assert row["value"] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"datasets": ["poems"]}, ["interventions.context_neurons.datasets", "'poems'"]),
        ({"datasets": ["text_features"]}, ["'text_features' do not have one class each"]),
        (
            {"datasets": ["code_language"], "site": "resid_post"},
            ["interventions.context_neurons.site", "'resid_post'", "mlp_post"],
        ),
        ({"site": "attn_pattern"}, ["interventions.context_neurons.site", "no single units"]),
        ({"value": 1.0}, ["only with kind pinned"]),
    ],
)
def test_a_mistake_in_the_config_is_named(section, expected):
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    values = copy.deepcopy(values) | {"interventions": {"context_neurons": section}}
    with pytest.raises(ConfigError) as error:
        load_config(values, ROOT)
    for text in expected:
        assert text in str(error.value)
