"""How much a neuron's output turns each head's queries towards the first token (thesis, 3.5.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from artneuro.core.errors import DataError
from artneuro.interventions.attention_reading import HeadInputs, output_weights, read_heads
from artneuro.models.loading import LanguageModel
from artneuro.weights.families import family_of
from artneuro.weights.neighbours import unit_rows
from artneuro.weights.preprocessing import processed_query
from artneuro.weights.reading import MlpWeights

# Standard deviations that histograms of scores span; the outermost bins hold what lies beyond.
SPAN = 8.0
# Neurons kept at either end of each head's scores.
KEPT = 5


@dataclass(frozen=True)
class HeadSurvey:
    """What the heads of a model do with the first token of a text.

    Attributes
    ----------
    bos_attention : ndarray, shape (layer, head)
        Mean attention to it, over queries from some position on.
    bos_norm, other_norm : ndarray, shape (layer, head)
        Norm of its value turned into output, and the mean of that over all other tokens.
    directions : ndarray of float64, shape (layer, head, d_model)
        Products with unit vectors of the residual stream are scores h: see `survey_heads`.
    """

    bos_attention: np.ndarray
    bos_norm: np.ndarray
    other_norm: np.ndarray
    directions: np.ndarray


def survey_heads(
    lm: LanguageModel,
    batches: Iterable[np.ndarray],
    min_position: int,
    positions: np.ndarray,
) -> HeadSurvey:
    """Attention to the first token, sizes of values, and the directions that heads read.

    Parameters
    ----------
    lm : LanguageModel
    batches : iterable of ndarray of int64, shape (batch, position)
        Sequences that all begin with the same token.
    min_position : int
        First position of queries.
    positions : ndarray of int
        Positions of queries that scores are means over.

    Returns
    -------
    HeadSurvey

    Raises
    ------
    DataError
        If sequences begin with different tokens.

    Notes
    -----
    Thesis, section 3.5.3: h = w_out W_Q^T k_BOS / sqrt(d_head), with the gain of the norm before
    the attention folded into W_Q. The key is that of the model at position 0. Where embeddings are
    rotary, a query at position p is turned by R_p, so the key is turned back by its transpose.
    """
    n_layers, n_heads = lm.shape.n_layers, lm.shape.n_heads
    attention, bos, other = (np.zeros((n_layers, n_heads)) for _ in range(3))
    directions = np.zeros((n_layers, n_heads, lm.shape.d_model))
    counted = {"queries": 0, "others": 0, "sequences": 0}
    first: set[int] = set()

    def receive(layer: int, inputs: HeadInputs, options: dict[str, Any]) -> None:
        weights = inputs.weights[:, :, min_position:, 0].double().sum(dim=(0, 2))
        attention[layer] += weights.cpu().numpy()
        for head in range(n_heads):
            output = inputs.value[:, head].float() @ output_weights(lm, layer, head).float()
            norm = output.norm(dim=-1).double()
            bos[layer, head] += norm[:, 0].sum().item()
            other[layer, head] += norm[:, 1:].sum().item()
        if not counted["sequences"]:
            keys = turned_keys(inputs.key[0, :, 0], options.get("position_embeddings"), positions)
            query = processed_query(lm, layer)
            directions[layer] = np.einsum("hkd,hk->hd", query, keys) * inputs.scaling

    for ids in batches:
        first |= set(ids[:, 0].tolist())
        if len(first) > 1:
            raise DataError(
                f"sequences begin with different tokens ({sorted(first)})",
                fix="take a text whose sequences have the document token first",
            )
        read_heads(lm, torch.from_numpy(ids).to(lm.device), receive)
        counted["sequences"] += len(ids)
        counted["queries"] += len(ids) * (ids.shape[1] - min_position)
        counted["others"] += len(ids) * (ids.shape[1] - 1)
    return HeadSurvey(
        attention / counted["queries"],
        bos / counted["sequences"],
        other / counted["others"],
        directions,
    )


def turned_keys(
    key: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor] | None,
    positions: np.ndarray,
) -> np.ndarray:
    """Keys as queries at some positions see them before they are turned, averaged over positions.

    Parameters
    ----------
    key : Tensor, shape (head, d_head)
        At position 0, after its own rotary embedding.
    rotary : (cos, sin) or None
        Of every position, shape (1 or batch, position, dimensions) each, as models hold them: the
        first dimensions of a head are turned in two halves.
    positions : ndarray of int

    Returns
    -------
    ndarray of float64, shape (head, d_head)
    """
    found = key.double().cpu().numpy()
    if rotary is None:
        return found
    cos, sin = (part[0].double().cpu().numpy()[positions].mean(axis=0) for part in rotary)
    turned = found.copy()
    half, n = len(cos) // 2, len(cos)
    swapped = np.concatenate([-found[:, half:n], found[:, :half]], axis=1)
    # The transpose of a rotation turns the other way.
    turned[:, :n] = found[:, :n] * cos - swapped * sin
    return turned


@dataclass(frozen=True)
class ScoreSummary:
    """Scores of all neurons of earlier layers, for each head.

    Attributes
    ----------
    std : ndarray, shape (layer, head)
        Standard deviation of the scores of random directions, in closed form.
    n_neurons : ndarray of int, shape (layer, head)
    edges : ndarray, shape (bins + 1,)
        Of the histograms, in those standard deviations.
    counts, random_counts : ndarray of int, shape (layer, head, bins)
    ends : ndarray, shape (2, layer, head, KEPT)
        The highest scores in descending order, and the lowest in ascending order; NaN where there
        are fewer neurons.
    end_layers, end_neurons : ndarray of int, the same shape
        Of whom.
    """

    std: np.ndarray
    n_neurons: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    random_counts: np.ndarray
    ends: np.ndarray
    end_layers: np.ndarray
    end_neurons: np.ndarray


def summarise_scores(
    lm: LanguageModel,
    directions: np.ndarray,
    layers: Iterable[MlpWeights],
    n_random: int,
    bins: int,
    seed: int,
) -> ScoreSummary:
    """Distribution and extremes of the scores of each head.

    Parameters
    ----------
    lm : LanguageModel
    directions : ndarray, shape (layer, head, d_model)
        Of `survey_heads`.
    layers : iterable of MlpWeights
        Processed weights, whole layers in ascending order.
    n_random : int
        Random directions of unit length.
    bins, seed : int
    """
    n_layers, n_heads, d_model = directions.shape
    rng = np.random.default_rng(seed)
    random = rng.normal(size=(n_random, d_model))
    free = d_model
    if family_of(lm.architecture).centred:
        # What writes along the vector of ones writes nothing.
        random, free = random - random.mean(axis=1, keepdims=True), d_model - 1
    std = np.linalg.norm(directions, axis=2) / np.sqrt(free)
    edges = np.linspace(-SPAN, SPAN, bins + 1)
    counts, by_chance = (np.zeros((n_layers, n_heads, bins), np.int64) for _ in range(2))
    ends = np.full((2, n_layers, n_heads, KEPT), np.nan)
    whose = np.full((2, 2, n_layers, n_heads, KEPT), -1)
    n_neurons = np.zeros((n_layers, n_heads), np.int64)
    chance = unit_rows(random) @ directions.reshape(-1, d_model).T
    _count(chance, std.ravel(), edges, by_chance.reshape(-1, bins))
    for part in layers:
        later = slice(part.layer + 1, n_layers)
        read = directions[later].reshape(-1, d_model)
        if not len(read):
            continue
        scores = unit_rows(part.w_out) @ read.T
        n_neurons[later] += len(scores)
        _count(scores, std[later].ravel(), edges, counts[later].reshape(-1, bins))
        neuron = np.broadcast_to(np.arange(len(scores)), scores.T.shape)
        layer = np.full_like(neuron, part.layer)
        for side, sign in enumerate((-1.0, 1.0)):
            shape = (-1, KEPT)
            values = np.concatenate([ends[side, later].reshape(shape), scores.T], axis=1)
            order = np.argsort(np.nan_to_num(sign * values, nan=np.inf), axis=1, kind="stable")
            order = order[:, :KEPT]
            found = (n_layers - part.layer - 1, n_heads, KEPT)
            for i, new in enumerate((layer, neuron)):
                both = np.concatenate([whose[side, i, later].reshape(shape), new], axis=1)
                whose[side, i, later] = np.take_along_axis(both, order, axis=1).reshape(found)
            ends[side, later] = np.take_along_axis(values, order, axis=1).reshape(found)
    return ScoreSummary(std, n_neurons, edges, counts, by_chance, ends, whose[:, 0], whose[:, 1])


def _count(scores: np.ndarray, std: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> None:
    """Add the scores of each head, (n, head), to its histogram."""
    bins = len(edges) - 1
    for head in range(scores.shape[1]):
        if std[head] > 0:
            z = np.clip(scores[:, head] / std[head], edges[0], edges[-1])
            place = np.minimum(
                ((z - edges[0]) / (edges[-1] - edges[0]) * bins).astype(int), bins - 1
            )
            counts[head] += np.bincount(place, minlength=bins)
