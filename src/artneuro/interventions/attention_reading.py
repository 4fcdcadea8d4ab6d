"""Queries, keys and values of heads, as a model's own code makes them.

The attention of a model is replaced by one that keeps what it is given, after rotary embeddings and
norms of queries and keys, so that every family is read in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from artneuro.models.hooks import adapter_of
from artneuro.models.loading import LanguageModel
from artneuro.weights.families import family_of

_NAME = "artneuro_recorded"


@dataclass(frozen=True)
class HeadInputs:
    """What the heads of a layer compute with.

    Attributes
    ----------
    query : Tensor, shape (batch, head, position, d_head)
    key, value : Tensor, shape (batch, head, position, d_head)
        As many heads as there are query heads: those that share keys have copies.
    mask : Tensor, shape (1 or batch, 1, position, position), or None
        Added to the scores.
    scaling : float
        What products of queries and keys are multiplied by.
    cap : float or None
        What scores are bounded by (Gemma 2).
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scaling: float
    cap: float | None

    @cached_property
    def weights(self) -> torch.Tensor:
        """Attention of every head, shape (batch, head, position, position)."""
        heads = [self.scores(self.query[:, h], h).softmax(-1) for h in range(self.query.shape[1])]
        return torch.stack(heads, dim=1).to(self.query.dtype)

    def scores(self, query: torch.Tensor, head: int) -> torch.Tensor:
        """Masked scores of one head's queries, float32, shape (batch, position, position)."""
        found = (query @ self.key[:, head].transpose(-1, -2)).float() * self.scaling
        if self.cap:
            found = self.cap * torch.tanh(found / self.cap)
        if self.mask is not None:
            found = found + self.mask[:, 0, :, : found.shape[-1]]
        return found


Receive = Callable[[nn.Module, HeadInputs], None]
_receivers: list[Receive] = []


def _recorded_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    groups = query.shape[1] // key.shape[1]
    inputs = HeadInputs(
        query,
        key.repeat_interleave(groups, dim=1),
        value.repeat_interleave(groups, dim=1),
        attention_mask,
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        softcap,
    )
    _receivers[-1](module, inputs)
    mixed = inputs.weights @ inputs.value
    return mixed.transpose(1, 2).contiguous(), inputs.weights


AttentionInterface.register(_NAME, _recorded_attention)
AttentionMaskInterface.register(_NAME, eager_mask)


@contextmanager
def _recording(lm: LanguageModel, receive: Receive) -> Iterator[None]:
    model: Any = lm.model
    before = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    _receivers.append(receive)
    try:
        yield
    finally:
        _receivers.pop()
        model.set_attn_implementation(before)


class _Reached(Exception):
    """Nothing further is needed."""


def attention_module(lm: LanguageModel, layer: int) -> nn.Module:
    """The attention of a layer."""
    return _block(lm, layer).get_submodule(_attention_name(lm))


def read_heads(
    lm: LanguageModel,
    ids: torch.Tensor,
    receive: Callable[[int, HeadInputs, dict[str, Any]], None],
) -> None:
    """Run a batch through the base model and hand over the inputs of every layer's heads.

    Parameters
    ----------
    lm : LanguageModel
    ids : Tensor of int64, shape (batch, position)
        On the model's device.
    receive : callable (layer, HeadInputs, options) -> None
        Options are what else the attention was called with.
    """
    layers = {id(attention_module(lm, i)): i for i in range(lm.shape.n_layers)}
    options: dict[int, dict[str, Any]] = {}

    def take(module: nn.Module, inputs: HeadInputs) -> None:
        layer = layers[id(module)]
        receive(layer, inputs, options.pop(layer))

    with ExitStack() as stack, torch.inference_mode():
        for layer in layers.values():
            _keep_inputs(lm, layer, {}, options, stack)
        stack.enter_context(_recording(lm, take))
        lm.model.base_model(input_ids=ids, use_cache=False)


@dataclass(frozen=True)
class Contributions:
    """What neurons of a layer added to the residual stream.

    Attributes
    ----------
    activations : Tensor, shape (neuron, batch, position)
    vectors : Tensor, shape (neuron, batch, position, d_model)
        Where a norm follows the MLP, it divides by what it did divide by.
    """

    activations: torch.Tensor
    vectors: torch.Tensor


@dataclass(frozen=True)
class LayerInputs:
    """What a layer's attention was given in one forward pass.

    Attributes
    ----------
    residual : Tensor, shape (batch, position, d_model)
        The residual stream that its norm reads.
    heads : HeadInputs
    options : dict
        What else the attention was called with: masks and rotary embeddings.
    """

    residual: torch.Tensor
    heads: HeadInputs
    options: dict[str, Any]


