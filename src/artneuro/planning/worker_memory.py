"""Memory of a worker that probes: rules ask for it before the sizes of a dataset are known."""

from __future__ import annotations

from pathlib import Path

from artneuro.activations.store import ATTRIBUTES
from artneuro.config import Config
from artneuro.core.artifacts import read_json
from artneuro.core.errors import ArtneuroError
from artneuro.planning.shapes import planned_models
from artneuro.planning.sizes import Sizes

# A layer in float32, and once more with a neuron a line.
BYTES_A_NUMBER = 8.0


def layer_bytes(
    config: Config, root: Path, workdir: Path, model: str, dataset: str
) -> float | None:
    """Bytes that one layer of the activations takes in a worker.

    Parameters
    ----------
    config : Config
    root, workdir : Path
        Folder of the workflow, and folder that `results/` lies in.
    model, dataset : str
        Names in the config.

    Returns
    -------
    float or None
        From the store where it is there, else from the sizes of the model and at most so many rows
        (`artneuro.planning.sizes`); None where the model's sizes are not known yet.
    """
    store = workdir / "results" / "activations" / model / dataset / "activations.zarr"
    try:
        told = read_json(store / ATTRIBUTES)["attributes"]
        return BYTES_A_NUMBER * told["n_rows"] * max(told["units"].values())
    except (OSError, ValueError, KeyError):
        pass  # not there yet; damaged files are for those who read them to tell of
    try:
        sizes = Sizes(config, planned_models(config, root, workdir, [model]))
    except ArtneuroError:
        return None
    return BYTES_A_NUMBER * sizes.datasets[dataset].rows * sizes.models[model].shape.d_mlp
