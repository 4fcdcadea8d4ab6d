"""Which neurons are intervened on: of those along the probes' directions, the most telling ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.activations.rows import read_tokens
from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.interventions.measure import Spans, unit_activations
from artneuro.models.loading import LanguageModel
from artneuro.probing.data import random_generator
from artneuro.spacetime.data import targets_of
from artneuro.spacetime.neurons_cosines import INPUT
from artneuro.spacetime.neurons_projections import rank_correlations

# Training entities on which activations are measured, and neurons that are chosen from.
SAMPLE, CANDIDATES = 256, 20
# Tokens of a forward pass.
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class NamedTokens:
    """Some training entities as a model reads them.

    Attributes
    ----------
    ids : ndarray of int32, shape (sequence, position)
    spans : Spans
        The probed token of each.
    targets : ndarray of float64, shape (entity, target)
    target_names : tuple of str
    """

    ids: np.ndarray
    spans: Spans
    targets: np.ndarray
    target_names: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredNeuron:
    """A neuron with its activations on training entities.

    Attributes
    ----------
    layer, neuron : int
    target : str
        The target that its activation follows most.
    spearman : float
        Of its activation with that target; NaN for a neuron that does not move.
    mean, std : float
        Of its activation.
    """

    layer: int
    neuron: int
    target: str
    spearman: float
    mean: float
    std: float


def draw_entities(
    tokens: Path, rows: Path, sequences: Path, entities: Path, seed: int, n: int = SAMPLE
) -> NamedTokens:
    """Draw entities of the split train with the tokens of their prompts.

    Parameters
    ----------
    tokens, sequences : Path
        Tables of the prompt.
    rows : Path
        The rows of its activations: the probed spans.
    entities : Path
        The table of entities.
    seed : int
    n : int
        Entities to draw; all, if they are fewer.

    Raises
    ------
    DataError
        If the tables do not belong together.
    """
    known = read_table(entities)
    found = (
        read_table(rows, ["sequence", "end"])
        .join(
            read_table(sequences, ["sequence", "entity"]),
            on="sequence",
            how="left",
            maintain_order="left",
        )
        .join(known, on="entity", how="left", maintain_order="left")
    )
    ids = read_tokens(tokens)
    if found["split"].null_count() or found["end"].max() > ids.shape[1]:
        raise DataError(
            "rows of the activations belong to no entity, or to none of the tokens",
            where=f"{rows} against {entities}",
            fix="delete the activations and run snakemake again",
        )
    names = targets_of(known, str(entities))
    train = found.filter(pl.col("split") == "train")
    order = random_generator(seed, "sample").permutation(train.height)[:n]
    train = train[np.sort(order)]
    end = train["end"].to_numpy()
    spans = Spans(train["sequence"].to_numpy(), end - 1, end)
    return NamedTokens(ids, spans, train.select(names).to_numpy().astype(np.float64), names)


def candidate_neurons(neurons: pl.DataFrame, n: int = CANDIDATES) -> list[tuple[int, int]]:
    """Neurons along the directions whose projections follow a target most on training rows.

    Parameters
    ----------
    neurons : DataFrame
        Of `NEURONS_SCHEMA`.
    n : int

    Returns
    -------
    list of (layer, neuron)
        The most telling first. In models with gates, neurons are not chosen by the linear part:
        what it reads has an effect only where the gate is open.
    """
    if (neurons["weights"] != INPUT).any() and "gate" in neurons["weights"]:
        neurons = neurons.filter(pl.col("weights") != INPUT)
    best = (
        neurons.drop_nulls("spearman_train")
        .sort(pl.col("spearman_train").abs(), descending=True)
        .unique(["layer", "neuron"], keep="first", maintain_order=True)
    )
    return best.select("layer", "neuron").rows()[:n]


def measure_neurons(
    lm: LanguageModel, named: NamedTokens, units: list[tuple[int, int]]
) -> list[MeasuredNeuron]:
    """Activations of neurons at the probed tokens, and which target they follow most.

    Parameters
    ----------
    lm : LanguageModel
    named : NamedTokens
    units : list of (layer, neuron)
    """
    values = unit_activations(lm, named.ids, named.spans, "mlp_post", units, BATCH_TOKENS)
    follows = np.stack([rank_correlations(values.T, t) for t in named.targets.T])
    size = np.nan_to_num(np.abs(follows), nan=-1.0)
    found = []
    for i, (layer, neuron) in enumerate(units):
        target = int(size[:, i].argmax())
        active = values[i].astype(np.float64)
        found.append(
            MeasuredNeuron(
                layer, neuron, named.target_names[target], float(follows[target, i]),
                float(active.mean()), float(active.std()),
            )
        )  # fmt: skip
    return found


def draw_controls(
    layer: int, d_mlp: int, taken: set[tuple[int, int]], n: int, seed: int
) -> list[tuple[int, int]]:
    """Other neurons of a layer, none of those taken; fewer where the layer has no more."""
    others = [unit for unit in range(d_mlp) if (layer, unit) not in taken]
    order = random_generator(seed, "controls", layer).permutation(others)
    return [(layer, int(unit)) for unit in order[:n]]
