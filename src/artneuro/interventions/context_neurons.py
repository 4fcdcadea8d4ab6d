"""The neurons that tell the class of a sequence: what they do when they are ablated."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.activations.rows import read_tokens
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.interventions.choose import choose_neurons, draw_sequences, labelled_test_spans
from artneuro.interventions.config import ContextNeuronsConfig
from artneuro.interventions.describe import (
    describe_activations,
    describe_losses,
    distinguished_tokens,
)
from artneuro.interventions.forward import Ablation
from artneuro.interventions.measure import Losses, Spans, ablation_losses, unit_activations
from artneuro.interventions.schemas import (
    ABLATIONS_SCHEMA,
    ACTIVATIONS_SCHEMA,
    CHOSEN,
    TOKENS_SCHEMA,
)
from artneuro.models.info import read_model_info
from artneuro.models.loading import LanguageModel, load_causal_lm
from artneuro.models.sites import units_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationFacts:
    """What a job of ablations did, for its provenance.

    Attributes
    ----------
    device, compute_dtype : str
        Where the model ran, and in which type.
    seed : int
    n_neurons, n_sequences, n_tokens : int
        Neurons ablated, sequences whose loss was measured, and their measured tokens.
    seconds : float
        All forward passes.
    """

    device: str
    compute_dtype: str
    seed: int
    n_neurons: int
    n_sequences: int
    n_tokens: int
    seconds: float


def ablate_neurons(
    config: ContextNeuronsConfig,
    weights: Path,
    model_info: Path,
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    labels: Path,
    scores: Path,
    ablations: Path,
    activations: Path,
    token_table: Path,
    *,
    model: str,
    dataset: str,
    document_token: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> AblationFacts:
    """Ablate the best neuron of each class of a dataset and measure losses in every class.

    Neurons are chosen on the training split (`scores`), losses and activations are measured on
    the test split. Losses are of the labelled tokens: neither the document token, padding nor
    skipped ones. An ablated unit is held at its value at every token, the document token too.

    Parameters
    ----------
    config : ContextNeuronsConfig
    weights, model_info : Path
        Model folder and `model.json`.
    tokenizer : Path
        Folder with the tokenizer that made the tokens.
    tokens, sequences, labels : Path
        Tables of the token dataset.
    scores : Path
        What `fit_probes` made of it.
    ablations, activations, token_table : Path
        Tables to write: see docs/architecture.md.
    model, dataset : str
        Names for the tables.
    document_token : str, optional
        As in the dataset's config.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    AblationFacts

    Raises
    ------
    DataError
        If tables do not fit each other or the model, a sequence has several classes, or no neuron
        of the site was probed.

    Notes
    -----
    Thesis, section 2.5.2 and figure 2.3.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    ids = read_tokens(tokens)
    spans, context = labelled_test_spans(
        read_table(labels, ["feature", "sequence", "start", "end", "label"]),
        read_table(sequences, ["sequence", "split"]),
    )
    info = read_model_info(model_info)
    _check_tokens(ids, spans, info.shape.vocab, info.shape.n_ctx, str(tokens))
    neurons = choose_neurons(
        read_table(scores),
        config.site,
        units_of(config.site, info.shape, ids.shape[1]),
        config.active_in_class,
        config.f1_tolerance,
        config.random_neurons,
        config.seed,
    )
    drawn = draw_sequences(spans, context, config.sequences_per_class, config.seed)
    spans, context = spans.take(drawn), context[drawn]
    lm = load_causal_lm(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    neurons = neurons.with_columns(pl.Series("value", _values(config, lm, ids, spans, neurons)))
    measured = [
        _measure(config, lm, ids, str(name), spans.take(np.flatnonzero(context == name)), neurons)
        for name in np.unique(context)
    ]
    seconds = time.perf_counter() - started

    names = {"model": model, "dataset": dataset, "kind": config.kind}
    strings = load_tokenizer(tokenizer, document_token).strings()
    rows = [_describe(config, {**names, **row}, measured) for row in neurons.iter_rows(named=True)]
    for i, (schema, path) in enumerate(
        ((ABLATIONS_SCHEMA, ablations), (ACTIVATIONS_SCHEMA, activations))
    ):
        _write([row for found in rows for row in found[i]], schema, path)
    tokens_told = [{**row, "text": strings[row["token"]]} for found in rows for row in found[2]]
    _write(tokens_told, TOKENS_SCHEMA, token_table)
    facts = AblationFacts(
        device=str(lm.device),
        compute_dtype=lm.dtype,
        seed=config.seed,
        n_neurons=neurons.height,
        n_sequences=len(drawn),
        n_tokens=spans.total,
        seconds=round(seconds, 3),
    )
    log.info("%s", facts)
    return facts


@dataclass(frozen=True)
class _Measured:
    """What was measured in the sequences of one class; `place` is a unit's index in `losses`."""

    context: str
    tokens: np.ndarray
    losses: Losses
    place: dict[tuple[int, int], int]


def _measure(
    config: ContextNeuronsConfig,
    lm: LanguageModel,
    ids: np.ndarray,
    context: str,
    spans: Spans,
    neurons: pl.DataFrame,
) -> _Measured:
    """Ablate every unit that is to be ablated in one class, each once."""
    here = [_is_ablated_in(config, row, context) for row in neurons.iter_rows(named=True)]
    units = neurons.filter(here).select("layer", "neuron", "value").unique(maintain_order=True)
    losses = ablation_losses(
        lm,
        ids,
        spans,
        [Ablation(layer, (u,), (value,), config.site) for layer, u, value in units.iter_rows()],
        config.batch_tokens,
    )
    log.info("%s: %d units, %d tokens", context, units.height, spans.total)
    places = {(layer, unit): i for i, (layer, unit, _) in enumerate(units.iter_rows())}
    parts = zip(spans.sequence, spans.start, spans.end, strict=True)
    tokens = np.concatenate([ids[sequence, start:end] for sequence, start, end in parts])
    return _Measured(context, tokens, losses, places)


def _is_ablated_in(config: ContextNeuronsConfig, row: dict, context: str) -> bool:
    own_only = row["control"] != CHOSEN and config.control_contexts == "own"
    return not own_only or row["feature"] == context


def _describe(
    config: ContextNeuronsConfig, row: dict, measured: list[_Measured]
) -> tuple[list[dict], list[dict], list[dict]]:
    """Rows of the three tables (without the tokens' text) about one unit."""
    parts = [m for m in measured if _is_ablated_in(config, row, m.context)]
    places = [m.place[row["layer"], row["neuron"]] for m in parts]
    values = np.concatenate(
        [m.losses.activations[i][0] for m, i in zip(parts, places, strict=True)]
    )
    context = np.repeat([m.context for m in parts], [len(m.tokens) for m in parts])
    n_sequences = {m.context: len(m.losses.n_tokens) for m in parts}
    losses = [
        {**row, "context": m.context, **describe_losses(m.losses, m.losses.ablated[i])}
        for m, i in zip(parts, places, strict=True)
    ]
    activations = [
        {**row, **found, "n_sequences": n_sequences[found["context"]]}
        for found in describe_activations(values, context, config.histogram_bins)
    ]
    if row["control"] != CHOSEN:
        return losses, activations, []
    tokens = distinguished_tokens(
        values,
        np.concatenate([m.tokens for m in parts]),
        context == row["feature"],
        config.min_token_count,
        config.tokens_per_neuron,
    )
    return losses, activations, [{**row, **found} for found in tokens]


def _write(rows: list[dict], schema: pl.Schema, path: Path) -> None:
    columns = {name: [row[name] for row in rows] for name in schema}
    write_table(pl.DataFrame(columns, schema=schema), path)


def _values(
    config: ContextNeuronsConfig,
    lm: LanguageModel,
    ids: np.ndarray,
    spans: Spans,
    neurons: pl.DataFrame,
) -> np.ndarray:
    """What each unit is held at."""
    if config.kind != "mean":
        return np.full(neurons.height, config.value)
    units = list(neurons.select("layer", "neuron").iter_rows())
    found = unit_activations(lm, ids, spans, config.site, units, config.batch_tokens)
    return found.mean(axis=1, dtype=np.float64)


def _check_tokens(ids: np.ndarray, spans: Spans, vocab: int, n_ctx: int, where: str) -> None:
    if spans.sequence.max() >= len(ids) or ids.min() < 0 or ids.max() >= vocab:
        raise DataError(
            f"the labels name sequence {spans.sequence.max()} and the tokens are ids up to "
            f"{ids.max()}, but there are {len(ids)} sequences and a vocabulary of {vocab}",
            where=where,
            fix="rebuild the dataset's tokens and labels with this model's tokenizer",
        )
    if spans.end.max() > n_ctx:
        raise DataError(
            f"sequences of {spans.end.max()} tokens are longer than the model's context of {n_ctx}",
            where=where,
            fix="set a smaller context for the dataset",
        )
