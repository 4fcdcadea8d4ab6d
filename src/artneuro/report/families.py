"""The page about families of neurons: what universal neurons and those of other models respond to.

Thesis, section 3.4.3 and figures 3.4 and B.8 to B.14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.families_figures import (
    draw_counts,
    draw_examples,
    draw_positions,
    family_label,
)
from artneuro.report.style import count, heading_of, neuron_name
from artneuro.universality.families import FAMILIES, NO_FAMILY, POSITION, SHUFFLED

# Rows of the table of universal neurons; the table itself has all.
LISTED = 200
DRAWN_POSITIONS = 8
_NEURON = ["layer", "neuron"]

WHAT = {
    "unigram": "a word or part of one, in one of its places in a written word or in any",
    "alphabet": "a letter that is a token of its own",
    "previous_token": "what the token before is",
    POSITION: "the position in the sequence",
    "syntax": "grammar: part of speech, relation, morphology, entities, ends of sentences",
    "semantic": "what the document is about: its kind, its topic",
    "vocabulary": "another property of the token's string: its characters, length, affixes",
    NO_FAMILY: "nothing that was tried, enough",
}


@dataclass(frozen=True)
class Explained:
    """A model on a text: tables `families`, `explanations`, `positions` and `examples`."""

    model: str
    text: str
    n_tokens: int
    families: pl.DataFrame
    explanations: pl.DataFrame
    positions: pl.DataFrame
    examples: pl.DataFrame


def build_families_page(
    *,
    statistics: Paths,
    families: Paths,
    explanations: Paths,
    positions: Paths,
    examples: Paths,
    groups: Paths,
    thresholds: Mapping[str, float],
    output: Path,
) -> None:
    """Write the page about families of neurons.

    Parameters
    ----------
    statistics, families, explanations, positions, examples : paths
        Tables of each explained model and text, in the same order.
    groups : paths
        Families of the universal neurons of each group; may be empty.
    thresholds : mapping of str to float
        What a neuron of each family is above, as in the config.
    output : path
        The HTML file.

    Raises
    ------
    DataError
        If no model is explained.
    """
    names = (statistics, families, explanations, positions, examples)
    studies = []
    for paths in zip(*(as_paths(p) for p in names), strict=True):
        table, *rest = [read_table(path) for path in paths]
        first = table.row(0, named=True)
        studies.append(Explained(first["model"], first["text"], first["n_tokens"], *rest))
    if not studies:
        raise DataError(
            "no neuron was explained, so there is nothing to show",
            where=str(output),
            fix="name models and texts in universality.explanations.pairs",
        )
    named = [table for path in as_paths(groups) if len(table := read_table(path))]
    parts = [_method(studies, thresholds), _overview(studies, named, thresholds)]
    parts += [_group_part(table, _families_of(table, studies)) for table in named]
    parts += [_study_part(study) for study in studies]
    write_case_page(CasePage("Families of neurons", _lead(studies, named), tuple(parts)), output)


def counts_by_family(table: pl.DataFrame) -> dict[str, int]:
    """How many neurons of a table are of each family, all families named."""
    found = dict(table.group_by("family").len().iter_rows())
    return {family: int(found.get(family, 0)) for family in FAMILIES}


def shares_by_layer(table: pl.DataFrame, per_layer: int) -> pl.DataFrame:
    """Neurons of each layer and family in % of the neurons of a layer."""
    found = table.filter(pl.col("family") != NO_FAMILY).group_by("layer", "family").len()
    return found.with_columns((100 * pl.col("len") / per_layer).alias("share"))


def by_chance(explanations: pl.DataFrame, threshold: float) -> tuple[int, int] | None:
    """Neurons that a label of documents explains above a threshold: as they are, and shuffled.

    Returns
    -------
    (int, int) or None
        None where the text has no such labels.
    """
    found = []
    for categories in (("subset", "language", "topic"), (SHUFFLED,)):
        rows = explanations.filter(pl.col("category").is_in(categories))
        if rows.is_empty():
            return None
        above = rows.filter(pl.col("variance_reduction") > threshold)
        found.append(above.select(_NEURON).n_unique())
    return found[0], found[1]


def _lead(studies: list[Explained], named: list[pl.DataFrame]) -> str:
    text = (
        "What does a neuron respond to? Hundreds of labels of tokens were tried on every neuron: "
        "how much of the variance of its activations does each take away? "
    )
    for table in named:
        n = counts_by_family(table)
        told = table.height - n[NO_FAMILY]
        text += (
            f"Of the {count(table.height)} universal neurons of {table['group'][0]}, "
            f"{count(told)} {'is' if told == 1 else 'are'} of a family ({_listed(n)}). "
        )
    for study in studies:
        n = counts_by_family(study.families)
        total = study.families.height
        text += (
            f"Of all {count(total)} neurons of {study.model}, {count(total - n[NO_FAMILY])} "
            f"({100 * (1 - n[NO_FAMILY] / total):.1f} %) are of a family. "
        )
    return text.strip()


def _listed(counts: Mapping[str, int]) -> str:
    found = sorted(
        ((n, family) for family, n in counts.items() if n and family != NO_FAMILY), reverse=True
    )
    return ", ".join(f"{count(n)} {family_label(family)}" for n, family in found) or "none"


def _method(studies: list[Explained], thresholds: Mapping[str, float]) -> Part:
    read = "; ".join(f"{s.model} on {count(s.n_tokens)} tokens of {s.text}" for s in studies)
    limits = ", ".join(
        f"{family_label(family)} {thresholds[family]:g}"
        for family in FAMILIES
        if family in thresholds
    )
    text = (
        "An explanation is a yes or no for every token. The variance reduction is 1 minus the "
        "variance of the activation within both classes, weighted by their sizes, over its "
        "variance: 1 means that the explanation tells all. Labels are of the token's string, of "
        "words by the place of the token in the written word (whole word, first token, later "
        "token), of grammar, of documents, and all of those of tokens for the token before as "
        "well.",
        f"Read: {read}. Padding, document tokens and line breaks are left out.",
        f"A neuron is of the family of its best explanation among those above their threshold: "
        f"{limits}. Without one it is a position neuron if the mutual information of its firing "
        f"with the position is above {thresholds['position_information']:g} nats and the kurtosis "
        f"of its pre-activation below {thresholds['position_kurtosis']:g} (a Gaussian has 3).",
        "The best of many explanations is chosen and reported on the same tokens, so small "
        "numbers flatter; labels of documents are held against the same labels of other documents.",
    )
    return Part("How", text)


def _overview(
    studies: list[Explained], named: list[pl.DataFrame], thresholds: Mapping[str, float]
) -> Part:
    columns = {f"universal, {table['group'][0]}": table for table in named}
    columns |= {study.model: study.families for study in studies}
    counts = {name: counts_by_family(table) for name, table in columns.items()}
    frame = pl.DataFrame(
        {
            "family": [family_label(family) for family in FAMILIES],
            "what": [WHAT[family] for family in FAMILIES],
            **{name: [found[family] for family in FAMILIES] for name, found in counts.items()},
        }
    )
    panels = []
    for table in named:
        layers, per_layer = _sizes(_families_of(table, studies))
        title = f"{table['group'][0]}: universal neurons"
        panels.append((title, shares_by_layer(table, per_layer), layers))
    for study in studies:
        layers, per_layer = _sizes(study.families)
        panels.append((study.model, shares_by_layer(study.families, per_layer), layers))
    text = []
    for study in studies:
        chance = by_chance(study.explanations, thresholds["semantic"])
        if chance is not None:
            text.append(
                f"{study.model}: what a document is about takes away more than "
                f"{100 * thresholds['semantic']:g} % of the variance of {count(chance[0])} "
                f"neurons; with the labels of documents shuffled it would be {count(chance[1])}."
            )
    items = (
        Table(frame, "Neurons of each family.", {"what": "responds to"}),
        Picture(
            draw_counts(panels),
            "Neurons of each family by layer, in % of all neurons of the layer.",
            "Stacked bars of the share of neurons of each family, by layer",
        ),
    )
    return Part("Families", tuple(text), items)


def _sizes(families: pl.DataFrame) -> tuple[int, int]:
    """Layers, and neurons of a layer."""
    layers = families["layer"].n_unique()
    return layers, families.height // layers


def _neuron_table(table: pl.DataFrame, extra: tuple[str, ...] = ()) -> pl.DataFrame:
    return table.select(
        pl.struct(_NEURON)
        .map_elements(lambda n: neuron_name(n["layer"], n["neuron"]), return_dtype=pl.String)
        .alias("unit"),
        *extra,
        pl.col("family").map_elements(family_label, return_dtype=pl.String),
        pl.when(pl.col("previous_token"))
        .then(pl.lit("previous token: "))
        .otherwise(pl.lit(""))
        .add(pl.col("category"))
        .alias("kind"),
        "explanation",
        "variance_reduction",
        "mean_in",
        "mean_out",
        "kurtosis",
        "activation_frequency",
    )


_HEADINGS = {
    "unit": "neuron",
    "excess_correlation": "excess",
    "kind": "kind of label",
    "explanation": "best explanation",
    "variance_reduction": "reduction",
    "mean_in": "mean in",
    "mean_out": "mean out",
    "activation_frequency": "frequency",
}


def _against(rest: pl.DataFrame) -> str:
    """How many of the neurons that are not universal are of a family."""
    if rest.is_empty():
        return ""
    told = int((rest["family"] != NO_FAMILY).sum())
    return (
        f"Of the other {count(rest.height)} neurons of the model, {count(told)} "
        f"({100 * told / rest.height:.1f} %) are of a family."
    )


def _families_of(table: pl.DataFrame, studies: list[Explained]) -> pl.DataFrame:
    """Families of all neurons of the reference of a group."""
    return next(study.families for study in studies if study.model == table["model"][0])


def _group_part(table: pl.DataFrame, families: pl.DataFrame) -> Part:
    group = table["group"][0]
    shown = table.sort("excess_correlation", descending=True).head(LISTED)
    n = f"the {LISTED} with the highest excess of {count(table.height)}"
    caption = (
        f"Universal neurons of {group} ({n if table.height > LISTED else 'all'}), by excess "
        "correlation. The best explanation is named where it is below the threshold of its family "
        "too. Mean in, mean out: mean activation on the tokens that it holds of, and on the "
        "others. Reduction: of the variance. Kurtosis and frequency (share above zero) are of the "
        "pre-activation."
    )
    frame = _neuron_table(shown, ("excess_correlation",))
    rest = families.join(table.select(_NEURON), on=_NEURON, how="anti")
    return Part(
        f"Universal neurons of {group}",
        (f"{_listed(counts_by_family(table))} among {count(table.height)}. {_against(rest)}",),
        (Table(frame, caption, _HEADINGS),),
    )


def _study_part(study: Explained) -> Part:
    items: list[Picture | Table] = []
    drawn = study.examples
    for family in FAMILIES:
        rows = drawn.filter(pl.col("family") == family)
        if family == POSITION:
            items.append(_positions(study))
        elif len(rows):
            items.append(
                Picture(
                    draw_examples(rows),
                    f"{heading_of(family_label(family))} neurons: {WHAT[family]}. Activations by "
                    "class, each as shares of its own tokens (in brackets their number), on a "
                    "logarithmic scale.",
                    f"Histograms of activations of {family_label(family)} neurons by class",
                )
            )
    best = (
        study.families.filter(pl.col("family") != NO_FAMILY)
        .sort("variance_reduction", "layer", "neuron", descending=[True, False, False])
        .filter(pl.int_range(pl.len()).over("family") < 12)
    )
    items.append(
        Table(
            _neuron_table(best),
            "The twelve best explained neurons of each family. Reduction: of the variance. Mean "
            "in, mean out: mean activation in and out of the explanation. Kurtosis and frequency "
            "(share above zero) are of the pre-activation.",
            _HEADINGS,
        )
    )
    star = ""
    if drawn["is_universal"].any():
        star = " Neurons with * are universal."
    first = drawn.filter(*(pl.col(c) == drawn[c][0] for c in _NEURON)) if len(drawn) else drawn
    text = f"Some neurons of each family on {count(int(first['n'].sum()))} tokens.{star}"
    return Part(f"{study.model} on {study.text}", (text,), tuple(items))


def _positions(study: Explained) -> Picture:
    universal = study.examples.filter(pl.col("is_universal")).select(_NEURON).unique()
    known = study.families.select(*_NEURON, "family", "position_information")
    curves = (
        study.positions.join(known, on=_NEURON, how="left")
        .join(universal.with_columns(pl.lit(True).alias("is_universal")), on=_NEURON, how="left")
        .with_columns(pl.col("is_universal").fill_null(False))
        .sort("position_information", *_NEURON, descending=[True, False, False])
    )
    own = curves.filter(pl.col("family") == POSITION)
    rest = curves.filter(pl.col("family") != POSITION)
    shown = pl.concat([own.head(DRAWN_POSITIONS), rest.head(DRAWN_POSITIONS - own.height)])
    n = min(own.height, DRAWN_POSITIONS)
    which = {0: "No neuron is of the family;", DRAWN_POSITIONS: ""}.get(
        n, f"The first {count(n)} {'is' if n == 1 else 'are'} of the family;"
    )
    return Picture(
        draw_positions(shown),
        f"Position: mean activation at each position and its standard deviation. {which} "
        f"{'the ' if which else 'The '}neurons with the highest mutual information with the "
        "position are drawn.",
        "Curves of the mean activation over positions",
    )
