"""Figures of the page about what neurons respond to, and how it writes tokens.

Thesis, figure 2.5.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from artneuro.report.style import COLOURS, GREY, figure_style, name_of, neuron_name

# What the classes of tokens of `refinement_effects` are called.
CLASS_NAMES = {
    "leading_capital": "capitalised",
    "leading_lower_case": "lower-case",
    "all_capitals": "all-capital",
    "has_leading_space": "word-starting",
    "no_leading_space_and_loweralpha": "word-continuing",
    "all_digits": "digit",
    "is_not_alphanumeric": "punctuation and white-space",
    "is_not_ascii": "non-ASCII",
}
_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}


def visible(text: str, *, spaces: bool = True) -> str:
    """A text with what a page does not show written out.

    Line breaks, tabs, control and zero-width characters get a sign or their code point; spaces too
    where `spaces` is true.
    """
    shown = []
    for character in text:
        if character == " " and not spaces:
            shown.append(character)
        elif character in _MARKS:
            shown.append(_MARKS[character])
        elif unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Co", "Cn"):
            shown.append(f"⟨{ord(character):04X}⟩")
        else:
            shown.append(character)
    return "".join(shown)


def token_name(text: str) -> str:
    """A token as tables show it: everything visible, and a sign for one without text."""
    return visible(text) or "∅"


def signed_name(row: Mapping) -> str:
    """A neuron's short form, behind a minus sign where it is low in the class."""
    name = neuron_name(row["layer"], row["neuron"])
    return f"−\u00a0{name}" if row["sign"] < 0 else name


def draw_firing(found: pl.DataFrame, explained: float, share_found: float) -> Figure:
    """Share of firing that is in the class against share of the class that is fired on.

    Parameters
    ----------
    found : DataFrame
        From `read_counts`.
    explained, share_found : float
        Where to draw the limits of what counts as the feature.
    """
    datasets = found["dataset"].unique(maintain_order=True).to_list()
    columns = min(2, len(datasets))
    lines = -(-len(datasets) // columns)
    with figure_style():
        figure = Figure(figsize=(5.2 * columns, 3.6 * lines + 0.2))
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True))
        for axis in axes[len(datasets) :]:
            axis.set_visible(False)
        for axis, dataset in zip(axes, datasets, strict=False):
            part = found.filter(pl.col("dataset") == dataset).drop_nulls(["found", "explained"])
            axis.axhline(100 * explained, color=GREY, lw=0.6, ls=":")
            axis.axvline(100 * share_found, color=GREY, lw=0.6, ls=":")
            axis.scatter(100 * part["found"], 100 * part["explained"], s=16, color=COLOURS[0])
            _label_points(axis, part)
            axis.set_title(name_of(dataset))
            axis.set_xlim(-3, 103)
            axis.set_ylim(-3, 105)
        figure.supxlabel("of the tokens of the class, % that the neuron fires on", fontsize=9)
        figure.supylabel("of the tokens that it fires on, % in the class", fontsize=9)
    return figure


def _label_points(axis: Axes, part: pl.DataFrame) -> None:
    """Names of up to 30 points in a column beside the axes, each with a line to its point."""
    if part.height > 30:
        return
    ordered = part.sort("explained", "found", "feature")
    level = -np.inf
    # As many as fit above each other, from the bottom on; a crowd at the top begins lower.
    step = min(5.0, 110 / max(part.height, 1))
    for place, (name, x, y) in enumerate(
        ordered.select("feature", pl.col("found", "explained") * 100).iter_rows()
    ):
        highest = 105 - step * (ordered.height - 1 - place)
        level = max(level + step, min(y, highest))
        axis.annotate(
            name_of(name), (x, y), (107, level), fontsize=6, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.4, "shrinkB": 3},
        )  # fmt: skip


def draw_neuron(row: Mapping, effects: pl.DataFrame, layers: pl.DataFrame) -> Figure:
    """One neuron of a feature: densities, counts, probes of all layers, effects on the logits.

    Parameters
    ----------
    row : mapping
        Of the table `refinement_neurons`.
    effects : DataFrame
        Its rows of `refinement_effects`.
    layers : DataFrame
        The best single neuron of each layer for the feature, in the columns of `scores`.

    Notes
    -----
    Thesis, figures 2.5b to 2.5d.
    """
    with figure_style():
        # Fitting the layout to its texts takes as long as all the rest, and there are many figures.
        figure = Figure(figsize=(11.4, 2.3))
        figure.set_layout_engine("none")
        density, counts, by_layer, output = figure.subplots(
            1, 4, gridspec_kw={"left": 0.05, "right": 0.99, "bottom": 0.2, "top": 0.88,
                               "wspace": 0.25},
        )  # fmt: skip
        place = output.get_position()
        output.set_position((place.x0 + 0.07, place.y0, place.width - 0.07, place.height))
        _draw_counts(density, row, scaled=True)
        _draw_counts(counts, row, scaled=False)
        ordered = layers.sort("layer")
        for name, colour in (("precision", COLOURS[2]), ("recall", COLOURS[1])):
            by_layer.plot(ordered["layer"], ordered[name], color=colour, lw=1.2, label=name)
            by_layer.plot(row["layer"], row[name], "o", mfc="none", color=colour, ms=6)
        by_layer.set_ylim(-0.02, 1.05)
        by_layer.set_xlabel("layer")
        by_layer.set_title("probes by layer")
        by_layer.legend(fontsize=6)
        classes = effects.filter(pl.col("kind") == "class").sort("place", descending=True)
        output.barh(
            [CLASS_NAMES[text] for text in classes["text"]], classes["deviations"], color=COLOURS[3]
        )
        output.axvline(0, color=GREY, lw=0.6)
        output.tick_params(axis="y", labelsize=6)
        output.set_title("effect on logits")
    return figure


def _draw_counts(axis: Axes, row: Mapping, *, scaled: bool) -> None:
    edges = np.asarray(row["edges"])
    kinds = (
        ("counts_in", "in class", COLOURS[0]),
        ("counts_out", "out", GREY),
        ("counts_unknown", "unknown", COLOURS[1]),
    )
    heights: list[float] = []
    for name, label, colour in kinds:
        values = np.asarray(row[name], dtype=np.float64)
        total = values.sum()
        if not total or (scaled and name == "counts_unknown"):
            continue
        if scaled:
            values = values / total / np.diff(edges)
        axis.stairs(values, edges, color=colour, fill=True, alpha=0.45)
        axis.stairs(values, edges, color=colour, lw=0.9, label=label)
        heights.append(values[values > 0].min())
    if np.isfinite(row["threshold"]):
        axis.axvline(row["threshold"], color="black", lw=0.7, ls="--")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(numticks=5))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.set_ylim(bottom=0.6 * min(heights, default=1.0))
    axis.set_xlabel("activation" + (" times −1" if row["sign"] < 0 else ""))
    axis.set_title("density of each class" if scaled else "number of tokens")
    axis.legend(fontsize=6)
