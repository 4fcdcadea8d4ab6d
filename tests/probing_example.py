"""A small store of activations with planted features, in the real formats, for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import zarr

from artneuro.core.artifacts import write_json, write_table

# Neurons that tell the features, by layer: "one" a single neuron, "three" only their sum.
ONE, THREE = 11, (3, 17, 29)
LAYER_OF = {"one": 1, "three": 2}


@dataclass(frozen=True)
class Example:
    """Paths of a planted example and its arrays."""

    store: Path
    rows: Path
    labels: Path
    activations: np.ndarray
    truth: dict[str, np.ndarray]
    train: np.ndarray


def planted(seed: int, n_rows: int = 240, layers: int = 3, units: int = 40):
    """Activations (layer, row, unit), labels by feature, mask of training rows."""
    generator = np.random.default_rng(seed)
    activations = generator.standard_normal((layers, n_rows, units))
    truth = {"one": generator.random(n_rows) < 0.3, "three": generator.random(n_rows) < 0.5}
    activations[1, :, ONE] += 7.0 * truth["one"]
    # Each of the three neurons carries a third of the signal and noise that cancels in the sum.
    noise = generator.standard_normal((2, n_rows)) * 2.0
    parts = np.stack([noise[0], noise[1], -noise[0] - noise[1]])
    parts += 2.0 * truth["three"] + 0.1 * generator.standard_normal((3, n_rows))
    activations[2][:, THREE] = parts.T
    train = np.arange(n_rows) % 10 < 7
    return activations.astype(np.float32), truth, train


def write_store(path: Path, activations: np.ndarray, site: str = "mlp_post") -> None:
    """Write activations (layer, row, unit) as a store that `open_store` accepts."""
    layers, n_rows, units = activations.shape
    group = zarr.create_group(store=str(path), overwrite=True)
    array = group.create_array(
        site, shape=activations.shape, dtype="float32", chunks=(1, n_rows, units), fill_value=0,
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = activations
    metadata = {
        "sites": [site], "layers": list(range(layers)), "n_rows": n_rows, "dtype": "float32",
        "complete": True,
    }  # fmt: skip
    write_json({"zarr_format": 3, "node_type": "group", "attributes": metadata}, path / "zarr.json")


def write_example(folder: Path, seed: int = 0, collection: str = "planted", **sizes) -> Example:
    """Write store, rows and labels of a planted example below `folder`."""
    activations, truth, train = planted(seed, **sizes)
    n_rows = activations.shape[1]
    folder.mkdir(parents=True, exist_ok=True)
    write_store(folder / "activations.zarr", activations)
    index = np.arange(n_rows)
    spans = {
        "sequence": pl.Series(index, dtype=pl.Int32),
        "start": pl.Series(np.ones(n_rows), dtype=pl.Int32),
        "end": pl.Series(np.full(n_rows, 9), dtype=pl.Int32),
    }
    rows = pl.DataFrame(
        {
            "row": pl.Series(index, dtype=pl.Int32),
            **spans,
            "group": [f"document {i}" for i in index],
            "split": np.where(train, "train", "test"),
            "token": pl.Series(index, dtype=pl.Int32),
        }
    )
    write_table(rows, folder / "rows.parquet")
    labels = pl.concat(
        pl.DataFrame(
            {"collection": [collection] * n_rows, "feature": [name] * n_rows, **spans, "label": y}
        )
        for name, y in truth.items()
    )
    write_table(labels, folder / "labels.parquet")
    return Example(
        folder / "activations.zarr", folder / "rows.parquet", folder / "labels.parquet",
        activations, truth, train,
    )  # fmt: skip
