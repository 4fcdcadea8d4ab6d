"""Reading the store that `fit_entity_probes` writes of its linear probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from artneuro.core.errors import DataError


def read_direction_arrays(
    path: str | Path, names: Sequence[str]
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Arrays of a `directions.zarr`, and its attributes.

    Parameters
    ----------
    path : path
        The Zarr folder.
    names : sequence of str
        Which arrays; each is of float64, (layer, ...).

    Raises
    ------
    DataError
        If it is no such store, or chunks are corrupt or lost.
    """
    try:
        group = zarr.open_group(str(path), mode="r")
        return [_read_whole(group, name) for name in names], dict(group.attrs)
    except Exception as error:  # each codec has its own kind of error for bad bytes
        raise DataError(
            f"cannot read the probes' directions ({type(error).__name__}: {error})",
            where=str(path),
            fix="delete it and run snakemake again: the probes are fitted anew",
        ) from error


def _read_whole(group: zarr.Group, name: str) -> np.ndarray:
    array = group[name]
    assert isinstance(array, zarr.Array)
    # A chunk that is not there would be read as zeros.
    if lost := array.nchunks - array.nchunks_initialized:
        raise ValueError(f"{lost} chunks of {name} are missing")
    return np.asarray(array[...], dtype=np.float64)
