"""Equations recovered by every method from more or less, and more or less noisy, data.

Thesis, sections 5.3.2 (sample efficiency) and 5.3.5 (noise, in the weak form), figures 5.1, 5.4 and
D.1.
"""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.core.artifacts import write_table
from artneuro.core.config import DaskConfig
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.compressed import compress
from artneuro.dynamics.config import DynamicsConfig, numbers_of
from artneuro.dynamics.methods import Model, Tuning
from artneuro.dynamics.metrics import coefficient_error, derivative_rmse, true_positivity
from artneuro.dynamics.regressions import (
    Measured,
    Regression,
    build_regression,
    scoring_factors,
    true_model,
)
from artneuro.dynamics.systems import build_system
from artneuro.dynamics.trajectories import open_trajectories
from artneuro.probing.tasks import run_tasks

log = logging.getLogger(__name__)

POINT = {
    "system": pl.String(),
    "form": pl.String(),
    "library": pl.String(),
    "trial": pl.Int32(),
    "duration": pl.Float64(),
    "noise": pl.Float64(),
}
RECOVERY_SCHEMA = pl.Schema(
    {
        **POINT,
        "method": pl.String(),
        "tpr": pl.Float64(),
        "nce": pl.Float64(),
        "rmse": pl.Float64(),
        "terms": pl.Int32(),
        "library_terms": pl.Int32(),
        "n_train": pl.Int32(),
        "n_validation": pl.Int32(),
    }
)
MODELS_SCHEMA = pl.Schema(
    {
        **POINT,
        "method": pl.String(),
        "target": pl.String(),
        "support": pl.List(pl.String()),
        "coef": pl.List(pl.Float64()),
        "correct": pl.Boolean(),
        "alpha": pl.Float64(),
        "threshold": pl.Float64(),
        "nu": pl.Float64(),
        "k": pl.Int32(),
        "criterion": pl.Float64(),
        "at_edge": pl.Boolean(),
        "objective": pl.Float64(),
        "bound": pl.Float64(),
        "gap": pl.Float64(),
        "status": pl.String(),
    }
)
INCLUSION_SCHEMA = pl.Schema(
    {
        **POINT,
        "target": pl.String(),
        "k": pl.Int32(),
        "term": pl.String(),
        "share": pl.Float64(),
        "true": pl.Boolean(),
    }
)
TIMES_SCHEMA = pl.Schema({**POINT, "step": pl.String(), "seconds": pl.Float64()})
SCHEMAS = {
    "recovery": RECOVERY_SCHEMA,
    "models": MODELS_SCHEMA,
    "inclusion": INCLUSION_SCHEMA,
    "times": TIMES_SCHEMA,
}


def score_recovery(
    config: DynamicsConfig,
    name: str,
    store: Path,
    outputs: dict[str, Path],
    *,
    dask: DaskConfig,
    threads: int,
) -> None:
    """Recover the equations of a system by every method, for each trial, duration and noise.

    Parameters
    ----------
    config : DynamicsConfig
        Seed, trials, methods, and at least this system.
    name : str
        The system.
    store : path
        Its trajectories.
    outputs : dict of path
        Where the tables `recovery`, `models`, `inclusion` and `times` (CPU seconds, which differ
        from run to run) are written, in the schemas of this module.
    dask, threads
        Where the tasks run: one for each trajectory, duration, noise and library.

    Raises
    ------
    ConfigError
        If the library lacks a term of the equations, or domains hold too few samples.
    StoreError
        If the store is damaged.
    """
    system = config.systems[name]
    points = [
        (library, Measured(trial, duration, noise))
        for library in ("large", "tight")[: 2 if system.tight_degree else 1]
        for trial in range(config.trials)
        for duration in numbers_of(system.durations)
        for noise in numbers_of(system.noise)
    ]
    if system.methods:
        chosen = config.methods.model_copy(update={"names": system.methods})
        config = config.model_copy(update={"methods": chosen})
    log.info("%s: %d regressions for %d methods", name, len(points), len(config.methods.names))
    warm_up(config)
    parts = run_tasks(
        recover_point,
        [(config, name, str(store), *point) for point in points],
        dask,
        threads,
        label="regressions",
    )
    for table, schema in SCHEMAS.items():
        frame = pl.concat([pl.DataFrame(part[table], schema=schema) for part in parts])
        keys = [k for k in ("method", "step", "target", "k", "term") if k in schema]
        if table == "models":
            keys = ["method", "target"]
        write_table(frame.sort([*POINT, *keys]), outputs[table])
        if table == "models":
            late = frame.filter(pl.col("status") == "time_limit").height
            if late:
                log.warning("%d of %d models were not proven in time", late, frame.height)


