"""The page about the size of models: how sparsely the same features are represented in each.

Thesis, section 2.5.3 and figures 2.4, A.13 and A.15.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.probing.scale import (
    COLUMNS,
    best_per_k,
    by_collection,
    by_depth,
    by_layer,
    scale_table,
)
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths, read_models
from artneuro.report.config import ReportConfig
from artneuro.report.scale_figures import (
    draw_depth,
    draw_features,
    draw_sizes,
    draw_sparsity,
    models_by_size,
    panel_name,
)
from artneuro.report.style import count, name_of, neuron_name

DEPTHS = ("1st quarter", "2nd", "3rd", "4th")
PANEL = ["dataset", "site", "collection"]


def build_scale_page(
    config: ReportConfig, *, models: Paths, scores: Paths, output: Path, table: Path
) -> None:
    """Write the page about scale, and the table behind it.

    Parameters
    ----------
    config : ReportConfig
        `scale_tolerance`.
    models : path or paths
        The `model.json` of every probed model.
    scores : path or paths
        The scores of every probed model and dataset.
    output : path
        The HTML file.
    table : path
        The table `scale`: one row for each (model, dataset, site, collection, feature), see
        `artneuro.probing.scale.scale_table`.

    Raises
    ------
    DataError
        If there are no probes of single neurons, or a model's size is not known.
    """
    sizes = {m["name"]: (m["n_parameters"], m["n_layers"]) for m in read_models(models)}
    found = pl.concat([read_table(path, COLUMNS) for path in as_paths(scores)])
    rows = scale_table(found, sizes, config.scale_tolerance).drop_nulls("f1")
    if rows.is_empty():
        raise DataError(
            "there are no probes of single neurons to compare",
            where=str(output),
            fix="check the logs of the rule fit_probes",
        )
    write_table(rows, table)
    depth = by_depth(found, {name: layers for name, (_, layers) in sizes.items()})
    several = rows["model"].n_unique() > 1
    parts = [
        _collections(rows, best_per_k(found), config.scale_tolerance, several),
        *([_by_size(rows)] if several else []),
        _depth(depth, by_layer(found), rows),
        _features(rows, several),
    ]
    lead = _lead_of_many if several else _lead_of_one
    write_case_page(CasePage("Sparsity and scale", lead(rows, config), tuple(parts)), output)


def _lead_of_one(rows: pl.DataFrame, config: ReportConfig) -> str:
    enough = int((rows["k_enough"] == 1).sum())
    largest = int(rows["k_largest"].to_numpy().max())
    return (
        f"In {rows['model'][0]} ({count(rows['parameters'][0])} parameters) one neuron does as "
        f"well as the best probe of up to {largest} neurons, to within "
        f"{config.scale_tolerance:g} F1, for {enough} of {rows.height} features. Whether larger "
        "models represent features more sparsely takes a second model: with more of them in the "
        "config this page sets them against their size. With one it shows where in the depth of "
        "the model the neurons are."
    )


def _lead_of_many(rows: pl.DataFrame, config: ReportConfig) -> str:
    means = by_collection(rows)
    ends = means.group_by(PANEL, maintain_order=True).agg(
        pl.len(),
        pl.col("k_enough").first().alias("small"),
        pl.col("k_enough").last().alias("large"),
    )
    ends = ends.filter(pl.col("len") > 1)
    change = ends["large"] - ends["small"]
    by_size = rows.select("model", "parameters").unique().sort("parameters", "model")
    first, last = by_size.row(0, named=True), by_size.row(-1, named=True)
    return (
        f"From the smallest model with a collection to the largest ({first['model']}, "
        f"{count(first['parameters'])} parameters, to {last['model']}, "
        f"{count(last['parameters'])}), the number of neurons that come within "
        f"{config.scale_tolerance:g} F1 of the best probe fell in {int((change < 0).sum())} of "
        f"{ends.height} collections, rose in {int((change > 0).sum())} and stayed in "
        f"{int((change == 0).sum())}."
    )


def _collections(rows: pl.DataFrame, best: pl.DataFrame, tolerance: float, several: bool) -> Part:
    means = by_collection(rows)
    frame = pl.DataFrame(
        {
            "collection": _panel_names(means),
            "model": means["model"],
            "parameters": [count(v) for v in means["parameters"]],
            "features": means["features"].cast(pl.Int64),
            "f1": means["f1"],
            "f1_most": means["f1_most"],
            "k_enough": means["k_enough"],
            "enough": 100 * means["enough"],
        }
    )
    table = Table(
        frame,
        "A row is a collection on a dataset in a model. F1: mean over features of the test F1 of "
        "the best single neuron, and of the best probe of any size that was fitted. Neurons "
        f"needed: mean over features of the smallest size within {tolerance:g} of that. One "
        "enough: share of features for which it is one neuron.",
        {
            "f1": "F1, one neuron",
            "f1_most": "F1, best probe",
            "k_enough": "neurons needed",
            "enough": "one enough, %",
        },
        {"k_enough": 1, "enough": 0},
    )
    picture = Picture(
        draw_sparsity(best, rows),
        "Mean test F1 over the features of a collection by the number of neurons of the probe"
        + (", a line for each model" if several else "")
        + ". Layer and ranking of each probe are chosen on the train split.",
        "F1 rises with the number of neurons and levels off",
    )
    paragraphs = (
        "A feature that one neuron tells as well as several is represented sparsely; one that "
        "gains from more is spread over neurons, or made up of parts that have neurons of their "
        "own. Layers, rankings and neurons are chosen on the train split; the largest of several "
        "noisy test scores is a little too high, so that the neurons needed are rather too many.",
    )
    return Part("How many neurons a feature takes", paragraphs, (picture, table))


def _by_size(rows: pl.DataFrame) -> Part:
    return Part(
        "Against the size of the model",
        (
            "Larger models may learn rarer features, which then get neurons of their own, and may "
            "split a feature among several finer ones, which a probe sees as less sparse. So "
            "single features may rise or fall where the mean of their collection does not.",
        ),
        (
            Picture(
                draw_sizes(by_collection(rows)),
                "Means over the features of each collection: test F1 of the best single neuron, "
                "and neurons needed. A point is a model.",
                "Mean F1 and neurons needed against the number of parameters",
            ),
            Picture(
                draw_features(rows),
                "Test F1 of the best single neuron of each feature. A line is a feature.",
                "F1 of each feature's best neuron against the number of parameters",
            ),
        ),
    )


def _panel_names(table: pl.DataFrame) -> list[str]:
    """Names of collections for the rows of a table, which are not broken into lines."""
    several = table["site"].n_unique() > 1
    names = [panel_name(*key, several_sites=several) for key in table.select(PANEL).iter_rows()]
    return [name.replace(" ", "\u00a0") for name in names]


def _depth(depth: pl.DataFrame, layers: pl.DataFrame, rows: pl.DataFrame) -> Part:
    keys = [*PANEL, "model"]
    sizes = rows.select("model", "parameters").unique()
    wide = depth.pivot("part", index=keys, values=["f1", "best"]).join(sizes, on="model")
    wide = wide.sort(*PANEL, "parameters", "model")
    frame = pl.DataFrame(
        {
            "collection": _panel_names(wide),
            "model": wide["model"],
            **{
                f"{name}_{part}": wide[f"{name}_{part}"]
                for name in ("f1", "best")
                for part in range(len(DEPTHS))
                if f"{name}_{part}" in wide.columns
            },
        }
    )
    headings = {f"f1_{part}": f"F1, {name}" for part, name in enumerate(DEPTHS)}
    headings |= {f"best_{part}": f"best, {name}" for part, name in enumerate(DEPTHS)}
    return Part(
        "Where in the depth of the model",
        (),
        (
            Picture(
                draw_depth(layers, rows),
                "Mean over features of the test F1 of the best single neuron of each layer. Depth "
                "runs from the first layer (0) to the last (1), so that models of different "
                "numbers of layers can be compared.",
                "F1 of the best single neuron against depth",
            ),
            Table(
                frame,
                "The layers in four equal parts. F1: mean over features of the test F1 of the best "
                "single neuron within the part, chosen on train. Best: number of features whose "
                "best neuron of all layers is in the part.",
                headings,
            ),
        ),
    )


def _features(rows: pl.DataFrame, several: bool) -> Part:
    ordered = rows.sort("dataset", "site", "collection", "feature", "parameters", "model")
    keys = ["feature", "collection"]
    named = ordered.with_columns(
        pl.Series("feature", [name_of(v).replace(" ", "\u00a0") for v in ordered["feature"]]),
        pl.Series("collection", _panel_names(ordered)),
        pl.Series(
            "name", [neuron_name(*unit) for unit in ordered.select("layer", "neuron").iter_rows()]
        ),
    )
    if not several:
        table = Table(
            named.select(
                *keys, "name", "f1", pl.col("k_enough").cast(pl.Int64), "f1_enough", "f1_most"
            ),
            "A row is a feature: its best single neuron, chosen on train, with its test F1; the "
            "smallest number of neurons that comes near the best probe, that probe's F1, and the "
            "best one's.",
            {
                "name": "best neuron", "f1": "F1, one neuron", "k_enough": "neurons needed",
                "f1_enough": "F1 of these", "f1_most": "F1, best probe",
            },
        )  # fmt: skip
        return Part("Every feature", (), (table,))
    models = models_by_size(rows)
    wide = named.pivot("model", index=keys, values=["f1", "k_enough"], maintain_order=True)
    columns = [f"{value}_{m}" for value in ("f1", "k_enough") for m in models]
    frame = wide.select(*keys, *columns)
    table = Table(
        frame.with_columns(pl.col(pl.Int16).cast(pl.Int64)),
        "A row is a feature. First the test F1 of its best single neuron in each model, smaller "
        "models first; then the smallest number of neurons that comes near the best probe.",
        {f"f1_{m}": f"F1, {m}" for m in models} | {f"k_enough_{m}": f"needed, {m}" for m in models},
    )
    return Part("Every feature", (), (table,))
