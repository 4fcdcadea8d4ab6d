"""Forward passes with units held at values, continued from the layer where they first matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from artneuro.core.errors import ConfigError
from artneuro.models.hooks import Tap, adapter_of
from artneuro.models.info import ModelShape
from artneuro.models.sites import parse_site, units_of
from artneuro.weights.families import family_of


@dataclass(frozen=True)
class Ablation:
    """Units of one site and layer that are held at values, at every token.

    Attributes
    ----------
    layer : int
    units : tuple of int
        Neurons of an MLP, or directions of the residual stream, by the site.
    values : tuple of float
        The activation of each of them.
    site : str
        Short form of the site.
    """

    layer: int
    units: tuple[int, ...]
    values: tuple[float, ...]
    site: str = "mlp_post"


def check_ablations(ablations: Sequence[Ablation], shape: ModelShape) -> None:
    """Make sure that a model has what is to be ablated.

    Raises
    ------
    ConfigError
        If a layer or unit does not exist, a site has no single units, or the numbers of units and
        values differ.
    """
    for ablation in ablations:
        site = parse_site(ablation.site)[0]
        if site == "attn_pattern":
            raise ConfigError(
                "attention patterns cannot be ablated unit by unit", fix="choose another site"
            )
        size = units_of(site, shape, shape.n_ctx)
        wrong = [unit for unit in ablation.units if not 0 <= unit < size]
        if wrong or not 0 <= ablation.layer < shape.n_layers or not ablation.units:
            raise ConfigError(
                f"no units {list(ablation.units)} at {site} of layer {ablation.layer}",
                fix=f"the model has layers 0 to {shape.n_layers - 1} of {size} units",
            )
        if len(ablation.units) != len(ablation.values):
            raise ConfigError(
                f"{len(ablation.units)} units are to be held at {len(ablation.values)} values",
                where=f"{site} of layer {ablation.layer}",
            )


def run_recorded(
    model: nn.Module, architecture: str, tokens: torch.Tensor, layers: Sequence[int]
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Run a base model to its end and keep what some of its layers start from.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face base model, without head, in evaluation mode.
    architecture : str
        Its `model_type`.
    tokens : Tensor of int64, shape (batch, position)
        On the model's device. Sequences may be padded on the right; no attention mask is needed,
        because attention is causal.
    layers : sequence of int
        Layers whose input is kept.

    Returns
    -------
    final : Tensor, shape (batch, position, d_model)
        What the head reads, after the last norm.
    residuals : dict of Tensor, each of shape (batch, position, d_model)
        The residual stream before each of the layers.
    """
    blocks = _blocks(model, architecture)
    residuals: dict[int, torch.Tensor] = {}
    with ExitStack() as hooks, torch.inference_mode():
        for layer in set(layers):

            def keep(_module: nn.Module, args: tuple, kwargs: dict, layer: int = layer) -> None:
                residuals[layer] = args[0] if args else kwargs["hidden_states"]

            handle = blocks[layer].register_forward_pre_hook(keep, with_kwargs=True)
            hooks.callback(handle.remove)
        final = model(input_ids=tokens, use_cache=False).last_hidden_state
    return final, residuals


