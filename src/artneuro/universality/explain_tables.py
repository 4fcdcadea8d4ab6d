"""The tables that a pass over a text gives: a row a neuron, its explanations, its positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.universality.explanation_schemas import (
    EXPLANATIONS_SCHEMA,
    POSITIONS_SCHEMA,
    STATISTICS_SCHEMA,
)
from artneuro.universality.explanations import Labels
from artneuro.universality.families import CONTROL, kind_of
from artneuro.universality.statistics import PreActivationStatistics
from artneuro.universality.variance_reduction import ClassSums

# Share of the neurons, the most position-dependent ones, whose curve over positions is kept.
CURVES = 0.02


@dataclass(frozen=True)
class LayerResult:
    """What the pass gives of one layer: statistics, sums by explanation, sums by position."""

    statistics: PreActivationStatistics
    classes: ClassSums
    positions: ClassSums


def _neurons(layer: int, n: int, names: dict[str, str]) -> dict:
    return {
        **{key: [value] * n for key, value in names.items()},
        "layer": np.full(n, layer, dtype=np.int16),
        "neuron": np.arange(n, dtype=np.int32),
    }


def _null(values: np.ndarray) -> pl.Series:
    return pl.Series(values).fill_nan(None)


def statistics_table(results: list[LayerResult], names: dict[str, str]) -> pl.DataFrame:
    """Rows of the schema `statistics`; what a constant neuron does not have is null."""
    parts = []
    for layer, result in enumerate(results):
        moments = result.statistics.moments
        parts.append(
            pl.DataFrame(
                {
                    **_neurons(layer, len(moments.mean), names),
                    "n_tokens": np.full(len(moments.mean), moments.n),
                    "mean": moments.mean,
                    "variance": moments.variance,
                    "skew": _null(moments.skew),
                    "kurtosis": _null(moments.kurtosis),
                    "activation_frequency": result.statistics.activation_frequency,
                    "position_information": result.statistics.position_information,
                    "position_share": _null(position_share(result.positions)),
                    "is_constant": moments.m2 <= 0,
                },
                schema=STATISTICS_SCHEMA,
            )
        )
    return pl.concat(parts)


def position_share(sums: ClassSums) -> np.ndarray:
    """Share of the variance of activations that lies between the positions, (neurons,).

    NaN for a constant neuron. By chance alone about (positions - 1) / tokens.
    """
    seen = sums.counts > 0
    between = (sums.sums[seen] ** 2 / sums.counts[seen, None]).sum(axis=0)
    mean = sums.total**2 / sums.n
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (between - mean) / (sums.total_squares - mean)
    return np.where(sums.total_squares - mean > 0, np.clip(share, 0.0, 1.0), np.nan)


def explanations_table(
    results: list[LayerResult], labels: Labels, top: int, names: dict[str, str]
) -> pl.DataFrame:
    """Rows of the schema `explanations`: the best of each neuron, and the best of each kind."""
    kinds = np.array([kind_of(e.category, e.previous) for e in labels.explanations])
    flipped, counts = labels.flipped, labels.counts
    parts = []
    for layer, result in enumerate(results):
        found = result.classes.reduction()
        score = np.nan_to_num(found.variance_reduction, nan=-np.inf)
        if not len(score):
            continue
        # What controls explain is told beside the rest and takes no rank from it.
        real = score[kinds != CONTROL]
        chosen = np.zeros(score.shape, dtype=bool)
        best = np.argpartition(-real, min(top, len(real)) - 1, axis=0)[:top]
        np.put_along_axis(chosen, np.flatnonzero(kinds != CONTROL)[best], True, axis=0)
        for kind in np.unique(kinds):
            own = np.flatnonzero(kinds == kind)
            chosen[own[np.argmax(score[own], axis=0)], np.arange(score.shape[1])] = True
        chosen &= np.isfinite(score)
        which, neuron = np.nonzero(chosen)
        rank = np.empty(len(which), dtype=np.int32)
        for place in np.unique(which):
            here = which == place
            rank[here] = 1 + (real[:, neuron[here]] > score[place, neuron[here]]).sum(axis=0)
        flip = flipped[which]
        inside, outside = found.mean_in[which, neuron], found.mean_out[which, neuron]
        explanations = [labels.explanations[e] for e in which]
        part = pl.DataFrame(
            {
                **{key: [value] * len(which) for key, value in names.items()},
                "layer": np.full(len(which), layer, dtype=np.int16),
                "neuron": neuron.astype(np.int32),
                "rank": rank,
                "explanation": [e.name for e in explanations],
                "category": [e.category for e in explanations],
                "previous_token": [e.previous for e in explanations],
                "variance_reduction": score[which, neuron],
                "n_positive": counts[which],
                "mean_in": np.where(flip, outside, inside),
                "mean_out": np.where(flip, inside, outside),
            },
            schema=EXPLANATIONS_SCHEMA,
        )
        parts.append(part.sort("neuron", "rank", "previous_token", "category", "explanation"))
    return pl.concat([pl.DataFrame(schema=EXPLANATIONS_SCHEMA), *parts])


def positions_table(results: list[LayerResult], names: dict[str, str]) -> pl.DataFrame:
    """Rows of the schema `positions`, of the neurons with the highest position information."""
    information = np.stack([r.statistics.position_information for r in results])
    n = max(1, round(CURVES * information.size))
    order = np.argsort(-information, axis=None, kind="stable")[:n]
    rows = []
    for layer, neuron in zip(*np.unravel_index(np.sort(order), information.shape), strict=True):
        sums = results[layer].positions
        assert sums.shift is not None
        seen = np.flatnonzero(sums.counts > 1)
        count = sums.counts[seen]
        mean = sums.sums[seen, neuron] / count
        squares = sums.squares[seen, neuron] - count * mean**2
        rows.append(
            {
                **names,
                "layer": int(layer),
                "neuron": int(neuron),
                "positions": seen.tolist(),
                "mean": (mean + sums.shift[neuron]).tolist(),
                "std": np.sqrt(np.maximum(squares, 0.0) / (count - 1)).tolist(),
            }
        )
    return pl.DataFrame(rows, schema=POSITIONS_SCHEMA)
