"""Maps, timelines and tables of one model and one table of entities, with what is said of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from artneuro.report.case_page import Table
from artneuro.report.map_drawing import Frame
from artneuro.report.maps_numbers import (
    Study,
    area_medians,
    drawn_rows,
    errors_by,
    errors_of,
    has_popularity,
    mean_guess_error,
    notable,
    r2_of,
)
from artneuro.report.maps_pictures import (
    Drawing,
    cut,
    distance,
    draw_moves,
    draw_places,
    draw_timeline,
    place_titles,
    year,
)
from artneuro.report.maps_regions import AREAS, COLOURED_BY, area_label
from artneuro.report.style import count, score

# Points of a map: more make the page slow and hide each other.
MOST_POINTS = 4000
# Places, and dates, that are named one by one.
NAMED, NAMED_DATES = 40, 20
# Test places that an area needs for its median.
AT_LEAST = 4


def error_of(value: float | None, study: Study) -> str:
    """An error in the unit of the study."""
    if value is None:
        return "–"
    return distance(value) if study.kind != "time" else f"{value:.0f} years"


def legend(classes: dict[str, str], rows: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    """Class, name and number of each colour group that the rows have."""
    counts = dict(rows["colour"].value_counts().iter_rows())
    return tuple(
        (style, f"{name.replace('_', ' ')} ({count(counts[name])})")
        for name, style in classes.items()
        if counts.get(name)
    )


def main_map(study: Study, frame: Frame, classes: dict[str, str], identifier: str) -> Drawing:
    """Figures 4.1, C.4 and C.5: test names where the model puts them, and where they are."""
    test = study.test
    rows = drawn_rows(test, MOST_POINTS)
    inside = [
        frame.holds(*rows.select(f"{kind}longitude", f"{kind}latitude").to_numpy().T)
        for kind in ("", "predicted_")
    ]
    true_outside, outside = (int((~held).sum()) for held in inside)
    drawn = (
        f"All {count(rows.height)} test names"
        if rows.height == test.height
        else f"{count(rows.height)} of the {count(test.height)} test names, drawn at random"
    )
    edge = (
        f" {outside} of the predictions and {true_outside} of the true places lie outside of the "
        "map and are drawn at its edge."
        if outside + true_outside
        else ""
    )
    return Drawing(
        f"The map inside {study.model}",
        draw_places(study, rows, frame, classes, identifier),
        f"{drawn}; colours are the true {COLOURED_BY[study.kind]}. Test R² "
        f"{score(float(np.mean(r2_of(test, study.targets))))}, median error "
        f"{distance(float(np.median(errors_of(test, study.targets))))}; the mean place for all: "
        f"{distance(mean_guess_error(study.rows, study.targets))}.{edge}",
        legend(classes, rows),
        can_move=True,
    )


def named_map(study: Study, frame: Frame, classes: dict[str, str], identifier: str) -> Drawing:
    """Some places by name, whatever their errors."""
    rows = notable(study.test, NAMED)
    picture = draw_moves(
        rows.select("longitude", "latitude").to_numpy(),
        rows.select("predicted_longitude", "predicted_latitude").to_numpy(),
        [cut(name) if len(name) < 28 else f"{name[:26]}…" for name in rows["name"]],
        [classes[colour] for colour in rows["colour"]], place_titles(rows, study.kind), frame,
        identifier, f"Where {rows.height} places are and where the probe puts them",
    )  # fmt: skip
    return Drawing(
        "Some by name",
        (("", picture),),
        f"{_chosen(rows, study.kind)}, however well they are predicted: from a ring where each is "
        "to a dot where the model puts it. Names stand at the dots, where there is room.",
        legend(classes, rows),
    )


def _chosen(rows: pl.DataFrame, kind: str) -> str:
    how = "Most popular test names" if has_popularity(rows) else "Test names drawn at random"
    return f"{how}, as many of each {COLOURED_BY[kind]}"


def area_map(
    study: Study, frame: Frame, classes: dict[str, str], identifier: str
) -> Drawing | None:
    """Medians of areas, true and predicted (figure C.4); None with fewer than two areas."""
    area = AREAS[study.kind]
    medians = area_medians(study.test, area, AT_LEAST)
    if medians.height < 2:
        return None
    names = [area_label(name, study.kind) for name in medians[area]]
    picture = draw_moves(
        medians.select("longitude", "latitude").to_numpy(),
        medians.select("predicted_longitude", "predicted_latitude").to_numpy(),
        names,
        [classes[colour] for colour in medians["colour"]],
        [
            f"{name}, {n} test names: medians {distance(km)} apart"
            for name, n, km in zip(names, medians["n"], medians["distance_km"], strict=True)
        ],
        frame, identifier, f"Medians of {medians.height} areas, true and predicted",
    )  # fmt: skip
    middle = float(medians["distance_km"].median())  # type: ignore[arg-type]
    return Drawing(
        f"Medians by {area}",
        (("", picture),),
        f"The median of the test names of each {area} with at least {AT_LEAST}: from a ring where "
        f"it is to a dot where the model puts it. Of {medians.height}, half are within "
        f"{distance(middle)}.",
        legend(classes, medians),
    )


def held_out_map(
    study: Study, frame: Frame, classes: dict[str, str], identifier: str
) -> Drawing | None:
    """Figures C.6 and C.7: centres of areas that probes saw nothing of; None without holdouts."""
    if "kind" not in study.holdouts.columns:
        return None
    held = study.holdouts.filter(
        pl.col("kind") == "block", pl.col("predicted_latitude").is_not_null()
    )
    if held.is_empty():
        return None
    colour_of = dict(
        study.rows.drop_nulls("block").group_by("block").agg(pl.col("colour").mode().sort().first())
        .iter_rows()
    )  # fmt: skip
    names = [area_label(unit, study.kind) for unit in held["unit"]]
    means = held.select("training_longitude", "training_latitude").drop_nulls()
    picture = draw_moves(
        held.select("true_longitude", "true_latitude").to_numpy(),
        held.select("predicted_longitude", "predicted_latitude").to_numpy(),
        names, [classes.get(colour_of.get(unit, ""), "kx") for unit in held["unit"]],
        [
            f"{name}, {n} names held out: direction {_degrees(angle)} off"
            for name, n, angle in zip(names, held["n_held_out"], held["angle"], strict=True)
        ],
        frame, identifier, f"Centres of {held.height} blocks, true and predicted when held out",
        means.mean().row(0) if means.height else None,
    )  # fmt: skip
    angles = held["angle"].drop_nulls().to_numpy()
    told = (
        f" Seen from the mean of the training data, the angle between the two directions is "
        f"{angles.mean():.0f}° on average, and below 90° for {int((angles < 90).sum())} of "
        f"{len(angles)}; a direction at random: 90°, and half of them."
        if len(angles)
        else ""
    )
    return Drawing(
        "Held out as a whole",
        (("", picture),),
        "Each of these was left out of what the probe was fitted to: from a ring at the true "
        "centre of its names to a dot at the centre of their predictions. The cross is the mean "
        f"of the training data, averaged over the probes.{told}",
        legend(classes, study.rows),
    )


def _degrees(angle: float | None) -> str:
    return "–" if angle is None else f"{angle:.0f}°"


def timeline(study: Study, classes: dict[str, str]) -> Drawing:
    """Figure 4.1, below: predicted against true dates."""
    rows = drawn_rows(study.test, MOST_POINTS)
    return Drawing(
        f"The timeline inside {study.model}",
        (("", draw_timeline(study, rows, classes)),),
        f"A point is one of {count(rows.height)} test names. Dashed: predicted as it was. Thick "
        "line and band: median and middle half of the predictions, over windows of names next to "
        f"each other in time. Test R² {score(r2_of(study.test, study.targets)[0])}, median error "
        f"{error_of(float(np.median(errors_of(study.test, study.targets))), study)}; the mean "
        f"date for all: {error_of(mean_guess_error(study.rows, study.targets), study)}.",
        legend(classes, rows),
        can_move=True,
    )


def errors_table(study: Study) -> Table:
    """Errors and shifts by what points are coloured by."""
    frame = errors_by(study.test, "colour", study.targets)
    unit = "km" if study.kind != "time" else "years"
    shifts = {
        "shift_latitude": "shift to the north, degrees",
        "shift_longitude": "shift to the east, degrees",
        "shift_time": "shift to later, years",
    }
    return Table(
        frame,
        f"Errors of the test names by {COLOURED_BY[study.kind]}. Shift: the mean of predicted less "
        "true.",
        {
            "colour": COLOURED_BY[study.kind], "n": "names", "median": f"median error, {unit}",
            "upper_quartile": f"upper quartile, {unit}", **shifts,
        },
        {"median": 0, "upper_quartile": 0, **dict.fromkeys(shifts, 1)},
    )  # fmt: skip


def models_table(studies: Sequence[Study]) -> Table:
    """Scores of all models on one table of entities."""
    unit = "km" if studies[0].kind != "time" else "years"
    rows = [
        {
            "model": study.model,
            "layer": study.layer,
            "r2": float(np.mean(r2_of(study.test, study.targets))),
            "median": float(np.median(errors_of(study.test, study.targets))),
        }
        for study in studies
    ]
    return Table(
        pl.DataFrame(rows),
        "A row is a model at the layer that leave-one-out on the train split chose; test names.",
        {"r2": "R²", "median": f"median error, {unit}"},
        {"median": 0},
    )


def named_dates(study: Study) -> Table:
    """Some dates by name, whatever their errors."""
    rows = notable(study.test, NAMED_DATES)
    frame = pl.DataFrame(
        {
            "name": [cut(name) for name in rows["name"]],
            "kind": [str(kind).replace("_", " ") for kind in rows["entity_type"]],
            "true": [year(value) for value in rows["time"]],
            "predicted": [year(value) for value in rows["predicted_time"]],
            "off": (rows["predicted_time"] - rows["time"]).to_list(),
        },
        schema_overrides={"off": pl.Float64},
    )
    return Table(
        frame,
        f"{_chosen(rows, study.kind)}, however well they are predicted.",
        {"off": "years too late"},
        {"off": 0},
    )
