"""Which GPU holds which layer of a model: one where it fits, else blocks in a row over several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from artneuro.core.errors import ModelError
from artneuro.models.hooks import adapter_of

# Share of a GPU's free memory that weights may take: the rest is for activations.
FOR_WEIGHTS = 0.85


def empty_model(auto: Any, config: Any, trust_remote_code: bool = False) -> Any:
    """A model without memory for its weights: what `auto` makes of a config."""
    with torch.device("meta"):
        return auto.from_config(config, trust_remote_code=trust_remote_code)


def blocks_of(model: Any) -> str:
    """Path of the list of blocks in a base model, or in one with its head."""
    blocks = adapter_of(model.config.model_type).blocks
    return blocks if model.base_model is model else f"{model.base_model_prefix}.{blocks}"


def place_model(
    skeleton: Any, blocks: str, dtype: torch.dtype, free: Sequence[int], where: str
) -> dict[str, int]:
    """The device map of a model for transformers and accelerate.

    A model that fits on one GPU is on the first. Else as few GPUs as it needs hold consecutive
    blocks, evenly by their free memory; embeddings are with the first blocks, the norm and an
    untied head with the last. Nothing is left to the memory of the CPU or to disk, which would
    make every pass wait for weights to be copied.

    Parameters
    ----------
    skeleton : PreTrainedModel
        The model without memory for its weights (on the meta device).
    blocks : str
        Path of its list of blocks.
    dtype : torch.dtype
        Type of the weights once loaded.
    free : sequence of int
        Free bytes of every GPU.
    where : str
        The model's folder, for errors.

    Returns
    -------
    dict of str to int
        The GPU of each module by its path, as a place in `free`; the path "" is the whole model.

    Raises
    ------
    ModelError
        If it does not fit on all GPUs together.
    """
    total = _bytes([skeleton], dtype)
    # With one GPU there is no choice, and a small batch may do with little room.
    if total <= (FOR_WEIGHTS if len(free) > 1 else 1.0) * free[0]:
        return {"": 0}
    first, last = _beside(skeleton, blocks)
    layers = skeleton.get_submodule(blocks)
    assert isinstance(layers, nn.ModuleList)
    sizes = [_bytes([layer], dtype) for layer in layers]
    sizes[0] += _bytes([skeleton.get_submodule(name) for name in first], dtype)
    sizes[-1] += _bytes([skeleton.get_submodule(name) for name in last], dtype)
    for n in range(2, len(free) + 1):
        owners = _spread(sizes, free[:n])
        if owners is not None:
            found = dict.fromkeys(first, owners[0])
            found |= {f"{blocks}.{i}": gpu for i, gpu in enumerate(owners)}
            return found | dict.fromkeys(last, owners[-1])
    memory = " + ".join(f"{bytes_ / 1e9:.1f}" for bytes_ in free)
    raise ModelError(
        f"the model's weights take {total / 1e9:.1f} GB, and do not fit into the {memory} GB that "
        f"are free on {'the GPU' if len(free) == 1 else f'{len(free)} GPUs'} here",
        where=where,
        fix="ask for more GPUs a job (the model's 'gpus' in the config), for GPUs with more memory "
        "(docs/cluster.md), or for a smaller 'dtype'",
    )


def _spread(sizes: Sequence[int], free: Sequence[int]) -> list[int] | None:
    """The GPU of each block, filled one after the other as evenly as can be; None: no room."""
    # Whether all fit grows with the share of memory that may be taken: the least one is the most
    # even division.
    low, high, best = 0.0, FOR_WEIGHTS, _fill(sizes, [FOR_WEIGHTS * f for f in free])
    if best is None:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        found = _fill(sizes, [middle * f for f in free])
        if found is None:
            low = middle
        else:
            high, best = middle, found
    return best


def _fill(sizes: Sequence[int], room: Sequence[float]) -> list[int] | None:
    owners: list[int] = []
    gpu, used = 0, 0
    for size in sizes:
        while used + size > room[gpu]:
            gpu, used = gpu + 1, 0
            if gpu == len(room):
                return None
        owners.append(gpu)
        used += size
    return owners


def _beside(skeleton: Any, blocks: str) -> tuple[list[str], list[str]]:
    """Paths of the modules beside the blocks: those to go with the first and with the last."""
    first: list[str] = []
    last: list[str] = []
    embedding = {id(p) for p in skeleton.get_input_embeddings().parameters()}
    parts = blocks.split(".")
    for depth, name in enumerate(parts):
        above = parts[:depth]
        is_behind = False
        for child, module in skeleton.get_submodule(".".join(above)).named_children():
            if child == name:
                is_behind = True
                continue
            # What has no weights (rotary embeddings) is used before the blocks, and an output
            # embedding that is the input's has to be where that is.
            own = {id(p) for p in module.parameters()}
            goes_last = is_behind and own and not own & embedding
            (last if goes_last else first).append(".".join([*above, child]))
    return first, last


def _bytes(modules: Sequence[nn.Module], dtype: torch.dtype) -> int:
    """Bytes of weights and buffers of modules, each weight once."""
    weights = {id(p): p.numel() for module in modules for p in module.parameters()}
    buffers = {id(b): b.numel() * b.element_size() for m in modules for b in m.buffers()}
    return sum(weights.values()) * dtype.itemsize + sum(buffers.values())
