"""Which neurons are intervened on: of those along the probes' directions, the most telling ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.datasets.prompts import make_prompts
from artneuro.datasets.prompts_config import PromptConfig
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.interventions.measure import Spans, unit_activations
from artneuro.models.loading import LanguageModel
from artneuro.probing.data import random_generator
from artneuro.spacetime.neurons_activations import BATCH_TOKENS, SAMPLE
from artneuro.spacetime.neurons_projections import rank_correlations


@dataclass(frozen=True)
class MeasuredNeuron:
    """A neuron with its activation at the last tokens of names.

    Attributes
    ----------
    layer, neuron : int
    mean, std : float
        Of its activation.
    spearman : float
        Of its activation with the time or the coordinate of what is named; NaN for a neuron whose
        activation is constant.
    """

    layer: int
    neuron: int
    mean: float
    std: float
    spearman: float


def choose_neurons(neurons: pl.DataFrame, n: int) -> pl.DataFrame:
    """Neurons along the directions that tell a target most on training entities.

    A neuron counts as much as the weaker of two correlations with the target: of what its weights
    read or write, and of its activation. The first alone would choose neurons that do not fire so,
    and the second alone, of many neurons on few entities, chance.

    Parameters
    ----------
    neurons : DataFrame
        Of `NEURONS_SCHEMA`.
    n : int

    Returns
    -------
    DataFrame
        `target`, `layer`, `neuron`, `activation_spearman` (on test entities) of at most n different
        neurons, the most telling first.
    """
    both = ["spearman_train", "activation_spearman_train"]
    return (
        neurons.drop_nulls(both)
        .sort(pl.min_horizontal(pl.col(both).abs()), descending=True, maintain_order=True)
        .unique(["layer", "neuron"], keep="first", maintain_order=True)
        .head(n)
        .select("target", "layer", "neuron", "activation_spearman")
    )


def measure_neurons(
    lm: LanguageModel,
    tokenizer: TextTokenizer,
    entities: pl.DataFrame,
    target: str,
    units: list[tuple[int, int]],
    seed: int,
) -> list[MeasuredNeuron]:
    """Activations of neurons at the last tokens of the names of some training entities.

    Parameters
    ----------
    lm : LanguageModel
    tokenizer : TextTokenizer
    entities : DataFrame
        The table of entities, of which `SAMPLE` of the split train are drawn.
    target : str
        Column of their times or of a coordinate.
    units : list of (layer, neuron)
    seed : int
    """
    train = entities.filter(pl.col("split") == "train")
    order = random_generator(seed, "sample").permutation(train.height)[:SAMPLE]
    train = train[np.sort(order)]
    prompts = make_prompts(PromptConfig(), tokenizer, train)
    spans = Spans(*(prompts.labels[k].to_numpy() for k in ("sequence", "start", "end")))
    values = unit_activations(lm, prompts.dataset.tokens, spans, "mlp_post", units, BATCH_TOKENS)
    follows = rank_correlations(values.T, train[target].to_numpy())
    return [
        MeasuredNeuron(layer, neuron, float(active.mean()), float(active.std()), float(follow))
        for (layer, neuron), active, follow in zip(
            units, values.astype(np.float64), follows, strict=True
        )
    ]


def draw_controls(
    layer: int, d_mlp: int, taken: set[tuple[int, int]], n: int, seed: int
) -> list[tuple[int, int]]:
    """Other neurons of a layer, none of those taken; fewer where the layer has no more."""
    others = [unit for unit in range(d_mlp) if (layer, unit) not in taken]
    order = random_generator(seed, "controls", layer).permutation(others)
    return [(layer, int(unit)) for unit in order[:n]]
