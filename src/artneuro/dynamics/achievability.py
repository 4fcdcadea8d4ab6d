"""Can the equations of a field be found at all: settings are chosen by the truth.

Thesis, section 5.3.6 and figure 5.5. No data are kept back to choose by; each method is given what
would help it most: the exact one, SSR and ensembles the true numbers of terms, the others whichever
threshold does best.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.compressed import Compressed, compress
from artneuro.dynamics.config import DynamicsConfig, SystemConfig, numbers_of
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.greedy import RidgeFits, stepwise_supports, threshold_supports
from artneuro.dynamics.methods import Setting, widened
from artneuro.dynamics.metrics import coefficient_error, true_positivity
from artneuro.dynamics.noise import observe, sample_counts
from artneuro.dynamics.regressions import Measured, true_model
from artneuro.dynamics.relaxed import relaxed_fits
from artneuro.dynamics.trajectories import Trajectories, open_trajectories
from artneuro.dynamics.weak import draw_domains, weak_features, weak_targets
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

_POINT = {
    "system": pl.String(),
    "trial": pl.Int32(),
    "duration": pl.Float64(),
    "noise": pl.Float64(),
    "method": pl.String(),
}
FIELDS_SCHEMA = pl.Schema(
    {
        **_POINT,
        "tpr": pl.Float64(),
        "nce": pl.Float64(),
        "correct": pl.Boolean(),
        "terms": pl.Int32(),
        "library_terms": pl.Int32(),
        "alpha": pl.Float64(),
        "threshold": pl.Float64(),
        "nu": pl.Float64(),
    }
)
FIELD_TIMES_SCHEMA = pl.Schema({**_POINT, "seconds": pl.Float64()})
FIELD_METHODS = ("exact", "stlsq", "ensemble_stlsq", "ssr", "sr3")


def score_fields(
    config: DynamicsConfig,
    name: str,
    store: Path,
    scores: Path,
    times: Path,
    *,
    dask: DaskConfig,
    threads: int,
) -> None:
    """Fit the equations of a field by every method, for each trial, duration and noise.

    Parameters
    ----------
    config : DynamicsConfig
        Seed, trials, methods, fields, and at least this system.
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
    parts = run_tasks(fit_field, tasks, dask, threads, label="regressions")
    rows = [row for part in parts for row in part]
    frame = pl.DataFrame(rows, schema={**FIELDS_SCHEMA, "seconds": pl.Float64()})
    frame = frame.sort(list(_POINT))
    write_table(frame.select(FIELDS_SCHEMA.names()), scores)
    write_table(frame.select(FIELD_TIMES_SCHEMA.names()), times)


def field_regression(
    config: SystemConfig, store: Trajectories, measured: Measured, *, seed: int
) -> Compressed:
    """The weak regression of one noisy trajectory of a field."""
    system, weak = config.build(), config.weak
    assert weak is not None
    samples, _ = sample_counts(measured.duration, config.dt, 0)
    states = store.read("train", measured.trial, samples)
    noise = generator_of(seed, "dynamics", "noise", system.name, measured.trial)
    seen = observe(states, samples, 0, measured.noise, noise).train
    spacing = [side / n for (_, side), n in zip(system.domain, seen.shape[:-2], strict=True)]
    domains = draw_domains(
        seen.shape[:-1], (*spacing, config.dt), weak.domains, weak.width,
        generator_of(seed, "dynamics", "domains", system.name, "train", measured.trial),
    )  # fmt: skip
    features = weak_features(seen, domains, config.degree, config.derivative_order, bias=False)
    return compress(features, weak_targets(seen, domains))


