"""What neurons along the probes' directions really do at the ends of names.

A projection on what a neuron reads or writes is not its activation: attention comes between, a
gated neuron multiplies two parts, and one that writes along a direction may do so for other reasons
than what is named.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from artneuro.activations.rows import read_tokens
from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.interventions.measure import Spans, unit_activations
from artneuro.models.loading import LanguageModel
from artneuro.probing.data import random_generator
from artneuro.spacetime.data import EntityActivations
from artneuro.spacetime.neurons_projections import rank_correlations

# Entities of each split on which activations are measured.
SAMPLE = 200
# Tokens of a forward pass.
BATCH_TOKENS = 2048


def measure_activations(
    lm: LanguageModel,
    found: pl.DataFrame,
    data: EntityActivations,
    tokens: Path,
    rows: Path,
    seed: int,
) -> pl.DataFrame:
    """Activations of neurons at the probed tokens of some entities, held against the targets.

    Parameters
    ----------
    lm : LanguageModel
        Without its head, which is not run.
    found : DataFrame
        `target`, `layer` and `neuron`.
    data : EntityActivations
        Whose entities, targets and splits are those of `rows`.
    tokens, rows : Path
        Tokens of the prompt, and the rows of its activations.
    seed : int
        Of the entities, `SAMPLE` of each split, and of the control neurons.

    Returns
    -------
    DataFrame
        `found` with the rank correlation of the activation with the target on test and on training
        entities, its mean and standard deviation on the latter, and the largest rank correlation on
        test entities, by size, of as many other neurons of the same layers.

    Raises
    ------
    DataError
        If the tokens are not those of the rows.
    """
    ids, spans = read_tokens(tokens), read_table(rows, ["sequence", "start", "end"])
    if spans["sequence"].max() >= len(ids) or spans["end"].max() > ids.shape[1]:  # type: ignore[operator]
        raise DataError(
            "the activations are of other tokens than these",
            where=f"{tokens} against {rows}",
            fix="delete the activations and run snakemake again",
        )
    chosen = [
        np.sort(random_generator(seed, "entities", name).permutation(np.flatnonzero(mask))[:SAMPLE])
        for name, mask in (("train", data.train), ("test", ~data.train))
    ]
    picked, end = np.concatenate(chosen), spans["end"].to_numpy()
    units = found.select("layer", "neuron").unique().sort("layer", "neuron").rows()
    controls = _others(units, lm.shape.d_mlp, seed)
    # Of a span of several tokens its last.
    last = Spans(spans["sequence"].to_numpy()[picked], end[picked] - 1, end[picked])
    values = unit_activations(lm, ids, last, "mlp_post", [*units, *controls], BATCH_TOKENS)
    train, test = values[:, : len(chosen[0])].T, values[:, len(chosen[0]) :].T
    on_train, on_test = (
        rank_correlations(values, data.targets[rows_of])
        for values, rows_of in zip((train, test), chosen, strict=True)
    )
    own = slice(len(units))
    parts = []
    for i, target in enumerate(data.target_names):
        others = np.abs(on_test[i, len(units) :])
        parts.append(
            pl.DataFrame(
                {
                    "target": target,
                    "activation_spearman": on_test[i, own],
                    "activation_spearman_train": on_train[i, own],
                    "activation_mean": train[:, own].mean(axis=0, dtype=np.float64),
                    "activation_std": train[:, own].std(axis=0, dtype=np.float64),
                    "activation_spearman_controls": float(np.nanmax(others, initial=0.0)),
                }
            ).with_columns(
                pl.Series("layer", [layer for layer, _ in units], dtype=found["layer"].dtype),
                pl.Series("neuron", [n for _, n in units], dtype=found["neuron"].dtype),
            )
        )
    measured = pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))
    keys = ["target", "layer", "neuron"]
    return found.join(measured, on=keys, how="left", maintain_order="left")


def _others(units: list[tuple[int, int]], d_mlp: int, seed: int) -> list[tuple[int, int]]:
    """For each neuron another one of its layer, all different where the layer is wide enough."""
    taken, found = set(units), []
    for layer in sorted({layer for layer, _ in units}):
        here = sum(1 for own, _ in units if own == layer)
        free = [n for n in range(d_mlp) if (layer, n) not in taken]
        order = random_generator(seed, "other_neurons", layer).permutation(free)[:here]
        found += [(layer, int(n)) for n in order]
    return found
