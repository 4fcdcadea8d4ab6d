"""Loss of every token of some sequences without and with single neurons held at values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from artneuro.core.logs import Progress
from artneuro.interventions.forward import (
    Ablation,
    check_ablations,
    run_ablated,
    run_recorded,
)
from artneuro.interventions.measure import next_token_losses
from artneuro.models.loading import LanguageModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenLosses:
    """Cross-entropies in nats; column j is of the token at position j + 1.

    Attributes
    ----------
    baseline : ndarray of float64, shape (sequence, position)
        Of the model as it is.
    ablated : ndarray of float64, shape (ablation, sequence, position)
    activations : ndarray of float32, shape (ablation, sequence, position)
        What the first unit of each ablation was at the token before, in the model as it is.
    """

    baseline: np.ndarray
    ablated: np.ndarray
    activations: np.ndarray


def token_losses(
    lm: LanguageModel,
    ids: np.ndarray,
    ablations: Sequence[Ablation],
    batch_tokens: int = 2048,
) -> TokenLosses:
    """Losses of every token but the first, as it is and under each ablation alone.

    A batch runs through the whole model once; each ablation goes on from the residual stream in
    front of its layer, so that the layers below are not computed again.

    Parameters
    ----------
    lm : LanguageModel
        With its head (`load_causal_lm`).
    ids : ndarray of int, shape (sequence, position)
    ablations : sequence of Ablation
    batch_tokens : int
        Tokens of a forward pass, copies included (at least one sequence).

    Raises
    ------
    ConfigError
        If a unit does not exist.
    """
    check_ablations(ablations, lm.shape)
    by_layer: dict[int, list[int]] = {}
    for i, ablation in enumerate(ablations):
        by_layer.setdefault(ablation.layer, []).append(i)
    n, width = ids.shape
    baseline = np.empty((n, width - 1))
    ablated = np.empty((len(ablations), n, width - 1))
    activations = np.empty(ablated.shape, dtype=np.float32)
    base, size = lm.model.base_model, max(1, batch_tokens // width)
    counter = Progress("ablations", ids.size * (1 + len(ablations)), "tokens", log)

    def losses(final: torch.Tensor, tokens: torch.Tensor) -> np.ndarray:
        flat = next_token_losses(lm, final[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        return flat.cpu().numpy().reshape(len(tokens), width - 1)

    for first in range(0, n, size):
        rows = slice(first, min(first + size, n))
        tokens = torch.from_numpy(ids[rows].astype(np.int64)).to(lm.device)
        final, residuals = run_recorded(base, lm.architecture, tokens, list(by_layer))
        baseline[rows] = losses(final, tokens)
        counter.add(tokens.numel())
        at_once = max(1, batch_tokens // tokens.numel())
        for layer, members in sorted(by_layer.items()):
            residual = residuals.pop(layer)
            for start in range(0, len(members), at_once):
                chosen = members[start : start + at_once]
                copies, natural = run_ablated(
                    base, lm.architecture, tokens, residual, [ablations[i] for i in chosen]
                )
                for i, copy, value in zip(chosen, copies, natural, strict=True):
                    ablated[i, rows] = losses(copy, tokens)
                    activations[i, rows] = value[:, :-1, 0].float().cpu().numpy()
                counter.add(tokens.numel() * len(chosen))
    return TokenLosses(baseline, ablated, activations)
