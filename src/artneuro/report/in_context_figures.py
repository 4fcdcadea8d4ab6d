"""Figures of the page about systems that a model learns in context.

Thesis, figures 5.6 to 5.12.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator

from artneuro.report.style import COLOURS, GREY, figure_style

# Forecasts in the order of legends: what each is called, its colour and its dashes.
FORECASTS = {
    "median": ("model (median)", COLOURS[0], "-"),
    "nearest": ("nearest neighbour", COLOURS[1], "--"),
    "nearest_two": ("nearest neighbour of two", COLOURS[4], "--"),
    "linear": ("line through two", COLOURS[2], "--"),
    "last_value": ("last value", COLOURS[3], "--"),
    "mean_so_far": ("mean so far", GREY, "--"),
}
CONTROLS = {
    "none": ("sequence", "-"),
    "shuffled": ("shuffled", "--"),
    "random_weights": ("random weights", ":"),
}
METHODS = {
    "exact": ("exact", COLOURS[0]),
    "exact_given": ("exact, k given", COLOURS[2]),
    "stlsq": ("STLSQ", COLOURS[1]),
}
LOWEST_R2 = -0.25
BINS = 6


def position_bins(positions: np.ndarray, values: int) -> np.ndarray:
    """Which of `BINS` equal parts of a sequence each position is in."""
    return np.minimum(positions * BINS // values, BINS - 1)


def error_figure(table: pl.DataFrame, numbers: int) -> Figure:
    """Errors of forecasts and likelihood of the true number by position.

    Parameters
    ----------
    table : DataFrame
        Rows of the schema `predictions` of one model and system.
    numbers : int
        How many numbers can be written: all equally likely make the line of chance.

    Notes
    -----
    Thesis, figure 5.6, top.
    """
    n = table["position"].max()
    values = (n if isinstance(n, int) else 0) + 1
    judged = table.filter(pl.col("control") == "none", pl.col("mean").is_not_null())
    with figure_style():
        figure = Figure(figsize=(9.6, 3.3))
        left, right = figure.subplots(1, 2)
        where = position_bins(judged["position"].to_numpy(), values)
        centre = (np.arange(BINS) + 0.5) * values / BINS
        for name, (label, colour, dashes) in FORECASTS.items():
            error = (judged[name] - judged["value"]).abs().fill_null(np.nan).to_numpy()
            means = np.array(
                [error[where == at].mean() if (where == at).any() else np.nan for at in range(BINS)]
            )
            # An exact forecast cannot be drawn on a logarithmic axis.
            shown = np.where(means > 0, means, np.nan)
            left.plot(centre, shown, color=colour, ls=dashes, marker="o", label=label)
            if name == "median":
                left.scatter(judged["position"], error, color=colour, s=5, alpha=0.4, lw=0)
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        left.minorticks_off()
        left.set_xlabel("values before")
        left.set_ylabel("mean absolute error")
        left.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))
        window = max(1, values // 40)
        for control, (label, dashes) in CONTROLS.items():
            part = (
                table.filter(pl.col("control") == control)
                .group_by("position")
                .agg(pl.col("log_loss").mean())
                .sort("position")
            )
            if part.is_empty() or control == "random_weights":
                continue
            smooth = part["log_loss"].rolling_mean(window, center=True, min_samples=1)
            right.plot(part["position"], smooth, color=COLOURS[0], ls=dashes, label=label)
        right.axhline(np.log(numbers), color=GREY, lw=0.8, label="all numbers equally likely")
        right.set_xlabel("values before")
        right.set_ylabel("log loss of the number, nats")
        right.legend(fontsize=7)
    return figure


def distribution_figure(rows: Sequence[dict]) -> Figure:
    """Predicted distributions of the next value beside what followed.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the schema `distributions`.

    Notes
    -----
    Thesis, figure 5.6, bottom.
    """
    with figure_style():
        figure = Figure(figsize=(3.2 * len(rows), 2.4))
        axes = np.ravel(figure.subplots(1, len(rows), squeeze=False))
        for axis, row in zip(axes, rows, strict=True):
            p = np.array(row["probabilities"])
            # As densities over bins that can be seen: a number is one pixel wide or less.
            joined = max(1, len(p) // 100)
            bins = np.add.reduceat(p, np.arange(0, len(p), joined))
            edges = row["first"] + row["step"] * joined * np.arange(len(bins) + 1)
            axis.stairs(bins, edges, fill=True, color=COLOURS[0], alpha=0.7)
            axis.axvline(row["value"], color=COLOURS[4], lw=1, ls="--")
            axis.set_title(f"after {row['position']} values", fontsize=8)
            axis.set_xlabel("next value")
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axes[0].set_ylabel("probability")
    return figure


def probe_figure(table: pl.DataFrame) -> Figure:
    """R2 and mean absolute error of probes by layer, with controls and inputs.

    Parameters
    ----------
    table : DataFrame
        Rows of the schema `probes` of one model and system. A column of panels for each number of
        values ahead.

    Notes
    -----
    Thesis, figures 5.7 and 5.10.
    """
    shifts = table["shift"].unique().sort().to_list()
    with figure_style():
        figure = Figure(figsize=(4.8 * len(shifts), 5.0))
        ratios = {"height_ratios": (3, 2)}
        grid = figure.subplots(
            2, len(shifts), squeeze=False, sharex=True, sharey="row", gridspec_kw=ratios
        )
        for line, column in zip(grid, ("r2", "mae"), strict=True):
            for axis, shift in zip(line, shifts, strict=True):
                _probe_panel(axis, table.filter(pl.col("shift") == shift), column)
        for axis, shift in zip(grid[0], shifts, strict=True):
            axis.axhline(0, color=GREY, lw=0.6)
            axis.set_title("value just read" if shift == 0 else f"{shift} value ahead", fontsize=9)
            axis.set_ylim(LOWEST_R2 - 0.03, 1.03)
        for axis in grid[1]:
            axis.set_xlabel("layer; right of the last: input alone")
            axis.set_ylim(bottom=0)
        grid[0][0].set_ylabel("test R²")
        grid[1][0].set_ylabel("test mean absolute error")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def _probe_panel(axis: Axes, table: pl.DataFrame, column: str) -> None:
    """One score of all probes of one number of values ahead."""
    layers = table.filter(pl.col("layer").is_not_null())
    # Inputs stand beside the last layer, more of the last values to the right.
    right = float(np.max(layers["layer"].to_numpy(), initial=0)) + 1.5
    lowest = LOWEST_R2 if column == "r2" else None
    for place, variable in enumerate(table["variable"].unique(maintain_order=True)):
        mine = table.filter(pl.col("variable") == variable)
        for control, (label, dashes) in CONTROLS.items():
            part = mine.filter(pl.col("control") == control, pl.col("layer").is_not_null())
            part = part.sort("layer")
            axis.plot(
                part["layer"], part[column].clip(lower_bound=lowest), color=COLOURS[place],
                ls=dashes, label=f"{variable}, {label}" if part.height else None,
            )  # fmt: skip
        for features, marker in (("values", "<"), ("digits", "s")):
            one = mine.filter(pl.col("features") == features, pl.col("control") == "none")
            one = one.sort("delays")
            axis.plot(
                right + 1.2 * np.arange(one.height), one[column].clip(lower_bound=lowest),
                color=COLOURS[place], ls="none", marker=marker, mfc="none",
            )  # fmt: skip


def reading_figure(rows: Sequence[dict], title: str) -> Figure:
    """What probes of one layer read on the test part, over what was so.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the schema `probe_outputs`, one a variable.
    title : str

    Notes
    -----
    Thesis, figure 5.9.
    """
    with figure_style():
        figure = Figure(figsize=(9.6, 1.5 * len(rows) + 0.5))
        axes = np.ravel(figure.subplots(len(rows), 1, squeeze=False, sharex=True))
        for place, (axis, row) in enumerate(zip(axes, rows, strict=True)):
            time = row["first"] + np.arange(len(row["truth"]))
            axis.plot(time, row["truth"], color=GREY, lw=1, label="true")
            axis.plot(time, row["estimate"], color=COLOURS[place], lw=1, label="probe")
            axis.set_ylabel(row["variable"])
            axis.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1, 1))
        axes[-1].set_xlabel("value of the sequence")
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def equation_figure(table: pl.DataFrame) -> Figure:
    """Support and coefficients of the equations of what probes read, by layer.

    Parameters
    ----------
    table : DataFrame
        Rows of the schema `equations` of one model and system.

    Notes
    -----
    Thesis, figures 5.8 and 5.12.
    """
    pairings = table["pairing"].unique().sort().to_list()
    layers = table.filter(pl.col("layer").is_not_null())
    with figure_style():
        figure = Figure(figsize=(9.6, 2.5 * len(pairings) + 0.4))
        grid = figure.subplots(len(pairings), 2, squeeze=False, sharex=True)
        for line, pairing in zip(grid, pairings, strict=True):
            for axis, column in zip(line, ("tpr", "nce"), strict=True):
                _equation_panel(axis, layers.filter(pl.col("pairing") == pairing), column)
            named = {"current": "current values", "next": "next value on current value"}[pairing]
            line[0].set_title(f"{named}: support", fontsize=9)
            line[1].set_title(f"{named}: coefficients", fontsize=9)
            line[0].set_ylabel("true positivity rate")
            line[1].set_ylabel("normalised error")
        for axis in grid[-1]:
            axis.set_xlabel("layer")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def _equation_panel(axis: Axes, table: pl.DataFrame, column: str) -> None:
    for method, (name, colour) in METHODS.items():
        for control, (_, dashes) in CONTROLS.items():
            part = table.filter(pl.col("method") == method, pl.col("control") == control)
            if part.is_empty():
                continue
            faint = 1.0 if control == "none" else 0.45
            axis.plot(
                *part.sort("layer").select("layer", column), color=colour, ls=dashes, alpha=faint,
                lw=1.4 if control == "none" else 0.8,
                label=name if control == "none" else None,
            )  # fmt: skip
    if column == "nce":
        axis.set_yscale("log")
    else:
        axis.set_ylim(-0.03, 1.03)


def trajectory_figure(
    outputs: pl.DataFrame, layers: Sequence[int], pair: tuple[str, str] | None
) -> Figure:
    """Trajectories as probes of some layers read them, beside the true one.

    Parameters
    ----------
    outputs : DataFrame
        Rows of the schema `probe_outputs` of one model and system.
    layers : sequence of int
    pair : tuple of str or None
        The two variables that are drawn against each other; None: each value against the next.

    Notes
    -----
    Thesis, figure 5.11.
    """
    with figure_style():
        panels = len(layers) + 1
        figure = Figure(figsize=(2.4 * panels, 2.5))
        axes = np.ravel(figure.subplots(1, panels, squeeze=False, sharex=True, sharey=True))
        for axis, layer in zip(axes, [None, *layers], strict=True):
            part = outputs.filter(pl.col("layer") == (layers[0] if layer is None else layer))
            column = "truth" if layer is None else "estimate"
            if pair is None:
                now, later = (_column(part, column, shift=shift) for shift in (0, 1))
                axis.scatter(now, later, s=3, lw=0, color=GREY if layer is None else COLOURS[0])
            else:
                across, up = (_column(part, column, variable=name) for name in pair)
                axis.plot(across, up, lw=0.7, color=GREY if layer is None else COLOURS[0])
            axis.set_title("true" if layer is None else f"layer {layer}", fontsize=8)
            axis.set_xlabel("value" if pair is None else pair[0])
        # A probe that reads far beyond the truth would squeeze the rest.
        first = outputs.filter(pl.col("layer") == layers[0])
        for axis_of, at in (("x", 0), ("y", 1)):
            name = None if pair is None else pair[at]
            truth = _column(first, "truth", shift=0 if pair else at, variable=name)
            margin = 0.3 * (truth.max() - truth.min())
            limits = (truth.min() - margin, truth.max() + margin)
            (axes[0].set_xlim if axis_of == "x" else axes[0].set_ylim)(limits)
        axes[0].set_ylabel("next value" if pair is None else pair[1])
    return figure


def _column(
    part: pl.DataFrame, column: str, *, shift: int = 0, variable: str | None = None
) -> np.ndarray:
    chosen = part.filter(pl.col("shift") == shift)
    if variable is not None:
        chosen = chosen.filter(pl.col("variable") == variable)
    return np.array(chosen.row(0, named=True)[column])
