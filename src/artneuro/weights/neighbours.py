"""Which neurons read or write alike: nearest neighbours within a layer, antipodes across layers."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch

# Rows of cosines that are held at once.
BLOCK = 4096


def unit_rows(weight: np.ndarray) -> np.ndarray:
    """Rows divided by their norms; rows of zeros stay."""
    norm = np.linalg.norm(weight, axis=1, keepdims=True)
    return np.divide(weight, norm, out=np.zeros_like(weight), where=norm > 0)


def nearest_rows(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The other row with the highest cosine, for each row.

    Parameters
    ----------
    unit : ndarray, shape (n, d), n at least 2
        Rows of unit length, or of zeros.

    Returns
    -------
    cosine : ndarray of float64, shape (n,)
    index : ndarray of int64, shape (n,)
    """
    rows = torch.from_numpy(np.ascontiguousarray(unit, dtype=np.float32))
    index = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        product = rows[start : start + BLOCK] @ rows.T
        product[torch.arange(len(product)), torch.arange(start, start + len(product))] = -2.0
        index[start : start + BLOCK] = product.argmax(dim=1).numpy()
    return _cosines(unit, unit[index]), index


class Antipodes:
    """The neuron that writes most opposite to each, found while layers go by.

    Parameters
    ----------
    reach : int
        Layers before and after a neuron's own in which it is looked for.
    """

    def __init__(self, reach: int) -> None:
        # The layers that a new one is compared with; older ones are not kept.
        self._recent: deque[tuple[int, np.ndarray]] = deque(maxlen=reach + 1)
        self.cosine: dict[int, np.ndarray] = {}
        self.layer: dict[int, np.ndarray] = {}
        self.neuron: dict[int, np.ndarray] = {}

    def add(self, layer: int, unit: np.ndarray) -> None:
        """Compare the neurons of a layer, (n, d_model) of unit length, with those before it."""
        self.cosine[layer] = np.full(len(unit), np.inf)
        self.layer[layer] = np.full(len(unit), -1, dtype=np.int64)
        self.neuron[layer] = np.full(len(unit), -1, dtype=np.int64)
        self._recent.append((layer, unit))
        for other, units in self._recent:
            self._compare(layer, unit, other, units)
            if other != layer:
                self._compare(other, units, layer, unit)

    def _compare(self, layer: int, unit: np.ndarray, other: int, units: np.ndarray) -> None:
        others = torch.from_numpy(np.ascontiguousarray(units, dtype=np.float32))
        rows = torch.from_numpy(np.ascontiguousarray(unit, dtype=np.float32))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            index = (rows[part] @ others.T).argmin(dim=1).numpy()
            cosine = _cosines(unit[part], units[index])
            better = cosine < self.cosine[layer][part]
            self.cosine[layer][part][better] = cosine[better]
            self.layer[layer][part][better] = other
            self.neuron[layer][part][better] = index[better]


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products of rows, exact to the last digits, which float32 products are not."""
    return np.einsum("ij,ij->i", first.astype(np.float64), second.astype(np.float64))
