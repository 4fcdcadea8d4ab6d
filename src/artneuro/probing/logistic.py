"""Balanced l2 logistic probes on few neurons, many at a time, by safeguarded Newton steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

_MAX_STEPS = 200
# Newton decrement, relative to the objective, from which on two full steps reach rounding.
_QUADRATIC = 1e-8


@dataclass(frozen=True)
class Probes:
    """Fitted logistic probes with 1, ..., k of the neurons of each support.

    Attributes
    ----------
    coef : ndarray of shape (supports, k, k)
        `coef[s, j, :j + 1]` are the coefficients of the first j + 1 neurons of support s.
    intercept : ndarray of shape (supports, k)
    converged : ndarray of bool, shape (supports, k)
    """

    coef: np.ndarray
    intercept: np.ndarray
    converged: np.ndarray

    def decide(self, columns: np.ndarray, supports: np.ndarray) -> np.ndarray:
        """Decision values on other rows, (supports, k, rows), of activations (units, rows)."""
        return np.einsum("sjk,skr->sjr", self.coef, columns[supports]) + self.intercept[..., None]


def balanced_weights(positive: np.ndarray) -> np.ndarray:
    """Weight of each row such that both classes weigh the same and the mean weight is 1."""
    n, n_positive = positive.size, np.count_nonzero(positive)
    return np.where(positive, n / (2 * n_positive), n / (2 * (n - n_positive)))


def fit_probes_nested(
    columns: np.ndarray, positive: np.ndarray, supports: np.ndarray, *, C: float = 1.0
) -> Probes:
    """Fit the probes of the first 1, 2, ..., k neurons of each support.

    Parameters
    ----------
    columns : ndarray of shape (units, rows)
        Activations, one neuron a line.
    positive : ndarray of bool, shape (rows,)
        Labels; both classes occur.
    supports : ndarray of int, shape (supports, k)
        Lines of `columns`, best first.
    C : float
        Inverse strength of the penalty.

    Returns
    -------
    Probes
        The optimum of sklearn.linear_model.LogisticRegression(C=C, class_weight="balanced"):
        min over w, b of |w|^2 / 2 + C sum_i s_i log(1 + exp(-y_i (w x_i + b))), b unpenalised.

    Notes
    -----
    Columns are centred and scaled inside, which changes the conditioning and not the optimum, so
    that neurons with a large mean or of very different sizes do no harm. Constant neurons get a
    coefficient of exactly 0. Thesis, sections 2.3.2 and A.2.4.
    """
    coef, intercept, converged = _fit_nested(
        np.ascontiguousarray(columns, dtype=np.float64),
        np.asarray(positive, dtype=np.float64),
        C * balanced_weights(positive),
        np.ascontiguousarray(supports, dtype=np.int64),
    )
    return Probes(coef, intercept, converged)


def fit_probes_of(
    columns: np.ndarray, positive: np.ndarray, supports: np.ndarray, sizes: np.ndarray, C: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit one probe for each support, on as many of its neurons as `sizes` says.

    Parameters
    ----------
    columns, positive, C
        As for `fit_probes_nested`, which solves the same problem.
    supports : ndarray of int, shape (supports, k)
        Lines of `columns`; what follows the first `sizes[s]` of support s is not read.
    sizes : ndarray of int, shape (supports,)

    Returns
    -------
    coef : ndarray of shape (supports, k)
        0 after the first `sizes[s]`.
    intercept : ndarray of shape (supports,)
    converged : ndarray of bool, shape (supports,)
    """
    return _fit_of(
        np.ascontiguousarray(columns, dtype=np.float64),
        np.asarray(positive, dtype=np.float64),
        C * balanced_weights(positive),
        np.ascontiguousarray(supports, dtype=np.int64),
        np.ascontiguousarray(sizes, dtype=np.int64),
    )


