"""Figures of the page about universal neurons: training, correlations, properties, duplicates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from artneuro.report.style import COLOURS, GREY, figure_style
from artneuro.universality.properties import ACTIVATION_PROPERTIES, share_above

METRICS = {
    "mean_max_correlation": "largest correlation",
    "mean_max_baseline": "with rotated neurons",
    "excess_correlation": "excess",
}
PROPERTY_NAMES = {
    "weight_penalty": "weight penalty",
    "input_bias": "input bias",
    "cos_in_out": "cos(in, out)",
    "effect_kurtosis": "vocabulary kurtosis",
    "effect_skew": "vocabulary skew",
    "effect_variance": "vocabulary variance",
    "mean": "mean",
    "variance": "variance",
    "skew": "skew",
    "kurtosis": "kurtosis",
    "activation_frequency": "activation frequency",
}
# Neurons of the universal class and of the rest, the same in all figures.
UNIVERSAL, REST = COLOURS[1], COLOURS[0]
# Points that are drawn one by one; more become an image within the figure.
FEW = 4000


def draw_curves(curves: pl.DataFrame) -> Figure:
    """Held-out loss of each model against the tokens that it learned from, a panel a recipe.

    Parameters
    ----------
    curves : polars.DataFrame
        Tables `training` of all models.
    """
    recipes = curves["recipe"].unique(maintain_order=True).to_list()
    with figure_style():
        figure = Figure(figsize=(4.6 * len(recipes) + 0.6, 3.2))
        axes = figure.subplots(1, len(recipes), squeeze=False)[0]
        for axis, recipe in zip(axes, recipes, strict=True):
            rows = curves.filter(pl.col("recipe") == recipe)
            models = rows["model"].unique(maintain_order=True).to_list()
            scale, unit = (
                (1e6, "million") if rows["tokens"].to_numpy().max() < 3e9 else (1e9, "billion")
            )
            for place, model in enumerate(models):
                mine = rows.filter(pl.col("model") == model).sort("step")
                colour = COLOURS[place % len(COLOURS)]
                axis.plot(mine["tokens"] / scale, mine["held_out_loss"], color=colour, label=model)
            for column, dashes, label in (
                ("unigram_cross_entropy", ":", "unigram model"),
                ("unigram_entropy", "--", "unigram entropy"),
            ):
                axis.axhline(rows[column][0], color=GREY, ls=dashes, lw=1, label=label)
            axis.set_title(recipe)
            axis.set_xlabel(f"{unit} tokens")
            axis.legend(ncols=2)
        axes[0].set_ylabel("held-out loss, nats a token")
    return figure


def draw_summary(neurons: pl.DataFrame, layers: np.ndarray, threshold: float) -> Figure:
    """Distributions, spread over models, and depth of the best matches (figure 3.2).

    Parameters
    ----------
    neurons : polars.DataFrame
        Rows of one model of the table `neurons`.
    layers : (n_layers, n_match_layers) array
        From `layer_matches`.
    threshold : float
        Excess above which neurons are universal.
    """
    with figure_style():
        figure = Figure(figsize=(10.2, 3.1))
        left, middle, right = figure.subplots(1, 3)
        _draw_distributions(left, neurons, threshold)
        _draw_spread(middle, neurons)
        _draw_depth(figure, right, layers)
    return figure


def _draw_distributions(axis: Axes, neurons: pl.DataFrame, threshold: float) -> None:
    shown = [name for name in METRICS if neurons[name].null_count() < len(neurons)]
    values = {name: _finite(neurons[name]) for name in shown}
    low = min(v.min(initial=0) for v in values.values())
    high = max(v.max(initial=1) for v in values.values())
    bins = np.linspace(low, high, 61)
    for place, (name, value) in enumerate(values.items()):
        axis.hist(
            value, bins.tolist(), histtype="step", density=True, color=COLOURS[place],
            label=METRICS[name],
        )  # fmt: skip
    axis.axvline(threshold, color=GREY, lw=0.8, ls=":")
    axis.set_xlabel("correlation, mean over models")
    axis.set_ylabel("density of neurons")
    axis.set_title("a. Largest correlations")
    axis.set_ylim(0, 1.45 * axis.get_ylim()[1])
    axis.legend(loc="upper right")


def _draw_spread(axis: Axes, neurons: pl.DataFrame) -> None:
    rows = neurons.filter(~pl.col("is_constant"))
    _scatter(axis, rows["min_max"], rows["max_max"], rows["is_universal"])
    axis.axline((0, 0), slope=1, color=GREY, lw=0.8)
    axis.set_xlabel("smallest over models")
    axis.set_ylabel("largest over models")
    axis.set_title("b. Do models agree?")
    axis.legend(handles=_class_marks(), loc="lower right")


def _draw_depth(figure: Figure, axis: Axes, layers: np.ndarray) -> None:
    image = axis.imshow(100 * layers, cmap="Blues", origin="lower", vmin=0, aspect="auto")
    bar = figure.colorbar(image, ax=axis)
    bar.set_label("% of the layer's neurons")
    bar.outline.set_visible(False)
    for ticks, n in ((axis.set_xticks, layers.shape[1]), (axis.set_yticks, layers.shape[0])):
        ticks(range(0, n, max(1, n // 8)))
    axis.set_xlabel("layer of the best match")
    axis.set_ylabel("layer")
    axis.set_title("c. Where matches are")


def draw_exceedance(groups: Mapping[str, pl.DataFrame], threshold: float) -> Figure:
    """Share of neurons above each correlation, a panel a metric, a line a group (figure B.6)."""
    grid = np.linspace(-0.05, 1, 211)
    shown = [
        name for name in METRICS
        if any(rows[name].null_count() < len(rows) for rows in groups.values())
    ]  # fmt: skip
    with figure_style():
        figure = Figure(figsize=(3.3 * len(shown) + 0.6, 2.9))
        axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axis, name in zip(axes, shown, strict=True):
            for place, (group, rows) in enumerate(groups.items()):
                values = rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
                share = 100 * share_above(values, grid)
                axis.plot(
                    grid, np.where(share > 0, share, np.nan),
                    color=COLOURS[place % len(COLOURS)], label=group,
                )  # fmt: skip
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_title(METRICS[name])
            axis.set_xlabel("more than")
            if name == "excess_correlation":
                axis.axvline(threshold, color=GREY, lw=0.8, ls=":")
        axes[0].set_ylabel("% of neurons")
        if len(groups) > 1:
            axes[0].legend()
    return figure


def draw_percentiles(groups: Mapping[str, pl.DataFrame]) -> Figure:
    """Places of universal neurons within their layers, a box a property and group (figure 3.3).

    Parameters
    ----------
    groups : mapping of str to polars.DataFrame
        What `neuron_properties` gave.
    """
    names = properties_in(groups)
    with figure_style():
        figure = Figure(figsize=(8.4, 0.34 * len(names) * (0.4 + 0.6 * len(groups)) + 1.0))
        axis = figure.subplots()
        axis.axvline(50, color=GREY, lw=0.8)
        width = 0.8 / len(groups)
        for place, rows in enumerate(groups.values()):
            mine = rows.filter("is_universal")
            boxes = [
                100 * _finite(mine[f"{name}_percentile"])
                if f"{name}_percentile" in mine.columns
                else np.empty(0)
                for name in names
            ]
            at = -np.arange(len(names)) + width * ((len(groups) - 1) / 2 - place)
            _boxes(axis, boxes, at, 0.85 * width, COLOURS[place % len(COLOURS)], vertical=False)
        axis.set_yticks(-np.arange(len(names)), [property_name(name) for name in names])
        axis.set_ylim(-len(names) + 0.4, 0.6)
        axis.set_xlim(0, 100)
        axis.set_xlabel("percentile among the neurons of the same layer")
        if len(groups) > 1:
            marks = [
                Patch(color=COLOURS[i % len(COLOURS)], label=group)
                for i, group in enumerate(groups)
            ]
            figure.legend(handles=marks, loc="outside lower center", ncols=len(groups))
    return figure


def draw_by_layer(rows: pl.DataFrame) -> Figure:
    """Properties of universal neurons and of the rest, by layer (figure B.7).

    Parameters
    ----------
    rows : polars.DataFrame
        What `neuron_properties` gave for one model.
    """
    names = properties_in({"": rows})
    layers = rows["layer"].unique().sort().to_list()
    columns = 2 if len(layers) <= 12 else 1
    n_rows = -(-len(names) // columns)
    with figure_style():
        figure = Figure(figsize=(9.6, 1.55 * n_rows + 0.7))
        axes = figure.subplots(n_rows, columns, squeeze=False, sharex=True)
        for axis, name in zip(axes.ravel(), names, strict=False):
            for is_universal, colour, shift in ((False, REST, -0.2), (True, UNIVERSAL, 0.2)):
                part = rows.filter(pl.col("is_universal") == is_universal)
                boxes = [_finite(part.filter(pl.col("layer") == la)[name]) for la in layers]
                at = np.arange(len(layers)) + shift
                _boxes(axis, boxes, at, 0.34, colour, vertical=True)
            axis.set_title(property_name(name))
            axis.set_xticks(range(len(layers)), layers)
            if name in ("effect_kurtosis", "kurtosis", "variance", "effect_variance"):
                low, high = np.quantile(_finite(rows[name]), (0.01, 0.99))
                if high < 30 * low:  # too narrow for marks of decades
                    continue
                axis.set_yscale("log")
                axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
        for axis in axes.ravel()[len(names) :]:
            axis.set_visible(False)
        for axis in axes.ravel()[len(names) - columns : len(names)]:
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("layer")
        figure.legend(handles=_class_marks(), loc="outside lower center", ncols=2)
    return figure


def draw_frequency(groups: Mapping[str, pl.DataFrame]) -> Figure:
    """How often neurons are active against cos(in, out), a panel a group (figure B.1)."""
    with figure_style():
        figure = Figure(figsize=(3.4 * len(groups) + 1.0, 3.1))
        axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axis, (group, rows) in zip(axes, groups.items(), strict=True):
            points = axis.scatter(
                rows["cos_in_out"], 100 * rows["activation_frequency"], c=rows["layer"],
                cmap="viridis", s=4, lw=0, alpha=0.7, rasterized=len(rows) > FEW,
            )  # fmt: skip
            axis.set_title(group)
            axis.set_xlabel("cos(in, out)")
        axes[0].set_ylabel("% of tokens with activation above 0")
        bar = figure.colorbar(points, ax=axes[-1])
        bar.set_label("layer")
        bar.locator = MaxNLocator(integer=True)
        bar.update_ticks()
    return figure


def draw_neighbours(groups: Mapping[str, pl.DataFrame]) -> Figure:
    """Cosines of each neuron's weights with the most similar ones of its layer (figure B.2)."""
    with figure_style():
        figure = Figure(figsize=(3.6 * len(groups) + 0.6, 4.2))
        axes = figure.subplots(2, len(groups), sharex=True, squeeze=False)
        for column, (group, rows) in enumerate(groups.items()):
            for axis, side in zip(axes[:, column], ("in", "out"), strict=True):
                name = f"nearest_{side}_cosine"
                bins = np.linspace(min(0, _finite(rows[name]).min(initial=0)), 1, 51).tolist()
                for is_universal, colour in ((False, REST), (True, UNIVERSAL)):
                    part = rows.filter(pl.col("is_universal") == is_universal)
                    axis.hist(
                        _finite(part[name]), bins, density=True, histtype="stepfilled",
                        alpha=0.55, color=colour,
                    )  # fmt: skip
                axis.set_xlabel(f"cosine of {'input' if side == 'in' else 'output'} weights")
            axes[0, column].set_title(group)
        for axis in axes[:, 0]:
            axis.set_ylabel("density")
        figure.legend(handles=_class_marks(), loc="outside lower center", ncols=2)
    return figure


