"""Cosines of the probes' directions with the weights that neurons read and write with (4.5).

A neuron of block l writes to the residual stream behind block l, and reads that behind block l - 1
through the norm of its MLP, whose gain is folded into its weights. Where the attention of block l
adds to the residual stream first, that part of what the neuron reads is left out; in models whose
attention and MLP run side by side (GPT-NeoX) there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import integrate, linalg, special

from artneuro.core.errors import DataError
from artneuro.models.info import ModelShape
from artneuro.spacetime.directions import read_direction_arrays
from artneuro.weights.families import family_of
from artneuro.weights.neighbours import unit_rows
from artneuro.weights.preprocessing import centre_rows, iterate_processed_mlp
from artneuro.weights.reading import MlpWeights

# What a neuron has a vector of; "input" is the linear part of a gated one.
INPUT, GATE, OUTPUT = "input", "gate", "output"


@dataclass(frozen=True)
class Directions:
    """The linear probes of every layer, as `fit_entity_probes` stored them.

    Attributes
    ----------
    layers : tuple of int
        Layers of the model, ascending.
    target_names : tuple of str
    coef : ndarray of float64, shape (layer, unit, target)
        What a probe multiplies raw activations with.
    mean, scale : ndarray of float64, shape (layer, unit)
        Those of the training rows that the penalty was applied at.
    penalties : tuple of float
    best_layer : int
        A layer of the model: the one that leave-one-out chose.
    """

    layers: tuple[int, ...]
    target_names: tuple[str, ...]
    coef: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    penalties: tuple[float, ...]
    best_layer: int

    def of(self, layer: int) -> np.ndarray:
        """The direction of each target at a layer of the model, (target, unit)."""
        return self.coef[self.layers.index(layer)].T


def read_directions(path: str | Path, layers: tuple[int, ...]) -> Directions:
    """Read the probes' directions.

    Parameters
    ----------
    path : path
        `directions.zarr`.
    layers : tuple of int
        Layers of the store that the probes were fitted on.

    Raises
    ------
    DataError
        If it cannot be read, or has other layers.
    """
    (coef, mean, scale), attributes = read_direction_arrays(path, ("coef", "mean", "scale"))
    try:
        found = Directions(
            layers, tuple(attributes["target_names"]), coef, mean, scale,
            tuple(float(p) for p in attributes["penalties"]), int(attributes["best_layer"]),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"cannot read the probes' directions ({error})",
            where=str(path),
            fix="delete it and run snakemake again",
        ) from error
    if len(coef) != len(layers) or found.best_layer not in layers:
        raise DataError(
            f"the probes are of {len(coef)} layers, the activations of {len(layers)}",
            where=str(path),
            fix="delete the probes and run snakemake again",
        )
    return found


def vectors_of(weights: MlpWeights) -> dict[str, np.ndarray]:
    """What neurons read and write with, by kind, (neuron, d_model) each."""
    if weights.w_up is None:
        return {INPUT: weights.w_in, OUTPUT: weights.w_out}
    return {GATE: weights.w_in, INPUT: weights.w_up, OUTPUT: weights.w_out}


def probed_layer(layer: int, kind: str) -> int:
    """The layer behind which a neuron of block `layer` writes, or behind which it reads."""
    return layer if kind == OUTPUT else layer - 1


def search_neurons(
    weights: str | Path,
    shape: ModelShape,
    directions: Directions,
    shuffled: np.ndarray,
    top: int,
) -> pl.DataFrame:
    """The neurons whose weights are nearest to the direction of each target, by either sign.

    Parameters
    ----------
    weights : path
        The model folder; it is read layer by layer.
    shape : ModelShape
    directions : Directions
    shuffled : ndarray, shape (layer, direction, unit)
        Directions of probes of shuffled targets, the same number at each layer.
    top : int
        Neurons kept of each target and kind of weights.

    Returns
    -------
    DataFrame
        `target`, `weights`, `rank` (from 1, by the size of the cosine), `layer`, `neuron`,
        `probe_layer`, `cosine` (with its sign); `n_searched` neurons; `cosine_random` (the largest
        cosine to be expected of a random direction with so many), `cosine_p` (the probability of
        one as large), `cosine_shuffled` (the mean over shuffled directions of the largest).
    """
    centred = family_of(shape.architecture).centred
    parts: dict[str, list[tuple[int, np.ndarray]]] = {}
    largest: dict[str, np.ndarray] = {}
    for layer, kind, vectors in _iterate_vectors(weights, shape, directions.layers):
        probe = probed_layer(layer, kind)
        rows = np.concatenate([directions.of(probe), shuffled[directions.layers.index(probe)]])
        # A layer norm lets nobody read the mean of the residual stream.
        cosines = unit_rows(vectors) @ unit_rows(centre_rows(rows) if centred else rows).T
        n_targets = len(directions.target_names)
        parts.setdefault(kind, []).append((layer, cosines[:, :n_targets]))
        here = np.abs(cosines[:, n_targets:]).max(axis=0, initial=0.0)
        largest[kind] = np.maximum(largest.get(kind, 0.0), here)
    dimension = shape.d_model - centred
    found = []
    for kind, of_layers in parts.items():
        place = np.concatenate([np.full(len(c), layer) for layer, c in of_layers])
        neuron = np.concatenate([np.arange(len(c)) for _, c in of_layers])
        cosines = np.concatenate([c for _, c in of_layers])
        n = len(cosines)
        expected = expected_largest_cosine(n, dimension)
        for i, target in enumerate(directions.target_names):
            order = np.argsort(-np.abs(cosines[:, i]), kind="stable")[:top]
            found.append(
                pl.DataFrame(
                    {
                        "target": target,
                        "weights": kind,
                        "rank": np.arange(1, len(order) + 1),
                        "layer": place[order],
                        "neuron": neuron[order],
                        "probe_layer": [probed_layer(int(p), kind) for p in place[order]],
                        "cosine": cosines[order, i],
                        "n_searched": n,
                        "cosine_random": expected,
                        "cosine_p": largest_cosine_tail(np.abs(cosines[order, i]), n, dimension),
                        "cosine_shuffled": float(largest[kind].mean()) if shuffled.size else None,
                    },
                    schema_overrides={"cosine_shuffled": pl.Float64},
                )
            )
    return pl.concat(found)


def _iterate_vectors(
    weights: str | Path, shape: ModelShape, layers: tuple[int, ...]
) -> Iterator[tuple[int, str, np.ndarray]]:
    """Layer, kind and processed weights of every layer and kind that a probed layer meets."""
    wanted = [n for n in range(shape.n_layers) if n in layers or n - 1 in layers]
    for part in iterate_processed_mlp(weights, shape, wanted):
        for kind, vectors in vectors_of(part).items():
            if probed_layer(part.layer, kind) in layers:
                yield part.layer, kind, vectors


def expected_largest_cosine(n: int, dimension: int) -> float:
    """Expected largest absolute cosine of n random directions with a fixed one.

    The square of a cosine has a beta distribution with parameters 1/2 and (dimension - 1) / 2; the
    mean of the largest is the integral of one minus the n-th power of the distribution of one.
    """
    found, _ = integrate.quad(
        lambda c: -np.expm1(n * np.log1p(-_tail(c, dimension))) if c > 0 else 1.0,
        0.0,
        1.0,
        limit=200,
    )
    return float(found)


def largest_cosine_tail(cosines: np.ndarray, n: int, dimension: int) -> np.ndarray:
    """Probability that the largest of n random absolute cosines is at least each of `cosines`."""
    with np.errstate(divide="ignore"):
        return -np.expm1(n * np.log1p(-_tail(np.minimum(cosines, 1.0), dimension)))


def _tail(cosine: np.ndarray | float, dimension: int) -> np.ndarray | float:
    """Probability that one random absolute cosine is at least `cosine`."""
    return special.betaincc(0.5, (dimension - 1) / 2, np.square(cosine))


def shuffled_directions(
    activations: np.ndarray,
    target: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    penalty: float,
    generator: np.random.Generator,
    n: int,
) -> np.ndarray:
    """Directions of ridge probes of one target in an order without meaning.

    They have seen the same activations as the probe of the target, so that they lean as it does
    towards what the activations vary along, which random directions do not.

    Parameters
    ----------
    activations : ndarray, shape (row, unit)
        Of the training rows.
    target : ndarray, shape (row,)
    mean, scale : ndarray, shape (unit,)
        What activations are centred at and divided by before the penalty.
    penalty : float
        That of the probe of the true target.
    generator : Generator
    n : int
        Probes, each of another order.

    Returns
    -------
    ndarray of float64, shape (n, unit)
    """
    features = (activations - mean) / scale
    centred = target - target.mean()
    targets = np.stack([generator.permutation(centred) for _ in range(n)], axis=1)
    rows, units = features.shape
    # The smaller of the two systems of equations of a ridge.
    if rows >= units:
        gram = features.T @ features
        gram[np.diag_indices(units)] += penalty
        coef = linalg.solve(gram, features.T @ targets, assume_a="pos", overwrite_a=True)
    else:
        gram = features @ features.T
        gram[np.diag_indices(rows)] += penalty
        coef = features.T @ linalg.solve(gram, targets, assume_a="pos", overwrite_a=True)
    return (coef / scale[:, None]).T
