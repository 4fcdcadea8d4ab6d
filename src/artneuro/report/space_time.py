"""The page about space and time: all experiments of the thesis' chapter 4."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.space_time_figures import BASELINES
from artneuro.report.space_time_holdouts import holdout_parts
from artneuro.report.space_time_neurons import ablation_parts, neurons_part, pinning_parts
from artneuro.report.space_time_probes import (
    best_rows,
    dimensions_part,
    layers_part,
    linearity_part,
    prompts_part,
)
from artneuro.report.style import name_of, score


def build_space_time_page(
    *,
    scores: Paths,
    output: Path,
    main_prompt: str = "empty",
    dimensions: Paths = (),
    prompts: Paths = (),
    transfer: Paths = (),
    holdouts: Paths = (),
    neurons: Paths = (),
    projections: Paths = (),
    pinned: Paths = (),
    ablations: Paths = (),
    contexts: Paths = (),
    leakage: Paths = (),
) -> None:
    """Write the page about space and time.

    Parameters
    ----------
    scores : paths
        Tables of this name, of every model, table of entities and prompt.
    output : path
        The HTML file.
    main_prompt : str
        The prompt whose scores are shown by layer.
    dimensions, prompts, transfer, holdouts : paths
        Tables `dimensions` of the main prompt, and `prompts`, `prompt_transfer` and `holdouts`.
    neurons, projections, pinned, ablations, contexts : paths
        Tables `neurons`, `neuron_projections`, `pinned_predictions`, `ablations` and
        `ablation_contexts`.
    leakage : paths
        Tables of this name, in folders with the names of the tables of entities.

    All but the scores may be empty; a section is there where its tables are.

    Raises
    ------
    DataError
        If no score is of the main prompt.
    """
    scored = _read(scores)
    main = None if scored is None else scored.filter(pl.col("prompt") == main_prompt)
    if main is None or best_rows(main).is_empty():
        raise DataError(
            f"there is no score of the prompt {main_prompt!r} to show",
            where=str(output),
            fix="name models and tables of entities in the section spacetime",
        )
    parts: list[Part | None] = [layers_part(main), linearity_part(main)]
    parts.append(prompts_part(_read(prompts), _read(transfer), main_prompt))
    if (held := _read(holdouts)) is not None:
        parts += holdout_parts(held)
    if (found := _read(dimensions)) is not None:
        mine = found.filter(pl.col("prompt") == main_prompt)
        parts.append(dimensions_part(mine) if mine.height else None)
    if (single := _read(neurons)) is not None:
        parts.append(neurons_part(single, _read(projections)))
    if (values := _read(pinned)) is not None:
        parts += pinning_parts(values)
    if (zeroed := _read(ablations)) is not None:
        parts += ablation_parts(zeroed, _read(contexts))
    if as_paths(leakage):
        parts.append(leakage_part(leakage))
    page = CasePage(
        "Space and time", verdict(main), tuple(part for part in parts if part is not None)
    )
    write_case_page(page, output)


def _read(paths: Paths) -> pl.DataFrame | None:
    tables = [read_table(path) for path in as_paths(paths)]
    tables = [table for table in tables if table.height]
    if not tables:
        return None
    return pl.concat(tables, how="diagonal_relaxed").sort("entities", "model", maintain_order=True)


def verdict(scores: pl.DataFrame) -> str:
    """For each table, how well the best model does and how well what sees no model does."""
    best = best_rows(scores).sort("r2_loo", descending=True).unique("entities", keep="first")
    said = []
    for row in best.sort("entities").iter_rows(named=True):
        others = scores.filter(
            pl.col("entities") == row["entities"],
            pl.col("model") == row["model"],
            pl.col("probe").is_in(list(BASELINES)),
        )
        beside = ""
        if others.height:
            top = others.sort("r2", descending=True).row(0, named=True)
            beside = f", against {score(top['r2'])} with {name_of(top['probe'])}"
        said.append(
            f"{row['entities']}: test R² {score(row['r2'])} at layer {row['layer']} of "
            f"{row['model']}{beside}."
        )
    return (
        "Does a model hold where places are and when things were, so that a linear probe can read "
        "it from a name? " + " ".join(said)
    )


def leakage_part(leakage: Paths) -> Part:
    """What test names share with the train split or with their own answers."""
    tables = [
        read_table(path).with_columns(pl.lit(path.parent.name).alias("entities"))
        for path in as_paths(leakage)
    ]
    found = pl.concat(tables, how="diagonal_relaxed")
    frame = found.filter(pl.col("n_rows") > 0).select(
        "entities",
        pl.col("description").alias("check"),
        pl.col("n_rows").cast(pl.Int64),
        pl.col("n_test").cast(pl.Int64),
        (100 * pl.col("share")).alias("share"),
        pl.col("examples").list.head(3).list.join("; "),
    )
    worst = frame.filter(pl.col("n_test") > 0).sort("share", descending=True)
    said = f"{found.height - frame.height} of {found.height} checks find nothing. " + (
        f"The largest share is {worst['share'][0]:.1f} %, of {worst['entities'][0]}: "
        f"{worst['check'][0]}"
        if worst.height
        else "None finds an entity of the split test."
    )
    return Part(
        "Leakage",
        ("What could let a probe do well without the model knowing a place or a date.", said),
        (
            Table(
                frame,
                "Entities that a check finds, in all and in the split test; share of the split "
                "test.",
                {"n_rows": "entities", "n_test": "test", "share": "share, %"},
                {"share": 1},
            ),
        )
        if frame.height
        else (),
    )
