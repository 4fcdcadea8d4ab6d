"""The page of maps: where and when a model puts what it reads the names of.

Thesis, figures 4.1, C.4 to C.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from markupsafe import Markup

from artneuro.core.artifacts import read_table, write_text
from artneuro.core.errors import DataError
from artneuro.datasets.entity_packages import file_in
from artneuro.report.case_page import Table
from artneuro.report.coastlines import read_topology
from artneuro.report.collect import Paths, as_paths
from artneuro.report.environment import csp_hash, template_environment, template_text
from artneuro.report.map_drawing import NEW_YORK, USA, WORLD, ground
from artneuro.report.maps_items import (
    area_map,
    error_of,
    errors_table,
    held_out_map,
    main_map,
    models_table,
    named_dates,
    named_map,
    timeline,
)
from artneuro.report.maps_numbers import (
    Study,
    errors_of,
    mean_guess_error,
    r2_of,
    spread_ratios,
)
from artneuro.report.maps_pictures import Drawing
from artneuro.report.maps_regions import (
    FRAMES,
    colour_classes,
    kind_of,
    with_colour,
)
from artneuro.report.style import count, score

BASELINES = {
    "bag_of_tokens": "a probe of the counts of tokens",
    "random_features": "a probe of random features of the tokens",
}
# Spread of the predictions, as a share of that of the truth, below which it is explained.
DRAWN_IN = 0.9
WORDS = {
    "world": "places of the world", "usa": "places in the USA", "city": "places in New York City",
    "time": "dates",
}  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """A section of the page: a heading, paragraphs, drawings and tables."""

    title: str
    paragraphs: tuple[str, ...]
    items: tuple[Drawing | Table, ...]


def build_maps_page(
    *,
    predictions: Paths,
    scores: Paths,
    output: Path,
    holdouts: Paths = (),
    entities: Paths = (),
    world_atlas: str | Path | None = None,
    us_atlas: str | Path | None = None,
) -> None:
    """Write the page of maps and timelines.

    Parameters
    ----------
    predictions, scores : paths
        Tables of these names, of each model and table of entities, in any order.
    output : path
        The HTML file.
    holdouts : paths
        Tables of this name; may be empty.
    entities : paths
        Tables of entities, in folders of their names: places are named by their popularity.
    world_atlas, us_atlas : path, optional
        Folders of the sources of these names; without them maps have a graticule alone.

    Raises
    ------
    DataError
        If there is no prediction.
    """
    studies = read_studies(predictions, scores, holdouts, entities)
    if not studies:
        raise DataError(
            "there is no prediction to show",
            where=str(output),
            fix="name models and tables of entities in the section spacetime",
        )
    kinds = {study.kind for study in studies if study.kind != "time"}
    grounds = [_ground(kind, world_atlas, us_atlas) for kind in sorted(kinds)]
    parts = []
    for name in dict.fromkeys(study.entities for study in studies):
        mine = [study for study in studies if study.entities == name]
        make = _time_part if mine[0].kind == "time" else _space_part
        parts.append(Chapter(f"{name}: {WORDS[mine[0].kind]}", explain(mine[0]), tuple(make(mine))))
    _write(verdict(studies), parts, grounds, output)


def read_studies(
    predictions: Paths, scores: Paths, holdouts: Paths = (), entities: Paths = ()
) -> list[Study]:
    """Predictions with what belongs to them: tables of space first, the best model first."""
    scored = [read_table(path) for path in as_paths(scores)]
    held = [read_table(path) for path in as_paths(holdouts)]
    popular = {
        path.parent.name: read_table(path, ["entity", "popularity"]) for path in as_paths(entities)
    }

    def of(tables: list[pl.DataFrame], model: str, name: str) -> pl.DataFrame:
        is_mine = (pl.col("model") == model) & (pl.col("entities") == name)
        found = [table.filter(is_mine) for table in tables]
        return pl.concat(found, how="diagonal") if found else pl.DataFrame({"probe": []})

    studies = []
    for path in as_paths(predictions):
        table = read_table(path)
        if table.is_empty():
            continue
        model, name = str(table["model"][0]), str(table["entities"][0])
        kind = kind_of(table)
        rows = with_colour(table, kind)
        if name in popular:
            rows = rows.join(popular[name], on="entity", how="left", maintain_order="left")
        studies.append(
            Study(model, name, kind, rows, of(scored, model, name), of(held, model, name))
        )
    kinds = list(WORDS)
    return sorted(
        studies,
        key=lambda s: (
            kinds.index(s.kind), s.entities, -float(np.nanmean(r2_of(s.test, s.targets))), s.model,
        ),
    )  # fmt: skip


def verdict(studies: Sequence[Study]) -> str:
    """What the best model of each table gets right, in a sentence each."""
    said = [
        "Linear probes read from the last token of a name where the thing is, or when it was. All "
        "that is drawn here are names that the probes were not fitted to."
    ]
    seen = set()
    for study in studies:
        if study.entities in seen:
            continue
        seen.add(study.entities)
        error = float(np.median(errors_of(study.test, study.targets)))
        guess = mean_guess_error(study.rows, study.targets)
        r2 = float(np.mean(r2_of(study.test, study.targets)))
        said.append(
            f"{study.entities}, {study.model}: R² {score(r2)}, half of the "
            f"{count(study.test.height)} {WORDS[study.kind]} within {error_of(error, study)}; "
            f"guessing the mean for all: {error_of(guess, study)}."
        )
    return " ".join(said)


def explain(study: Study) -> tuple[str, ...]:
    """The numbers of a study in two paragraphs."""
    test, targets = study.test, study.targets
    r2 = r2_of(test, targets)
    each = (
        f" ({score(r2[0])} for latitude, {score(r2[1])} for longitude)" if len(targets) == 2 else ""
    )
    error = float(np.median(errors_of(test, targets)))
    beside = [
        f"{error_of(mean_guess_error(study.rows, targets), study)} for the mean of the "
        f"{count(study.rows.height - test.height)} names that the probe was fitted to"
    ]
    for probe, name in BASELINES.items():
        row = study.score(probe)
        if row is not None:
            off = row.get("error_km_median")
            told = f"{error_of(off, study)} (R² {score(row['r2'])})" if off is not None else (
                f"R² {score(row['r2'])}"
            )  # fmt: skip
            beside.append(f"{told} for {name}")
    first = (
        f"Layer {study.layer} of {study.model}: test R² {score(float(np.mean(r2)))}{each}. Half "
        f"of the {count(test.height)} names of the test are predicted within "
        f"{error_of(error, study)}. Beside that: {'; '.join(beside)}."
    )
    ratios = spread_ratios(test, targets)
    told = " and ".join(
        f"{100 * ratio:.0f} % in {target}" for target, ratio in zip(targets, ratios, strict=True)
    )
    second = f"The predictions spread {told} of what the truth does"
    if max(ratios) < DRAWN_IN:
        second += (
            ": a probe that is not sure stays near the mean of what it was fitted to, so that the "
            "edges of the picture are drawn in"
        )
    return first, f"{second}."


def _space_part(studies: Sequence[Study]) -> list[Drawing | Table]:
    best = studies[0]
    frame, identifier = FRAMES[best.kind], f"ground-{best.kind}"
    classes = colour_classes(best.rows["colour"], best.kind)
    items: list[Drawing | Table] = [main_map(best, frame, classes, identifier)]
    items.append(named_map(best, frame, classes, identifier))
    if (areas := area_map(best, frame, classes, identifier)) is not None:
        items.append(areas)
    if (held := held_out_map(best, frame, classes, identifier)) is not None:
        items.append(held)
    items.append(errors_table(best))
    items += [main_map(study, frame, classes, identifier) for study in studies[1:]]
    if len(studies) > 1:
        items.append(models_table(studies))
    return items


def _time_part(studies: Sequence[Study]) -> list[Drawing | Table]:
    best = studies[0]
    classes = colour_classes(best.rows["colour"], "time")
    items: list[Drawing | Table] = [timeline(best, classes), named_dates(best), errors_table(best)]
    items += [timeline(study, classes) for study in studies[1:]]
    if len(studies) > 1:
        items.append(models_table(studies))
    return items


def _ground(kind: str, world_atlas: str | Path | None, us_atlas: str | Path | None) -> Markup:
    """Land and borders of a kind of map; boroughs are counties."""
    identifier = f"ground-{kind}"
    if kind == "world" and world_atlas is not None:
        topology = read_topology(file_in(Path(world_atlas), "countries-110m.json"))
        return ground(identifier, WORLD, topology.shapes("land"), topology.borders("countries"))
    if kind in ("usa", "city") and us_atlas is not None:
        topology = read_topology(file_in(Path(us_atlas), "counties-10m.json"))
        if kind == "usa":
            return ground(identifier, USA, topology.shapes("nation"), topology.borders("states"))
        return ground(
            identifier, NEW_YORK, topology.shapes("counties"), topology.borders("counties")
        )
    return ground(identifier, FRAMES[kind], ())


def _write(lead: str, parts: Sequence[Chapter], grounds: Sequence[Markup], output: Path) -> None:
    script = template_text("script.js") + "\n" + template_text("maps.js")
    html = (
        template_environment()
        .get_template("maps.html")
        .render(
            title="Maps and timelines",
            lead=lead,
            parts=parts,
            grounds=grounds,
            style=Markup(template_text("style.css") + "\n" + template_text("maps.css")),
            script=Markup(script),
            script_hash=csp_hash(script),
        )
    )
    write_text(html, output)
