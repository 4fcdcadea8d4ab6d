"""Reading activations: which submodule of each family gives a site, and running up to the last.

Each family of models says, in one small table, which submodule's input or output a site is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from artneuro.core.errors import ModelError
from artneuro.models.sites import SITES, check_layers, hook_name, parse_site


@dataclass(frozen=True)
class Tap:
    """Where a site is read: input or output of a submodule of the block ("" is the block)."""

    module: str
    side: Literal["input", "output"]
    index: int = 0


@dataclass(frozen=True)
class Adapter:
    """A family of models: where its blocks are, and the tap of each site."""

    blocks: str
    taps: dict[str, Tap]


def _adapter(blocks: str, attention: str, mlp_pre: str, mlp_post: str, attn_out: Tap) -> Adapter:
    return Adapter(
        blocks,
        {
            "resid_pre": Tap("", "input"),
            "attn_pattern": Tap(attention, "output", 1),
            "attn_out": attn_out,
            "mlp_pre": Tap(mlp_pre, "output"),
            "mlp_post": Tap(mlp_post, "input"),
            "resid_post": Tap("", "output"),
        },
    )


# A neuron of a gated MLP is one input of the down projection: the gate's activation times the
# linear part. Its mlp_pre is the gate before the nonlinearity.
_GATED = _adapter(
    "layers", "self_attn", "mlp.gate_proj", "mlp.down_proj", Tap("self_attn", "output")
)
# Gemma 2 and 3 normalise the attention's output before it is added to the residual stream.
_GATED_POST_NORM = _adapter(
    "layers",
    "self_attn",
    "mlp.gate_proj",
    "mlp.down_proj",
    Tap("post_attention_layernorm", "output"),
)

ADAPTERS: dict[str, Adapter] = {
    "gpt2": _adapter("h", "attn", "mlp.c_fc", "mlp.c_proj", Tap("attn", "output")),
    "gpt_neox": _adapter(
        "layers", "attention", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", Tap("attention", "output")
    ),
    "llama": _GATED,
    "gemma": _GATED,
    "gemma2": _GATED_POST_NORM,
    "gemma3_text": _GATED_POST_NORM,
}


def adapter_of(architecture: str, where: str | None = None) -> Adapter:
    """The adapter of an architecture (`model_type` of a Hugging Face config).

    Raises
    ------
    ModelError
        If the architecture is not supported; the message lists those that are.
    """
    if architecture not in ADAPTERS:
        raise ModelError(
            f"the architecture {architecture!r} is not supported",
            where=where,
            fix=f"supported architectures: {', '.join(sorted(ADAPTERS))}",
        )
    return ADAPTERS[architecture]


class _Reached(Exception):
    """Raised by the last hook that is needed: nothing above it is computed."""


Consumer = Callable[[str, int, torch.Tensor], None]
Runner = Callable[..., None]


@contextmanager
def tapped(
    model: nn.Module,
    architecture: str,
    sites: Iterable[str],
    layers: Sequence[int],
    consume: Consumer,
) -> Iterator[Runner]:
    """Hook sites of a base model and yield a function that runs it up to the last of them.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face base model, without head, in evaluation mode.
    architecture : str
        Its `model_type`.
    sites : iterable of str
        Sites to read, in short form.
    layers : sequence of int
        Layers to read them at.
    consume : callable (site, layer, activation) -> None
        Called once for each site and layer, in the order of computation, with the activation as
        the model holds it: (batch, position, unit), for attn_pattern (batch, head, query, key).
        It must not keep or change the tensor.

    Yields
    ------
    callable (tokens, past=None) -> None
        Runs the model on tokens (batch, position) in inference mode, behind the positions whose
        keys and values `past` has (a cache of transformers, which grows by these tokens). No
        attention mask is passed: a sequence padded on the right is read correctly at its own
        positions, because attention is causal.
    """
    adapter = adapter_of(architecture)
    wanted = [s for s in SITES if s in {parse_site(name)[0] for name in sites}]
    blocks = model.get_submodule(adapter.blocks)
    assert isinstance(blocks, nn.ModuleList)
    chosen = check_layers(list(layers), len(blocks))
    last = (wanted[-1], chosen[-1])
    handles = []

    def take(site: str, layer: int, value: Any) -> None:
        consume(site, layer, value)
        if (site, layer) == last:
            raise _Reached

    def hook(site: str, layer: int, tap: Tap) -> None:
        block = blocks[layer]
        module = block.get_submodule(tap.module) if tap.module else block
        if tap.side == "input":

            def before(_module: nn.Module, args: tuple, kwargs: dict) -> None:
                take(site, layer, args[0] if args else kwargs["hidden_states"])

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:

            def after(_module: nn.Module, _args: tuple, output: Any) -> None:
                take(site, layer, output[tap.index] if isinstance(output, tuple) else output)

            handles.append(module.register_forward_hook(after))

    def run(tokens: torch.Tensor, past: Any = None) -> None:
        with torch.inference_mode():
            try:
                model(input_ids=tokens, past_key_values=past, use_cache=past is not None)
            except _Reached:
                return
        raise ModelError(
            "the model ended without passing all its blocks",
            where=hook_name(*last),
            fix="is this the base model of a supported architecture?",
        )

    with _eager_attention(model) if "attn_pattern" in wanted else nullcontext():
        try:
            for layer in chosen:
                for site in wanted:
                    hook(site, layer, adapter.taps[site])
            yield run
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    """Let a model compute its attention patterns explicitly, which fused kernels do not."""
    previous = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


def capture(
    model: nn.Module,
    architecture: str,
    tokens: torch.Tensor,
    sites: Iterable[str],
    layers: Sequence[int],
) -> dict[tuple[str, int], torch.Tensor]:
    """Activations of whole sequences: {(site, layer): copy of the activation}.

    The same shapes as `tapped` gives to its consumer; meant for a few sequences, since every
    activation stays in memory.
    """
    found: dict[tuple[str, int], torch.Tensor] = {}

    def keep(site: str, layer: int, value: torch.Tensor) -> None:
        found[site, layer] = value.clone()

    with tapped(model, architecture, sites, layers, keep) as run:
        run(tokens.to(next(model.parameters()).device))
    return found
