"""What becomes of the prediction when a neuron of the last layers is held at values.

Only what lies above the neuron is computed again. A neuron of the last layer moves what the last
norm reads along one direction, so that its logits are those of two parts that are made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from artneuro.interventions.forward import run_from
from artneuro.interventions.measure import LOGIT_BYTES
from artneuro.models.hooks import adapter_of
from artneuro.models.loading import LanguageModel
from artneuro.weights.families import family_of

# What is measured of each prediction, in the order of the arrays.
STATISTICS = ("scale", "entropy", "loss", "reciprocal_rank")
# Tokens of copies that run side by side, each with a value of its own.
COPY_TOKENS = 4096


@dataclass(frozen=True)
class LayerState:
    """What a forward pass left in one layer.

    Attributes
    ----------
    residual : Tensor, shape (batch, position, d_model)
        The residual stream after it.
    activations : Tensor, shape (batch, position, neuron)
        Those of the neurons that were asked for.
    written : Tensor, shape (batch, position, d_model), or None
        What the MLP gave, where a norm follows it.
    """

    residual: torch.Tensor
    activations: torch.Tensor
    written: torch.Tensor | None


@dataclass(frozen=True)
class Recording:
    """One forward pass: its tokens and what some layers held.

    Attributes
    ----------
    ids : Tensor of int64, shape (batch, position)
    layers : dict of LayerState
    last : Tensor, shape (batch, position, d_model)
        The residual stream before the last norm.
    """

    ids: torch.Tensor
    layers: dict[int, LayerState]
    last: torch.Tensor


def record(lm: LanguageModel, ids: torch.Tensor, neurons: Mapping[int, Sequence[int]]) -> Recording:
    """Run a batch and keep what the layers of some neurons held.

    Parameters
    ----------
    lm : LanguageModel
        With its head, which is not run.
    ids : Tensor of int64, shape (batch, position)
        On the model's device.
    neurons : mapping
        Neurons of each layer.
    """
    base, adapter = lm.model.base_model, adapter_of(lm.architecture)
    family = family_of(lm.architecture)
    blocks = base.get_submodule(adapter.blocks)
    assert isinstance(blocks, nn.ModuleList)
    residual: dict[int, torch.Tensor] = {}
    active: dict[int, torch.Tensor] = {}
    written: dict[int, torch.Tensor] = {}
    with ExitStack() as stack, torch.inference_mode():

        def keep(module: nn.Module, layer: int) -> None:
            def after(_module: nn.Module, _args: tuple, output: torch.Tensor | tuple) -> None:
                residual[layer] = output[0] if isinstance(output, tuple) else output

            stack.callback(module.register_forward_hook(after).remove)

        for layer in {*neurons, len(blocks) - 1}:
            keep(blocks[layer], layer)
        for layer, units in neurons.items():
            down = blocks[layer].get_submodule(adapter.taps["mlp_post"].module)

            def read(
                _module: nn.Module, args: tuple, output: torch.Tensor, layer: int = layer,
                units: Sequence[int] = units,
            ) -> None:  # fmt: skip
                active[layer] = args[0][..., list(units)]
                written[layer] = output

            stack.callback(down.register_forward_hook(read).remove)
        base(input_ids=ids, use_cache=False)
    layers = {
        layer: LayerState(
            residual[layer], active[layer], written[layer] if family.after_mlp else None
        )
        for layer in neurons
    }
    return Recording(ids, layers, residual[len(blocks) - 1])


def pinned_residual(
    lm: LanguageModel, state: LayerState, layer: int, neuron: int, column: int, value: float
) -> torch.Tensor:
    """The residual stream after a layer with one neuron held at a value at every token.

    Parameters
    ----------
    lm, layer, neuron
        The neuron.
    state : LayerState
        Of its layer.
    column : int
        The neuron's place in `state.activations`.
    value : float
    """
    block = _block(lm, layer)
    change = (value - state.activations[..., column, None]) * _output_weights(lm, block, neuron)
    if state.written is None:
        return state.residual + change
    norm = block.get_submodule(str(family_of(lm.architecture).after_mlp))
    with torch.inference_mode():
        return state.residual - norm(state.written) + norm(state.written + change)


def _block(lm: LanguageModel, layer: int) -> nn.Module:
    blocks = lm.model.base_model.get_submodule(adapter_of(lm.architecture).blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks[layer]


def _output_weights(lm: LanguageModel, block: nn.Module, neuron: int) -> torch.Tensor:
    """What one unit of activation gives, before a norm that may follow."""
    down = block.get_submodule(adapter_of(lm.architecture).taps["mlp_post"].module)
    weight = down.get_parameter("weight").detach()
    return weight[:, neuron] if isinstance(down, nn.Linear) else weight[neuron]


def pinned_statistics(
    lm: LanguageModel,
    recording: Recording,
    neuron: tuple[int, int],
    column: int,
    values: Sequence[float],
    rows: torch.Tensor,
    positions: torch.Tensor,
) -> np.ndarray:
    """Statistics of predictions with a neuron held at each of some values.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    recording : Recording
        Of the batch.
    neuron : (layer, neuron)
    column : int
        Its place among the recorded activations of its layer.
    values : sequence of float
    rows, positions : Tensor of int64, shape (n,)
        Where predictions of the next token are measured.

    Returns
    -------
    ndarray of float64, shape (value, n, 4)
        `STATISTICS`: see `prediction_statistics`.
    """
    layer, unit = neuron
    state, targets = recording.layers[layer], recording.ids[rows, positions + 1]
    last = lm.shape.n_layers - 1
    if layer == last and state.written is None and not _caps_logits(lm):
        weights = _output_weights(lm, _block(lm, layer), unit)
        return _along_direction(
            lm,
            state.residual[rows, positions],
            weights,
            [value - state.activations[rows, positions, column] for value in values],
            targets,
        )
    found = []
    at_once = max(1, COPY_TOKENS // recording.ids.numel())
    for first in range(0, len(values), at_once):
        copies = torch.stack(
            [
                pinned_residual(lm, state, layer, unit, column, value)
                for value in values[first : first + at_once]
            ]
        )
        before, final = _last_states(lm, recording.ids, layer + 1, copies, rows, positions)
        found += [
            prediction_statistics(lm, b, f, targets) for b, f in zip(before, final, strict=True)
        ]
    return np.stack(found)


def _last_states(
    lm: LanguageModel,
    ids: torch.Tensor,
    layer: int,
    copies: torch.Tensor,
    rows: torch.Tensor,
    positions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the last norm and the head read at some tokens of each copy, (copy, n, d_model) each."""
    base = lm.model.base_model
    if layer == lm.shape.n_layers:
        before = copies[:, rows, positions]
        return before, run_from(base, lm.architecture, ids, layer, before)
    norm = base.get_submodule(family_of(lm.architecture).final_norm)
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, args: tuple) -> None:
        kept.append(args[0].unflatten(0, (len(copies), -1))[:, rows, positions])

    handle = norm.register_forward_pre_hook(keep)
    try:
        final = run_from(base, lm.architecture, ids, layer, copies)
    finally:
        handle.remove()
    return kept[0], final[:, rows, positions]


