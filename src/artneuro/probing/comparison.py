"""Methods of choosing neurons compared: F1 by method and number of neurons, and run times.

Thesis, table A.4.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.probing.layer import NO_CONTROL

log = logging.getLogger(__name__)

METHODS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "method": pl.String(),
        "k": pl.Int8(),
        "features": pl.Int32(),
        "layers": pl.Int16(),
        "f1": pl.Float64(),
        "f1_best_layer": pl.Float64(),
        "seconds": pl.Float64(),
    }
)
ALL_METHODS_SCHEMA = pl.Schema(
    {
        "site": pl.String(),
        "method": pl.String(),
        "k": pl.Int8(),
        "pairs": pl.Int32(),
        "features": pl.Int32(),
        "f1": pl.Float64(),
        "f1_best_layer": pl.Float64(),
        "seconds": pl.Float64(),
    }
)
_NAMES = ["model", "dataset", "site", "collection"]
_MEANS = ("f1", "f1_best_layer", "seconds")


def method_table(scores: pl.DataFrame, times: pl.DataFrame) -> pl.DataFrame:
    """Methods compared on one model and dataset, of tables of the schemas `scores` and `times`.

    Where several layers reach the same highest F1 on the training split, as they do once a probe
    separates that split, `f1` takes their mean: the split does not say which of them to take.
    """
    real = scores.filter(pl.col("control") == NO_CONTROL)
    one = [*_NAMES, "feature", "method", "k"]
    by_train = (
        real.filter(pl.col("f1_train") == pl.col("f1_train").max().over(one))
        .group_by(one)
        .agg(pl.col("f1").mean())
    )
    by_test = real.group_by(one).agg(
        pl.col("f1").max().alias("f1_best_layer"), pl.col("layer").n_unique().alias("layers")
    )
    seconds = (
        times.filter(pl.col("control") == NO_CONTROL)
        .group_by([*_NAMES, "method"])
        .agg(pl.col("seconds").mean())
    )
    keys = [*_NAMES, "method", "k"]
    return (
        by_train.join(by_test, on=one)
        # Floating-point sums depend on the order of their terms.
        .sort(one)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.len().alias("features"),
            pl.col("layers").max(),
            pl.col("f1").mean(),
            pl.col("f1_best_layer").mean(),
        )
        .join(seconds, on=[*_NAMES, "method"], how="left")
        .select(METHODS_SCHEMA.names())
        .cast(METHODS_SCHEMA)
        .sort(keys)
    )


def collect_methods(
    scores: Sequence[Path], times: Sequence[Path], output: Path, by_dataset: Path
) -> None:
    """Write table A.4: F1 of each method at each k on the best layer, and run times.

    Parameters
    ----------
    scores, times : sequence of path
        What `fit_probes` made of each model and dataset, in the same order.
    output : path
        Means over the features of all models and datasets: one row for each (site, method, k),
        with the number of `pairs` of model and dataset and of `features` behind it. Only
        (model, dataset, site) with every method at every k are averaged, so that all methods are
        compared on the same features; where none has them all, those with the most.
    by_dataset : path
        One row for each (model, dataset, site, collection, method, k). `f1` is the test F1 of the
        layer that the training split chooses, `f1_best_layer` that of the layer with the highest
        test F1, both means over `features`; `seconds` is the mean CPU time for one feature on one
        layer with all its k.

    Raises
    ------
    DataError
        If there is no table, one holds no probe on true labels, or times are of other probes.
    """
    if not scores:
        raise DataError(
            "there is nothing to compare", where="probing", fix="probe at least one dataset"
        )
    table = pl.concat([_compared(*paths) for paths in zip(scores, times, strict=True)])
    write_table(table, by_dataset)
    write_table(overall_table(table), output)


def _compared(scores: Path, times: Path) -> pl.DataFrame:
    """`method_table` of one model and dataset."""
    table = method_table(read_table(scores), read_table(times))
    if table.is_empty():
        raise DataError(
            "there are no probes on true labels",
            where=str(scores),
            fix="delete the file and run snakemake again",
        )
    if table["seconds"].null_count():
        raise DataError(
            "probes were fitted by methods that have no times",
            where=f"{scores} against {times}",
            fix="delete both files and run snakemake again: they are of different runs",
        )
    return table


def overall_table(methods: pl.DataFrame) -> pl.DataFrame:
    """Means over all models and datasets with every method, of the rows of `method_table`."""
    place = ["model", "dataset", "site"]
    cells = pl.struct("method", "k").n_unique().over(place).alias("cells")
    counted = methods.with_columns(cells)
    kept = counted.filter(pl.col("cells") == pl.col("cells").max().over("site"))
    left_out = methods.select(place).n_unique() - kept.select(place).n_unique()
    if left_out:
        log.info("%d of %d are without some of the methods and left out", left_out,
                 methods.select(place).n_unique())  # fmt: skip
    weight = pl.col("features").cast(pl.Float64)
    return (
        kept.sort([*_NAMES, "method", "k"])
        .group_by(["site", "method", "k"], maintain_order=True)
        .agg(
            pl.struct("model", "dataset").n_unique().alias("pairs"),
            pl.col("features").sum(),
            *[(pl.col(name) * weight).sum() / weight.sum() for name in _MEANS],
        )
        .select(ALL_METHODS_SCHEMA.names())
        .cast(ALL_METHODS_SCHEMA)
        .sort(["site", "method", "k"])
    )
