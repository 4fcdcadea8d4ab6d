"""The page about functional roles of neurons: what they do rather than what they respond to.

Thesis, section 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.roles_figures import draw_examples, draw_moments, draw_next_tokens
from artneuro.report.roles_interventions import (
    attention_part,
    attention_verdict,
    entropy_part,
    entropy_verdict,
    neuron_names,
    texts_of,
    token_table,
)
from artneuro.report.style import count
from artneuro.weights.roles import NO_ROLE, PARTITION, ROLES

# Neurons that a table lists.
LISTED = 30


@dataclass(frozen=True)
class RoleTables:
    """The tables of one model; those that were not made are None."""

    model: str
    effects: pl.DataFrame
    examples: pl.DataFrame
    entropy: pl.DataFrame | None
    scores: pl.DataFrame | None
    attention: pl.DataFrame | None
    next_tokens: pl.DataFrame | None


def build_roles_page(
    *,
    effects: Paths,
    examples: Paths,
    output: Path,
    kurtosis: float,
    entropy: Paths = (),
    scores: Paths = (),
    attention: Paths = (),
    next_tokens: Paths = (),
) -> None:
    """Write the page about functional roles of neurons.

    Parameters
    ----------
    effects, examples : path or paths
        Tables of each model, in the same order.
    output : path
        The HTML file.
    kurtosis : float
        Above which neurons act on few tokens.
    entropy, scores, attention, next_tokens : paths
        Tables of some of the models, in any order.

    Raises
    ------
    DataError
        If there is no model.
    """
    others = [
        [read_table(path) for path in as_paths(paths)]
        for paths in (entropy, scores, attention, next_tokens)
    ]
    models = [
        _tables(read_table(a), read_table(b), others)
        for a, b in zip(as_paths(effects), as_paths(examples), strict=True)
    ]
    if not models:
        raise DataError(
            "there are no neurons to show",
            where=str(output),
            fix="name models in a section about roles of interventions",
        )
    parts = [_method(kurtosis)]
    for tables in models:
        parts += [_prediction_part(tables, kurtosis)]
        if tables.next_tokens is not None and not tables.next_tokens.is_empty():
            parts.append(_next_part(tables.model, tables.next_tokens))
        if tables.entropy is not None:
            parts.append(entropy_part(tables.model, tables.effects, tables.entropy))
        if tables.scores is not None and tables.attention is not None:
            parts.append(
                attention_part(tables.model, tables.effects, tables.scores, tables.attention)
            )
    lead = " ".join(_verdict(tables) for tables in models)
    write_case_page(CasePage("Functional roles of neurons", lead, tuple(parts)), output)


def _tables(
    effects: pl.DataFrame, examples: pl.DataFrame, others: Sequence[Sequence[pl.DataFrame]]
) -> RoleTables:
    model = str(effects["model"][0])
    # A table without rows says nothing of its model.
    found = [
        next((t for t in tables if not t.is_empty() and t["model"][0] == model), None)
        for tables in others
    ]
    return RoleTables(model, effects, examples, *found)


def _verdict(tables: RoleTables) -> str:
    """What was found in a model, in numbers."""
    roles = tables.effects.filter(pl.col("role") != NO_ROLE)["role"].to_list()
    said = [f"{count(roles.count(role))} {role} neurons" for role in ROLES]
    text = (
        f"{tables.model}: of {count(tables.effects.height)} neurons, {', '.join(said[:2])} and "
        f"{said[2]}."
    )
    if tables.entropy is not None:
        text += " " + entropy_verdict(tables.entropy)
    if tables.attention is not None:
        text += " " + attention_verdict(tables.attention)
    return text


def _method(kurtosis: float) -> Part:
    return Part(
        "How",
        (
            "Weights are processed first: gains of norms are folded into what reads through them, "
            "and where layer norms take the mean away everything is centred. A neuron's effect on "
            "a token is the cosine of its output weights with the token's unembedding. Kurtosis is "
            f"3 for a Gaussian; above {kurtosis:g} a neuron acts on few tokens: it predicts them "
            "(positive skew) or suppresses them (negative skew). Of the others, those with a large "
            "variance part the vocabulary in two.",
            "A neuron of a gated MLP fires with both signs: one that raises tokens when its "
            "activation is positive lowers them when it is negative.",
        ),
    )


def _prediction_part(tables: RoleTables, kurtosis: float) -> Part:
    listed = pl.concat(
        tables.effects.filter(pl.col("role") == role)
        .sort("effect_variance" if role == PARTITION else "effect_kurtosis", descending=True)
        .head(LISTED // len(ROLES))
        .select("layer", "neuron")
        for role in ROLES
    )
    items: list[Picture | Table] = [
        Picture(
            draw_moments(tables.effects, kurtosis),
            "Effects on the vocabulary by layer. a, b: median, 10th to 90th and 5th to 95th "
            "percentiles; the dotted line is a Gaussian's.",
            "Four panels: kurtosis, skew, skews of the last layers, and numbers of neurons of each "
            "role by layer.",
        )
    ]
    if not tables.examples.is_empty():
        items.append(
            Picture(
                draw_examples(tables.examples.sort("role", "layer", "neuron")),
                "Effects of single neurons on every token of the vocabulary, on tokens with the "
                "property that explains them best and on the others (counts, logarithmic).",
                "Histograms of cosines for each neuron, split by a property of tokens.",
            )
        )
    if not listed.is_empty():
        items.append(token_table(tables.effects, listed))
    highest = tables.effects["effect_kurtosis"].max()
    text: tuple[str, ...] = ()
    if listed.is_empty() and isinstance(highest, float):
        text = (f"No neuron has a role: the highest kurtosis is {highest:.1f}.",)
    return Part(f"Prediction, suppression, partition: {tables.model}", text, tuple(items))


def _next_part(model: str, table: pl.DataFrame) -> Part:
    own = table.filter(pl.col("control") == "none")
    control = table.filter(pl.col("control") != "none")
    said = []
    for role in ("prediction", "suppression"):
        mine, other = (part.filter(pl.col("role") == role) for part in (own, control))
        if mine.is_empty():
            continue
        more, less = (
            (pl.col("difference_low") > 0),
            (pl.col("difference_high") < 0),
        )
        said.append(
            f"Of {mine.height} {role} neurons {mine.filter(more).height} are more active and "
            f"{mine.filter(less).height} less active where one of their tokens comes next (of "
            f"other neurons of the same layers, for the same tokens, {other.filter(more).height} "
            f"and {other.filter(less).height})."
        )
    highest = int(own["layer"].to_numpy().max())
    last = own.filter(pl.col("layer") == highest)
    down = last.filter(pl.col("push") < 0).height
    said.append(f"In layer {highest}, {down} of {last.height} push their tokens down then.")
    listed = (
        own.sort(pl.col("push").abs(), descending=True)
        .head(LISTED)
        .select(
            neuron_names(), "role", "set_size", texts_of("set_texts"), "n_in", "mean_in",
            "mean_out", _interval(), "push",
        )
    )  # fmt: skip
    headings = {
        "name": "neuron",
        "set_size": "tokens",
        "set_texts": "such as",
        "n_in": "times",
        "mean_in": "mean before them",
        "mean_out": "elsewhere",
    }
    caption = (
        "Activations where the next token is one that the neuron acts on, and elsewhere; the "
        "difference's 95 % bootstrap interval over sequences. Push: the difference in standard "
        "deviations, positive if it raises the tokens that come next."
    )
    picture = Picture(
        draw_next_tokens(table),
        "Push of each neuron, and of another neuron of its layer before the same tokens (grey).",
        "Scatter of pushes by layer for prediction and suppression neurons and controls.",
    )
    return Part(
        f"What fires before its own tokens: {model}",
        tuple(said),
        (picture, Table(listed, caption, headings)),
    )


def _interval() -> pl.Expr:
    low, high = (
        pl.col(f"difference_{end}").map_elements("{:.2f}".format, return_dtype=pl.String)
        for end in ("low", "high")
    )
    return (low + " to " + high).str.replace_all("-", "−", literal=True).alias("difference")
