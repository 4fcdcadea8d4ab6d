"""Put finished parts together as the Zarr store that `artneuro.activations.store` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from artneuro.activations.parts import PartFiles
from artneuro.activations.plan import Part
from artneuro.activations.store import ATTRIBUTES
from artneuro.core.artifacts import read_json, write_json

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Shards:
    """How the rows of one layer are divided: chunks that are read alone, shards that are files."""

    chunk_rows: int
    shard_rows: int

    @property
    def chunks_per_shard(self) -> int:
        """Chunks of a whole shard."""
        return self.shard_rows // self.chunk_rows


def divide_rows(n_rows: int, row_bytes: int, shard_mb: int) -> Shards:
    """Rows of a chunk (at most 1 MB) and of a shard (a multiple of it, at most `shard_mb`).

    The chunks of a layer are made equal, because the last one is stored filled up to the others.
    """
    n_chunks = -(-n_rows // max(1, CHUNK_BYTES // row_bytes))
    chunk = -(-n_rows // n_chunks)
    most = max(1, (shard_mb << 20) // (chunk * row_bytes))
    return Shards(chunk, chunk * min(most, -(-n_rows // chunk)))


def write_store(
    folder: Path,
    parts: PartFiles,
    plan: Sequence[Part],
    n_rows: int,
    *,
    shard_mb: int,
    compression_level: int,
    attributes: dict[str, Any],
) -> None:
    """Put finished parts together as a Zarr store, one shard in memory at a time.

    Parameters
    ----------
    folder : Path
        Folder to write, which the caller renames when all is well.
    parts : PartFolder
        The finished parts.
    plan : sequence of Part
        All of them.
    n_rows : int
        Rows of the store.
    shard_mb, compression_level : int
        See `ActivationsConfig`.
    attributes : dict
        What every array and the group say about themselves.
    """
    layout = parts.layout
    group = zarr.create_group(store=str(folder))
    for site, units in layout.units.items():
        division = divide_rows(n_rows, units * layout.itemsize, shard_mb)
        array = group.create_array(
            site,
            shape=(len(layout.layers), n_rows, units),
            dtype=layout.numpy_dtype,
            chunks=(1, division.chunk_rows, units),
            shards=(1, division.shard_rows, units),
            compressors=_codecs(compression_level),
            fill_value=0,
            dimension_names=("layer", "row", "unit"),
            attributes={**attributes, "site": site},
            # A chunk of zeros would else be left out, and could not be told from a lost one.
            config={"write_empty_chunks": True},
        )
        for layer in range(len(layout.layers)):
            for at in range(0, n_rows, division.shard_rows):
                stop = min(at + division.shard_rows, n_rows)
                array[layer, at:stop] = _collect(parts, plan, site, layer, at, stop)
    # The group's own metadata say what must be there, and are written last.
    metadata = read_json(folder / ATTRIBUTES)
    metadata["attributes"] = {**attributes, "sites": list(layout.units), "complete": True}
    write_json(metadata, folder / ATTRIBUTES)


def _codecs(level: int) -> list[Any]:
    # Measured on float16 neurons of SmolLM2: zstd 1 keeps 94% of the size and writes 250 MB/s a
    # core; shuffled bytes or bits, lz4 and higher levels were slower or no smaller (93% at best).
    check = Crc32cCodec()
    return [ZstdCodec(level=level), check] if level else [check]


def _collect(
    parts: PartFiles, plan: Sequence[Part], site: str, layer: int, start: int, stop: int
) -> np.ndarray:
    """Rows start to stop of a site at a layer, from the parts that have some of them."""
    values = np.empty((stop - start, parts.layout.units[site]), dtype=parts.layout.numpy_dtype)
    for part in plan:
        inside = (part.rows >= start) & (part.rows < stop)
        if inside.any():
            found = parts.read(part.number, len(part.rows), site, layer)
            values[part.rows[inside] - start] = found[inside]
    return values
