"""Block and entity-type holdouts of one table of entities (thesis, 4.4.1, tables 4.3 and 4.4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.spacetime.config import HoldoutsConfig
from artneuro.spacetime.data import load_entity_activations
from artneuro.spacetime.holdouts_scores import BLOCK, choose_units, score_units

log = logging.getLogger(__name__)

_TARGETS = ("latitude", "longitude", "time")

HOLDOUTS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "entities": pl.String(),
        "prompt": pl.String(),
        "layer": pl.Int16(),
        "kind": pl.String(),
        "unit": pl.String(),
        "penalty": pl.Float64(),
        **{name: pl.Int32() for name in ("n", "n_held_out", "n_bound", "n_train")},
        **{
            f"{score}_{fit}": pl.Float64()
            for score in ("proximity", "spearman", "error")
            for fit in ("nominal", "held_out", "held_out_all")
        },
        **{
            f"{centre}_{name}": pl.Float64()
            for centre in ("true", "predicted", "nominal", "training")
            for name in _TARGETS
        },
        "angle": pl.Float64(),
        "direction_correct": pl.Boolean(),
        "angle_nominal": pl.Float64(),
        "direction_correct_nominal": pl.Boolean(),
    }
)

# What is averaged over units, besides the difference of the proximity errors.
QUANTITIES = (
    *(f"{s}_{f}" for s in ("proximity", "spearman", "error") for f in ("nominal", "held_out")),
    "angle",
    "direction_correct",
)


@dataclass(frozen=True)
class HoldoutFacts:
    """What was held out, for its provenance."""

    prompt: str
    layer: int
    penalty: float
    n_blocks: int
    n_types: int
    n_train: int
    n_test: int


def score_holdouts(
    config: HoldoutsConfig,
    *,
    activations: Path,
    rows: Path,
    sequences: Path,
    entities: Path,
    scores: Path,
    output: Path,
    model: str,
    table: str,
) -> HoldoutFacts:
    """Train probes without each block and type of entity, and score them on it.

    The layer is the one where leave-one-out was best, the penalty the one chosen there; both stay
    as they are in every fit.

    Parameters
    ----------
    config : HoldoutsConfig
    activations, rows, sequences : path
        Of one prompt.
    entities : path
        The table of entities: `block`, `entity_type`, `group` and `split` are used.
    scores : path
        What `fit_entity_probes` wrote for this prompt, which it names.
    output : path
        One row for each `kind` ("block", "entity_type") and `unit` held out. `n` test entities of
        it are scored with the probe of all training entities (`*_nominal`) and with the one
        trained on the `n_train` that are not of it (`*_held_out`); `*_held_out_all` are the
        latter's scores on all `n_held_out` entities of the unit, both splits. `n_bound` more share
        a group with one that was trained on and are left out. Proximity errors are among the test
        entities of the table; `error_*` are mean great-circle km, or years. `true_*`,
        `predicted_*` (held out) and `nominal_*` (the probe of everything, leave-one-out for
        training entities) are mean coordinates of the `n_held_out` entities, `training_*` of the
        `n_train`. `angle` (degrees, of places) and `direction_correct` (less than 90 degrees; of
        times, the same side) compare the ways from `training_*` to `true_*` and to `predicted_*`,
        and to `nominal_*` where they end so. They are meant for blocks: a type of entity lies all
        over the map, its centroid near that of the rest, and the way there says little.
    model, table : str
        Names for the table.

    Raises
    ------
    DataError
        If the files do not belong together.
    StoreError
        If the store cannot be read.
    """
    data = load_entity_activations(activations, rows, sequences, entities)
    prompt, layer, penalty = best_probe(scores)
    units = choose_units(data.entities, data.train, config)
    if not units:
        # The rest of a small table's run is worth having.
        log.warning(
            "%s: nothing is held out, as no block and no type of entity has %d entities, %d of "
            "them in the split test; lower spacetime.holdouts.min_entities or min_test, or choose "
            "a coarser block", entities, config.min_entities, config.min_test,
        )  # fmt: skip
    log.info("%d blocks and types are held out at layer %d", len(units), layer)
    found = pl.DataFrame(
        list(
            score_units(
                data.layer(layer), data.targets, data.target_names, data.train,
                data.entities["group"].to_numpy(), units, penalty,
            )
        )
    )  # fmt: skip
    missing = [pl.lit(None).alias(name) for name in HOLDOUTS_SCHEMA if name not in found.columns]
    found = found.with_columns(missing).with_columns(
        model=pl.lit(model), entities=pl.lit(table), prompt=pl.lit(prompt), layer=pl.lit(layer)
    )
    write_table(found.select(HOLDOUTS_SCHEMA.names()).cast(HOLDOUTS_SCHEMA), output)
    blocks = sum(unit.kind == BLOCK for unit in units)
    n_train = int(data.train.sum())
    return HoldoutFacts(
        prompt, layer, penalty, blocks, len(units) - blocks, n_train, len(data.train) - n_train
    )


def best_probe(scores: str | Path) -> tuple[str, int, float]:
    """The prompt, and of its linear probe of the best leave-one-out R2 the layer and the penalty.

    Raises
    ------
    DataError
        If the table has no linear probe of a layer.
    """
    table = read_table(scores, ["prompt", "probe", "layer", "r2_loo", "penalty"])
    linear = table.filter(pl.col("probe") == "linear").drop_nulls(["layer", "r2_loo"])
    if linear.is_empty():
        raise DataError(
            "there is no linear probe of any layer",
            where=str(scores),
            fix="delete the file and run snakemake again",
        )
    best = linear.sort("r2_loo", "layer", descending=[True, False]).row(0, named=True)
    return str(best["prompt"]), int(best["layer"]), float(best["penalty"])


def summarise_holdouts(
    holdouts: pl.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pl.DataFrame:
    """Means over units, as in tables 4.3 and 4.4, with bootstrap intervals over the units.

    Parameters
    ----------
    holdouts : polars.DataFrame
        The table of `score_holdouts`, or several below each other.
    resamples : int
        Draws of as many units as there are, with replacement.
    level : float
        Of the percentile intervals.
    seed : int
        Of the draws.

    Returns
    -------
    polars.DataFrame
        For each model, table, prompt and kind: the `quantity`, its `mean` over units that have
        it, `low` and `high` (null for a single unit), and their number `n_units`. Besides scores
        there is the "proximity_loss": held out minus nominal, unit by unit. "direction_correct" is
        the share of units.
    """
    keys = ["model", "entities", "prompt", "kind"]
    found = []
    for key, part in holdouts.group_by(keys, maintain_order=True):
        part = part.with_columns(
            proximity_loss=pl.col("proximity_held_out") - pl.col("proximity_nominal")
        )
        for quantity in (*QUANTITIES, "proximity_loss"):
            values = part[quantity].drop_nulls().cast(pl.Float64).to_numpy()
            low = high = None
            if len(values) > 1:
                # The same draws for every quantity, so that rows of one table go together.
                drawn = np.random.default_rng(seed).integers(
                    len(values), size=(resamples, len(values))
                )
                edge = (1 - level) / 2
                low, high = np.quantile(values[drawn].mean(axis=1), [edge, 1 - edge]).tolist()
            found.append(
                {
                    **dict(zip(keys, key, strict=True)),
                    "quantity": quantity,
                    "mean": float(values.mean()) if len(values) else None,
                    "low": low,
                    "high": high,
                    "n_units": len(values),
                }
            )
    schema: dict[str, type[pl.DataType]] = dict.fromkeys([*keys, "quantity"], pl.String)
    schema |= {"mean": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n_units": pl.Int32}
    return pl.DataFrame(found, schema=schema)
