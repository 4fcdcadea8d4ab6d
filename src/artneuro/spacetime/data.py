"""Entities with their activations: what every job of this stage reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.activations.store import ActivationStore, open_store
from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.spacetime.metrics import SPACE, TIME

SITE = "resid_post"


@dataclass(frozen=True)
class EntityActivations:
    """Residual streams at the probed tokens of one prompt, and the entities that they are of.

    Attributes
    ----------
    store : ActivationStore
    entities : polars.DataFrame
        The table of entities, one row for each row of the store, in its order.
    target_names : tuple of str
        ("latitude", "longitude") in degrees, or ("time",) in decimal years.
    targets : ndarray, shape (n_rows, n_targets), float64
    train : ndarray of bool, shape (n_rows,)
        Rows of the split "train"; the others are of the split "test".
    """

    store: ActivationStore
    entities: pl.DataFrame
    target_names: tuple[str, ...]
    targets: np.ndarray
    train: np.ndarray

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers of the model that are stored, ascending."""
        return self.store.layers

    @property
    def n_layers(self) -> int:
        """How many layers are stored."""
        return len(self.store.layers)

    def layer(self, layer: int) -> np.ndarray:
        """The residual stream behind block `layer`, (n_rows, unit) float32.

        Raises
        ------
        StoreError
            If the layer is not stored, or a chunk of it is corrupt.
        """
        return self.store.read(SITE, layer)


def load_entity_activations(
    store: str | Path, rows: str | Path, sequences: str | Path, entities: str | Path
) -> EntityActivations:
    """Join the activations of a prompt with the entities that it names.

    Parameters
    ----------
    store, rows : path
        What `dump_entities` wrote.
    sequences : path
        The `sequences` table of the prompt.
    entities : path
        The table of entities.

    Raises
    ------
    DataError
        If the files do not belong together, the table of entities is neither of space nor of time,
        or a split has fewer than two entities.
    StoreError
        If the store cannot be read.
    """
    opened = open_store(store)
    found = (
        read_table(rows, ["row", "sequence"])
        .join(
            read_table(sequences, ["sequence", "entity"]),
            on="sequence",
            how="left",
            maintain_order="left",
        )
        .join(read_table(entities), on="entity", how="left", maintain_order="left")
    )
    if found.height != opened.n_rows or found["name"].null_count():
        raise DataError(
            f"{opened.n_rows} rows of activations, of which {found['name'].drop_nulls().len()} "
            "belong to an entity of the table",
            where=f"{store} against {entities}",
            fix="delete the activations and run snakemake again",
        )
    found = found.drop("row", "sequence")
    names = targets_of(found, str(entities))
    train = (found["split"] == "train").to_numpy()
    for split, count in (("train", int(train.sum())), ("test", int((~train).sum()))):
        if count < 2:
            raise DataError(
                f"the split {split} has {count} entities, and two are needed",
                where=str(entities),
                fix="take more entities, or another share of the split test",
            )
    targets = found.select(names).to_numpy().astype(np.float64)
    return EntityActivations(opened, found, names, targets, train)


def targets_of(entities: pl.DataFrame, where: str = "") -> tuple[str, ...]:
    """Names of the columns that probes predict: those of space or of time.

    Raises
    ------
    DataError
        If the table has neither for every entity, or both.
    """
    is_known = {
        names: not any(entities[name].is_null().any() for name in names) for names in (SPACE, TIME)
    }
    known = [names for names, whole in is_known.items() if whole]
    if len(known) != 1:
        raise DataError(
            "every entity needs both coordinates, or every one a time, and not both",
            where=where,
            fix="see the section entities of the config",
        )
    return known[0]
