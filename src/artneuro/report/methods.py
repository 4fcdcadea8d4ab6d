"""Page about methods: rankings compared, sparsity curves, how many neurons tell a feature."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.sparsity import methods_grid, sparsity_figure
from artneuro.report.style import heading_of, name_of, neuron_name

# From this F1 on a neuron is said to tell a feature alone.
GOOD = 0.9


def build_methods_page(
    *,
    methods: Path,
    output: Path,
    sparsity: Paths = (),
    single_neurons: Paths = (),
    pruning: Paths = (),
) -> None:
    """Write the page about the methods of choosing neurons.

    Parameters
    ----------
    methods : path
        What `collect_methods` made.
    output : path
        The HTML file to write.
    sparsity, single_neurons, pruning : paths
        Tables of these schemas; may be empty.

    Raises
    ------
    DataError
        If nothing was compared.

    Notes
    -----
    Thesis, table A.4, figure A.2 and section 2.6.1.
    """
    table = read_table(methods)
    if table.is_empty():
        raise DataError(
            "no methods were compared", where=str(methods), fix="check the log of collect_methods"
        )
    parts = [methods_part(table)]
    if as_paths(sparsity):
        parts.append(sparsity_part(pl.concat([read_table(path) for path in as_paths(sparsity)])))
    if as_paths(single_neurons):
        single = pl.concat([read_table(path) for path in as_paths(single_neurons)])
        rounds = pl.concat([read_table(path) for path in as_paths(pruning)])
        parts.append(enumeration_part(single, rounds))
    lead = (
        f"{table['method'].n_unique()} ways of choosing k neurons, on the same features and rows, "
        "with the same refitted probe: how well they do on held-out text, and what they cost."
    )
    write_case_page(CasePage("Methods of choosing neurons", lead, tuple(parts)), output)


def methods_part(table: pl.DataFrame) -> Part:
    """F1 by method and k with run times, a table a site, of the rows of `collect_methods`."""
    items = []
    for site in table["site"].unique().sort():
        part = table.filter(pl.col("site") == site)
        names, ks, f1, seconds = methods_grid(part)
        frame = pl.DataFrame(
            {
                "method": [heading_of(name) for name in names],
                **{f"k = {k}": f1[:, i] for i, k in enumerate(ks)},
                "ms": 1000 * seconds,
            }
        )
        features, pairs = part["features"].to_list()[0], part["pairs"].to_list()[0]
        caption = (
            f"Test F1 by number of neurons k, {site}: mean over {features} features in {pairs} "
            f"{'dataset' if pairs == 1 else 'pairs of model and dataset'}, each on the layer that "
            "the training split chooses. CPU time is that of one feature on one layer, all k."
        )
        digits = dict.fromkeys(frame.columns, 3) | {"ms": 1}
        items.append(Table(frame, caption, {"ms": "CPU time, ms"}, digits))
    text = (
        "Every method but the random one sees the neurons that a filter by the difference of class "
        "means leaves it. Each then names its k neurons, a balanced logistic probe is fitted on "
        "them anew, and the probe is scored on text whose documents played no part in either.",
        "Differences of a hundredth are within what another split of the text would change.",
    )
    return Part("Rankings compared", text, tuple(items))


def sparsity_part(table: pl.DataFrame) -> Part:
    """How F1 falls with the number of neurons, in the neuron basis and in random bases."""
    pictures = tuple(
        Picture(
            sparsity_figure(part),
            "Mean test F1 over features against the number of coefficients of the probe. Solid: "
            "neurons chosen by adaptive thresholding, which drops the smallest coefficients of an "
            "elastic-net probe step by step. Dashed: as many random orthogonal directions of the "
            "same layer, with one standard deviation over draws.",
            "Curves of F1 that rise with the number of coefficients, neurons above random "
            "directions where few suffice.",
        )
        for part in table.partition_by(["model", "dataset"], maintain_order=True)
    )
    text = (
        "Where few neurons do as well as many, the feature is represented sparsely. Random "
        "directions need more coefficients for the same F1 unless the feature is spread over all "
        "of the layer.",
    )
    return Part("Sparsity curves", text, pictures)


def enumeration_part(single: pl.DataFrame, pruning: pl.DataFrame) -> Part:
    """How many neurons tell each feature, alone and in redundant sets."""
    place = ["model", "dataset", "site", "collection", "feature"]
    best = single.sort("f1_train", descending=True, maintain_order=True).group_by(
        place, maintain_order=True
    )
    counts = best.agg(
        (pl.col("f1") >= GOOD).sum().alias("good"),
        pl.col("layer").filter(pl.col("f1") >= GOOD).n_unique().alias("layers"),
        pl.struct("layer", "neuron").first().alias("first"),
        pl.col("f1").first(),
    )
    rounds = (
        pruning.group_by([*place, "layer"])
        .agg(pl.col("redundant").sum(), pl.col("neurons").list.len().max().alias("size"))
        .group_by(place)
        .agg(pl.col("redundant").max().alias("sets"), pl.col("size").max())
    )
    joined = counts.join(rounds, on=place, how="left").sort(place)
    frame = pl.DataFrame(
        {
            "feature": [name_of(value) for value in joined["feature"]],
            "model": joined["model"],
            "dataset": joined["dataset"],
            "best": [neuron_name(row["layer"], row["neuron"]) for row in joined["first"]],
            "f1": joined["f1"],
            "good": joined["good"],
            "layers": joined["layers"],
            "sets": joined["sets"],
        }
    )
    size = int(pruning["neurons"].list.len().to_numpy().max())
    caption = (
        f"One row a feature. Best neuron by train F1, with its test F1. Neurons with F1 ≥ {GOOD}: "
        "of all that were probed alone, with the number of layers that they lie in. Redundant "
        f"sets: rounds of probes of {size} neurons, each fitted without the neurons of the rounds "
        "before, until the training F1 falls; in the layer that has most of them."
    )
    headings = {
        "best": "best neuron",
        "f1": "test F1",
        "good": f"neurons with F1 ≥ {GOOD}",
        "layers": "in layers",
        "sets": "redundant sets",
    }
    text = (
        "A sparse probe names one set of neurons where several would do. Probing the most "
        "promising neurons of every layer alone, and fitting probe after probe on what the ones "
        "before left over, shows how many there are.",
    )
    return Part("How many neurons tell a feature", text, (Table(frame, caption, headings),))
