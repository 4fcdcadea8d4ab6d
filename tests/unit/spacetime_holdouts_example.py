"""A table of entities with a planted geography, their activations and the scores of probes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from tests.probing_example import write_store

COUNTRIES = ("Avalon", "Brasil", "Cockaigne", "Dilmun", "Elysium", "Fiddler's Green")
LAYERS = 3


@dataclass(frozen=True)
class Geography:
    """Paths of one prompt of a planted table, and its arrays in the order of the rows."""

    activations: Path
    rows: Path
    sequences: Path
    entities: Path
    table: pl.DataFrame
    streams: np.ndarray
    train: np.ndarray

    def inputs(self) -> dict[str, Path]:
        names = ("activations", "rows", "sequences", "entities")
        return {name: getattr(self, name) for name in names}


def places(seed: int, n: int = 360) -> pl.DataFrame:
    """Places around the centres of six countries, of three types, in groups of two."""
    rng = np.random.default_rng(seed)
    country = np.arange(n) // 2 % 6
    centres = np.stack([[50, -40, 20, -10, 35, -25], [-100, -60, 10, 60, 110, 140]], axis=1)
    points = centres[country] + rng.standard_normal((n, 2)) * [4, 6]
    names = [COUNTRIES[c] for c in country]
    types = rng.choice(["town", "lake", "pier"], n, p=[0.55, 0.3, 0.15])
    return pl.DataFrame(
        {
            "entity": pl.Series(np.arange(n), dtype=pl.Int32),
            "name": [f"place {i}" for i in range(n)],
            "entity_type": types,
            "latitude": points[:, 0],
            "longitude": points[:, 1],
            "time": pl.Series([None] * n, dtype=pl.Float64),
            "country": names,
            "block": names,
            "group": [f"group {i // 2}" for i in range(n)],
            "split": np.where(np.arange(n) // 2 % 5 == 0, "test", "train"),
        }
    )


def works(seed: int, n: int = 300) -> pl.DataFrame:
    """Works of six decades."""
    rng = np.random.default_rng(seed)
    time = 1950 + 60 * rng.random(n)
    return places(seed, n).with_columns(
        latitude=pl.lit(None, dtype=pl.Float64),
        longitude=pl.lit(None, dtype=pl.Float64),
        time=pl.Series(time),
        block=pl.Series([f"{int(t) // 10 * 10}s" for t in time]),
    )


def write_geography(
    folder: Path,
    table: pl.DataFrame,
    streams: np.ndarray,
    of_row: np.ndarray | None = None,
    prompt: str = "empty",
) -> Geography:
    """Write the files of one prompt; `of_row` are the entities that its rows are of."""
    of_row = np.arange(table.height) if of_row is None else of_row
    paths = Geography(
        folder / prompt / "activations.zarr",
        folder / prompt / "rows.parquet",
        folder / prompt / "sequences.parquet",
        folder / "entities.parquet",
        table[of_row],
        streams.astype(np.float32),
        (table["split"] == "train").to_numpy()[of_row],
    )
    paths.activations.parent.mkdir(parents=True, exist_ok=True)
    write_store(paths.activations, paths.streams, "resid_post")
    # Sequences in another order than rows, as any join must bear.
    number = pl.Series(np.arange(len(of_row))[::-1], dtype=pl.Int32)
    row = pl.Series(np.arange(len(of_row)), dtype=pl.Int32)
    write_table(pl.DataFrame({"row": row, "sequence": number}), paths.rows)
    entity = pl.Series(of_row, dtype=pl.Int32)
    sequences = pl.DataFrame({"sequence": number, "entity": entity}).sort("sequence")
    write_table(sequences, paths.sequences)
    write_table(table, paths.entities)
    return paths


def write_scores(path: Path, r2_loo: list[float], penalty: list[float], prompt: str = "empty"):
    """The columns of `scores` that this stage reads, with baselines among them."""
    n = len(r2_loo)
    table = pl.DataFrame(
        {
            "prompt": [prompt] * (n + 1),
            "probe": ["linear"] * n + ["bag_of_tokens"],
            "layer": pl.Series([*range(n), None], dtype=pl.Int16),
            "r2_loo": [*r2_loo, 0.999],
            "penalty": [*penalty, 1.0],
        }
    )
    write_table(table, path)
    return path


def coordinates_in_noise(table: pl.DataFrame, units: int, seed: int, noise: float) -> np.ndarray:
    """Streams (row, unit) that hold the coordinates themselves along random directions."""
    rng = np.random.default_rng(seed)
    names = ["time"] if table["latitude"].is_null().all() else ["latitude", "longitude"]
    y = table.select(names).to_numpy()
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    held = y @ rng.standard_normal((y.shape[1], units))
    return held + noise * rng.standard_normal(held.shape) + rng.uniform(-3, 3, units)


def countries_in_noise(table: pl.DataFrame, units: int, seed: int, noise: float) -> np.ndarray:
    """Streams that hold nothing but the country: a random direction for each, no geography."""
    rng = np.random.default_rng(seed)
    direction = dict(zip(COUNTRIES, rng.standard_normal((6, units)), strict=True))
    held = 4 * np.stack([direction[c] for c in table["country"]])
    return held + noise * rng.standard_normal(held.shape)
