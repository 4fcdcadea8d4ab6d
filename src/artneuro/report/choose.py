"""What the report shows of a table of scores: choices are made on the train split only.

Every function here chooses (a layer, a ranking, a neuron) by the F1 on the train split and hands on
the F1 on the test split of what was chosen. The controls go through the same choice, so that they
show what the choice alone gives.
"""

from __future__ import annotations

import polars as pl

SECTION = ["model", "dataset", "site", "collection"]
REAL, SHUFFLED = "none", "shuffled_labels"
RANDOM = "random"


def sections(scores: pl.DataFrame) -> list[tuple[str, str, str, str]]:
    """The (model, dataset, site, collection) that scores has, sorted."""
    return [tuple(row) for row in scores.select(SECTION).unique().sort(SECTION).iter_rows()]


def in_section(frame: pl.DataFrame, section: tuple[str, str, str, str]) -> pl.DataFrame:
    """The rows of one (model, dataset, site, collection)."""
    model, dataset, site, collection = section
    return frame.filter(
        (pl.col("model") == model)
        & (pl.col("dataset") == dataset)
        & (pl.col("site") == site)
        & (pl.col("collection") == collection)
    )


def choose_by_train(scores: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row of each group: the one with the highest F1 on the train split.

    Ties go to the lower layer, then to the first ranking by name: never to the test score. Rows
    without a train F1 are left out.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores`.
    by : list of str
        Columns that make the groups, in addition to those of `SECTION`.
    """
    keys = [*SECTION, *by]
    return (
        scores.filter(pl.col("f1_train").is_not_null() & pl.col("f1_train").is_not_nan())
        .sort(
            [*keys, "f1_train", "layer", "method", "k"],
            descending=[False] * len(keys) + [True] + [False] * 3,
        )
        .unique(keys, keep="first", maintain_order=True)
    )


def single_neurons(scores: pl.DataFrame, control: str = REAL) -> pl.DataFrame:
    """Probes on one neuron found by a ranking (not by chance), under the given control."""
    return scores.filter(
        (pl.col("k") == 1) & (pl.col("method") != RANDOM) & (pl.col("control") == control)
    )


def best_by_layer(scores: pl.DataFrame) -> pl.DataFrame:
    """Best single neuron of each (feature, layer)."""
    return choose_by_train(single_neurons(scores), ["feature", "layer"])


def best_by_feature(scores: pl.DataFrame, control: str = REAL) -> pl.DataFrame:
    """Best single neuron of each feature over all layers and rankings."""
    return choose_by_train(single_neurons(scores, control), ["feature"])


def random_by_feature(scores: pl.DataFrame) -> pl.DataFrame:
    """Best over layers of a neuron drawn at random in each layer, for each feature."""
    drawn = scores.filter(
        (pl.col("k") == 1) & (pl.col("method") == RANDOM) & (pl.col("control") == REAL)
    )
    return choose_by_train(drawn, ["feature"])


def best_by_k(scores: pl.DataFrame) -> pl.DataFrame:
    """Best layer of each (feature, method, k, control)."""
    return choose_by_train(scores, ["feature", "method", "k", "control"])


def mean_by_k(best: pl.DataFrame) -> pl.DataFrame:
    """Mean test F1 over the features of a collection, of what `best_by_k` chose."""
    keys = [*SECTION, "method", "k", "control"]
    return best.group_by(keys).agg(pl.col("f1").mean(), pl.len().alias("features")).sort(keys)


def summary(scores: pl.DataFrame, good_f1: float) -> pl.DataFrame:
    """One row a collection: the best single neurons and the same search under both controls.

    Returns
    -------
    DataFrame
        The columns of `SECTION`, `features`, `layers`, `f1` (mean over features of the test F1 of
        the best single neuron), `good` (features at or above `good_f1`), `f1_random` (a neuron
        drawn at random in each layer) and `f1_shuffled` (the search repeated on shuffled labels),
        the last two null where the control was not run.
    """
    best = best_by_feature(scores)
    table = best.group_by(SECTION).agg(
        pl.col("feature").n_unique().alias("features"),
        pl.col("f1").mean(),
        (pl.col("f1") >= good_f1).sum().alias("good"),
    )
    layers = scores.group_by(SECTION).agg(pl.col("layer").n_unique().alias("layers"))
    table = table.join(layers, on=SECTION, how="left")
    for name, control in (
        ("f1_random", random_by_feature(scores)),
        ("f1_shuffled", best_by_feature(scores, SHUFFLED)),
    ):
        means = control.group_by(SECTION).agg(pl.col("f1").mean().alias(name))
        table = table.join(means, on=SECTION, how="left")
    return table.sort(SECTION)
