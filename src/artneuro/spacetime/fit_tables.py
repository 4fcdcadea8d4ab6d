"""The tables and the store that `fit_entity_probes` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from artneuro.core.artifacts import atomic_directory, read_json, write_json
from artneuro.spacetime.data import SPACE, EntityActivations
from artneuro.spacetime.metrics import errors_of
from artneuro.spacetime.proximity import proximity_errors

METADATA = "zarr.json"

NAMES = {"model": pl.String(), "entities": pl.String(), "prompt": pl.String()}
SCORES_SCHEMA = pl.Schema(
    {
        **NAMES,
        "layer": pl.Int16(),
        "probe": pl.String(),
        "split": pl.String(),
        "r2": pl.Float64(),
        "r2_latitude": pl.Float64(),
        "r2_longitude": pl.Float64(),
        "spearman": pl.Float64(),
        "kendall": pl.Float64(),
        "mae": pl.Float64(),
        "error_km": pl.Float64(),
        "error_km_median": pl.Float64(),
        "proximity": pl.Float64(),
        "proximity_as_published": pl.Float64(),
        "r2_train": pl.Float64(),
        "r2_loo": pl.Float64(),
        "penalty": pl.Float64(),
        "penalty_extended": pl.Boolean(),
        "n_train": pl.Int32(),
        "n_test": pl.Int32(),
    }
)
DIMENSIONS_SCHEMA = pl.Schema(
    {
        **NAMES,
        "layer": pl.Int16(),
        "k": pl.Int32(),
        "r2": pl.Float64(),
        "spearman": pl.Float64(),
        "explained_variance": pl.Float64(),
        "r2_loo": pl.Float64(),
        "penalty": pl.Float64(),
    }
)
# What a table of predictions repeats of the table of entities.
DESCRIBED = (
    "entity", "split", "name", "entity_type", "block", "country", "continent", "state", "borough",
    "latitude", "longitude", "time",
)  # fmt: skip
PREDICTIONS_SCHEMA = pl.Schema(
    {
        **NAMES,
        "layer": pl.Int16(),
        "entity": pl.Int32(),
        **dict.fromkeys(DESCRIBED[1:9], pl.String()),
        **dict.fromkeys(DESCRIBED[9:], pl.Float64()),
        "predicted_latitude": pl.Float64(),
        "predicted_longitude": pl.Float64(),
        "predicted_time": pl.Float64(),
        "error_km": pl.Float64(),
        "error": pl.Float64(),
        "proximity": pl.Float64(),
    }
)


def table_of(
    rows: Sequence[dict[str, object]], schema: pl.Schema, names: dict[str, str]
) -> pl.DataFrame:
    """Rows as a table, with `names` in every one, and null where a row lacks a column."""
    return pl.DataFrame([{**dict.fromkeys(schema), **names, **row} for row in rows], schema)


def prediction_table(
    data: EntityActivations,
    predicted: np.ndarray,
    left_out: np.ndarray,
    layer: int,
    names: dict[str, str],
) -> pl.DataFrame:
    """What the probes of one layer say of every entity.

    Parameters
    ----------
    data : EntityActivations
    predicted : ndarray of shape (n, t)
        What the probe says of all rows.
    left_out : ndarray of shape (n_train, t)
        What probes fitted without a training row say of it, which the table has of these.
    layer : int
    names : dict of str
        Columns that are the same in every row.
    """
    said = predicted.copy()
    said[data.train] = left_out
    errors = errors_of(data.targets, said, data.target_names)
    test = ~data.train
    proximity = np.full(len(said), np.nan)
    proximity[test] = proximity_errors(data.targets[test], said[test], data.target_names)
    columns: dict[str, Any] = {
        f"predicted_{n}": said[:, i] for i, n in enumerate(data.target_names)
    }
    columns["error_km" if set(data.target_names) == set(SPACE) else "error"] = errors
    columns["proximity"] = proximity
    found = data.entities.select(*DESCRIBED).with_columns(
        **{name: pl.lit(value) for name, value in names.items()},
        layer=pl.lit(layer),
        **{name: pl.Series(values) for name, values in columns.items()},
    )
    missing = [pl.lit(None).alias(name) for name in PREDICTIONS_SCHEMA if name not in found.columns]
    found = found.with_columns(*missing, pl.col("proximity").fill_nan(None))
    return found.select(PREDICTIONS_SCHEMA.names()).cast(PREDICTIONS_SCHEMA)


def write_directions(
    path: str | Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]
) -> None:
    """Store what the probes of all layers are, an array (layer, ...) each, as a Zarr v3 group."""
    with atomic_directory(path) as folder:
        group = zarr.create_group(store=str(folder))
        for name, values in arrays.items():
            array = group.create_array(
                name,
                shape=values.shape,
                dtype="float64",
                chunks=(1, *values.shape[1:]),
                compressors=[ZstdCodec(level=1), Crc32cCodec()],
                fill_value=0,
                # A chunk of zeros would else be left out, and could not be told from a lost one.
                config={"write_empty_chunks": True},
            )
            array[:] = values
        # The group's own metadata say what must be there, and are written last.
        metadata = read_json(folder / METADATA)
        metadata["attributes"] = {**attributes, "complete": True}
        write_json(metadata, folder / METADATA)
