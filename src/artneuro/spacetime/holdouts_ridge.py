"""Ridge regression without some of its rows, of one penalty, for many sets of rows in turn.

Where there are more rows than features, the products of all rows are made once. Leaving rows out
takes theirs away again, moves the rest to its own mean and its own scale, and solves: as if the
rows had never been there, to rounding. Otherwise the rows that are kept are few enough to start
anew from the products of all pairs of them.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from artneuro.core.errors import DataError
from artneuro.spacetime.ridge import CONSTANT

# Rows that are scaled and multiplied at a time.
_BLOCK = 2048
# Of a unit whose spread shrinks more than this, the difference of products is mostly rounding.
_SHRUNK = 1e-3


class HeldOutRidge:
    """Fits of `artneuro.spacetime.ridge` on training rows without some of them.

    Features are centred and scaled to unit variance by the rows that are kept, targets centred by
    them; the penalty counts in those units.

    Parameters
    ----------
    features : ndarray of shape (n, d), float32 or float64
    targets : ndarray of shape (n, t)
    penalty : float
        Above 0, of every fit.

    Raises
    ------
    DataError
        If shapes do not fit, values are not finite or the penalty is not above 0.
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray, penalty: float) -> None:
        self.features = np.asarray(features)
        self.targets = np.asarray(targets, dtype=np.float64)
        if self.features.ndim != 2 or self.targets.shape[:1] != self.features.shape[:1]:
            raise DataError(f"{self.targets.shape} targets for features of {self.features.shape}")
        if not (np.isfinite(self.features).all() and np.isfinite(self.targets).all()):
            raise DataError("features or targets hold NaN or infinity")
        if not penalty > 0:
            raise DataError(f"the penalty of a ridge is above 0, and not {penalty}")
        self.penalty = float(penalty)
        everything = np.arange(len(self.features))
        self._mean, self._scale, _ = _moments(self.features, everything)
        self._middle = self.targets.mean(axis=0)
        self._products: np.ndarray | None = None
        if len(self.features) > self.features.shape[1]:
            self._products, self._cross = self._sums(everything)

    def without(self, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (d, t) and intercepts (t,) of the rows that are kept, in raw units.

        Parameters
        ----------
        left_out : ndarray of bool, shape (n,)

        Raises
        ------
        DataError
            If fewer than two rows are kept.
        """
        kept = np.flatnonzero(~np.asarray(left_out, dtype=bool))
        if len(kept) < 2:
            raise DataError(
                f"{len(kept)} rows are left to train on",
                fix="hold out a smaller part of the training rows",
            )
        mean, scale, constant = _moments(self.features, kept)
        middle = self.targets[kept].mean(axis=0)
        if self._products is None:
            scaled = self._solve_pairs(kept, mean, scale, middle)
        else:
            gone = np.flatnonzero(left_out)
            scaled = self._solve_rest(kept, gone, mean, scale, constant, middle)
        coefficients = scaled / scale[:, None]
        return coefficients, middle - mean @ coefficients

    def _solve_rest(
        self,
        kept: np.ndarray,
        left_out: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        constant: np.ndarray,
        middle: np.ndarray,
    ) -> np.ndarray:
        """Coefficients of scaled features, from the products of all rows less those left out."""
        assert self._products is not None
        products, cross = self._sums(left_out)
        np.subtract(self._products, products, out=products)
        cross = self._cross - cross
        shift = (mean - self._mean) / self._scale
        products -= len(kept) * np.outer(shift, shift)
        cross -= len(kept) * np.outer(shift, middle - self._middle)
        ratio = self._scale / scale
        products *= ratio
        products *= ratio[:, None]
        cross *= ratio[:, None]
        doubtful = np.flatnonzero(ratio * _SHRUNK > 1)
        if len(doubtful):
            own = np.zeros((len(ratio), len(doubtful)))
            own_cross = np.zeros((len(doubtful), cross.shape[1]))
            for rows in _parts(kept):
                scaled = (self.features[rows] - mean) / scale
                own += scaled.T @ scaled[:, doubtful]
                own_cross += scaled[:, doubtful].T @ (self.targets[rows] - middle)
            products[:, doubtful], products[doubtful] = own, own.T
            cross[doubtful] = own_cross
        # What is constant on the rows kept is centred to zeros, but for rounding.
        products[constant], products[:, constant], cross[constant] = 0.0, 0.0, 0.0
        products[np.diag_indices_from(products)] += self.penalty
        return linalg.solve(products, cross, assume_a="pos", overwrite_a=True, check_finite=False)

    def _solve_pairs(
        self, kept: np.ndarray, mean: np.ndarray, scale: np.ndarray, middle: np.ndarray
    ) -> np.ndarray:
        """Coefficients of scaled features, from the products of all pairs of rows kept."""
        rows = (self.features[kept] - mean) / scale
        pairs = rows @ rows.T
        pairs[np.diag_indices_from(pairs)] += self.penalty
        return rows.T @ linalg.solve(pairs, self.targets[kept] - middle, assume_a="pos")

    def _sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products of rows in the units of all rows: of units (d, d), with the targets (d, t)."""
        d = self.features.shape[1]
        products, cross = np.zeros((d, d)), np.zeros((d, self.targets.shape[1]))
        for part in _parts(rows):
            scaled = (self.features[part] - self._mean) / self._scale
            products += scaled.T @ scaled
            cross += scaled.T @ (self.targets[part] - self._middle)
        return products, cross


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _moments(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of units over rows, 1 where constant, and which those are."""
    mean = np.zeros(features.shape[1])
    for part in _parts(rows):
        mean += features[part].sum(axis=0, dtype=np.float64)
    mean /= len(rows)
    squares = np.zeros_like(mean)
    for part in _parts(rows):
        squares += np.square(features[part] - mean).sum(axis=0)
    scale = np.sqrt(squares / len(rows))
    constant = (scale <= CONSTANT * np.abs(mean)) | (scale == 0)
    return mean, np.where(constant, 1.0, scale), constant
