"""The page about universal neurons: which neurons of a model other models have too.

Thesis, sections 3.4.1, 3.4.2 and B.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.style import count, neuron_name
from artneuro.report.universality_figures import draw_curves, draw_exceedance, draw_summary
from artneuro.report.universality_properties import property_parts
from artneuro.universality.properties import layer_matches, neuron_properties

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LISTED = 20


def build_universality_page(
    *,
    neurons: Paths,
    matches: Paths,
    output: Path,
    threshold: float,
    curves: Paths = (),
    statistics: Paths = (),
    effects: Paths = (),
) -> None:
    """Write the page about universal neurons.

    Parameters
    ----------
    neurons, matches : paths
        Tables of each group, in the same order.
    output : path
        The HTML file.
    threshold : float
        Excess correlation above which neurons are universal.
    curves : paths
        Tables `training` of the models that were trained here; may be empty.
    statistics, effects : paths
        Tables of activations and of weights of the groups' references, in any order; a group
        without them has fewer figures.

    Raises
    ------
    DataError
        If there is no group.
    """
    # Without a baseline (metric: jaccard) nothing is known to be universal.
    tables = [
        read_table(path).with_columns(pl.col("is_universal").fill_null(False))
        for path in as_paths(neurons)
    ]
    if not tables:
        raise DataError(
            "there are no neurons to show",
            where=str(output),
            fix="name groups in universality.groups",
        )
    # The reference comes first; other models are there where all pairs were compared.
    groups = {
        str(table["group"][0]): table.filter(pl.col("model") == table["model"][0])
        for table in tables
    }
    matched = [read_table(path) for path in as_paths(matches)]
    about = _properties(
        groups,
        [read_table(path) for path in as_paths(statistics)],
        [read_table(path) for path in as_paths(effects)],
    )
    trained = [read_table(path) for path in as_paths(curves)]
    parts: list[Part] = [training_part(pl.concat(trained))] if trained else []
    for (group, rows), found in zip(groups.items(), matched, strict=True):
        parts.append(correlation_part(group, rows, found, threshold))
    parts.append(threshold_part(groups, threshold))
    parts += property_parts(about)
    page = CasePage("Universal neurons", verdict(groups, threshold), tuple(parts))
    write_case_page(page, output)


def _properties(
    groups: Mapping[str, pl.DataFrame],
    statistics: list[pl.DataFrame],
    effects: list[pl.DataFrame],
) -> dict[str, pl.DataFrame]:
    """Groups with what is known about the neurons of their references."""

    def of(model: str, tables: list[pl.DataFrame]) -> pl.DataFrame | None:
        return next((table for table in tables if table["model"][0] == model), None)

    return {
        group: neuron_properties(
            rows, of(rows["model"][0], statistics), of(rows["model"][0], effects)
        )
        for group, rows in groups.items()
    }


def verdict(groups: Mapping[str, pl.DataFrame], threshold: float) -> str:
    """How many neurons are universal, in a sentence for each group."""
    said = []
    for group, rows in groups.items():
        if rows["excess_correlation"].null_count() == len(rows):
            said.append(f"{group}: without a baseline there is no excess correlation.")
            continue
        n = int(rows["is_universal"].sum())
        constant = int(rows["is_constant"].sum())
        without = f" ({count(constant)} of them constant)" if constant else ""
        said.append(
            f"{group}: {count(n)} of the {count(len(rows))} neurons of {rows['model'][0]}"
            f"{without} ({100 * n / len(rows):.2f} %) have an excess correlation above "
            f"{threshold:g} with the most similar neurons of the other models."
        )
    return "Which neurons of a model do models that differ in their seed have too? " + " ".join(
        said
    )


def training_part(curves: pl.DataFrame) -> Part:
    """Losses of the models that were trained here, against what no context can do."""
    last = curves.sort("model", "step").group_by("model", maintain_order=True).last()
    frame = last.select(
        "model",
        "recipe",
        "seed",
        pl.col("step").cast(pl.Int64),
        "tokens",
        "loss",
        "held_out_loss",
        "unigram_entropy",
        (pl.col("unigram_entropy") - pl.col("held_out_loss")).alias("below"),
    )
    items = (
        Picture(
            draw_curves(curves),
            "Loss on documents that no model learned from. Unigram entropy: of the same held-out "
            "tokens, which no unigram model can beat, even in hindsight; unigram model: one with "
            "the frequencies of the training tokens.",
            "Held-out loss of each model against the tokens that it learned from",
        ),
        Table(
            frame,
            "A row is a model after its training, in nats a token. Training loss: the mean over "
            "the last steps.",
            {
                "step": "steps", "loss": "training loss", "held_out_loss": "held-out loss",
                "below": "below unigram entropy",
            },
            dict.fromkeys(["loss", "held_out_loss", "unigram_entropy", "below"], 3),
        ),
    )  # fmt: skip
    text = (
        "The models of an ensemble share tokenizer, text and its order. They differ in the seed of "
        "their first weights alone.",
    )
    return Part("Training", text, items)


def correlation_part(
    group: str, rows: pl.DataFrame, matches: pl.DataFrame, threshold: float
) -> Part:
    """Figure 3.2 of a group, its layers, and its most universal neurons."""
    model = str(rows["model"][0])
    alive = rows.filter(~pl.col("is_constant"))
    mine = matches.filter(pl.col("model") == model).join(alive, on=["layer", "neuron"], how="semi")
    n_layers = int(rows["layer"].max()) + 1  # type: ignore[arg-type]
    match_layers = max(n_layers, int(mine["match_layer"].max() or 0) + 1)  # type: ignore[arg-type]
    grid = layer_matches(mine, n_layers, match_layers)
    others = mine["other"].unique(maintain_order=True).to_list()
    spread = (alive["max_max"] - alive["min_max"]).to_numpy()
    universal = spread[alive["is_universal"].to_numpy()]
    near = np.nanmean([grid[la, max(0, la - 1) : la + 2].sum() for la in range(n_layers)])
    n_tokens = int(rows["n_tokens"].to_numpy().max())
    text = (
        f"Neurons of {model} are correlated with every neuron of {', '.join(others)} over "
        f"{count(n_tokens)} tokens. The excess is the largest correlation in each "
        "model less the largest with a randomly rotated layer, averaged over models.",
        f"The largest and the smallest of the maxima over models differ by {spread.mean():.3f} on "
        "average"
        + (f", by {universal.mean():.3f} for universal neurons" if len(universal) else "")
        + f". Averaged over layers, {100 * near:.0f} % of neurons have their best match in the "
        "same layer or one next to it.",
    )
    items: tuple[Picture | Table, ...] = (
        Picture(
            draw_summary(rows, grid, threshold),
            "a: means over models of each neuron's largest correlation, of the largest with "
            "rotated neurons, and of their difference. b: the largest and smallest over models of "
            "the largest correlation; a neuron is a point. c: layers of the best matches, averaged "
            "over models; rows sum to 100 %.",
            "Distributions of correlations, their spread over models, and layers of best matches",
        ),
        _layer_table(rows),
    )
    if rows["is_universal"].any():
        items = (*items, _best_table(rows, mine))
    return Part(f"Correlations: {group}", text, items)


def _layer_table(rows: pl.DataFrame) -> Table:
    frame = (
        rows.group_by("layer")
        .agg(
            pl.len().cast(pl.Int64).alias("neurons"),
            pl.col("is_constant").sum().cast(pl.Int64).alias("constant"),
            pl.col("is_universal").sum().cast(pl.Int64).alias("universal"),
            (100 * pl.col("is_universal").mean()).alias("share"),
            pl.col("mean_max_correlation", "mean_max_baseline", "excess_correlation").mean(),
        )
        .sort("layer")
        .with_columns(pl.col("layer").cast(pl.Int64))
    )
    return Table(
        frame,
        "A row is a layer: how many of its neurons are universal, and means over its neurons.",
        {
            "share": "universal, %", "mean_max_correlation": "largest correlation",
            "mean_max_baseline": "with rotated neurons", "excess_correlation": "excess",
        },
    )  # fmt: skip


def _best_table(rows: pl.DataFrame, matches: pl.DataFrame) -> Table:
    best = rows.filter("is_universal").sort("excess_correlation", descending=True).head(LISTED)
    first = matches.filter(pl.col("rank") == 1)
    others = first["other"].unique(maintain_order=True).to_list()
    found = {
        (layer, neuron, other): f"{neuron_name(at, match)} ({value:.2f})"
        for layer, neuron, other, at, match, value in first.select(
            "layer", "neuron", "other", "match_layer", "match_neuron", "correlation"
        ).iter_rows()
    }
    columns: dict[str, list] = {
        "neuron": [neuron_name(la, n) for la, n in best.select("layer", "neuron").iter_rows()],
        "excess": best["excess_correlation"].to_list(),
        "largest": best["mean_max_correlation"].to_list(),
    }
    keys = best.select("layer", "neuron").rows()
    for other in others:
        columns[other] = [found.get((*key, other)) for key in keys]
    return Table(
        pl.DataFrame(columns, schema_overrides={"excess": pl.Float64, "largest": pl.Float64}),
        f"The {len(best)} neurons with the highest excess, and their best match in each model with "
        "its correlation.",
        {"excess": "excess correlation", "largest": "mean of the largest"},
    )


def threshold_part(groups: Mapping[str, pl.DataFrame], threshold: float) -> Part:
    """Figure B.6: the share of universal neurons at any threshold."""
    grid = sorted({*THRESHOLDS, threshold})
    columns: dict[str, list] = {"excess above": [f"{value:g}" for value in grid]}
    for group, rows in groups.items():
        excess = rows["excess_correlation"]
        columns[f"{group}, neurons"] = [int((excess > value).sum()) for value in grid]
        columns[f"{group}, %"] = [100 * int((excess > value).sum()) / len(rows) for value in grid]
    items = (
        Picture(
            draw_exceedance(groups, threshold),
            "Share of all neurons whose value is above what the axis says.",
            "Share of neurons above each correlation",
        ),
        Table(pl.DataFrame(columns), "How many neurons are universal, by the threshold."),
    )
    return Part("The share of universal neurons", (), items)
