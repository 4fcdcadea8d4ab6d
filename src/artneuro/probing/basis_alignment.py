"""Are single neurons better features than other directions of the same layer?

Thesis, section A.1.10 and figure A.8.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, random_generator
from artneuro.probing.layer import fit_supports
from artneuro.probing.metrics import f1_of
from artneuro.probing.random_basis import random_orthogonal
from artneuro.probing.rankings import scale_of, top

NEURONS, RANDOM = "neurons", "random"


def draw_basis(units: int, seed: int, draw: int) -> np.ndarray:
    """A random orthogonal basis of a whole layer, (units, units), the same for all layers."""
    return random_orthogonal(units, units, random_generator(seed, "basis_alignment", units, draw))


def best_directions(
    config: ProbingConfig, directions: np.ndarray, feature: Feature
) -> pl.DataFrame:
    """Probe the most promising directions of a basis alone.

    Parameters
    ----------
    config : ProbingConfig
        `superposition.candidates` and `kept`; `C` and `scale` of the probes.
    directions : ndarray of float64, shape (directions, rows)
        Coordinates of the training rows of the feature, followed by its test rows.
    feature : Feature

    Returns
    -------
    DataFrame
        `rank` from 1 by train F1 (ties by absolute difference of class means), `direction` (line),
        `f1_train` and `f1` (test split).
    """
    settings, labels = config.superposition, feature.train_positive
    train, test = directions[:, : labels.size], directions[:, labels.size :]
    difference = np.abs(train[:, labels].mean(axis=1) - train[:, ~labels].mean(axis=1))
    if config.scale:
        difference = difference / scale_of(train.std(axis=1))
    order = top(difference, settings.candidates)
    lines = np.arange(order.size)[:, None]
    probes = fit_supports(config, train[order], labels, lines)
    coef, intercept = probes.coef[:, 0], probes.intercept
    f1_train = f1_of(coef * train[order] + intercept, labels)
    f1 = f1_of(coef * test[order] + intercept, feature.test_positive)
    best = top(f1_train, settings.kept)
    return pl.DataFrame(
        {
            "rank": np.arange(1, best.size + 1),
            "direction": order[best],
            "f1_train": f1_train[best],
            "f1": f1[best],
        }
    )
