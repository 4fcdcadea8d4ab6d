"""Effects of neurons on the vocabulary: against scipy, brute force and planted neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from artneuro.core.artifacts import read_table
from artneuro.core.errors import ModelError
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.models.info import read_model_info
from artneuro.weights import vocabulary_effects
from artneuro.weights.config import WeightsConfig
from artneuro.weights.effects import measure_effects, read_outputs
from artneuro.weights.neighbours import Antipodes, nearest_rows, unit_rows
from artneuro.weights.preprocessing import iterate_processed_mlp, read_processed_unembedding
from artneuro.weights.roles import roles_of
from artneuro.weights.token_properties import NAMES, explained_share, property_table
from artneuro.weights.vocabulary_effects import effect_statistics
from tests.tiny_models import make_model, write_info


@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_equal_scipy(threads, monkeypatch):
    monkeypatch.setattr(vocabulary_effects, "TOKENS", 700)
    monkeypatch.setattr(vocabulary_effects, "NEURONS", 32)
    rng = np.random.default_rng(0)
    # Heavy tails, and a mean that is large beside the spread.
    vocabulary = (rng.standard_t(4, (3001, 12)) + 20).astype(np.float32)
    directions = rng.normal(size=(75, 12))
    directions[3] = 0
    classes = rng.random((3001, 4)) < [0.5, 0.1, 0, 1]
    found = effect_statistics(directions, torch.from_numpy(vocabulary), classes, 6, threads)
    effects = directions @ vocabulary.T.astype(np.float64)
    alive = np.arange(75) != 3
    np.testing.assert_allclose(found.mean, effects.mean(1), atol=1e-4)
    np.testing.assert_allclose(found.variance, effects.var(1), rtol=1e-5, atol=1e-12)
    for ours, theirs in (
        (found.skew, stats.skew(effects[alive], axis=1)),
        (found.kurtosis, stats.kurtosis(effects[alive], axis=1, fisher=False)),
    ):
        np.testing.assert_allclose(ours[alive], theirs, rtol=1e-4, atol=1e-4)
        assert np.isnan(ours[3])
    order = np.argsort(effects, axis=1)
    np.testing.assert_array_equal(found.bottom[alive], order[alive, :6])
    np.testing.assert_array_equal(found.top[alive], order[alive, ::-1][:, :6])
    ends = np.take_along_axis(effects, found.bottom, axis=1)
    np.testing.assert_allclose(found.bottom_values, ends, rtol=1e-4, atol=1e-4)
    for j in (0, 1, 3):
        inside = effects[:, classes[:, j]].mean(1)
        np.testing.assert_allclose(found.class_means[:, j], inside, atol=1e-4)
    assert np.isnan(found.class_means[:, 2]).all()


def test_whole_block_operations_give_the_same():
    rng = np.random.default_rng(1)
    effects = rng.standard_t(5, (9, 400)).astype(np.float32)
    mean = effects.mean(axis=1, dtype=np.float64)
    kernel, blocks = (vocabulary_effects._Found(9, 5, 0) for _ in range(2))
    for start in (0, 150, 300):
        part = np.ascontiguousarray(effects[:, start : start + 150])
        vocabulary_effects._reduce_rows(
            part, mean, start, kernel.powers, kernel.values, kernel.tokens
        )
        vocabulary_effects._reduce_on_gpu(torch.from_numpy(part), mean, start, blocks)
    np.testing.assert_allclose(kernel.powers, blocks.powers, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(kernel.tokens, blocks.tokens)
    np.testing.assert_array_equal(kernel.values, blocks.values)


def test_explained_share_is_the_reduction_of_variance():
    rng = np.random.default_rng(2)
    values, labels = rng.normal(size=(5, 60)), rng.random((60, 3)) < [0.2, 0.0, 1.0]
    values[0] += 3 * labels[:, 0]
    inside = np.array([[v[y].mean() if y.any() else np.nan for y in labels.T] for v in values])
    found = explained_share(inside, labels.sum(0), 60, values.mean(1), values.var(1))
    for value, row in zip(values, found, strict=True):
        y = labels[:, 0]
        within = y.mean() * value[y].var() + (1 - y.mean()) * value[~y].var()
        assert abs(row[0] - (1 - within / value.var())) < 1e-12
        assert row[1] == row[2] == 0


def test_properties_of_tokens():
    table = property_table([" 1984", "2051", " Years", "(", "\n", "Ünder"])
    has = {name: table[:, i].tolist() for i, name in enumerate(NAMES)}
    assert has["years"] == [True, False, False, False, False, False]
    assert has["parentheses"] == [False, False, False, True, False, False]
    assert has["starts with y"] == [False, False, True, False, False, False]
    assert has["ends with -s"] == [False, False, True, False, False, False]
    assert has["white space"] == [False, False, False, False, True, False]
    assert has["leading capital"] == [False, False, True, False, False, True]


def test_roles():
    role = roles_of(
        WeightsConfig(reference_width=None),
        32,
        np.array([0.001, 0.001, 0.01, 0.004, 0.0]),
        np.array([2.0, -2.0, 0.0, 0.0, np.nan]),
        np.array([11.0, 11.0, 3.0, 3.0, np.nan]),
    )
    assert role == ["prediction", "suppression", "partition", "none", "none"]
    # A narrow model's cosines are larger by themselves.
    assert roles_of(WeightsConfig(), 256, *np.array([[0.019], [0.0], [3.0]])) == ["none"]
    assert roles_of(WeightsConfig(), 256, *np.array([[0.021], [0.0], [3.0]])) == ["partition"]


def test_neighbours_equal_brute_force(monkeypatch):
    monkeypatch.setattr("artneuro.weights.neighbours.BLOCK", 7)
    rng = np.random.default_rng(3)
    layers = [unit_rows(rng.normal(size=(20, 5))) for _ in range(4)]
    layers[2][4] = -layers[1][9]
    cosine, index = nearest_rows(layers[0])
    product = layers[0] @ layers[0].T - 9 * np.eye(20)
    np.testing.assert_array_equal(index, product.argmax(1))
    np.testing.assert_allclose(cosine, product.max(1), atol=1e-12)
    antipodes = Antipodes(1)
    for layer, unit in enumerate(layers):
        antipodes.add(layer, unit)
    for layer, unit in enumerate(layers):
        near = [k for k in range(4) if abs(k - layer) <= 1]
        product = unit @ np.concatenate([layers[k] for k in near]).T
        np.testing.assert_allclose(antipodes.cosine[layer], product.min(1), atol=1e-12)
        places = np.searchsorted(near, antipodes.layer[layer]) * 20 + antipodes.neuron[layer]
        np.testing.assert_array_equal(places, product.argmin(1))
    assert (antipodes.layer[1][9], antipodes.neuron[1][9]) == (2, 4)
    assert antipodes.cosine[1][9] == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_table_equals_brute_force(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m")
    write_info(folder, tmp_path / "model.json")
    config = WeightsConfig(kurtosis=3.2, partition_variance=0.05, examples=2, tokens=4)
    output, examples = tmp_path / "effects.parquet", tmp_path / "examples.parquet"
    measure_effects(
        config, folder, tmp_path / "model.json", folder, output, examples, model="m", device="cpu"
    )
    table, shape = read_table(output), read_model_info(tmp_path / "model.json").shape
    assert table.height == 3 * shape.d_mlp
    tokenizer = load_tokenizer(folder)
    strings = tokenizer.strings()
    whole = tokenizer.whole(strings)
    text = [i for i, s in enumerate(strings) if s and whole[i] and i not in tokenizer.special]
    unembedding = read_processed_unembedding(folder, shape).weight[text]
    parts = list(iterate_processed_mlp(folder, shape))
    w_out, w_in = (np.concatenate([getattr(p, n) for p in parts]) for n in ("w_out", "w_in"))
    effects = unit_rows(w_out) @ unit_rows(unembedding).T
    wanted = {
        "effect_variance": effects.var(1),
        "effect_skew": stats.skew(effects, axis=1),
        "effect_kurtosis": stats.kurtosis(effects, axis=1, fisher=False),
        "logit_variance": (w_out @ unembedding.T).var(1),
        "norm_out": np.linalg.norm(w_out, axis=1),
        "cos_in_out": np.einsum("ij,ij->i", unit_rows(w_in), unit_rows(w_out)),
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(table[name].to_numpy(), values, rtol=1e-3, atol=1e-5)
    squares = sum(
        np.square(np.concatenate([getattr(p, n) for p in parts])).sum(1)
        for n in ("w_in", "w_up", "w_out")
        if getattr(parts[0], n) is not None
    )
    np.testing.assert_allclose(table["weight_penalty"], squares, rtol=1e-12)
    if architecture == "gpt2":
        np.testing.assert_allclose(
            table["input_bias"], np.concatenate([p.bias_in for p in parts]), rtol=1e-12
        )
    else:
        assert table["input_bias"].null_count() == table.height
    order = np.argsort(effects, axis=1)
    ids = np.array(text)
    np.testing.assert_array_equal(np.array(table["bottom_tokens"].to_list()), ids[order[:, :4]])
    assert table["top_texts"][5].to_list() == [strings[text[i]] for i in order[5, ::-1][:4]]
    drawn = read_table(examples)
    assert set(drawn["role"]) <= {"prediction", "suppression", "partition"}
    assert drawn.group_by("role").len()["len"].max() <= 2
    inside = property_table([strings[i] for i in text])
    for row in drawn.iter_rows(named=True):
        assert sum(row["counts_in"]) == inside[:, NAMES.index(row["property"])].sum()
        assert sum(row["counts_in"]) + sum(row["counts_out"]) == len(text)
    chosen = drawn.select("layer", "neuron").rows()
    np.testing.assert_allclose(
        read_outputs(folder, shape, chosen), w_out[[a * shape.d_mlp + n for a, n in chosen]]
    )


def test_planted_roles_are_told(tmp_path):
    """Neurons that write along a few tokens' own directions, or on a side of the vocabulary."""
    import transformers

    config = transformers.GPT2Config(
        n_embd=256, n_layer=1, n_head=2, n_positions=16, vocab_size=512, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    rng = np.random.default_rng(0)
    unembedding = rng.normal(size=(512, 256))
    axis = rng.normal(size=256)
    unembedding += 4 * np.outer(np.where(np.arange(512) % 2, 1, -1), axis / np.linalg.norm(axis))
    out = rng.normal(size=(1024, 256))
    out[7] = unembedding[300] + unembedding[301]
    out[8] = -unembedding[310] - unembedding[311]
    out[9] = axis
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.from_numpy(unembedding))
        model.transformer.h[0].mlp.c_proj.weight.copy_(torch.from_numpy(out))
    folder = tmp_path / "m"
    model.save_pretrained(folder)
    from tests.tiny import make_tokenizer

    make_tokenizer(folder, n_ids=512)
    write_info(folder, tmp_path / "model.json")
    output, examples = tmp_path / "effects.parquet", tmp_path / "examples.parquet"
    measure_effects(
        WeightsConfig(), folder, tmp_path / "model.json", folder, output, examples, model="m",
        device="cpu", threads=2,
    )  # fmt: skip
    table = read_table(output)
    roles = {n: r for n, r in table.select("neuron", "role").iter_rows() if r != "none"}
    assert roles == {7: "prediction", 8: "suppression", 9: "partition"}
    assert set(table["top_tokens"][7].to_list()[:2]) == {300, 301}
    assert set(table["bottom_tokens"][8].to_list()[:2]) == {310, 311}


def test_weights_that_are_not_finite_are_refused(tmp_path):
    import safetensors.torch

    folder = make_model("gpt2", tmp_path / "m")
    write_info(folder, tmp_path / "model.json")
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = next(n for n in tensors if n.endswith("h.1.mlp.c_proj.weight"))
    tensors[name][3, 4] = float("nan")
    safetensors.torch.save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match="layer 1"):
        measure_effects(
            WeightsConfig(), folder, tmp_path / "model.json", folder, tmp_path / "e.parquet",
            tmp_path / "x.parquet", model="m", device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "e.parquet").exists()
