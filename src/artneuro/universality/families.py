"""Families of neurons, from the explanations that take away most of their variance."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.universality.explanation_schemas import FAMILIES_SCHEMA, GROUP_FAMILIES_SCHEMA
from artneuro.universality.explanations_config import FamilyThresholds

log = logging.getLogger(__name__)

# Kinds of explanations, in the order in which equal variance reductions are decided.
KINDS = ("unigram", "alphabet", "previous_token", "syntax", "semantic", "vocabulary")
POSITION, NO_FAMILY = "position", "none"
FAMILIES = (*KINDS[:3], POSITION, *KINDS[3:], NO_FAMILY)

# Labels of documents that are shuffled: what such labels explain by chance.
CONTROL, SHUFFLED = "control", "shuffled documents"

_KIND_OF_CATEGORY = {
    SHUFFLED: CONTROL,
    "unigram": "unigram",
    "letter": "alphabet",
    "part of speech": "syntax",
    "relation": "syntax",
    "morphology": "syntax",
    "entity": "syntax",
    "stop word": "syntax",
    "sentence": "syntax",
    "subset": "semantic",
    "language": "semantic",
    "topic": "semantic",
}
_NEURON = ["layer", "neuron"]


def kind_of(category: str, previous: bool) -> str:
    """The kind of an explanation: the family that it may put a neuron in."""
    return "previous_token" if previous else _KIND_OF_CATEGORY.get(category, "vocabulary")


def find_families(
    statistics: pl.DataFrame, explanations: pl.DataFrame, thresholds: FamilyThresholds
) -> pl.DataFrame:
    """The family of every neuron, with the explanation that puts it there.

    A neuron is of the kind whose best explanation has the highest variance reduction, among the
    kinds whose threshold it is above. If there is none, it is a position neuron where its mutual
    information with the position is high enough and its kurtosis low enough, and else of no
    family; its best explanation is named all the same.

    Parameters
    ----------
    statistics, explanations : DataFrame
        Of the schemas of these names, of one model and text.
    thresholds : FamilyThresholds

    Returns
    -------
    DataFrame
        Of the schema `families`, one row a neuron.

    Notes
    -----
    Thesis, section 3.4.3; its thresholds are those of unigrams and letters and the kurtosis.
    """
    limits = {kind: getattr(thresholds, kind) for kind in KINDS}
    explanations = explanations.filter(pl.col("category") != SHUFFLED)
    kind = pl.struct("category", "previous_token").map_elements(
        lambda row: kind_of(row["category"], row["previous_token"]), return_dtype=pl.String
    )
    # One lookup for each category rather than for each row.
    categories = (
        explanations.select("category", "previous_token").unique().with_columns(kind.alias("kind"))
    )
    ranked = (
        explanations.join(categories, on=["category", "previous_token"], how="left")
        .with_columns(
            pl.col("kind").replace_strict({k: i for i, k in enumerate(KINDS)}).alias("order"),
            (
                pl.col("variance_reduction")
                > pl.col("kind").replace_strict(limits, return_dtype=pl.Float64)
            ).alias("passes"),
        )
        .sort(
            [*_NEURON, "passes", "variance_reduction", "order", "explanation"],
            descending=[False, False, True, True, False, False],
        )
        .unique(_NEURON, keep="first", maintain_order=True)
    )
    position = (
        (pl.col("position_information") > thresholds.position_information)
        & (pl.col("kurtosis") < thresholds.position_kurtosis)
    ).fill_null(False)
    return (
        statistics.join(ranked.drop("model", "text"), on=_NEURON, how="left")
        .with_columns(
            pl.when(pl.col("passes"))
            .then(pl.col("kind"))
            .when(position)
            .then(pl.lit(POSITION))
            .otherwise(pl.lit(NO_FAMILY))
            .alias("family")
        )
        .select(FAMILIES_SCHEMA.names())
        .cast(FAMILIES_SCHEMA)
        .sort(_NEURON)
    )


def assign_families(
    thresholds: FamilyThresholds, statistics: Path, explanations: Path, output: Path
) -> dict[str, int]:
    """Write the family of every neuron of a model; return the neurons of each.

    Parameters
    ----------
    thresholds : FamilyThresholds
    statistics, explanations : path
        What `explain_neurons` wrote.
    output : path
        Table to write, of the schema `families`.
    """
    found = find_families(read_table(statistics), read_table(explanations), thresholds)
    write_table(found, output)
    return _counted(found)


def name_universal_neurons(neurons: Path, families: Path, output: Path) -> dict[str, int]:
    """Write the family of each universal neuron of a group; return the neurons of each.

    Parameters
    ----------
    neurons : path
        The group's table of neurons with their correlations.
    families : path
        Of the group's reference.
    output : path
        Table to write, of the schema `group_families`; `n_family` is the number of universal
        neurons of the family.
    """
    universal = read_table(neurons).filter(pl.col("is_universal"))
    table = (
        universal.select("group", "model", *_NEURON, "mean_max_correlation", "excess_correlation")
        .join(read_table(families), on=["model", *_NEURON], how="inner")
        .with_columns(pl.len().over("family").alias("n_family"))
        .select(GROUP_FAMILIES_SCHEMA.names())
        .cast(GROUP_FAMILIES_SCHEMA)
        .sort(_NEURON)
    )
    write_table(table, output)
    return _counted(table)


def _counted(table: pl.DataFrame) -> dict[str, int]:
    counts = Counter(table["family"].to_list())
    found = {family: counts.get(family, 0) for family in FAMILIES}
    log.info("%d neurons: %s", table.height, found)
    return found
