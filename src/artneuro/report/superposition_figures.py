"""Figures of the page about superposition of compound words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from artneuro.report.style import COLOURS, GREY, figure_style, neuron_name
from artneuro.weights.toy_model import toy_model

# Kinds of examples from the least to the most important, which is drawn last, and their colours.
_KINDS = {"else": COLOURS[1], "XW": COLOURS[4], "ZY": COLOURS[2], "XY": COLOURS[0]}
_BASES = {"neurons": ("neurons", COLOURS[0], "-"), "random": ("random basis", GREY, "--")}
_SHARES = (1, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
MOST_FEATURES = 24


def word_figure(counted: pl.DataFrame, title: str) -> Figure:
    """Histograms of the neurons of a word and of their sum, side by side.

    Parameters
    ----------
    counted : DataFrame
        Rows of the schema `superposition_histograms` of one word.
    title : str

    Notes
    -----
    The height is logarithmic: what overlaps with the word is rare. Thesis, figures 2.2b and A.4 to
    A.6.
    """
    parts = counted.filter(pl.col("part") == "neuron").sort("rank").to_dicts()
    parts += counted.filter(pl.col("part") == "sum").to_dicts()
    first, second = parts[0]["feature"].split("-")
    names = {
        "XY": f"{first} {second}",
        "XW": f"{first} + another word",
        "ZY": f"another word + {second}",
        "else": "everything else",
    }
    with figure_style():
        figure = Figure(figsize=(2.5 * len(parts), 2.3))
        axes = np.ravel(figure.subplots(1, len(parts), squeeze=False))
        for axis, part in zip(axes, parts, strict=True):
            # Half of the share that one example of the largest kind has.
            bottom = 0.5 / max(max(sum(part[f"counts_{kind}"]) for kind in _KINDS), 1)
            for kind, colour in _KINDS.items():
                counts = np.array(part[f"counts_{kind}"], dtype=np.float64)
                if not counts.sum():
                    continue
                label = f"{names[kind]} ({int(counts.sum())})"
                share, edges = counts / counts.sum(), part["edges"]
                shown = np.maximum(share, bottom)
                axis.stairs(shown, edges, baseline=bottom, fill=True, color=colour, alpha=0.25)
                axis.stairs(shown, edges, baseline=bottom, color=colour, lw=1.1, label=label)
            axis.set_yscale("log")
            axis.set_ylim(bottom, 1.3)
            # Few ticks and plain labels: laying out those of a logarithmic axis takes most of the
            # time of a page of many words.
            ticks = [value for value in _SHARES if value >= bottom]
            axis.set_yticks(ticks, [f"{value:g}" for value in ticks] if axis is axes[0] else [])
            axis.minorticks_off()
            axis.xaxis.set_major_locator(MaxNLocator(4))
            if part["part"] == "sum":
                axis.set_title("their sum")
                axis.set_xlabel("signed sum of activations")
            else:
                sign = "" if part["sign"] > 0 else "−"
                axis.set_title(sign + neuron_name(part["layer"], part["neuron"]))
                axis.set_xlabel("activation" if part["sign"] > 0 else "− activation")
        axes[0].set_ylabel("share of examples")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels))
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def directions_figure(bases: pl.DataFrame, title: str) -> Figure:
    """Test F1 of the best single directions by rank, neurons against random bases.

    Parameters
    ----------
    bases : DataFrame
        Rows of the schema `superposition_basis` of one model, dataset and site.
    title : str

    Notes
    -----
    Thesis, figure A.8.
    """
    by_draw = bases.group_by("basis", "draw", "rank").agg(pl.col("f1").mean())
    means = (
        by_draw.group_by("basis", "rank")
        .agg(pl.col("f1").mean(), pl.col("f1").std().fill_null(0.0).alias("std"))
        .sort("rank")
    )
    with figure_style():
        figure = Figure(figsize=(5.2, 3.0))
        axis = figure.subplots()
        for basis, (label, colour, line) in _BASES.items():
            own = means.filter(pl.col("basis") == basis)
            axis.plot(own["rank"], own["f1"], color=colour, ls=line, label=label)
            low, high = own["f1"] - own["std"], own["f1"] + own["std"]
            axis.fill_between(own["rank"], low, high, color=colour, alpha=0.2, lw=0)
        axis.set_xlabel("rank of the direction on training windows")
        axis.set_ylabel("mean test F1")
        axis.set_title(title)
        axis.legend()
    return figure


def curves_figure(curves: pl.DataFrame, title: str) -> Figure:
    """Test loss and F1 against the number of coefficients, in both bases.

    Parameters
    ----------
    curves : DataFrame
        Rows of the schema `sparsity` of one model, dataset and site, one layer a feature.
    title : str

    Notes
    -----
    Thesis, figure A.9.
    """
    means = curves.group_by("basis", "k").agg(pl.col("log_loss", "f1").mean()).sort("k")
    ks = means["k"].unique().sort().to_list()
    with figure_style():
        figure = Figure(figsize=(7.4, 3.0))
        axes = figure.subplots(1, 2)
        for axis, column, label in zip(
            axes, ("log_loss", "f1"), ("mean test loss (nats)", "mean test F1"), strict=True
        ):
            for basis, (name, colour, line) in _BASES.items():
                own = means.filter(pl.col("basis") == basis)
                axis.plot(own["k"], own[column], color=colour, ls=line, marker="o", label=name)
            axis.set_xscale("log", base=2)
            axis.set_xticks(ks, [str(k) for k in ks])
            axis.minorticks_off()
            axis.set_xlabel("coefficients of the probe (k)")
            axis.set_ylabel(label)
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0].yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes[0].yaxis.set_minor_locator(NullLocator())
        axes[1].legend()
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def toy_figure() -> Figure:
    """Norm, bias and fingerprint of the toy model against the number of features in a plane."""
    toy = toy_model(np.arange(3, MOST_FEATURES + 1))
    with figure_style():
        figure = Figure(figsize=(5.2, 2.8))
        axis = figure.subplots()
        for values, label, colour in (
            (toy.norm, "weight norm", COLOURS[1]),
            (toy.bias, "bias", COLOURS[2]),
            (toy.fingerprint, "norm × bias (fingerprint)", COLOURS[0]),
        ):
            axis.plot(toy.features, values, color=colour, marker="o", label=label)
        axis.axhline(0, color=GREY, lw=0.8)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_yticks([-100, -10, -1, 0, 1, 10], ["−100", "−10", "−1", "0", "1", "10"])
        axis.minorticks_off()
        axis.set_xlabel("features in a plane (n)")
        axis.set_ylabel("value in the toy model")
        axis.legend()
    return figure


def weights_figure(neurons: pl.DataFrame, marked: Sequence[int], title: str) -> Figure:
    """Fingerprint of superposition by layer, or weight norms where there are no biases.

    Parameters
    ----------
    neurons : DataFrame
        Rows of the schema `neurons` of one model.
    marked : sequence of int
        Layers to mark.
    title : str

    Notes
    -----
    Thesis, figures 2.2c and A.3.
    """
    wanted = {"fingerprint": "norm × bias", "norm_in": "input norm", "bias_in": "input bias"}
    if not neurons["fingerprint"].drop_nulls().len():
        wanted = {"norm_in": "input norm (gate)", "norm_up": "norm of the linear part"}
        wanted["norm_out"] = "output norm"
    shown = {c: label for c, label in wanted.items() if neurons[c].drop_nulls().len()}
    with figure_style():
        figure = Figure(figsize=(3.1 * len(shown), 2.7))
        axes = np.ravel(figure.subplots(1, len(shown), squeeze=False))
        for axis, (column, label) in zip(axes, shown.items(), strict=True):
            _by_layer(axis, neurons, column)
            layers = sorted(set(marked))
            bottom = axis.get_xaxis_transform()
            axis.plot(layers, [0.02] * len(layers), "^", color=COLOURS[4], ms=4, transform=bottom)
            axis.set_xlabel("layer")
            axis.set_title(label)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _by_layer(axis: Axes, neurons: pl.DataFrame, column: str) -> None:
    levels = (0.1, 0.25, 0.5, 0.75, 0.9)
    found = (
        neurons.group_by("layer")
        .agg(pl.col(column).quantile(q, "linear").alias(str(q)) for q in levels)
        .sort("layer")
    )
    for low, high, alpha in (("0.1", "0.9", 0.15), ("0.25", "0.75", 0.25)):
        axis.fill_between(
            found["layer"], found[low], found[high], color=COLOURS[0], alpha=alpha, lw=0
        )
    axis.plot(found["layer"], found["0.5"], color=COLOURS[0])
    if column in ("fingerprint", "bias_in"):
        axis.axhline(0, color=GREY, lw=0.8)
