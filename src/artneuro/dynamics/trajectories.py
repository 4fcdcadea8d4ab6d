"""The store of a system's trajectories: a Zarr v3 group.

Two arrays, `train` and `test`, hold the true states, one trial after the other, in chunks with
checksums. Noise is not stored: it is drawn anew from its seed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from artneuro.core.artifacts import atomic_directory, read_json, write_json
from artneuro.core.errors import StoreError
from artneuro.dynamics.config import SimulationConfig
from artneuro.dynamics.equations import System
from artneuro.dynamics.simulate import Accuracy, Role, simulate_trial
from artneuro.dynamics.systems import build_system

log = logging.getLogger(__name__)

METADATA = "zarr.json"
CHUNK_BYTES = 16 << 20
REBUILD = "delete the store and run snakemake again: the trajectories are simulated anew"


@dataclass(frozen=True)
class Plan:
    """How many trajectories of a role there are, and how each is sampled."""

    trials: int
    dt: float
    samples: int


def simulate_system(path: Path, config: SimulationConfig) -> None:
    """Simulate all trials of a system and store them: see `write_trajectories`."""
    write_trajectories(
        path,
        build_system(config.system, config.parameters),
        {role: Plan(**plan.model_dump()) for role, plan in config.roles.items()},
        seed=config.seed,
        points=config.points or 0,
        accuracy=Accuracy(config.rtol, config.atol, config.substeps),
        dtype=config.dtype,
    )


def write_trajectories(
    path: Path,
    system: System,
    plans: Mapping[Role, Plan],
    *,
    seed: int,
    points: int = 0,
    accuracy: Accuracy | None = None,
    dtype: str = "float64",
) -> None:
    """Simulate all trials of a system and store them; one trajectory is in memory at a time.

    Parameters
    ----------
    path : path
        The folder to write, a Zarr group: see `open_trajectories`.
    plans : dict of Plan
        By role.
    seed, points, accuracy
        See `simulate_trial`.
    dtype : str
        Type to store: float32 halves the size of fields.
    """
    accuracy, points = accuracy or Accuracy(), points or system.points
    attributes: dict[str, Any] = {
        "system": system.name,
        "parameters": dict(system.parameters),
        "variables": list(system.variables),
        "axes": list(system.axes),
        "domain": [list(side) for side in system.domain],
        "points": points,
        "seed": seed,
        "integrator": {"flow": "DOP853", "map": "iteration", "field": "ETDRK4"}[system.kind],
        **asdict(accuracy),
        "roles": {role: asdict(plan) for role, plan in plans.items()},
    }
    with atomic_directory(path) as folder:
        group = zarr.create_group(store=str(folder))
        for role, plan in plans.items():
            shape = (*(points for _ in system.axes), plan.samples, system.dimension)
            frame = int(np.prod(shape)) // plan.samples * np.dtype(dtype).itemsize
            times = max(1, min(plan.samples, CHUNK_BYTES // frame))
            array = group.create_array(
                role,
                shape=(plan.trials, *shape),
                dtype=dtype,
                chunks=(1, *shape[:-2], times, system.dimension),
                compressors=[ZstdCodec(level=1), Crc32cCodec()],
                fill_value=0,
                dimension_names=("trial", *system.axes, "time", "variable"),
                # A chunk of zeros would else be left out, and could not be told from a lost one.
                config={"write_empty_chunks": True},
            )
            for trial in range(plan.trials):
                array[trial] = simulate_trial(
                    system, role, trial, plan.dt, plan.samples,
                    seed=seed, points=points, accuracy=accuracy,
                )  # fmt: skip
            log.info("%s: %d trajectories to %s", system.name, plan.trials, role)
        # The group's own metadata say what must be there, and are written last.
        metadata = read_json(folder / METADATA)
        metadata["attributes"] = {**attributes, "complete": True}
        write_json(metadata, folder / METADATA)


class Trajectories:
    """Reads a store of trajectories; opened by `open_trajectories`.

    Attributes
    ----------
    path : Path
    attributes : dict
        The system, its parameters, seed, integrator and tolerances, and for each of the `roles` its
        `trials`, `dt` and `samples`.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path, self.attributes = path, attributes

    def plan(self, role: Role) -> Plan:
        """How many trajectories of a role there are, and how they are sampled."""
        if role not in self.attributes["roles"]:
            raise StoreError(f"the store has no trajectories to {role}", where=str(self.path))
        return Plan(**self.attributes["roles"][role])

    def read(self, role: Role, trial: int, samples: int | None = None) -> np.ndarray:
        """The first samples (None: all) of a trajectory, float64.

        Returns
        -------
        ndarray of shape (samples, variable), of a field (points..., samples, variable)

        Raises
        ------
        StoreError
            If there is no such trial, it is shorter than that, or its chunks are lost or corrupt.
        """
        plan = self.plan(role)
        stop = plan.samples if samples is None else samples
        if not 0 <= trial < plan.trials or not 0 < stop <= plan.samples:
            raise StoreError(
                f"{stop} samples of trial {trial} are asked for",
                where=f"{self.path}/{role}",
                fix=f"the store has {plan.trials} trials of {plan.samples} samples each",
            )
        try:
            array = zarr.open_array(str(self.path / role), mode="r")
            blocks = -(-stop // array.chunks[-2])
            space = ["0"] * (len(array.shape) - 3)
            for block in range(blocks):
                # Zarr reads a lost chunk as zeros.
                chunk = self.path.joinpath(role, "c", str(trial), *space, str(block), "0")
                if not chunk.is_file():
                    raise FileNotFoundError(f"no chunk {chunk}")
            return np.asarray(array[trial, ..., :stop, :], dtype=np.float64)
        except Exception as error:  # each codec has its own kind of error for bad bytes
            raise StoreError(
                f"trial {trial} cannot be read ({error})",
                where=f"{self.path}/{role}",
                fix=REBUILD,
            ) from error


def open_trajectories(path: str | Path) -> Trajectories:
    """Open a store of trajectories to read it.

    Raises
    ------
    StoreError
        If it is not one, or is not complete.
    """
    folder = Path(path)
    try:
        attributes = read_json(folder / METADATA)["attributes"]
        complete = attributes["complete"] and bool(attributes["roles"])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"not a store of trajectories ({error})",
            where=str(folder),
            fix="run snakemake for this target first",
        ) from error
    if not complete:
        raise StoreError("the store is not complete", where=str(folder), fix=REBUILD)
    return Trajectories(folder, attributes)
