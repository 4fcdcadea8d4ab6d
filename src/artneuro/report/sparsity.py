"""Static figures of how sparsely features are represented, and of the methods that find neurons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report import choose
from artneuro.report.style import (
    COLOURS,
    GREY,
    duration,
    figure_style,
    heading_of,
    method_order,
    name_of,
    save,
    scale_start,
)

NEURONS, RANDOM = "neurons", "random"
_KEYS = [*choose.SECTION, "feature", "basis", "k"]


def sparsity_by_k(table: pl.DataFrame) -> pl.DataFrame:
    """Mean test F1 over the features of each collection by basis and k, on the best layers.

    The layer of each (feature, basis, k) is the one with the highest F1 on the train split; where
    several reach it, their test F1 is averaged.

    Parameters
    ----------
    table : DataFrame
        Rows of the schema `sparsity`.

    Returns
    -------
    DataFrame
        The columns of `choose.SECTION`, `basis`, `k`, `f1`, `f1_std` (root mean square over
        features of the standard deviation over random bases; null for neurons) and `features`.
    """
    best = (
        table.filter(pl.col("f1_train") == pl.col("f1_train").max().over(_KEYS))
        .group_by(_KEYS)
        .agg(pl.col("f1").mean(), (pl.col("f1_std") ** 2).mean())
    )
    keys = [*choose.SECTION, "basis", "k"]
    return (
        best.sort(_KEYS)
        .group_by(keys, maintain_order=True)
        .agg(pl.col("f1").mean(), pl.col("f1_std").mean().sqrt(), pl.len().alias("features"))
        .sort(keys)
    )


def plot_sparsity(sparsity: str | Path, output: str | Path) -> None:
    """F1 against the number of coefficients, in the neuron basis and in random bases.

    Parameters
    ----------
    sparsity : path
        A table of the schema `sparsity`.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table is empty.

    Notes
    -----
    Thesis, figure A.2.
    """
    table = read_table(sparsity)
    _need(table, sparsity)
    save(sparsity_figure(table), output)


def sparsity_figure(table: pl.DataFrame) -> Figure:
    """The figure of `plot_sparsity`, of rows of the schema `sparsity`: a panel a collection."""
    means = sparsity_by_k(table)
    panels = choose.sections(means)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    with figure_style():
        figure = Figure(figsize=(3.2 * columns + 0.6, 2.7 * lines + 0.7))
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False, sharey=True))
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes, panels, strict=False):
            _sparsity_panel(axis, panel, choose.in_section(means, panel))
            axis.set_ylim(min(0.9, scale_start(means["f1"])), 1.01)
        for axis in axes[::columns]:
            axis.set_ylabel("mean test F1")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=1)
        models = ", ".join(dict.fromkeys(panel[0] for panel in panels))
        datasets = ", ".join(dict.fromkeys(panel[1] for panel in panels))
        figure.suptitle(f"{models} on {datasets}", fontsize=9, x=0.01, ha="left")
    return figure


def _sparsity_panel(axis: Axes, panel: tuple, rows: pl.DataFrame) -> None:
    for basis, label, colour, line in (
        (NEURONS, "neurons, by adaptive thresholding", COLOURS[0], "-"),
        (RANDOM, "random orthogonal basis", GREY, "--"),
    ):
        part = rows.filter(pl.col("basis") == basis)
        axis.plot(part["k"], part["f1"], color=colour, ls=line, marker="o", ms=3, label=label)
        if basis == RANDOM:
            spread = part["f1_std"].fill_null(0.0)
            axis.fill_between(
                part["k"], part["f1"] - spread, part["f1"] + spread, color=colour, alpha=0.2, lw=0
            )
    axis.set_xscale("log", base=2)
    ticks = [k for k in rows["k"].unique().sort() if k & (k - 1) == 0]
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    features = int(rows["features"].to_numpy().max())
    axis.set_title(f"{name_of(panel[3])}, {panel[2]} ({features} features)")
    axis.set_xlabel("coefficients of the probe (k)")


def plot_methods(methods: str | Path, output: str | Path) -> None:
    """Table of the mean test F1 by method and k with run times, one block a site.

    Parameters
    ----------
    methods : path
        What `collect_methods` made.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table is empty.

    Notes
    -----
    Thesis, table A.4. The highest F1 of each k is bold.
    """
    table = read_table(methods)
    _need(table, methods)
    sites = table["site"].unique().sort().to_list()
    blocks = [methods_grid(table.filter(pl.col("site") == site)) for site in sites]
    heights = [len(block[0]) + 3 for block in blocks]
    widest = max(len(block[1]) for block in blocks)
    with figure_style():
        figure = Figure(figsize=(1.9 + 0.62 * (widest + 1.5), 0.24 * sum(heights) + 0.2))
        axes = np.atleast_1d(figure.subplots(len(sites), 1, gridspec_kw={"height_ratios": heights}))
        for axis, site, block in zip(axes, sites, blocks, strict=True):
            part = table.filter(pl.col("site") == site)
            features = int(part["features"].to_numpy().max())
            title = f"Test F1 by number of neurons k, {site}, {features} features"
            _methods_block(axis, title, *block)
        save(figure, output)


def methods_grid(
    table: pl.DataFrame,
) -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    """One site of `collect_methods` as a grid.

    Returns
    -------
    methods : list of str
        Names of the rows, random neurons last.
    ks : list of int
        Names of the columns.
    f1 : ndarray of shape (method, k)
        Test F1 on the layer that the training split chooses; NaN where there is none.
    seconds : ndarray of shape (method,)
        CPU time for one feature on one layer.
    """
    methods, ks = method_order(table["method"]), table["k"].unique().sort().to_list()
    f1, seconds = np.full((len(methods), len(ks)), np.nan), np.full(len(methods), np.nan)
    for method, k, value, time in table.select("method", "k", "f1", "seconds").iter_rows():
        f1[methods.index(method), ks.index(k)] = value
        seconds[methods.index(method)] = time
    return methods, ks, f1, seconds


def _methods_block(
    axis: Axes, title: str, methods: list[str], ks: list[int], f1: np.ndarray, seconds: np.ndarray
) -> None:
    axis.set_axis_off()
    axis.set_title(title, loc="left")
    cells = [
        [*("–" if np.isnan(v) else f"{v:.3f}" for v in line), _time(time)]
        for line, time in zip(f1, seconds, strict=True)
    ]
    grid = axis.table(
        cells,
        rowLabels=[heading_of(method) for method in methods],
        colLabels=[*(str(k) for k in ks), "CPU time"],
        bbox=Bbox.unit(),
        edges="horizontal",
    )
    grid.auto_set_font_size(False)
    grid.set_fontsize(8)
    best = np.nanmax(f1, axis=0)
    for (row, column), cell in grid.get_celld().items():
        cell.set_linewidth(0.4)
        bold = (
            row > 0
            and 0 <= column < len(ks)
            and round(f1[row - 1, column], 3) == round(best[column], 3)
        )
        cell.set_text_props(weight="bold" if bold or row == 0 else "normal")


def _time(seconds: float) -> str:
    if np.isnan(seconds):
        return "–"
    return f"{1000 * seconds:.0f} ms" if seconds < 0.95 else duration(seconds)


def _need(table: pl.DataFrame, path: str | Path) -> None:
    if table.is_empty():
        raise DataError(
            "the table is empty: there is nothing to plot",
            where=str(path),
            fix="check the log of the rule that made it",
        )
