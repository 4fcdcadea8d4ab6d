"""How well places and dates are predicted (thesis, section 4.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from artneuro.core.errors import DataError

SPACE, TIME = ("latitude", "longitude"), ("time",)
# Mean radius of the earth.
RADIUS_KM = 6371.0088


def on_sphere(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates that exist: latitudes beyond a pole become the pole's, longitudes are wrapped.

    Parameters
    ----------
    latitude, longitude : ndarray
        Degrees, such as a linear probe predicts.

    Returns
    -------
    latitude, longitude : ndarray
        In [-90, 90] and [-180, 180).
    """
    return np.clip(latitude, -90.0, 90.0), wrapped(longitude)


def wrapped(degrees: np.ndarray) -> np.ndarray:
    """Angles in [-180, 180), of which those that are there already stay so to the last bit."""
    turned = np.mod(np.asarray(degrees, dtype=np.float64) + 180.0, 360.0) - 180.0
    return np.where((degrees >= -180.0) & (degrees < 180.0), degrees, turned)


def unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Points of the unit sphere, (n, 3). The poles are the same point at every longitude.

    Parameters
    ----------
    latitude, longitude : ndarray of shape (n,)
        Degrees.
    """
    phi, lam = np.radians(latitude), np.radians(longitude)
    around = np.where(np.abs(latitude) == 90.0, 0.0, np.cos(phi))
    return np.stack([around * np.cos(lam), around * np.sin(lam), np.sin(phi)], axis=-1)


def great_circle_km(
    *,
    latitude_a: np.ndarray,
    longitude_a: np.ndarray,
    latitude_b: np.ndarray,
    longitude_b: np.ndarray,
) -> np.ndarray:
    """Distances along the surface of a sphere of the earth's mean radius, in km.

    Parameters
    ----------
    latitude_a, longitude_a, latitude_b, longitude_b : ndarray
        Degrees, by name only: in each other's place they give distances that look right and are
        wrong. Latitudes beyond a pole count as the pole's.

    Returns
    -------
    ndarray
        The haversine formula, for antipodes too.
    """
    lat_a, lon_a = map(np.radians, on_sphere(np.asarray(latitude_a), np.asarray(longitude_a)))
    lat_b, lon_b = map(np.radians, on_sphere(np.asarray(latitude_b), np.asarray(longitude_b)))
    half = (
        np.sin((lat_a - lat_b) / 2) ** 2
        + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_a - lon_b) / 2) ** 2
    )
    return 2 * RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))


def score_targets(
    truth: np.ndarray, predicted: np.ndarray, target_names: Sequence[str]
) -> dict[str, float | None]:
    """Scores of predictions, named as the columns of the table of scores.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n, t)
        Degrees, or years.
    target_names : sequence of str
        "latitude" and "longitude" in any order, or "time".

    Returns
    -------
    dict
        `r2`, `spearman`, `kendall` (tau-b), `mae`: means over the targets. `r2_latitude`,
        `r2_longitude`, `error_km`, `error_km_median`: of places, else None. R2 compares with the
        mean of the truth itself. Undefined is None: R2 where the truth is constant, correlations
        where the truth or the prediction is.
    """
    truth = np.asarray(truth, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    names = list(target_names)
    if truth.shape != predicted.shape or truth.ndim != 2 or truth.shape[1] != len(names):
        raise DataError(f"predictions of shape {predicted.shape} for {truth.shape} of {names}")
    by_name = dict(zip(names, r_squared(truth, predicted), strict=True))
    pairs = list(zip(truth.T, predicted.T, strict=True))
    found: dict[str, float | None] = {
        "r2": _mean(list(by_name.values())),
        "r2_latitude": _defined(by_name.get("latitude", np.nan)),
        "r2_longitude": _defined(by_name.get("longitude", np.nan)),
        "spearman": _mean([spearman(a, b) for a, b in pairs]),
        "kendall": _mean([kendall(a, b) for a, b in pairs]),
        "mae": _mean([float(np.abs(a - b).mean()) for a, b in pairs]),
        "error_km": None,
        "error_km_median": None,
    }
    if set(names) == set(SPACE):
        errors = errors_of(truth, predicted, names)
        found |= {"error_km": float(errors.mean()), "error_km_median": float(np.median(errors))}
    return found


def errors_of(truth: np.ndarray, predicted: np.ndarray, target_names: Sequence[str]) -> np.ndarray:
    """Error of each row, (n,): great-circle km of places, absolute years of times."""
    names = list(target_names)
    if set(names) != set(SPACE):
        return np.abs(predicted[:, 0] - truth[:, 0])
    latitude, longitude = (names.index(name) for name in SPACE)
    return great_circle_km(
        latitude_a=truth[:, latitude],
        longitude_a=truth[:, longitude],
        latitude_b=predicted[:, latitude],
        longitude_b=predicted[:, longitude],
    )


def r_squared(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Share of the variance of each column that is explained, (t,); NaN for constant columns."""
    total = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    rest = np.square(truth - predicted).sum(axis=0)
    return 1.0 - np.divide(rest, total, out=np.full(len(total), np.nan), where=total > 0)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of Spearman; NaN where one of the two is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b; NaN where one of the two is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.kendalltau(a, b).statistic)


def _mean(values: list[float]) -> float | None:
    return _defined(float(np.mean(values)))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
