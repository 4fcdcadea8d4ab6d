"""The page about families of neurons: what it says and draws of planted tables."""

from __future__ import annotations

import re

import polars as pl
import pytest

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.report.families import (
    build_families_page,
    by_chance,
    counts_by_family,
    shares_by_layer,
)
from artneuro.universality.explanation_schemas import (
    EXAMPLES_SCHEMA,
    EXPLANATIONS_SCHEMA,
    FAMILIES_SCHEMA,
    GROUP_FAMILIES_SCHEMA,
    POSITIONS_SCHEMA,
    STATISTICS_SCHEMA,
)
from artneuro.universality.explanations_config import FamilyThresholds

FAMILY_OF = ["unigram", "syntax", "none", "position", "semantic", "none"]
EXPLAINED = {
    "unigram": ("$x (whole word)", "unigram", 0.9),
    "syntax": ("Tense=Past", "morphology", 0.6),
    "semantic": ("3 high: court, law, judge, jury", "topic", 0.25),
    "position": ("space", "start", 0.05),
    "none": ("space", "start", 0.02),
}


def row(schema: pl.Schema, **values) -> dict:
    """A row of a schema: what is not given is some number, or null."""
    defaults = {pl.Boolean(): False, pl.String(): "x"}
    return {
        name: values.get(name, defaults.get(dtype, 1 if dtype.is_numeric() else None))
        for name, dtype in schema.items()
    }


def tables(model: str) -> dict[str, pl.DataFrame]:
    """Two layers of three neurons, the one `FAMILY_OF` in each place."""
    names = {"model": model, "text": "prose"}
    neurons = [
        {**names, "layer": i // 3, "neuron": i % 3, "family": family}
        for i, family in enumerate(FAMILY_OF)
    ]
    families, explanations, examples = [], [], []
    for neuron in neurons:
        explanation, category, reduction = EXPLAINED[neuron["family"]]
        told = {
            **neuron, "explanation": explanation, "category": category,
            "variance_reduction": reduction, "previous_token": False, "is_universal": True,
        }  # fmt: skip
        families.append(row(FAMILIES_SCHEMA, **told))
        explanations.append(row(EXPLANATIONS_SCHEMA, **told))
        if neuron["family"] in ("unigram", "syntax", "semantic"):
            examples += [
                row(EXAMPLES_SCHEMA, **told, tokens=tokens, n=n, edges=[0.0, 1.0, 2.0],
                    counts=[n, 0])
                for tokens, n in (("in class", 20), ("other tokens", 1480))
            ]  # fmt: skip
    chance = {**names, "layer": 0, "neuron": 1, "variance_reduction": 0.3}
    explanations.append(row(EXPLANATIONS_SCHEMA, **chance, category="shuffled documents"))
    curves = [
        row(POSITIONS_SCHEMA, **neuron, positions=[1, 2, 3], mean=[0.0, 1.0, 2.0], std=[1.0] * 3)
        for neuron in neurons[2:4]
    ]
    statistics = [row(STATISTICS_SCHEMA, **neuron, n_tokens=1500) for neuron in neurons]
    return {
        "statistics": pl.DataFrame(statistics, schema=STATISTICS_SCHEMA),
        "families": pl.DataFrame(families, schema=FAMILIES_SCHEMA),
        "explanations": pl.DataFrame(explanations, schema=EXPLANATIONS_SCHEMA),
        "positions": pl.DataFrame(curves, schema=POSITIONS_SCHEMA),
        "examples": pl.DataFrame(examples, schema=EXAMPLES_SCHEMA),
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    paths: dict[str, list] = {}
    for model in ("planted", "other"):
        for name, table in tables(model).items():
            paths.setdefault(name, []).append(folder / f"{model}-{name}.parquet")
            write_table(table, paths[name][-1])
    universal = tables("planted")["families"].filter(pl.col("family").is_in(["unigram", "none"]))
    group = universal.with_columns(
        pl.lit("seeds").alias("group"),
        pl.lit(0.9).alias("mean_max_correlation"),
        pl.Series("excess_correlation", [0.71, 0.62, 0.53]),
        pl.lit(1, dtype=pl.Int32).alias("n_family"),
    ).select(GROUP_FAMILIES_SCHEMA.names())
    write_table(group, folder / "group.parquet")
    build_families_page(
        **paths,
        groups=[folder / "group.parquet"],
        thresholds=FamilyThresholds().model_dump(),
        output=folder / "families.html",
    )
    return (folder / "families.html").read_text()


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_says_how_many_neurons_are_of_a_family(page):
    text = text_of(page)
    assert "Of the 3 universal neurons of seeds, 1 is of a family (1 unigram)." in text
    # Four of six, in both models.
    assert "Of all 6 neurons of planted, 4 (66.7 %) are of a family." in text
    assert "Of all 6 neurons of other, 4 (66.7 %) are of a family." in text
    assert "planted on 1 500 tokens of prose" in text


def test_universal_neurons_are_named_by_their_excess(page):
    table = page[page.index("Universal neurons of seeds") :]
    order = re.findall(r"L\d\.\d", table)[:3]
    assert order == ["L0.0", "L0.2", "L1.2"]
    assert "$x (whole word)" in table
    # Three of the other three.
    assert "Of the other 3 neurons of the model, 3 (100.0 %) are of a family." in text_of(page)


def test_topics_are_held_against_shuffled_ones(page):
    assert (
        "planted: what a document is about takes away more than 20 % of the variance of 1 neurons; "
        "with the labels of documents shuffled it would be 1." in text_of(page)
    )
    found = tables("planted")["explanations"]
    assert by_chance(found, 0.1) == (1, 1)
    assert by_chance(found, 0.27) == (0, 1)
    assert by_chance(found.filter(pl.col("category") != "topic"), 0.1) is None


def test_a_page_has_a_figure_for_each_family_that_is_drawn(page):
    pictures = re.findall(r'<img[^>]*alt="([^"]*)"', page)
    assert len([p for p in pictures if p.startswith("Histograms")]) == 2 * 3
    assert len([p for p in pictures if p.startswith("Curves")]) == 2
    assert len([p for p in pictures if p.startswith("Stacked")]) == 1


def test_counts_and_shares():
    table = tables("m")["families"]
    counts = counts_by_family(table)
    assert counts["none"] == 2
    assert counts["alphabet"] == 0
    assert sum(counts.values()) == 6
    shares = shares_by_layer(table, 3)
    assert set(shares["family"]) == {"unigram", "syntax", "position", "semantic"}
    assert shares["share"].to_list() == pytest.approx([100 / 3] * 4)


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no neuron was explained"):
        build_families_page(
            statistics=[], families=[], explanations=[], positions=[], examples=[], groups=[],
            thresholds={}, output=tmp_path / "x.html",
        )  # fmt: skip
