"""Space and time neurons: planted readers and writers, and what chance makes of a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import transformers
import zarr
from scipy import integrate, stats

from artneuro.core.artifacts import read_json, read_table, write_json, write_table
from artneuro.core.errors import DataError
from artneuro.spacetime.config import NeuronsConfig
from artneuro.spacetime.neurons import find_entity_neurons
from artneuro.spacetime.neurons_choose import choose_neurons, draw_controls
from artneuro.spacetime.neurons_cosines import (
    expected_largest_cosine,
    largest_cosine_tail,
    shuffled_directions,
)
from artneuro.spacetime.neurons_projections import correlations_by_type, rank_correlations
from artneuro.spacetime.ridge import RidgeDesign
from tests.probing_example import write_store
from tests.tiny_models import VOCAB, make_model, write_info

WIDTH, LAYERS, N = 32, 3, 240
# Block, neuron and kind of what is planted along the direction of "latitude" at each layer.
READER, WRITER = (2, 7), (0, 5)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def world():
    """Residual streams that hold two targets along known directions, (layer, row, unit)."""
    random = np.random.default_rng(0)
    targets = random.uniform(-60, 60, (N, 2))
    # The first of the basis is the vector of ones, along which a layer norm reads nothing.
    basis = [
        np.linalg.qr(np.c_[np.ones(WIDTH), random.normal(size=(WIDTH, 3))])[0]
        for _ in range(LAYERS)
    ]
    directions = np.stack([b[:, 1:3] for b in basis])
    along = np.einsum("luk,rk->lru", directions, targets / 20)
    # What all entities share keeps their norms alike.
    shared = np.stack([20 * b[:, 3] for b in basis])[:, None]
    residual = 0.1 * random.normal(size=(LAYERS, N, WIDTH)) + along + shared
    return targets, directions, residual.astype(np.float32)


def write_world(folder: Path, world, architecture: str) -> dict[str, Path]:
    targets, directions, residual = world
    make_model(architecture, folder / "weights", tokenizer=False)
    plant(folder / "weights", architecture, directions)
    write_info(folder / "weights", folder / "model.json")
    write_store(folder / "activations.zarr", residual, "resid_post")
    index = pl.Series("sequence", np.arange(N), dtype=pl.Int32)
    # Names of one or two tokens behind the document token.
    end = pl.Series("end", 2 + np.arange(N) % 2, dtype=pl.Int32)
    rows = pl.DataFrame([index.alias("row"), index, (end - 1).alias("start"), end])
    write_table(rows, folder / "rows.parquet")
    ids = np.random.default_rng(1).integers(1, VOCAB, (N, 3))
    ids[:, 0] = 0
    tokens = pl.Series("tokens", ids, dtype=pl.Array(pl.Int32, 3))
    write_table(pl.DataFrame([tokens]), folder / "tokens.parquet")
    write_table(pl.DataFrame([index, index.alias("entity")]), folder / "sequences.parquet")
    entities = pl.DataFrame(
        {
            "entity": index,
            "name": [f"place {i}" for i in range(N)],
            "entity_type": np.where(np.arange(N) % 3 == 0, "lake", "city"),
            "latitude": targets[:, 0],
            "longitude": targets[:, 1],
            "time": pl.Series([None] * N, dtype=pl.Float64),
            "split": np.where(np.arange(N) % 4 == 0, "test", "train"),
        }
    )
    write_table(entities, folder / "entities.parquet")
    group = zarr.create_group(store=str(folder / "directions.zarr"))
    arrays = {
        "coef": directions,
        "intercept": np.zeros((LAYERS, 2)),
        "mean": residual.mean(axis=1),
        "scale": residual.std(axis=1),
    }
    for name, values in arrays.items():
        group.create_array(name, data=values)
    group.attrs.update(
        target_names=["latitude", "longitude"], best_layer=1, penalties=[6.3] * LAYERS
    )
    return {
        name: folder / file
        for name, file in (
            ("weights", "weights"), ("model_info", "model.json"),
            ("activations", "activations.zarr"), ("rows", "rows.parquet"),
            ("tokens", "tokens.parquet"),
            ("sequences", "sequences.parquet"), ("entities", "entities.parquet"),
            ("directions", "directions.zarr"),
        )
    }  # fmt: skip


def plant(folder: Path, architecture: str, directions: np.ndarray) -> None:
    """Let one neuron read latitude, through the gain of its norm, and one write against it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    blocks = model.transformer.h if architecture == "gpt2" else model.model.layers
    layer, neuron = READER
    reads = blocks[layer]
    gain = (reads.ln_2 if architecture == "gpt2" else reads.post_attention_layernorm).weight
    vector = gain.new_tensor(directions[layer - 1, :, 0]) / gain.detach()
    if architecture == "gpt2":
        reads.mlp.c_fc.weight.data[:, neuron] = vector
    else:
        reads.mlp.gate_proj.weight.data[neuron] = 3 * vector
    layer, neuron = WRITER
    written = -gain.new_tensor(directions[layer, :, 0])
    if architecture == "gpt2":
        blocks[layer].mlp.c_proj.weight.data[neuron] = written
    else:
        blocks[layer].mlp.down_proj.weight.data[:, neuron] = written
    model.save_pretrained(folder)


