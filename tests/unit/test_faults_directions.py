"""Damage to the store of the probes' directions is found when it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artneuro.core.artifacts import read_json
from artneuro.core.errors import DataError
from artneuro.spacetime.directions import read_direction_arrays
from artneuro.spacetime.fit_tables import write_directions


@pytest.fixture
def store(tmp_path: Path) -> Path:
    coef = np.arange(24.0).reshape(3, 4, 2)
    # Zeros too, which are what a lost chunk would be read as.
    arrays = {"coef": coef, "mean": np.zeros((3, 4))}
    write_directions(tmp_path / "d.zarr", arrays, {"best_layer": 1})
    return tmp_path / "d.zarr"


def test_it_comes_back_as_it_was(store: Path):
    (coef, mean), attributes = read_direction_arrays(store, ("coef", "mean"))
    np.testing.assert_array_equal(coef, np.arange(24.0).reshape(3, 4, 2))
    np.testing.assert_array_equal(mean, np.zeros((3, 4)))
    assert attributes["best_layer"] == 1


def test_every_lost_or_damaged_chunk_is_an_error(store: Path):
    chunks = [p for p in store.rglob("*") if p.is_file() and "c" in p.parts[-4:]]
    assert len(chunks) == 6
    for chunk in chunks:
        data = chunk.read_bytes()
        for i in range(len(data)):
            chunk.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
            with pytest.raises(DataError, match="delete it and run snakemake"):
                read_direction_arrays(store, ("coef", "mean"))
        chunk.unlink()
        with pytest.raises(DataError, match=r"1 chunks of (coef|mean) are missing"):
            read_direction_arrays(store, ("coef", "mean"))
        chunk.write_bytes(data)
    read_direction_arrays(store, ("coef", "mean"))


def test_other_folders_and_damaged_metadata(store: Path):
    with pytest.raises(DataError, match="cannot read"):
        read_direction_arrays(store, ("other",))
    with pytest.raises(DataError, match="cannot read"):
        read_direction_arrays(store.parent, ("coef",))
    (store / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="cannot read"):
        read_direction_arrays(store, ("coef",))
    with pytest.raises(DataError, match="not a JSON file") as caught:
        read_json(store / "zarr.json")
    assert isinstance(caught.value, ValueError)
    assert str(store / "zarr.json") in str(caught.value)
