"""Effects of neurons on the output, against the model's own modules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from artneuro.core.errors import ModelError
from artneuro.models.hooks import adapter_of
from artneuro.models.loading import load_causal_lm, load_model
from artneuro.weights.logit_effects import (
    centred_effects,
    logit_effects,
    read_neuron_outputs,
    read_output_weights,
    token_classes,
)
from tests.tiny_models import ARCHITECTURES, VOCAB, make_model

NEURONS = [(0, 5), (2, 11), (0, 40)]


def scale_of(vector: torch.Tensor, centred: bool) -> torch.Tensor:
    """What a norm divides by, without its small constant."""
    moved = vector - vector.mean() if centred else vector
    return moved.pow(2).mean().sqrt()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_effects_equal_the_models_own_norm_and_head(tmp_path, architecture):
    lm = load_causal_lm(make_model(architecture, tmp_path / "m", tokenizer=False), device="cpu")
    base, centred = lm.model.base_model, architecture in ("gpt2", "gpt_neox")
    norm = base.ln_f if architecture == "gpt2" else getattr(
        base, "final_layer_norm" if architecture == "gpt_neox" else "norm"
    )  # fmt: skip
    adapter = adapter_of(architecture)
    # Large, so that the constant in the norms does not matter.
    size = 1e3
    expected = []
    for layer, neuron in NEURONS:
        block = base.get_submodule(adapter.blocks)[layer]
        down = block.get_submodule(adapter.taps["mlp_post"].module)
        hot = torch.zeros(1, 1, lm.shape.d_mlp)
        off = down(hot)
        hot[..., neuron] = size
        output = (down(hot) - off)[0, 0]
        if architecture in ("gemma2", "gemma3_text"):
            output = block.post_feedforward_layernorm(output) * scale_of(output, False)
        bias = norm.bias if centred else torch.zeros(lm.shape.d_model)
        logits = lm.model.get_output_embeddings()(norm(output) - bias)
        expected.append((logits * scale_of(output, centred) / size).numpy())
    weights = read_output_weights(lm)
    assert weights.centred == centred
    outputs = read_neuron_outputs(lm, NEURONS)
    for chunk in (100, 8192):
        found = logit_effects(weights, outputs, chunk=chunk)
        assert found.shape == (3, VOCAB)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_model_without_head_is_refused(tmp_path):
    lm = load_model(make_model("llama", tmp_path / "m", tokenizer=False), device="cpu")
    with pytest.raises(ModelError, match="head"):
        read_output_weights(dataclasses.replace(lm))


def test_effects_are_centred_over_known_tokens():
    effects = np.array([[1.0, 2.0, 6.0, 100.0], [0.0, 0.0, 0.0, 5.0]], dtype=np.float32)
    known = np.array([True, True, True, False])
    centred, deviation = centred_effects(effects, known)
    assert centred[0].tolist() == [-2.0, -1.0, 3.0, 97.0]
    assert deviation.tolist() == [pytest.approx((14 / 3) ** 0.5), 0.0]


def test_classes_of_tokens():
    strings = [" The", "the", " NASA", "12", " 7", "\n", "été", " x1", "<s>"]
    known = np.array([True] * 8 + [False])
    classes = {
        name: np.flatnonzero(m).tolist() for name, m in token_classes(strings, known).items()
    }
    assert classes == {
        "leading_capital": [0, 2],
        "leading_lower_case": [1, 6, 7],
        "all_capitals": [2],
        "has_leading_space": [0, 2, 4, 7],
        "no_leading_space_and_loweralpha": [1, 6],
        "all_digits": [3, 4],
        "is_not_alphanumeric": [5],
        "is_not_ascii": [6],
    }
