"""Sparse equations of what probes read: does a model's own version of a system obey its law?

Thesis, section 5.4: the exact method and STLSQ, for a map from one value to the next, for a flow in
the weak form. Both are tuned by AICc on the last part of the data, each equation alone; beside them
stands the exact model with as many terms as the true equation has.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import DataError
from artneuro.dynamics.derivatives import needs_pysindy
from artneuro.dynamics.equations import System, true_coefficients
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.in_context_config import EquationsConfig, WeakWindows
from artneuro.dynamics.libraries import library_terms, polynomial_features, term_names
from artneuro.dynamics.metrics import aicc_by_target, coefficient_error, true_positivity
from artneuro.dynamics.weak import draw_domains, weak_features, weak_targets

# What the targets of a map are: what the same probes read one value later, or what the probes of
# the next value read at once.
CURRENT, NEXT = "current", "next"
# `exact_given` is told how many terms each equation has; the other two choose by AICc.
EXACT, EXACT_GIVEN, STLSQ = "exact", "exact_given", "stlsq"


@dataclass(frozen=True)
class Regression:
    """A regression of targets on a library, in two parts that follow each other in time.

    Attributes
    ----------
    features, validation_features : ndarray of shape (row, term)
    targets, validation_targets : ndarray of shape (row, target)
    """

    features: np.ndarray
    targets: np.ndarray
    validation_features: np.ndarray
    validation_targets: np.ndarray


@dataclass(frozen=True)
class Recovered:
    """An equation that was found.

    Attributes
    ----------
    method : str
        "exact", "exact_given" or "stlsq".
    coefficients, true : ndarray of shape (target, term)
        As found, and as they should be.
    tpr, nce : float
        Support and coefficients against the true ones (5.20, 5.21).
    """

    method: str
    coefficients: np.ndarray
    true: np.ndarray
    tpr: float
    nce: float


def map_regression(
    states: np.ndarray, following: np.ndarray, degree: int, train_share: float
) -> Regression:
    """Next states on a library of states.

    Parameters
    ----------
    states, following : ndarray of shape (value, variable)
        States, and those one step later.
    degree : int
    train_share : float
        The first part of the rows, which equations are fitted to.
    """
    features = polynomial_features(states, degree)
    cut = round(train_share * len(features))
    return Regression(features[:cut], following[:cut], features[cut:], following[cut:])


def flow_regression(
    states: np.ndarray,
    dt: float,
    degree: int,
    train_share: float,
    windows: WeakWindows,
    generator: np.random.Generator,
) -> Regression:
    """Time derivatives on a library of states in the weak form.

    Parameters
    ----------
    states : ndarray of shape (value, variable)
    dt : float
        Time between values.
    degree, train_share
        See `map_regression`; windows lie within either part.
    windows : WeakWindows
    generator : Generator
        Of the windows.
    """
    cut = round(train_share * len(states))
    parts = []
    for part in (states[:cut], states[cut:]):
        # As wide in the shorter part as in the longer one.
        width = min(windows.width * (cut - 1) / (len(part) - 1), 0.9)
        domains = draw_domains((len(part),), (dt,), windows.count, width, generator)
        parts += [weak_features(part, domains, degree), weak_targets(part, domains)]
    return Regression(*parts)


def recover(
    regression: Regression, system: System, degree: int, config: EquationsConfig
) -> Iterator[Recovered]:
    """Fit the equations of a system by either method and compare with the true ones.

    Raises
    ------
    DataError
        If what is fitted is not finite.
    """
    for part in (regression.features, regression.targets):
        if not np.isfinite(part).all():
            raise DataError("what the probes read is not finite", where=f"{system.name}")
    true = true_coefficients(system, library_terms(system, degree))
    path = exact_candidates(regression, config)
    targets = np.arange(len(true))
    sizes = np.minimum(np.count_nonzero(true, axis=1), len(path)) - 1
    found = {
        EXACT: path[_least_aicc(regression, path), targets],
        EXACT_GIVEN: path[sizes, targets],
    }
    models = stlsq_candidates(regression, config)
    found[STLSQ] = models[_least_aicc(regression, models), targets]
    for method, coefficients in found.items():
        yield Recovered(
            method,
            coefficients,
            true,
            true_positivity(true, coefficients),
            coefficient_error(true, coefficients),
        )


def _least_aicc(regression: Regression, models: np.ndarray) -> np.ndarray:
    """The model of each target that does best on the validation part."""
    scores = aicc_by_target(regression.validation_features, regression.validation_targets, models)
    return np.argmin(scores, axis=0)


def terms_of(system: System, degree: int) -> list[str]:
    """Names of the terms of the library."""
    return term_names(system, library_terms(system, degree))


def exact_candidates(regression: Regression, config: EquationsConfig) -> np.ndarray:
    """The best models of at most 1, 2, ... terms: (model, target, term)."""
    most = min(config.max_terms, regression.features.shape[1])
    model = ExactSparseRegression(max_terms=most, alpha=config.alpha)
    model.fit(regression.features, regression.targets)
    shape = (most, regression.targets.shape[1], regression.features.shape[1])
    found = np.zeros(shape)
    for target, path in enumerate(model.path_):
        for k in range(most):
            certificate = path[min(k, len(path) - 1)]
            found[k, target, certificate.support] = certificate.coef
    return found


def stlsq_candidates(regression: Regression, config: EquationsConfig) -> np.ndarray:
    """PySINDy's sequentially thresholded least squares over its grid: (model, target, term)."""
    try:
        from pysindy import STLSQ as Thresholded
    except ImportError as error:
        raise needs_pysindy() from error
    found = []
    for alpha in config.stlsq_alphas:
        for threshold in np.logspace(*config.log_thresholds, config.thresholds):
            model = Thresholded(threshold=threshold, alpha=alpha)
            with warnings.catch_warnings():
                # That a threshold leaves no term is one of the candidates, and no surprise.
                warnings.simplefilter("ignore")
                model.fit(regression.features, regression.targets)
            found.append(np.array(model.coef_, dtype=np.float64))
            if not found[-1].any():
                break
    return np.array(found)
