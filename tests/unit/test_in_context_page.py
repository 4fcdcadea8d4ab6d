"""The page about systems learned in context: what it says of planted tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.dynamics.in_context_schemas import (
    DISTRIBUTIONS_SCHEMA,
    EQUATIONS_SCHEMA,
    OUTPUTS_SCHEMA,
    PREDICTIONS_SCHEMA,
    PROBES_SCHEMA,
)
from artneuro.report.in_context import build_in_context_page
from artneuro.report.in_context_summary import (
    Study,
    equation_summary,
    log_losses,
    mean_errors,
    probe_summary,
)

VALUES = 60
LAYERS = (0, 1, 2, 3)
TABLES = ("predictions", "distributions", "probes", "outputs", "equations")


def make_tables(system: str, variables: tuple[str, ...], pairings: tuple[str, ...]):
    """Tables of a model whose errors halve, that beats the last value and not the nearest one."""
    names = {"model": "planted", "system": system}
    rows, shapes = [], []
    for control in ("none", "shuffled"):
        for at in range(VALUES):
            judged = control == "none" and at >= 6 and at % 3 == 0
            error = 0.2 if at < VALUES / 2 else 0.1
            rows.append(
                {
                    **names, "control": control, "sequence": 0, "position": at, "token": 4 * at,
                    "value": 0.5, "log_loss": 6.0 - 4.0 * (control == "none") * at / VALUES,
                    **dict.fromkeys(("mass", "mean", "median", "std")),
                    **({"mass": 0.9, "mean": 0.5 + error, "median": 0.5 + error, "std": 0.1}
                       if judged else {}),
                    "last_value": 0.9, "linear": 1.5, "mean_so_far": 0.2, "nearest": 0.51,
                    "nearest_two": 0.52,
                }
            )  # fmt: skip
            if judged:
                shapes.append(
                    {**names, "control": control, "sequence": 0, "position": at, "value": 0.5,
                     "first": 0.0, "step": 0.1, "probabilities": [0.09] * 10}
                )  # fmt: skip
    probes, outputs, equations = [], [], []
    truth = np.sin(np.arange(20.0))
    sources = [("none", "residual_stream", None, layer) for layer in LAYERS]
    sources += [("shuffled", "residual_stream", None, layer) for layer in LAYERS]
    sources += [("none", kind, delays, None) for kind in ("values", "digits") for delays in (1, 4)]
    for control, features, delays, layer in sources:
        source = {**names, "control": control, "features": features, "delays": delays,
                  "layer": layer}  # fmt: skip
        for shift in (0, 1):
            for variable in variables:
                # Layer 2 is the best; digits tell the present value and numbers do not.
                r2 = {"values": 0.3, "digits": 0.95}.get(
                    features, 0.9 - 0.1 * abs(2 - (layer or 0))
                )
                if control == "shuffled" and shift:
                    r2 = 0.0
                target = {**source, "variable": variable, "shift": shift}
                probes.append(
                    {**target, "r2": r2, "mse": 1 - r2, "mae": 0.1, "r2_train": r2, "penalty": 1.0,
                     "penalty_at_edge": False, "n_train": 40, "n_test": 20}
                )  # fmt: skip
                if control == "none":
                    outputs.append(
                        {**target, "first": 40, "truth": truth.tolist(),
                         "estimate": (r2 * truth).tolist()}
                    )  # fmt: skip
        for pairing in pairings:
            for method in ("exact", "exact_given", "stlsq"):
                good = control == "none" and layer in (1, 2) and method == "exact_given"
                equations.append(
                    {**source, "pairing": pairing, "method": method, "tpr": 1.0 if good else 0.5,
                     "nce": 0.01 if good else 1.0, "terms": 2, "names": ["x", "x^2"],
                     "coefficients": [1.0, 1.0], "true": [1.0, 1.0], "n_fit": 10,
                     "n_validation": 5}
                )  # fmt: skip
    schemas = (
        PREDICTIONS_SCHEMA, DISTRIBUTIONS_SCHEMA, PROBES_SCHEMA, OUTPUTS_SCHEMA, EQUATIONS_SCHEMA
    )  # fmt: skip
    every = (rows, shapes, probes, outputs, equations)
    return [pl.DataFrame(r, schema=s) for r, s in zip(every, schemas, strict=True)]


@pytest.fixture(scope="module")
def study() -> Study:
    return Study("planted", "map", *make_tables("map", ("x",), ("current", "next")))


def test_errors_and_losses_are_those_of_the_parts_of_the_sequence(study):
    first, last = mean_errors(study, last=False), mean_errors(study, last=True)
    assert first["median"] == pytest.approx(0.2)
    assert last["median"] == pytest.approx(0.1)
    assert last["nearest"] == pytest.approx(0.01)
    assert last["linear"] == pytest.approx(1.0)
    losses = log_losses(study)
    assert losses["early"] == pytest.approx(6 - 4 * np.mean(np.arange(6)) / 60)
    assert losses["late"] == pytest.approx(6 - 4 * np.mean(np.arange(30, 60)) / 60)
    assert losses["shuffled"] == pytest.approx(6.0)


def test_the_best_layer_stands_beside_controls_and_inputs(study):
    summary = probe_summary(study)
    assert summary["target"].to_list() == ["x, now", "x, 1 ahead"]
    assert summary["layer"].to_list() == [2, 2]
    assert summary["best"].to_list() == pytest.approx([0.9, 0.9])
    assert summary["shuffled"].to_list() == pytest.approx([0.9, 0.0])
    assert summary["random_weights"].to_list() == [None, None]
    assert summary["values_4"].to_list() == pytest.approx([0.3, 0.3])
    assert summary["digits_1"].to_list() == pytest.approx([0.95, 0.95])


def test_layers_with_the_true_support_are_counted(study):
    summary = equation_summary(study)
    given = summary.filter(pl.col("method") == "exact, k given", pl.col("control") == "sequence")
    assert given["recovered"].to_list() == [2, 2]
    assert given["layers"].to_list() == [4, 4]
    assert given["least"].to_list() == pytest.approx([0.01, 0.01])
    rest = summary.filter(pl.col("control") == "shuffled")
    assert rest["recovered"].sum() == 0


def test_the_page_says_what_the_numbers_say(tmp_path: Path):
    paths: dict[str, list[Path]] = {name: [] for name in TABLES}
    for system, variables, pairings in (
        ("a_map", ("x",), ("current", "next")),
        ("a_flow", ("x", "y", "z"), ("current",)),
    ):
        for name, table in zip(TABLES, make_tables(system, variables, pairings), strict=True):
            paths[name].append(tmp_path / f"{system}_{name}.parquet")
            write_table(table, paths[name][-1])
    build_in_context_page(**paths, output=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "planted on a map: the log loss of the next number falls from 5.83 nats" in text
    assert (
        "The mean error of its forecasts is 0.2 in the first third and 0.1 in the second half"
        in text
    )
    assert (
        "There it beats line through two (1), last value (0.4), mean so far (0.3), but not" in text
    )
    assert "nearest neighbour (0.01), nearest neighbour of two (0.02)." in text
    assert "any linear function of the last values: x, now; x, 1 ahead" in text
    assert "any sum of functions of their digits: none" in text
    assert "Current values: 0 of 4 (exact), 2 of 4 (exact, k given), 0 of 4 (STLSQ)" in text
    assert text.count("data:image/svg+xml") == 12
    with pytest.raises(DataError, match="no sequence to show"):
        build_in_context_page(**{key: [] for key in TABLES}, output=tmp_path / "none.html")
