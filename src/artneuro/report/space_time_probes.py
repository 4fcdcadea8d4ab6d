"""Parts of the page about space and time: probes by layer, prompt, form and dimension."""

from __future__ import annotations

import numpy as np
import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.space_time_figures import (
    BASELINES,
    draw_dimensions,
    draw_layers,
    draw_prompts,
    draw_transfer,
)
from artneuro.report.style import score

RUN = ["entities", "model"]
# Shares of the full probe's score that say how many components are enough.
ENOUGH = 0.9


def best_rows(scores: pl.DataFrame) -> pl.DataFrame:
    """The linear probe of each model and table whose leave-one-out R2 is largest.

    Parameters
    ----------
    scores : DataFrame
        Table `scores` of one prompt.
    """
    return (
        scores.filter(pl.col("probe") == "linear")
        .drop_nulls("r2_loo")
        .sort("r2_loo", "layer", descending=[True, False], maintain_order=True)
        .unique([*RUN, "prompt"], keep="first", maintain_order=True)
        .sort(*RUN)
    )


def layers_part(scores: pl.DataFrame) -> Part:
    """How well a linear probe does at each layer, beside what needs no model (4.3.1)."""
    best = with_baselines(best_rows(scores), scores)
    above = best.filter(pl.col("r2") > pl.col("r2_baseline"))
    gains = (best["r2"] - best["r2_baseline"]).drop_nulls().to_numpy()
    rise = score(_mean(best, "rise"))
    said = f"From the first layer to the best one, R² rises by {rise} on average."
    if len(gains):
        said += (
            f" The best layer is above every baseline in {above.height} of {len(gains)} cases, by "
            f"{score(float(gains.mean()))} on average (from {score(float(gains.min()))} to "
            f"{score(float(gains.max()))})."
        )
    text = (
        "A ridge from the residual stream at the last token of a name to the coordinates or the "
        "year, fitted to the train split at each layer. Scores are of the split test, averaged "
        "over latitude and longitude. Proximity error: the share of the other test entities whose "
        "predictions are nearer to the true point; 0.5 at random.",
        said,
    )
    picture = Picture(
        draw_layers(scores),
        "Circles: the layer of the best leave-one-out R². Grey: ridges that see no activations but "
        "the tokens' counts or random features of them, and one fitted to shuffled targets (of the "
        "first model of each table). A score below −0.3 is below the figure.",
        "R2, Spearman correlation and proximity error by layer",
    )
    return Part("By layer", text, (picture, _best_table(best)))


