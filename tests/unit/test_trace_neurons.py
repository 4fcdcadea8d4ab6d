"""Activations of a few neurons on every token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artneuro.activations.trace import trace_neurons
from artneuro.core.errors import ConfigError, StoreError
from artneuro.models.hooks import adapter_of
from artneuro.models.loading import load_model
from tests.tiny_models import VOCAB, make_model

LENGTHS = (13, 5, 20, 1, 9)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def lm(request, tmp_path_factory):
    folder = make_model(request.param, tmp_path_factory.mktemp("m"), tokenizer=False)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def text():
    tokens = np.random.default_rng(0).integers(1, VOCAB, (len(LENGTHS), 20)).astype(np.int32)
    position = np.arange(20)
    # Position 0 is a special token; a sequence of one token has no text.
    return tokens, (position > 0) & (position < np.array(LENGTHS)[:, None])


def alone(lm, ids: np.ndarray, layer: int, neuron: int) -> np.ndarray:
    """A neuron on one sequence, by a hook on the module that reads it."""
    adapter = adapter_of(lm.architecture)
    block = lm.model.get_submodule(adapter.blocks)[layer]
    found = []
    handle = block.get_submodule(adapter.taps["mlp_post"].module).register_forward_pre_hook(
        lambda module, inputs: found.append(inputs[0][0, :, neuron].clone())
    )
    with torch.no_grad():
        lm.model(input_ids=torch.from_numpy(ids[None].astype(np.int64)))
    handle.remove()
    return found[0].numpy()


def test_neurons_equal_those_of_each_sequence_alone(lm, text):
    tokens, mask = text
    neurons = [(1, 7), (0, 3), (1, 2), (1, 7)]
    seen = []
    found = trace_neurons(lm, tokens, mask, neurons, batch_tokens=40, on_batch=seen.append)
    assert found.dtype == np.float32
    assert found.shape == (*tokens.shape, 4)
    assert np.array_equal(np.isnan(found), np.repeat(~mask[..., None], 4, axis=2))
    assert sum(seen) == mask.sum()
    assert len(seen) > 1
    for row, length in enumerate(LENGTHS):
        for column, (layer, neuron) in enumerate(neurons):
            expected = alone(lm, tokens[row, :length], layer, neuron)[1:]
            np.testing.assert_allclose(found[row, 1:length, column], expected, rtol=1e-4, atol=1e-5)


def test_nothing_above_the_highest_layer_runs(lm, text):
    blocks = lm.model.get_submodule(adapter_of(lm.architecture).blocks)
    ran = []
    handle = blocks[2].register_forward_pre_hook(lambda *inputs: ran.append(1))
    trace_neurons(lm, *text, [(1, 0)])
    assert not ran
    trace_neurons(lm, *text, [(2, 0), (0, 0)])
    handle.remove()
    assert ran


def test_a_value_that_is_not_finite_is_named(lm, text):
    block = lm.model.get_submodule(adapter_of(lm.architecture).blocks)[1]
    weight = block.get_submodule(adapter_of(lm.architecture).taps["mlp_pre"].module).weight
    line = weight.T if lm.architecture == "gpt2" else weight
    saved = line[4].clone()
    line[4] = float("nan")
    try:
        with pytest.raises(StoreError, match=r"blocks\.1\.mlp\.hook_post, unit 4, sequence 0"):
            trace_neurons(lm, *text, [(0, 4), (1, 4)])
    finally:
        line[4] = saved
    with pytest.raises(ConfigError, match="layers"):
        trace_neurons(lm, *text, [(9, 0)])


def test_no_neurons_and_no_text(lm, text):
    tokens, mask = text
    assert trace_neurons(lm, tokens, mask, []).shape == (*tokens.shape, 0)
    assert np.isnan(trace_neurons(lm, tokens, np.zeros_like(mask), [(0, 0)])).all()
