"""Static figures of one (model, dataset), for papers and for `snakemake --report`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artneuro.core.errors import DataError
from artneuro.report import choose
from artneuro.report.collect import NEURON_COLUMNS, TRANSFER_COLUMNS, read_scores, read_tables
from artneuro.report.style import (
    COLOURS,
    GREY,
    figure_style,
    method_order,
    name_of,
    neuron_name,
    save,
    scale_start,
    ticks_of_k,
)


def plot_f1_by_layer(scores: str | Path, output: str | Path) -> None:
    """Heat map of the F1 of the best single neuron of each layer, one panel a collection.

    The neuron of each (feature, layer) is the one with the highest F1 on the train split over all
    rankings; the colour is its F1 on the test split. A ring marks the layer that the train split
    chooses.

    Parameters
    ----------
    scores : path
        A table of the schema `scores`.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table holds no probe on one neuron.
    """
    best = choose.best_by_layer(read_scores(scores))
    _need(best, scores, "no probe on a single neuron (k = 1) that a ranking found")
    chosen = choose.choose_by_train(best, ["feature"])
    panels = choose.sections(best)
    heights = [choose.in_section(chosen, panel).height for panel in panels]
    with figure_style():
        figure = Figure(figsize=(7.2, 0.9 * len(panels) + 0.19 * sum(heights) + 0.4))
        axes = np.atleast_1d(
            figure.subplots(len(panels), 1, gridspec_kw={"height_ratios": [h + 2 for h in heights]})
        )
        low = scale_start(best["f1"])
        for axis, panel in zip(axes, panels, strict=True):
            _layer_panel(axis, panel, choose.in_section(best, panel), low)
        figure.colorbar(axes[0].images[0], ax=list(axes), label="test F1", pad=0.01, fraction=0.03)
        figure.suptitle(_title(panels), fontsize=9, x=0.01, ha="left")
        save(figure, output)


def _layer_panel(axis: Axes, panel: tuple, best: pl.DataFrame, low: float) -> None:
    features, layers, grid, chosen = layer_grid(best)
    axis.imshow(grid, aspect="auto", cmap="Blues", vmin=low, vmax=1.0)
    axis.scatter(
        [layers.index(layer) for layer in chosen],
        range(len(features)),
        s=22,
        facecolors="none",
        edgecolors=COLOURS[1],
        linewidths=1.2,
    )
    axis.set_title(_panel_title(panel))
    axis.set_yticks(range(len(features)), [name_of(f) for f in features])
    step = max(1, len(layers) // 12)
    axis.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    axis.set_xlabel("layer")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def layer_grid(best: pl.DataFrame) -> tuple[list[str], list[int], np.ndarray, list[int]]:
    """Test F1 of the best single neurons of one section as a grid.

    Parameters
    ----------
    best : DataFrame
        What `choose.best_by_layer` gives, of one section.

    Returns
    -------
    features : list of str
        Names of the rows, those with the highest test F1 of the chosen neuron first.
    layers : list of int
        Names of the columns.
    grid : ndarray of shape (feature, layer)
        Test F1, NaN where there is no probe.
    chosen : list of int
        The layer with the highest train F1, for each feature.
    """
    order = choose.choose_by_train(best, ["feature"]).sort(
        ["f1", "feature"], descending=[True, False], nulls_last=True
    )
    features, layers = order["feature"].to_list(), best["layer"].unique().sort().to_list()
    place = {feature: i for i, feature in enumerate(features)}
    grid = np.full((len(features), len(layers)), np.nan)
    for feature, layer, f1 in best.select("feature", "layer", "f1").iter_rows():
        grid[place[feature], layers.index(layer)] = np.nan if f1 is None else f1
    return features, layers, grid, order["layer"].to_list()


def plot_f1_by_k(scores: str | Path, output: str | Path) -> None:
    """Mean F1 over the features of each collection against the number of neurons k.

    For each feature, ranking, k and control the layer with the highest F1 on the train split is
    taken; its F1 on the test split enters the mean. Random neurons are drawn dashed, probes on
    shuffled labels dotted, both grey.

    Parameters
    ----------
    scores : path
        A table of the schema `scores`.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table is empty.
    """
    table = read_scores(scores)
    _need(table, scores, "no scores")
    means = choose.mean_by_k(choose.best_by_k(table))
    panels = choose.sections(means)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    methods = method_order(means["method"])
    with figure_style():
        figure = Figure(figsize=(2.6 * columns + 1.8, 2.5 * lines + 0.3))
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False, sharey=True))
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis, panel in zip(axes, panels, strict=False):
            rows = choose.in_section(means, panel)
            for (method, control), line in rows.group_by(
                ["method", "control"], maintain_order=True
            ):
                axis.plot(line["k"], line["f1"], **_line(str(method), str(control), methods))
            axis.set_title(_panel_title(panel))
            axis.set_xlabel("neurons in the probe (k)")
            axis.set_xticks(ticks_of_k(rows["k"]))
            axis.set_ylim(min(0.9, scale_start(means["f1"])), 1.01)
        for axis in axes[::columns]:
            axis.set_ylabel("mean test F1")
        handles = {str(h.get_label()): h for axis in axes for h in axis.get_lines()}
        order = [name_of(m) for m in methods] + [name_of(choose.SHUFFLED)]
        figure.legend(
            handles=[handles[name] for name in order if name in handles], loc="outside right upper"
        )
        figure.suptitle(_title(panels), fontsize=9, x=0.01, ha="left")
        save(figure, output)


def _line(method: str, control: str, methods: list[str]) -> dict:
    """How a ranking under a control is drawn."""
    if control != choose.REAL:
        return {"color": GREY, "ls": ":", "lw": 1.0, "label": name_of(control)}
    if method == choose.RANDOM:
        return {"color": GREY, "ls": "--", "marker": "o", "label": name_of(method)}
    colour = COLOURS[methods.index(method) % len(COLOURS)]
    return {"color": colour, "marker": "o", "label": name_of(method)}


def plot_best_neurons(best_neurons: str | Path, output: str | Path) -> None:
    """Histograms of the best neuron of each feature, in the class and out of it.

    Parameters
    ----------
    best_neurons : path
        A table of the schema `best_neurons`; the rows of rank 1 are drawn, at most 48.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table is empty.
    """
    table = read_tables(best_neurons, NEURON_COLUMNS)
    _need(table, best_neurons, "no neurons")
    top = table.filter(pl.col("rank") == table["rank"].min()).sort(
        ["collection", "feature", "site"]
    )[:48]
    columns = min(4, top.height)
    lines = -(-top.height // columns)
    with figure_style():
        figure = Figure(figsize=(1.9 * columns + 0.4, 1.45 * lines + 0.6))
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False))
        for axis in axes[top.height :]:
            axis.set_visible(False)
        for axis, row in zip(axes, top.iter_rows(named=True), strict=False):
            edges = np.asarray(row["edges"])
            for key, colour, label in (
                ("counts_out", GREY, "out of class"),
                ("counts_in", COLOURS[0], "in class"),
            ):
                counts = np.asarray(row[key], dtype=float)
                share = counts / max(counts.sum(), 1.0)
                axis.stairs(share, edges, fill=True, color=colour, alpha=0.6, label=label)
            name = neuron_name(row["layer"], row["neuron"])
            axis.set_title(f"{name_of(row['feature'])}\n{name}, F1 {row['f1']:.2f}", fontsize=8)
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            axis.locator_params(axis="x", nbins=4)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        save(figure, output)


def plot_transfer(transfer: str | Path, output: str | Path) -> None:
    """F1 of each feature's neuron where it was found and on the other dataset, as a dot plot.

    Parameters
    ----------
    transfer : path
        A table of the schema `transfer`.
    output : path
        Where to write: .svg, .png or .pdf.

    Raises
    ------
    DataError
        If the table is empty.
    """
    table = read_tables(transfer, TRANSFER_COLUMNS)
    _need(table, transfer, "no neurons")
    table = table.sort("collection", "site", "f1_frozen", "feature")
    source, dataset = table["source"][0], table["dataset"][0]
    places = range(table.height)
    with figure_style():
        figure = Figure(figsize=(6.0, 0.24 * table.height + 1.1))
        axis = figure.subplots()
        axis.hlines(places, table["f1_source"], table["f1_frozen"], color=GREY, lw=0.8, zorder=1)
        for column, marker, colour, label in (
            ("f1_source", "o", COLOURS[0], f"on {source}, where it was found"),
            ("f1_frozen", "D", COLOURS[1], f"on {dataset}, as it is"),
            ("f1_refit", "x", COLOURS[2], f"on {dataset}, probe refitted"),
        ):
            axis.scatter(
                table[column], places, s=22, marker=marker, color=colour, label=label, zorder=2
            )
        names = [
            f"{name_of(row['feature'])}  {neuron_name(row['layer'], row['neuron'])}"
            for row in table.iter_rows(named=True)
        ]
        axis.set_yticks(places, names)
        axis.set_xlabel("test F1")
        axis.set_xlim(right=1.02)
        axis.grid(axis="x", lw=0.4, alpha=0.5)
        figure.legend(loc="outside upper left", ncols=1)
        save(figure, output)


def _need(frame: pl.DataFrame, path: str | Path, what: str) -> None:
    if frame.is_empty():
        raise DataError(
            f"the table holds {what}: there is nothing to plot",
            where=str(path),
            fix="check the log of the rule that made it, and that the config asks for features",
        )


def _panel_title(panel: tuple) -> str:
    _, _, site, collection = panel
    return f"{name_of(collection)}, {site}"


def _title(panels: list[tuple[str, str, str, str]]) -> str:
    models = ", ".join(dict.fromkeys(panel[0] for panel in panels))
    datasets = ", ".join(dict.fromkeys(panel[1] for panel in panels))
    return f"{models} on {datasets}"
