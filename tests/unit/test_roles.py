"""Functional roles of neurons: planted entropy and attention neurons, and the choice of neurons."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
import transformers

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.interventions.attention_neurons import ACTIVATION, DEACTIVATION
from artneuro.interventions.attention_neurons import score_attention_neurons as score_attention
from artneuro.interventions.attention_scores import turned_keys
from artneuro.interventions.entropy_neurons import (
    describe_changes,
    pin_entropy_neurons,
)
from artneuro.interventions.entropy_pinning import norm_scale, pinned_statistics, record
from artneuro.interventions.next_tokens import acted_on, compare_firing, push, score_next_tokens
from artneuro.interventions.role_text import draw_positions, draw_text
from artneuro.interventions.roles_config import (
    AttentionNeuronsConfig,
    EntropyNeuronsConfig,
    NextTokensConfig,
)
from artneuro.models.loading import load_causal_lm, load_model
from artneuro.weights.config import WeightsConfig
from artneuro.weights.effects import measure_effects
from tests.tiny import make_tokenizer
from tests.tiny_models import make_model, write_info

VOCAB, WIDTH, N_CTX = 300, 32, 24


def write_text(folder, vocab: int = VOCAB, n: int = 6):
    rng = np.random.default_rng(1)
    ids = rng.integers(1, vocab, (n, N_CTX)).astype(np.int32)
    ids[:, 0] = 0
    tokens = pl.Series("tokens", ids, dtype=pl.Array(pl.Int32, N_CTX))
    write_table(pl.DataFrame([tokens]), folder / "tokens.parquet")
    write_table(
        pl.DataFrame({"n_tokens": pl.Series([N_CTX] * n, dtype=pl.Int32)}),
        folder / "sequences.parquet",
    )
    return ids


def base_model(**options) -> transformers.PreTrainedModel:
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        n_embd=WIDTH, n_layer=2, n_head=2, n_positions=N_CTX, vocab_size=VOCAB, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False, **options,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3)
    return model


def save(model, folder):
    model.save_pretrained(folder / "m")
    make_tokenizer(folder / "m", n_ids=VOCAB)
    write_info(folder / "m", folder / "model.json")
    return folder / "m", folder / "model.json"


def test_a_planted_entropy_neuron_is_found_and_squeezes_the_logits(tmp_path):
    model = base_model()
    axis = torch.randn(WIDTH)
    axis = (axis - axis.mean()) / (axis - axis.mean()).norm()
    with torch.no_grad():
        head = model.lm_head.weight
        head -= (head @ axis)[:, None] * axis
        last = model.transformer.h[1].mlp.c_proj.weight
        last[17] = 12 * axis
        # Its antipode, in the layer before.
        model.transformer.h[0].mlp.c_proj.weight[5] = -2 * axis
    weights, info = save(model, tmp_path)
    write_text(tmp_path)
    effects = tmp_path / "effects.parquet"
    measure_effects(
        WeightsConfig(), weights, info, weights, effects, tmp_path / "x.parquet", model="m",
        device="cpu",
    )  # fmt: skip
    config = EntropyNeuronsConfig(
        sequences=5, n_ctx=N_CTX, positions=8, skip=2, controls=6, neurons=1, values=[0, 1, 2, 4, 6]
    )
    output = tmp_path / "entropy.parquet"
    pin_entropy_neurons(
        config, weights, info, effects, tmp_path / "tokens.parquet", tmp_path / "sequences.parquet",
        output, model="m", text="t", device="cpu",
    )  # fmt: skip
    table = read_table(output)
    kinds = table.select("kind", "layer", "neuron").unique().rows()
    assert ("entropy", 1, 17) in kinds
    assert ("antipode", 0, 5) in kinds
    assert sum(kind == "control" for kind, *_ in kinds) == 6
    found = table.filter(pl.col("kind") == "entropy").sort("setting")
    change = {
        s: found.filter(pl.col("statistic") == s)["change"].to_list()
        for s in found["statistic"].unique()
    }
    assert all(np.diff(change["scale"]) > 0)
    assert all(np.diff(change["entropy"]) > 0)
    np.testing.assert_allclose(change["reciprocal_rank"], 0, atol=1e-12)
    controls = table.filter(pl.col("kind") == "control", pl.col("setting") == 6)
    assert (
        change["entropy"][-1]
        > 5 * controls.filter(pl.col("statistic") == "entropy")["change"].abs().max()
    )
    # No shift follows the norm, so that the logits are those of the model times a scale.
    lm = load_causal_lm(weights, device="cpu")
    ids = torch.from_numpy(read_ids(tmp_path))
    rows, at = torch.tensor([0, 1, 3]), torch.tensor([4, 9, 20])
    recording = record(lm, ids, {1: [17]})
    (pinned,) = pinned_statistics(lm, recording, (1, 17), 0, [5.0], rows, at)
    natural = norm_scale(lm, recording.last[rows, at]).numpy()
    with torch.inference_mode():
        logits = lm.model(input_ids=ids).logits[rows, at].double().numpy()
    for i in range(3):
        squeezed = logits[i] * natural[i] / pinned[i][0]
        p = np.exp(squeezed - squeezed.max())
        p /= p.sum()
        assert abs(-(p * np.log(p)).sum() - pinned[i][1]) < 1e-4
        target = ids[rows[i], at[i] + 1]
        assert abs(-np.log(p[target]) - pinned[i][2]) < 1e-4


def read_ids(folder) -> np.ndarray:
    return np.array(read_table(folder / "tokens.parquet")["tokens"].to_list(), dtype=np.int64)


def test_a_planted_attention_neuron_is_found_and_its_ablation_is_that_of_the_closed_form(tmp_path):
    model = base_model()
    block = model.transformer.h[1]
    one, two = torch.zeros(WIDTH), torch.zeros(WIDTH)
    one[[4, 5]] = torch.tensor([1.0, -1.0])
    two[[8, 9]] = torch.tensor([1.0, -1.0])
    with torch.no_grad():
        # Nothing but the first token's embedding holds `two`; nothing but the neuron holds `one`.
        for module in (model.transformer.wte, model.transformer.wpe):
            module.weight[:, [4, 5, 8, 9]] = 0
        model.transformer.wte.weight[0] = 6 * two
        for name in ("attn.c_proj", "mlp.c_proj"):
            for b in model.transformer.h:
                b.get_submodule(name).weight[:, [4, 5, 8, 9]] = 0
        model.transformer.h[0].mlp.c_proj.weight[7] = 1.5 * one
        attention = block.attn.c_attn.weight
        # Head 0 has 16 columns: queries read `one`, keys read `two`, along its third direction.
        attention[:, :16] = 0
        attention[:, WIDTH : WIDTH + 16] = 0
        attention[:, 3] = 0.8 * one
        attention[:, WIDTH + 3] = 1.3 * two
        # Head 1 hardly has queries.
        attention[:, 16:WIDTH] *= 0.02
    weights, info = save(model, tmp_path)
    ids = write_text(tmp_path)
    config = AttentionNeuronsConfig(
        sequences=6, n_ctx=N_CTX, positions=12, pairs=1, attention_range=(0.0, 1.0),
        random_directions=500,
    )  # fmt: skip
    scores, ablations = tmp_path / "s.parquet", tmp_path / "a.parquet"
    score_attention(
        config, weights, info, tmp_path / "tokens.parquet", tmp_path / "sequences.parquet", scores,
        ablations, model="m", text="t", device="cpu",
    )  # fmt: skip
    heads = read_table(scores).filter(pl.col("layer") == 1)
    row = heads.row(by_predicate=pl.col("head") == 0, named=True)
    assert (row["top_layers"][0], row["top_neurons"][0]) == (0, 7)
    # Of random directions of unit length, 31 of them free, scores have this deviation.
    counts, edges = np.array(row["random_counts"]), np.array(row["edges"])
    centre = (edges[1:] + edges[:-1]) / 2
    assert abs((counts * centre).sum() / counts.sum()) < 0.15
    assert abs(np.sqrt((counts * centre**2).sum() / counts.sum()) - 1) < 0.1
    assert sum(row["counts"]) == row["n_neurons"] == 4 * WIDTH
    table = read_table(ablations)
    found = table.filter(pl.col("kind") == DEACTIVATION)
    assert found.select("layer", "head", "neuron_layer", "neuron").unique().rows() == [(1, 0, 0, 7)]
    assert set(table["kind"].unique()) <= {DEACTIVATION, ACTIVATION, "control"}
    # The closed form: only the score of the first token changes.
    lm = load_model(weights, device="cpu")
    with torch.inference_mode():
        residual = lm.model(torch.from_numpy(ids.astype(np.int64)), output_hidden_states=True)
        residual = residual.hidden_states[1].double().numpy()
    axis_one, axis_two = one.double().numpy(), two.double().numpy()

    def read(vector: np.ndarray, axis: np.ndarray) -> float:
        moved = vector - vector.mean()
        return float(moved @ axis / np.sqrt((moved**2).mean() + 1e-5))

    key = 1.3 * read(residual[0, 0], axis_two)
    moved = 0.0
    for line in found.iter_rows(named=True):
        here = residual[line["sequence"], line["position"]]
        written = line["activation"] * 1.5 * axis_one
        fall = 0.8 * key * (read(here, axis_one) - read(here - written, axis_one)) / 4
        kept = line["attention"] * np.exp(-fall)
        wanted = kept / (1 - line["attention"] + kept)
        assert abs(line["attention_ablated"] - wanted) < 1e-5
        moved = max(moved, abs(wanted - line["attention"]))
    assert moved > 0.05
    change = found["attention_ablated"] - found["attention"]
    assert np.corrcoef(change, found["activation"])[0, 1] < -0.9


def test_rotations_are_undone_by_their_transpose():
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 3, (9, 3))
    cos, sin = (torch.from_numpy(np.tile(f(angles), 2)[None]) for f in (np.cos, np.sin))
    key = torch.from_numpy(rng.normal(size=(2, 8)))
    query = rng.normal(size=(2, 8))
    at = np.array([2, 5, 7])
    found = turned_keys(key, (cos, sin), at)
    wanted = np.zeros(2)
    for p in at:
        turn = np.eye(8)
        for j in range(3):
            c, s = np.cos(angles[p, j]), np.sin(angles[p, j])
            turn[np.ix_([j, j + 3], [j, j + 3])] = [[c, -s], [s, c]]
        wanted += np.einsum("hi,ij,hj->h", key.numpy(), turn, query) / len(at)
    np.testing.assert_allclose((found * query).sum(1), wanted, atol=1e-12)
    np.testing.assert_array_equal(turned_keys(key, None, at), key.numpy())


def test_changes_are_described_over_sequences():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(12, 4))
    after = before + rng.normal(0.3, 0.1, (12, 4))
    from scipy import stats

    for i, row in enumerate(describe_changes(before, after, (4, 3))):
        change = (after - before)[:, i].reshape(4, 3).mean(1)
        low, high = stats.ttest_1samp(change, 0).confidence_interval(0.95)
        assert row["change"] == pytest.approx(change.mean())
        assert (row["change_low"], row["change_high"]) == pytest.approx((low, high))
        assert row["mean"] == pytest.approx(after[:, i].mean())


def test_firing_before_a_set_of_tokens_is_compared():
    rng = np.random.default_rng(2)
    inside = rng.random((30, 40)) < 0.2
    values = rng.normal(size=(30, 40)) + 0.5 * inside
    found = compare_firing(values, inside, 4000, np.random.default_rng(0))
    assert found["mean_in"] == pytest.approx(values[inside].mean())
    assert found["active_out"] == pytest.approx((values[~inside] > 0).mean())
    assert found["difference"] == pytest.approx(values[inside].mean() - values[~inside].mean())
    # Positions are independent here, so that the interval is that of two means.
    error = np.sqrt(values[inside].var() / inside.sum() + values[~inside].var() / (~inside).sum())
    assert found["difference_high"] - found["difference_low"] == pytest.approx(
        2 * 1.96 * error, rel=0.25
    )
    assert found["difference_low"] < 0.5 < found["difference_high"]
    assert push("suppression", 0.5, 2.0) == -0.25
    assert push("prediction", 0.5, 2.0) == 0.25


def test_a_neuron_acts_on_its_far_tokens():
    effects = np.zeros(1000)
    effects[[10, 20, 30]] = [3.0, -4.0, 5.0]
    assert acted_on(effects, True, 5, 10).tolist() == [30, 10]
    assert acted_on(effects, False, 5, 10).tolist() == [20]
    assert acted_on(effects, True, 5, 1).tolist() == [30]
    assert acted_on(np.arange(9.0), True, 5, 10).tolist() == [8]


def test_next_tokens_of_a_whole_model(tmp_path):
    folder = make_model("gpt2", tmp_path / "m")
    write_info(folder, tmp_path / "model.json")
    effects = tmp_path / "effects.parquet"
    config = WeightsConfig(kurtosis=3.0)
    measure_effects(
        config, folder, tmp_path / "model.json", folder, effects, tmp_path / "x.parquet",
        model="m", device="cpu",
    )  # fmt: skip
    ids = write_text(tmp_path, vocab=500, n=20)
    settings = NextTokensConfig(
        sequences=20, n_ctx=N_CTX, per_role=3, deviations=2.0, min_count=2, resamples=50
    )
    output = tmp_path / "next.parquet"
    score_next_tokens(
        settings, folder, tmp_path / "model.json", folder, effects, tmp_path / "tokens.parquet",
        tmp_path / "sequences.parquet", output, model="m", text="t", device="cpu",
    )  # fmt: skip
    table = read_table(output)
    assert set(table["role"]) == {"prediction", "suppression"}
    assert table.height == 2 * table.filter(pl.col("control") == "none").height
    from artneuro.models.hooks import capture

    lm = load_model(folder, device="cpu")
    whole = capture(
        lm.model, "gpt2", torch.from_numpy(ids.astype(np.int64)), ["mlp_post"], [0, 1, 2]
    )
    ends = {
        (row["layer"], row["neuron"]): row[
            "top_texts" if row["role"] == "prediction" else "bottom_texts"
        ][0]
        for row in read_table(effects).iter_rows(named=True)
    }
    for row in table.iter_rows(named=True):
        assert row["set_texts"][0] == ends[row["layer"], row["of_neuron"]]
        values = whole["mlp_post", row["layer"]][:, 1:-1, row["neuron"]].numpy()
        mean = (row["mean_in"] * row["n_in"] + row["mean_out"] * row["n_out"]) / values.size
        assert row["n_in"] + row["n_out"] == values.size
        assert mean == pytest.approx(values.mean(), abs=1e-4)


def test_sequences_are_drawn_among_those_that_are_long_enough(tmp_path):
    folder = make_model("gpt2", tmp_path / "m", tokenizer=False)
    shape = write_info(folder, tmp_path / "model.json").shape
    ids = write_text(tmp_path, n=9)
    length = pl.Series("n_tokens", [24, 5, 24, 24, 24, 5, 24, 24, 24], dtype=pl.Int32)
    write_table(pl.DataFrame([length]), tmp_path / "sequences.parquet")
    paths = tmp_path / "tokens.parquet", tmp_path / "sequences.parquet"
    found, rows = draw_text(*paths, shape, 4, 16, 0)
    assert len(rows) == 4
    assert not {1, 5} & set(rows.tolist())
    np.testing.assert_array_equal(found, ids[rows, :16])
    positions = draw_positions(rows, 4, 15, 6, 0)
    assert positions.shape == (4, 6)
    assert positions.min() >= 4
    assert positions.max() < 15
    np.testing.assert_array_equal(draw_positions(rows[1:2], 4, 15, 6, 0), positions[1:2])
    with pytest.raises(DataError, match="0 sequences have 25 tokens"):
        draw_text(*paths, shape, 4, 25, 0)
    with pytest.raises(DataError, match="no position"):
        draw_positions(rows, 15, 15, 2, 0)
