"""Processed weights change no probability, and are those that TransformerLens makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artneuro.models.loading import load_causal_lm
from artneuro.weights.preprocessing import (
    iterate_processed_mlp,
    processed_query,
    read_processed_unembedding,
)
from artneuro.weights.processed_model import processed_model
from tests.tiny_models import ARCHITECTURES, VOCAB, make_model

IDS = torch.randint(1, VOCAB, (3, 30), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_probabilities_stay(tmp_path, architecture):
    lm = load_causal_lm(make_model(architecture, tmp_path / "m", tokenizer=False), device="cpu")
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    changed = processed_model(lm)
    with torch.inference_mode():
        ours, theirs = (
            model(input_ids=IDS).logits.double().log_softmax(-1) for model in (changed, lm.model)
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)
    for name, tensor in lm.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    # What was folded and centred is what the tables are made from.
    head = changed.get_output_embeddings()
    unembedding = read_processed_unembedding(lm.folder, lm.shape)
    np.testing.assert_allclose(head.weight.numpy(), unembedding.weight, atol=1e-6)
    if unembedding.bias is not None:
        np.testing.assert_allclose(head.bias.numpy(), unembedding.bias, atol=1e-6)
    assert (unembedding.bias is not None) == (architecture in ("gpt2", "gpt_neox"))
    centred = np.abs(unembedding.weight.mean(axis=0)).max() < 1e-12
    assert centred == (architecture != "gemma2")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_weights_are_those_of_transformer_lens(tmp_path, architecture):
    lens = pytest.importorskip("transformer_lens.model_bridge")
    lm = load_causal_lm(make_model(architecture, tmp_path / "m"), device="cpu")
    bridge = lens.TransformerBridge.boot_transformers(str(lm.folder), device="cpu")
    bridge.enable_compatibility_mode(
        fold_ln=True, center_writing_weights=True, center_unembed=True, fold_value_biases=False
    )
    unembedding = read_processed_unembedding(lm.folder, lm.shape)
    close = {"rtol": 0, "atol": 1e-5}
    np.testing.assert_allclose(unembedding.weight.T, bridge.W_U.detach().numpy(), **close)
    if unembedding.bias is not None:
        theirs = bridge.b_U.detach().numpy()
        np.testing.assert_allclose(unembedding.bias, theirs - theirs.mean(), **close)
    layers = list(iterate_processed_mlp(lm.folder, lm.shape))
    assert [part.layer for part in layers] == [0, 1, 2]
    for part in layers:
        # Theirs of a gated MLP: the gate is W_gate and the linear part W_in.
        read = part.w_in if part.w_up is None else part.w_up
        np.testing.assert_allclose(read.T, bridge.W_in[part.layer].detach().numpy(), **close)
        np.testing.assert_allclose(part.w_out, bridge.W_out[part.layer].detach().numpy(), **close)
        if part.w_up is not None:
            gate = bridge.W_gate[part.layer].detach().numpy()
            np.testing.assert_allclose(part.w_in.T, gate, **close)
        if part.bias_in is not None:
            theirs = bridge.b_in[part.layer].detach().numpy()
            np.testing.assert_allclose(part.bias_in, theirs, **close)
        query = bridge.W_Q[part.layer].detach().numpy()
        ours = processed_query(lm, part.layer)
        np.testing.assert_allclose(ours.transpose(0, 2, 1), query, **close)
