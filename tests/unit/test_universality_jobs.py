"""Correlations of models over texts: jobs, merging, tables, planted neurons, damaged sums."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import polars as pl
import pytest
import torch
import transformers
import zarr

from artneuro.core.artifacts import read_json, write_json, write_table
from artneuro.core.errors import ConfigError, DataError, ModelError, StoreError
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.datasets.tokens import TokenDataset
from artneuro.models.hooks import capture
from artneuro.models.loading import load_model
from artneuro.universality import checkpoint
from artneuro.universality.accumulate import accumulate_correlations
from artneuro.universality.blocks import part_of, plan_blocks, wanted_tokens
from artneuro.universality.config import ComparisonConfig, GroupConfig, UniversalityConfig
from artneuro.universality.rotations import random_rotation
from artneuro.universality.summary import score_universality, write_matrix
from artneuro.universality.sums import GroupSums
from artneuro.universality.tiles import pairs_of, references_of, tiles_of
from tests.tiny_models import make_model, write_info
from tests.universality_example import sums_of_arrays

N_CTX, N_SEQUENCES, N_LAYERS, D = 24, 40, 3, 128
DEAD = (1, 5)
COMPARISON = ComparisonConfig(block_tokens=128, batch_tokens=100)
SCORING = {"rotations": 2, "top_k": 3, **COMPARISON.model_dump()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models a, b, c of one architecture, b with a dead neuron, and a text that they read."""
    root = tmp_path_factory.mktemp("group")
    for seed, name in enumerate("abc"):
        weights = make_model("gpt2", root / name, seed=seed)
        if name == "b":
            model = transformers.AutoModelForCausalLM.from_pretrained(weights)
            layer, neuron = DEAD
            with torch.no_grad():
                model.transformer.h[layer].mlp.c_fc.weight[:, neuron] = 0
            model.save_pretrained(weights)
        write_info(weights, root / f"{name}.json")
    tokenizer = load_tokenizer(root / "a")
    breaks = [i for i, text in enumerate(tokenizer.strings()) if text and not text.strip("\r\n")]
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, tokenizer.n_ids, (N_SEQUENCES, N_CTX)).astype(np.int32)
    tokens[:, 0] = tokenizer.document_token
    tokens[::3, 7] = breaks[0]
    n_tokens = rng.integers(2, N_CTX + 1, N_SEQUENCES).astype(np.int32)
    n_tokens[::2] = N_CTX
    tokens[np.arange(N_CTX) >= n_tokens[:, None]] = tokenizer.document_token
    arrays = {
        name: pl.Series(name, values, dtype=pl.Array(pl.Int32, N_CTX))
        for name, values in (("tokens", tokens), ("starts", tokens * 0), ("ends", tokens * 0))
    }
    write_table(pl.DataFrame(arrays), root / "tokens.parquet")
    sequences = pl.DataFrame({"n_tokens": n_tokens, "n_prefix": np.ones_like(n_tokens)})
    write_table(sequences, root / "sequences.parquet")
    return root


@pytest.fixture(scope="module")
def activations(folder):
    """Of every model on the wanted tokens, (token, neuron) float64, read in another way."""
    tokens, wanted = read_text(folder)
    found = {}
    for name in "abc":
        lm = load_model(folder / name, device="cpu")
        ids = torch.from_numpy(tokens.astype(np.int64))
        values = capture(lm.model, "gpt2", ids, ["mlp_post"], range(N_LAYERS))
        found[name] = np.concatenate(
            [values["mlp_post", i].numpy()[wanted] for i in range(N_LAYERS)], axis=1
        ).astype(np.float64)
    return found


