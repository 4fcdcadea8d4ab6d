"""How alike neurons are, from their moments: correlations, cosines, Jaccard indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Metric = Literal["pearson", "cosine", "jaccard"]


@dataclass(frozen=True)
class Units:
    """Moments of some neurons over the same tokens.

    Attributes
    ----------
    mean : Tensor of float64, shape (unit,)
    deviations : Tensor of float64, shape (unit,)
        Sum over tokens of the squared deviations from the mean.
    n : int
        Tokens.
    """

    mean: torch.Tensor
    deviations: torch.Tensor
    n: int

    @property
    def squares(self) -> torch.Tensor:
        """Sum over tokens of the squares."""
        return self.deviations + self.n * self.mean.square()


def numerator(metric: Metric, centred: torch.Tensor, x: Units, y: Units) -> torch.Tensor:
    """What a metric divides: the centred products, or the products themselves.

    Parameters
    ----------
    metric : {"pearson", "cosine", "jaccard"}
    centred : Tensor of float64, shape (unit of x, unit of y)
        Sum over tokens of (x - mean x)(y - mean y).
    x, y : Units
    """
    return centred if metric == "pearson" else torch.addr(centred, x.mean, y.mean, alpha=x.n)


def length(metric: Metric, x: Units) -> torch.Tensor:
    """Length of each unit's vector of activations, centred for Pearson, (unit,) float64."""
    return (x.deviations if metric == "pearson" else x.squares).sqrt()


def similarity(metric: Metric, centred: torch.Tensor, x: Units, y: Units) -> torch.Tensor:
    """Similarity of every unit of x with every unit of y (equation 3.2 for Pearson).

    Parameters
    ----------
    metric : {"pearson", "cosine", "jaccard"}
        For "jaccard" activations are 0 and 1.
    centred, x, y
        As in `numerator`.

    Returns
    -------
    Tensor of float64, shape (unit of x, unit of y)
        In [-1, 1]; 0 for a unit that is constant (Pearson), always zero (cosine) or never active
        (Jaccard).
    """
    products = numerator(metric, centred, x, y)
    if metric == "jaccard":
        # Whole numbers: tokens on which both are active, and each.
        both = products.round()
        union = (x.squares.round()[:, None] + y.squares.round()) - both
        return torch.where(union > 0, both / union, 0.0)
    return (products * _inverse(length(metric, x))[:, None] * _inverse(length(metric, y))).clamp(
        -1, 1
    )


def _inverse(lengths: torch.Tensor) -> torch.Tensor:
    return torch.where(lengths > 0, 1 / lengths, 0.0)


def rotated_directions(
    metric: Metric, within: torch.Tensor, y: Units, rotation: torch.Tensor
) -> torch.Tensor:
    """Directions R y of a layer, as weights of its units scaled to length 1.

    Parameters
    ----------
    metric : {"pearson", "cosine"}
    within : Tensor of float64, shape (unit of y, unit of y)
        Sum over tokens of (y - mean y)(y - mean y)^T.
    y : Units
    rotation : Tensor of float64, shape (direction, unit of y)
        R, whose rows are the directions.

    Returns
    -------
    Tensor of float32, shape (direction, unit of y)
        W such that similarity(x, y) W^T is that of x with the directions: nothing but moments is
        rotated, since cov(x, Ry) = cov(x, y) R^T and var(Ry)_j = (R cov(y, y) R^T)_jj.
    """
    own = numerator(metric, within, y, y)
    lengths = ((rotation @ own) * rotation).sum(dim=1).clamp_min(0).sqrt()
    return (rotation * _inverse(lengths)[:, None] * length(metric, y)).float()


def largest_rotated(similarities: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Largest similarity of each unit of x with directions of a layer (in equation 3.3).

    Parameters
    ----------
    similarities : Tensor of float32, shape (unit of x, unit of y)
    directions : Tensor of float32, shape (direction, unit of y)
        From `rotated_directions`.

    Returns
    -------
    Tensor of float32, shape (unit of x,)
    """
    return (similarities @ directions.T).amax(dim=1).clamp(-1, 1)
