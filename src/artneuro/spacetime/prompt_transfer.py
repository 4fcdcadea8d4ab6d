"""Probes of one prompt on the activations of another, and quality by prompt (thesis, 4.3.3, C.3).

The probes are those that `fit_entity_probes` stored: nothing is fitted here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.spacetime.data import SITE, EntityActivations, load_entity_activations
from artneuro.spacetime.directions import read_direction_arrays
from artneuro.spacetime.metrics import r_squared, score_targets
from artneuro.spacetime.proximity import proximity_errors

log = logging.getLogger(__name__)

# At the best layer of the main prompt, where all pairs are compared, or at a prompt's own.
MAIN, OWN = "main", "own"

TRANSFER_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "entities": pl.String(),
        "train_prompt": pl.String(),
        "test_prompt": pl.String(),
        "best_for": pl.String(),
        "layer": pl.Int16(),
        "r2": pl.Float64(),
        "r2_moved": pl.Float64(),
        "spearman": pl.Float64(),
        "proximity": pl.Float64(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
    }
)

PROMPTS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "entities": pl.String(),
        "prompt": pl.String(),
        "layer": pl.Int16(),
        "r2": pl.Float64(),
        "r2_latitude": pl.Float64(),
        "r2_longitude": pl.Float64(),
        "spearman": pl.Float64(),
        "is_best": pl.Boolean(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
    }
)


@dataclass(frozen=True)
class PromptFiles:
    """Where the activations and the probes of a prompt lie."""

    name: str
    activations: Path
    rows: Path
    sequences: Path
    directions: Path


@dataclass(frozen=True)
class PromptFacts:
    """What was compared, for its provenance."""

    prompts: tuple[str, ...]
    layer: int
    n_common_test: int


@dataclass(frozen=True)
class _Prompt:
    """A prompt's activations with the probes of all layers: coef (layer, unit, target)."""

    name: str
    data: EntityActivations
    coef: np.ndarray
    intercept: np.ndarray
    best_layer: int

    def predict(self, features: np.ndarray, layer: int) -> np.ndarray:
        """What the probe of a layer reads, (row, target)."""
        at = self.data.layers.index(layer)
        return features @ self.coef[at] + self.intercept[at]

    @property
    def numbers(self) -> np.ndarray:
        """The entity of each row."""
        return self.data.entities["entity"].to_numpy()

    @property
    def n_train(self) -> int:
        """Rows that the probes were trained on."""
        return int(self.data.train.sum())


