"""The activation store: a Zarr v3 group with one array (layer, row, unit) for each site.

A shard holds rows of one layer, so a layer is read from one file, or from few where it is large;
inside it, chunks of rows carry a CRC-32C each. Numbers are stored as the model computed them,
rounded to the stored type; bfloat16 is stored as its bits in uint16.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from artneuro.core.artifacts import read_json
from artneuro.core.errors import StoreError

REBUILD = "delete the store and run snakemake again: the dump is made anew"
ATTRIBUTES = "zarr.json"


class ActivationStore:
    """Reads an activation store; opened by `open_store`. It may be sent to another process.

    Attributes
    ----------
    path : Path
    sites : tuple of str
        Short forms of the stored sites.
    layers : tuple of int
        Stored layers of the model.
    n_rows : int
    attributes : dict
        Model, type, aggregation, tokenizer and the rest that the dump recorded.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path, self.attributes = path, attributes
        self.sites: tuple[str, ...] = tuple(attributes["sites"])
        self.layers: tuple[int, ...] = tuple(attributes["layers"])
        self.n_rows: int = attributes["n_rows"]
        self._arrays: dict[str, zarr.Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "attributes": self.attributes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["attributes"])  # type: ignore[misc]

    def units(self, site: str) -> int:
        """Units of a site."""
        return self._array(site).shape[2]

    def read(self, site: str, layer: int, rows: np.ndarray | slice | None = None) -> np.ndarray:
        """Activations of a site at a layer.

        Parameters
        ----------
        site : str
            Short form, such as "mlp_post".
        layer : int
            Layer of the model.
        rows : array of int, slice or None
            Rows to read, in this order; None reads all. Only their chunks are read.

        Returns
        -------
        ndarray, shape (n_rows, unit), float32

        Raises
        ------
        StoreError
            If the store does not have this site, layer or row, or a chunk is corrupt.
        """
        array, index = self._array(site), self._layer(layer)
        if rows is None:
            return self._values(self._rows(array, site, index, 0, self.n_rows))
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.n_rows)
            if step == 1:
                found = self._rows(array, site, index, start, max(start, stop))
                return self._values(found)
            rows = np.arange(start, stop, step)
        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.n_rows:
            raise StoreError(
                f"rows {wanted.min()} to {wanted.max()} are asked for",
                where=str(self.path),
                fix=f"the store has rows 0 to {self.n_rows - 1}",
            )
        return self._values(self._scattered(array, site, index, wanted))

    def _scattered(
        self, array: zarr.Array, site: str, index: int, wanted: np.ndarray
    ) -> np.ndarray:
        """Rows in any order: neighbouring chunks that hold some are read together."""
        result = np.empty((len(wanted), array.shape[2]), dtype=array.dtype)
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        chunk, per_shard = array.chunks[1], array.shards[1] if array.shards else array.chunks[1]
        needed = np.unique(ordered // chunk)
        # Runs end at a gap and at a shard, which bounds what is held beside the result.
        breaks = np.flatnonzero((np.diff(needed) > 1) | (np.diff(needed * chunk // per_shard) > 0))
        for run in np.split(needed, breaks + 1):
            if not len(run):
                continue
            start, stop = int(run[0]) * chunk, min((int(run[-1]) + 1) * chunk, self.n_rows)
            low, high = np.searchsorted(ordered, [start, stop])
            found = self._rows(array, site, index, start, stop)
            result[order[low:high]] = found[ordered[low:high] - start]
        return result

    def _rows(self, array: zarr.Array, site: str, index: int, start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(array[index, start:stop])
        except Exception as error:  # each codec has its own kind of error for bad bytes
            raise self._blame(array, site, index, start, stop, error) from error

    def _blame(
        self, array: zarr.Array, site: str, index: int, start: int, stop: int, error: Exception
    ) -> StoreError:
        """The error for a failed read, which names the first chunk that cannot be read."""
        chunk = array.chunks[1]
        for at in range(start // chunk * chunk, stop, chunk):
            try:
                array[index, at : min(at + chunk, self.n_rows)]
            except Exception as found:
                shard = at // (array.shards[1] if array.shards else chunk)
                return StoreError(
                    f"a chunk is corrupt: {site}, layer {self.layers[index]}, rows {at} to "
                    f"{min(at + chunk, self.n_rows)} ({found})",
                    where=str(self.path / site / "c" / str(index) / str(shard) / "0"),
                    fix=REBUILD,
                )
        return StoreError(f"cannot read the store ({error})", where=str(self.path), fix=REBUILD)

    def _values(self, found: np.ndarray) -> np.ndarray:
        if self.attributes["dtype"] == "bfloat16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found.astype(np.float32, copy=False)

    def _array(self, site: str) -> zarr.Array:
        if site not in self.sites:
            raise StoreError(
                f"the store has no site {site!r}",
                where=str(self.path),
                fix=f"stored sites: {', '.join(self.sites)}; add it to activations.sites",
            )
        if site not in self._arrays:
            self._arrays[site] = zarr.open_array(str(self.path / site), mode="r")
        return self._arrays[site]

    def _layer(self, layer: int) -> int:
        if layer not in self.layers:
            raise StoreError(
                f"the store has no layer {layer}",
                where=str(self.path),
                fix=f"stored layers: {', '.join(map(str, self.layers))}",
            )
        return self.layers.index(layer)

    def files(self) -> Iterator[Path]:
        """Every file that the store must have, from its shape: a lost one would read as zeros."""
        for site in self.sites:
            yield self.path / site / ATTRIBUTES
            array = self._array(site)
            per_shard = array.shards[1] if array.shards else array.chunks[1]
            for index in range(len(self.layers)):
                for shard in range(-(-self.n_rows // per_shard)):
                    yield self.path / site / "c" / str(index) / str(shard) / "0"


def open_store(path: str | Path) -> ActivationStore:
    """Open an activation store to read it.

    Raises
    ------
    StoreError
        If it is not a store, is not complete, or lacks files.
    """
    folder = Path(path)
    try:
        attributes = read_json(folder / ATTRIBUTES)["attributes"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"not an activation store ({error})",
            where=str(folder),
            fix="run snakemake for this target first",
        ) from error
    if not attributes.get("complete"):
        raise StoreError("the store is not complete", where=str(folder), fix=REBUILD)
    store = ActivationStore(folder, attributes)
    try:
        missing = [file for file in store.files() if not file.exists()]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"the store's metadata cannot be read ({error})", where=str(folder), fix=REBUILD
        ) from error
    if missing:
        raise StoreError(
            f"{len(missing)} files of the store are missing", where=str(missing[0]), fix=REBUILD
        )
    return store
