"""Parts of the page about functional roles that interventions are behind.

Thesis, sections 3.5.2 and 3.5.3.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.context_figures import visible
from artneuro.report.roles_figures import (
    ACROSS,
    STATISTICS,
    draw_entropy,
    draw_paths,
    draw_scores,
)
from artneuro.report.style import count, neuron_name

SHOWN_TOKENS = 6


def texts_of(column: str) -> pl.Expr:
    """The first tokens of a list, with their white space made visible."""

    def shown(texts: pl.Series) -> str:
        return "  ".join(visible(text) for text in texts[:SHOWN_TOKENS])

    return pl.col(column).map_elements(shown, return_dtype=pl.String).alias(column)


def neuron_names(layer: str = "layer", neuron: str = "neuron") -> pl.Expr:
    """Neurons in the field's short form, `L7.22`."""
    return pl.format("L{}.{}", pl.col(layer), pl.col(neuron)).alias("name")


def strongest_entropy(entropy: pl.DataFrame) -> tuple[dict, float]:
    """The change of entropy furthest from zero among neurons that are no controls, and how many
    times the largest of the controls at the same setting it is.
    """
    rows = entropy.filter(pl.col("statistic") == "entropy")
    own = rows.filter(pl.col("kind") != "control").sort(pl.col("change").abs())
    best = own.row(-1, named=True)
    same = rows.filter(
        pl.col("kind") == "control",
        pl.col("unit") == best["unit"],
        pl.col("setting") == best["setting"],
    )
    largest = same["change"].abs().max() if not same.is_empty() else None
    ratio = abs(best["change"]) / largest if isinstance(largest, float) and largest else np.nan
    return best, ratio


def entropy_verdict(entropy: pl.DataFrame) -> str:
    """What the strongest pinned neuron does to the entropy, in a sentence."""
    best, ratio = strongest_entropy(entropy)
    unit = "" if best["unit"] == "activation" else " standard deviations from its mean"
    beyond = (
        f"{ratio:.1f} times as much as the most that a control does"
        if ratio >= 1
        else f"no more than the most that a control does ({abs(best['change']) / ratio:.2g})"
    )
    return (
        f"Holding {neuron_name(best['layer'], best['neuron'])} ({_kind(best)}) at "
        f"{best['setting']:g}{unit} changes the mean entropy by {best['change']:+.2g} nats, "
        f"{beyond}."
    ).replace("-", "−")


def _kind(row: dict) -> str:
    rank = f"rank {row['rank']}"
    return rank if row["kind"] == "entropy" else f"it writes against the neuron of {rank}"


def path_summary(attention: pl.DataFrame) -> pl.DataFrame:
    """One row for each pair of neuron and head: what the ablation of the path does.

    `correlation` is that of the activation with the change of attention to the first token.
    """
    change = pl.col("attention_ablated") - pl.col("attention")
    ratio = pl.col("output_norm_ablated") / pl.col("output_norm")
    furthest = change.abs().arg_max()
    return attention.group_by(
        "pair", "kind", "layer", "head", "neuron_layer", "neuron", maintain_order=True
    ).agg(
        pl.col("score").first(),
        pl.col("deviations").first(),
        pl.col("attention").mean(),
        pl.col("activation").std().alias("activation_std"),
        change.abs().mean().alias("mean_change"),
        change.get(furthest).alias("largest_change"),
        ratio.get(furthest).alias("norm_ratio"),
        pl.corr(pl.col("activation"), change).alias("correlation"),
    )


def attention_verdict(attention: pl.DataFrame) -> str:
    """What the strongest ablated path does to a head, in a sentence."""
    best = (
        path_summary(attention.filter(pl.col("kind") != "control"))
        .sort(pl.col("largest_change").abs())
        .row(-1, named=True)
    )
    return (
        f"Kept from head L{best['layer']}H{best['head']}, what "
        f"{neuron_name(best['neuron_layer'], best['neuron'])} writes changes its attention to the "
        f"first token by up to {best['largest_change']:+.2g}; over all positions the change's "
        f"correlation with the activation is {best['correlation']:+.2f}."
    ).replace("-", "−")


def entropy_part(model: str, effects: pl.DataFrame, entropy: pl.DataFrame) -> Part:
    """What becomes of predictions when neurons of the last layers are held at values."""
    units = entropy["unit"].unique(maintain_order=True).to_list()
    first = entropy.row(0, named=True)
    baseline = {
        row["statistic"]: row["baseline"]
        for row in entropy.unique("statistic", maintain_order=True).iter_rows(named=True)
    }
    said = ", ".join(f"{label} {baseline[name]:.3g}" for name, label in STATISTICS.items())
    text = (
        "Ranked: neurons of the last layers whose percentile of the output norm exceeds that of "
        "the variance of their logit effects most. Antipode: the neuron that writes most opposite "
        "to one of them. Each is held at a value at every token. Without that: "
        f"{said}, over {count(first['n_tokens'])} predictions in {first['n_sequences']} sequences.",
    )
    ends = (
        entropy.filter(pl.col("kind") != "control")
        .sort("setting")
        .group_by("kind", "rank", "layer", "neuron", "unit", "statistic", maintain_order=True)
        .agg(
            pl.col("norm_out", "logit_variance", "cosine", "activation_std").first(),
            pl.col("setting").last(),
            pl.col("change").last(),
        )
        .pivot("statistic", values="change")
        .sort("rank", "kind", descending=[False, True])
    )
    held = pl.col("setting").map_elements("{:g}".format, return_dtype=pl.String)
    listed = ends.select(
        neuron_names(),
        pl.col("kind").replace("entropy", "ranked"),
        "norm_out", "logit_variance", "cosine", "activation_std",
        (held + pl.when(pl.col("unit") == "activation").then(pl.lit("")).otherwise(pl.lit(" sd")))
        .alias("setting"),
        *STATISTICS,
    )  # fmt: skip
    headings = {
        "name": "neuron",
        "norm_out": "norm",
        "logit_variance": "logit variance",
        "activation_std": "activation, sd",
        "setting": "held at",
        "scale": "Δ scale",
        "entropy": "Δ entropy",
        "loss": "Δ loss",
        "reciprocal_rank": "Δ 1/rank",
    }
    caption = (
        "What holding each neuron at the highest setting changes. Cosine: with the ranked neuron "
        "that it writes against. Held at: an activation, or standard deviations (sd) of the "
        "neuron's own activation from its mean."
    )
    digits = dict.fromkeys((*STATISTICS, "logit_variance", "activation_std"), 3)
    pictures = tuple(
        Picture(
            draw_entropy(entropy, effects, unit),
            "Bands: 95 % intervals over sequences of the paired change."
            + (
                ""
                if unit == "activation"
                else " Values are in standard deviations of each neuron's own activation."
            ),
            "Norm against logit variance, and changes of scale, entropy, loss and reciprocal rank "
            "against the value that neurons are held at, with controls in grey.",
        )
        for unit in units
        if entropy.filter(pl.col("unit") == unit)["setting"].n_unique() > 1
    )
    tokens = token_table(effects, ends.select("layer", "neuron"))
    table = Table(listed, caption, headings, digits)
    return Part(f"Entropy neurons: {model}", text, (*pictures, table, tokens))


