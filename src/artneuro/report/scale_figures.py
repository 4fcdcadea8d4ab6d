"""Figures of the page about the size of models."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artneuro.report.style import COLOURS, count, figure_style, name_of, scale_start, ticks_of_k

PANEL = ["dataset", "site", "collection"]
COLUMNS = 3
LINES = ("-", "--", ":", "-.")


def _style_of(place: int) -> dict:
    """Colour and dashes of the line at a place: all differ among the first 24."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "ls": LINES[place // len(COLOURS) % len(LINES)],
    }


def _panels(
    table: pl.DataFrame, extra: float = 0.0
) -> tuple[Figure, list[tuple[Axes, pl.DataFrame]]]:
    """A figure with axes for each (dataset, site, collection), and the rows of each.

    `extra` inches are left for what is below the axes.
    """
    groups = list(table.sort(PANEL, maintain_order=True).group_by(PANEL, maintain_order=True))
    columns = min(COLUMNS, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(3.3 * columns + 0.6, (2.5 + extra) * lines + 0.5))
    axes = np.ravel(figure.subplots(lines, columns, squeeze=False, sharey=True))
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    found = []
    for axis, (key, rows) in zip(axes, groups, strict=False):
        several = table["site"].n_unique() > 1
        axis.set_title(panel_name(*(str(part) for part in key), several_sites=several), fontsize=8)
        found.append((axis, rows))
    for axis in axes[::columns]:
        axis.set_ylabel("mean test F1")
    return figure, found


def panel_name(dataset: str, site: str, collection: str, *, several_sites: bool) -> str:
    """What a collection on a dataset is called: by both names where they differ."""
    name = name_of(collection)
    if collection != dataset:
        name += f" on {name_of(dataset)}"
    return f"{name}, {site}" if several_sites else name


def _size_axis(axis: Axes, sizes: pl.Series) -> None:
    """Parameters on a logarithmic axis, with the sizes of the models themselves as ticks."""
    ticks = sizes.unique().sort().to_list()
    axis.set_xscale("log")
    axis.minorticks_off()
    labels = [count(size).replace(" million", "M").replace(" billion", "B") for size in ticks]
    axis.set_xticks(ticks, labels, fontsize=6, rotation=30 if len(ticks) > 3 else 0)
    axis.set_xlim(0.8 * ticks[0], 1.25 * ticks[-1])
    axis.set_xlabel("parameters")


def models_by_size(table: pl.DataFrame) -> list[str]:
    """Models of a table with `parameters`, the smallest first."""
    return (
        table.select("model", "parameters").unique().sort("parameters", "model")["model"].to_list()
    )


def draw_sparsity(best: pl.DataFrame, rows: pl.DataFrame) -> Figure:
    """Mean test F1 by number of neurons, a panel for each collection, a line for each model.

    Parameters
    ----------
    best : DataFrame
        From `artneuro.probing.scale.best_per_k`.
    rows : DataFrame
        From `artneuro.probing.scale.scale_table`: the order of the models.

    Notes
    -----
    Thesis, figure 2.4a.
    """
    models = models_by_size(rows)
    means = best.group_by([*PANEL, "model", "k"]).agg(pl.col("f1").mean()).sort("model", "k")
    with figure_style():
        figure, panels = _panels(means)
        for axis, part in panels:
            for place, model in enumerate(models):
                mine = part.filter(pl.col("model") == model)
                if mine.height:
                    axis.plot(mine["k"], mine["f1"], marker="o", label=model, **_style_of(place))
            axis.set_xticks(ticks_of_k(part["k"]))
            axis.set_ylim(scale_start(means["f1"]), 1.01)
            axis.set_xlabel("neurons")
        _legend(figure, panels)
    return figure


def draw_sizes(means: pl.DataFrame) -> Figure:
    """F1 of the best single neuron and neurons needed against size, a line for each collection.

    Parameters
    ----------
    means : DataFrame
        From `artneuro.probing.scale.by_collection`.

    Notes
    -----
    Thesis, figure 2.4.
    """
    with figure_style():
        figure = Figure(figsize=(10.5, 3.6))
        f1, needed = figure.subplots(1, 2)
        groups = means.sort(*PANEL, "parameters").group_by(PANEL, maintain_order=True)
        for place, (key, part) in enumerate(groups):
            several = means["site"].n_unique() > 1
            label = panel_name(*(str(part) for part in key), several_sites=several)
            for axis, column in ((f1, "f1"), (needed, "k_enough")):
                axis.plot(
                    part["parameters"], part[column], marker="o", label=label, **_style_of(place)
                )
        f1.set_ylabel("mean test F1, one neuron")
        needed.set_ylabel("mean neurons needed")
        for axis in (f1, needed):
            _size_axis(axis, means["parameters"])
        handles, labels = f1.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=7)
    return figure


def draw_features(rows: pl.DataFrame) -> Figure:
    """F1 of each feature's best single neuron against size, a panel for each collection.

    Parameters
    ----------
    rows : DataFrame
        From `artneuro.probing.scale.scale_table`.

    Notes
    -----
    Thesis, figures 2.4b and A.13.
    """
    with figure_style():
        figure, panels = _panels(rows, extra=0.6)
        for axis, part in panels:
            features = part["feature"].unique().sort().to_list()
            for place, feature in enumerate(features):
                mine = part.filter(pl.col("feature") == feature).sort("parameters")
                axis.plot(
                    mine["parameters"], mine["f1"], marker="o", ms=2.5, label=name_of(feature),
                    **_style_of(place),
                )  # fmt: skip
            _size_axis(axis, rows["parameters"])
            if len(features) <= 12:
                axis.legend(fontsize=5.5, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.25))
    return figure


def draw_depth(layers: pl.DataFrame, rows: pl.DataFrame) -> Figure:
    """Mean F1 of the best single neuron of each layer by depth, a panel for each collection.

    Parameters
    ----------
    layers : DataFrame
        From `artneuro.probing.scale.by_layer`.
    rows : DataFrame
        From `artneuro.probing.scale.scale_table`: numbers of layers, and the order of the models.

    Notes
    -----
    Thesis, figure A.15.
    """
    means = layers.group_by([*PANEL, "model", "layer"]).agg(pl.col("f1").mean())
    models = models_by_size(rows)
    n_layers = dict(rows.select("model", "layers").unique().iter_rows())
    with figure_style():
        figure, panels = _panels(means)
        for axis, part in panels:
            for place, model in enumerate(models):
                mine = part.filter(pl.col("model") == model).sort("layer")
                if mine.height:
                    depth = mine["layer"] / max(n_layers[model] - 1, 1)
                    axis.plot(depth, mine["f1"], label=model, **_style_of(place))
            axis.set_xlim(-0.02, 1.02)
            axis.set_ylim(scale_start(means["f1"]), 1.01)
            axis.set_xlabel("depth")
        _legend(figure, panels)
    return figure


def _legend(figure: Figure, panels: list[tuple[Axes, pl.DataFrame]]) -> None:
    """One legend for all panels, where there is more than one line to tell apart."""
    found: dict[str, Artist] = {}
    for axis, _ in panels:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if len(found) > 1:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=4)
