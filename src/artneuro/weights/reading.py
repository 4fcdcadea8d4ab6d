"""Reading the weights of MLP neurons from a model folder, some neurons at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from artneuro.core.errors import ModelError
from artneuro.models.hooks import adapter_of
from artneuro.models.info import ModelShape

# The part of a gated MLP that its gate multiplies.
_UP_OF = {"mlp.gate_proj": "mlp.up_proj"}
# GPT-2 stores its layers as (inputs, outputs); all others as (outputs, inputs).
_TRANSPOSED = {"gpt2"}
# Neurons that are read at a time: bounds the float64 copies of a wide layer.
BLOCK = 4096


@dataclass(frozen=True)
class MlpWeights:
    """The weights of neighbouring neurons of one layer, float64, as the folder stores them.

    Nothing is folded in: neither the gain of the layer norm before the MLP nor its centring.

    Attributes
    ----------
    layer, start : int
        The layer, and the first of the neurons.
    w_in : ndarray of shape (neurons, d_model)
        What each neuron reads from the residual stream; in a gated MLP what its gate reads.
    w_up : ndarray of shape (neurons, d_model), or None
        What the other factor of a gated neuron reads; None in an MLP without gates.
    bias_in : ndarray of shape (neurons,), or None
        The bias added to what `w_in` reads; None in an architecture without biases.
    w_out : ndarray of shape (neurons, d_model)
        What each neuron adds to the residual stream.
    """

    layer: int
    start: int
    w_in: np.ndarray
    w_up: np.ndarray | None
    bias_in: np.ndarray | None
    w_out: np.ndarray


def iterate_mlp_weights(
    folder: str | Path, shape: ModelShape, block: int = BLOCK
) -> Iterator[MlpWeights]:
    """Go through the MLP neurons of a model, layer by layer, without loading the model.

    Parameters
    ----------
    folder : path
        A model folder with safetensors.
    shape : ModelShape
        What the model is; `read_model_info` gives it.
    block : int
        Neurons read at a time: memory is a few matrices (block, d_model) of float64.

    Yields
    ------
    MlpWeights
        By layer and neuron, ascending.

    Raises
    ------
    ModelError
        If the architecture is not supported, a file is damaged, or a weight is missing or of
        another size than the shape says.
    """
    with open_weights(folder, shape) as tensors:
        yield from tensors.mlp(block)


@contextmanager
def open_weights(folder: str | Path, shape: ModelShape) -> Iterator[StoredWeights]:
    """Open the weights of a model folder, of which nothing is read yet.

    Raises
    ------
    ModelError
        If the architecture is not supported or a file is damaged.
    """
    adapter_of(shape.architecture, where=str(folder))
    with ExitStack() as stack:
        yield StoredWeights(Path(folder), shape, stack)


class StoredWeights:
    """Slices of the tensors of a folder, found by the end of their names.

    A folder of the base model and one of the model with its head name the same weight differently:
    `h.0...` and `transformer.h.0...`.
    """

    def __init__(self, folder: Path, shape: ModelShape, stack: ExitStack) -> None:
        self.folder, self.shape = folder, shape
        self.transposed = shape.architecture in _TRANSPOSED
        self.blocks = adapter_of(shape.architecture).blocks
        self.found: dict[str, Any] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                opened = stack.enter_context(safe_open(str(file), framework="pt"))
                self.found.update(dict.fromkeys(opened.keys(), opened))
            except (SafetensorError, OSError) as error:
                raise _damaged(file, error) from error

    def mlp(self, block: int, layers: Sequence[int] | None = None) -> Iterator[MlpWeights]:
        """The MLP neurons of some layers, all unless told, `block` neurons at a time."""
        taps = adapter_of(self.shape.architecture).taps
        into, out = taps["mlp_pre"].module, taps["mlp_post"].module
        up = _UP_OF.get(into)
        for layer in range(self.shape.n_layers) if layers is None else sorted(layers):
            stem = f"{self.blocks}.{layer}"
            for start in range(0, self.shape.d_mlp, block):
                stop = min(start + block, self.shape.d_mlp)
                yield MlpWeights(
                    layer=layer,
                    start=start,
                    w_in=self.rows(f"{stem}.{into}.weight", start, stop),
                    w_up=self.rows(f"{stem}.{up}.weight", start, stop) if up else None,
                    bias_in=self.bias(f"{stem}.{into}.bias", start, stop),
                    w_out=self.columns(f"{stem}.{out}.weight", start, stop),
                )

    def vector(self, name: str) -> np.ndarray:
        """What is stored for each direction of the residual stream, (d_model,)."""
        return self.matrix(name, (self.shape.d_model,))

    def optional_vector(self, name: str) -> np.ndarray | None:
        """The same, None where the model has no tensor of this name."""
        return self.vector(name) if self._full(name) else None

    def matrix(self, name: str, expected: tuple[int, ...]) -> np.ndarray:
        """A whole tensor."""
        return self._slice(self._known(name), expected, tuple(slice(None) for _ in expected))

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Weights that neurons read with, (neurons, d_model)."""
        expected = (self.shape.d_mlp, self.shape.d_model)
        return self._matrix(name, expected, start, stop, neurons_first=not self.transposed)

    def columns(self, name: str, start: int, stop: int) -> np.ndarray:
        """Weights that neurons write with, (neurons, d_model)."""
        expected = (self.shape.d_mlp, self.shape.d_model)
        return self._matrix(name, expected, start, stop, neurons_first=self.transposed)

    def bias(self, name: str, start: int, stop: int) -> np.ndarray | None:
        """Biases of neurons, None where the model has no tensor of this name."""
        full = self._full(name)
        if full is None:
            return None
        return self._slice(full, (self.shape.d_mlp,), (slice(start, stop),))

    def _matrix(
        self, name: str, expected: tuple[int, int], start: int, stop: int, *, neurons_first: bool
    ) -> np.ndarray:
        full = self._known(name)
        if neurons_first:
            return self._slice(full, expected, (slice(start, stop), slice(None)))
        return self._slice(full, expected[::-1], (slice(None), slice(start, stop))).T

    def _known(self, name: str) -> str:
        full = self._full(name)
        if full is None:
            raise ModelError(
                f"the model folder has no weight {name!r}",
                where=str(self.folder),
                fix="fetch the model again: a file of its weights is missing",
            )
        return full

    def _full(self, name: str) -> str | None:
        """The name in the folder that ends with `name`, None if there is none."""
        return next((n for n in self.found if n == name or n.endswith("." + name)), None)

    def _slice(self, name: str, expected: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
        try:
            piece = self.found[name].get_slice(name)
            size = tuple(piece.get_shape())
            if size != expected:
                raise ModelError(
                    f"the weight {name!r} has the shape {size}, not {expected}",
                    where=str(self.folder),
                    fix="delete the folder and fetch the model again: config and weights differ",
                )
            return piece[index].to(torch.float64).numpy()
        except (SafetensorError, OSError) as error:
            raise _damaged(self.folder, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"cannot read the model's weights ({error})",
        where=str(path),
        fix="a file is truncated or damaged: fetch the model again",
    )