def token_table(effects: pl.DataFrame, neurons: pl.DataFrame) -> Table:
    """The direct effect of some neurons (`layer`, `neuron`) on single tokens."""
    listed = (
        neurons.unique(maintain_order=True)
        .join(effects, on=["layer", "neuron"], how="left", maintain_order="left")
        .select(
            neuron_names(), "role", "effect_kurtosis", "effect_skew", "property",
            pl.col("explained") * 100, texts_of("top_texts"), texts_of("bottom_texts"),
        )
    )  # fmt: skip
    headings = {
        "name": "neuron",
        "effect_kurtosis": "kurtosis",
        "effect_skew": "skew",
        "explained": "% explained",
        "top_texts": "raises",
        "bottom_texts": "lowers",
    }
    caption = (
        "Direct effects on the vocabulary. The property is that of the tokens which explains most "
        "of the variance of the effects (equation 3.4 of the thesis, over the vocabulary). Tokens "
        "of the largest and smallest effects for a positive activation; ␣ is a space."
    )
    return Table(listed, caption, headings, {"effect_kurtosis": 1, "explained": 1})


def attention_part(
    model: str, effects: pl.DataFrame, scores: pl.DataFrame, attention: pl.DataFrame
) -> Part:
    """Which neurons turn heads to the first token, and what their paths do."""
    ratio = float(np.median((scores["other_norm"] / scores["bos_norm"]).to_numpy()))
    text = (
        "The score of a neuron and a head of a later layer is what a unit of its output adds to "
        "the head's attention score of the first token. Of the median head the value of the first "
        f"token, as output, is {ratio:.1f} times smaller than that of other tokens, so attending "
        "to it turns the head down.",
        "Path ablation takes what the neuron writes out of what the head's query reads, at one "
        "position; the norm divides by the size of what is left.",
    )
    summary = path_summary(attention)
    own = summary.filter(pl.col("kind") != "control")
    control = summary.filter(pl.col("kind") == "control").select(
        "pair", pl.col("mean_change").alias("control_change")
    )
    listed = (
        own.join(control, on="pair", how="left", maintain_order="left")
        .select(
            neuron_names("neuron_layer"), pl.format("L{}H{}", "layer", "head").alias("into"),
            "kind", "score", "deviations", "attention", "mean_change",
            "control_change",
            "largest_change", "norm_ratio", "correlation",
        )
    )  # fmt: skip
    headings = {
        "name": "neuron",
        "into": "head",
        "deviations": "score, sd",
        "attention": "attention",
        "mean_change": "mean change",
        "control_change": "control",
        "largest_change": "largest",
        "norm_ratio": "norm",
        "correlation": "correlation",
    }
    caption = (
        "Deactivation: a positive activation raises the attention to the first token. Changes are "
        "of that attention, ablated less own: mean size, the same of another neuron of the same "
        "layer into the same head (control), and the largest, where the norm of the output becomes "
        "so many times as large. Scores also in standard deviations (sd) of those of random "
        "directions. Correlation: of the change with the activation."
    )
    items: list[Picture | Table] = [
        Picture(
            draw_scores(scores),
            "a: scores in standard deviations of those of random directions of unit length; the "
            "outermost bins hold what lies beyond. b, c: each head.",
            "Histogram of scores of neurons and random directions; histogram of attention; ratio "
            "of norms against attention.",
        )
    ]
    numbers = own["pair"].unique(maintain_order=True).to_list()
    for start in range(0, len(numbers), ACROSS):
        chosen = attention.filter(pl.col("pair").is_in(numbers[start : start + ACROSS]))
        items.append(
            Picture(
                draw_paths(chosen),
                "Ablated paths, a point a position; grey: another neuron of the same layer into "
                "the same head. Above: change of attention to the first token. Below: norm of the "
                "head's output over that without ablation.",
                "Scatter plots of changes against activations for each pair of neuron and head.",
            )
        )
    items.append(Table(listed, caption, headings, {"mean_change": 4, "control_change": 4}))
    shown = own.select(pl.col("neuron_layer").alias("layer"), "neuron")
    items.append(token_table(effects, shown))
    return Part(f"Attention neurons: {model}", text, tuple(items))
