"""Attention (de)activation neurons: they turn heads off and on by the attention to the first token.

Thesis, section 3.5.3 and figures 3.8 and B.19.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.core.logs import Progress
from artneuro.interventions.attention_reading import (
    Contributions,
    LayerInputs,
    output_weights,
    queries_of,
    read_layers,
)
from artneuro.interventions.attention_scores import (
    KEPT,
    HeadSurvey,
    ScoreSummary,
    summarise_scores,
    survey_heads,
)
from artneuro.interventions.role_text import draw_positions, draw_text
from artneuro.interventions.roles_config import AttentionNeuronsConfig
from artneuro.models.info import read_model_info
from artneuro.models.loading import LanguageModel, load_model
from artneuro.probing.data import random_generator
from artneuro.weights.preprocessing import iterate_processed_mlp

log = logging.getLogger(__name__)

DEACTIVATION, ACTIVATION, CONTROL = "deactivation", "activation", "control"
# Positions of a forward pass, which keeps whole attention patterns of a layer.
BATCH_TOKENS = 1024

SCORES_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "text": pl.String(),
        "layer": pl.Int16(),
        "head": pl.Int16(),
        "bos_attention": pl.Float64(),
        "bos_norm": pl.Float64(),
        "other_norm": pl.Float64(),
        "n_neurons": pl.Int32(),
        "random_std": pl.Float64(),
        "edges": pl.List(pl.Float64()),
        "counts": pl.List(pl.Int64()),
        "random_counts": pl.List(pl.Int64()),
        "top_layers": pl.List(pl.Int16()),
        "top_neurons": pl.List(pl.Int32()),
        "top_scores": pl.List(pl.Float64()),
        "bottom_layers": pl.List(pl.Int16()),
        "bottom_neurons": pl.List(pl.Int32()),
        "bottom_scores": pl.List(pl.Float64()),
    }
)

ATTENTION_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "text": pl.String(),
        "kind": pl.String(),
        "pair": pl.Int16(),
        "layer": pl.Int16(),
        "head": pl.Int16(),
        "neuron_layer": pl.Int16(),
        "neuron": pl.Int32(),
        "score": pl.Float64(),
        "deviations": pl.Float64(),
        "sequence": pl.Int32(),
        "position": pl.Int16(),
        "activation": pl.Float64(),
        "attention": pl.Float64(),
        "attention_ablated": pl.Float64(),
        "output_norm": pl.Float64(),
        "output_norm_ablated": pl.Float64(),
    }
)


@dataclass(frozen=True)
class AttentionFacts:
    """What a job of attention neurons did, for its provenance."""

    device: str
    compute_dtype: str
    seed: int
    n_pairs: int
    n_sequences: int
    n_tokens: int
    seconds: float


@dataclass(frozen=True)
class Pair:
    """A neuron and a head of a later layer.

    Attributes
    ----------
    kind : str
        "deactivation" (positive score), "activation" (negative), or "control": another neuron of
        the same layer into the same head.
    pair : int
        Number of the pair, which its control shares.
    score, deviations : float
        h, and in standard deviations of random directions.
    """

    kind: str
    pair: int
    layer: int
    head: int
    neuron_layer: int
    neuron: int
    score: float
    deviations: float


def score_attention_neurons(
    config: AttentionNeuronsConfig,
    weights: Path,
    model_info: Path,
    tokens: Path,
    sequences: Path,
    scores: Path,
    ablations: Path,
    *,
    model: str,
    text: str,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> AttentionFacts:
    """Score all neurons on all later heads, and ablate the paths of those with extreme scores.

    Parameters
    ----------
    config : AttentionNeuronsConfig
    weights, model_info : Path
        Model folder and `model.json`.
    tokens, sequences : Path
        Tables of a text whose sequences begin with the document token.
    scores, ablations : Path
        Tables to write: see docs/architecture.md.
    model, text : str
        Names for the tables.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    AttentionFacts

    Raises
    ------
    DataError
        If the text is too short, its sequences begin with different tokens, or the model has a
        single layer.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    ids, drawn = draw_text(tokens, sequences, shape, config.sequences, config.n_ctx, config.seed)
    first = config.n_ctx // 2 if config.min_position is None else config.min_position
    positions = draw_positions(drawn, first, config.n_ctx, config.positions, config.seed)
    lm = load_model(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    batches = _batches(len(ids), config.n_ctx)
    survey = survey_heads(
        lm, (ids[b] for b in batches), first, np.arange(first, config.n_ctx, config.position_step)
    )
    summary = summarise_scores(
        lm,
        survey.directions,
        iterate_processed_mlp(weights, shape),
        config.random_directions,
        config.histogram_bins,
        config.seed,
    )
    names = {"model": model, "text": text}
    table = pl.DataFrame([{**names, **row} for row in _score_rows(survey, summary)])
    write_table(table.select(SCORES_SCHEMA.names()).cast(SCORES_SCHEMA), scores)
    pairs = choose_pairs(config, survey, summary, lm.shape.d_mlp)
    counter = Progress("path ablations", len(ids), "sequences", log)
    rows = []
    if not pairs:
        raise DataError(
            "no neuron lies below a head, so none can turn it",
            where=str(weights),
            fix="take a model of two layers or more",
        )
    for batch in batches:
        for found in ablate_paths(lm, ids[batch], positions[batch], pairs):
            sequence = drawn[batch][found.pop("row")]
            rows.append({**names, **found, "sequence": sequence})
        counter.add(len(ids[batch]))
    frame = pl.concat([pl.DataFrame(row) for row in rows])
    frame = frame.with_columns(pl.col("score", "deviations").fill_nan(None))
    frame = frame.select(ATTENTION_SCHEMA.names()).cast(ATTENTION_SCHEMA)
    write_table(frame.sort("pair", "kind", "sequence", "position", maintain_order=True), ablations)
    seconds = time.perf_counter() - started
    return AttentionFacts(
        str(lm.device), lm.dtype, config.seed, len(pairs), len(ids), positions.size, seconds
    )


def choose_pairs(
    config: AttentionNeuronsConfig, survey: HeadSurvey, summary: ScoreSummary, d_mlp: int
) -> list[Pair]:
    """The most extreme pair of each of some heads at either end of the scores, with controls.

    Where no head pays the first token an attention in the range, all heads are taken.
    """
    low, high = config.attention_range
    read = summary.n_neurons > 0
    open_heads = read & (survey.bos_attention >= low) & (survey.bos_attention <= high)
    if not open_heads.any():
        log.warning("no head pays the first token a mean attention of %g to %g", low, high)
        open_heads = read
    found: list[Pair] = []
    for side, (kind, sign) in enumerate(((DEACTIVATION, -1.0), (ACTIVATION, 1.0))):
        best = np.where(open_heads, summary.ends[side, :, :, 0], np.nan)
        order = np.argsort(np.nan_to_num(sign * best, nan=np.inf), axis=None, kind="stable")
        for flat in order[: min(config.pairs, int(open_heads.sum()))]:
            layer, head = (int(i) for i in np.unravel_index(flat, best.shape))
            if not sign * best[layer, head] < 0:
                continue
            neuron_layer = int(summary.end_layers[side, layer, head, 0])
            neuron = int(summary.end_neurons[side, layer, head, 0])
            score, std = float(best[layer, head]), float(summary.std[layer, head])
            number = len(found) // 2
            found.append(Pair(kind, number, layer, head, neuron_layer, neuron, score, score / std))
            others = np.setdiff1d(np.arange(d_mlp), [neuron])
            generator = random_generator(config.seed, "control", layer, head, neuron)
            other = int(generator.choice(others))
            found.append(Pair(CONTROL, number, layer, head, neuron_layer, other, np.nan, np.nan))
    return found


def ablate_paths(
    lm: LanguageModel, ids: np.ndarray, positions: np.ndarray, pairs: list[Pair]
) -> Iterator[dict]:
    """Take what a neuron writes out of what one head's query reads, at one position at a time.

    Parameters
    ----------
    lm : LanguageModel
    ids : ndarray of int64, shape (batch, position)
    positions : ndarray of int, shape (batch, m)
        Positions of the query, and of the neuron.
    pairs : list of Pair

    Yields
    ------
    dict
        Of each pair its fields, and arrays over batch * m: `row` (of the batch), `position`,
        `activation`, and `attention` to the first token and `output_norm` of the head's output,
        both without and with the ablation (`*_ablated`).

    Notes
    -----
    Keys and values stay those of the model as it is, at the position itself too. The norm before
    the attention divides by the size of the reduced residual stream. The output is that of the
    head alone, W_O sum A v, before a norm that may follow the attention.
    """
    layers = sorted({pair.layer for pair in pairs})
    neurons: dict[int, list[int]] = {}
    for pair in pairs:
        units = neurons.setdefault(pair.neuron_layer, [])
        if pair.neuron not in units:
            units.append(pair.neuron)
    inputs, written = read_layers(lm, torch.from_numpy(ids).to(lm.device), layers, neurons)
    row = np.repeat(np.arange(len(ids)), positions.shape[1])
    place = torch.from_numpy(row), torch.from_numpy(positions.ravel())
    for pair in pairs:
        given, added = inputs[pair.layer], written[pair.neuron_layer]
        index = neurons[pair.neuron_layer].index(pair.neuron)
        changed = queries_of(lm, pair.layer, given, given.residual - added.vectors[index])
        before = _head_output(lm, pair, given, given.heads.query[:, pair.head], place)
        after = _head_output(lm, pair, given, changed[:, pair.head], place)
        yield {
            **pair.__dict__,
            "row": row,
            "position": positions.ravel(),
            "activation": _activations(added, index, place),
            "attention": before[0],
            "attention_ablated": after[0],
            "output_norm": before[1],
            "output_norm_ablated": after[1],
        }


def _activations(
    added: Contributions, index: int, place: tuple[torch.Tensor, torch.Tensor]
) -> np.ndarray:
    return added.activations[index].cpu()[place].double().numpy()


def _head_output(
    lm: LanguageModel,
    pair: Pair,
    given: LayerInputs,
    query: torch.Tensor,
    place: tuple[torch.Tensor, torch.Tensor],
) -> tuple[np.ndarray, np.ndarray]:
    """Attention to the first token, and norm of the head's output, (n,) each."""
    attention = given.heads.scores(query, pair.head).softmax(-1)
    mixed = attention @ given.heads.value[:, pair.head].float()
    output = mixed @ output_weights(lm, pair.layer, pair.head).float()
    norm, first = output.norm(dim=-1).cpu()[place], attention[:, :, 0].cpu()[place]
    return first.double().numpy(), norm.double().numpy()


def _batches(n: int, n_ctx: int) -> list[slice]:
    size = max(1, BATCH_TOKENS // n_ctx)
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _score_rows(survey: HeadSurvey, summary: ScoreSummary) -> Iterator[dict]:
    """A row for each head."""
    n_layers, n_heads = survey.bos_attention.shape
    edges = summary.edges.tolist()
    for layer in range(n_layers):
        for head in range(n_heads):
            at = (layer, head)
            row = {
                "layer": layer,
                "head": head,
                "bos_attention": survey.bos_attention[at],
                "bos_norm": survey.bos_norm[at],
                "other_norm": survey.other_norm[at],
                "n_neurons": int(summary.n_neurons[at]),
                "random_std": summary.std[at],
                "edges": edges,
                "counts": summary.counts[at].tolist(),
                "random_counts": summary.random_counts[at].tolist(),
            }
            kept = min(KEPT, row["n_neurons"])
            for side, name in enumerate(("top", "bottom")):
                here = (side, *at, slice(kept))
                row[f"{name}_layers"] = summary.end_layers[here].tolist()
                row[f"{name}_neurons"] = summary.end_neurons[here].tolist()
                row[f"{name}_scores"] = summary.ends[here].tolist()
            yield row
