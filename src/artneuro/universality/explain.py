"""What every neuron of a model responds to, from one forward pass over a text.

The pass gives statistics of pre-activations and the variance of activations that each explanation
takes away, for all neurons and all explanations at once.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import torch

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError, StoreError
from artneuro.core.logs import Progress
from artneuro.datasets.tokenizer import check_ids, load_tokenizer
from artneuro.datasets.tokens import TokenDataset, read_token_dataset
from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel, load_model
from artneuro.models.sites import hook_name
from artneuro.universality.explain_tables import (
    LayerResult,
    explanations_table,
    positions_table,
    statistics_table,
)
from artneuro.universality.explanations import Labels
from artneuro.universality.explanations_config import ExplanationsConfig
from artneuro.universality.statistics import PreActivationStatistics
from artneuro.universality.token_labels import LabelledText, label_text, labelled_text
from artneuro.universality.variance_reduction import ClassSums, LabelBlock

log = logging.getLogger(__name__)

PRE, POST = "mlp_pre", "mlp_post"


@dataclass(frozen=True)
class ExplainFacts:
    """What a job of explanations did, for its provenance.

    Attributes
    ----------
    device, compute_dtype : str
        Where the model ran, and in which type.
    n_tokens, n_sequences : int
        Tokens that the statistics are of.
    n_neurons, n_explanations, n_left_out : int
        Neurons, explanations, and explanations that too few tokens are in or out of.
    seconds : float
        The pass.
    """

    device: str
    compute_dtype: str
    n_tokens: int
    n_sequences: int
    n_neurons: int
    n_explanations: int
    n_left_out: int
    seconds: float


def explain_neurons(
    config: ExplanationsConfig,
    *,
    weights: Path,
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    outputs: dict[str, Path],
    model: str,
    text: str,
    max_tokens: int | None = None,
    exclude: tuple[str, ...] = ("document_token", "newline"),
    document_token: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> ExplainFacts:
    """Run a model over a text and write what its neurons respond to.

    Parameters
    ----------
    config : ExplanationsConfig
    weights : path
        The model folder.
    tokenizer : path
        The folder whose tokenizer made the tokens.
    tokens, sequences : path
        The text.
    outputs : dict of str to path
        Tables to write, schemas in docs/architecture.md: `statistics` (a row a neuron),
        `explanations` (its best explanations), `positions` (curves over positions of the most
        position-dependent neurons).
    model, text : str
        Names for the tables.
    max_tokens : int, optional
        Read the first sequences with so many tokens alone.
    exclude : sequence of {"document_token", "newline"}
        Tokens left out of all statistics, besides padding.
    document_token : str, optional
        As in the text's config.
    dtype, device, threads, trust_remote_code
        How the model runs: see `load_model`.

    Returns
    -------
    ExplainFacts

    Raises
    ------
    DataError
        If the tokens are of another tokenizer, or none is left.
    StoreError
        If an activation is not finite.

    Notes
    -----
    Thesis, sections 3.4.2 and 3.4.3, equation 3.4.
    """
    if threads is not None:
        torch.set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.get_num_threads()))
    lm = load_model(weights, dtype, device, trust_remote_code)
    labelled = read_labelled_text(tokenizer, tokens, sequences, exclude, max_tokens, document_token)
    if labelled.text.shape[1] > lm.shape.n_ctx:
        raise DataError(
            f"sequences of {labelled.text.shape[1]} tokens are longer than the model's context of "
            f"{lm.shape.n_ctx}",
            where=str(tokens),
            fix="give the text a smaller n_ctx",
        )
    labels = label_text(labelled, config, small_embeddings(lm, config.small_norm))
    log.info(
        "%d explanations of %d tokens; %d left out, with fewer than %d tokens in or out of them",
        len(labels.explanations), labelled.included.sum(), labels.left_out, config.min_positives,
    )  # fmt: skip
    started = time.perf_counter()
    results = run_pass(lm, labelled, labels, config.batch_tokens)
    seconds = time.perf_counter() - started
    names = {"model": model, "text": text}
    _check_finite(results)
    write_table(statistics_table(results, names), outputs["statistics"])
    write_table(explanations_table(results, labels, config.top, names), outputs["explanations"])
    write_table(positions_table(results, names), outputs["positions"])
    facts = ExplainFacts(
        device=str(lm.device),
        compute_dtype=lm.dtype,
        n_tokens=int(labelled.included.sum()),
        n_sequences=len(labelled.text),
        n_neurons=lm.shape.d_mlp * lm.shape.n_layers,
        n_explanations=len(labels.explanations),
        n_left_out=labels.left_out,
        seconds=round(seconds, 3),
    )
    log.info("%s", facts)
    return facts


def read_labelled_text(
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    exclude: tuple[str, ...],
    max_tokens: int | None,
    document_token: str | None,
) -> LabelledText:
    """Read a text, its first sequences with `max_tokens` tokens, and find the included tokens."""
    loaded = load_tokenizer(tokenizer, document_token)
    dataset = read_token_dataset(tokens, sequences)
    check_ids(dataset.tokens, loaded.n_ids, str(tokens))
    if max_tokens is not None:
        n = dataset.sequences["n_tokens"] - dataset.sequences["n_prefix"]
        kept = max(1, int((n.cum_sum() <= max_tokens).sum()))
        dataset = TokenDataset(
            dataset.tokens[:kept], dataset.starts[:kept], dataset.ends[:kept],
            dataset.sequences.head(kept),
        )  # fmt: skip
    return labelled_text(dataset, loaded, exclude)


def small_embeddings(lm: LanguageModel, share: float) -> np.ndarray:
    """Ids of the share of the vocabulary whose embeddings are the smallest."""
    table = lm.model.get_input_embeddings().weight
    assert isinstance(table, torch.Tensor)
    norms = table.float().norm(dim=1).cpu().numpy()
    return np.argsort(norms, kind="stable")[: round(share * len(norms))]


def run_pass(
    lm: LanguageModel, text: LabelledText, labels: Labels, batch_tokens: int
) -> list[LayerResult]:
    """One forward pass over a text, layer by layer summed up.

    Parameters
    ----------
    lm : LanguageModel
        The base model.
    text : LabelledText
    labels : Labels
        Of the same text.
    batch_tokens : int
        Tokens of a forward pass; one sequence at least.
    """
    n_ctx, n_layers, d_mlp = text.text.shape[1], lm.shape.n_layers, lm.shape.d_mlp
    results = [
        LayerResult(
            PreActivationStatistics(d_mlp, n_ctx),
            ClassSums(len(labels.explanations), d_mlp),
            ClassSums(n_ctx, d_mlp),
        )
        for _ in range(n_layers)
    ]
    per_batch = max(1, batch_tokens // n_ctx)
    progress = Progress("explaining", int(text.included.sum()), "tokens", log)
    chosen = torch.zeros(0, dtype=torch.int64)
    position, block, by_position = chosen, LabelBlock(0, *_nothing), LabelBlock(0, *_nothing)

    def consume(site: str, layer: int, value: torch.Tensor) -> None:
        if not block.tokens:
            return
        values = value.flatten(0, 1).index_select(0, chosen)
        if site == PRE:
            results[layer].statistics.add(values, position)
        else:
            results[layer].classes.add(values, block)
            results[layer].positions.add(values, by_position)

    with tapped(lm.model, lm.architecture, [PRE, POST], range(n_layers), consume) as run:
        for start in range(0, len(text.text), per_batch):
            rows = slice(start, start + per_batch)
            width = int(text.dataset.sequences["n_tokens"][rows].max())  # type: ignore[arg-type]
            inside = text.included[rows, :width]
            places = np.nonzero(inside)[1]
            block = labels.block(rows)
            by_position = _position_block(places, n_ctx)
            chosen = torch.from_numpy(np.flatnonzero(inside)).to(lm.device)
            position = torch.from_numpy(places).to(lm.device)
            ids = torch.from_numpy(text.dataset.tokens[rows, :width].astype(np.int64))
            run(ids.to(lm.device))
            progress.add(block.tokens)
    return results


_nothing = (np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))


def _position_block(places: np.ndarray, n_ctx: int) -> LabelBlock:
    """Positions as labels: each token is at one."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=n_ctx))])
    return LabelBlock(len(places), offsets, np.argsort(places, kind="stable").astype(np.int32))


def _check_finite(results: list[LayerResult]) -> None:
    for layer, result in enumerate(results):
        wrong = ~np.isfinite(result.classes.total_squares) | ~np.isfinite(
            result.statistics.moments.m4
        )
        if wrong.any():
            raise StoreError(
                "an activation is not finite",
                where=f"{hook_name(POST, layer)} or {hook_name(PRE, layer)}, unit "
                f"{int(np.argmax(wrong))}",
                fix="compute the model in float32 or bfloat16 (its 'dtype'), or check its weights",
            )
