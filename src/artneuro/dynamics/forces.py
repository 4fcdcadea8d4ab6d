"""Equations of the Duffing system with and without the constraint that its force has a potential.

Thesis, section 5.3.4 and figure 5.3. Both components of the force are fitted together, with one
budget of terms; coefficients are not refitted afterwards, so that what is reported is what the
constraints were imposed on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.dynamics.compressed import Compressed
from artneuro.dynamics.config import DynamicsConfig, numbers_of
from artneuro.dynamics.equations import Term
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.libraries import library_terms
from artneuro.dynamics.methods import Setting, widened
from artneuro.dynamics.metrics import aicc, coefficient_error, derivative_rmse, true_positivity
from artneuro.dynamics.regressions import (
    Measured,
    build_regression,
    scoring_factors,
    true_model,
)
from artneuro.dynamics.relaxed import relaxed_fits
from artneuro.dynamics.trajectories import open_trajectories
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

_POINT = {
    "system": pl.String(),
    "trial": pl.Int32(),
    "duration": pl.Float64(),
    "noise": pl.Float64(),
    "method": pl.String(),
}
FORCES_SCHEMA = pl.Schema(
    {
        **_POINT,
        "tpr": pl.Float64(),
        "nce": pl.Float64(),
        "rmse": pl.Float64(),
        "violation": pl.Float64(),
        "terms": pl.Int32(),
        "alpha": pl.Float64(),
        "threshold": pl.Float64(),
        "nu": pl.Float64(),
        "k": pl.Int32(),
        "criterion": pl.Float64(),
        "at_edge": pl.Boolean(),
        "proven": pl.Boolean(),
    }
)
FORCE_TIMES_SCHEMA = pl.Schema({**_POINT, "seconds": pl.Float64()})


def curl_free(terms: Sequence[Term]) -> np.ndarray:
    """Constraints on a plane force that is the gradient of a potential.

    The derivative of the first component by y is that of the second by x, monomial by monomial.

    Parameters
    ----------
    terms : sequence of Term
        Monomials of x and y: the library of both components.

    Returns
    -------
    ndarray of shape (constraints, 2 * terms)
        Rows A of A xi = 0, with the coefficients of the first component first.
    """
    places = {term.powers: at for at, term in enumerate(terms)}
    rows = []
    for a, b in places:
        first, second = places.get((a, b + 1)), places.get((a + 1, b))
        if first is None and second is None:
            continue
        row = np.zeros(2 * len(terms))
        if first is not None:
            row[first] = b + 1
        if second is not None:
            row[len(terms) + second] = -(a + 1)
        rows.append(row)
    return np.array(rows)


def score_forces(
    config: DynamicsConfig,
    name: str,
    store: Path,
    scores: Path,
    times: Path,
    *,
    dask: DaskConfig,
    threads: int,
) -> None:
    """Fit the force of a Duffing system four ways: exactly and by SR3, constrained and not.

    Parameters
    ----------
    config : DynamicsConfig
        Seed, trials, methods, constraints, and at least this system.
    name : str
        The system.
    store : path
        Its trajectories.
    scores, times : path
        Where the tables of the schemas above are written.
    dask, threads
        Where the tasks run: one for each trajectory, duration and noise.
    """
    system = config.systems[name]
    tasks = [
        (config, name, str(store), Measured(trial, duration, noise))
        for trial in range(config.trials)
        for duration in numbers_of(system.durations)
        for noise in numbers_of(system.noise)
    ]
    # Compiles once here; the workers then load the compiled code from the cache.
    fit_forces(*tasks[0])
    parts = run_tasks(fit_forces, tasks, dask, threads, label="regressions")
    rows = [row for part in parts for row in part]
    frame = pl.DataFrame(rows, schema={**FORCES_SCHEMA, "seconds": pl.Float64()})
    frame = frame.sort(list(_POINT))
    write_table(frame.select(FORCES_SCHEMA.names()), scores)
    write_table(frame.select(FORCE_TIMES_SCHEMA.names()), times)


def fit_forces(
    config: DynamicsConfig, name: str, store: str, measured: Measured
) -> list[dict[str, Any]]:
    """Rows of both tables for one trajectory; runs on a worker."""
    system_config = config.systems[name]
    system, degree = system_config.build(), system_config.degree
    opened = open_trajectories(store)
    true, _ = true_model(system, degree)
    lhs = curl_free(library_terms(system, degree))
    with threadpool_limits(1):
        factors = scoring_factors(system, opened, degree)
        regression = build_regression(
            system_config, opened, measured, degree,
            seed=config.seed, validation_share=config.validation_share,
        )  # fmt: skip
        rows = []
        for method, constraints in (
            ("exact", None), ("exact_constrained", lhs), ("sr3", None), ("sr3_constrained", lhs),
        ):  # fmt: skip
            started = time.process_time()
            if method.startswith("exact"):
                fits = list(exact_fits(regression.train, config, constraints))
            else:
                thresholds = widened(np.array(numbers_of(system_config.thresholds)))
                fits = list(relaxed_models(regression.train, config, thresholds, constraints))
            found, setting, proven, criterion, at_edge = _choose(fits, regression.validation)
            rows.append(
                {
                    "system": name,
                    "trial": measured.trial,
                    "duration": measured.duration,
                    "noise": measured.noise,
                    "method": method,
                    "tpr": true_positivity(true, found),
                    "nce": coefficient_error(true, found),
                    "rmse": derivative_rmse(factors, true, found),
                    "violation": float(np.abs(lhs @ found.ravel()).mean()),
                    "terms": int(np.count_nonzero(found)),
                    "alpha": setting.alpha,
                    "threshold": setting.threshold,
                    "nu": setting.nu,
                    "k": setting.k,
                    "criterion": criterion,
                    "at_edge": at_edge,
                    "proven": proven,
                    "seconds": time.process_time() - started,
                }
            )
    return rows


Fit = tuple[np.ndarray, Setting, bool | None]


def exact_fits(
    problem: Compressed, config: DynamicsConfig, constraints: np.ndarray | None
) -> Iterator[Fit]:
    """Coefficients (targets, terms), setting and whether proven, for each budget and penalty."""
    for alpha in config.constraints.alphas:
        for k in config.constraints.terms:
            model = ExactSparseRegression(
                target_sparsity=k,
                alpha=alpha,
                constraint_lhs=constraints,
                constraint_rhs=None if constraints is None else np.zeros(len(constraints)),
                time_limit=config.methods.time_limit,
            ).fit(problem.library, problem.targets)
            yield model.coef_, Setting(alpha=alpha, k=k), bool(model.gap_ <= model.rel_gap)


def relaxed_models(
    problem: Compressed,
    config: DynamicsConfig,
    thresholds: np.ndarray,
    constraints: np.ndarray | None,
) -> Iterator[Fit]:
    """The same by SR3, for each relaxation and threshold; nothing is proven."""
    for nu in config.methods.nus:
        found, _ = relaxed_fits(
            problem, nu, thresholds, config.methods.sr3_iterations, constraint_lhs=constraints
        )
        for coefficients, threshold in zip(found, thresholds, strict=True):
            yield coefficients, Setting(nu=nu, threshold=float(threshold)), None


def _choose(
    fits: list[Fit], validation: Compressed
) -> tuple[np.ndarray, Setting, bool | None, float, bool]:
    """The fit with the least AICc of both targets together, and whether its grid ends there."""
    count = validation.measurements * validation.targets.shape[1]
    scores = [
        float(aicc(validation.residual_sums(c).sum(), count, int(np.count_nonzero(c))))
        for c, _, _ in fits
    ]
    best = int(np.argmin(scores))
    found, setting, proven = fits[best]
    same = [s for c, s, _ in fits if np.array_equal(c != 0, found != 0)]
    if setting.threshold is not None:
        grid = [float(s.threshold or 0) for _, s, _ in fits]
        edge = any(s.threshold in (min(grid), max(grid)) for s in same)
    else:
        edge = any(s.k == max(int(t.k or 0) for _, t, _ in fits) for s in same)
    return found, setting, proven, scores[best], edge