def find(folder: Path, paths: dict[str, Path], **options):
    facts = find_entity_neurons(
        NeuronsConfig(top=8), **paths, neurons=folder / "neurons.parquet",
        projections=folder / "neuron_projections.parquet", model="tiny", table="world",
        **options,
    )  # fmt: skip
    return (
        facts,
        read_table(folder / "neurons.parquet"),
        read_table(folder / "neuron_projections.parquet"),
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_planted_neurons_are_found(tmp_path, world, architecture):
    paths = write_world(tmp_path, world, architecture)
    facts, neurons, projections = find(tmp_path, paths)
    assert facts.n_train == 180
    assert facts.n_test == 60
    kinds = ["gate", "input", "output"] if architecture == "llama" else ["input", "output"]
    assert neurons["weights"].unique().sort().to_list() == kinds
    assert neurons.height == 8 * 2 * len(kinds)
    first = neurons.filter(rank=1, target="latitude")
    reader = first.filter(weights=kinds[0]).row(0, named=True)
    writer = first.filter(weights="output").row(0, named=True)
    assert (reader["layer"], reader["neuron"]) == READER
    assert reader["probe_layer"] == 1
    assert (writer["layer"], writer["neuron"]) == WRITER
    assert writer["probe_layer"] == 0
    assert reader["cosine"] == pytest.approx(1, abs=1e-5)
    assert writer["cosine"] == pytest.approx(-1, abs=1e-5)
    # Blocks 1 and 2 read probed layers, all three write to one.
    width = 48 if architecture == "llama" else 128
    assert reader["n_searched"] == 2 * width
    assert writer["n_searched"] == 3 * width
    assert 0.3 < reader["cosine_random"] < 0.8
    assert reader["cosine_p"] < 1e-6
    assert 0.3 < reader["cosine_shuffled"] < 0.95
    assert reader["spearman"] > 0.95
    assert writer["spearman"] < -0.95
    assert reader["types"] == ["city", "lake"]
    assert reader["n_by_type"] == [40, 20]
    assert min(reader["spearman_by_type"]) > 0.9
    # Activations of this world vary most along the targets, so that any neuron tells something.
    assert reader["spearman_controls_median"] < 0.8 < abs(reader["spearman"])
    # Names of random tokens tell no activation of where they are.
    assert neurons["activation_spearman"].abs().max() < 0.6
    assert neurons["activation_std"].min() > 0
    # The projections are those that the correlations are of.
    of_reader = projections.filter(
        target="latitude", weights=kinds[0], layer=READER[0], neuron=READER[1]
    )
    assert of_reader["entity"].to_list() == list(range(N))
    test = of_reader.filter(split="test")
    peer = stats.spearmanr(test["value"], test["truth"]).statistic
    assert reader["spearman"] == pytest.approx(peer)
    ranked = neurons.filter(target="longitude", weights="output").sort("rank")
    assert ranked["cosine"].abs().is_sorted(descending=True)


def test_layers_that_are_not_probed_are_passed_over(tmp_path, world):
    paths = write_world(tmp_path, world, "llama")
    # The same arrays, said to be of layer 1 alone: block 2 reads it and block 1 writes to it.
    write_store(tmp_path / "activations.zarr", world[2][1:2], "resid_post")
    metadata = read_json(tmp_path / "activations.zarr" / "zarr.json")
    metadata["attributes"]["layers"] = [1]
    write_json(metadata, tmp_path / "activations.zarr" / "zarr.json")
    group = zarr.open_group(str(paths["directions"]))
    for name in ("coef", "mean", "scale"):
        group.create_array(name, data=np.asarray(group[name])[1:2], overwrite=True)
    group.attrs["penalties"] = [6.3]
    _, neurons, _ = find(tmp_path, paths)
    assert set(neurons.select("weights", "layer").unique().rows()) == {
        ("gate", 2), ("input", 2), ("output", 1)
    }  # fmt: skip
    assert set(neurons["probe_layer"]) == {1}


def test_same_seed_same_tables(tmp_path, world):
    paths = write_world(tmp_path, world, "llama")
    find(tmp_path, paths, seed=3)
    first = (tmp_path / "neurons.parquet").read_bytes()
    find(tmp_path, paths, seed=3)
    assert (tmp_path / "neurons.parquet").read_bytes() == first


def test_probes_of_other_layers_are_refused(tmp_path, world):
    paths = write_world(tmp_path, world, "llama")
    write_store(tmp_path / "activations.zarr", world[2][:2], "resid_post")
    with pytest.raises(DataError, match="3 layers, the activations of 2"):
        find(tmp_path, paths)


def test_largest_cosine_has_its_closed_forms():
    # In three dimensions a cosine is uniform.
    for n in (1, 5, 1000):
        assert expected_largest_cosine(n, 3) == pytest.approx(n / (n + 1), rel=1e-9)
        tail = largest_cosine_tail(np.array([0.0, 0.3, 0.9, 1.0]), n, 3)
        np.testing.assert_allclose(tail, 1 - np.array([0.0, 0.3, 0.9, 1.0]) ** n, atol=1e-12)
    # In two, the angle is.
    assert expected_largest_cosine(1, 2) == pytest.approx(2 / np.pi)
    # The mean absolute cosine in many is that of a normal variable.
    assert expected_largest_cosine(1, 5000) == pytest.approx(np.sqrt(2 / np.pi / 5000), rel=1e-3)


def test_largest_cosine_against_draws():
    random = np.random.default_rng(0)
    n, d, repeats = 300, 40, 400
    drawn = random.normal(size=(repeats, n, d))
    largest = np.abs(drawn[..., 0] / np.linalg.norm(drawn, axis=2)).max(axis=1)
    error = largest.std() / np.sqrt(repeats)
    assert abs(expected_largest_cosine(n, d) - largest.mean()) < 4 * error
    level = np.quantile(largest, 0.7)
    assert largest_cosine_tail(np.array([level]), n, d)[0] == pytest.approx(0.3, abs=0.08)
    # A search among as many neurons as a large model has: cosines are then normal.
    n, d = 2_000_000, 4096
    normal, _ = integrate.quad(lambda x: 1 - (2 * stats.norm.cdf(x) - 1) ** n, 0, 12, limit=200)
    assert expected_largest_cosine(n, d) == pytest.approx(normal / np.sqrt(d), rel=5e-3)


@pytest.mark.parametrize("shape", [(60, 8), (9, 25)])
def test_shuffled_probes_are_ridges(shape):
    random = np.random.default_rng(0)
    features = random.normal(size=shape) @ random.normal(size=(shape[1], shape[1])) + 5
    target = random.normal(size=shape[0])
    mean, scale = features.mean(axis=0), features.std(axis=0)
    found = shuffled_directions(features, target, mean, scale, 2.5, np.random.default_rng(4), 3)
    again = np.random.default_rng(4)
    design = RidgeDesign(features)
    for direction in found:
        coef, _ = design.solve(again.permutation(target - target.mean())[:, None], 2.5)
        np.testing.assert_allclose(direction, coef[:, 0], rtol=1e-6, atol=1e-9)


def test_rank_correlations_are_scipys():
    random = np.random.default_rng(0)
    values = np.round(random.normal(size=(50, 4)), 1)
    values[:, 3] = 2.0
    truth = random.integers(0, 9, 50).astype(float)
    found = rank_correlations(values, truth)
    expected = [stats.spearmanr(values[:, i], truth).statistic for i in range(3)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    assert np.isnan(found[3])
    assert np.isnan(rank_correlations(values[:1], truth[:1])).all()
    types = np.array(["a"] * 12 + [None] * 3 + ["c"] * 35, dtype=object)
    assert correlations_by_type(values, truth, types)[:2] == (["a", "c"], [12, 35])
    types[12:15] = "b"
    names, counts, by_type = correlations_by_type(values, truth, types)
    assert names == ["a", "c"]
    assert counts == [12, 35]
    np.testing.assert_allclose(by_type[1, :3], rank_correlations(values[15:], truth[15:])[:3])


def test_neurons_are_chosen_by_the_weaker_of_two_correlations():
    table = pl.DataFrame(
        {
            "target": ["latitude", "longitude", "latitude", "longitude"],
            "layer": [1, 1, 2, 2],
            "neuron": [4, 5, 6, 6],
            "spearman_train": [0.9, -0.6, 0.6, 0.8],
            "activation_spearman": [0.9, 0.1, 0.2, 0.3],
            "activation_spearman_train": [0.1, -0.7, 0.5, None],
        }
    )
    chosen = choose_neurons(table, 2)
    assert chosen.rows() == [("longitude", 1, 5, 0.1), ("latitude", 2, 6, 0.2)]
    controls = draw_controls(1, 8, {(1, 5), (2, 0)}, 9, seed=0)
    assert sorted(controls) == [(1, u) for u in (0, 1, 2, 3, 4, 6, 7)]
    assert len(draw_controls(1, 8, set(), 3, seed=0)) == 3
