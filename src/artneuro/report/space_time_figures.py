"""Figures of the page about space and time, in the order of the thesis' chapter 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from artneuro.report.style import COLOURS, GREY, figure_style, name_of, neuron_name

BASELINES = {"bag_of_tokens": "--", "random_features": ":", "shuffled_targets": "-."}
METRICS = {"r2": "R²", "spearman": "Spearman correlation", "proximity": "proximity error"}
# Points that are drawn one by one; more become an image within the figure.
FEW = 3000
# Widest row of panels, and most types of entities that are told apart.
ACROSS, TYPES = 5, 6
# Inches that a legend below the panels takes.
LEGEND = 5.6
# Texts whose next tokens are drawn.
PINNED = 4


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, by its place."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def depths(layers: np.ndarray, relative: bool, deepest: int) -> np.ndarray:
    """Layers, or percent of the deepest one, which compare models of different depth."""
    return 100 * layers / max(deepest, 1) if relative else layers


def draw_layers(scores: pl.DataFrame) -> Figure:
    """Scores by layer, a row a metric, a column a table of entities, a line a model (figure 4.2).

    Parameters
    ----------
    scores : DataFrame
        Table `scores` of one prompt. Baselines are those of the first model of each table.
    """
    tables = scores["entities"].unique(maintain_order=True).to_list()
    colours = colours_of(scores["model"].unique(maintain_order=True).to_list())
    relative = len(colours) > 1
    with figure_style():
        figure = Figure(figsize=(max(2.9 * len(tables) + 0.8, LEGEND), 6.4))
        axes = figure.subplots(len(METRICS), len(tables), squeeze=False, sharex=True)
        for column, table in enumerate(tables):
            mine = scores.filter(pl.col("entities") == table)
            for axis, (metric, label) in zip(axes[:, column], METRICS.items(), strict=True):
                _layer_lines(axis, mine, metric, colours, relative)
                if column == 0:
                    axis.set_ylabel(label)
            # Layers far below zero would hide the rest.
            axes[0, column].set_ylim(bottom=max(axes[0, column].get_ylim()[0], -0.3))
            axes[0, column].set_title(table)
            axes[-1, column].set_xlabel("% of depth" if relative else "layer")
            axes[-1, column].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    return figure


def _layer_lines(
    axis: Axes, rows: pl.DataFrame, metric: str, colours: dict[str, str], relative: bool
) -> None:
    first = rows["model"][0]
    for probe, dashes in BASELINES.items():
        found = rows.filter(pl.col("probe") == probe, pl.col("model") == first)
        if found.height and found[metric][0] is not None:
            axis.axhline(found[metric][0], color=GREY, lw=1, ls=dashes, label=name_of(probe))
    linear = rows.filter(pl.col("probe") == "linear").sort("layer")
    for model, colour in colours.items():
        mine = linear.filter(pl.col("model") == model)
        if mine.is_empty():
            continue
        layers = mine["layer"].to_numpy()
        x = depths(layers, relative, int(layers.max()))
        axis.plot(x, mine[metric], color=colour, marker="o", ms=3, label=model)
        best = int(mine["r2_loo"].fill_null(-np.inf).arg_max() or 0)
        axis.plot(x[best], mine[metric][best], "o", ms=8, mfc="none", color=colour)


def draw_prompts(quality: pl.DataFrame) -> Figure:
    """R2 by layer, a panel a model and table of entities, a line a prompt (figures 4.3 and C.3)."""
    pairs = quality.select("entities", "model").unique(maintain_order=True).rows()
    colours = colours_of(quality["prompt"].unique(maintain_order=True).to_list())
    across = min(ACROSS, len(pairs))
    down = -(-len(pairs) // across)
    with figure_style():
        figure = Figure(figsize=(max(2.45 * across + 0.8, LEGEND), 2.4 * down + 0.6))
        axes = figure.subplots(down, across, squeeze=False)
        _hide_rest(axes, len(pairs))
        for axis, (table, model) in zip(axes.ravel(), pairs, strict=False):
            mine = quality.filter(pl.col("entities") == table, pl.col("model") == model)
            for prompt, colour in colours.items():
                rows = mine.filter(pl.col("prompt") == prompt).sort("layer")
                axis.plot(rows["layer"], rows["r2"], color=colour, marker="o", ms=3, label=prompt)
            axis.set_ylim(bottom=max(axis.get_ylim()[0], -0.3))
            axis.set_title(f"{table}, {model}")
            axis.set_xlabel("layer")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        for axis in axes[:, 0]:
            axis.set_ylabel("R²")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure


def draw_transfer(transfer: pl.DataFrame) -> Figure:
    """R2 of the probes of each prompt on each prompt, a panel a model and table of entities."""
    pairs = transfer.select("entities", "model").unique(maintain_order=True).rows()
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    prompts = transfer["test_prompt"].unique(maintain_order=True).to_list()
    side = 0.62 * len(prompts) + 1.5
    with figure_style():
        figure = Figure(figsize=(side * across + 0.8, side * down))
        axes = figure.subplots(down, across, squeeze=False)
        _hide_rest(axes, len(pairs))
        for axis, (table, model) in zip(axes.ravel(), pairs, strict=False):
            mine = transfer.filter(pl.col("entities") == table, pl.col("model") == model)
            names = [p for p in prompts if p in set(mine["test_prompt"])]
            grid = np.full((len(names), len(names)), np.nan)
            for train, test, r2 in mine.select("train_prompt", "test_prompt", "r2").iter_rows():
                if train in names:
                    grid[names.index(train), names.index(test)] = r2
            axis.imshow(grid, cmap="Blues", vmin=0, vmax=max(0.01, np.nanmax(grid)))
            for i, j in np.ndindex(*grid.shape):
                dark = grid[i, j] > 0.6 * np.nanmax(grid)
                axis.text(
                    j, i, f"{grid[i, j]:.2f}".replace("-", "−"), ha="center", va="center",
                    fontsize=8, color="white" if dark else "#222222",
                )  # fmt: skip
            axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
            axis.set_yticks(range(len(names)), names)
            axis.set_title(f"{table}, {model}")
            axis.set_xlabel("tested on")
        for axis in axes[:, 0]:
            axis.set_ylabel("fitted to")
    return figure


def draw_dimensions(dimensions: pl.DataFrame) -> Figure:
    """R2 and Spearman against the number of principal components (figures 4.4 and C.8)."""
    tables = dimensions["entities"].unique(maintain_order=True).to_list()
    colours = colours_of(dimensions["model"].unique(maintain_order=True).to_list())
    with figure_style():
        figure = Figure(figsize=(max(2.9 * len(tables) + 0.8, LEGEND), 3.1))
        axes = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
        for axis, table in zip(axes, tables, strict=True):
            for model, colour in colours.items():
                rows = dimensions.filter(
                    pl.col("entities") == table, pl.col("model") == model
                ).sort("k")
                for metric, dashes in (("r2", "-"), ("spearman", "--")):
                    axis.plot(
                        rows["k"], rows[metric], color=colour, ls=dashes, marker="o", ms=3,
                        label=f"{model}, {METRICS[metric].split()[0]}",
                    )  # fmt: skip
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_title(table)
            axis.set_xlabel("principal components")
        axes[0].set_ylabel("test score")
        axes[0].set_ylim(bottom=max(axes[0].get_ylim()[0], -0.3))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def draw_holdouts(holdouts: pl.DataFrame) -> Figure:
    """Proximity error of each unit, in the training data and held out, a panel a table."""
    tables = holdouts["entities"].unique(maintain_order=True).to_list()
    colours = colours_of(holdouts["model"].unique(maintain_order=True).to_list())
    with figure_style():
        figure = Figure(figsize=(2.9 * len(tables) + 0.6, 3.0))
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for axis, table in zip(axes, tables, strict=True):
            mine = holdouts.filter(pl.col("entities") == table)
            for model, colour in colours.items():
                rows = mine.filter(pl.col("model") == model)
                axis.scatter(
                    rows["proximity_nominal"], rows["proximity_held_out"], s=14, lw=0, alpha=0.75,
                    color=colour, label=model,
                )  # fmt: skip
            top = max(0.6, float(mine["proximity_held_out"].max() or 0) + 0.03)  # type: ignore[arg-type]
            axis.plot([0, top], [0, top], color=GREY, lw=0.8)
            axis.axhline(0.5, color=GREY, lw=0.8, ls=":")
            axis.set(xlim=(0, top), ylim=(0, top), title=table)
            axis.set_xlabel("proximity error, trained on")
        axes[0].set_ylabel("held out")
        if len(colours) > 1:
            axes[0].legend(loc="upper left")
    return figure


def draw_cosines(neurons: pl.DataFrame) -> Figure:
    """Largest cosines of neurons' weights with the probes' directions, against random ones."""
    panels = neurons.select("entities", "target").unique(maintain_order=True).rows()
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    model = neurons["model"][0]
    with figure_style():
        figure = Figure(figsize=(2.3 * across + 0.8, 2.4 * down + 0.3))
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        _hide_rest(axes, len(panels))
        for axis, (table, target) in zip(axes.ravel(), panels, strict=False):
            mine = neurons.filter(
                pl.col("entities") == table, pl.col("target") == target, pl.col("model") == model
            )
            for colour, kind in zip(COLOURS, ("input", "gate", "output"), strict=False):
                rows = mine.filter(pl.col("weights") == kind).sort("rank")
                if rows.is_empty():
                    continue
                axis.plot(rows["rank"], rows["cosine"].abs(), color=colour, label=kind)
                chance = rows["cosine_random"][0]
                if chance is not None:
                    axis.axhline(chance, color=colour, lw=0.9, ls=":")
            axis.set_title(f"{table}: {target}")
            axis.set_xlabel("rank of the neuron")
        for axis in axes[:, 0]:
            axis.set_ylabel("|cosine|")
        axes[0, 0].set_ylim(bottom=0)
        axes[0, 0].legend()
    return figure


def draw_projections(projections: pl.DataFrame, chosen: pl.DataFrame) -> Figure:
    """Test activations projected on the weights of neurons, against the truth (figure 4.5).

    Parameters
    ----------
    projections : DataFrame
        Table `neuron_projections`.
    chosen : DataFrame
        Rows of the table `neurons`, a panel each.
    """
    across = min(4, chosen.height)
    down = -(-chosen.height // across)
    with figure_style():
        figure = Figure(figsize=(2.9 * across + 0.4, 2.6 * down))
        axes = figure.subplots(down, across, squeeze=False)
        _hide_rest(axes, chosen.height)
        for axis, row in zip(axes.ravel(), chosen.iter_rows(named=True), strict=False):
            keys = ("model", "entities", "target", "weights", "layer", "neuron")
            rows = projections.filter(
                *(pl.col(key) == row[key] for key in keys), pl.col("split") == "test"
            )
            told = dict(zip(row["types"], row["spearman_by_type"], strict=True))
            for colour, kind in zip(COLOURS, row["types"][:TYPES], strict=False):
                part = rows.filter(pl.col("entity_type") == kind)
                rho = told[kind]
                axis.scatter(
                    part["truth"], part["value"], s=5, lw=0, alpha=0.5, color=colour,
                    rasterized=len(part) > FEW,
                    label=f"{name_of(kind)} ({'–' if rho is None else f'{rho:.2f}'})",
                )  # fmt: skip
            where = neuron_name(row["layer"], row["neuron"])
            axis.set_title(f"{row['entities']}: {where}, {row['weights']}")
            axis.set_xlabel(row["target"])
            axis.legend(markerscale=2, loc="best", fontsize=7)
        for axis in axes[:, 0]:
            axis.set_ylabel("projection")
    return figure


def draw_pinned(pinned: pl.DataFrame) -> Figure:
    """Tokens' probabilities while a time neuron is held, beside controls (figure C.2).

    Parameters
    ----------
    pinned : DataFrame
        Table `pinned_predictions` of one model and table of entities.
    """
    names = pinned["name"].unique(maintain_order=True).to_list()[:PINNED]
    with figure_style():
        figure = Figure(figsize=(2.9 * len(names) + 0.4, 4.6))
        axes = figure.subplots(2, len(names), squeeze=False, sharex=True)
        for (upper, lower), name in zip(axes.T, names, strict=True):
            rows = pinned.filter(pl.col("name") == name, pl.col("neuron").is_not_null())
            own = rows.filter(~pl.col("control")).sort("setting")
            tokens = own["token_text"].unique(maintain_order=True).to_list()
            for colour, token in zip(COLOURS, tokens, strict=False):
                part = own.filter(pl.col("token_text") == token)
                upper.plot(part["setting"], part["probability"], color=colour, label=repr(token))
            upper.set_title(name if len(name) < 30 else f"{name[:28]}…")
            upper.legend(fontsize=7)
            others = rows.filter(pl.col("control")).select("neuron", "setting", "divergence")
            for place, part in enumerate(others.unique().partition_by("neuron")):
                part = part.sort("setting")
                lower.plot(
                    part["setting"], part["divergence"], color=GREY, lw=0.8, alpha=0.7,
                    label="controls" if place == 0 else None,
                )  # fmt: skip
            mine = own.select("setting", "divergence").unique().sort("setting")
            lower.plot(mine["setting"], mine["divergence"], color=COLOURS[1], label="time neuron")
            lower.set_xlabel("held at, deviations from mean")
        axes[0, 0].set_ylabel("probability of the next token")
        axes[1, 0].set_ylabel("divergence, nats")
        axes[1, 0].legend()
    return figure


def _hide_rest(axes: np.ndarray, used: int) -> None:
    for axis in axes.ravel()[used:]:
        axis.set_axis_off()