def read_text(folder) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and which of them are to be compared, as the thesis says."""
    tokens = pl.read_parquet(folder / "tokens.parquet")["tokens"].to_numpy()
    n_tokens = pl.read_parquet(folder / "sequences.parquet")["n_tokens"].to_numpy()
    strings = load_tokenizer(folder / "a").strings()
    wanted = np.zeros(tokens.shape, dtype=bool)
    for i, row in enumerate(tokens):
        for j in range(1, n_tokens[i]):
            wanted[i, j] = strings[row[j]] not in ("\n", "\r", "\n\n", "\n\n\n", "\r\n")
    assert wanted.sum() < (n_tokens - 1).sum()
    return tokens, wanted


def group_of(**values) -> GroupConfig:
    return GroupConfig(reference="a", others=["b", "c"], text="prose", **values)


def run_job(folder, out, group, tile=0, part=0, config=COMPARISON, **options):
    """One job's sums."""
    members = tiles_of(group)[tile].members
    path = out / f"{tile}-{part}.zarr"
    accumulate_correlations(
        config,
        group,
        tile,
        part,
        weights=[folder / m for m in members],
        model_infos=[folder / f"{m}.json" for m in members],
        tokenizer=folder / "a",
        tokens=folder / "tokens.parquet",
        sequences=folder / "sequences.parquet",
        sums=path,
        name="seeds",
        work=out / f"{tile}-{part}.parts",
        device="cpu",
        threads=1,
        **options,
    )
    return path


def run_group(folder, out, config=COMPARISON, **values):
    """The sums of all jobs of a group."""
    group = group_of(**values)
    return [
        run_job(folder, out, group, tile.number, part, config)
        for tile in tiles_of(group)
        for part in range(group.token_parts)
    ]


def matrix(sums: GroupSums, left: str, right: str) -> np.ndarray:
    """Correlations of all neurons of two models."""
    rows = []
    for i in range(N_LAYERS):
        x = sums.units(left, i)
        row = []
        for j in range(N_LAYERS):
            y = sums.units(right, j)
            scale = torch.outer(x.deviations, y.deviations).sqrt()
            row.append(sums.products(left, right, i, j) / torch.where(scale > 0, scale, torch.inf))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)


