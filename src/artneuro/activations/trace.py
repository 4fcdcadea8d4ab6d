"""Activations of a few neurons on every token, for a closer look at what a probe has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from artneuro.activations.plan import make_plan
from artneuro.core.errors import StoreError
from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel
from artneuro.models.sites import hook_name


def trace_neurons(
    lm: LanguageModel,
    tokens: np.ndarray,
    text: np.ndarray,
    neurons: Sequence[tuple[int, int]],
    *,
    site: str = "mlp_post",
    batch_tokens: int = 4096,
    on_batch: Callable[[int], None] = lambda n_tokens: None,
) -> np.ndarray:
    """Activations of chosen neurons on all tokens of a token dataset, in one pass.

    Nothing above the highest chosen layer is run, and only the chosen units leave a batch: the
    memory is that of the result and of one batch.

    Parameters
    ----------
    lm : LanguageModel
        The base model.
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids; sequences are padded on the right.
    text : ndarray of bool, shape (n_sequences, n_ctx)
        Tokens to keep: neither padding nor special.
    neurons : sequence of (layer, neuron)
    site : str
        Where the neurons are read, in short form; not attn_pattern.
    batch_tokens : int
        Tokens of a batch, padding included.
    on_batch : callable
        Called with the number of kept tokens of each finished batch.

    Returns
    -------
    ndarray of float32, shape (n_sequences, n_ctx, neurons)
        NaN where `text` is false.

    Raises
    ------
    ConfigError
        If a layer does not exist.
    StoreError
        If an activation is not finite, naming layer, neuron and sequence.
    """
    found = np.full((*tokens.shape, len(neurons)), np.nan, dtype=np.float32)
    kept = np.flatnonzero(text.any(axis=1))
    if not len(kept) or not len(neurons):
        return found
    columns: dict[int, list[int]] = {}
    for column, (layer, _) in enumerate(neurons):
        columns.setdefault(layer, []).append(column)
    units = {
        layer: torch.tensor([neurons[c][1] for c in chosen]) for layer, chosen in columns.items()
    }
    length = tokens.shape[1] - text[kept, ::-1].argmax(axis=1)
    (part,) = make_plan(kept, length, tokens.shape[1], batch_tokens, len(kept), len(tokens))
    rows, width = kept[:0], 0

    def consume(_site: str, layer: int, value: torch.Tensor) -> None:
        chosen = value.index_select(-1, units[layer].to(value.device)).float().cpu().numpy()
        for place, column in enumerate(columns[layer]):
            found[rows, :width, column] = chosen[..., place]

    with tapped(lm.model, lm.architecture, [site], list(columns), consume) as run:
        for batch in part.batches:
            rows, width = batch.sequences, batch.width
            run(torch.from_numpy(tokens[rows, :width].astype(np.int64)).to(lm.device))
            on_batch(int(text[rows].sum()))
    found[~text] = np.nan
    wrong = np.argwhere(text[..., None] & ~np.isfinite(found))
    if len(wrong):
        sequence, position, column = (int(i) for i in wrong[0])
        layer, neuron = neurons[column]
        raise StoreError(
            "an activation is not finite",
            where=f"{hook_name(site, layer)}, unit {neuron}, sequence {sequence}, token {position}",
            fix="compute the model in float32 or bfloat16 (its 'dtype'), or check its weights",
        )
    return found
