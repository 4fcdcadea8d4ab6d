"""Figures of the page about sparse equations: errors and supports by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artneuro.dynamics.metrics import log_mean
from artneuro.report.style import COLOURS, figure_style, heading_of

# Names as the field writes them; their order gives the colours.
METHODS = {
    "exact": "exact",
    "exact_path": "exact, by criterion",
    "exact_stability": "exact, by stability",
    "stlsq": "STLSQ",
    "ensemble_stlsq": "ensemble STLSQ",
    "ssr": "SSR",
    "sr3": "SR3",
    "exact_constrained": "exact, constrained",
    "sr3_constrained": "SR3, constrained",
}
# Constrained fits have the colour of their method and are dashed.
_PLAIN = {"exact_constrained": "exact", "sr3_constrained": "sr3"}
MEASURES = {
    "rmse": "log10 RMSE of derivatives",
    "nce": "log10 coefficient error",
    "tpr": "true positivity rate",
    "violation": "log10 violation",
    "seconds_solve": "log10 seconds",
}
# What is drawn for zero on a logarithmic scale.
FLOOR = 1e-17


# Systems whose names are not their identifiers with spaces and a capital.
SYSTEMS = {
    "mhd": "MHD",
    "van_der_pol": "Van der Pol",
    "lotka_volterra": "Lotka-Volterra",
    "roessler": "Rössler",
    "kuramoto_sivashinsky": "Kuramoto-Sivashinsky",
    "reaction_diffusion": "Reaction-diffusion",
}


def system_name(name: str) -> str:
    """The name of a system as a reader writes it."""
    return SYSTEMS.get(name, heading_of(name))


def _tick(value: float) -> str:
    """A number to two significant digits, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")


def methods_in(table: pl.DataFrame) -> list[str]:
    """Methods of a table in the order of `METHODS`."""
    there = set(table["method"])
    return [name for name in METHODS if name in there]


def style_of_method(method: str) -> dict[str, Any]:
    """Colour and dashes of a method's line, the same in all figures."""
    place = list(METHODS).index(_PLAIN.get(method, method))
    return {"color": COLOURS[place], "ls": "--" if method in _PLAIN else "-"}


def averages(table: pl.DataFrame, by: Sequence[str], measure: str) -> pl.DataFrame:
    """Mean and standard error over trials, of logarithms (base 10) but for rates.

    Parameters
    ----------
    table : DataFrame
        Rows with the columns `by` and `measure`.

    Returns
    -------
    DataFrame
        Columns `by`, `mean`, `error` (null of a single trial), sorted by `by`.
    """
    rows = []
    for key, part in table.sort(by).group_by(by, maintain_order=True):
        values = part[measure].to_numpy()
        if measure == "tpr":
            mean = float(values.mean())
            error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        else:
            logs = [x / np.log(10) for x in log_mean(np.maximum(values, FLOOR))]
            mean, error = logs[0], None if np.isnan(logs[1]) else logs[1]
        rows.append({**dict(zip(by, key, strict=True)), "mean": mean, "error": error})
    schema = {name: table.schema[name] for name in by}
    return pl.DataFrame(rows, schema={**schema, "mean": pl.Float64(), "error": pl.Float64()})


def draw_grid(
    panels: Mapping[str, pl.DataFrame], x: str, measures: Sequence[str], *, log_x: bool = True
) -> Figure:
    """A column a panel, a row a measure, a line a method, bars of one standard error.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Title and rows of each column: `method`, `x` and the measures, a row a trial.
    x : str
        What the horizontal axis shows: `duration` or `noise`.
    measures : sequence of str
        Keys of `MEASURES`.
    log_x : bool
        Is the horizontal axis logarithmic?

    Notes
    -----
    Thesis, figures 5.1 to 5.5.
    """
    with figure_style():
        figure = Figure(figsize=(2.9 * len(panels) + 0.8, 2.1 * len(measures) + 0.8))
        axes = figure.subplots(len(measures), len(panels), squeeze=False, sharex="col")
        for column, (title, rows) in enumerate(panels.items()):
            for axis, measure in zip(axes[:, column], measures, strict=True):
                _draw_lines(axis, rows, x, measure)
                if log_x:
                    axis.set_xscale("log")
            axes[0, column].set_title(title)
            ticks = rows[x].unique().sort().to_list()
            axes[-1, column].set_xticks(ticks, [_tick(t) for t in ticks], rotation=45)
            axes[-1, column].minorticks_off()
            axes[-1, column].set_xlabel("training time" if x == "duration" else "noise")
        for axis, measure in zip(axes[:, 0], measures, strict=True):
            axis.set_ylabel(MEASURES[measure])
        handles: dict[str, Artist] = {}
        for axis in axes[-1]:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        labels = [label for label in METHODS.values() if label in handles]
        columns = min(len(labels), max(2, 2 * len(panels)))
        figure.legend(
            [handles[label] for label in labels], labels, loc="outside lower center", ncols=columns
        )
    return figure


def _draw_lines(axis: Axes, rows: pl.DataFrame, x: str, measure: str) -> None:
    means = averages(rows, ["method", x], measure)
    for method in methods_in(means):
        mine = means.filter(pl.col("method") == method).sort(x)
        errors = mine["error"].fill_null(0.0)
        axis.errorbar(
            mine[x], mine["mean"], yerr=errors, marker="o", label=METHODS[method],
            elinewidth=0.8, **style_of_method(method),
        )  # fmt: skip
    if measure == "tpr":
        axis.set_ylim(-0.03, 1.05)


def draw_shares(shares: pl.DataFrame) -> Figure:
    """Shares of bootstraps that true and false terms are chosen in, against noise.

    Parameters
    ----------
    shares : DataFrame
        Columns `system`, `noise`, `true_share` (mean over true terms) and `false_share` (largest of
        a false term), a row a trial and target.
    """
    systems = shares["system"].unique(maintain_order=True).to_list()
    with figure_style():
        figure = Figure(figsize=(2.9 * len(systems) + 0.8, 2.7))
        axes = figure.subplots(1, len(systems), squeeze=False, sharey=True)[0]
        for axis, system in zip(axes, systems, strict=True):
            rows = shares.filter(pl.col("system") == system)
            for column, label, colour in (
                ("true_share", "true terms, mean", COLOURS[0]),
                ("false_share", "false terms, largest", COLOURS[1]),
            ):
                means = rows.group_by("noise").agg(
                    pl.col(column).mean().alias("mean"),
                    (pl.col(column).std() / pl.len().sqrt()).fill_null(0.0).alias("error"),
                ).sort("noise")  # fmt: skip
                axis.errorbar(
                    means["noise"], means["mean"], yerr=means["error"], marker="o", label=label,
                    color=colour, elinewidth=0.8,
                )  # fmt: skip
            ticks = rows["noise"].unique().sort().to_list()
            axis.set_xscale("log")
            axis.minorticks_off()
            axis.set_xticks(ticks, [_tick(t) for t in ticks], rotation=45)
            axis.set_title(system_name(system))
            axis.set_xlabel("noise")
            axis.set_ylim(-0.03, 1.05)
        axes[0].set_ylabel("share of bootstraps")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
