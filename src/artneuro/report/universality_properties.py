"""Parts of the page about universal neurons: what sets them apart from the rest.

Thesis, sections 3.4.2, B.3.1 and B.3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.style import score
from artneuro.report.universality_figures import (
    draw_by_layer,
    draw_frequency,
    draw_neighbours,
    draw_percentiles,
    properties_in,
    property_name,
)

# Neurons whose weights are this close are counted as duplicates.
DUPLICATE = 0.9


def property_parts(about: Mapping[str, pl.DataFrame]) -> list[Part]:
    """Figures 3.3, B.7, B.1 and B.2, as far as tables are there."""
    parts = []
    shown = {
        group: rows for group, rows in about.items()
        if properties_in({group: rows}) and rows["is_universal"].any()
    }  # fmt: skip
    if shown:
        items: list[Picture | Table] = [
            Picture(
                draw_percentiles(shown),
                "Universal neurons among all neurons of their layers: quartiles, and the 5th and "
                "95th percentile. A class like any other would have its box from 25 to 75. "
                "Weights are those after folding the norm before them and centring.",
                "Percentiles of properties of universal neurons",
            ),
            _property_table(shown),
        ]
        items += [
            Picture(
                draw_by_layer(rows),
                f"{group}: quartiles of universal neurons and of the rest in each layer, and the "
                "5th and 95th percentile.",
                "Properties of universal neurons and of the rest, by layer",
            )
            for group, rows in shown.items()
        ]
        text = (
            "Moments are of what a neuron has before its nonlinearity, over tokens. The weight "
            "penalty is the squared norm of its weights; vocabulary moments are of the cosines of "
            "its output weights with the unembedding of every token.",
        )
        parts.append(Part("Properties of universal neurons", text, tuple(items)))
    both = {
        group: rows for group, rows in about.items()
        if {"cos_in_out", "activation_frequency"} <= set(rows.columns)
    }  # fmt: skip
    if both:
        parts.append(_frequency_part(both))
    near = {g: rows for g, rows in about.items() if "nearest_in_cosine" in rows.columns}
    if near:
        parts.append(_duplicate_part(near))
    return parts


def _property_table(groups: Mapping[str, pl.DataFrame]) -> Table:
    rows = []
    for group, table in groups.items():
        for name in properties_in({group: table}):
            universal, rest = (
                table.filter(pl.col("is_universal") == value) for value in (True, False)
            )
            rows.append(
                {
                    "group": group,
                    "property": property_name(name),
                    "percentile": 100 * _median(universal[f"{name}_percentile"]),
                    "universal": _median(universal[name]),
                    "rest": _median(rest[name]),
                }
            )
    return Table(
        pl.DataFrame(rows),
        "Medians: of the percentile of universal neurons within their layers, and of the value of "
        "universal neurons and of the rest.",
        {
            "percentile": "percentile of universal ones", "universal": "universal",
            "rest": "the rest",
        },
        {"percentile": 0, "universal": 3, "rest": 3},
    )  # fmt: skip


def _median(values: pl.Series) -> float:
    found = values.median()
    return float(found) if isinstance(found, int | float) else float("nan")


def _frequency_part(groups: Mapping[str, pl.DataFrame]) -> Part:
    said = []
    for group, rows in groups.items():
        alive = rows.drop_nulls(["cos_in_out", "activation_frequency"])
        rank = alive.select(pl.corr("cos_in_out", "activation_frequency", method="spearman")).item()
        said.append(f"{group}: {score(rank)}")
    picture = Picture(
        draw_frequency(groups),
        "A neuron is a point: how often its activation is above zero, against the cosine of its "
        "input and output weights.",
        "Activation frequency against the cosine of input and output weights",
    )
    text = (f"Rank correlation of the two over all neurons: {'; '.join(said)}.",)
    return Part("How often neurons are active, and cos(in, out)", text, (picture,))


def _duplicate_part(groups: Mapping[str, pl.DataFrame]) -> Part:
    rows = []
    for group, table in groups.items():
        for is_universal in (True, False):
            part = table.filter(pl.col("is_universal") == is_universal)
            pairs = part.select("nearest_in_cosine", "nearest_out_cosine")
            rows.append(
                {
                    "group": group,
                    "neurons": "universal" if is_universal else "the rest",
                    "n": len(part),
                    "in": _median(pairs["nearest_in_cosine"]),
                    "out": _median(pairs["nearest_out_cosine"]),
                    "duplicates": int((pairs.min_horizontal() > DUPLICATE).sum()),
                }
            )
    items = (
        Picture(
            draw_neighbours(groups),
            "Cosine of each neuron's weights with those of the most similar neuron of its layer.",
            "Cosines with the most similar neuron",
        ),
        Table(
            pl.DataFrame(rows),
            f"Median cosines, and how many neurons have input and output weights that both have a "
            f"neighbour closer than {DUPLICATE:g}.",
            {"in": "input weights", "out": "output weights"},
        ),
    )
    return Part("Are universal neurons duplicates?", (), items)
