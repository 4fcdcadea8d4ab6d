"""Ablated losses equal those of whole forward passes with plain hooks, and TransformerLens's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from artneuro.interventions.forward import Ablation
from artneuro.interventions.measure import Spans, ablation_losses, unit_activations
from artneuro.models.hooks import capture
from artneuro.models.loading import load_causal_lm
from artneuro.models.sites import hook_name
from tests.tiny_models import VOCAB, make_model

# Where each family keeps the input of the MLP's second matrix, its attention, and its blocks.
PLACES = {
    "gpt2": ("transformer.h", "mlp.c_proj", "attn"),
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h", "attention"),
    "llama": ("model.layers", "mlp.down_proj", "self_attn"),
    "gemma2": ("model.layers", "mlp.down_proj", "post_attention_layernorm"),
    "gemma3_text": ("model.layers", "mlp.down_proj", "post_attention_layernorm"),
}
ABLATIONS = [
    Ablation(2, (5,), (0.0,)),
    Ablation(0, (7,), (1.5,)),
    Ablation(1, (3, 40), (0.0, -2.0)),
    Ablation(0, (11,), (0.0,), "attn_out"),
    Ablation(2, (30,), (0.5,), "resid_post"),
    Ablation(1, (2,), (0.0,), "resid_pre"),
    Ablation(1, (9,), (0.0,)),
]


def data() -> tuple[np.ndarray, Spans]:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCAB, (7, 24), dtype=np.int32)
    order = np.array([4, 0, 6, 2, 3])
    return tokens, Spans(order, np.array([1, 3, 1, 10, 5]), np.array([24, 9, 2, 17, 23]))


def expected(folder, architecture: str, ablation: Ablation | None) -> list[float]:
    """Summed losses of the spans from one whole forward pass for each sequence."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    if ablation is not None:
        blocks, mlp, attention = PLACES[architecture]
        block = model.get_submodule(blocks)[ablation.layer]

        def hold(value):
            value = value.clone()
            for unit, at in zip(ablation.units, ablation.values, strict=True):
                value[..., unit] = at
            return value

        def after(module, args, output):
            return (hold(output[0]), *output[1:]) if isinstance(output, tuple) else hold(output)

        if ablation.site == "mlp_post":
            block.get_submodule(mlp).register_forward_pre_hook(lambda m, a: (hold(a[0]), *a[1:]))
        elif ablation.site == "resid_pre":
            block.register_forward_pre_hook(lambda m, a: (hold(a[0]), *a[1:]))
        else:
            module = block.get_submodule(attention) if ablation.site == "attn_out" else block
            module.register_forward_hook(after)
    tokens, spans = data()
    losses = []
    for sequence, start, end in zip(spans.sequence, spans.start, spans.end, strict=True):
        ids = torch.from_numpy(tokens[sequence : sequence + 1].astype(np.int64))
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0].double()
        each = torch.log_softmax(logits, -1)[torch.arange(start - 1, end - 1), ids[0, start:end]]
        losses.append(-each.sum().item())
    return losses


QUICK = [("gpt2", 60), ("llama", 4096)]
PAIRS = [
    pytest.param(name, size, marks=[] if (name, size) in QUICK else pytest.mark.slow)
    for name in PLACES
    for size in (60, 4096)
]


@pytest.mark.parametrize(("architecture", "batch_tokens"), PAIRS)
def test_losses_equal_whole_passes_with_plain_hooks(tmp_path, architecture, batch_tokens):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    tokens, spans = data()
    found = ablation_losses(lm, tokens, spans, ABLATIONS, batch_tokens)
    limit = 1e-5 * spans.n_tokens
    assert (np.abs(found.baseline - expected(folder, architecture, None)) < limit).all()
    for ablation, losses in zip(ABLATIONS, found.ablated, strict=True):
        wanted = np.array(expected(folder, architecture, ablation))
        assert (np.abs(losses - wanted) < limit).all(), ablation
        # The test would not see an ablation that does nothing.
        assert np.abs(wanted - found.baseline).max() > 1e-3


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_activations_are_those_of_the_model_as_it_is(tmp_path, architecture):
    lm = load_causal_lm(make_model(architecture, tmp_path / "m", tokenizer=False), device="cpu")
    tokens, spans = data()
    found = ablation_losses(lm, tokens, spans, ABLATIONS, 60)
    whole = capture(
        lm.model.base_model,
        architecture,
        torch.from_numpy(tokens.astype(np.int64)),
        ["mlp_post", "attn_out", "resid_post", "resid_pre"],
        [0, 1, 2],
    )
    parts = list(zip(spans.sequence, spans.start, spans.end, strict=True))
    for ablation, values in zip(ABLATIONS, found.activations, strict=True):
        everywhere = whole[ablation.site, ablation.layer][..., list(ablation.units)].numpy()
        wanted = np.concatenate([everywhere[s, a:b] for s, a, b in parts])
        np.testing.assert_allclose(values, wanted.T, atol=2e-5)
    alone = unit_activations(lm, tokens, spans, "mlp_post", [(2, 5), (0, 7), (2, 1)], 60)
    wanted = np.concatenate(found.activations[:2])
    np.testing.assert_allclose(alone[:2], wanted, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_losses_equal_transformer_lens(tmp_path, architecture):
    lens = pytest.importorskip("transformer_lens.model_bridge")
    folder = make_model(architecture, tmp_path / "m")
    tokens, spans = data()
    found = ablation_losses(load_causal_lm(folder, device="cpu"), tokens, spans, ABLATIONS, 200)
    bridge = lens.TransformerBridge.boot_transformers(str(folder), device="cpu")
    ids = torch.from_numpy(tokens[spans.sequence].astype(np.int64))
    for ablation, losses in zip(ABLATIONS, found.ablated, strict=True):

        def hold(value, hook, ablation=ablation):
            value = value.clone()
            for unit, at in zip(ablation.units, ablation.values, strict=True):
                value[..., unit] = at
            return value

        name = hook_name(ablation.site, ablation.layer)
        with torch.inference_mode():
            logits = bridge.run_with_hooks(ids, fwd_hooks=[(name, hold)])
        each = -torch.log_softmax(logits.double(), -1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        for i, (start, end) in enumerate(zip(spans.start, spans.end, strict=True)):
            wanted = each[i, start - 1 : end - 1].sum().item()
            assert abs(losses[i] - wanted) < 1e-5 * (end - start), ablation
