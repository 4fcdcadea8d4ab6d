"""The page about systems that a model learns in context: forecasts, probes and equations.

Thesis, section 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.in_context_figures import (
    BINS,
    FORECASTS,
    METHODS,
    distribution_figure,
    equation_figure,
    error_figure,
    position_bins,
    probe_figure,
    reading_figure,
    trajectory_figure,
)
from artneuro.report.in_context_summary import (
    Study,
    equation_summary,
    log_losses,
    mean_errors,
    probe_summary,
)
from artneuro.report.style import name_of, score

# Layers whose trajectories are drawn.
SHOWN_LAYERS = 4


def build_in_context_page(
    *,
    predictions: Paths,
    distributions: Paths,
    probes: Paths,
    outputs: Paths,
    equations: Paths,
    output: Path,
) -> None:
    """Write the page about systems that models learn in context.

    Parameters
    ----------
    predictions, distributions, probes, outputs, equations : path or paths
        Tables of each model and system, in the same order.
    output : path
        The HTML file.

    Raises
    ------
    DataError
        If there is no table.
    """
    groups = [as_paths(p) for p in (predictions, distributions, probes, outputs, equations)]
    studies = []
    for paths in zip(*groups, strict=True):
        tables = [read_table(path) for path in paths]
        row = tables[0].row(0, named=True)
        studies.append(Study(row["model"], row["system"], *tables))
    if not studies:
        raise DataError(
            "there is no sequence to show",
            where=str(output),
            fix="name models and systems in dynamics.in_context",
        )
    parts = [part for study in studies for part in _parts_of(study)]
    lead = " ".join(_verdict(study) for study in studies)
    write_case_page(CasePage("Systems learned in context", lead, (_method(), *parts)), output)


def _verdict(study: Study) -> str:
    """What the numbers say: does the model learn, and does it beat the simple forecasts?"""
    first, last = mean_errors(study, last=False), mean_errors(study, last=True)
    own = last["median"]
    simple = {name: value for name, value in last.items() if name != "median"}
    beaten = [name for name, value in simple.items() if own < value]
    not_beaten = [name for name, value in simple.items() if not own < value]

    def listed(names: Sequence[str]) -> str:
        return ", ".join(f"{FORECASTS[name][0]} ({simple[name]:.3g})" for name in names)

    losses = log_losses(study)
    text = (
        f"{study.model} on {name_of(study.system)}: the log loss of the next number "
        f"{'falls' if losses['late'] < losses['early'] else 'does not fall'} from "
        f"{losses['early']:.2f} nats in the first tenth of {study.values} values to "
        f"{losses['late']:.2f} in the second half"
    )
    if "shuffled" in losses:
        text += f" ({losses['shuffled']:.2f} in random order)"
    text += (
        f". The mean error of its forecasts is {first['median']:.3g} in the first third and "
        f"{own:.3g} in the second half. "
    )
    if not not_beaten:
        return text + f"There it beats every simple forecast: {listed(beaten)}."
    if not beaten:
        return text + f"There it beats no simple forecast: {listed(not_beaten)}."
    return text + f"There it beats {listed(beaten)}, but not {listed(not_beaten)}."


def _method() -> Part:
    text = (
        "A trajectory is rounded, written as text, number after number, and given to the model. "
        "What it expects of the next number is had without sampling: a tree over the tokens that "
        "spell numbers gives the probability of every one. Simple forecasts see the same numbers.",
        "Linear probes read the state of the system from the residual stream at each separator, "
        "fitted on the first part of the sequence and tested on the rest. Controls: the same "
        "values in random order, a model with random weights, and probes on the input alone, as "
        "numbers (triangles) and as one indicator for each digit (squares), of the last values. "
        "What a probe on the digits reads, a model whose tokens are digits need not compute.",
        "Sparse equations are fitted to what the probes read on the test part: if they are the "
        "system's, then what the model holds obeys its law.",
    )
    return Part("How", text)


def _parts_of(study: Study) -> list[Part]:
    name = f"{name_of(study.system)}, {study.model}"
    return [
        _forecast_part(study, name),
        _probe_part(study, name),
        _equation_part(study, name),
    ]


def _forecast_part(study: Study, name: str) -> Part:
    judged = study.judged
    where = position_bins(judged["position"].to_numpy(), study.values)
    edges = np.arange(BINS + 1) * study.values // BINS
    rows = []
    for at in range(BINS):
        inside = judged.filter(pl.Series(where == at))
        if inside.is_empty():
            continue
        errors = {
            column: (inside[column] - inside["value"]).abs().mean()
            for column in ("median", "mean", *list(FORECASTS)[1:])
        }
        rows.append(
            {"values": f"{edges[at]} to {edges[at + 1] - 1}", "trees": inside.height, **errors,
             "std": inside["std"].mean(), "mass": inside["mass"].mean()}
        )  # fmt: skip
    headings = {
        "values": "position",
        "mean": "model (mean)",
        "std": "std",
        "mass": "mass",
        "median": "model (median)",
        "nearest_two": "nearest of two",
        "linear": "line",
    }
    caption = (
        "Mean absolute errors of one-step forecasts, in units of the system, at the positions "
        "where the whole distribution was evaluated. std: standard deviation of the model's "
        "distribution. mass: the probability that it writes a number of this format at all; "
        "distributions are within the format."
    )
    paragraph = (
        f"Log loss of the true number: see the right figure. All {study.numbers} numbers equally "
        f"likely would be {np.log(study.numbers):.2f} nats."
    )
    shown = study.distributions.filter(pl.col("sequence") == 0).sort("position")
    chosen = shown[[shown.height // 6, shown.height // 2, shown.height - 1]].to_dicts()
    items = (
        Picture(
            error_figure(study.predictions, study.numbers),
            "Left: absolute errors, means over parts of the sequence, and of the model each. "
            "Right: log loss of the true number, everywhere, smoothed.",
            "Errors of the model and of simple forecasts by position, and log loss by position.",
        ),
        Picture(
            distribution_figure(chosen),
            "Predicted distributions of the next value early, in the middle and at the end; the "
            "dashed line is the value that followed.",
            "Three histograms of probability over values with the true value marked.",
        ),
        Table(
            pl.DataFrame(rows, infer_schema_length=None), caption, headings,
            dict.fromkeys(("median", "mean", *FORECASTS, "std", "mass"), 4),
        ),
    )  # fmt: skip
    return Part(f"Forecasts: {name}", (paragraph,), items)


def _probe_part(study: Study, name: str) -> Part:
    summary = probe_summary(study)
    headings = {"best": "best R²", "layer": "best layer", "mae": "MAE there"}
    for column in summary.columns:
        features, _, delays = column.partition("_")
        if features in ("values", "digits") and delays.isdigit():
            kind = "numbers" if features == "values" else "digits"
            headings[column] = f"{kind}, {delays}"
    caption = (
        "Test R² of linear probes. The best layer is the best on the test part, so its score is "
        "somewhat high; so are those of the controls, chosen likewise. Input alone: numbers "
        "or digits of so many last values. Below 0: worse than the mean."
    )
    shift = 1 if study.is_map else 0
    best = study.layers.filter(pl.col("control") == "none", pl.col("shift") == shift)
    means = best.group_by("layer").agg(pl.col("r2").mean()).sort("r2", descending=True)
    layer = int(means["layer"][0])
    rows = study.outputs.filter(pl.col("layer") == layer, pl.col("shift") == shift).to_dicts()
    what = "the next value" if study.is_map else "the state"
    first = study.layers.row(0, named=True)
    text = (
        f"Probes are fitted on {first['n_train']} values and tested on the {first['n_test']} that "
        "follow. " + _probe_sentence(summary),
    )
    items = (
        Picture(
            probe_figure(study.probes),
            "Test R², cut off below, and mean absolute error by layer. Solid: the sequence; "
            "dashed: shuffled; dotted: random weights. Right of the last layer: probes on the last "
            "values of the input alone, as numbers (triangles) and digits (squares), more values "
            "to the right.",
            "Curves of R² by layer for each variable, with controls.",
        ),
        Table(summary, caption, headings),
        Picture(
            reading_figure(rows, f"Layer {layer}: {what}"),
            f"What probes of the layer with the highest mean R² read of {what} on the test part.",
            "Probe outputs and true values over the sequence.",
        ),
    )
    return Part(f"Probes of the state: {name}", text, items)


def _probe_sentence(summary: pl.DataFrame) -> str:
    """Which targets the model holds better than the controls and the input give them away."""
    rivals = {
        "than with random weights": ["random_weights"],
        "than in random order": ["shuffled"],
        "than any linear function of the last values": _inputs(summary, "values"),
        "than any sum of functions of their digits": _inputs(summary, "digits"),
    }
    parts = []
    for name, columns in rivals.items():
        known = [column for column in columns if summary[column].null_count() < summary.height]
        if not known:
            continue
        better = summary.filter(pl.col("best") > pl.max_horizontal(known))["target"].to_list()
        parts.append(f"{name}: {'; '.join(better) or 'none'}")
    return "Targets that the best layer reads better " + ". Better ".join(parts) + "."


def _inputs(summary: pl.DataFrame, features: str) -> list[str]:
    return [column for column in summary.columns if column.startswith(f"{features}_")]


def _equation_part(study: Study, name: str) -> Part:
    natural = study.layers.filter(pl.col("control") == "none")
    depths = natural["layer"].unique().sort().to_list()
    means = dict(
        natural.group_by("layer").agg(pl.col("r2").filter(pl.col("shift") == 0).mean()).iter_rows()
    )
    best = max(depths, key=lambda layer: means[layer])
    spread = [depths[round(at)] for at in np.linspace(0, len(depths) - 1, SHOWN_LAYERS)]
    chosen = sorted({*spread, best})
    variables = study.outputs["variable"].unique(maintain_order=True).to_list()
    pair = None if study.is_map else (variables[0], variables[-1])
    summary = equation_summary(study)
    headings = {
        "pairing": "of",
        "recovered": "with true support",
        "tpr": "mean TPR",
        "nce": "median NCE",
        "least": "least NCE",
        "nce_true": "NCE of truth",
        "tpr_true": "TPR of truth",
    }
    caption = (
        "Equations of what the probes of each layer read on the test part. TPR: terms found and "
        "true over terms found or true; NCE: error of the coefficients over their norm. Exact and "
        "STLSQ are tuned by AICc; with k given, the exact model has as many terms as the truth. Of "
        "truth: equations of the true states on the same values."
        + (
            " Of current: each value on the one before, both as the probes of the current value "
            "read them. Of next: what the probes of the next value read, on the current value."
            if study.is_map
            else " In the weak form, of what the probes of the current state read."
        )
    )
    text = (_equation_sentence(study),)
    items = (
        Picture(
            equation_figure(study.equations),
            "Support and coefficients by layer. Faint: the shuffled sequence (dashed) and random "
            "weights (dotted).",
            "True positivity rate and normalised coefficient error by layer and method.",
        ),
        Picture(
            trajectory_figure(study.outputs, chosen, pair),
            "Trajectories of the test part as the probes of some layers read them, layer "
            f"{best} with the highest R² among them (mean {score(means[best])}).",
            "Small panels of recovered trajectories beside the true one.",
        ),
        Table(summary, caption, headings, {"nce": 3, "least": 3, "nce_true": 4}),
    )
    return Part(f"Equations of what the probes read: {name}", text, items)


def _equation_sentence(study: Study) -> str:
    layers = study.equations.filter(pl.col("layer").is_not_null(), pl.col("control") == "none")
    parts = []
    for (pairing,), group in layers.sort("pairing").group_by("pairing", maintain_order=True):
        counts = {
            METHODS[method][0]: (rows.filter(pl.col("tpr") == 1).height, rows.height)
            for (method,), rows in group.sort("method").group_by("method", maintain_order=True)
        }
        listed = ", ".join(f"{found} of {n} ({method})" for method, (found, n) in counts.items())
        parts.append(f"{pairing} values: {listed}")
    return "Layers whose probes give exactly the terms of the true equations. " + "; ".join(
        part[:1].upper() + part[1:] for part in parts
    ) + "."  # fmt: skip
