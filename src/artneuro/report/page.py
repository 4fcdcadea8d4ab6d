"""The HTML report: one file that holds everything, for a reader who has not seen the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from artneuro.core.artifacts import write_text
from artneuro.core.errors import DataError
from artneuro.report import choose
from artneuro.report.case_page import CASE_PAGES
from artneuro.report.collect import (
    NEURON_COLUMNS,
    TRANSFER_COLUMNS,
    JobFacts,
    Paths,
    as_paths,
    read_datasets,
    read_models,
    read_scores,
    read_sources,
    read_tables,
    time_by_rule,
    trace_jobs,
)
from artneuro.report.config import ReportConfig
from artneuro.report.environment import csp_hash, template_environment, template_text
from artneuro.report.views import SectionView, section_views


def build_report(
    config: ReportConfig,
    *,
    models: Paths,
    scores: Paths,
    best_neurons: Paths,
    output: str | Path,
    transfer: Paths = (),
    sequences: Paths = (),
    labels: Paths = (),
    rows: Paths = (),
    sources: Paths = (),
    pages: Sequence[str] = (),
) -> None:
    """Write the report as one HTML file that needs no other file and no network.

    The sidecars beside the given artifacts, and beside what those were made from, tell how long
    each step took and on what machine.

    Parameters
    ----------
    config : ReportConfig
        Title and what to show.
    models : paths
        `model.json` of each model.
    scores, best_neurons, transfer : paths
        Tables of these schemas; `transfer` may be empty.
    output : path
        The HTML file to write.
    sequences, labels, rows : paths
        Tables of these schemas, for the sizes of the datasets.
    sources : paths
        Folders of the fetched sources.
    pages : sequence of str
        Pages beside this one to link to, of `CASE_PAGES`.

    Raises
    ------
    DataError
        If there are no scores, or a table lacks a column of its schema.
    """
    table = read_scores(scores)
    if table.is_empty() or choose.single_neurons(table).is_empty():
        raise DataError(
            "there are no scores of single neurons to report",
            where=", ".join(map(str, as_paths(scores))) or "no table of scores was given",
            fix="check the logs of fit_probes: it needs at least one feature with both classes, "
            "and a ranking other than random",
        )
    neurons = read_tables(best_neurons, NEURON_COLUMNS)
    second = read_tables(transfer, TRANSFER_COLUMNS)
    views = section_views(table, neurons, second, config)
    given = [models, sequences, labels, rows, scores, best_neurons, transfer, sources]
    jobs = trace_jobs(path for paths in given for path in as_paths(paths))
    found_sources, datasets = read_sources(sources), read_datasets(sequences, labels, rows)
    page = (
        template_environment()
        .get_template("page.html")
        .render(
            config=config,
            style=Markup(template_text("style.css")),
            script=Markup(template_text("script.js")),
            script_hash=csp_hash(template_text("script.js")),
            headline=headline(table, config.good_f1),
            summary=_with_transfer(choose.summary(table, config.good_f1), views),
            sections=views,
            cases=[(f"{name}.html", *CASE_PAGES[name]) for name in pages],
            models=read_models(models),
            datasets=datasets,
            sources=[source for source in found_sources if source.available],
            missing=[source for source in found_sources if not source.available],
            times=time_by_rule(jobs),
            runs=_where_run(jobs),
        )
    )
    write_text(page, output)


def headline(scores: pl.DataFrame, good_f1: float) -> dict[str, Any]:
    """The numbers of the page's first two sentences."""
    best = choose.best_by_feature(scores)
    random, shuffled = (
        choose.random_by_feature(scores),
        choose.best_by_feature(scores, choose.SHUFFLED),
    )
    return {
        "models": sorted(scores["model"].unique()),
        "datasets": sorted(scores["dataset"].unique()),
        "sites": sorted(scores["site"].unique()),
        "searches": best.height,
        "features": best.select("collection", "feature").n_unique(),
        "collections": sorted(best["collection"].unique()),
        "good": int((best["f1"] >= good_f1).sum()),
        "f1": _mean(best),
        "f1_random": _mean(random),
        "f1_shuffled": _mean(shuffled),
    }


def _mean(frame: pl.DataFrame) -> float | None:
    value = frame["f1"].mean()
    return float(value) if isinstance(value, float) else None


def _with_transfer(summary: pl.DataFrame, views: list[SectionView]) -> list[dict[str, Any]]:
    """The summary's rows with the anchor of their section and the mean F1 on other datasets."""
    rows = []
    for row in summary.iter_rows(named=True):
        view = next(v for v in views if all(getattr(v, c) == row[c] for c in choose.SECTION))
        others = pl.Series(
            [t["f1_frozen"] for r in view.rows for t in r.transfer.values()], dtype=pl.Float64
        )
        rows.append({**row, "anchor": view.anchor, "title": view.title, "f1_second": others.mean()})
    return rows


def _where_run(jobs: list[JobFacts]) -> list[dict[str, Any]]:
    """Machines, devices, commits and versions that the jobs ran with, most jobs first."""
    groups: dict[tuple, list[JobFacts]] = {}
    for job in jobs:
        groups.setdefault((job.machine, job.commit, job.dirty, job.versions), []).append(job)
    return [
        {
            "jobs": len(group),
            "machine": machine,
            "commit": commit,
            "dirty": dirty,
            "versions": versions,
            "devices": sorted({job.device for job in group if job.device}),
        }
        for (machine, commit, dirty, versions), group in sorted(
            groups.items(), key=lambda item: (-len(item[1]), str(item[0]))
        )
    ]