def with_baselines(best: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The best layers with the R2 of each baseline, the best of them, and the rise over layers.

    Returns
    -------
    DataFrame
        `best` with a column for each baseline that there is, `r2_baseline` (null without any) and
        `rise`, the R2 less that of the first layer.
    """
    for probe in BASELINES:
        rows = scores.filter(pl.col("probe") == probe)
        if rows.height:
            best = best.join(rows.select(*RUN, pl.col("r2").alias(probe)), on=RUN, how="left")
    first = (
        scores.filter(pl.col("probe") == "linear")
        .sort("layer")
        .unique(RUN, keep="first")
        .select(*RUN, pl.col("r2").alias("r2_first"))
    )
    known = [probe for probe in BASELINES if probe in best.columns]
    return best.join(first, on=RUN, how="left").with_columns(
        (pl.max_horizontal(known) if known else pl.lit(None, dtype=pl.Float64)).alias(
            "r2_baseline"
        ),
        rise=pl.col("r2") - pl.col("r2_first"),
    )


def _mean(frame: pl.DataFrame, column: str) -> float | None:
    values = frame[column].drop_nulls().to_numpy()
    return float(values.mean()) if len(values) else None


def _median(frame: pl.DataFrame, column: str) -> float:
    return float(np.median(frame[column].to_numpy()))


def _best_table(best: pl.DataFrame) -> Table:
    columns = [
        *RUN, "layer", "r2", *BASELINES, "r2_train", "spearman", "kendall", "mae",
        "error_km_median", "proximity", "proximity_as_published", "penalty_extended", "n_train",
        "n_test",
    ]  # fmt: skip
    frame = best.select(c for c in columns if c in best.columns)
    frame = frame.select(c for c in frame.columns if frame[c].null_count() < frame.height)
    return Table(
        frame,
        "A row is the layer with the best leave-one-out R² on the train split. R² of baselines "
        "stands beside that of the layer. Mean absolute error in degrees (of both coordinates) or "
        "years. Swapped: proximity errors with latitude and longitude exchanged, as in the thesis' "
        "code. Grid extended: whether the best penalty lay beyond the first grid.",
        {
            "r2": "R²", "r2_train": "R², train", "mae": "abs. error", "spearman": "Spearman",
            "kendall": "Kendall", "error_km_median": "median km", "proximity": "proximity",
            "proximity_as_published": "swapped", "penalty_extended": "grid extended",
            "n_train": "train", "n_test": "test", "bag_of_tokens": "bag of tokens",
            "random_features": "random", "shuffled_targets": "shuffled",
        },
        {"mae": 1, "error_km_median": 0, "proximity": 3, "proximity_as_published": 3},
    )  # fmt: skip


def linearity_part(scores: pl.DataFrame) -> Part | None:
    """Linear probes beside those with a hidden layer, at the same layers (table 4.2)."""
    mlp = scores.filter(pl.col("probe") == "mlp")
    if mlp.is_empty():
        return None
    keys = [*RUN, "prompt", "layer"]
    linear = scores.filter(pl.col("probe") == "linear").select(*keys, "r2", "spearman")
    best = best_rows(scores).select(*keys, pl.lit("best").alias("which"))
    both = (
        mlp.select(*keys, "r2", "spearman")
        .join(linear, on=keys, suffix="_linear")
        .join(best, on=keys, how="left")
        .with_columns(
            pl.col("which").fill_null("60 % of depth"), gain=pl.col("r2") - pl.col("r2_linear")
        )
        .sort(*RUN, "layer")
    )
    gains = both["gain"].to_numpy()
    frame = both.select(
        *RUN, "layer", "which", "r2_linear", "r2", "gain", "spearman_linear",
        pl.col("spearman").alias("spearman_mlp"),
    )  # fmt: skip
    means = (
        "What it does not gain is there for a linear probe to read."
        if gains.mean() >= 0
        else "Where it loses, the entities are too few for it, and say nothing of linearity."
    )
    text = (
        f"A hidden layer of 256 units changes R² by {score(float(gains.mean()))} on average over "
        f"{len(gains)} layers, between {score(float(gains.min()))} and "
        f"{score(float(gains.max()))}. {means}",
    )
    table = Table(
        frame,
        "Test scores of both probes on the same rows of the same layer.",
        {
            "which": "layer is", "r2_linear": "R², linear", "r2": "R², MLP", "gain": "gain",
            "spearman_linear": "Spearman, linear", "spearman_mlp": "Spearman, MLP",
        },
        dict.fromkeys(["r2_linear", "r2", "gain", "spearman_linear", "spearman_mlp"], 3),
    )  # fmt: skip
    return Part("Linear or not", text, (table,))


def prompts_part(
    quality: pl.DataFrame | None, transfer: pl.DataFrame | None, main_prompt: str
) -> Part | None:
    """How well probes do by prompt, and the probe of one prompt on another (4.3.3)."""
    items: list[Picture | Table] = []
    text: list[str] = []
    if quality is not None and quality["prompt"].n_unique() > 1:
        frame = prompt_gains(quality, main_prompt)
        changes = (
            frame.filter(pl.col("prompt") != main_prompt)
            .group_by("prompt")
            .agg(pl.col("gain").mean(), pl.len().alias("n"))
            .sort("gain", "prompt")
        )
        told = ", ".join(
            f"{name.replace('_', ' ')} {score(gain)} ({n})" for name, gain, n in changes.iter_rows()
        )
        text.append(
            f"Each prompt has probes of its own. Mean change of R² against the prompt "
            f"{main_prompt}, over the number of cases in brackets: {told}."
        )
        items += [
            Picture(
                draw_prompts(quality),
                "Test R² by layer, of the probes of each prompt, on entities that all prompts "
                "have.",
                "R2 by layer and prompt",
            ),
            Table(
                frame,
                "A row is a prompt at its own best layer by leave-one-out. Gain: over the prompt "
                f"{main_prompt}.",
                {"r2": "R²", "n_test": "test"},
                {"r2": 3, "gain": 3},
            ),
        ]
    if transfer is not None and transfer["train_prompt"].n_unique() > 1:
        main = transfer.filter(pl.col("best_for") == "main")
        same = main.filter(pl.col("train_prompt") == pl.col("test_prompt"))["r2"].to_numpy()
        other = main.filter(pl.col("train_prompt") != pl.col("test_prompt"))
        text.append(
            "Then the probe of one prompt reads the activations of another: R² "
            f"{score(float(np.median(same)))} in the median on its own prompt and "
            f"{score(float(np.median(other['r2'].to_numpy())))} on others; "
            f"{score(float(np.median(other['r2_moved'].drop_nulls().to_numpy())))} if all "
            "predictions are moved to the mean of the truth, as a prompt may shift them together."
        )
        items.append(
            Picture(
                draw_transfer(main),
                "Test R² at the best layer of the main prompt: rows are what the probe was fitted "
                "to, columns what it reads. A negative number is worse than the mean of the truth.",
                "R2 of probes of each prompt on each prompt",
            )
        )
    return Part("Prompts", tuple(text), tuple(items)) if items else None


def prompt_gains(quality: pl.DataFrame, main_prompt: str) -> pl.DataFrame:
    """The best layer of each prompt, and its R2 less that of the main prompt."""
    best = quality.filter("is_best").select(*RUN, "prompt", "layer", "r2", "spearman", "n_test")
    main = best.filter(pl.col("prompt") == main_prompt).select(*RUN, pl.col("r2").alias("r2_main"))
    return (
        best.join(main, on=RUN, how="left", maintain_order="left")
        .with_columns(gain=pl.col("r2") - pl.col("r2_main"))
        .select(*RUN, "prompt", "layer", "r2", "gain", "spearman", "n_test")
        .sort(*RUN, "r2", descending=[False, False, True])
    )


def dimensions_part(dimensions: pl.DataFrame) -> Part:
    """How few principal components are enough for a probe (4.4.2)."""
    frame = enough_components(dimensions)
    known = frame.filter(pl.col("r2") > 0, pl.col("spearman") > 0)
    both = known.drop_nulls(["k_r2", "k_spearman"])
    fewer = known.filter(
        pl.col("k_spearman").is_not_null()
        & (pl.col("k_r2").is_null() | (pl.col("k_spearman") < pl.col("k_r2")))
    )
    said = (
        f"{100 * ENOUGH:.0f} % of the full probe's Spearman correlation take fewer components than "
        f"{100 * ENOUGH:.0f} % of its R² in {fewer.height} of the {known.height} cases where both "
        "are above zero"
    )
    if both.height:
        said += (
            f": {_median(both, 'k_spearman'):g} against {_median(both, 'k_r2'):g} in the median of "
            f"the {both.height} where both are reached"
        )
    few = enough_components(dimensions, 0.5)
    shown = frame.join(few.drop("full"), on=RUN, suffix="_half").select(
        *RUN, "full", "r2", "k_r2_half", "k_r2", "spearman", "k_spearman_half", "k_spearman"
    )
    return Part(
        "Dimensions",
        (
            "Probes of the first k principal components of the train split, at the best layer. "
            "Ranks need what points in the right direction, R² the scale as well.",
            f"{said}.",
        ),
        (
            Picture(
                draw_dimensions(dimensions),
                "Solid: R²; dashed: Spearman correlation; the last point is the probe of all "
                "components. The horizontal scale is logarithmic.",
                "R2 and Spearman correlation against the number of components",
            ),
            Table(
                shown,
                "The full probe's test scores, and the fewest components with half and with "
                f"{100 * ENOUGH:.0f} % of them; a dash: more than any tried, or a score not above "
                "zero.",
                {
                    "full": "components", "r2": "R²", "k_r2_half": "for half",
                    "k_r2": f"for {100 * ENOUGH:.0f} %", "spearman": "Spearman",
                    "k_spearman_half": "for half", "k_spearman": f"for {100 * ENOUGH:.0f} %",
                },
            ),
        ),
    )  # fmt: skip


def enough_components(dimensions: pl.DataFrame, share: float = ENOUGH) -> pl.DataFrame:
    """Fewest components that reach a share of the full probe's R2, and of its Spearman.

    Returns
    -------
    DataFrame
        `entities`, `model`, `full` (components of the full probe) with its `r2` and `spearman`,
        `k_r2`, `k_spearman`; null where only the full probe gets there, and where its score is
        not above zero.
    """
    rows = []
    for (table, model), part in dimensions.sort("k").group_by(RUN, maintain_order=True):
        full = part.row(-1, named=True)
        found: dict[str, int | None] = {}
        for metric in ("r2", "spearman"):
            # A share of nothing is no goal.
            goal = share * full[metric] if (full[metric] or 0) > 0 else np.inf
            enough = part.head(-1).filter(pl.col(metric) >= goal)
            found[f"k_{metric}"] = int(enough["k"][0]) if enough.height else None
        scores = {metric: full[metric] for metric in ("r2", "spearman")}
        rows.append({"entities": table, "model": model, "full": int(full["k"]), **scores, **found})
    schema: dict[str, type[pl.DataType]] = {"entities": pl.String, "model": pl.String}
    schema |= {"full": pl.Int64, "r2": pl.Float64, "spearman": pl.Float64}
    schema |= dict.fromkeys(["k_r2", "k_spearman"], pl.Int64)
    return pl.DataFrame(rows, schema=schema).sort(*RUN)