@njit(cache=True, nogil=True)
def _fit_of(columns, target, weight, supports, sizes):  # pragma: no cover - compiled
    n_supports, k = supports.shape
    coef, intercept = np.zeros((n_supports, k)), np.zeros(n_supports)
    converged = np.zeros(n_supports, np.bool_)
    z = np.ones((k + 1, target.size))
    penalty, theta = np.zeros(k + 1), np.zeros(k + 1)
    mean, spread = np.zeros(k), np.ones(k)
    for s in range(n_supports):
        size = sizes[s]
        for j in range(size):
            x = columns[supports[s, j]]
            mean[j], spread[j] = _mean_and_spread(x)
            for i in range(target.size):
                z[j + 1, i] = (x[i] - mean[j]) / spread[j]
            penalty[j + 1] = 1.0 / spread[j] ** 2
        theta[:] = 0.0
        converged[s] = _newton(
            z[: size + 1], target, weight, penalty[: size + 1], theta[: size + 1]
        )
        intercept[s] = theta[0]
        for j in range(size):
            coef[s, j] = theta[j + 1] / spread[j]
            intercept[s] -= coef[s, j] * mean[j]
    return coef, intercept, converged


@njit(cache=True, nogil=True)
def _fit_nested(columns, target, weight, supports):  # pragma: no cover - compiled
    n_supports, k = supports.shape
    rows = target.size
    coef = np.zeros((n_supports, k, k))
    intercept = np.zeros((n_supports, k))
    converged = np.zeros((n_supports, k), np.bool_)
    # Line 0 of the design is the intercept.
    z = np.ones((k + 1, rows))
    penalty = np.zeros(k + 1)
    mean, spread = np.zeros(k), np.ones(k)
    for s in range(n_supports):
        same = _shared_prefix(supports, s)
        for j in range(k):
            x = columns[supports[s, j]]
            mean[j], spread[j] = _mean_and_spread(x)
            for i in range(rows):
                z[j + 1, i] = (x[i] - mean[j]) / spread[j]
            penalty[j + 1] = 1.0 / spread[j] ** 2
        theta = np.zeros(k + 1)
        for j in range(k):
            twin = same[j]
            if twin >= 0:
                coef[s, j] = coef[twin, j]
                intercept[s, j] = intercept[twin, j]
                converged[s, j] = converged[twin, j]
                theta[0] = intercept[s, j]
                for a in range(j + 1):
                    theta[a + 1] = coef[s, j, a] * spread[a]
                    theta[0] += coef[s, j, a] * mean[a]
                continue
            converged[s, j] = _newton(z[: j + 2], target, weight, penalty[: j + 2], theta[: j + 2])
            b = theta[0]
            for a in range(j + 1):
                coef[s, j, a] = theta[a + 1] / spread[a]
                b -= coef[s, j, a] * mean[a]
            intercept[s, j] = b
    return coef, intercept, converged


@njit(cache=True, nogil=True)
def _shared_prefix(supports, s):  # pragma: no cover - compiled
    """For each length the earlier support that begins with the same neurons, -1 if none does."""
    k = supports.shape[1]
    same = np.full(k, -1)
    for other in range(s):
        for j in range(k):
            if supports[other, j] != supports[s, j]:
                break
            same[j] = other
    return same


@njit(cache=True, nogil=True)
def _mean_and_spread(x):  # pragma: no cover - compiled
    low, high, total = x[0], x[0], 0.0
    for value in x:
        low, high = min(low, value), max(high, value)
        total += value
    if low == high:
        return low, 1.0
    mean = total / x.size
    square = 0.0
    for value in x:
        square += (value - mean) ** 2
    spread = np.sqrt(square / x.size)
    # Squares of denormal differences vanish; such a column is as good as constant.
    return mean, spread if spread > 1e-150 else 1.0


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _weighted_dot(weight, a, b):  # pragma: no cover - compiled
    total = 0.0
    for i in range(a.size):
        total += weight[i] * a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _dot(a, b):  # pragma: no cover - compiled
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True)
def _loss(f, target, weight):  # pragma: no cover - compiled
    """Sum of the weighted logistic losses at decision values f."""
    total = 0.0
    for i in range(f.size):
        margin = f[i] if target[i] > 0.5 else -f[i]
        total += weight[i] * (max(-margin, 0.0) + np.log1p(np.exp(-abs(margin))))
    return total


