"""Which units are ablated, and on which sequences."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.interventions.measure import Spans
from artneuro.interventions.schemas import CHOSEN, RANDOM_NEURON
from artneuro.probing.data import random_generator
from artneuro.probing.neurons import KEYS, single_neurons

log = logging.getLogger(__name__)

NEURON_COLUMNS = [
    *KEYS, "control", "layer", "neuron", "coef", "f1_train", "f1", "active_in_class"
]  # fmt: skip


def choose_neurons(
    scores: pl.DataFrame,
    site: str,
    n_units: int,
    active_in_class: bool = True,
    f1_tolerance: float = 0.0,
    random_neurons: int = 1,
    seed: int = 0,
) -> pl.DataFrame:
    """The best single neuron of each feature by training F1, and random ones of its layer.

    Parameters
    ----------
    scores : DataFrame
        Of the schema `scores`.
    site : str
    n_units : int
        Units of the site in one layer.
    active_in_class : bool
        Take the best of those whose probe says "out of the class" at activation zero (a negative
        intercept); where there is none, the best of all.
    f1_tolerance : float
        Neurons this far below the best in training F1 count as equally good. Of these the one
        with the smallest absolute coefficient is taken: a penalised probe needs a small one where
        the activations of the classes are far apart.
    random_neurons : int
        Drawn for each feature among the units of the layer that no feature chose.
    seed : int

    Returns
    -------
    DataFrame
        `NEURON_COLUMNS`: first the chosen ones (control "none"), then the random ones
        ("random_neuron", whose probe's columns are null), each sorted by collection and feature.

    Raises
    ------
    DataError
        If the scores hold no probe on one neuron of the site.
    """
    best = single_neurons(scores.filter(pl.col("site") == site)).with_columns(
        (pl.col("intercept") < 0).alias("active_in_class")
    )
    if best.is_empty():
        raise DataError(
            f"no probe on one neuron of {site} was fitted, so there is nothing to ablate",
            fix="probe that site (probing.sites), or ablate units of another one",
        )
    if active_in_class:
        active = pl.col("active_in_class")
        best = best.filter(active | ~active.any().over(KEYS))
    # Few training sequences give many probes the same F1, or one that differs by one sequence.
    best = (
        best.filter(pl.col("f1_train") >= pl.col("f1_train").max().over(KEYS) - f1_tolerance)
        .sort([*KEYS, pl.col("coef").abs()], maintain_order=True)
        .unique(KEYS, keep="first", maintain_order=True)
    )
    silent = best.filter(~pl.col("active_in_class"))["feature"].to_list()
    if silent and active_in_class:
        log.warning("no neuron is active within %s: took the best of all", ", ".join(silent))
    chosen = best.with_columns(pl.lit(CHOSEN).alias("control")).select(NEURON_COLUMNS)
    drawn = []
    for row in chosen.iter_rows(named=True):
        taken = chosen.filter(pl.col("layer") == row["layer"])["neuron"].to_numpy()
        others = np.setdiff1d(np.arange(n_units), taken)
        generator = random_generator(seed, RANDOM_NEURON, *(row[key] for key in KEYS))
        units = generator.choice(others, min(random_neurons, len(others)), replace=False)
        known = {key: row[key] for key in [*KEYS, "layer"]}
        drawn += [{**known, "control": RANDOM_NEURON, "neuron": int(unit)} for unit in units]
    random = pl.DataFrame(drawn, schema_overrides=dict(chosen.schema)) if drawn else chosen.clear()
    return pl.concat([chosen, random], how="diagonal").select(NEURON_COLUMNS)


def labelled_test_spans(labels: pl.DataFrame, sequences: pl.DataFrame) -> tuple[Spans, np.ndarray]:
    """The labelled tokens of every test sequence, and the class of each.

    Labels leave out the document token, padding and the first tokens that the dataset skips, and
    so do the losses and activations that are measured on these spans.

    Parameters
    ----------
    labels, sequences : DataFrame
        Of the schemas `labels` and `sequences`.

    Returns
    -------
    spans : Spans
        Sorted by sequence.
    context : ndarray of str, shape (n,)
        The feature that is true of each.

    Raises
    ------
    DataError
        If a sequence has several classes or spans, or no test sequence has any.
    """
    test = sequences.filter(pl.col("split") == "test").select(pl.col("sequence").cast(pl.Int32))
    found = (
        labels.filter(pl.col("label"))
        .join(test, on="sequence", how="semi")
        .sort("sequence", "start", "feature")
    )
    if found.is_empty() or found["sequence"].n_unique() < found.height:
        raise DataError(
            "no test sequence has a class"
            if found.is_empty()
            else "a sequence has several classes or labelled spans",
            fix="ablate context neurons on a collection that gives each sequence one class",
        )
    spans = Spans(*(found[name].to_numpy() for name in ("sequence", "start", "end")))
    return spans, found["feature"].to_numpy()


def draw_sequences(spans: Spans, context: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Indices of `per_class` spans of each class (all where there are fewer), ascending.

    A span's place in the draw depends on its own sequence and the seed alone.
    """
    place = np.array([random_generator(seed, "sequences", int(s)).random() for s in spans.sequence])
    drawn = []
    for name in np.unique(context):
        of_class = np.flatnonzero(context == name)
        if len(of_class) < per_class:
            log.warning("%s has only %d test sequences", name, len(of_class))
        drawn.append(of_class[np.argsort(place[of_class])[:per_class]])
    return np.sort(np.concatenate(drawn))
