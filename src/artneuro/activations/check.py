"""The row-level check: a few stored rows against the model run on their sequences alone."""

from __future__ import annotations

from collections.abc import Sequence

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


# Vectors that were computed again: rows of the store, in this order, by site and layer.
Again = dict[tuple[str, int], np.ndarray]


def choose_rows(n_rows: int, n_check: int, seed: int) -> np.ndarray:
    """Rows of a store to compute again: random and sorted."""
    chosen = np.random.default_rng(seed).choice(n_rows, min(n_check, n_rows), replace=False)
    return np.sort(chosen)


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
    chosen = choose_rows(rows.height, n_check, seed)
    again = compute_rows(lm, tokens, rows[chosen], store.sites, store.layers, aggregation)
    return compare_rows(store, chosen, again, lm.dtype)


def compute_rows(
    lm: LanguageModel,
    tokens: np.ndarray,
    rows: pl.DataFrame,
    sites: Sequence[str],
    layers: Sequence[int],
    aggregation: Aggregation,
) -> Again:
    """Compute the vectors of a few rows, each sequence alone and without padding.

    Parameters
    ----------
    lm, tokens, aggregation
        As for `check_store`.
    rows : DataFrame
        `sequence`, `start`, `end` of the rows.
    sites, layers : sequence
        What to read.

    Returns
    -------
    dict of (str, int) to ndarray of float32, shape (n_rows, unit)
        Empty without rows.
    """
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

    with tapped(lm.model, lm.architecture, sites, layers, consume) as run:
        for sequence, start, end in rows.select("sequence", "start", "end").iter_rows():
            span = (start, end)
            ids = torch.from_numpy(tokens[sequence : sequence + 1, :end].astype(np.int64))
            run(ids.to(lm.device))
    return {key: np.stack(vectors) for key, vectors in again.items()}


def compare_rows(
    store: ActivationStore, chosen: np.ndarray, again: Again, compute_dtype: str
) -> float:
    """Compare rows of a store with what was computed again.

    Parameters
    ----------
    store : ActivationStore
        The finished store.
    chosen : ndarray of int
        Its rows, in the order of `again`.
    again : dict
        From `compute_rows`.
    compute_dtype : str
        Type that the model computed in.

    Returns
    -------
    float
        The largest relative distance over the rows, sites and layers.

    Raises
    ------
    StoreError
        If a distance is above the tolerance, naming site, layer and row.
    """
    tolerance = COMPUTE_TOLERANCE[compute_dtype] + STORE_TOLERANCE[store.attributes["dtype"]]
    worst = 0.0
    for (site, layer), vectors in again.items():
        expected = vectors.astype(np.float64)
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