def run_ablated(
    model: nn.Module,
    architecture: str,
    tokens: torch.Tensor,
    residual: torch.Tensor,
    ablations: Sequence[Ablation],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Run copies of a batch, each with its own ablation, from the layer of the ablations on.

    Parameters
    ----------
    model, architecture, tokens
        As in `run_recorded`.
    residual : Tensor, shape (batch, position, d_model)
        The residual stream before the layer of the ablations, as `run_recorded` kept it.
    ablations : sequence of Ablation
        All of one layer.

    Returns
    -------
    final : Tensor, shape (ablation, batch, position, d_model)
        What the head reads in each copy.
    natural : list of Tensor, each of shape (batch, position, unit)
        The activations of each ablation's units, had they not been held.
    """
    (layer,) = {ablation.layer for ablation in ablations}
    blocks, taps, n = _blocks(model, architecture), adapter_of(architecture).taps, len(ablations)
    natural: dict[int, torch.Tensor] = {}
    with ExitStack() as stack, torch.inference_mode():
        stack.enter_context(_starting_at(blocks, layer, residual.repeat(n, 1, 1)))
        for site in dict.fromkeys(ablation.site for ablation in ablations):
            held = [(copy, a) for copy, a in enumerate(ablations) if a.site == site]
            stack.enter_context(_holding(blocks[layer], taps[site], held, n, natural))
        final = model(input_ids=tokens.repeat(n, 1), use_cache=False).last_hidden_state
    return final.unflatten(0, (n, -1)), [natural[copy] for copy in range(n)]


def run_from(
    model: nn.Module, architecture: str, tokens: torch.Tensor, layer: int, residual: torch.Tensor
) -> torch.Tensor:
    """Run copies of a batch from a layer on, each with a residual stream of its own.

    Parameters
    ----------
    model, architecture, tokens
        As in `run_recorded`.
    layer : int
        The first layer that is run; the number of layers leaves the last norm alone.
    residual : Tensor, shape (copy, batch, position, d_model)
        The residual stream before it.

    Returns
    -------
    Tensor, shape (copy, batch, position, d_model)
        What the head reads.
    """
    blocks, n = _blocks(model, architecture), len(residual)
    with torch.inference_mode():
        if layer == len(blocks):
            return model.get_submodule(family_of(architecture).final_norm)(residual)
        with _starting_at(blocks, layer, residual.flatten(0, 1)):
            final = model(input_ids=tokens.repeat(n, 1), use_cache=False).last_hidden_state
    return final.unflatten(0, (n, -1))


def _blocks(model: nn.Module, architecture: str) -> nn.ModuleList:
    blocks = model.get_submodule(adapter_of(architecture).blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks


@contextmanager
def _starting_at(blocks: nn.ModuleList, layer: int, residual: torch.Tensor) -> Iterator[None]:
    """Let a model pass over its first blocks and begin at `layer` with a given residual stream.

    The model itself still makes masks and positions, which differ between families and layers.
    """

    def begin(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return _with_input(args, kwargs, residual)

    with ExitStack() as stack:
        for block in blocks[:layer]:
            # On the instance, where a library that spreads a model over devices puts its own.
            previous = block.__dict__.get("forward")
            block.__dict__["forward"] = _pass_on
            stack.callback(_restore, block, previous)
        handle = blocks[layer].register_forward_pre_hook(begin, with_kwargs=True)
        stack.callback(handle.remove)
        yield


def _pass_on(hidden_states: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
    return hidden_states


def _restore(block: nn.Module, previous: Any) -> None:
    if previous is None:
        del block.__dict__["forward"]
    else:
        block.__dict__["forward"] = previous


@contextmanager
def _holding(
    block: nn.Module,
    tap: Tap,
    held: Sequence[tuple[int, Ablation]],
    n_copies: int,
    natural: dict[int, torch.Tensor],
) -> Iterator[None]:
    """Hold units of a site at values in the copies that say so, keeping what they were."""
    module = block.get_submodule(tap.module) if tap.module else block

    def edit(value: torch.Tensor) -> torch.Tensor:
        edited = value.clone()
        copies = edited.unflatten(0, (n_copies, -1))
        for copy, ablation in held:
            units = torch.tensor(ablation.units, device=value.device)
            natural[copy] = copies[copy][..., units]
            copies[copy][..., units] = torch.tensor(
                ablation.values, dtype=value.dtype, device=value.device
            )
        return edited

    def before(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        value = args[0] if args else kwargs["hidden_states"]
        return _with_input(args, kwargs, edit(value))

    def after(_module: nn.Module, _args: tuple, output: Any) -> Any:
        if not isinstance(output, tuple):
            return edit(output)
        i = tap.index
        return (*output[:i], edit(output[i]), *output[i + 1 :])

    if tap.side == "input":
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _with_input(args: tuple, kwargs: dict, value: torch.Tensor) -> tuple[tuple, dict]:
    """The arguments of a submodule with another first input."""
    if args:
        return (value, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": value}
