"""Figures of families of neurons: counts by layer, activations by class, curves over positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artneuro.report.style import COLOURS, GREY, figure_style, neuron_name

COLUMNS = 4
# Of the classes in the order of the table; the tokens of none of them are grey.
OTHER = "other tokens"
CLASS_COLOURS = {
    "first token": COLOURS[1],
    "begins with it": COLOURS[1],
    "later token": COLOURS[2],
}
FAMILY_COLOURS = {
    "unigram": COLOURS[0],
    "alphabet": COLOURS[6],
    "previous_token": COLOURS[1],
    "position": COLOURS[4],
    "syntax": COLOURS[2],
    "semantic": COLOURS[3],
    "vocabulary": COLOURS[5],
}
# Categories whose explanations say by themselves what they are.
TELLING = ("unigram", "morphology", "symbol", "suffix", "prefix")
# Shares below this are not drawn: one token among ten thousand.
LEAST_SHARE = 1e-4


def family_label(family: str) -> str:
    """The name of a family as a reader writes it."""
    return {"previous_token": "previous token", "vocabulary": "other vocabulary"}.get(
        family, family
    )


def draw_counts(panels: Sequence[tuple[str, pl.DataFrame, int]]) -> Figure:
    """Neurons of each family by layer, as shares of a layer's neurons.

    Parameters
    ----------
    panels : sequence of (title, table, n_layers)
        Tables with columns `layer`, `family`, `share` (in %).
    """
    with figure_style():
        figure = Figure(figsize=(10.2, 2.9))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, table, n_layers) in zip(axes, panels, strict=True):
            base = np.zeros(n_layers)
            for family, colour in FAMILY_COLOURS.items():
                rows = table.filter(pl.col("family") == family)
                if rows.is_empty():
                    continue
                height = np.zeros(n_layers)
                height[rows["layer"].to_numpy()] = rows["share"].to_numpy()
                axis.bar(
                    np.arange(n_layers), height, bottom=base, color=colour, width=0.85,
                    label=family_label(family),
                )  # fmt: skip
                base += height
            axis.set_title(title)
            axis.set_xlabel("layer")
            axis.set_xlim(-0.6, n_layers - 0.4)
            if n_layers <= 12:
                axis.set_xticks(range(n_layers))
        axes[0].set_ylabel("neurons of the layer (%)")
        found = {
            label: handle
            for axis in axes
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        order = [family_label(f) for f in FAMILY_COLOURS if family_label(f) in found]
        if order:
            figure.legend(
                [found[label] for label in order], order, loc="outside lower center",
                ncols=len(order), handlelength=1.0,
            )  # fmt: skip
    return figure


def draw_examples(examples: pl.DataFrame) -> Figure:
    """Distributions of the activations of some neurons, in and out of what explains them.

    Parameters
    ----------
    examples : DataFrame
        Rows of the schema `examples` of one family, neuron after neuron.

    Notes
    -----
    Thesis, figures 3.4, B.8 to B.11, B.13 and B.14.
    """
    neurons = examples.partition_by("layer", "neuron", maintain_order=True)
    with figure_style():
        figure, axes = _grid(len(neurons), 1.75)
        for axis, rows in zip(axes, neurons, strict=False):
            _draw_classes(axis, rows)
        for axis in axes[max(0, len(neurons) - COLUMNS) : len(neurons)]:
            axis.set_xlabel("activation")
    return figure


def _grid(n: int, height: float) -> tuple[Figure, list[Axes]]:
    lines = -(-n // COLUMNS)
    figure = Figure(figsize=(10.4, height * lines + 0.35))
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.set_axis_off()
    for axis in axes[:n:COLUMNS]:
        axis.set_ylabel("share of tokens" if height < 1.8 else "activation")
    return figure, list(axes)


def _draw_classes(axis: Axes, rows: pl.DataFrame) -> None:
    """Histograms of one neuron on a logarithmic scale, each class as shares of its own tokens."""
    order = rows.sort(pl.col("tokens") != OTHER, maintain_order=True)
    for row in order.iter_rows(named=True):
        share = np.array(row["counts"], dtype=float) / max(row["n"], 1)
        is_other = row["tokens"] == OTHER
        label = f"{row['tokens']} ({row['n']:,})".replace(",", "\u202f")
        colour = GREY if is_other else CLASS_COLOURS.get(row["tokens"], COLOURS[0])
        axis.stairs(
            np.maximum(share, LEAST_SHARE), row["edges"], baseline=LEAST_SHARE, fill=True,
            color=colour, alpha=0.5 if is_other else 0.6, lw=0, label=label,
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(LEAST_SHARE, 40.0)  # room for the legend
    axis.set_yticks([1e-4, 1e-2, 1])
    axis.minorticks_off()
    first = rows.row(0, named=True)
    axis.set_title(_title(first), fontsize=8, parse_math=False)
    axis.legend(loc="upper right", fontsize=6, handlelength=0.8, labelspacing=0.15,
                borderaxespad=0.1)  # fmt: skip


def _title(row: dict) -> str:
    name, category = str(row["explanation"]), row["category"]
    if category == "topic":  # with the words that it is called after
        name = ", ".join(name.partition(": ")[2].split(", ")[:3])
    if category not in TELLING:
        name = f"{category}: {name}"
    if row["previous_token"]:
        name = f"after {name}"
    star = "*" if row["is_universal"] else ""
    return f"{neuron_name(row['layer'], row['neuron'])}{star}  {name}"


def draw_positions(curves: pl.DataFrame) -> Figure:
    """Mean activation by position of some neurons, with standard deviations.

    Parameters
    ----------
    curves : DataFrame
        Rows of the schema `positions` with `position_information` and `is_universal`.

    Notes
    -----
    Thesis, figures 3.1c and B.12.
    """
    with figure_style():
        figure, axes = _grid(curves.height, 1.85)
        for axis, row in zip(axes, curves.iter_rows(named=True), strict=False):
            place, mean, std = (np.array(row[name]) for name in ("positions", "mean", "std"))
            colour = FAMILY_COLOURS["position"]
            axis.fill_between(place, mean - std, mean + std, color=colour, alpha=0.2, lw=0)
            axis.plot(place, mean, color=colour)
            star = "*" if row["is_universal"] else ""
            axis.set_title(
                f"{neuron_name(row['layer'], row['neuron'])}{star}  "
                f"{row['position_information']:.2f} nats",
                fontsize=8,
            )
        for axis in axes[max(0, curves.height - COLUMNS) : curves.height]:
            axis.set_xlabel("position")
    return figure
