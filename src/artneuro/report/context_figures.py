"""Figures of context neurons: losses under ablation, activations and tokens."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from artneuro.report.choose import REAL
from artneuro.report.style import COLOURS, GREY, figure_style, name_of, neuron_name

# What a token's spaces and line breaks are shown as.
_VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "↵"})


def visible(token: str) -> str:
    """The text of a token with its white space made visible."""
    return token.translate(_VISIBLE)


def draw_heat_map(losses: pl.DataFrame) -> Figure:
    """Rise of the loss by ablated neuron and class of text, chosen neurons and random ones.

    Where random neurons were ablated in the class of their feature only, they have one column.

    Parameters
    ----------
    losses : DataFrame
        Rows of the schema `ablations` of one model, dataset, site and collection.
    """
    chosen = losses.filter(pl.col("control") == REAL)
    contexts = chosen["context"].unique().sort().to_list()
    neurons = chosen.select("feature", "layer", "neuron").unique(maintain_order=True)
    features = neurons["feature"].to_list()
    control = losses.filter(pl.col("control") != REAL).unique(
        ["feature", "context"], keep="first", maintain_order=True
    )
    grids = [_grid(chosen, features, contexts)]
    names, titles = [[name_of(c) for c in contexts]], ["neuron of the class"]
    own = [np.array([contexts.index(feature) for feature in features])]
    if not control.is_empty():
        grid = _grid(control, features, contexts)
        if (control["feature"] == control["context"]).all():
            grids.append(grid[:, np.arange(len(features)), own[0]][..., None])
            own.append(np.zeros(len(features), dtype=int))
            names, titles = [*names, ["own class"]], [*titles, "random"]
        else:
            grids.append(grid)
            own.append(own[0])
            names, titles = names * 2, [*titles, "random neuron of the same layer"]
    scale = np.nanmax(np.abs(grids[0][0]), axis=1, keepdims=True)
    widths = [len(columns) for columns in names]
    with figure_style():
        figure = Figure(figsize=(0.62 * sum(widths) + 2.3, 0.3 * len(features) + 1.5))
        axes = np.ravel(
            figure.subplots(
                1, len(grids), squeeze=False, sharey=True, gridspec_kw={"width_ratios": widths}
            )
        )
        for axis, grid, columns, at, title in zip(axes, grids, names, own, titles, strict=True):
            _heat(axis, grid, scale, columns)
            axis.set_title(title)
            for row, column in enumerate(at):
                axis.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False,
                              edgecolor=COLOURS[1], linewidth=1.4)
                )  # fmt: skip
        axes[0].set_yticks(
            range(len(features)),
            [f"{name_of(f)}  {neuron_name(layer, n)}" for f, layer, n in neurons.iter_rows()],
        )
    return figure


def _grid(part: pl.DataFrame, features: list[str], contexts: list[str]) -> np.ndarray:
    """Relative rises in % and their standard errors, (2, feature, context); NaN: not measured."""
    grid = np.full((2, len(features), len(contexts)), np.nan)
    for feature, context, rise, error in part.select(
        "feature",
        "context",
        100 * pl.col("relative_increase"),
        (pl.col("increase_se") / pl.col("loss") * 100).alias("error"),
    ).iter_rows():
        grid[:, features.index(feature), contexts.index(context)] = rise, error
    return grid


def _heat(axis: Axes, grid: np.ndarray, scale: np.ndarray, columns: list[str]) -> None:
    rise, error = grid
    # What may be chance has no colour, however it compares with the rest of its row.
    clear = np.abs(rise) > 2 * error
    axis.imshow(
        np.where(clear, rise / scale, 0.0), cmap="RdBu_r", vmin=-1.4, vmax=1.4, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(rise):
        if np.isfinite(value):
            axis.text(column, row, _percent(value), ha="center", va="center", fontsize=7)
    axis.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _percent(value: float) -> str:
    digits = 1 if abs(value) >= 0.995 else 2
    text = f"{value:.{digits}f}".replace("-", "−")
    return text.lstrip("−") if float(f"{value:.{digits}f}") == 0 else text


def draw_neurons(
    losses: pl.DataFrame, activations: pl.DataFrame, tokens: pl.DataFrame, n_tokens: int
) -> Figure:
    """Activations in and out of class, distinguished tokens, and losses of each chosen neuron.

    Parameters
    ----------
    losses, activations, tokens : DataFrame
        Rows of the schemas `ablations`, `activations` (of the interventions stage) and `tokens` of
        one model, dataset, site and collection.
    n_tokens : int
        Tokens that are drawn for each neuron.

    Notes
    -----
    Thesis, figure 2.3.
    """
    unit = ["feature", "layer", "neuron"]
    losses, activations = (t.filter(pl.col("control") == REAL) for t in (losses, activations))
    neurons = losses.select(unit).unique(maintain_order=True).rows()
    with figure_style():
        figure = Figure(figsize=(10.5, 1.75 * len(neurons) + 0.4))
        axes = figure.subplots(
            len(neurons), 3, squeeze=False, gridspec_kw={"width_ratios": [1.1, 1, 1.1]}
        )
        for i, (line, row) in enumerate(zip(axes, neurons, strict=True)):
            colour = COLOURS[i % len(COLOURS)]
            here = [
                t.filter(*(pl.col(name) == value for name, value in zip(unit, row, strict=True)))
                for t in (losses, activations, tokens)
            ]
            _distribution(line[0], here[1], row[0], colour)
            _tokens(line[1], here[2].head(n_tokens), colour)
            _increases(line[2], here[0], row[0], colour)
            line[0].set_title(f"{name_of(row[0])}: neuron {neuron_name(row[1], row[2])}")
        axes[-1, 0].set_xlabel("activation")
        axes[-1, 1].set_xlabel("mean activation")
        axes[-1, 2].set_xlabel("rise of the loss (%)")
    return figure


def _distribution(axis: Axes, told: pl.DataFrame, own: str, colour: str) -> None:
    edges = np.array(told["edges"][0].to_list())
    for mask, shade, alpha, label in (
        (pl.col("context") != own, GREY, 0.45, "elsewhere"),
        (pl.col("context") == own, colour, 0.6, "in class"),
    ):
        counts = np.array(told.filter(mask)["counts"].to_list(), dtype=float).reshape(
            -1, len(edges) - 1
        )
        share = counts.sum(axis=0) / max(counts.sum(), 1.0)
        axis.stairs(share, edges, fill=True, color=shade, alpha=alpha, lw=0, label=label)
    axis.set_yscale("log")
    axis.set_ylim(bottom=2e-4)
    axis.set_ylabel("share of tokens")
    axis.legend(loc="upper right", handlelength=1.0)


def _tokens(axis: Axes, tokens: pl.DataFrame, colour: str) -> None:
    if tokens.is_empty():
        axis.set_axis_off()
        axis.text(0, 0.5, "no token occurs often enough\nwithin and outside of the class",
                  fontsize=8, color=GREY)  # fmt: skip
        return
    place = np.arange(tokens.height)
    inside, outside = tokens["mean_in"].to_numpy(), tokens["mean_out"].to_numpy()
    axis.hlines(place, outside, inside, color=GREY, lw=0.8)
    axis.plot(outside, place, "o", mfc="white", mec=GREY, ms=4.5)
    axis.plot(inside, place, "o", color=colour, ms=4.5)
    axis.set_yticks(place, [f"“{visible(text)}”" for text in tokens["text"]], parse_math=False)
    axis.set_ylim(tokens.height - 0.5, -0.5)


def _increases(axis: Axes, losses: pl.DataFrame, own: str, colour: str) -> None:
    losses = losses.sort("context")
    place = np.arange(losses.height)
    shades = [colour if context == own else GREY for context in losses["context"]]
    error = 100 * (losses["increase_se"] / losses["loss"]).fill_nan(0.0).to_numpy()
    axis.barh(place, 100 * losses["relative_increase"].to_numpy(), xerr=error, color=shades,
              height=0.75, error_kw={"lw": 0.8, "ecolor": "#333333"})  # fmt: skip
    axis.axvline(0, color="#555555", lw=0.6)
    axis.set_yticks(place, [name_of(context) for context in losses["context"]], fontsize=6.5)
    axis.set_ylim(losses.height - 0.4, -0.6)
