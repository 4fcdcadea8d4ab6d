"""What weights say: norms and angles against plain Hugging Face modules, and the toy model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import minimize

from artneuro.core.artifacts import read_table
from artneuro.core.errors import ModelError
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_model
from artneuro.weights.neurons import summarise_weights
from artneuro.weights.reading import iterate_mlp_weights
from artneuro.weights.toy_model import toy_model
from tests.tiny_models import ARCHITECTURES, make_model, write_info


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    make_model(request.param, path / "weights", seed=3, tokenizer=False)
    write_info(path / "weights", path / "model.json")
    return path


def mlps(folder: Path) -> list[torch.nn.Module]:
    model = load_model(folder / "weights", device="cpu").model
    return [block.mlp for block in (model.h if hasattr(model, "h") else model.layers)]


def neuron_by_hand(mlp: torch.nn.Module, neuron: int) -> dict[str, torch.Tensor | None]:
    """Weights of one neuron by the names of its Hugging Face module."""
    if hasattr(mlp, "gate_proj"):
        return {
            "in": mlp.gate_proj.weight[neuron], "up": mlp.up_proj.weight[neuron], "bias": None,
            "out": mlp.down_proj.weight[:, neuron],
        }  # fmt: skip
    if hasattr(mlp, "c_fc"):
        return {
            "in": mlp.c_fc.weight[:, neuron], "up": None, "bias": mlp.c_fc.bias[neuron],
            "out": mlp.c_proj.weight[neuron],
        }  # fmt: skip
    return {
        "in": mlp.dense_h_to_4h.weight[neuron], "up": None,
        "bias": mlp.dense_h_to_4h.bias[neuron], "out": mlp.dense_4h_to_h.weight[:, neuron],
    }  # fmt: skip


def test_statistics_are_those_of_the_modules(folder: Path, tmp_path: Path):
    output = tmp_path / "neurons.parquet"
    summarise_weights(folder / "weights", folder / "model.json", output, model="tiny")
    table = read_table(output)
    modules = mlps(folder)
    shape = read_model_info(folder / "model.json").shape
    assert table.select("layer", "neuron").rows() == [
        (layer, neuron) for layer in range(len(modules)) for neuron in range(shape.d_mlp)
    ]
    cosine = torch.nn.functional.cosine_similarity
    for row in table.sample(25, seed=0).iter_rows(named=True):
        w = neuron_by_hand(modules[row["layer"]], row["neuron"])
        expected = {
            "norm_in": w["in"].norm(), "norm_out": w["out"].norm(),
            "norm_up": None if w["up"] is None else w["up"].norm(),
            "bias_in": w["bias"],
            "cos_in_out": cosine(w["in"], w["out"], dim=0),
            "cos_up_out": None if w["up"] is None else cosine(w["up"], w["out"], dim=0),
            "fingerprint": None if w["bias"] is None else w["in"].norm() * w["bias"],
        }  # fmt: skip
        for name, value in expected.items():
            found = row[name]
            assert (found is None) == (value is None), name
            assert value is None or found == pytest.approx(float(value), rel=1e-5, abs=1e-6), name


def test_blocks_of_neurons_make_the_whole_layer(folder: Path):
    shape = read_model_info(folder / "model.json").shape
    whole = list(iterate_mlp_weights(folder / "weights", shape))
    parts = list(iterate_mlp_weights(folder / "weights", shape, block=7))
    assert len(whole) == shape.n_layers
    for one in whole:
        own = [part for part in parts if part.layer == one.layer]
        for name in ("w_in", "w_up", "bias_in", "w_out"):
            expected = getattr(one, name)
            assert (getattr(own[0], name) is None) == (expected is None)
            if expected is not None:
                together = np.concatenate([getattr(part, name) for part in own])
                np.testing.assert_array_equal(together, expected)


def test_a_dead_neuron_has_no_angle_and_half_precision_is_read(tmp_path: Path):
    weights = make_model("llama", tmp_path / "weights", tokenizer=False)
    write_info(weights, tmp_path / "model.json")
    tensors = load_file(weights / "model.safetensors")
    tensors = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    tensors["model.layers.1.mlp.gate_proj.weight"][5] = 0
    save_file(tensors, weights / "model.safetensors", metadata={"format": "pt"})
    summarise_weights(weights, tmp_path / "model.json", tmp_path / "n.parquet", model="m")
    table = read_table(tmp_path / "n.parquet")
    dead = table.filter((pl.col("layer") == 1) & (pl.col("neuron") == 5)).row(0, named=True)
    assert dead["norm_in"] == 0
    assert dead["cos_in_out"] is None
    assert dead["cos_up_out"] is not None
    assert table["cos_in_out"].null_count() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.layers.2.mlp.down_proj.weight"), "has no weight 'layers.2.mlp.d"),
        (
            lambda t: t.update({"model.layers.0.mlp.up_proj.weight": torch.ones(3, 32)}),
            r"shape \(3, 32\), not \(48, 32\)",
        ),
        (
            lambda t: t["model.layers.1.mlp.up_proj.weight"][7].fill_(torch.nan),
            "not finite, the first is neuron 7 of layer 1",
        ),
    ],
)
def test_missing_misshapen_and_broken_weights_are_named(tmp_path: Path, change, message: str):
    weights = make_model("llama", tmp_path / "weights", tokenizer=False)
    write_info(weights, tmp_path / "model.json")
    tensors = load_file(weights / "model.safetensors")
    change(tensors)
    save_file(tensors, weights / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=message):
        summarise_weights(weights, tmp_path / "model.json", tmp_path / "n.parquet", model="m")
    assert not (tmp_path / "n.parquet").exists()


def test_a_damaged_file_is_named(tmp_path: Path):
    weights = make_model("gpt2", tmp_path / "weights", tokenizer=False)
    write_info(weights, tmp_path / "model.json")
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        summarise_weights(weights, tmp_path / "model.json", tmp_path / "n.parquet", model="m")


# --- the toy model -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9])
def test_the_toy_model_recovers_every_feature(n: int):
    toy = toy_model(n)
    angles = 2 * np.pi * np.arange(n) / n
    w = toy.norm * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(np.maximum(w @ w.T + toy.bias, 0), np.eye(n), atol=1e-12)


@pytest.mark.parametrize("n", [3, 5, 6, 7])
def test_no_smaller_weights_recover_them(n: int):
    # Any vectors and biases that do: the smallest are found numerically, from random starts.
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]

    def slack(x: np.ndarray) -> np.ndarray:
        w, b = x[: 2 * n].reshape(n, 2), x[2 * n :]
        gram = w @ w.T
        return np.array([-gram[i, j] - b[i] for i, j in pairs])

    def diagonal(x: np.ndarray) -> np.ndarray:
        w, b = x[: 2 * n].reshape(n, 2), x[2 * n :]
        return (w**2).sum(axis=1) + b - 1

    best = None
    for seed in range(3):
        generator = np.random.default_rng(seed)
        angles = 2 * np.pi * np.arange(n) / n + 0.15 * generator.standard_normal(n)
        radius = 1 + generator.random(n)
        start = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
        found = minimize(
            lambda x: (x[: 2 * n] ** 2).sum(),
            np.concatenate([start.ravel(), 1 - radius**2]),
            constraints=[
                {"type": "ineq", "fun": slack},
                {"type": "eq", "fun": diagonal},
            ],
            options={"maxiter": 500, "ftol": 1e-12},
        )
        if found.success and (best is None or found.fun < best.fun):
            best = found
    assert best is not None
    norms = np.linalg.norm(best.x[: 2 * n].reshape(n, 2), axis=1)
    toy = toy_model(n)
    np.testing.assert_allclose(norms, toy.norm[0], atol=1e-4)
    np.testing.assert_allclose(best.x[2 * n :], toy.bias[0], atol=1e-4)
    np.testing.assert_allclose(norms * best.x[2 * n :], toy.fingerprint[0], atol=5e-4)


def test_the_fingerprint_is_the_closed_form_and_falls():
    n = np.arange(3, 4000)
    t = 2 * np.pi / n
    found = toy_model(n).fingerprint
    np.testing.assert_allclose(found, -np.cos(t) / (1 - np.cos(t)) ** 1.5, rtol=1e-6, atol=1e-12)
    assert np.all(np.diff(found) < 0)
    assert found[n == 4] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="two features"):
        toy_model(1)
