"""What a model held of a sequence at every separator: a Zarr v3 group.

`residuals` (run, layer, value, unit) is the residual stream, `states` (run, value, variable) the
states of the system in the order of each run, `codes` (run, value) the numbers as written. Chunks
have checksums; one layer of one run is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from artneuro.core.artifacts import atomic_directory, read_json, write_json
from artneuro.core.errors import StoreError

METADATA = "zarr.json"
REBUILD = "delete the store and run snakemake again: the model reads the sequences anew"


@dataclass(frozen=True)
class Run:
    """One run of a model over a sequence.

    Attributes
    ----------
    control : str
        "none", or which control it is.
    residuals : ndarray of float32, shape (layer, value, unit)
    states : ndarray of float64, shape (value, variable)
    codes : ndarray of int64, shape (value,)
    """

    control: str
    residuals: np.ndarray
    states: np.ndarray
    codes: np.ndarray


def write_residuals(path: str | Path, runs: Sequence[Run], layers: Sequence[int]) -> None:
    """Store runs of the same sequence."""
    with atomic_directory(path) as folder:
        group = zarr.create_group(store=str(folder))
        for name in ("residuals", "states", "codes"):
            parts = [np.asarray(getattr(run, name)) for run in runs]
            shape = parts[0].shape
            lead = 2 if name == "residuals" else 1
            array = group.create_array(
                name,
                shape=(len(runs), *shape),
                dtype=parts[0].dtype,
                chunks=(*(1 for _ in range(lead)), *shape[lead - 1 :]),
                compressors=[ZstdCodec(level=1), Crc32cCodec()],
                fill_value=0,
                # A chunk of zeros would else be left out, and could not be told from a lost one.
                config={"write_empty_chunks": True},
            )
            for at, part in enumerate(parts):
                array[at] = part
        # The group's own metadata say what must be there, and are written last.
        metadata = read_json(folder / METADATA)
        metadata["attributes"] = {
            "controls": [run.control for run in runs],
            "layers": [int(layer) for layer in layers],
            "complete": True,
        }
        write_json(metadata, folder / METADATA)


class Residuals:
    """Reads a store of residual streams; opened by `open_residuals`.

    Attributes
    ----------
    controls : list of str
        The runs.
    layers : list of int
    """

    def __init__(self, path: Path, controls: list[str], layers: list[int]) -> None:
        self.path, self.controls, self.layers = path, controls, layers

    def layer(self, control: str, layer: int) -> np.ndarray:
        """The residual stream behind a layer: float32, (value, unit)."""
        at = (self._run(control), self.layers.index(layer))
        return self._read("residuals", at, (*at, 0, 0))

    def states(self, control: str) -> np.ndarray:
        """The states of the system in the order of a run: (value, variable)."""
        run = self._run(control)
        return self._read("states", (run,), (run, 0, 0))

    def codes(self, control: str) -> np.ndarray:
        """The numbers as written in a run: (value,)."""
        run = self._run(control)
        return self._read("codes", (run,), (run, 0))

    def _run(self, control: str) -> int:
        if control not in self.controls:
            raise StoreError(
                f"there is no run {control!r}",
                where=str(self.path),
                fix=f"the store has {', '.join(self.controls)}",
            )
        return self.controls.index(control)

    def _read(self, name: str, at: tuple[int, ...], chunk: tuple[int, ...]) -> np.ndarray:
        try:
            # Zarr reads a lost chunk as zeros.
            file = self.path.joinpath(name, "c", *(str(part) for part in chunk))
            if not file.is_file():
                raise FileNotFoundError(f"no chunk {file}")
            return np.asarray(zarr.open_array(str(self.path / name), mode="r")[at])
        except Exception as error:  # each codec has its own kind of error for bad bytes
            raise StoreError(
                f"a run cannot be read ({error})", where=f"{self.path}/{name}", fix=REBUILD
            ) from error


def open_residuals(path: str | Path) -> Residuals:
    """Open a store of residual streams to read it.

    Raises
    ------
    StoreError
        If it is not one, or is not complete.
    """
    folder = Path(path)
    try:
        attributes = read_json(folder / METADATA)["attributes"]
        if not attributes["complete"]:
            raise ValueError("not complete")
        return Residuals(folder, list(attributes["controls"]), list(attributes["layers"]))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"not a store of residual streams ({error})", where=str(folder), fix=REBUILD
        ) from error
