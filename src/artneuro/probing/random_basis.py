"""Activations in random orthogonal bases: what probes find where no direction is privileged.

Thesis, figure A.2 and section A.1.10.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artneuro.probing.data import random_generator

# Rows that are projected at a time: bounds the float64 copies of a wide layer.
_BLOCK = 1024


def random_orthogonal(units: int, k: int, generator: np.random.Generator) -> np.ndarray:
    """A matrix (units, k) of orthonormal columns, uniform among all such (k <= units).

    The Q of a Gaussian matrix is uniform only once the diagonal of R is made positive.
    """
    q, r = np.linalg.qr(generator.standard_normal((units, k)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def draws_of(k: int, draws: int) -> int:
    """How many bases are drawn at k neurons: draws / sqrt(k), rounded, at least one of them."""
    return max(1, round(draws / k**0.5)) if draws else 0


def random_projections(
    activations: np.ndarray, sizes: Sequence[int], *, draws: int, seed: int, site: str, layer: int
) -> dict[int, np.ndarray]:
    """The activations of a layer in random bases of several sizes.

    Parameters
    ----------
    activations : ndarray of shape (rows, units)
    sizes : sequence of int
        Numbers of directions, each at most the number of units.
    draws : int
        Bases at k = 1; fewer at larger k (`draws_of`).
    seed, site, layer
        What the bases depend on, with k and the number of the draw: all features of a layer see
        the same ones.

    Returns
    -------
    dict of int to ndarray of float64, shape (draws, k, rows)
        Coordinates of every row along the directions of each basis; empty without draws.
    """
    rows, units = activations.shape
    bases = {
        k: np.concatenate(
            [
                random_orthogonal(
                    units, k, random_generator(seed, "random_basis", site, layer, k, draw)
                )
                for draw in range(draws_of(k, draws))
            ],
            axis=1,
        )
        for k in sizes
        if draws
    }
    # Centred first: a shift along each direction moves only the intercept of a probe.
    mean = activations.mean(axis=0, dtype=np.float64)
    found = {k: np.empty((basis.shape[1], rows)) for k, basis in bases.items()}
    for start in range(0, rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        centred = activations[block].astype(np.float64) - mean
        for k, basis in bases.items():
            found[k][:, block] = (centred @ basis).T
    return {k: values.reshape(-1, k, rows) for k, values in found.items()}