def score_prompts(
    prompts: Sequence[PromptFiles],
    *,
    main_prompt: str,
    entities: Path,
    transfer: Path,
    quality: Path,
    model: str,
    table: str,
) -> PromptFacts:
    """Score the probes of every prompt on the activations of every prompt.

    Parameters
    ----------
    prompts : sequence of PromptFiles
    main_prompt : str
        The one whose best layer all pairs are compared at.
    entities : path
        The table of entities.
    transfer : path
        One row for each pair: the probe of `train_prompt`, fitted on its training entities, on the
        test entities of `test_prompt` that both prompts have. `best_for` is "main" where the layer
        is the best one of the main prompt; on the diagonal there is a row "own" too, at the best
        layer of the prompt itself. `r2_moved` is the R2 of predictions moved to the mean of the
        truth: what is left when a prompt only shifts all predictions. Proximity errors are among
        the entities scored.
    quality : path
        One row for each prompt and layer: scores of the prompt's own probes on the test entities
        that all prompts have. `is_best` marks the layer that leave-one-out chose.
    model, table : str
        Names for the tables.

    Raises
    ------
    ConfigError
        If the main prompt is not among the prompts.
    DataError
        If files do not belong together, or prompts share fewer than three test entities.
    StoreError
        If a store cannot be read.
    """
    names = [prompt.name for prompt in prompts]
    if main_prompt not in names:
        raise ConfigError(
            f"the main prompt {main_prompt!r} is not among the prompts {', '.join(names)}",
            where="spacetime.main_prompt",
            fix=f"add it to the prompts of {table}",
        )
    loaded = [_load(files, entities) for files in prompts]
    layer = loaded[names.index(main_prompt)].best_layer
    common = _common_test(loaded, str(entities))
    pairs, curves = [], []
    for tested in loaded:
        log.info("prompt %s: %d layers", tested.name, tested.data.n_layers)
        for at in tested.data.layers:
            rows = np.flatnonzero(~tested.data.train)
            features = tested.data.store.read(SITE, at, rows)
            own = tested.predict(features, at)
            shared = np.isin(tested.numbers[rows], common)
            scores = score_targets(
                tested.data.targets[rows][shared], own[shared], tested.data.target_names
            )
            curves.append(
                {
                    **{k: scores[k] for k in ("r2", "r2_latitude", "r2_longitude", "spearman")},
                    "prompt": tested.name,
                    "layer": at,
                    "is_best": at == tested.best_layer,
                    "n_train": tested.n_train,
                    "n_test": int(shared.sum()),
                }
            )
            trained = [(one, MAIN) for one in loaded if at == layer]
            trained += [(tested, OWN)] if at == tested.best_layer else []
            for probe, best_for in trained:
                both = np.isin(tested.numbers[rows], probe.numbers)
                found = _score_pair(probe, tested, features[both], rows[both], at)
                pairs.append({**found, "best_for": best_for})
    order = {name: i for i, name in enumerate(names)}
    pairs.sort(key=lambda p: (order[p["train_prompt"]], order[p["test_prompt"]], p["best_for"]))
    for made, schema, path in (
        (pairs, TRANSFER_SCHEMA, transfer),
        (curves, PROMPTS_SCHEMA, quality),
    ):
        frame = pl.DataFrame([{"model": model, "entities": table, **row} for row in made])
        write_table(frame.select(schema.names()).cast(schema), path)
    return PromptFacts(tuple(names), layer, len(common))


def _score_pair(
    probe: _Prompt, tested: _Prompt, features: np.ndarray, rows: np.ndarray, layer: int
) -> dict:
    """Scores of the probe of one prompt on rows of another."""
    truth, names = tested.data.targets[rows], tested.data.target_names
    predicted = probe.predict(features, layer)
    moved = predicted + (truth - predicted).mean(axis=0)
    scores = score_targets(truth, predicted, names)
    r2_moved = float(r_squared(truth, moved).mean())
    return {
        "train_prompt": probe.name,
        "test_prompt": tested.name,
        "layer": layer,
        "r2": scores["r2"],
        "r2_moved": None if np.isnan(r2_moved) else r2_moved,
        "spearman": scores["spearman"],
        "proximity": float(proximity_errors(truth, predicted, names).mean()),
        "n_train": probe.n_train,
        "n_test": len(rows),
    }


def _common_test(prompts: Sequence[_Prompt], where: str) -> np.ndarray:
    """Numbers of the test entities that all prompts have."""
    common = prompts[0].numbers[~prompts[0].data.train]
    for prompt in prompts[1:]:
        if prompt.data.layers != prompts[0].data.layers:
            raise DataError(
                f"the prompts {prompts[0].name} and {prompt.name} have activations of other layers",
                where=where,
                fix="delete the activations and run snakemake again",
            )
        common = np.intersect1d(common, prompt.numbers[~prompt.data.train])
    if len(common) < 3:
        raise DataError(
            f"all prompts share {len(common)} test entities, and three are needed",
            where=where,
            fix="allow longer sequences, or leave out the prompt that loses most entities",
        )
    return common


def _load(files: PromptFiles, entities: Path) -> _Prompt:
    data = load_entity_activations(files.activations, files.rows, files.sequences, entities)
    (coef, intercept), attributes = read_direction_arrays(files.directions, ("coef", "intercept"))
    best, names = attributes.get("best_layer"), attributes.get("target_names")
    shape = (data.n_layers, data.store.units(SITE), len(data.target_names))
    if coef.shape != shape or names != list(data.target_names) or best not in data.layers:
        raise DataError(
            f"probes of shape {coef.shape} for activations of {shape} (layer, unit, target)",
            where=str(files.directions),
            fix="delete the probes and run snakemake again",
        )
    return _Prompt(files.name, data, coef, intercept, int(str(best)))