def prediction_statistics(
    lm: LanguageModel, before: torch.Tensor, final: torch.Tensor, targets: torch.Tensor
) -> np.ndarray:
    """Scale of the last norm, and entropy, loss and reciprocal rank of the prediction.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    before, final : Tensor, shape (n, d_model)
        What the last norm reads and gives.
    targets : Tensor of int64, shape (n,)
        The true next tokens.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        What the norm divides by; entropy and loss in nats; one over the number of tokens that are
        at least as likely as the true one.
    """
    head = lm.model.get_output_embeddings()
    cap = getattr(lm.model.config, "final_logit_softcapping", None)
    scale = norm_scale(lm, before).double().cpu().numpy()
    found = np.empty((len(targets), len(STATISTICS)))
    found[:, 0] = scale
    with torch.inference_mode():
        for part in _parts(lm, len(targets)):
            logits = head(final[part]).float()
            if cap:
                logits = cap * torch.tanh(logits / cap)
            found[part, 1:] = _of_logits(logits, targets[part].to(logits.device))
    return found


def norm_scale(lm: LanguageModel, before: torch.Tensor) -> torch.Tensor:
    """What the last norm divides by: standard deviation (layer norm) or root mean square."""
    family = family_of(lm.architecture)
    norm = lm.model.base_model.get_submodule(family.final_norm)
    values = before.float()
    if family.centred:
        values = values - values.mean(dim=-1, keepdim=True)
    small = float(getattr(norm, "eps", getattr(norm, "variance_epsilon", 0.0)))
    return (values.square().mean(dim=-1) + small).sqrt()


def _along_direction(
    lm: LanguageModel,
    residual: torch.Tensor,
    direction: torch.Tensor,
    amounts: Sequence[torch.Tensor],
    targets: torch.Tensor,
) -> np.ndarray:
    """Statistics after adding amounts of one direction to what the last norm reads.

    Gain and head are linear: logits are (those of the residual stream + amount * those of the
    direction) / scale, plus those of the norm's shift.
    """
    base, family = lm.model.base_model, family_of(lm.architecture)
    norm, head = base.get_submodule(family.final_norm), lm.model.get_output_embeddings()
    shift = getattr(norm, "bias", None)
    found = np.empty((len(amounts), len(targets), len(STATISTICS)))
    with torch.inference_mode():
        weight = norm.get_parameter("weight")
        gain = weight + 1.0 if family.gain_from_one else weight

        def logits_of(vectors: torch.Tensor) -> torch.Tensor:
            if family.centred:
                vectors = vectors - vectors.mean(dim=-1, keepdim=True)
            return nn.functional.linear(vectors * gain, head.weight).float()

        along = logits_of(direction)
        constant = torch.zeros(1, device=along.device) if shift is None else head(shift).float()
        if shift is None and head.bias is not None:
            constant = head.bias.float()
        for part in _parts(lm, len(targets)):
            here, wanted = residual[part], targets[part]
            own = logits_of(here)
            for i, amount in enumerate(amounts):
                moved = amount[part, None]
                scale = norm_scale(lm, here + moved * direction)
                logits = (own + moved.float() * along).div_(scale[:, None]).add_(constant)
                found[i, part, 0] = scale.double().cpu().numpy()
                found[i, part, 1:] = _of_logits(logits, wanted.to(logits.device))
    return found


def _of_logits(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """Entropy, loss and reciprocal rank, shape (n, 3); the logits are overwritten."""
    wanted = logits.gather(1, targets[:, None])
    rank = (logits >= wanted).sum(dim=1)
    top = logits.amax(dim=1, keepdim=True)
    logits.sub_(top)
    wanted = (wanted - top)[:, 0]
    weight = logits.exp()
    total = weight.sum(dim=1)
    log_total = total.log()
    entropy = log_total - weight.mul_(logits).sum(dim=1) / total
    columns = (entropy, log_total - wanted, 1.0 / rank)
    return torch.stack([c.double() for c in columns], dim=1).cpu().numpy()


def _caps_logits(lm: LanguageModel) -> bool:
    return bool(getattr(lm.model.config, "final_logit_softcapping", None))


def _parts(lm: LanguageModel, n: int) -> Iterator[slice]:
    rows = max(1, LOGIT_BYTES // (4 * lm.shape.vocab))
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))
