"""Ridge regression with exact leave-one-out errors for any number of penalties and targets.

Thesis, section 4.2.2. Features are centred and scaled to unit variance, targets are centred, and

    minimise  sum_i |y_i - b - x_i' B|^2  +  penalty |B|^2

is solved for all penalties and targets from one eigendecomposition: of the d x d products of the
features where there are more rows than features, of the n x n products of the rows otherwise. With
h_i the share that row i has in its own fitted value, the error on row i of the regression fitted
without it is

    e_i = (y_i - fitted_i) / (1 - h_i),      h_i = 1 / n + x_i' (X'X + penalty)^-1 x_i,

which is exact: coefficients and intercept are those that the other rows give. What is not fitted
anew is the scale of each feature, which all training rows give: it says in which units the penalty
counts, and is part of the choice of the penalty.

Everything is computed in float64. Products of float32 would save a seventh of the time, and miss
the errors by 1e-5 where some rows are far out, as those of residual streams are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from artneuro.core.errors import DataError

# Thesis, section 4.2.2: where the choice of the penalty starts.
DEFAULT_PENALTIES = np.logspace(0.8, 4.5, 12)
# How far the grid of penalties is extended at most. Scaled features have products of n, so that
# below and above nothing changes any more.
LOWEST, HIGHEST = 1e-6, 1e10
# A unit that hardly varies against its own size is constant but for rounding.
CONSTANT = 1e-7
# Rows that are centred, scaled and multiplied at a time.
BLOCK = 2048
# Up to so many numbers, the scaled features are kept rather than made at each use (256 MB).
KEPT = 1 << 25


class RidgeDesign:
    """Features, decomposed once for all penalties and targets.

    Parameters
    ----------
    features : ndarray of shape (n, d), float32 or float64
        The training rows. They are not copied; their products are sums of float64.
    scaled : bool
        Whether units are scaled to unit variance, or only centred.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,)
        Of the training rows; the scale of constant units is 1, and of all if they are not scaled.
    values : ndarray of shape (min(n - 1, d),)
        Eigenvalues of the products, ascending: n times the variances of the principal components
        of the scaled features.

    Raises
    ------
    DataError
        If the features are no matrix, hold NaN or infinity, or there are not two rows.
    """

    def __init__(self, features: np.ndarray, *, scaled: bool = True) -> None:
        self.features = np.asarray(features)
        if self.features.ndim != 2 or 0 in self.features.shape:
            raise DataError(f"features need rows and columns, and have the shape {features.shape}")
        n, d = self.features.shape
        if n < 2:
            raise DataError("a regression needs two rows, and there is one")
        self._is_scaled = scaled
        self.mean = self._means()
        self._kept: list[np.ndarray] | None = None
        if n * d <= KEPT:
            self._kept = [block for _, block in self._blocks()]
        self._is_primal = n > d
        if self._is_primal:
            products = np.zeros((d, d))
            for _, block in self._blocks():
                products += block.T @ block
            self.scale, self._per_scale = self._scales(np.diagonal(products))
            # Scaled here, the rows themselves need not be.
            products *= self._per_scale
            products *= self._per_scale[:, None]
        else:
            rows = np.concatenate([block for _, block in self._blocks()])
            self.scale, self._per_scale = self._scales(np.square(rows).sum(axis=0))
            rows *= self._per_scale
            products = rows @ rows.T
            # Centred rows have no share in the constant direction, which is the intercept's. Made
            # the largest one by far, it can be told from the others and left out exactly.
            products += (2 * np.trace(products) + 1) / n
        values, vectors = linalg.eigh(products, driver="evd", overwrite_a=True, check_finite=False)
        count = d if self._is_primal else n - 1
        self.values = np.maximum(values[:count], 0.0)
        # Of the features in the one case, of the rows in the other.
        self._vectors = vectors[:, :count]
        self._is_whole = True
        self._turned: np.ndarray | None = None

    def _means(self) -> np.ndarray:
        total = np.zeros(self.features.shape[1])
        for part in _parts(len(self.features)):
            total += self.features[part].sum(axis=0, dtype=np.float64)
        if not np.isfinite(total).all():
            is_bad = ~np.isfinite(self.features)
            raise DataError(
                "the features hold NaN or infinity",
                where=f"row {int(is_bad.any(axis=1).argmax())}",
                fix="float16 ends at 65,504: store bfloat16 or float32",
            )
        return total / len(self.features)

    def _scales(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations from sums of squares, 1 for constant units, and what is taken of each
        unit: their inverse, and nothing of constant units.
        """
        scale = np.sqrt(squares / len(self.features))
        is_constant = scale <= CONSTANT * np.abs(self.mean)
        scale[is_constant if self._is_scaled else ...] = 1.0
        return scale, np.where(is_constant, 0.0, 1.0 / scale)

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Training rows, centred, float64."""
        for index, part in enumerate(_parts(len(self.features))):
            if self._kept is not None:
                yield part, self._kept[index]
                continue
            yield part, self.features[part] - self.mean

    def _centred(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets minus their mean, and the mean."""
        targets = _checked_targets(targets, len(self.features))
        mean = targets.mean(axis=0)
        return targets - mean, mean

    def _products(self, centred: np.ndarray) -> np.ndarray:
        """Products of the eigenvectors and the targets, from which all solutions come: (r, t)."""
        if not self._is_primal:
            return self._vectors.T @ centred
        found = np.zeros((self.features.shape[1], centred.shape[1]))
        for part, block in self._blocks():
            found += block.T @ centred[part]
        return self._vectors.T @ (found * self._per_scale[:, None])

    def _coefficients(self, products: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Coefficients of the scaled features, (penalty, d, t)."""
        shrunk = products / (self.values + penalties[:, None])[:, :, None]
        count, r, t = shrunk.shape
        flat = self._vectors @ shrunk.transpose(1, 0, 2).reshape(r, count * t)
        found = flat.reshape(-1, count, t).transpose(1, 0, 2)
        if self._is_primal:
            return found
        rows = np.zeros((len(penalties), self.features.shape[1], products.shape[1]))
        for part, block in self._blocks():
            rows += block.T @ found[:, part]
        return rows * self._per_scale[:, None]

    def _residuals(
        self, targets: np.ndarray, penalties: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Errors on rows left out, by blocks of rows: (penalty, rows, t)."""
        centred, _ = self._centred(targets)
        products = self._products(centred)
        if not self._is_primal:
            yield slice(0, len(centred)), self._kernel_residuals(centred, products, penalties)
            return
        coefficients = self._coefficients(products, penalties)
        count, d, t = coefficients.shape
        flat = coefficients.transpose(1, 0, 2).reshape(d, count * t) * self._per_scale[:, None]
        for part, block in self._blocks():
            fitted = block @ flat
            fitted = fitted.reshape(-1, count, t).transpose(1, 0, 2)
            own = self._own_shares(part, penalties)
            yield part, (centred[part] - fitted) / (1.0 - own)[:, :, None]

    def _kernel_residuals(
        self, centred: np.ndarray, products: np.ndarray, penalties: np.ndarray
    ) -> np.ndarray:
        squares = np.square(self._vectors).T
        if self._is_whole:
            # Numerator and denominator both vanish with the penalty. Divided by it, neither does,
            # and nothing cancels: few rows are fitted almost exactly.
            kept = 1.0 / (self.values + penalties[:, None])
            return (self._vectors @ (kept[:, :, None] * products)) / (kept @ squares)[:, :, None]
        kept = self.values / (self.values + penalties[:, None])
        own = kept @ squares + 1 / len(centred)
        fitted = self._vectors @ (kept[:, :, None] * products)
        return (centred - fitted) / (1.0 - own)[:, :, None]

    def _own_shares(self, part: slice, penalties: np.ndarray) -> np.ndarray:
        """Shares of rows in their own fitted values, intercept included: (penalty, rows)."""
        if self._turned is None:
            self._turned = np.empty((len(self.features), len(self.values)))
            vectors = self._vectors * self._per_scale[:, None]
            for at, block in self._blocks():
                np.matmul(block, vectors, out=self._turned[at])
            np.square(self._turned, out=self._turned)
        kept = 1.0 / (self.values + penalties[:, None])
        return kept @ self._turned[part].T + 1 / len(self.features)

    def leave_one_out(
        self, targets: np.ndarray, penalties: Sequence[float] | np.ndarray
    ) -> np.ndarray:
        """Mean squared errors on rows that the regression was fitted without.

        Parameters
        ----------
        targets : ndarray of shape (n, t)
        penalties : sequence of p floats above 0

        Returns
        -------
        ndarray of shape (p, t)
            In squared units of the targets.
        """
        penalties = _checked_penalties(penalties)
        targets = _checked_targets(targets, len(self.features))
        found = np.zeros((len(penalties), targets.shape[1]))
        for _, errors in self._residuals(targets, penalties):
            np.square(errors, out=errors)
            found += errors.sum(axis=1)
        return found / len(targets)

    def loo_predictions(self, targets: np.ndarray, penalty: float) -> np.ndarray:
        """What the regression fitted without a row says of it, for each row: (n, t)."""
        targets = _checked_targets(targets, len(self.features))
        found = np.empty_like(targets)
        for part, errors in self._residuals(targets, _checked_penalties([penalty])):
            found[part] = targets[part] - errors[0]
        return found

    def truncated(self, k: int) -> RidgeDesign:
        """The design of the first k principal components of the features alone.

        Its solutions are those of ridge regressions on the k components of largest variance, in
        the units of the features; nothing is decomposed again. The components are those of all
        rows: leave-one-out does not find them anew.

        Raises
        ------
        DataError
            If there are not so many components.
        """
        if not 1 <= k <= len(self.values):
            raise DataError(f"{k} of {len(self.values)} principal components are asked for")
        found = copy.copy(self)
        found.values, found._vectors = self.values[-k:], self._vectors[:, -k:]
        found._is_whole = self._is_whole and k == len(self.values)
        if self._turned is not None:
            found._turned = self._turned[:, -k:]
        return found

    def solve(self, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (d, t) and intercepts (t,) in the units of the features as they were given.

        A prediction is `features @ coefficients + intercepts`. Units that are constant on the
        training rows have a coefficient of 0.
        """
        centred, middle = self._centred(targets)
        products = self._products(centred)
        scaled = self._coefficients(products, _checked_penalties([penalty]))[0]
        coefficients = scaled * self._per_scale[:, None]
        return coefficients, middle - self.mean @ coefficients


@dataclass(frozen=True)
class Chosen:
    """The penalty that leave-one-out chose.

    Attributes
    ----------
    penalty : float
    penalties : ndarray of shape (p,)
        All that were tried, ascending.
    errors : ndarray of shape (p,)
        Mean squared leave-one-out errors of targets of unit variance, mean over the targets.
    extended : bool
        Whether the optimum sat on an edge of the grid, which was therefore extended.
    at_bound : bool
        Whether it still does, at the last penalty that is tried at all.
    """

    penalty: float
    penalties: np.ndarray
    errors: np.ndarray
    extended: bool
    at_bound: bool


def choose_penalty(
    design: RidgeDesign,
    targets: np.ndarray,
    penalties: Sequence[float] | np.ndarray = DEFAULT_PENALTIES,
) -> Chosen:
    """The penalty, one for all targets, with the least leave-one-out error.

    Parameters
    ----------
    design : RidgeDesign
    targets : ndarray of shape (n, t)
        They count equally: errors are those of targets scaled to unit variance.
    penalties : sequence of float
        Where the search starts, in steps of one ratio. While the optimum is the smallest or the
        largest, as many again are added on that side in the same steps, down to 1e-6 and up to
        1e10. Of equal errors the larger penalty is taken.

    Returns
    -------
    Chosen
    """
    grid = np.sort(_checked_penalties(penalties))
    targets = _checked_targets(targets, len(design.features))
    spread = targets.std(axis=0)
    scaled = targets / np.where(spread > 0, spread, 1.0)
    step = (grid[-1] / grid[0]) ** (1 / (len(grid) - 1)) if len(grid) > 1 else 10.0
    if step == 1:
        raise DataError("the penalties to choose from are all the same")
    count = max(len(grid) // 2, 1)
    errors = design.leave_one_out(scaled, grid).mean(axis=1)
    extended = at_bound = False
    while True:
        best = len(grid) - 1 - int(errors[::-1].argmin())
        if best == len(grid) - 1:
            added = grid[-1] * step ** np.arange(1, count + 1)
            added = added[added <= HIGHEST]
        elif best == 0:
            added = grid[0] / step ** np.arange(count, 0, -1)
            added = added[added >= LOWEST]
        else:
            break
        if not len(added):
            at_bound = True
            break
        extended = True
        found = design.leave_one_out(scaled, added).mean(axis=1)
        grid, errors = np.concatenate([grid, added]), np.concatenate([errors, found])
        order = np.argsort(grid, kind="stable")
        grid, errors = grid[order], errors[order]
    return Chosen(float(grid[best]), grid, errors, extended, at_bound)


class LeaveOneOutRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression whose penalty exact leave-one-out chooses, one for all targets.

    Parameters
    ----------
    penalties : sequence of float or None
        See `choose_penalty`; None: 12 from 10^0.8 to 10^4.5.

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (t, d)
        In the units of the features.
    intercept_ : float or ndarray of shape (t,)
    penalty_ : float
        Of features scaled to unit variance.
    chosen_ : Chosen
    loo_predictions_ : ndarray of shape (n,) or (n, t)
        What the regression fitted without a training row says of it.
    """

    def __init__(self, penalties: Sequence[float] | None = None) -> None:
        self.penalties = penalties

    def fit(self, X: np.ndarray, y: np.ndarray) -> LeaveOneOutRidge:
        """Choose the penalty and fit.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        y : ndarray of shape (n,) or (n, t)
        """
        X, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=True,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
        )
        targets = y.reshape(len(y), -1)
        design = RidgeDesign(X)
        grid = DEFAULT_PENALTIES if self.penalties is None else self.penalties
        self.chosen_ = choose_penalty(design, targets, grid)
        self.penalty_ = self.chosen_.penalty
        coef, intercept = design.solve(targets, self.penalty_)
        left_out = design.loo_predictions(targets, self.penalty_)
        is_flat = y.ndim == 1
        self.coef_ = coef[:, 0] if is_flat else coef.T
        self.intercept_ = float(intercept[0]) if is_flat else intercept
        self.loo_predictions_ = left_out[:, 0] if is_flat else left_out
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predictions, of shape (n,) or (n, t) as the targets were."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return X @ self.coef_.T + self.intercept_


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def _checked_targets(targets: np.ndarray, n: int) -> np.ndarray:
    found = np.asarray(targets, dtype=np.float64)
    if found.ndim != 2 or len(found) != n or not found.shape[1]:
        raise DataError(f"targets of shape {found.shape} do not fit {n} rows of features")
    if not np.isfinite(found).all():
        raise DataError("the targets hold NaN or infinity")
    return found


def _checked_penalties(penalties: Sequence[float] | np.ndarray) -> np.ndarray:
    found = np.asarray(penalties, dtype=np.float64)
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found > 0)).all():
        raise DataError(f"penalties are finite numbers above 0, not {found}")
    return found