def recover_point(
    config: DynamicsConfig, name: str, store: str, library: str, measured: Measured
) -> dict[str, list[dict[str, Any]]]:
    """Rows of all tables for one regression; runs on a worker."""
    system_config = config.systems[name]
    system = system_config.build()
    tight = system_config.tight_degree
    degree = tight if library == "tight" and tight is not None else system_config.degree
    point = {
        "system": name,
        "form": "weak" if system_config.weak else "differential",
        "library": library,
        "trial": measured.trial,
        "duration": measured.duration,
        "noise": measured.noise,
    }
    true, names, factors = _truth(config, name, store, degree)
    targets = [system.variables[at] for at in system.targets]
    # One thread: workers share the cores, and the order of sums must not depend on their number.
    with threadpool_limits(1):
        started = time.process_time()
        regression = build_regression(
            system_config, open_trajectories(store), measured, degree,
            seed=config.seed, validation_share=config.validation_share,
        )  # fmt: skip
        built = time.process_time()
        factored = regression.seen
        tuning = Tuning(
            regression,
            config.methods,
            np.array(numbers_of(system_config.thresholds)),
            generator_of(config.seed, "dynamics", "bootstraps", system.name, measured.trial),
        )
        times = {"build": built - started, "factor": time.process_time() - built}
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in SCHEMAS}
        for method in config.methods.names:
            models = tuning.run(method)
            found = np.stack([model.coefficients for model in models])
            rows["recovery"].append(
                {
                    **point,
                    "method": method,
                    "tpr": true_positivity(true, found),
                    "nce": coefficient_error(true, found),
                    "rmse": derivative_rmse(factors, true, found),
                    "terms": np.count_nonzero(found),
                    "library_terms": factored.terms,
                    "n_train": factored.measurements,
                    "n_validation": regression.validation.measurements,
                }
            )
            rows["models"] += [
                {**point, "method": method, "target": target, **_model_row(model, line, names)}
                for target, model, line in zip(targets, models, true, strict=True)
            ]
    times |= {method: tuning.seconds[method] for method in config.methods.names}
    rows["times"] = [{**point, "step": step, "seconds": took} for step, took in times.items()]
    if tuning.inclusion is not None:
        rows["inclusion"] = [
            {
                **point, "target": targets[t], "k": size + 1, "term": names[term],
                "share": tuning.inclusion[t, size, term], "true": bool(true[t, term]),
            }
            for t, size, term in np.argwhere(tuning.inclusion > 0).tolist()
        ]  # fmt: skip
    return rows


def _model_row(model: Model, true: np.ndarray, names: list[str]) -> dict[str, Any]:
    support = np.flatnonzero(model.coefficients)
    setting, proof = model.setting, model.certificate
    return {
        "support": [names[at] for at in support],
        "coef": model.coefficients[support].tolist(),
        "correct": np.array_equal(support, np.flatnonzero(true)),
        "alpha": setting.alpha,
        "threshold": setting.threshold,
        "nu": setting.nu,
        "k": setting.k,
        "criterion": model.criterion,
        "at_edge": model.at_edge,
        **{
            key: getattr(proof, key) if proof else None
            for key in ("objective", "bound", "gap", "status")
        },
    }


@functools.lru_cache(maxsize=4)
def _kept_truth(store: str, stamp: int, degree: int) -> list[np.ndarray]:
    """Test libraries of a store, once a worker; `stamp` tells one store at a path from another."""
    opened = open_trajectories(store)
    attributes = opened.attributes
    system = build_system(attributes["system"], attributes["parameters"])
    return scoring_factors(system, opened, degree)


def _truth(
    config: DynamicsConfig, name: str, store: str, degree: int
) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    true, names = true_model(config.systems[name].build(), degree)
    return true, names, _kept_truth(store, Path(store).stat().st_mtime_ns, degree)


def warm_up(config: DynamicsConfig) -> None:
    """Run every compiled function of the chosen methods once on a tiny example."""
    generator = np.random.default_rng(0)
    library = generator.normal(size=(12, 4))
    targets = library @ generator.normal(size=(4, 2))
    small = config.methods.model_copy(update={"max_terms": 2, "ensembles": 2, "alphas": [0.01]})
    tuning = Tuning(
        Regression(library, targets, compress(library, targets), False),
        small,
        np.array([0.1, 1.0]),
        generator,
    )
    for method in config.methods.names:
        tuning.run(method)
