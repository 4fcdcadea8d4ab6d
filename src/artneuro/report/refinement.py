"""The page about what neurons that probes have found respond to, and what they do to the output.

Thesis, section 2.5.4 and figure 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report import choose
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.config import ReportConfig
from artneuro.report.refinement_figures import (
    CLASS_NAMES,
    draw_firing,
    draw_neuron,
    signed_name,
    token_name,
    visible,
)
from artneuro.report.style import heading_of, name_of

TABLES = ("neurons", "tokens", "effects", "ngrams", "examples")
NEURON = ["model", "dataset", "collection", "feature", "rank", "layer", "neuron"]
# From these shares on most of the firing is explained, and most of the class is found.
EXPLAINED, FOUND = 0.8, 0.5
SHOWN_TOKENS, SHOWN_NGRAMS = 10, 10


def read_counts(neurons: pl.DataFrame) -> pl.DataFrame:
    """Neurons with what their firing on single tokens says.

    Returns
    -------
    DataFrame
        With `fires`, the share of test tokens of known class that a neuron fires on; `explained`,
        the share of these that is in the class; `found`, the share of the class that it fires on;
        and `reading`: "the feature" (most is explained and most of the class is found), "part of
        it" (explained, not found), "something broader" (found, less than half explained), "mixed",
        or "unknown" where the class of tokens outside of the labels is not known.
    """
    n_in, n_out = pl.col("counts_in").list.sum(), pl.col("counts_out").list.sum()
    fires = pl.col("fires_in") + pl.col("fires_out")
    table = neurons.with_columns(
        (fires / (n_in + n_out)).alias("fires"),
        pl.when(fires > 0).then(pl.col("fires_in") / fires).alias("explained"),
        pl.when(n_in > 0).then(pl.col("fires_in") / n_in).alias("found"),
    )
    explained, found = pl.col("explained"), pl.col("found")
    return table.with_columns(
        pl.when(~pl.col("every_token"))
        .then(pl.lit("unknown"))
        .when((explained >= EXPLAINED) & (found >= FOUND))
        .then(pl.lit("the feature"))
        .when((explained >= EXPLAINED) & (found < FOUND))
        .then(pl.lit("part of it"))
        .when((explained < 0.5) & (found >= FOUND))
        .then(pl.lit("something broader"))
        .otherwise(pl.lit("mixed"))
        .alias("reading")
    )


def build_refinement_page(
    config: ReportConfig,
    *,
    neurons: Paths,
    tokens: Paths,
    effects: Paths,
    ngrams: Paths,
    examples: Paths,
    scores: Paths,
    output: Path,
) -> None:
    """Write the page about neurons that were looked at closely.

    Parameters
    ----------
    config : ReportConfig
        `refined_neurons`: how many get a panel of their own.
    neurons, tokens, effects, ngrams, examples : path or paths
        What `refine_neurons` made of each model and dataset.
    scores : path or paths
        The scores of the same models and datasets.
    output : path
        The HTML file.

    Raises
    ------
    DataError
        If there is no neuron.
    """
    given = dict(zip(TABLES, (neurons, tokens, effects, ngrams, examples), strict=True))
    tables = {name: _read(paths) for name, paths in given.items()}
    found = read_counts(tables["neurons"]).sort(NEURON[:5])
    if found.is_empty():
        raise DataError(
            "there is no neuron to show",
            where=str(output),
            fix="check the log of the rule refine_neurons",
        )
    columns = ["site", *NEURON[:4], "layer", "method", "k", "control", "precision", "recall"]
    columns += ["f1", "f1_train"]
    layers = choose.best_by_layer(
        pl.concat([read_table(p, columns) for p in as_paths(scores)]).filter(
            pl.col("site") == "mlp_post"
        )
    )
    shown = found.sort("f1_train", descending=True, maintain_order=True)
    shown = shown.head(config.refined_neurons).sort(NEURON[:5])
    several = [column for column in ("dataset", "model") if found[column].n_unique() > 1]
    panels = []
    for row in shown.iter_rows(named=True):
        mine = {name: _of(table, row, NEURON) for name, table in tables.items()}
        place = ", ".join(name_of(row[column]) for column in several)
        where = f" ({place})" if place else ""
        panels.append(_panel(row, mine, _of(layers, row, NEURON[:4]), where))
    write_case_page(
        CasePage(
            title="What single neurons respond to",
            lead=_lead(found),
            parts=(_overview(found, tables, len(panels)), _method(found), *panels),
        ),
        output,
    )


def _read(paths: Paths) -> pl.DataFrame:
    return pl.concat([read_table(path) for path in as_paths(paths)])


def _of(table: pl.DataFrame, row: Mapping, keys: list[str]) -> pl.DataFrame:
    return table.filter(*(pl.col(key) == row[key] for key in keys))


def _lead(found: pl.DataFrame) -> str:
    readings = {str(k): int(n) for k, n in found.group_by("reading").len().iter_rows()}
    total = found.height
    parts = [
        f"{readings.get(reading, 0)} {words}"
        for reading, words in (
            ("the feature", "fire on most of the class and hardly elsewhere"),
            ("part of it", "fire on a part of the class only"),
            ("something broader", "fire mostly outside of the class"),
            ("mixed", "are in between"),
            ("unknown", "cannot be judged, as most tokens have no known class"),
        )
        if readings.get(reading)
    ]
    return (
        "A probe says that a neuron tells a feature. Is the feature what the neuron represents? "
        f"Of {total} best neurons, each looked at on every token of a text, {'; '.join(parts)}."
    )


def _overview(found: pl.DataFrame, tables: Mapping[str, pl.DataFrame], panels: int) -> Part:
    first = (
        tables["tokens"]
        .sort("mean", descending=True)
        .group_by(NEURON, maintain_order=True)
        .agg(pl.col("text").head(3).alias("active"))
    )
    raised = (
        tables["effects"]
        .filter(pl.col("kind") == "raised")
        .sort("place")
        .group_by(NEURON, maintain_order=True)
        .agg(pl.col("text").head(3).alias("raised"))
    )
    rows = found.join(first, on=NEURON, how="left").join(raised, on=NEURON, how="left")
    names = _names(rows)
    firing = Table(
        names.with_columns(
            rows["reading"],
            *(100 * rows[name] for name in ("text_share", "fires", "explained", "found")),
            rows["f1"],
            rows["precision"],
            rows["precision_balanced"].alias("balanced"),
            rows["recall"],
        ),
        "A row is the best single neuron of a feature, chosen on the train split; all numbers are "
        "of test. “− L24.211” is a neuron whose activation is low in the class: it is shown with "
        "its sign turned everywhere. Class: its share of the tokens. Fires: share of the tokens "
        "above the probe's threshold, taken one by one; of these in class; and of the class. Then "
        "the scores of the probe on labelled examples; balanced is its precision if half of them "
        "were in the class.",
        {
            "text_share": "class, %",
            "fires": "fires, %",
            "explained": "in class, %",
            "found": "of class, %",
            "f1": "F1",
        },
        dict.fromkeys(("text_share", "fires", "explained", "found"), 1),
    )
    text = Table(
        names.with_columns(
            pl.Series("active", [_list(v) for v in rows["active"].to_list()]),
            pl.Series("raised", [_list(v) for v in rows["raised"].to_list()]),
        ),
        "The tokens with the highest mean activation, and those whose logits rise most with it. "
        "␣ is a space, ↵ a line break, � a part of a character.",
        {"active": "highest on", "raised": "raises"},
    )
    paragraphs = (
        "A neuron is read as the feature if at least "
        f"{EXPLAINED:.0%} of the tokens that it fires on are in the class and it fires on at least "
        f"{FOUND:.0%} of the class; as part of it if it fires on less of the class; as something "
        "broader if more than half of its firing is outside of the class. Compare with precision "
        "and recall of the probe: a labelled sample with many positives, or whole spans whose "
        "activations are averaged, can hide most of what a neuron does.",
        *(
            [f"The {panels} neurons with the highest F1 on train have a section below."]
            if panels < found.height
            else []
        ),
    )
    picture = Picture(
        draw_firing(found, EXPLAINED, FOUND),
        "A point is a neuron. Right: it fires on most tokens of the class. Top: what it fires on "
        "is in the class. Bottom right are neurons for something broader than the feature, top "
        "left neurons for a part of it.",
        "Share of firing in the class against share of the class fired on",
    )
    return Part("All neurons", paragraphs, (firing, picture, text))


def _names(rows: pl.DataFrame) -> pl.DataFrame:
    """What a row of a table is: model and dataset only where there are several."""
    columns = {
        "model": rows["model"].to_list(),
        "dataset": [name_of(v).replace(" ", "\u00a0") for v in rows["dataset"]],
        "feature": [name_of(v) for v in rows["feature"]],
        "neuron": [signed_name(row) for row in rows.iter_rows(named=True)],
    }
    several = [c for c in ("dataset", "model") if rows[c].n_unique() > 1]
    return pl.DataFrame({c: columns[c] for c in ("feature", "neuron", *several)})


def _list(values: list[str] | None) -> str:
    return "  ".join(token_name(value) for value in values or [])


def _panel(
    row: Mapping, tables: Mapping[str, pl.DataFrame], layers: pl.DataFrame, where: str
) -> Part:
    rank = f" (number {row['rank']})" if row["rank"] > 1 else ""
    items: list[Picture | Table] = [
        Picture(
            draw_neuron(row, tables["effects"], layers),
            "Activations on test tokens, in the class and out of it, as densities and as counts; "
            "probes of all layers; effects on kinds of tokens.",
            f"Activations, scores by layer and effects of {signed_name(row)}",
        ),
        _token_table(row, tables["tokens"], tables["effects"]),
    ]
    if tables["ngrams"].height:
        items.append(_ngram_table(tables["ngrams"]))
    items.append(_example_table(tables["examples"]))
    return Part(
        f"{heading_of(row['feature'])}: {signed_name(row)}{rank}{where}",
        tuple(_answer(row, tables["effects"])),
        tuple(items),
    )


def _answer(row: Mapping, effects: pl.DataFrame) -> list[str]:
    words = {
        "the feature": "Its firing is the feature",
        "part of it": "It fires on a part of the feature",
        "something broader": "It fires on something broader than the feature",
        "mixed": "The feature explains its firing in part",
        "unknown": "Most tokens have no known class",
    }[row["reading"]]
    fires = row["fires_in"] + row["fires_out"]
    text = f"{words}. It fires on {fires} of the {row['test_tokens']} test tokens"
    if row["fires_unknown"]:
        text += f" of known class, and on {row['fires_unknown']} of unknown class"
    if row["explained"] is not None and row["text_share"] is not None:
        text += (
            f"; {row['explained']:.0%} of these are in the class, which has "
            f"{row['text_share']:.0%} of the tokens"
        )
    if row["found"] is not None:
        text += f", and it fires on {row['found']:.0%} of the class"
    probe = (
        f"As a probe on the labelled examples, {row['sampled_share']:.0%} of which are in the "
        f"class, it has precision {row['precision']:.2f} ({row['precision_balanced']:.2f} if half "
        f"were) and recall {row['recall']:.2f}: F1 {row['f1']:.2f}."
    )
    classes = effects.filter(pl.col("kind") == "class").sort("deviations")
    output = ""
    if classes.height:
        (least, low), (most, high) = (
            (CLASS_NAMES[row["text"]], f"{row['deviations']:+.2f}".replace("-", "−"))
            for row in (classes.row(0, named=True), classes.row(-1, named=True))
        )
        output = (
            f" Its activation changes the logits of {most} tokens by {high} standard deviations "
            f"on average and those of {least} tokens by {low}."
        )
    return [text + ".", probe + output]


def _token_table(row: Mapping, tokens: pl.DataFrame, effects: pl.DataFrame) -> Table:
    ordered = tokens.sort("mean", descending=True)
    n = min(SHOWN_TOKENS, ordered.height // 2)
    top, bottom = ordered.head(n), ordered.tail(n).reverse()
    columns: dict[str, list] = {}
    for name, part in (("top", top), ("bottom", bottom)):
        columns[name] = [token_name(text) for text in part["text"]]
        columns[f"{name}_mean"] = part["mean"].to_list()
        columns[f"{name}_error"] = part["error"].to_list()
        columns[f"{name}_count"] = part["count"].to_list()
    for name in ("raised", "lowered"):
        part = effects.filter(pl.col("kind") == name).sort("place").head(SHOWN_TOKENS)
        columns[name] = [token_name(text) for text in part["text"]]
        columns[f"{name}_sd"] = part["deviations"].to_list()
    longest = max(len(values) for values in columns.values())
    frame = pl.DataFrame({k: [*v, *([None] * (longest - len(v)))] for k, v in columns.items()})
    headings = {"top": "highest on", "bottom": "lowest on", "lowered": "lowers", "raised": "raises"}
    for name in ("top", "bottom"):
        headings |= {f"{name}_mean": "mean", f"{name}_error": "± s.e.", f"{name}_count": "n"}
    headings |= {"raised_sd": "by s.d.", "lowered_sd": "by s.d."}
    kurtosis = row["effect_kurtosis"]
    return Table(
        frame,
        "Tokens with the highest and the lowest mean activation, and tokens whose logits the "
        f"neuron raises and lowers most (kurtosis of its effects: {kurtosis:.1f}).",
        headings,
    )


def _ngram_table(ngrams: pl.DataFrame) -> Table:
    part = ngrams.sort("place").head(SHOWN_NGRAMS)
    frame = pl.DataFrame(
        {
            "n-gram": [token_name(text) for text in part["text"]],
            "tokens": part["length"],
            "count": part["count"],
            "firings": part["firings"],
            "mean": part["mean"],
            "in_class": 100 * part["in_class"],
        }
    )
    return Table(
        frame,
        "N-grams that end with high activations.",
        {"firings": "fires", "mean": "mean activation", "in_class": "in class, %"},
        {"in_class": 0},
    )


def _example_table(examples: pl.DataFrame) -> Table:
    part = examples.sort("activation", descending=True)
    frame = pl.DataFrame(
        {
            "between": [f"{100 * a:g}–{100 * b:g} %" for a, b in part.select("low", "high").rows()],
            "activation": part["activation"],
            "class": [{True: "in", False: "out", None: "?"}[v] for v in part["in_class"]],
            "text": [
                f"{visible(a, spaces=False)}⟦{token_name(t)}⟧{visible(b, spaces=False)}"
                for a, t, b in part.select("before", "text", "after").rows()
            ],
        }
    )
    return Table(
        frame,
        "Tokens ⟦in brackets⟧ drawn at random between quantiles of the activation.",
        {"between": "quantiles"},
    )


def _method(found: pl.DataFrame) -> Part:
    sizes = "; ".join(
        f"{tokens:,}".replace(",", "\u202f") + f" tokens of {name_of(dataset)} in {model}"
        for model, dataset, tokens in found.select("model", "dataset", "tokens")
        .unique()
        .sort("model", "dataset")
        .iter_rows()
    )
    return Part(
        "How to read the sections below",
        (
            f"Neurons were read on whole sequences: {sizes}. Firing and its figures count test "
            "tokens alone; tokens, n-grams and examples are of all that were read.",
            "First figure: the two densities, as if both classes were equally large. Second: the "
            "same activations in the numbers that the text has (logarithmic), where a rare feature "
            "may be drowned by all the rest. The dashed line is the probe's threshold, which for "
            "features of whole sequences is one of mean activations; the neuron fires on the right "
            "of it. Whether a token is in the class is known of every token where that is a "
            "property of its sequence or can be computed, otherwise of the labelled ones only.",
            "Third figure: precision and recall on labelled test examples of the best single "
            "neuron of each layer; rings mark the neuron of the section. High recall with low "
            "precision suggests something broader than the feature, the reverse something "
            "narrower; but precision falls with the share of positives among the examples.",
            "Fourth figure: the mean effect on the logits of kinds of tokens, in standard "
            "deviations of the neuron's effects over the vocabulary. An effect is the product of "
            "output weights, gain of the final norm and unembedding, less its mean over the "
            "vocabulary. What later layers make of the neuron is left out: of early ones that is "
            "most. A kurtosis far above 3, that of a normal distribution, means that the neuron "
            "acts on few tokens.",
            "Mean activations are of tokens that occur often enough, with standard errors as if "
            "occurrences were independent. N-grams: at their last token the activation is among "
            "the neuron's highest, and each is as long as that needs: it is extended to the left "
            "only where the shorter one would not do. Unlike meanings among them are a sign of a "
            "polysemantic neuron. Examples come from all quantiles: the top alone misleads.",
        ),
    )
