"""Losses of sequences without and with ablations, and activations of single units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from artneuro.activations.plan import Batch, make_plan
from artneuro.core.errors import DataError
from artneuro.core.logs import Progress
from artneuro.interventions.forward import (
    Ablation,
    check_ablations,
    run_ablated,
    run_recorded,
)
from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel

log = logging.getLogger(__name__)

# The head's output is as wide as the vocabulary, so it is made for as many tokens as fit in this.
LOGIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Spans:
    """The tokens of each sequence that are measured: [start, end), half-open.

    Attributes
    ----------
    sequence : ndarray of int, shape (n,)
        Rows of the token array.
    start, end : ndarray of int, shape (n,)
        The first is 1 or more where losses are measured: nothing predicts the token at 0.
    """

    sequence: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def n_tokens(self) -> np.ndarray:
        """Tokens of each span."""
        return self.end - self.start

    @property
    def total(self) -> int:
        """Tokens of all spans."""
        return int(self.n_tokens.sum())

    def take(self, indices: np.ndarray) -> Spans:
        """Some of the spans."""
        return Spans(self.sequence[indices], self.start[indices], self.end[indices])


@dataclass(frozen=True)
class Losses:
    """Cross-entropies of the next token in nats, summed over the tokens of each span.

    Attributes
    ----------
    n_tokens : ndarray of int, shape (n,)
    baseline : ndarray of float64, shape (n,)
        Of the model as it is.
    ablated : ndarray of float64, shape (ablation, n)
    activations : list of ndarray of float32, each of shape (unit, token)
        What the units of each ablation were in the model as it is: the tokens of the first span,
        then those of the second, and so on.
    """

    n_tokens: np.ndarray
    baseline: np.ndarray
    ablated: np.ndarray
    activations: list[np.ndarray]


def ablation_losses(
    lm: LanguageModel,
    tokens: np.ndarray,
    spans: Spans,
    ablations: Sequence[Ablation],
    batch_tokens: int = 4096,
) -> Losses:
    """Loss of each span in the model as it is, and under each ablation alone.

    A batch runs through the whole model once, keeping the residual stream before each layer that
    has an ablation. The ablations of a layer go on from there, several copies of the batch at a
    time where they fit, so that layers below are not computed again.

    Parameters
    ----------
    lm : LanguageModel
        With its head (`load_causal_lm`).
    tokens : ndarray of int, shape (n_sequences, n_ctx)
        Token ids.
    spans : Spans
        Tokens whose prediction counts; the model sees what precedes them too.
    ablations : sequence of Ablation
        In any order.
    batch_tokens : int
        Tokens of a forward pass, padding and copies included (at least one sequence).

    Returns
    -------
    Losses

    Raises
    ------
    ConfigError
        If a unit does not exist.
    DataError
        If a span is empty, begins at position 0, or ends behind the tokens.
    """
    check_ablations(ablations, lm.shape)
    _check_spans(spans, tokens.shape[1], first=1)
    by_layer: dict[int, list[int]] = {}
    for i, ablation in enumerate(ablations):
        by_layer.setdefault(ablation.layer, []).append(i)
    base = lm.model.base_model
    baseline = np.zeros(len(spans.sequence))
    ablated = np.zeros((len(ablations), len(spans.sequence)))
    natural = [np.empty((len(a.units), spans.total), dtype=np.float32) for a in ablations]
    batches = _batches(spans, tokens.shape[1], batch_tokens)
    total = sum(len(b.sequences) * b.width for b in batches) * (1 + len(ablations))
    counter = Progress("ablations", total, "tokens", log)
    for batch in batches:
        ids = _ids(tokens, spans, batch, lm.device)
        size = ids.numel()
        final, residuals = run_recorded(base, lm.architecture, ids, list(by_layer))
        summed = _summed_losses(lm, spans, batch, ids)
        baseline[batch.sequences] = summed(final)
        counter.add(size)
        at_once = max(1, batch_tokens // size)
        for layer in sorted(by_layer):
            residual, members = residuals.pop(layer), by_layer[layer]
            for first in range(0, len(members), at_once):
                chosen = members[first : first + at_once]
                copies, found = run_ablated(
                    base, lm.architecture, ids, residual, [ablations[i] for i in chosen]
                )
                for i, copy, value in zip(chosen, copies, found, strict=True):
                    ablated[i, batch.sequences] = summed(copy)
                    _place(natural[i], value, spans, batch)
                counter.add(size * len(chosen))
    return Losses(spans.n_tokens, baseline, ablated, natural)


def _summed_losses(
    lm: LanguageModel, spans: Spans, batch: Batch, ids: torch.Tensor
) -> Callable[[torch.Tensor], np.ndarray]:
    """A function from the final states of a batch to the summed loss of each of its spans."""
    start, end = spans.start[batch.sequences], spans.end[batch.sequences]
    position = np.arange(ids.shape[1])
    counted = (position >= start[:, None]) & (position < end[:, None])
    where, at = np.nonzero(counted)
    row = torch.from_numpy(where).to(ids.device)
    column = torch.from_numpy(at).to(ids.device)
    targets = ids[row, column]

    def summed(final: torch.Tensor) -> np.ndarray:
        losses = next_token_losses(
            lm, final[row.to(final.device), column.to(final.device) - 1], targets
        )
        return np.bincount(where, weights=losses.cpu().numpy(), minlength=len(ids))

    return summed


def next_token_losses(
    lm: LanguageModel, hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each target in nats, the logits made for a few tokens at a time.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    hidden : Tensor, shape (n, d_model)
        What the head reads at the token before each target.
    targets : Tensor of int64, shape (n,)

    Returns
    -------
    Tensor of float64, shape (n,)
    """
    head = lm.model.get_output_embeddings()
    # Gemma 2 bounds its logits smoothly.
    cap = getattr(lm.model.config, "final_logit_softcapping", None)
    rows = max(1, LOGIT_BYTES // (4 * lm.shape.vocab))
    losses = []
    with torch.inference_mode():
        for i in range(0, len(targets), rows):
            logits = head(hidden[i : i + rows]).float()
            if cap:
                logits = cap * torch.tanh(logits / cap)
            wanted = targets[i : i + rows].to(logits.device)
            losses.append(functional.cross_entropy(logits, wanted, reduction="none").double())
    return torch.cat(losses)


def unit_activations(
    lm: LanguageModel,
    tokens: np.ndarray,
    spans: Spans,
    site: str,
    units: Sequence[tuple[int, int]],
    batch_tokens: int = 4096,
) -> np.ndarray:
    """Activations of a few units on every token of the spans.

    Parameters
    ----------
    lm : LanguageModel
        With or without its head, which is not run.
    tokens, spans, batch_tokens
        As in `ablation_losses`; a span may begin at 0.
    site : str
        Short form of the site.
    units : sequence of (layer, unit)

    Returns
    -------
    ndarray of float32, shape (unit, token)
        The tokens of the first span, then those of the second, and so on.
    """
    _check_spans(spans, tokens.shape[1], first=0)
    of_layer: dict[int, list[int]] = {}
    for i, (layer, _) in enumerate(units):
        of_layer.setdefault(layer, []).append(i)
    parts = {
        layer: np.empty((len(rows), spans.total), np.float32) for layer, rows in of_layer.items()
    }
    batches = _batches(spans, tokens.shape[1], batch_tokens)
    current: list[Batch] = []

    def consume(_site: str, layer: int, value: torch.Tensor) -> None:
        chosen = torch.tensor([units[i][1] for i in of_layer[layer]], device=value.device)
        _place(parts[layer], value.index_select(-1, chosen), spans, current[0])

    counter = Progress(
        "activations", sum(len(b.sequences) * b.width for b in batches), "tokens", log
    )
    with tapped(lm.model.base_model, lm.architecture, [site], list(of_layer), consume) as run:
        for batch in batches:
            current[:] = [batch]
            ids = _ids(tokens, spans, batch, lm.device)
            run(ids)
            counter.add(ids.numel())
    found = np.empty((len(units), spans.total), dtype=np.float32)
    for layer, rows in of_layer.items():
        found[rows] = parts[layer]
    return found


def _place(target: np.ndarray, value: torch.Tensor, spans: Spans, batch: Batch) -> None:
    """Put a batch's activations (batch, position, unit) at the tokens of its spans."""
    found, ends = value.float().cpu().numpy(), np.cumsum(spans.n_tokens)
    for in_batch, span in enumerate(batch.sequences):
        inside = found[in_batch, spans.start[span] : spans.end[span]]
        target[:, ends[span] - len(inside) : ends[span]] = inside.T


def _batches(spans: Spans, n_ctx: int, batch_tokens: int) -> list[Batch]:
    """Batches of spans of similar end; their `sequences` are indices of spans."""
    n = len(spans.sequence)
    plan = make_plan(np.arange(n), spans.end, n_ctx, batch_tokens, n, n)
    return [batch for part in plan for batch in part.batches]


def _ids(tokens: np.ndarray, spans: Spans, batch: Batch, device: torch.device) -> torch.Tensor:
    rows = tokens[spans.sequence[batch.sequences], : batch.width]
    return torch.from_numpy(rows.astype(np.int64)).to(device)


def _check_spans(spans: Spans, n_ctx: int, first: int) -> None:
    wrong = (spans.start < first) | (spans.start >= spans.end) | (spans.end > n_ctx)
    if wrong.any() or not len(wrong):
        where = int(np.flatnonzero(wrong)[0]) if len(wrong) else None
        raise DataError(
            "there are no tokens to measure"
            if where is None
            else f"tokens {spans.start[where]} to {spans.end[where]} cannot be measured",
            where=None if where is None else f"sequence {spans.sequence[where]}",
            fix=f"a span lies within tokens {first} to {n_ctx} and is not empty",
        )
