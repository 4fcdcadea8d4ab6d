"""What the dump stores equals plain Hugging Face forward hooks, for every architecture and site."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import transformers

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_table, write_table
from artneuro.models.hooks import capture
from artneuro.models.loading import load_causal_lm, load_model
from tests.tiny_models import ARCHITECTURES, N_CTX, VOCAB, make_model, write_info

SITES = ["resid_pre", "attn_pattern", "attn_out", "mlp_pre", "mlp_post", "resid_post"]
N_SEQUENCES, WIDTH = 7, 24


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def get(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = make_model(architecture, root / architecture)
        return made[architecture]

    return get


def plain_activations(folder: Path, architecture: str, ids: torch.Tensor) -> dict:
    """The oracle: the causal model with eager attention and hooks written out by hand."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    base, found, handles = model.base_model, {}, []
    for layer in range(3):
        if architecture == "gpt2":
            block = base.h[layer]
            attention, first, last = block.attn, block.mlp.c_fc, block.mlp.c_proj
        elif architecture == "gpt_neox":
            block = base.layers[layer]
            attention = block.attention
            first, last = block.mlp.dense_h_to_4h, block.mlp.dense_4h_to_h
        else:
            block = base.layers[layer]
            attention, first, last = block.self_attn, block.mlp.gate_proj, block.mlp.down_proj

        def keep(site, layer, pick):
            def hook(_module, args, output):
                found[site, layer] = pick(args, output).detach().clone()

            return hook

        handles += [
            first.register_forward_hook(keep("mlp_pre", layer, lambda a, o: o)),
            last.register_forward_hook(keep("mlp_post", layer, lambda a, o: a[0])),
            attention.register_forward_hook(keep("attn_pattern", layer, lambda a, o: o[1])),
        ]
        if architecture in ("gemma2", "gemma3_text"):
            module, pick = block.post_attention_layernorm, lambda a, o: o
        else:
            module, pick = attention, lambda a, o: o[0]
        handles.append(module.register_forward_hook(keep("attn_out", layer, pick)))
    with torch.no_grad():
        output = model(input_ids=ids, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    for layer in range(3):
        found["resid_pre", layer] = output.hidden_states[layer]
        if layer < 2:  # the last hidden state that the model returns is after its final norm
            found["resid_post", layer] = output.hidden_states[layer + 1]
    return found


def make_tables(folder: Path, rng: np.random.Generator) -> tuple[np.ndarray, pl.DataFrame]:
    """Sequences of several lengths, with single tokens and overlapping spans, in no order."""
    length = np.array([24, 5, 17, 24, 9, 12, 20], dtype=np.int32)
    tokens = rng.integers(1, VOCAB, (N_SEQUENCES, WIDTH), dtype=np.int32)
    tokens[np.arange(WIDTH) >= length[:, None]] = 0
    spans = [
        (s, a, b)
        for s in range(N_SEQUENCES)
        for a, b in ((1, 2), (1, int(length[s])), (3, 5), (int(length[s]) - 1, int(length[s])))
    ]
    spans = [spans[i] for i in rng.permutation(len(spans))]
    write_table(
        pl.DataFrame({"tokens": tokens}, schema={"tokens": pl.Array(pl.Int32, WIDTH)}),
        folder / "tokens.parquet",
    )
    sequences = pl.DataFrame(
        {
            "sequence": np.arange(N_SEQUENCES, dtype=np.int32),
            "n_tokens": length,
            "group": [f"g{i}" for i in range(N_SEQUENCES)],
            "split": ["train", "test"] * 3 + ["train"],
        }
    )
    write_table(sequences, folder / "sequences.parquet")
    labels = pl.DataFrame(
        spans + spans[:5],
        schema={"sequence": pl.Int32, "start": pl.Int32, "end": pl.Int32},
        orient="row",
    )
    write_table(labels, folder / "labels.parquet")
    return tokens, sequences


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_store_equals_plain_hooks(models, tmp_path, architecture, aggregation):
    folder = models(architecture)
    tokens, _ = make_tables(tmp_path, np.random.default_rng(1))
    write_info(folder, tmp_path / "model.json")
    dump_activations(
        ActivationsConfig(sites=SITES, dtype="float32", batch_tokens=50, check_rows=4),
        folder,
        tmp_path / "model.json",
        tmp_path / "tokens.parquet",
        tmp_path / "sequences.parquet",
        tmp_path / "labels.parquet",
        tmp_path / "activations.zarr",
        tmp_path / "rows.parquet",
        work=tmp_path / "parts",
        aggregation=aggregation,
        device="cpu",
    )
    rows = read_table(tmp_path / "rows.parquet")
    store = open_store(tmp_path / "activations.zarr")
    assert store.sites == tuple(SITES)
    assert store.layers == (0, 1, 2)
    spans = list(rows.select("sequence", "start", "end").iter_rows())
    assert spans == sorted(set(spans))
    assert len(spans) == store.n_rows
    expected = plain_activations(folder, architecture, torch.from_numpy(tokens).long())
    reduce = np.mean if aggregation == "mean" else np.max
    for (site, layer), value in expected.items():
        found = store.read(site, layer)
        for row, (sequence, start, end) in enumerate(spans):
            if site == "attn_pattern":
                piece = value[sequence, :, start:end].transpose(0, 1).reshape(end - start, -1)
            else:
                piece = value[sequence, start:end]
            np.testing.assert_allclose(
                found[row], reduce(piece.numpy(), axis=0), rtol=1e-4, atol=2e-5
            )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_resid_post_of_last_layer_is_the_input_of_the_final_norm(models, architecture):
    lm = load_model(models(architecture), device="cpu")
    ids = torch.randint(1, VOCAB, (2, 10), generator=torch.Generator().manual_seed(3))
    found = capture(lm.model, architecture, ids, ["resid_post"], [2])["resid_post", 2]
    final = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(architecture, "norm")
    with torch.inference_mode():
        normed = lm.model.get_submodule(final)(found)
        expected = lm.model(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(normed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_equal_the_plain_model(models, architecture):
    folder = models(architecture)
    ids = torch.randint(0, VOCAB, (2, N_CTX), generator=torch.Generator().manual_seed(2))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    lm = load_causal_lm(folder, device="cpu")
    with torch.inference_mode():
        torch.testing.assert_close(lm.model(ids).logits, plain(ids).logits, rtol=1e-6, atol=1e-6)