def properties_in(groups: Mapping[str, pl.DataFrame]) -> list[str]:
    """Properties that a group has, in the order in which they are drawn."""
    return [n for n in PROPERTY_NAMES if any(n in rows.columns for rows in groups.values())]


def property_name(name: str) -> str:
    """Name of a property for a reader; of moments, that they are of the pre-activation."""
    moments = ACTIVATION_PROPERTIES[:4]
    return f"pre-activation {PROPERTY_NAMES[name]}" if name in moments else PROPERTY_NAMES[name]


def _boxes(
    axis: Axes, values: list[np.ndarray], at: np.ndarray, width: float, colour: str, vertical: bool
) -> None:
    """Quartiles as a box, the 5th and 95th percentile as whiskers; nothing where nothing is."""
    some = [i for i, value in enumerate(values) if len(value)]
    if not some:
        return
    axis.boxplot(
        [values[i] for i in some],
        positions=at[some],
        widths=width,
        orientation="vertical" if vertical else "horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.55, "edgecolor": colour, "lw": 0.8},
        medianprops={"color": "#222222", "lw": 1.1},
        whiskerprops={"color": colour, "lw": 0.8},
        capprops={"color": colour, "lw": 0.8},
    )


def _scatter(axis: Axes, x: pl.Series, y: pl.Series, is_universal: pl.Series) -> None:
    for chosen, colour in ((~is_universal, REST), (is_universal, UNIVERSAL)):
        axis.scatter(
            x.filter(chosen), y.filter(chosen), s=4, lw=0, alpha=0.5, color=colour,
            rasterized=len(x) > FEW,
        )  # fmt: skip


def _class_marks() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker="s", ls="", label=label)
        for colour, label in ((UNIVERSAL, "universal"), (REST, "the rest"))
    ]


def _finite(values: pl.Series) -> np.ndarray:
    array = values.cast(pl.Float64).drop_nulls().to_numpy()
    return array[np.isfinite(array)]
