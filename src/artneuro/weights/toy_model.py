"""A toy model of superposition: features packed into a plane, and what that asks of weights.

Of n features exactly one is present, as with n-grams. Feature i is written into a plane as the
vector w_i, and a neuron reads it back as ReLU(w_i . x + b_i). Thesis, section A.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ToyModel:
    """The smallest weights that recover n mutually exclusive features from a plane.

    Attributes
    ----------
    features : ndarray of int
        n, at least 2.
    norm : ndarray of float64
        Norm of each weight vector, the same for all n of them.
    bias : ndarray of float64
        Bias of each neuron.
    """

    features: np.ndarray
    norm: np.ndarray
    bias: np.ndarray

    @property
    def fingerprint(self) -> np.ndarray:
        """Norm times bias: -cos t / (1 - cos t)^1.5 with t = 2 pi / n; negative from n = 5 on."""
        return self.norm * self.bias


def toy_model(features: np.ndarray | int) -> ToyModel:
    """The toy model in closed form.

    Parameters
    ----------
    features : array of int
        Numbers of features n, each at least 2.

    Returns
    -------
    ToyModel
        Arrays of the same shape. The vectors lie evenly on a circle. A neuron is to give 1 on its
        own feature, norm^2 + b = 1, and nothing on the next one, norm^2 cos t + b <= 0 with
        t = 2 pi / n; the smallest such norm is (1 - cos t)^-0.5, and then b = -cos t / (1 - cos t).

    Raises
    ------
    ValueError
        If a number is below 2.

    Notes
    -----
    Thesis, section A.3. Its text takes the norm for its square and so gives b * norm as
    cos t / (cos t - 1), which is the bias alone. Without a bias (b = 0) the two conditions hold up
    to n = 4 only.
    """
    n = np.atleast_1d(np.asarray(features))
    if np.any(n < 2):
        raise ValueError(f"a toy model needs two features or more, not {n.min()}")
    # 1 - cos t, without the digits that the difference loses at small angles.
    gap = 2 * np.sin(np.pi / n) ** 2
    return ToyModel(features=n, norm=gap**-0.5, bias=1 - 1 / gap)