def read_layers(
    lm: LanguageModel,
    ids: torch.Tensor,
    layers: Sequence[int],
    neurons: dict[int, list[int]],
) -> tuple[dict[int, LayerInputs], dict[int, Contributions]]:
    """Run a batch and keep what some layers' attention was given, and what neurons wrote.

    Parameters
    ----------
    lm, ids
        As in `read_heads`.
    layers : sequence of int
    neurons : dict of list of int
        Neurons of each layer.

    Returns
    -------
    inputs : dict of LayerInputs
    contributions : dict of Contributions
    """
    residual: dict[int, torch.Tensor] = {}
    options: dict[int, dict[str, Any]] = {}
    heads: dict[int, HeadInputs] = {}
    active: dict[int, torch.Tensor] = {}
    written: dict[int, torch.Tensor] = {}
    indices = {id(attention_module(lm, i)): i for i in layers}

    def receive(module: nn.Module, inputs: HeadInputs) -> None:
        layer = indices.get(id(module))
        if layer is None:
            return
        heads[layer] = inputs
        if layer == max(layers):
            raise _Reached

    with ExitStack() as stack, torch.inference_mode():
        for layer in layers:
            _keep_inputs(lm, layer, residual, options, stack)
        for layer, units in neurons.items():
            _keep_contributions(lm, layer, units, active, written, stack)
        stack.enter_context(_recording(lm, receive))
        with suppress(_Reached):
            lm.model.base_model(input_ids=ids, use_cache=False)
    inputs = {i: LayerInputs(residual[i], heads[i], options[i]) for i in layers}
    return inputs, {i: Contributions(active[i], written[i]) for i in neurons}


def queries_of(
    lm: LanguageModel, layer: int, inputs: LayerInputs, residual: torch.Tensor
) -> torch.Tensor:
    """Queries of a layer's heads had its norm read another residual stream.

    Parameters
    ----------
    lm : LanguageModel
    layer : int
    inputs : LayerInputs
        Of the same batch.
    residual : Tensor, shape (batch, position, d_model)

    Returns
    -------
    Tensor, shape (batch, head, position, d_head)
        The norm divides by the size of the given residual stream. A query depends on its own
        position alone, so all positions may be changed at once.
    """
    found: list[torch.Tensor] = []

    def receive(_module: nn.Module, given: HeadInputs) -> None:
        found.append(given.query)
        raise _Reached

    norm = _block(lm, layer).get_submodule(family_of(lm.architecture).attention_norm)
    with _recording(lm, receive), torch.inference_mode(), suppress(_Reached):
        attention_module(lm, layer)(hidden_states=norm(residual), **inputs.options)
    return found[0]


def output_weights(lm: LanguageModel, layer: int, head: int) -> torch.Tensor:
    """What turns a head's mixed values into its output, shape (d_head, d_model)."""
    projection = _block(lm, layer).get_submodule(family_of(lm.architecture).writers[0])
    weight = projection.get_parameter("weight").detach()
    rows = weight.T if isinstance(projection, nn.Linear) else weight
    size = len(rows) // lm.shape.n_heads
    return rows[head * size : (head + 1) * size]


def _keep_inputs(
    lm: LanguageModel,
    layer: int,
    residual: dict[int, torch.Tensor],
    options: dict[int, dict[str, Any]],
    stack: ExitStack,
) -> None:
    norm = _block(lm, layer).get_submodule(family_of(lm.architecture).attention_norm)

    def before_norm(_module: nn.Module, args: tuple) -> None:
        residual[layer] = args[0]

    def before_attention(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        # Whatever is given by place but the hidden states is a cache, which there is none of.
        options[layer] = {
            key: value
            for key, value in kwargs.items()
            if key not in ("hidden_states", "past_key_values", "layer_past")
        }

    stack.callback(norm.register_forward_pre_hook(before_norm).remove)
    attention = attention_module(lm, layer)
    handle = attention.register_forward_pre_hook(before_attention, with_kwargs=True)
    stack.callback(handle.remove)


def _keep_contributions(
    lm: LanguageModel,
    layer: int,
    units: list[int],
    active: dict[int, torch.Tensor],
    written: dict[int, torch.Tensor],
    stack: ExitStack,
) -> None:
    family, block = family_of(lm.architecture), _block(lm, layer)
    down = block.get_submodule(adapter_of(lm.architecture).taps["mlp_post"].module)
    weight = down.get_parameter("weight").detach()
    rows = weight.T if isinstance(down, nn.Linear) else weight

    def read(_module: nn.Module, args: tuple, _output: torch.Tensor) -> None:
        active[layer] = args[0][..., units].movedim(-1, 0)
        written[layer] = active[layer][..., None] * rows[units][:, None, None]

    stack.callback(down.register_forward_hook(read).remove)
    if family.after_mlp:
        norm: Any = block.get_submodule(family.after_mlp)

        def divide(_module: nn.Module, args: tuple, output: torch.Tensor) -> None:
            small = float(getattr(norm, "eps", getattr(norm, "variance_epsilon", 0.0)))
            size = (args[0].float().square().mean(dim=-1, keepdim=True) + small).sqrt()
            gain = norm.weight.float() + (1.0 if family.gain_from_one else 0.0)
            written[layer] = (written[layer].float() / size * gain).to(output.dtype)

        stack.callback(norm.register_forward_hook(divide).remove)


def _block(lm: LanguageModel, layer: int) -> nn.Module:
    blocks = lm.model.base_model.get_submodule(adapter_of(lm.architecture).blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks[layer]


def _attention_name(lm: LanguageModel) -> str:
    return family_of(lm.architecture).attention_readers[0].split(".")[0]