@njit(cache=True, nogil=True)
def _newton(z, target, weight, penalty, theta):  # pragma: no cover - compiled
    """Minimise the penalised loss in place from `theta`; whether it converged."""
    size, rows = z.shape
    f = np.zeros(rows)
    for a in range(size):
        for i in range(rows):
            f[i] += theta[a] * z[a, i]
    residual, curvature = np.empty(rows), np.empty(rows)
    gradient, hessian = np.empty(size), np.empty((size, size))
    change, trial = np.empty(rows), np.empty(rows)
    value = _loss(f, target, weight) + 0.5 * _weighted_dot(penalty, theta, theta)
    full_steps = 0
    for _ in range(_MAX_STEPS):
        for i in range(rows):
            e = np.exp(-abs(f[i]))
            low = e / (1.0 + e)
            p = 1.0 - low if f[i] > 0 else low
            # p - 1 is taken from the small part, which keeps its digits in the tail.
            residual[i] = weight[i] * ((-low if f[i] > 0 else p - 1.0) if target[i] > 0.5 else p)
            curvature[i] = weight[i] * low * (1.0 - low)
        for a in range(size):
            gradient[a] = _dot(z[a], residual) + penalty[a] * theta[a]
            for b in range(a + 1):
                hessian[a, b] = _weighted_dot(curvature, z[a], z[b])
            hessian[a, a] += penalty[a]
        step = solve_positive(hessian, gradient)
        slope = 0.0
        for a in range(size):
            slope += gradient[a] * step[a]
        if not slope >= 0.0:
            return False
        for i in range(rows):
            change[i] = 0.0
        for a in range(size):
            for i in range(rows):
                change[i] += step[a] * z[a, i]
        t = 1.0
        if slope <= 2 * _QUADRATIC * value:
            full_steps += 1
        else:
            full_steps = 0
            found = False
            for _ in range(60):
                for i in range(rows):
                    trial[i] = f[i] - t * change[i]
                candidate = _loss(trial, target, weight)
                for a in range(size):
                    candidate += 0.5 * penalty[a] * (theta[a] - t * step[a]) ** 2
                if candidate <= value - 1e-4 * t * slope:
                    found = True
                    break
                t *= 0.5
            if not found:
                return False
            value = candidate
        for a in range(size):
            theta[a] -= t * step[a]
        for i in range(rows):
            f[i] -= t * change[i]
        if full_steps == 2:
            return True
    return False


@njit(cache=True, nogil=True)
def solve_positive(hessian, gradient):  # pragma: no cover - compiled
    """Solve hessian x = gradient (lower triangle given) after scaling the diagonal to one.

    By Cholesky, written out because the library call takes ten seconds to compile here.
    """
    size = gradient.size
    scale = np.empty(size)
    for a in range(size):
        scale[a] = 1.0 / np.sqrt(hessian[a, a]) if hessian[a, a] > 0.0 else 1.0
    factor, x = np.zeros((size, size)), np.empty(size)
    ridge = 1e-14
    # Saturated rows or equal columns leave a singular matrix; a ridge still gives descent.
    while True:
        positive = True
        for a in range(size):
            for b in range(a + 1):
                total = hessian[a, b] * scale[a] * scale[b]
                if a == b:
                    total += ridge
                for c in range(b):
                    total -= factor[a, c] * factor[b, c]
                if a == b:
                    if total <= 1e-15:
                        positive = False
                        break
                    factor[a, a] = np.sqrt(total)
                else:
                    factor[a, b] = total / factor[b, b]
            if not positive:
                break
        if positive or ridge > 1.0:
            break
        ridge *= 100.0
    for a in range(size):
        total = gradient[a] * scale[a]
        for c in range(a):
            total -= factor[a, c] * x[c]
        x[a] = total / factor[a, a]
    for a in range(size - 1, -1, -1):
        total = x[a]
        for c in range(a + 1, size):
            total -= factor[c, a] * x[c]
        x[a] = total / factor[a, a]
    for a in range(size):
        x[a] *= scale[a]
    return x
