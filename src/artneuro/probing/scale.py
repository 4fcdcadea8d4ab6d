"""How sparsely features are represented, to be set against the size of the model.

Thesis, section 2.5.3 and figures 2.4, A.13 and A.15. Everything is read off the tables of scores:
layers and rankings are chosen by the F1 on the training split, what is told is the F1 on the test
split.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from artneuro.core.errors import DataError

# Said here and not taken from `layer`, with which the whole of fitting would be imported.
_REAL, _RANDOM = "none", "random"
FEATURE = ["model", "dataset", "site", "collection", "feature"]
COLLECTION = FEATURE[:-1]
# The columns of `scores` that are needed here.
COLUMNS = [*FEATURE, "layer", "method", "k", "control", "neurons", "f1", "f1_train"]

SCALE_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "dataset": pl.String(),
        "site": pl.String(),
        "collection": pl.String(),
        "feature": pl.String(),
        "parameters": pl.Int64(),
        "layers": pl.Int16(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "f1": pl.Float64(),
        "k_enough": pl.Int16(),
        "f1_enough": pl.Float64(),
        "f1_most": pl.Float64(),
        "k_most": pl.Int16(),
        "k_largest": pl.Int16(),
    }
)


def best_per_k(scores: pl.DataFrame) -> pl.DataFrame:
    """The probe of each (feature, k) with the highest F1 on train, over all layers and rankings.

    Ties go to the lower layer, then to the first ranking by name. Neurons drawn at random and
    controls are left out.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores`.
    """
    keys = [*FEATURE, "k"]
    return (
        scores.filter((pl.col("control") == _REAL) & (pl.col("method") != _RANDOM))
        .sort([*keys, "f1_train", "layer", "method"], descending=[False] * 6 + [True, False, False])
        .unique(keys, keep="first", maintain_order=True)
    )


def neurons_needed(best: pl.DataFrame, tolerance: float) -> pl.DataFrame:
    """How few neurons do nearly as well as any number of them that was tried.

    Parameters
    ----------
    best : DataFrame
        From `best_per_k`.
    tolerance : float
        Test F1 that may be lost.

    Returns
    -------
    DataFrame
        One row a feature: `layer`, `neuron` and test `f1` of its best single neuron; `f1_most`,
        the highest test F1 over k, and `k_most`, the smallest k that has it; `k_enough`, the
        smallest k whose test F1 is at least f1_most - tolerance, and its `f1_enough`; `k_largest`,
        the largest k that was fitted. Without probes on one neuron those three are null.
    """
    most = pl.col("f1").max().over(FEATURE)
    # The tolerance is of scores as they are read: 0.90 is within 0.02 of 0.92.
    enough = pl.col("f1") >= most - tolerance - 1e-9
    ordered = best.sort([*FEATURE, "k"]).with_columns(
        enough.alias("enough"), (pl.col("f1") == most).alias("most")
    )
    single = pl.col("k") == 1
    return (
        ordered.group_by(FEATURE, maintain_order=True)
        .agg(
            pl.col("layer").filter(single).first(),
            pl.col("neurons").filter(single).first().list.first().alias("neuron"),
            pl.col("f1").filter(single).first().alias("f1"),
            pl.col("k").filter("enough").first().alias("k_enough"),
            pl.col("f1").filter("enough").first().alias("f1_enough"),
            pl.col("f1").max().alias("f1_most"),
            pl.col("k").filter("most").first().alias("k_most"),
            pl.col("k").max().alias("k_largest"),
        )
        .sort(FEATURE)
    )


def scale_table(
    scores: pl.DataFrame, models: Mapping[str, tuple[int, int]], tolerance: float
) -> pl.DataFrame:
    """`neurons_needed` of every model with its size, in the schema `scale`.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores` of any number of models and datasets.
    models : mapping of str to (parameters, layers)
        Sizes by name.
    tolerance : float

    Raises
    ------
    DataError
        If a model's size is not known.
    """
    found = neurons_needed(best_per_k(scores), tolerance)
    unknown = sorted(set(found["model"]) - models.keys())
    if unknown:
        raise DataError(
            f"the size of the model {unknown[0]!r} is not known",
            where="the scores against the models' model.json",
            fix="give the model.json of every model with scores",
        )
    return (
        found.with_columns(
            pl.col("model")
            .replace_strict({name: size[place] for name, size in models.items()})
            .alias(column)
            for place, column in enumerate(("parameters", "layers"))
        )
        .select(SCALE_SCHEMA.names())
        .cast(SCALE_SCHEMA)
    )


def by_collection(table: pl.DataFrame) -> pl.DataFrame:
    """Means over the features of each (model, dataset, site, collection), smaller models first.

    Parameters
    ----------
    table : DataFrame
        From `scale_table`.

    Returns
    -------
    DataFrame
        `parameters`, `features`, mean `f1` of the best single neurons, mean `f1_most`, mean
        `k_enough`, and the share of features that one neuron is `enough` for.
    """
    return (
        table.group_by(COLLECTION)
        .agg(
            pl.col("parameters").first(),
            pl.len().alias("features"),
            pl.col("f1").mean(),
            pl.col("f1_most").mean(),
            pl.col("k_enough").mean(),
            (pl.col("k_enough") == 1).mean().alias("enough"),
        )
        .sort("dataset", "site", "collection", "parameters", "model")
    )


def by_depth(scores: pl.DataFrame, layers: Mapping[str, int], parts: int = 4) -> pl.DataFrame:
    """Best single neurons by depth: the layers of each model in equal parts.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores`.
    layers : mapping of str to int
        Number of layers of each model.
    parts : int
        Parts from the first layers (0) to the last.

    Returns
    -------
    DataFrame
        One row for each (model, dataset, site, collection, part) with probed layers: mean test
        `f1` over features of the single neuron that the training split chooses within the part,
        and `best`, the number of features whose single neuron with the highest training F1 over
        all layers is in the part.
    """
    depth = pl.col("layer").cast(pl.Int64) * parts // pl.col("model").replace_strict(dict(layers))
    single = scores.filter(pl.col("k") == 1).with_columns(depth.cast(pl.Int16).alias("part"))
    within = [
        best_per_k(part).with_columns(pl.lit(key[0]).cast(pl.Int16).alias("part"))
        for key, part in single.group_by("part", maintain_order=True)
    ]
    winners = best_per_k(single).select([*FEATURE, "layer"]).with_columns(best=pl.lit(True))
    joined = pl.concat(within).join(winners, on=[*FEATURE, "layer"], how="left")
    return (
        joined.group_by([*COLLECTION, "part"])
        .agg(
            pl.len().alias("features"),
            pl.col("f1").mean(),
            pl.col("best").fill_null(False).sum().cast(pl.Int32),
        )
        .sort([*COLLECTION, "part"])
    )


def by_layer(scores: pl.DataFrame) -> pl.DataFrame:
    """Best single neuron of each (feature, layer) by the training split, in the columns of scores.

    Thesis, figure A.15.
    """
    single = scores.filter(pl.col("k") == 1)
    parts = [best_per_k(part) for _, part in single.group_by("layer", maintain_order=True)]
    return pl.concat(parts).sort([*FEATURE, "layer"]) if parts else single
