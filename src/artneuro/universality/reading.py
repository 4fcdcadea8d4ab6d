"""Activations of several models on the same tokens, one forward pass of each model a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel
from artneuro.universality.blocks import Block

# model, layer, first row, activations (row, neuron): must not keep or change the tensor.
Taker = Callable[[str, int, int, torch.Tensor], None]


@contextmanager
def reading(
    models: Mapping[str, LanguageModel],
    layers: Mapping[str, range],
    tokens: np.ndarray,
    take: Taker,
) -> Iterator[Callable[[Block], None]]:
    """Yield a function that runs all models on a block of tokens.

    Parameters
    ----------
    models : mapping of str to LanguageModel
        Base models.
    layers : mapping of str to range
        Layers to read of each; those above are not run.
    tokens : ndarray of int, shape (sequence, position)
    take : callable (model, layer, first row, activations) -> None
        Called for each batch of the block, model and layer with the activations of the wanted
        tokens, (row, neuron), and the place of the first of these rows in the block.
    """
    first, wanted = 0, torch.empty(0, dtype=torch.int64)

    def consumer(model: str) -> Callable[[str, int, torch.Tensor], None]:
        def consume(_site: str, layer: int, value: torch.Tensor) -> None:
            rows = value.flatten(0, 1)
            if len(wanted) < len(rows):
                rows = rows.index_select(0, wanted.to(value.device))
            take(model, layer, first, rows)

        return consume

    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(
                tapped(lm.model, lm.architecture, ["mlp_post"], layers[name], consumer(name))
            )
            for name, lm in models.items()
        }

        def run(block: Block) -> None:
            nonlocal first, wanted
            first = 0
            for batch in block.batches:
                ids = torch.from_numpy(tokens[batch.sequences, : batch.width].astype(np.int64))
                wanted = torch.from_numpy(batch.wanted)
                for name, lm in models.items():
                    runs[name](ids.to(lm.device))
                first += len(batch.wanted)

        yield run
