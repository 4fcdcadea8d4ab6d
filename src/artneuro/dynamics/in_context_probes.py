"""Probes of a system's state in a language model that reads it, and the equations that they obey.

Thesis, sections 5.4.2 and 5.4.3, figures 5.7 to 5.12. Every probe is fitted on the first part of a
sequence; what is reported, and what equations are fitted to, is what it reads on the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artneuro.core.artifacts import write_table
from artneuro.core.logs import Progress
from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.in_context_config import InContextConfig
from artneuro.dynamics.in_context_schemas import (
    DIGITS,
    EQUATIONS_SCHEMA,
    NATURAL,
    OUTPUTS_SCHEMA,
    PROBES_SCHEMA,
    RESIDUAL,
    TRUTH,
    VALUES,
)
from artneuro.dynamics.probed_equations import (
    CURRENT,
    NEXT,
    Regression,
    flow_regression,
    map_regression,
    recover,
    terms_of,
)
from artneuro.dynamics.residual_store import Residuals, open_residuals
from artneuro.dynamics.sequence_text import number_format
from artneuro.dynamics.state_probes import (
    Probe,
    delayed,
    digit_indicators,
    fit_probe,
    state_targets,
)

log = logging.getLogger(__name__)

# The state at the value just read, and one value later.
SHIFTS = (0, 1)


@dataclass(frozen=True)
class Source:
    """What a probe reads: features of a run of the model, or of its input alone.

    Attributes
    ----------
    control : str
        The run.
    features : str
        "residual_stream", "values", "digits" or "true_states".
    delays : int or None
        Values of the input.
    layer : int or None
    """

    control: str
    features: str
    delays: int | None = None
    layer: int | None = None

    def columns(self) -> dict[str, Any]:
        """Its part of a row."""
        return {
            "control": self.control,
            "features": self.features,
            "delays": self.delays,
            "layer": self.layer,
        }


@dataclass
class _Tables:
    """Rows that were found so far."""

    names: dict[str, str]
    probes: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    equations: list[dict[str, Any]] = field(default_factory=list)


def probe_in_context(
    config: InContextConfig,
    *,
    residuals: Path,
    probes: Path,
    outputs: Path,
    equations: Path,
    model: str,
    system: str,
) -> None:
    """Probe every layer and control, and fit equations to what the probes read.

    Parameters
    ----------
    config : InContextConfig
        With this system.
    residuals : path
        The store that `predict_in_context` wrote.
    probes, outputs, equations : path
        Tables to write (`in_context_schemas`): scores of the probes; what those of the sequence
        itself read on its test part; equations.
    model, system : str
        Names, for the tables.
    """
    store = open_residuals(residuals)
    variables = config.systems[system].build().variables
    tables = _Tables({"model": model, "system": system})
    total = len(store.controls) * len(store.layers)
    counter = Progress("probes", total, "layers", log)
    for control in store.controls:
        states = store.states(control)
        targets = state_targets(states, SHIFTS)
        train, test = _parts(config, len(targets))
        if control == NATURAL:
            _fit_equations(config, tables, system, Source(control, TRUTH), targets[test])
        for source, features in _sources(config, store, control, system):
            probe = fit_probe(
                features[: len(targets)],
                targets,
                train,
                test,
                config.probes.penalties(),
                config.probes.folds,
            )
            _note(tables, source, variables, probe, targets, train, test)
            if source.features != DIGITS:
                _fit_equations(config, tables, system, source, probe.estimate)
            counter.add(source.layer is not None)
    for rows, schema, path in (
        (tables.probes, PROBES_SCHEMA, probes),
        (tables.outputs, OUTPUTS_SCHEMA, outputs),
        (tables.equations, EQUATIONS_SCHEMA, equations),
    ):
        frame = pl.DataFrame([{**tables.names, **row} for row in rows], schema=schema)
        write_table(frame.with_columns(pl.col(pl.Float64).fill_nan(None)), path)


def _parts(config: InContextConfig, rows: int) -> tuple[slice, slice]:
    """Rows to fit probes on, and those after them to test on."""
    cut = round(config.probes.train_share * rows)
    return slice(config.probes.skip, cut), slice(cut, rows)


def _sources(
    config: InContextConfig, store: Residuals, control: str, system: str
) -> Iterator[tuple[Source, np.ndarray]]:
    """What is probed of a run, with its features (value, feature)."""
    if control != "random_weights":
        # Random weights read the same input as the model itself does.
        written = number_format(config.systems[system])
        codes = store.codes(control)
        values = written.decode(codes)[:, None]
        digits = digit_indicators(codes, written.decimals)
        for delays in config.probes.delays:
            yield Source(control, VALUES, delays), delayed(values, delays)
            yield Source(control, DIGITS, delays), delayed(digits, delays)
    for layer in store.layers:
        yield Source(control, RESIDUAL, layer=layer), store.layer(control, layer)


def _note(
    tables: _Tables,
    source: Source,
    variables: tuple[str, ...],
    probe: Probe,
    targets: np.ndarray,
    train: slice,
    test: slice,
) -> None:
    """Rows of the scores of a probe, and of what it reads."""
    for at, (shift, variable) in enumerate((s, v) for s in SHIFTS for v in variables):
        target = {**source.columns(), "variable": variable, "shift": shift}
        tables.probes.append(
            {
                **target,
                "r2": float(probe.r2[at]),
                "mse": float(probe.mse[at]),
                "mae": float(probe.mae[at]),
                "r2_train": float(probe.r2_train[at]),
                "penalty": float(probe.penalty[at]),
                "penalty_at_edge": bool(probe.at_edge[at]),
                "n_train": train.stop - train.start,
                "n_test": test.stop - test.start,
            }
        )
        if source.control == NATURAL:
            tables.outputs.append(
                {
                    **target,
                    "first": test.start,
                    "truth": targets[test, at].tolist(),
                    "estimate": probe.estimate[:, at].tolist(),
                }
            )


def _fit_equations(
    config: InContextConfig, tables: _Tables, system: str, source: Source, read: np.ndarray
) -> None:
    """Rows of the equations of what a probe reads: states now, and one value later."""
    chosen = config.systems[system]
    built, settings = chosen.build(), config.equations
    names = terms_of(built, chosen.degree)
    now, later = np.split(read, len(SHIFTS), axis=1)
    regressions: dict[str, Regression] = {}
    if built.kind == "map":
        share = settings.train_share
        regressions[CURRENT] = map_regression(now[:-1], now[1:], chosen.degree, share)
        regressions[NEXT] = map_regression(now, later, chosen.degree, share)
    else:
        # The same windows for every source, so that layers differ by what was read alone.
        generator = generator_of(config.seed, "in_context", system, "windows")
        regressions[CURRENT] = flow_regression(
            now, chosen.dt, chosen.degree, settings.train_share, chosen.windows, generator
        )
    for pairing, regression in regressions.items():
        for found in recover(regression, built, chosen.degree, settings):
            tables.equations.append(
                {
                    **source.columns(),
                    "pairing": pairing,
                    "method": found.method,
                    "tpr": found.tpr,
                    "nce": found.nce,
                    "terms": int(np.count_nonzero(found.coefficients)),
                    "names": names,
                    "coefficients": found.coefficients.ravel().tolist(),
                    "true": found.true.ravel().tolist(),
                    "n_fit": len(regression.features),
                    "n_validation": len(regression.validation_features),
                }
            )
