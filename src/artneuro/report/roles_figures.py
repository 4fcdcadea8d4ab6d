"""Figures of the page about functional roles.

Thesis, figures 3.5 to 3.8 and B.15 to B.19.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from artneuro.report.style import COLOURS, GREY, figure_style, neuron_name

ROLE_COLOURS = {
    "prediction": COLOURS[0],
    "suppression": COLOURS[1],
    "partition": COLOURS[2],
}
STATISTICS = {
    "scale": "scale of the last norm",
    "entropy": "entropy (nats)",
    "loss": "loss (nats)",
    "reciprocal_rank": "reciprocal rank",
}
PERCENTILES = (0.05, 0.1, 0.5, 0.9, 0.95)
# Last layers whose skews are shown.
LAST_LAYERS = 4
# Widest row of panels.
ACROSS = 4


def draw_moments(effects: pl.DataFrame, kurtosis: float) -> Figure:
    """Percentiles of kurtosis and skew by layer, skews of the last layers, and roles by layer.

    Parameters
    ----------
    effects : DataFrame
        Table `effects` of one model.
    kurtosis : float
        Above which neurons act on few tokens.

    Notes
    -----
    Thesis, figures 3.6 and B.15.
    """
    layers = np.unique(effects["layer"].to_numpy())
    peaked = effects.filter(pl.col("effect_kurtosis") > kurtosis)
    with figure_style():
        figure = Figure(figsize=(11.2, 3.1))
        first, second, third, fourth = figure.subplots(1, 4)
        _percentiles(first, effects, "effect_kurtosis", layers, COLOURS[0])
        first.axhline(3, color=GREY, lw=0.8, ls=":")
        first.set_yscale("log")
        first.set_yticks([2, 3, 5, 10, 20, 50], ["2", "3", "5", "10", "20", "50"], minor=False)
        first.minorticks_off()
        first.set_title("a. Kurtosis")
        first.set_ylabel("percentiles of neurons")
        rest = effects.filter(pl.col("effect_kurtosis") <= kurtosis)
        _percentiles(second, rest, "effect_skew", layers, COLOURS[0], f"kurtosis ≤ {kurtosis:g}")
        if not peaked.is_empty():
            second.scatter(
                peaked["layer"], peaked["effect_skew"], s=5, lw=0, alpha=0.6, color=COLOURS[1],
                label=f"kurtosis > {kurtosis:g}",
            )  # fmt: skip
        second.axhline(0, color=GREY, lw=0.8, ls=":")
        second.set_title("b. Skew")
        second.legend(loc="upper left")
        last = peaked.filter(pl.col("layer") > layers.max() - LAST_LAYERS)
        if last.is_empty():
            third.text(0.5, 0.5, "none", ha="center", va="center", transform=third.transAxes)
            third.set(xticks=[], yticks=[])
        else:
            third.hist(last["effect_skew"].to_numpy(), bins=24, color=COLOURS[1])
        third.set_title(f"c. Kurtosis > {kurtosis:g}, last {LAST_LAYERS} layers")
        third.set_xlabel("skew")
        third.set_ylabel("neurons")
        for role, colour in ROLE_COLOURS.items():
            counts = [
                effects.filter(pl.col("layer") == layer, pl.col("role") == role).height
                for layer in layers
            ]
            fourth.plot(layers, counts, color=colour, marker="o", ms=3, label=role)
        fourth.set_title("d. Roles")
        fourth.set_ylabel("neurons")
        fourth.set_ylim(bottom=0, top=max(1.0, fourth.get_ylim()[1]))
        fourth.yaxis.set_major_locator(MaxNLocator(integer=True))
        fourth.legend(loc="upper left")
        for axis in (first, second, fourth):
            axis.set_xlabel("layer")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return figure


def _percentiles(
    axis: Axes,
    table: pl.DataFrame,
    column: str,
    layers: np.ndarray,
    colour: str,
    label: str | None = None,
) -> None:
    values = np.array(
        [
            [
                table.filter(pl.col("layer") == layer)[column].quantile(q, "linear") or np.nan
                for q in PERCENTILES
            ]
            for layer in layers
        ],
        dtype=float,
    )
    axis.fill_between(layers, values[:, 0], values[:, 4], color=colour, alpha=0.15, lw=0)
    axis.fill_between(layers, values[:, 1], values[:, 3], color=colour, alpha=0.25, lw=0)
    axis.plot(layers, values[:, 2], color=colour, label=label)


def draw_examples(examples: pl.DataFrame) -> Figure:
    """Effects of some neurons on tokens with a property, and on the others (figure 3.5)."""
    n = examples.height
    across = min(n, ACROSS)
    down = -(-n // across)
    with figure_style():
        figure = Figure(figsize=(2.8 * across, 2.2 * down + 0.3))
        axes = figure.subplots(down, across, squeeze=False)
        for axis in axes.ravel()[n:]:
            axis.set_axis_off()
        for place, (axis, row) in enumerate(
            zip(axes.ravel(), examples.iter_rows(named=True), strict=False)
        ):
            edges = np.array(row["edges"])
            for name, colour, label in (
                ("counts_out", GREY, "other tokens"),
                ("counts_in", ROLE_COLOURS[row["role"]], row["property"]),
            ):
                counts = np.array(row[name])
                axis.stairs(counts, edges, fill=True, color=colour, alpha=0.65, label=label)
            axis.axvline(0, color=GREY, lw=0.8, ls=":")
            axis.set_yscale("log")
            axis.set_ylim(0.7, 30 * axis.get_ylim()[1])
            axis.set_title(f"{neuron_name(row['layer'], row['neuron'])}, {row['role']}")
            axis.legend(loc="upper left")
            axis.set_xlabel("cosine")
            if place % across == 0:
                axis.set_ylabel("tokens")
    return figure


def draw_entropy(entropy: pl.DataFrame, effects: pl.DataFrame, unit: str) -> Figure:
    """Norms against logit variances, and what pinning does, beside controls (figure 3.7).

    Parameters
    ----------
    entropy : DataFrame
        Table `entropy` of one model.
    effects : DataFrame
        Table `effects` of the same.
    unit : str
        Of the settings that are drawn.
    """
    chosen = entropy.filter(pl.col("unit") == unit)
    named = chosen.filter(pl.col("kind") != "control").select("kind", "layer", "neuron")
    named = named.unique(maintain_order=True)
    layers = chosen.filter(pl.col("kind") == "control")["layer"].unique().to_list()
    late = effects.filter(pl.col("layer").is_in(layers or named["layer"].unique().to_list()))
    styles = {
        (layer, neuron): (COLOURS[i % len(COLOURS)], "-" if kind == "entropy" else "--")
        for i, (kind, layer, neuron) in enumerate(named.iter_rows())
    }
    with figure_style():
        figure = Figure(figsize=(11.2, 5.4))
        axes = figure.subplots(2, 3).ravel()
        axes[0].scatter(
            late["norm_out"], late["logit_variance"], s=4, lw=0, alpha=0.3, color=GREY,
            rasterized=True,
        )  # fmt: skip
        for (layer, neuron), (colour, _) in styles.items():
            row = effects.filter(pl.col("layer") == layer, pl.col("neuron") == neuron)
            axes[0].scatter(row["norm_out"], row["logit_variance"], s=34, color=colour, zorder=3)
        axes[0].set_yscale("log")
        axes[0].set_xlabel("norm of output weights")
        axes[0].set_ylabel("variance of logit effects")
        axes[0].set_title("a. Neurons of the last layers")
        for axis, letter, (statistic, label) in zip(
            axes[1:], "bcde", STATISTICS.items(), strict=False
        ):
            _draw_statistic(axis, chosen.filter(pl.col("statistic") == statistic), styles)
            axis.set_title(f"{letter}. Change of {label}")
            axis.set_xlabel("held at" if unit == "activation" else "held at, deviations from mean")
        axes[5].set_axis_off()
        handles, labels = axes[1].get_legend_handles_labels()
        axes[5].legend(handles, labels, loc="center left", frameon=False)
    return figure


def _draw_statistic(
    axis: Axes, rows: pl.DataFrame, styles: dict[tuple[int, int], tuple[str, str]]
) -> None:
    controls = rows.filter(pl.col("kind") == "control")
    for place, part in enumerate(controls.partition_by("layer", "neuron")):
        part = part.sort("setting")
        label = f"{controls.select('layer', 'neuron').n_unique()} controls" if not place else None
        axis.plot(part["setting"], part["change"], color=GREY, lw=0.8, alpha=0.7, label=label)
    for (layer, neuron), (colour, dashes) in styles.items():
        part = rows.filter(
            pl.col("layer") == layer, pl.col("neuron") == neuron, pl.col("kind") != "control"
        ).sort("setting")
        kind = part["kind"][0]
        name = f"{neuron_name(layer, neuron)} ({'ranked' if kind == 'entropy' else kind})"
        axis.plot(part["setting"], part["change"], color=colour, ls=dashes, marker="o", label=name)
        axis.fill_between(
            part["setting"], part["change_low"], part["change_high"], color=colour, alpha=0.15, lw=0
        )
    axis.axhline(0, color=GREY, lw=0.8, ls=":")


def draw_scores(scores: pl.DataFrame) -> Figure:
    """Scores of neurons and of random directions, and what heads do with the first token."""
    read = scores.filter(pl.col("n_neurons") > 0)
    edges = np.array(read["edges"][0])
    with figure_style():
        figure = Figure(figsize=(11.2, 3.0))
        left, middle, right = figure.subplots(1, 3)
        for name, colour, label in (
            ("random_counts", GREY, "random directions"),
            ("counts", COLOURS[0], "neurons"),
        ):
            counts = np.array(read[name].to_list()).sum(axis=0)
            left.stairs(
                counts / counts.sum() / np.diff(edges), edges, fill=True, alpha=0.55, color=colour,
                label=label,
            )  # fmt: skip
        left.set_yscale("log")
        left.set_xlabel("score, standard deviations of random directions")
        left.set_ylabel("density")
        left.set_ylim(top=left.get_ylim()[1] * 6)
        left.legend(loc="upper left")
        left.set_title("a. Every neuron and later head")
        middle.hist(scores["bos_attention"].to_numpy(), bins=24, range=(0, 1), color=COLOURS[0])
        middle.set_xlabel("mean attention to the first token")
        middle.set_ylabel("heads")
        middle.set_title("b. Attention")
        ratio = (scores["other_norm"] / scores["bos_norm"]).to_numpy()
        right.scatter(scores["bos_attention"], ratio, s=10, lw=0, alpha=0.6, color=COLOURS[0])
        right.axhline(1, color=GREY, lw=0.8, ls=":")
        right.set_yscale("log")
        right.set_xlabel("mean attention to the first token")
        right.set_ylabel("other tokens / first token")
        right.set_title("c. Norms of values as output")
    return figure


def draw_paths(ablations: pl.DataFrame) -> Figure:
    """Change of attention and of the output's norm against the activation, a column a pair.

    Parameters
    ----------
    ablations : DataFrame
        Rows of up to `ACROSS` pairs of the table `attention`, of one model.

    Notes
    -----
    Thesis, figures 3.8b, 3.8c and B.19.
    """
    pairs = ablations.partition_by("pair", maintain_order=True)
    with figure_style():
        figure = Figure(figsize=(2.8 * len(pairs), 4.6))
        axes = figure.subplots(2, len(pairs), squeeze=False)
        for column, rows in zip(axes.T, pairs, strict=True):
            own = rows.filter(pl.col("kind") != "control")
            for part, colour in (
                (rows.filter(pl.col("kind") == "control"), GREY),
                (own, COLOURS[1] if own["kind"][0] == "deactivation" else COLOURS[0]),
            ):
                attention = part["attention_ablated"] - part["attention"]
                norm = part["output_norm_ablated"] / part["output_norm"]
                for axis, values in zip(column, (attention, norm), strict=True):
                    axis.scatter(
                        part["activation"], values, s=7, lw=0, alpha=0.6, color=colour,
                        rasterized=True,
                    )  # fmt: skip
            first = own.row(0, named=True)
            column[0].set_title(
                f"{neuron_name(first['neuron_layer'], first['neuron'])} → "
                f"L{first['layer']}H{first['head']}"
            )
            column[0].axhline(0, color=GREY, lw=0.8, ls=":")
            column[1].axhline(1, color=GREY, lw=0.8, ls=":")
            column[1].set_xlabel("activation")
        axes[0, 0].set_ylabel("change of attention")
        axes[1, 0].set_ylabel("norm, ablated / own")
    return figure


def draw_next_tokens(table: pl.DataFrame) -> Figure:
    """How far neurons push their tokens when one of them comes next, by layer.

    Parameters
    ----------
    table : DataFrame
        Table `next_tokens` of one model.
    """
    layers = np.arange(table["layer"].min(), table["layer"].max() + 1)  # type: ignore[arg-type, operator]
    with figure_style():
        figure = Figure(figsize=(9.0, 3.0))
        axis = figure.subplots()
        for shift, (role, control, colour, label) in zip(
            (-0.27, -0.09, 0.09, 0.27),
            (
                ("prediction", "none", COLOURS[0], "prediction"),
                ("prediction", "same_layer", GREY, "another neuron, same tokens"),
                ("suppression", "none", COLOURS[1], "suppression"),
                ("suppression", "same_layer", GREY, None),
            ),
            strict=True,
        ):
            part = table.filter(pl.col("role") == role, pl.col("control") == control)
            axis.scatter(
                part["layer"] + shift, part["push"], s=12, lw=0, alpha=0.75, color=colour,
                label=label,
            )  # fmt: skip
        axis.axhline(0, color=GREY, lw=0.8, ls=":")
        axis.set_xticks(layers)
        axis.set_xlabel("layer")
        axis.set_ylabel("push, standard deviations")
        axis.legend(loc="upper left", ncols=3)
        axis.set_ylim(top=1.25 * max(1.0, axis.get_ylim()[1]))
    return figure
