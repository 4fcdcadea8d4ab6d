"""Parts of the page about space and time: probes on what they saw nothing of (4.4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.space_time_figures import draw_holdouts
from artneuro.report.style import score
from artneuro.spacetime.holdouts import summarise_holdouts

TITLES = {"block": "Held-out blocks", "entity_type": "Held-out types"}
NOUNS = {"block": "countries, states, decades or the like", "entity_type": "types of entities"}
# Units that are listed of each table of entities and model.
LISTED = 8
# Units that an interval over them needs.
FEWEST = 5
PROXIMITY = ("proximity_nominal", "proximity_held_out", "proximity_loss")


def holdout_parts(holdouts: pl.DataFrame) -> list[Part]:
    """Tables 4.3 and 4.4 with intervals, the relative directions, and the single units."""
    summary = summarise_holdouts(holdouts)
    parts = []
    for kind, title in TITLES.items():
        rows = holdouts.filter(pl.col("kind") == kind)
        if rows.is_empty():
            continue
        mine = summary.filter(pl.col("kind") == kind)
        items: list[Picture | Table] = [_means_table(mine)]
        text = [_said(mine, kind)]
        if kind == "block" and (directions := _directions_table(mine)) is not None:
            items.append(directions)
            text.append(
                "Direction: whether the centre of what was held out lies on the right side, seen "
                "from the mean of the training data. A probe that knows the direction but not the "
                "distance has a small angle and a large error."
            )
        items += [
            Picture(
                draw_holdouts(rows),
                "A point is one unit: the proximity error of its test entities by the probe of "
                "everything, and by the probe that saw none of them. Dotted: at random.",
                "Proximity errors with and without the unit in the training data",
            ),
            _units_table(rows),
        ]
        parts.append(Part(title, tuple(text), tuple(items)))
    return parts


def interval(row: Mapping[str, Any], digits: int = 3) -> str:
    """`mean`, `low` and `high` of a row of `summarise_holdouts`, as a table shows them."""
    mean, low, high = row["mean"], row["low"], row["high"]
    if mean is None:
        return "–"
    told = f"{mean:.{digits}f}"
    if low is not None and high is not None:
        told += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return told.replace("-", "−")


def _said(summary: pl.DataFrame, kind: str) -> str:
    of = {
        quantity: summary.filter(pl.col("quantity") == quantity, pl.col("mean").is_not_null())
        for quantity in PROXIMITY
    }
    told = {name: rows.filter(pl.col("n_units") >= FEWEST) for name, rows in of.items()}
    held, loss = told["proximity_held_out"], told["proximity_loss"]
    said = (
        f"Probes were fitted without each of the {NOUNS[kind]} in turn. The proximity error of "
        "their test entities (0.5 is random), averaged over cases: "
        f"{score(_mean(of['proximity_nominal']))} trained on, "
        f"{score(_mean(of['proximity_held_out']))} held out. "
    )
    if loss.is_empty():
        return said + f"No case has {FEWEST} units, which an interval needs to tell anything."
    cases = "1 case" if loss.height == 1 else f"{loss.height} cases"
    return said + (
        f"Of the {cases} with at least {FEWEST} units, by the 95 % intervals it is larger when "
        f"held out in {loss.filter(pl.col('low') > 0).height} and smaller in "
        f"{loss.filter(pl.col('high') < 0).height}; held out it is below 0.5 in "
        f"{held.filter(pl.col('high') < 0.5).height}."
    )


def _mean(rows: pl.DataFrame) -> float | None:
    values = rows["mean"].to_numpy()
    return float(values.mean()) if len(values) else None


def _means_table(summary: pl.DataFrame) -> Table:
    rows = []
    for (table, model), part in summary.group_by(["entities", "model"], maintain_order=True):
        of = {row["quantity"]: row for row in part.iter_rows(named=True)}
        told = {name: interval(of[name]) for name in PROXIMITY}
        rows.append(
            {
                "entities": table, "model": model,
                "units": of["proximity_held_out"]["n_units"], **told,
                "spearman_nominal": of["spearman_nominal"]["mean"],
                "spearman_held_out": of["spearman_held_out"]["mean"],
            }
        )  # fmt: skip
    return Table(
        pl.DataFrame(rows, infer_schema_length=None),
        "Means over units of the scores of their test entities, with 95 % bootstrap intervals over "
        "units. Loss: held out less trained on, unit by unit.",
        {
            "proximity_nominal": "proximity error, trained on",
            "proximity_held_out": "held out", "proximity_loss": "loss",
            "spearman_nominal": "Spearman, trained on", "spearman_held_out": "held out",
        },
    )  # fmt: skip


def _directions_table(summary: pl.DataFrame) -> Table | None:
    rows = []
    for (table, model), part in summary.group_by(["entities", "model"], maintain_order=True):
        of = {row["quantity"]: row for row in part.iter_rows(named=True)}
        angle, right = of["angle"], of["direction_correct"]
        if right["mean"] is None:
            continue
        rows.append(
            {
                "entities": table, "model": model, "units": right["n_units"],
                "angle": interval(angle, digits=0),
                "right": interval(right, digits=2),
            }
        )  # fmt: skip
    if not rows:
        return None
    return Table(
        pl.DataFrame(rows, infer_schema_length=None),
        "Directions from the mean of the training data to the true and to the predicted centre of "
        "what was held out: the mean angle between them (90° at random), and the share of units "
        "with less than 90°, or of times on the right side (0.5 at random); 95 % intervals.",
        {"angle": "mean angle, degrees", "right": "right direction"},
    )


def _units_table(rows: pl.DataFrame) -> Table:
    columns = [
        "entities", "model", "unit", "n_held_out", "n", "proximity_nominal", "proximity_held_out",
        "error_nominal", "error_held_out", "angle", "direction_correct",
    ]  # fmt: skip
    frame = rows.select(
        c for c in columns if c in rows.columns and rows[c].null_count() < rows.height
    )
    frame = frame.sort("entities", "model", "n_held_out", descending=[False, False, True])
    frame = frame.group_by("entities", "model", maintain_order=True).head(LISTED)
    return Table(
        frame,
        f"{frame.height} of the {rows.height} units, of each table and model those of most "
        "entities, with the number of those of the split test, which the scores are of: by the "
        "probe of everything, and by the one that saw none of the unit (held out). Errors in km or "
        "years, angle in degrees.",
        {
            "n_held_out": "entities", "n": "test", "proximity_nominal": "proximity error",
            "proximity_held_out": "held out", "error_nominal": "error",
            "error_held_out": "held out", "direction_correct": "right direction",
        },
        {
            "proximity_nominal": 3, "proximity_held_out": 3, "error_nominal": 1,
            "error_held_out": 1, "angle": 0,
        },
    )  # fmt: skip
