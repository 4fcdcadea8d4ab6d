"""The page about sparse equations: its averages, its verdict, and that it is whole."""

from __future__ import annotations

import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.dynamics.achievability import FIELDS_SCHEMA
from artneuro.dynamics.forces import FORCES_SCHEMA
from artneuro.dynamics.recovery import INCLUSION_SCHEMA, MODELS_SCHEMA, RECOVERY_SCHEMA
from artneuro.dynamics.timing import RUNTIME_SCHEMA
from artneuro.report.dynamics import build_dynamics_page, stability_part, verdict
from artneuro.report.dynamics_figures import averages, style_of_method

POINT = {"system": "hopf", "form": "weak", "library": "large", "duration": 4.0, "noise": 0.1}


def recovery(rates: dict[str, list[list[float]]]) -> pl.DataFrame:
    """Scores whose rates are given by method, level of noise and trial."""
    rows = [
        {
            **POINT, "noise": 0.1 * (level + 1), "trial": trial, "method": method, "tpr": rate,
            "nce": 10.0 ** -(trial + 1), "rmse": 0.1, "terms": 4, "library_terms": 10,
            "n_train": 20, "n_validation": 10,
        }
        for method, levels in rates.items()
        for level, rates_of_level in enumerate(levels)
        for trial, rate in enumerate(rates_of_level)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=RECOVERY_SCHEMA)


SCORES = recovery(
    {
        "exact": [[1.0, 1.0], [0.5, 0.5], [0.4, 0.8]],
        "exact_stability": [[1.0, 1.0], [0.7, 0.9], [0.4, 0.6]],
        "stlsq": [[0.5, 0.5], [0.9, 0.9], [0.5, 0.8]],
    }
)


def test_averages_are_of_logarithms_but_for_rates():
    errors = averages(SCORES, ["method", "noise"], "nce")
    assert errors["mean"].to_list() == pytest.approx([-1.5] * 9)
    assert errors["error"].to_list() == pytest.approx([0.5] * 9)
    rates = averages(SCORES, ["method", "noise"], "tpr").filter(pl.col("method") == "exact")
    assert rates["mean"].to_list() == pytest.approx([1.0, 0.5, 0.6])
    assert rates["error"].to_list() == pytest.approx([0, 0, 0.2])
    single = averages(SCORES.filter(pl.col("trial") == 0), ["method", "noise"], "nce")
    assert single["error"].null_count() == 9


def test_the_verdict_counts_points():
    # The first is the highest, the second far below, the third below by less than its error.
    text = verdict(SCORES)
    assert "Of 3 points, each the mean over 2 trials" in text
    assert "highest true positivity rate of all at 1, and at 2 none is above" in text


def test_constrained_fits_have_the_colour_of_their_method():
    plain, dashed = style_of_method("sr3"), style_of_method("sr3_constrained")
    assert plain["color"] == dashed["color"]
    assert (plain["ls"], dashed["ls"]) == ("-", "--")


def inclusion() -> pl.DataFrame:
    rows = [
        {**POINT, "noise": noise, "trial": trial, "target": "x", "k": 2, "term": term,
         "share": share, "true": term in ("x", "y")}
        for trial in (0, 1)
        for noise in (0.1, 0.2)
        for term, share in (("x", 1.0), ("y", 0.6), ("x y", 0.3), ("1", 0.1))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=INCLUSION_SCHEMA)


def test_gains_of_stability_are_paired():
    part = stability_part(inclusion(), SCORES)
    frame = part.items[-1].frame
    assert frame["gain"].to_list() == pytest.approx([0.0, 0.3, -0.1])
    assert frame["error"].to_list() == pytest.approx([0.0, 0.1, 0.1])


def test_the_page_is_whole(tmp_path):
    models = pl.DataFrame(
        [
            {
                **POINT, "trial": 0, "method": method, "target": "x", "support": ["1", "x y^2"],
                "coef": [0.5, -2.0], "correct": True, "alpha": 0.01, "threshold": None, "nu": None,
                "k": 2, "criterion": -3.0, "at_edge": False, "objective": 1.0, "bound": 1.0,
                "gap": 0.0, "status": "optimal",
            }
            for method in ("exact", "stlsq")
        ],
        schema=MODELS_SCHEMA,
    )  # fmt: skip
    forces = pl.DataFrame(
        [
            {
                "system": "duffing", "trial": 0, "duration": 10.0 * n, "noise": 0.1,
                "method": method, "tpr": 1.0, "nce": 0.1, "rmse": 0.1, "violation": 0.0, "terms": 6,
                "criterion": 1.0, "at_edge": False,
            }
            for n in (1, 2)
            for method in ("exact", "exact_constrained", "sr3", "sr3_constrained")
        ],
        schema=FORCES_SCHEMA,
    )  # fmt: skip
    fields = pl.DataFrame(
        [
            {"system": "waves", "trial": 0, "duration": 5.0, "noise": noise, "method": "exact",
             "tpr": 1.0, "nce": 0.1, "correct": True, "terms": 3, "library_terms": 19}
            for noise in (0.1, 1.0)
        ],
        schema=FIELDS_SCHEMA,
    )  # fmt: skip
    runtime = pl.DataFrame(
        [
            {"system": "hopf", "degree": 3, "library_terms": 10, "trial": 0, "duration": d,
             "noise": 0.0, "n_train": 10, "method": "exact", "seconds_build": 0.1,
             "seconds_solve": 0.002, "tpr": 1.0, "proven": True}
            for d in (1.0, 2.0)
        ],
        schema=RUNTIME_SCHEMA,
    )  # fmt: skip
    tables = {
        "recovery": SCORES, "models": models, "inclusion": inclusion(), "forces": forces,
        "fields": fields, "runtime": runtime,
    }  # fmt: skip
    for name, table in tables.items():
        write_table(table, tmp_path / f"{name}.parquet")
    paths = {name: tmp_path / f"{name}.parquet" for name in tables}
    output = tmp_path / "dynamics.html"
    build_dynamics_page(output=output, **paths)
    page = output.read_text()
    for text in (
        "How much noise they bear", "Stability selection", "What a fit costs", "Fields",
        "Physical constraints", "A certificate", "0.5 − 2 x y^2",
    ):  # fmt: skip
        assert text in page
    assert "<script src" not in page
    assert page.count("data:image/svg+xml") == 5
    # A part alone is a page too.
    build_dynamics_page(output=output, forces=paths["forces"])
    assert "Physical constraints" in output.read_text()
    with pytest.raises(DataError, match="no equation to show"):
        build_dynamics_page(output=output)
