"""How long single fits take, with the data's growth and the library's.

Thesis, section 5.3.3, figures 5.2 and D.2. Settings are typical ones, not tuned; the heuristics are
PySINDy's own. Building (library and derivatives) and solving are timed apart, on one core.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ConfigError
from artneuro.dynamics.config import DynamicsConfig, SystemConfig, numbers_of
from artneuro.dynamics.derivatives import needs_pysindy
from artneuro.dynamics.equations import System
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.metrics import true_positivity
from artneuro.dynamics.regressions import Measured, Regression, build_regression, true_model
from artneuro.dynamics.trajectories import Trajectories, open_trajectories

log = logging.getLogger(__name__)

RUNTIME_SCHEMA = pl.Schema(
    {
        "system": pl.String(),
        "degree": pl.Int32(),
        "library_terms": pl.Int32(),
        "trial": pl.Int32(),
        "duration": pl.Float64(),
        "noise": pl.Float64(),
        "n_train": pl.Int32(),
        "method": pl.String(),
        "seconds_build": pl.Float64(),
        "seconds_solve": pl.Float64(),
        "tpr": pl.Float64(),
        "proven": pl.Boolean(),
    }
)
ALPHA = 0.01
RELAXATION = 1.0

Solver = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, bool | None]]


def time_regressions(config: DynamicsConfig, name: str, store: Path, output: Path) -> None:
    """Time one fit of each method for each degree, duration and trial, one after the other.

    Parameters
    ----------
    config : DynamicsConfig
        Seed, methods, runtime, and at least this system, of whose noise levels the first is used.
    name : str
        The system.
    store : path
        Its trajectories.
    output : path
        Where the table of the schema above is written.
    """
    system_config, opened = config.systems[name], open_trajectories(store)
    noise = numbers_of(system_config.noise)[0]
    rows: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for degree in config.runtime.degrees:
            solvers = make_solvers(config, system_config.build(), degree)
            # Whatever compiles or loads does so in a first fit that is not counted.
            first = Measured(0, min(numbers_of(system_config.durations)), noise)
            _time_point(config, system_config, opened, first, degree, solvers)
            for duration in numbers_of(system_config.durations):
                for trial in range(min(config.runtime.trials, config.trials)):
                    measured = Measured(trial, duration, noise)
                    found = _time_point(config, system_config, opened, measured, degree, solvers)
                    rows += [{"system": name, "degree": degree, **row} for row in found]
            log.info("%s: library of degree %d timed", name, degree)
    frame = pl.DataFrame(rows, schema=RUNTIME_SCHEMA)
    write_table(frame.sort("system", "degree", "trial", "duration", "method"), output)


def _time_point(
    config: DynamicsConfig,
    system: SystemConfig,
    store: Trajectories,
    measured: Measured,
    degree: int,
    solvers: dict[str, Solver],
) -> list[dict[str, Any]]:
    true, _ = true_model(system.build(), degree)
    started = time.process_time()
    regression: Regression = build_regression(
        system, store, measured, degree, seed=config.seed, validation_share=config.validation_share
    )
    built = time.process_time() - started
    rows = []
    for method, solve in solvers.items():
        started = time.process_time()
        coefficients, proven = solve(regression.library, regression.targets)
        rows.append(
            {
                "library_terms": regression.library.shape[1],
                "trial": measured.trial,
                "duration": measured.duration,
                "noise": measured.noise,
                "n_train": len(regression.library),
                "method": method,
                "seconds_build": built,
                "seconds_solve": time.process_time() - started,
                "tpr": true_positivity(true, coefficients),
                "proven": proven,
            }
        )
    return rows


def make_solvers(config: DynamicsConfig, system: System, degree: int) -> dict[str, Solver]:
    """One fit of each method: the exact one with the true numbers of terms, those that threshold
    with half of the smallest true coefficient.

    Raises
    ------
    ConfigError
        If PySINDy is not installed.
    """
    try:
        import pysindy as ps
    except ImportError as error:
        raise needs_pysindy() from error
    true, _ = true_model(system, degree)
    threshold = float(np.abs(true[true != 0]).min()) / 2
    sizes = np.count_nonzero(true, axis=1).tolist()

    def exact(library: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, bool | None]:
        model = ExactSparseRegression(
            group_sparsity=sizes, alpha=ALPHA, time_limit=config.methods.time_limit
        ).fit(library, targets)
        return model.coef_, bool(model.gap_ <= model.rel_gap)

    def heuristic(make: Callable[[], Any]) -> Solver:
        def solve(library: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, bool | None]:
            with warnings.catch_warnings():
                # Thresholds that leave nothing, and iterations that run out, are results here.
                warnings.simplefilter("ignore")
                return np.asarray(make().fit(library, targets).coef_), None

        return solve

    makers: dict[str, Callable[[], Any]] = {
        "stlsq": lambda: ps.STLSQ(threshold=threshold, alpha=ALPHA),
        "ensemble_stlsq": lambda: ps.EnsembleOptimizer(
            ps.STLSQ(threshold=threshold, alpha=ALPHA), bagging=True,
            n_models=config.methods.ensembles,
        ),
        "ssr": lambda: ps.SSR(alpha=ALPHA, max_iter=max(1, true.shape[1] - 1)),
        "sr3": lambda: ps.SR3(
            reg_weight_lam=ps.SR3.calculate_l0_weight(threshold, RELAXATION),
            relax_coeff_nu=RELAXATION, max_iter=config.methods.sr3_iterations,
        ),
    }  # fmt: skip
    chosen = config.runtime.methods
    if not chosen:
        raise ConfigError("no method is named", where="dynamics.runtime.methods")
    return {m: exact if m == "exact" else heuristic(makers[m]) for m in chosen}