def fit_field(
    config: DynamicsConfig, name: str, store: str, measured: Measured
) -> list[dict[str, Any]]:
    """Rows of both tables for one trajectory; runs on a worker."""
    chosen = config.systems[name]
    system = chosen.build()
    true, _ = true_model(system, chosen.degree, chosen.derivative_order)
    point = {
        "system": name,
        "trial": measured.trial,
        "duration": measured.duration,
        "noise": measured.noise,
    }
    rows = []
    with threadpool_limits(1):
        problem = field_regression(chosen, open_trajectories(store), measured, seed=config.seed)
        for method in FIELD_METHODS:
            generator = generator_of(config.seed, "dynamics", "ensemble", name, measured.trial)
            started = time.process_time()
            best: list[tuple[np.ndarray, Setting]] = []
            for target, line in enumerate(true):
                tried = list(_PROPOSALS[method](config, chosen, problem, target, line, generator))
                scores = [true_positivity(line, support) for support, _ in tried]
                best.append(tried[int(np.argmax(scores))])
            found = np.stack([problem.fit(t, support) for t, (support, _) in enumerate(best)])
            setting = best[0][1]
            rows.append(
                {
                    **point,
                    "method": method,
                    "tpr": true_positivity(true, found),
                    "nce": coefficient_error(true, found),
                    "correct": np.array_equal(true != 0, found != 0),
                    "terms": int(np.count_nonzero(found)),
                    "library_terms": problem.terms,
                    "alpha": setting.alpha,
                    "threshold": setting.threshold,
                    "nu": setting.nu,
                    "seconds": time.process_time() - started,
                }
            )
    return rows


Tried = Iterator[tuple[np.ndarray, Setting]]


def _exact(config, system, problem, target, true, generator) -> Tried:
    for alpha in config.fields.alphas:
        model = ExactSparseRegression(
            max_terms=int(np.count_nonzero(true)), alpha=alpha,
            time_limit=config.methods.time_limit,
        ).fit(problem.library, problem.targets[:, target])  # fmt: skip
        yield model.coef_[0] != 0, Setting(alpha=alpha)


def _stlsq(config, system, problem, target, true, generator) -> Tried:
    thresholds = np.array(numbers_of(system.thresholds))
    for alpha in config.fields.alphas:
        supports = threshold_supports(RidgeFits(problem, target, alpha), thresholds)
        for support, threshold in zip(supports, thresholds, strict=True):
            yield support, Setting(alpha=alpha, threshold=float(threshold))


def _ensemble_stlsq(config, system, problem, target, true, generator) -> Tried:
    """Terms that thresholding keeps most often in libraries that lack a few terms each."""
    thresholds = np.array(numbers_of(system.thresholds))
    size, terms = int(np.count_nonzero(true)), problem.terms
    for alpha in config.fields.alphas:
        kept, offered = np.zeros((len(thresholds), terms)), np.zeros(terms)
        for _ in range(config.fields.ensembles):
            lost = generator.choice(terms, min(config.fields.dropped, terms - 1), replace=False)
            there = np.ones(terms, dtype=bool)
            there[lost] = False
            columns = np.append(there, np.ones(problem.targets.shape[1], dtype=bool))
            part = Compressed(problem.factor[:, columns], int(there.sum()), problem.measurements)
            kept[:, there] += threshold_supports(RidgeFits(part, target, alpha), thresholds)
            offered += there
        share = kept / np.maximum(offered, 1)
        for line, threshold in zip(share, thresholds, strict=True):
            support = np.zeros(terms, dtype=bool)
            # Equal shares go by place in the library.
            support[np.argsort(-line, kind="stable")[:size]] = True
            yield support & (line > 0), Setting(alpha=alpha, threshold=float(threshold))


def _ssr(config, system, problem, target, true, generator) -> Tried:
    for alpha in config.fields.alphas:
        supports = stepwise_supports(problem, target, alpha)
        yield supports[int(np.count_nonzero(true)) - 1], Setting(alpha=alpha)


def _sr3(config, system, problem, target, true, generator) -> Tried:
    thresholds = widened(np.array(numbers_of(system.thresholds)))
    for nu in config.methods.nus:
        found, _ = relaxed_fits(problem, nu, thresholds, config.methods.sr3_iterations)
        for coefficients, threshold in zip(found[:, target], thresholds, strict=True):
            yield coefficients != 0, Setting(nu=nu, threshold=float(threshold))


_PROPOSALS = {
    "exact": _exact,
    "stlsq": _stlsq,
    "ensemble_stlsq": _ensemble_stlsq,
    "ssr": _ssr,
    "sr3": _sr3,
}
