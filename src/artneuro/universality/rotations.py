"""Seeded random matrices for the baseline of equation 3.3."""

from __future__ import annotations

from typing import Literal

import numpy as np

from artneuro.core.hashing import sha256_bytes

Rotation = Literal["orthogonal", "gaussian"]


def random_rotation(
    kind: Rotation, size: int, seed: int, model: str, layer: int, draw: int
) -> np.ndarray:
    """A random matrix for the neurons of one layer of a model.

    Parameters
    ----------
    kind : {"orthogonal", "gaussian"}
        Uniformly distributed over the orthogonal matrices (QR of a Gaussian matrix, with the signs
        that make the factorisation unique), or Gaussian with rows of unit length.
    size : int
        Neurons of the layer.
    seed, model, layer, draw
        Which one it is: the same arguments give the same matrix.

    Returns
    -------
    ndarray of float64, shape (size, size)
        Its rows are the new directions.
    """
    named = int(sha256_bytes(model.encode())[:16], 16)
    generator = np.random.default_rng([seed, named, layer, draw])
    gaussian = generator.standard_normal((size, size))
    if kind == "gaussian":
        return gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)
    q, r = np.linalg.qr(gaussian)
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)
