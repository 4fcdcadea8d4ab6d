"""Space and time neurons against plain Hugging Face models with hooks of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from artneuro.interventions.forward import Ablation
from artneuro.models.loading import load_causal_lm
from artneuro.spacetime.ablation_losses import token_losses
from artneuro.spacetime.neurons_cosines import OUTPUT, Directions, search_neurons, vectors_of
from artneuro.spacetime.neurons_projections import norm_epsilon, normalised
from artneuro.spacetime.pinning import pinned_log_probabilities
from artneuro.weights.preprocessing import iterate_processed_mlp
from tests.tiny_models import VOCAB, make_model

# Where each family keeps its blocks; what a neuron's parts are read by; the MLP's last matrix; what
# attention adds with.
PLACES = {
    "gpt2": ("transformer.h", {"input": "mlp.c_fc"}, "mlp.c_proj", "attn.c_proj"),
    "gpt_neox": (
        "gpt_neox.layers", {"input": "mlp.dense_h_to_4h"}, "mlp.dense_4h_to_h", "attention.dense",
    ),
    "llama": (
        "model.layers", {"gate": "mlp.gate_proj", "input": "mlp.up_proj"}, "mlp.down_proj",
        "self_attn.o_proj",
    ),
}  # fmt: skip
PLACES["gemma"] = PLACES["gemma2"] = PLACES["llama"]
SLOW = [
    pytest.param(n, marks=[] if n in ("gpt2", "gpt_neox", "llama") else pytest.mark.slow)
    for n in PLACES
]
IDS = np.random.default_rng(5).integers(1, VOCAB, (5, 16))
IDS[:, 0] = 0


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def parts_of(folder, shape, layer: int):
    """Processed weights of a layer."""
    return next(iter(iterate_processed_mlp(folder, shape, [layer])))


@pytest.mark.parametrize("architecture", SLOW)
def test_projections_are_what_neurons_read_without_attention(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    shape = load_causal_lm(folder, device="cpu").shape
    blocks, readers, _, attention_out = PLACES[architecture]
    plain = load(folder)
    block = plain.get_submodule(blocks)[1]
    if architecture != "gpt_neox":
        # Side by side with the MLP, attention takes no part in what neurons read; else it does.
        for parameter in block.get_submodule(attention_out).parameters():
            parameter.data.zero_()
    seen: dict[str, torch.Tensor] = {}
    for kind, name in readers.items():
        block.get_submodule(name).register_forward_hook(
            lambda _m, _a, output, kind=kind: seen.update({kind: output.detach()})
        )
    with torch.inference_mode():
        states = plain(input_ids=torch.from_numpy(IDS), output_hidden_states=True).hidden_states
    # The residual stream behind block 0 is what block 1 starts from.
    residual = states[1].numpy().reshape(-1, shape.d_model)
    part = parts_of(folder, shape, 1)
    reading = {k: v for k, v in vectors_of(part).items() if k != OUTPUT}
    assert set(reading) == set(readers)
    for kind, vectors in reading.items():
        found = normalised(residual, shape, norm_epsilon(folder)) @ vectors.T
        if part.bias_in is not None and kind == "input":
            found = found + part.bias_in
        expected = seen[kind].numpy().reshape(len(residual), -1)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


# Not Gemma 2, where a norm divides what the whole MLP gives.
@pytest.mark.parametrize("architecture", [p for p in SLOW if "gemma2" not in p.values])
def test_output_weights_are_what_a_unit_of_activation_adds(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    shape = load_causal_lm(folder, device="cpu").shape
    blocks, _, down, _ = PLACES[architecture]
    plain = load(folder)
    captured: list[torch.Tensor] = []
    block = plain.get_submodule(blocks)[2]
    # The output of the last block itself: hidden states of the model's end are behind its norm.
    block.register_forward_hook(
        lambda _m, _a, out: captured.append(out[0] if isinstance(out, tuple) else out)
    )
    ids = torch.from_numpy(IDS)
    with torch.inference_mode():
        plain(input_ids=ids)
        handle = block.get_submodule(down).register_forward_pre_hook(
            lambda _m, args: (args[0] + torch.eye(shape.d_mlp)[9], *args[1:])
        )
        plain(input_ids=ids)
        handle.remove()
    change = (captured[1] - captured[0]).reshape(-1, shape.d_model).double().numpy()
    expected = vectors_of(parts_of(folder, shape, 2))[OUTPUT][9]
    if architecture in ("gpt2", "gpt_neox"):
        change = change - change.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(change, np.tile(expected, (len(change), 1)), atol=2e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_cosines_are_those_of_the_models_own_parameters(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    shape = load_causal_lm(folder, device="cpu").shape
    random = np.random.default_rng(0)
    coef = random.normal(size=(3, shape.d_model, 1))
    directions = Directions(
        (0, 1, 2), ("time",), coef, coef[..., 0], np.ones(coef.shape[:2]), (1.0,) * 3, 1
    )
    found = search_neurons(folder, shape, directions, np.empty((3, 0, shape.d_model)), 10**6)
    plain = load(folder)
    blocks, readers, down, _ = PLACES[architecture]
    centred = architecture != "llama"
    norm_name = {"gpt2": "ln_2"}.get(architecture, "post_attention_layernorm")
    expected = {}
    for layer, block in enumerate(plain.get_submodule(blocks)):
        gain = block.get_submodule(norm_name).weight.detach().double().numpy()
        weights = {k: block.get_submodule(n).weight for k, n in readers.items()}
        weights["output"] = block.get_submodule(down).weight
        for kind, weight in weights.items():
            probe = layer if kind == "output" else layer - 1
            if probe < 0:
                continue
            rows = weight.detach().double().numpy()
            # Conv1D holds (inputs, outputs), Linear (outputs, inputs).
            if (architecture == "gpt2") != (kind == "output"):
                rows = rows.T
            rows = rows if kind == "output" else rows * gain
            target = coef[probe, :, 0]
            if centred:
                rows, target = rows - rows.mean(axis=1, keepdims=True), target - target.mean()
            cosines = rows @ target / np.linalg.norm(rows, axis=1) / np.linalg.norm(target)
            expected |= {(kind, layer, neuron): c for neuron, c in enumerate(cosines)}
    ours = {
        (k, la, n): c for k, la, n, c in found.select("weights", "layer", "neuron", "cosine").rows()
    }
    assert ours.keys() == expected.keys()
    for key, cosine in expected.items():
        assert ours[key] == pytest.approx(cosine, abs=1e-9)
    assert found["cosine_shuffled"].null_count() == found.height


@pytest.mark.parametrize("architecture", SLOW)
def test_held_neurons_equal_whole_passes(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    blocks, _, down, _ = PLACES[architecture]
    plain = load(folder)
    ids = torch.from_numpy(IDS)

    def logits(layer: int | None, neuron: int = 0, value: float = 0.0):
        """Log-probabilities of whole passes, and the neuron's activation before it is held."""
        kept = []

        def hold(_module, args):
            kept.append(args[0][..., neuron].clone())
            changed = args[0].clone()
            changed[..., neuron] = value
            return (changed, *args[1:])

        handles = []
        if layer is not None:
            module = plain.get_submodule(blocks)[layer].get_submodule(down)
            handles.append(module.register_forward_pre_hook(hold))
        with torch.inference_mode():
            found = plain(input_ids=ids).logits.double().log_softmax(-1)
        for handle in handles:
            handle.remove()
        return found, kept

    held = [(2, 5, 0.0), (0, 7, 0.0), (0, 30, 0.0), (1, 3, 0.0)]
    ablations = [Ablation(layer, (neuron,), (value,)) for layer, neuron, value in held]
    # Batches of two sequences, and copies two at a time.
    losses = token_losses(lm, IDS, ablations, batch_tokens=64)
    target = ids[:, 1:, None]

    def loss(line):
        return -line[:, :-1].gather(2, target)[..., 0].numpy()

    np.testing.assert_allclose(losses.baseline, loss(logits(None)[0]), rtol=1e-4, atol=1e-5)
    for i, setting in enumerate(held):
        line, kept = logits(*setting)
        np.testing.assert_allclose(losses.ablated[i], loss(line), rtol=1e-4, atol=1e-5)
        active = kept[0][:, :-1].numpy()
        np.testing.assert_allclose(losses.activations[i], active, rtol=1e-4, atol=1e-5)

    pins = [(1, 3, 4.0), (1, 3, -2.5), (1, 9, 1.0)]
    found = pinned_log_probabilities(
        lm, IDS[1], [Ablation(layer, (neuron,), (value,)) for layer, neuron, value in pins]
    )
    expected = [logits(None)[0], *(logits(*pin)[0] for pin in pins)]
    np.testing.assert_allclose(
        found, np.stack([e[1, -1].numpy() for e in expected]), rtol=1e-4, atol=1e-4
    )
