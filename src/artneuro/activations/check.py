"""The row-level check: a few stored rows against the model run on their sequences alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from artneuro.activations.aggregate import Aggregation
from artneuro.activations.store import ActivationStore
from artneuro.core.errors import StoreError
from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel
from artneuro.models.sites import hook_name

# Relative distance |stored - again| / |again| that rounding explains: of the type that the model
# computes in (sums in another order, over all layers) and of the type that is stored (half a unit
# in the last place of each number).
COMPUTE_TOLERANCE = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}
STORE_TOLERANCE = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def check_store(
    store: ActivationStore,
    lm: LanguageModel,
    tokens: np.ndarray,
    rows: pl.DataFrame,
    *,
    aggregation: Aggregation,
    n_check: int,
    seed: int,
) -> float:
    """Compute random rows again, each sequence alone and without padding, and compare.

    A row that was swapped with another, or taken at another position, has a distance near 1.

    Parameters
    ----------
    store : ActivationStore
        The finished store.
    lm : LanguageModel
        The base model that the store was made with.
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids.
    rows : DataFrame
        The store's row table.
    aggregation : {"mean", "max"}
        How the tokens of a span became one row.
    n_check : int
        Rows to check.
    seed : int
        Seed of their choice.

    Returns
    -------
    float
        The largest relative distance over the checked rows, sites and layers.

    Raises
    ------
    StoreError
        If a distance is above the tolerance, naming site, layer and row.
    """
    tolerance = COMPUTE_TOLERANCE[lm.dtype] + STORE_TOLERANCE[store.attributes["dtype"]]
    n_check = min(n_check, rows.height)
    chosen = np.sort(np.random.default_rng(seed).choice(rows.height, n_check, replace=False))
    again: dict[tuple[str, int], list[np.ndarray]] = {}
    span = (0, 1)

    def consume(site: str, layer: int, value: torch.Tensor) -> None:
        start, end = span
        if site == "attn_pattern":
            padded = torch.zeros(end - start, value.shape[1], tokens.shape[1])
            padded[:, :, : value.shape[3]] = value[0, :, start:end].transpose(0, 1).float().cpu()
            piece = padded.flatten(1)
        else:
            piece = value[0, start:end].float().cpu()
        vector = piece.mean(0) if aggregation == "mean" else piece.max(0).values
        again.setdefault((site, layer), []).append(vector.numpy())

    with tapped(lm.model, lm.architecture, store.sites, store.layers, consume) as run:
        for sequence, start, end in rows[chosen].select("sequence", "start", "end").iter_rows():
            span = (start, end)
            ids = torch.from_numpy(tokens[sequence : sequence + 1, :end].astype(np.int64))
            run(ids.to(lm.device))

    worst = 0.0
    for (site, layer), vectors in again.items():
        expected = np.stack(vectors).astype(np.float64)
        found = store.read(site, layer, chosen)
        scale = np.maximum(np.linalg.norm(expected, axis=1), 1e-6)
        distance = np.linalg.norm(found - expected, axis=1) / scale
        if not distance.max() <= tolerance:
            row = int(chosen[int(np.argmax(distance))])
            raise StoreError(
                f"a stored row differs from the model by {distance.max():.2g} of its norm, more "
                f"than {tolerance:.2g}",
                where=f"{hook_name(site, layer)}, row {row}",
                fix="delete the folder of parts beside the store and run again; if it happens "
                "again with the same row, report it",
            )
        worst = max(worst, float(distance.max()))
    return worst