def exact(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    found[np.ptp(x, axis=0) == 0] = 0
    found[:, np.ptp(y, axis=0) == 0] = 0
    return found


@pytest.mark.parametrize(
    "division",
    [
        {},
        {"token_parts": 3},
        {"tiles": (2, 3), "jobs_by": "pair"},
        {"tiles": (3, 1), "token_parts": 2, "pairs": "all"},
    ],
    ids=str,
)
def test_equal_to_corrcoef_on_real_activations_for_any_division(
    division, folder, activations, tmp_path
):
    sums = GroupSums(run_group(folder, tmp_path, **division))
    assert sums.n == len(activations["a"])
    pairs = [("a", "b"), ("a", "c")]
    if division.get("pairs") == "all":
        pairs = list(itertools.permutations("abc", 2))
    for left, right in pairs:
        wanted = exact(activations[left], activations[right])
        np.testing.assert_allclose(matrix(sums, left, right), wanted, atol=1e-5)
    for name in {right for _, right in pairs}:
        for layer in range(N_LAYERS):
            own = activations[name][:, layer * D : (layer + 1) * D]
            wanted = np.cov(own.T, bias=True) * len(own)
            np.testing.assert_allclose(sums.own_products(name, layer), wanted, atol=1e-3)


def test_the_same_division_gives_the_same_bits_in_any_order(folder, tmp_path):
    for run in ("first", "second"):
        run_group(folder, tmp_path / run, token_parts=2)
    paths = sorted((tmp_path / "first").glob("*.zarr"))
    first = GroupSums(paths)
    second = GroupSums([tmp_path / "second" / path.name for path in reversed(paths)])
    for i, j in itertools.product(range(N_LAYERS), repeat=2):
        assert torch.equal(first.products("a", "b", i, j), second.products("a", "b", i, j))
    assert torch.equal(first.units("b", 1).deviations, second.units("b", 1).deviations)


def test_a_killed_job_goes_on_and_gives_the_same_bits(folder, tmp_path, monkeypatch, caplog):
    whole = run_job(folder, tmp_path / "whole", group_of())
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    save = checkpoint.Checkpoint.save

    def killed(self, state):
        save(self, state)
        if int(state["n_blocks"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run_job(folder, tmp_path / "killed", group_of())
    assert not (tmp_path / "killed" / "0-0.zarr").exists()
    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)
    # A state of other code is not used.
    shutil.copytree(tmp_path / "killed", tmp_path / "changed")
    caplog.set_level("INFO", logger="artneuro")
    resumed = run_job(folder, tmp_path / "killed", group_of())
    assert "going on: 2 of" in caplog.text
    a, b = GroupSums([whole]), GroupSums([resumed])
    assert torch.equal(a.products("a", "c", 2, 0), b.products("a", "c", 2, 0))
    assert torch.equal(a.own_products("b", 1), b.own_products("b", 1))
    assert not list((tmp_path / "killed").glob("*.parts"))
    caplog.clear()
    run_job(folder, tmp_path / "changed", group_of(), code={"artneuro": "changed"})
    assert "going on" not in caplog.text


# --- tables --------------------------------------------------------------------------------------


def score(paths, out, group, **values):
    config = UniversalityConfig(**{**SCORING, **values})
    neurons, matches = out / "neurons.parquet", out / "matches.parquet"
    facts = score_universality(
        config, group, paths, neurons, matches, name="seeds", device="cpu", threads=1
    )
    return pl.read_parquet(neurons), pl.read_parquet(matches), facts


def test_tables_are_those_of_equation_3_3(folder, activations, tmp_path):
    paths = run_group(folder, tmp_path, tiles=(2, 2), token_parts=2)
    neurons, matches, facts = score(paths, tmp_path, group_of())
    largest, baseline = [], []
    for other in "bc":
        alike = exact(activations["a"], activations[other])
        largest.append(alike.max(axis=1))
        draws = []
        for draw in range(2):
            turned = [
                activations[other][:, i * D : (i + 1) * D]
                @ random_rotation("orthogonal", D, 0, other, i, draw).T
                for i in range(N_LAYERS)
            ]
            draws.append(exact(activations["a"], np.concatenate(turned, axis=1)).max(axis=1))
        baseline.append(np.mean(draws, axis=0))
        own = matches.filter(pl.col("other") == other)
        order = np.argsort(-alike, axis=1, kind="stable")[:, :3]
        best = own["correlation"].to_numpy().reshape(-1, 3)
        np.testing.assert_allclose(best, np.take_along_axis(alike, order, 1), atol=1e-5)
        place = (own["match_layer"] * D + own["match_neuron"]).to_numpy().reshape(-1, 3)
        # The same neuron, or one that is as much alike.
        at_place = np.take_along_axis(alike, place, 1)
        np.testing.assert_allclose(at_place, best, atol=1e-5)
        np.testing.assert_allclose(own["baseline_max"][::3], baseline[-1], atol=1e-5)
    assert own["rank"][:4].to_list() == [1, 2, 3, 1]
    wanted = {
        "mean_max_correlation": np.mean(largest, axis=0),
        "mean_max_baseline": np.mean(baseline, axis=0),
        "excess_correlation": np.mean(largest, axis=0) - np.mean(baseline, axis=0),
        "max_max": np.max(largest, axis=0),
        "min_max": np.min(largest, axis=0),
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(neurons[name], values, atol=1e-5, err_msg=name)
    universal = (neurons["excess_correlation"] > 0.5).to_list()
    assert neurons["is_universal"].to_list() == universal
    assert facts.n_universal == sum(universal)
    assert neurons["n_tokens"].unique().to_list() == [len(activations["a"])]
    assert neurons["layer"].to_list() == np.repeat(range(N_LAYERS), D).tolist()
    assert not neurons["is_constant"].any()


def test_every_model_as_reference_and_dead_neurons_are_flagged(folder, activations, tmp_path):
    group = group_of(pairs="all")
    neurons, matches, facts = score(run_group(folder, tmp_path, pairs="all"), tmp_path, group)
    assert neurons["model"].unique(maintain_order=True).to_list() == ["a", "b", "c"]
    dead = neurons.filter(pl.col("is_constant"))
    assert dead.select("model", "layer", "neuron").rows() == [("b", *DEAD)]
    assert facts.n_constant == 1
    assert dead["mean_max_correlation"].item() == 0
    assert dead["excess_correlation"].item() == 0
    assert not neurons.select(pl.col(pl.Float64).is_nan().any()).row(0).count(True)
    for name, others in (("b", "ac"), ("c", "ab")):
        own = neurons.filter(pl.col("model") == name)
        wanted = np.mean([exact(activations[name], activations[o]).max(1) for o in others], axis=0)
        np.testing.assert_allclose(own["mean_max_correlation"], wanted, atol=1e-5)
    assert set(matches.filter(pl.col("model") == "b")["other"]) == {"a", "c"}


def test_jaccard_indices_of_real_activations(folder, activations, tmp_path):
    config = ComparisonConfig(metric="jaccard", active_above=0.1, block_tokens=100)
    paths = run_group(folder, tmp_path, config, token_parts=2)
    neurons, matches, _ = score(paths, tmp_path, group_of(), **config.model_dump())
    active = {name: values > np.float32(0.1) for name, values in activations.items()}
    x, y = active["a"].astype(float), active["b"].astype(float)
    both = x.T @ y
    union = x.sum(axis=0)[:, None] + y.sum(axis=0) - both
    wanted = (both / np.maximum(union, 1)).max(axis=1)
    found = matches.filter((pl.col("other") == "b") & (pl.col("rank") == 1))["correlation"]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert neurons["excess_correlation"].null_count() == neurons.height
    assert neurons["is_universal"].null_count() == neurons.height


def test_all_correlations_are_stored_on_request(folder, activations, tmp_path):
    paths = run_group(folder, tmp_path, tiles=(1, 2))
    write_matrix(UniversalityConfig(**SCORING), group_of(), paths, tmp_path / "correlations.zarr")
    stored = zarr.open_group(tmp_path / "correlations.zarr", mode="r")
    assert sorted(stored.array_keys()) == ["a+b", "a+c"]
    assert stored["a+b"].shape == (N_LAYERS, D, N_LAYERS, D)
    found = np.asarray(stored["a+b"]).reshape(N_LAYERS * D, -1)
    np.testing.assert_allclose(found, exact(activations["a"], activations["b"]), atol=1e-5)


# --- planted neurons -----------------------------------------------------------------------------


def test_a_permuted_model_with_noise_has_every_neuron_matched(folder, tmp_path):
    """Neurons of each layer in another order and weights with a little noise: the same model."""
    rng = np.random.default_rng(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "a")
    orders = [rng.permutation(D) for _ in range(N_LAYERS)]
    with torch.no_grad():
        for block, order in zip(model.transformer.h, orders, strict=True):
            mlp, new = block.mlp, torch.from_numpy(order)
            mlp.c_fc.weight.copy_(mlp.c_fc.weight[:, new])
            mlp.c_fc.bias.copy_(mlp.c_fc.bias[new])
            mlp.c_proj.weight.copy_(mlp.c_proj.weight[new])
            for parameter in (mlp.c_fc.weight, mlp.c_proj.weight):
                noise = torch.from_numpy(rng.standard_normal(parameter.shape)).float()
                parameter += 0.02 * parameter.std() * noise
    for name in "bc":
        shutil.copytree(folder / "a", tmp_path / name)
        model.save_pretrained(tmp_path / name)
        write_info(tmp_path / name, tmp_path / f"{name}.json")
    for item in ("a", "a.json", "tokens.parquet", "sequences.parquet"):
        (tmp_path / item).symlink_to(folder / item)
    neurons, matches, _ = score(run_group(tmp_path, tmp_path / "out"), tmp_path, group_of())
    best = matches.filter((pl.col("rank") == 1) & (pl.col("other") == "b"))
    assert (best["layer"] == best["match_layer"]).all()
    for layer, order in enumerate(orders):
        own = best.filter(pl.col("layer") == layer)
        assert np.array_equal(order[own["match_neuron"].to_numpy()], np.arange(D))
    assert best["correlation"].min() > 0.95
    assert neurons["excess_correlation"].min() > 0.2
    np.testing.assert_allclose(neurons["max_max"], neurons["min_max"], atol=1e-5)


def test_shared_neurons_stand_out_and_the_excess_of_the_rest_is_about_zero(tmp_path):
    rng = np.random.default_rng(1)
    n, d, layers, shared = 20_000, 60, 2, 20
    a = rng.standard_normal((n, layers, d))
    arrays = {"a": a}
    orders = {}
    for name in "bc":
        own = rng.standard_normal((n, layers, d))
        orders[name] = np.stack([rng.permutation(d) for _ in range(layers)])
        for layer in range(layers):
            own[:, layer, orders[name][layer, :shared]] = (
                0.9 * a[:, layer, :shared] + np.sqrt(1 - 0.81) * own[:, layer, :shared]
            )
        arrays[name] = own
    path = sums_of_arrays(tmp_path / "0-0.zarr", arrays, group_of())
    neurons, matches, _ = score([path], tmp_path, group_of(), rotations=5)
    planted = (neurons["neuron"] < shared).to_numpy()
    for name in "bc":
        best = matches.filter((pl.col("rank") == 1) & (pl.col("other") == name))
        own = best.filter(pl.Series(planted))
        assert own["match_layer"].to_list() == own["layer"].to_list()
        wanted = [orders[name][layer, i] for layer, i in own.select("layer", "neuron").rows()]
        assert own["match_neuron"].to_list() == wanted
    excess = neurons["excess_correlation"].to_numpy()
    assert neurons["is_universal"].to_list() == planted.tolist()
    np.testing.assert_allclose(
        neurons["mean_max_correlation"].filter(pl.Series(planted)), 0.9, atol=0.01
    )
    # Among 120 neurons the largest chance correlation is about 2.5 / sqrt(n) = 0.018.
    assert abs(excess[~planted].mean()) < 0.002
    assert np.abs(excess[~planted]).max() < 0.02


# --- what does not fit ---------------------------------------------------------------------------


def test_damaged_or_mismatched_sums_are_told(folder, tmp_path):
    paths = run_group(folder, tmp_path / "good", token_parts=2)

    def copied(name):
        return [shutil.copytree(path, tmp_path / name / path.name) for path in paths]

    with pytest.raises(StoreError, match=r"missing for \(tile, part\) \[\(0, 1\)\]"):
        GroupSums(paths[:1])
    with pytest.raises(StoreError, match="twice"):
        GroupSums([*paths, paths[0]])
    with pytest.raises(StoreError, match=r"cannot be read \(FileNotFoundError"):
        GroupSums([paths[0], tmp_path / "nowhere.zarr"])

    wrong = copied("damaged")
    chunk = wrong[1] / "products" / "0" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"products/0(.|\n)*run snakemake again"):
        GroupSums(wrong).products("a", "b", 0, 0)

    wrong = copied("lost")
    (wrong[0] / "products" / "1" / "c" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="1 chunks of products/1 are missing"):
        GroupSums(wrong).products("a", "c", 0, 0)

    for key, value in (("text_sha256", "other"), ("metric", "cosine"), ("group", "others")):
        wrong = copied(f"other_{key}")
        facts = read_json(wrong[1] / "zarr.json")
        facts["attributes"][key] = value
        write_json(facts, wrong[1] / "zarr.json")
        with pytest.raises(StoreError, match=f"do not belong together: {key}"):
            GroupSums(wrong)
    wrong = copied("other_model")
    facts = read_json(wrong[1] / "zarr.json")
    facts["attributes"]["models"]["b"]["sha256"] = "other"
    write_json(facts, wrong[1] / "zarr.json")
    with pytest.raises(StoreError, match="the sha256 of b"):
        GroupSums(wrong)
    wrong = copied("half")
    facts = read_json(wrong[0] / "zarr.json")
    facts["attributes"]["complete"] = False
    write_json(facts, wrong[0] / "zarr.json")
    with pytest.raises(StoreError, match="incomplete"):
        GroupSums(wrong)


def test_what_a_job_cannot_do_is_told_before_it_starts(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"memory_mb allows 1(.|\n)*tiles"):
        run_job(folder, tmp_path, group_of(memory_mb=1))
    with pytest.raises(ConfigError, match="3 layers cannot be divided into 4 ranges"):
        run_job(folder, tmp_path, group_of(tiles=(4, 1)))
    with pytest.raises(DataError, match="part 0 of 90 has no tokens"):
        run_job(folder, tmp_path, group_of(token_parts=90))
    narrow = read_json(folder / "b.json")
    shutil.copytree(folder, tmp_path / "narrow")
    write_json({**narrow, "vocab": 300}, tmp_path / "narrow" / "b.json")
    with pytest.raises(ModelError, match="outside of the vocabulary of b, 300"):
        run_job(tmp_path / "narrow", tmp_path, group_of())


@pytest.mark.parametrize(
    "division", [{"token_parts": 10**9}, {"tiles": (10**9, 1)}, {"tiles": (40, 26)}]
)
def test_more_jobs_than_can_be_planned_are_refused(division):
    group_of(tiles=(40, 25))
    with pytest.raises(ValueError, match=f"(?s){next(iter(division))}.*1,?000"):
        group_of(**division)


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", ["reference", "all"])
@pytest.mark.parametrize("jobs_by", ["group", "pair"])
@pytest.mark.parametrize("tiles", [(1, 1), (3, 2), (2, 5)])
def test_every_pair_of_layers_is_multiplied_once(pairs, jobs_by, tiles):
    group = GroupConfig(
        reference="a", others=["b", "c", "d"], text="t", pairs=pairs, jobs_by=jobs_by, tiles=tiles
    )
    n_layers = dict.fromkeys("abcd", 5)
    seen, own = [], []
    for tile in tiles_of(group):
        read = tile.layers(n_layers)
        left = range(tile.left[0] * 5 // tiles[0], (tile.left[0] + 1) * 5 // tiles[0])
        right = range(tile.right[0] * 5 // tiles[1], (tile.right[0] + 1) * 5 // tiles[1])
        for pair in tile.pairs:
            seen += [(*pair, i, j) for i in left for j in right]
            assert set(left) <= set(read[pair[0]])
            assert set(right) <= set(read[pair[1]])
        for model, is_left in tile.within:
            own += [(model, layer) for layer in (left if is_left else right)]
    wanted = [(*pair, i, j) for pair in pairs_of(group) for i in range(5) for j in range(5)]
    assert sorted(seen) == sorted(wanted)
    assert len(pairs_of(group)) == (6 if pairs == "all" else 3)
    looked_in = "abcd" if pairs == "all" else "bcd"
    assert sorted(own) == [(model, layer) for model in looked_in for layer in range(5)]
    assert references_of(group) == (["a", "b", "c", "d"] if pairs == "all" else ["a"])


def test_blocks_hold_every_wanted_token_once():
    rng = np.random.default_rng(2)
    wanted = rng.random((50, 20)) < 0.4
    wanted[10:13] = False
    blocks = plan_blocks(wanted, 30, 60)
    seen = np.zeros_like(wanted)
    for block in blocks:
        assert block.n_rows <= 30
        for batch in block.batches:
            assert len(batch.sequences) * batch.width <= 60
            mask = np.zeros((len(batch.sequences), batch.width), dtype=bool)
            mask.flat[batch.wanted] = True
            assert not (seen[batch.sequences, : batch.width] & mask).any()
            seen[batch.sequences, : batch.width] |= mask
    assert np.array_equal(seen, wanted)
    parts = [part_of(wanted, i, 7) for i in range(7)]
    assert np.array_equal(sum(part.astype(int) for part in parts), wanted)


def test_which_tokens_are_compared(folder):
    tokens, wanted = read_text(folder)
    sequences = pl.read_parquet(folder / "sequences.parquet")
    dataset = TokenDataset(tokens, tokens, tokens, sequences)
    strings = load_tokenizer(folder / "a").strings()
    assert np.array_equal(wanted_tokens(dataset, strings, ["document_token", "newline"]), wanted)
    everything = wanted_tokens(dataset, strings, [])
    assert everything.sum() == sequences["n_tokens"].sum()
    assert (everything & ~wanted)[:, 0].all()
    with pytest.raises(DataError, match="0 tokens are left"):
        wanted_tokens(dataset, ["\n"] * len(strings), ["newline"])


def test_states_of_another_job_or_damaged_ones_are_not_used(tmp_path, caplog):
    kept = checkpoint.Checkpoint(tmp_path, "this job")
    assert kept.load() is None
    kept.save({"total": np.arange(3.0)})
    found = checkpoint.Checkpoint(tmp_path, "this job").load()
    assert set(found) == {"total"}
    np.testing.assert_array_equal(found["total"], [0, 1, 2])
    assert checkpoint.Checkpoint(tmp_path, "another job").load() is None
    assert "of another run" in caplog.text
    kept.file.write_bytes(kept.file.read_bytes()[:-30])
    assert kept.load() is None
    assert "cannot be read" in caplog.text
