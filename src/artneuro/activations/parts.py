"""Parts: finished pieces of a dump on disk, and the thread that writes them.

A part is one file: for each site the numbers of shape (layer, row, unit) in the stored type, then
the CRC-32 of all that. It is written under another name and renamed, so a part that is there is
whole; the checksum catches a disk that lies.
"""

from __future__ import annotations

import logging
import queue
import shutil
import struct
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from artneuro.core.artifacts import atomic_path, read_json, write_json
from artneuro.core.errors import StoreError
from artneuro.models.devices import DTYPES

log = logging.getLogger(__name__)

FOOTER = struct.Struct("<I")
FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class Layout:
    """What a row of the dump holds.

    Attributes
    ----------
    units : dict of str to int
        Units of each site.
    layers : tuple of int
        Layers of the model.
    dtype : str
        Type as stored.
    """

    units: dict[str, int]
    layers: tuple[int, ...]
    dtype: str

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return DTYPES[self.dtype].itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one row over all sites and layers."""
        return sum(self.units.values()) * len(self.layers) * self.itemsize

    @property
    def numpy_dtype(self) -> np.dtype:
        """Type of the stored numbers in numpy, which holds bfloat16 as its bits in uint16."""
        return np.dtype({"bfloat16": "<u2", "float16": "<f2", "float32": "<f4"}[self.dtype])


class PartBuffer:
    """Half of the write buffer: rows of one part, page-locked where a GPU copies into it."""

    def __init__(self, layout: Layout, capacity: int, pinned: bool) -> None:
        self.layout = layout
        self._flat = torch.empty(
            capacity * layout.row_bytes // layout.itemsize,
            dtype=DTYPES[layout.dtype],
            pin_memory=pinned,
        )
        self.arrays: dict[str, torch.Tensor] = {}
        self.events: list[torch.cuda.Event] = []

    def shape_for(self, n_rows: int) -> None:
        """Divide the memory into one array (layer, row, unit) a site, for a part of `n_rows`."""
        n_layers, at = len(self.layout.layers), 0
        for site, units in self.layout.units.items():
            size = n_layers * n_rows * units
            self.arrays[site] = self._flat[at : at + size].view(n_layers, n_rows, units)
            at += size
        self.used = at

    def bits(self) -> np.ndarray:
        """The part's numbers as unsigned integers of their size, after copies have arrived."""
        for event in self.events:
            event.synchronize()
        self.events = []
        integer = {2: torch.int16, 4: torch.int32}[self.layout.itemsize]
        signed = self._flat[: self.used].view(integer).numpy()
        return signed.view(f"<u{self.layout.itemsize}")


def not_finite(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Flat indices of NaN and infinities among numbers given as their bits."""
    exponent = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}[dtype]
    found = []
    step = 1 << 20  # in pieces, so that the mask stays small
    for i in range(0, len(bits), step):
        piece = bits[i : i + step]
        found.append(np.flatnonzero((piece & exponent) == exponent) + i)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


class PartFiles:
    """Finished parts to read, wherever they lie.

    Parameters
    ----------
    layout : Layout
    folders : mapping of int to Path
        The folder of each part, by its number.
    """

    def __init__(self, layout: Layout, folders: Mapping[int, Path]) -> None:
        self.layout, self._folders = layout, folders

    def path(self, number: int) -> Path:
        """File of a part."""
        return self._folders[number] / f"part-{number:06d}.bin"

    def is_whole(self, number: int, n_rows: int) -> bool:
        """Whether a part is there with the right size and checksum."""
        path = self.path(number)
        size = n_rows * self.layout.row_bytes
        if not path.exists() or path.stat().st_size != size + FOOTER.size:
            return False
        crc = 0
        with open(path, "rb") as handle:
            while size > 0:
                piece = handle.read(min(size, 1 << 22))
                crc, size = zlib.crc32(piece, crc), size - len(piece)
            return handle.read() == FOOTER.pack(crc)

    def read(self, number: int, n_rows: int, site: str, layer: int) -> np.ndarray:
        """Rows of a site at a layer's index: shape (n_rows, unit), as stored."""
        at = 0
        for name, units in self.layout.units.items():
            if name == site:
                at += layer * n_rows * units
                break
            at += len(self.layout.layers) * n_rows * units
        values = np.fromfile(
            self.path(number),
            dtype=self.layout.numpy_dtype,
            count=n_rows * self.layout.units[site],
            offset=at * self.layout.itemsize,
        )
        return values.reshape(n_rows, self.layout.units[site])


class PartFolder(PartFiles):
    """The folder of a job's finished parts, bound to one model, row table and config.

    Parameters
    ----------
    folder : Path
        Beside the output of the job, because Snakemake deletes the outputs of a failed job.
    fingerprint : str
        Hash of everything that the parts depend on; parts of another one are deleted.
    layout : Layout
    """

    def __init__(self, folder: Path, fingerprint: str, layout: Layout) -> None:
        super().__init__(layout, defaultdict(lambda: folder))
        self.folder = folder
        note = folder / FINGERPRINT
        if folder.exists() and not (note.exists() and read_json(note) == fingerprint):
            log.warning("%s holds parts of another run: they are deleted", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".*.tmp"):
            stale.unlink()
        if not note.exists():
            write_json(fingerprint, note)

    def is_whole(self, number: int, n_rows: int) -> bool:
        """Whether a part is there with the right size and checksum; a damaged one is deleted."""
        whole = super().is_whole(number, n_rows)
        if not whole and self.path(number).exists():
            log.warning("%s is damaged: it is computed again", self.path(number))
            self.path(number).unlink()
        return whole

    def write(self, number: int, bits: np.ndarray) -> None:
        """Write a part."""
        with atomic_path(self.path(number)) as temporary, open(temporary, "wb") as handle:
            data = bits.data.cast("B")
            handle.write(data)
            handle.write(FOOTER.pack(zlib.crc32(data)))


class PartWriter:
    """Writes parts in a thread of its own while the next one is computed.

    Two buffers go around: `acquire` waits for a free one, `submit` hands it to the thread. An
    error of the thread is raised by the next call, or when the block ends.
    """

    def __init__(
        self,
        parts: PartFolder,
        capacity: int,
        pinned: bool,
        check: Callable[[int, np.ndarray], None],
    ) -> None:
        self._parts, self._check = parts, check
        self._free: queue.SimpleQueue[PartBuffer] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[int, PartBuffer] | None] = queue.SimpleQueue()
        for _ in range(2):
            self._free.put(PartBuffer(parts.layout, capacity, pinned))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="part-writer", daemon=True)

    def __enter__(self) -> PartWriter:
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._full.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def acquire(self, n_rows: int) -> PartBuffer:
        """A buffer for a part of `n_rows`, once one is free."""
        buffer = self._free.get()
        self._raise()
        buffer.shape_for(n_rows)
        return buffer

    def submit(self, number: int, buffer: PartBuffer) -> None:
        """Have the part written."""
        self._full.put((number, buffer))

    def _raise(self) -> None:
        if self._error is not None:
            if isinstance(self._error, OSError):
                raise StoreError(
                    f"cannot write activations ({self._error})",
                    where=str(self._parts.folder),
                    fix="free space on the disk and run again: finished parts are kept",
                ) from self._error
            raise self._error

    def _work(self) -> None:
        while (item := self._full.get()) is not None:
            number, buffer = item
            if self._error is None:
                try:
                    bits = buffer.bits()
                    self._check(number, bits)
                    self._parts.write(number, bits)
                except BaseException as error:
                    self._error = error
            self._free.put(buffer)
