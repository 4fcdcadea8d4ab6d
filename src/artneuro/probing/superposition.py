"""Superposition of compound words: what three neurons tell alone, and what their sum tells.

A neuron that fires on "social security" fires on many other things too. If these differ from neuron
to neuron, a sum of a few of them tells the word from everything. Thesis, section 2.5.1 and figures
2.2b and A.4 to A.6; figure A.8 for the comparison of bases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.probing.background import Background
from artneuro.probing.basis_alignment import NEURONS, RANDOM, best_directions, draw_basis
from artneuro.probing.compound_rows import Words, layers_of, read_words
from artneuro.probing.config import ProbingConfig
from artneuro.probing.inputs import check_sites
from artneuro.probing.layer import NO_CONTROL, fit_supports
from artneuro.probing.metrics import f1_of
from artneuro.probing.readout import (
    ELSE,
    KINDS,
    Readout,
    count_values,
    read_out,
    score_readout,
    separation,
)

log = logging.getLogger(__name__)

NEURON, SUM, PROBE = "neuron", "sum", "probe"
KEYS = ["site", "collection", "feature"]

_NAMES = {
    "model": pl.String(),
    "dataset": pl.String(),
    "site": pl.String(),
    "collection": pl.String(),
    "feature": pl.String(),
    "layer": pl.Int16(),
}
_PART = {"part": pl.String(), "rank": pl.Int8(), "neuron": pl.Int32(), "sign": pl.Int8()}
SUPERPOSITION_SCHEMA = pl.Schema(
    {
        **_NAMES,
        "method": pl.String(),
        **_PART,
        "against": pl.String(),
        "auc": pl.Float64(),
        "f1": pl.Float64(),
        "separation": pl.Float64(),
        "f1_train": pl.Float64(),
        "n_positive": pl.Int32(),
        "n_negative": pl.Int32(),
    }
)
HISTOGRAMS_SCHEMA = pl.Schema(
    {
        **_NAMES,
        **_PART,
        "edges": pl.List(pl.Float64()),
        **{f"counts_{kind}": pl.List(pl.Int32()) for kind in KINDS},
    }
)
BASIS_SCHEMA = pl.Schema(
    {
        **_NAMES,
        "basis": pl.String(),
        "draw": pl.Int16(),
        "rank": pl.Int16(),
        "f1_train": pl.Float64(),
        "f1": pl.Float64(),
    }
)


def measure_superposition(
    config: ProbingConfig,
    store: Path,
    rows: Path,
    labels: Path,
    sequences: Path,
    scores: Path,
    output: Path,
    histograms: Path,
    basis: Path,
    *,
    background: Sequence[Background],
    model: str,
    dataset: str,
    threads: int,
) -> None:
    """Measure how well few neurons of one layer tell each compound word, alone and summed.

    Parameters
    ----------
    config : ProbingConfig
        `superposition`, `C`, `scale`, `sites` and `seed`.
    store, rows, labels, sequences : path
        The activations of the model on compound words, what their rows are, the labels and the
        table of windows.
    scores : path
        What `fit_probes` made of them: gives the candidates for the best neurons of one layer.
    output : path
        The table of scores: one row for each (site, feature, part, against), on test rows. Parts:
        each "neuron" (`rank` 1 is the best alone on train), the "sum" of them with their `sign`s,
        the "probe" on them. `against`: windows that end with X and another word ("XW"), with
        another word and Y ("ZY"), both, or none of these ("else"). `auc`, `separation` (difference
        of means in standard deviations), `f1` at the threshold that train chose against both.
    histograms : path
        The table of histograms: for each part `edges` and `counts_*` of each kind, on test rows.
    basis : path
        The table of single directions in the chosen layer of each word: for the neurons and for
        each random orthogonal basis the best directions on train by `rank`, and their test F1.
    background : sequence of Background
        Other texts whose tokens count as "else".
    model, dataset : str
        Names for the tables.
    threads : int
        Threads of the matrix products.

    Raises
    ------
    ConfigError
        If a site of the config is not in the store.
    DataError
        If there is no probe of so many neurons, or labels, rows and windows do not fit.
    StoreError
        If a store lacks rows, or holds values that are not finite.
    """
    check_sites(config, open_store(store).sites, store)
    words = read_words(store, rows, labels, sequences, background)
    candidates = best_probes(read_table(scores), config.superposition.neurons)
    lost = sorted(words.features.keys() - set(candidates["feature"]))
    if lost:
        raise DataError(
            f"there is no probe of {config.superposition.neurons} neurons for {lost[0]!r}",
            where=str(scores),
            fix="let probing.max_k reach probing.superposition.neurons, and keep a ranking that "
            "is not random",
        )
    with threadpool_limits(threads):
        chosen = _choose(words, candidates)
        scored, counted = _measure(config, words, chosen)
        compared = list(_compare_bases(config, words, chosen))
    for schema, lines, path in (
        (SUPERPOSITION_SCHEMA, scored, output),
        (HISTOGRAMS_SCHEMA, counted, histograms),
    ):
        _write(pl.DataFrame(lines, infer_schema_length=None), schema, path, model, dataset)
    _write(pl.concat(compared), BASIS_SCHEMA, basis, model, dataset)
    log.info("%d words", len(words.features))


def best_probes(scores: pl.DataFrame, neurons: int) -> pl.DataFrame:
    """The probes of so many neurons with the highest train F1 of each feature; ties stay.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `scores`; neurons drawn at random and controls are left out.
    neurons : int

    Returns
    -------
    DataFrame
        Columns of `KEYS`, `layer`, `method`, `neurons`, `coef`, `intercept`, sorted; the same
        neurons of a layer once.
    """
    probes = scores.filter(
        (pl.col("k") == neurons)
        & (pl.col("control") == NO_CONTROL)
        & (pl.col("method") != "random")
    )
    return (
        probes.filter(pl.col("f1_train") == pl.col("f1_train").max().over(KEYS))
        .with_columns(pl.col("neurons").list.sort().alias("set"))
        .sort(*KEYS, "layer", "method")
        .unique([*KEYS, "layer", "set"], keep="first", maintain_order=True)
        .select(*KEYS, "layer", "method", "neurons", "coef", "intercept")
    )


def _choose(words: Words, candidates: pl.DataFrame) -> pl.DataFrame:
    """Of probes with equal train F1 the one that parts the classes furthest on train."""
    apart: dict[tuple, float] = {}
    for _, _, activations, probes in layers_of(words, candidates):
        for probe in probes:
            feature = words.features[probe["feature"]]
            train = activations[np.ix_(feature.train, probe["neurons"])].astype(np.float64)
            value = (train @ np.array(probe["coef"]))[None]
            key = (*(probe[name] for name in KEYS), probe["layer"], probe["method"])
            apart[key] = float(separation(value, feature.train_positive)[0])
    found = [apart[key] for key in candidates.select(*KEYS, "layer", "method").iter_rows()]
    order = [*KEYS, "apart", "layer", "method"]
    return (
        candidates.with_columns(pl.Series("apart", found))
        .sort(order, descending=[False] * 3 + [True] + [False] * 2)
        .unique(KEYS, keep="first", maintain_order=True)
    )


def _measure(
    config: ProbingConfig, words: Words, chosen: pl.DataFrame
) -> tuple[list[dict], list[dict]]:
    """Lines of the tables of scores and histograms."""
    scored, counted = [], []
    for site, layer, activations, probes in layers_of(words, chosen):
        background = [(endings, endings.read(site, layer)) for endings in words.endings]
        for probe in probes:
            feature = words.features[probe["feature"]]
            neurons, coef = np.array(probe["neurons"]), np.array(probe["coef"])
            train = activations[np.ix_(feature.train, neurons)].T.astype(np.float64)
            order = best_first(config, train, feature.train_positive)
            neurons, coef, train = neurons[order], coef[order], train[order]
            readout = read_out(config, train, feature.train_positive, coef, probe["intercept"])
            samples = {
                kind: activations[np.ix_(at, neurons)].T.astype(np.float64)
                for kind, at in words.samples[feature.name].items()
            }
            first, second = feature.name.split("-")
            others = [
                values[np.ix_(endings.without(first, second), neurons)].T
                for endings, values in background
            ]
            samples[ELSE] = np.concatenate([samples[ELSE], *others], axis=1)
            fixed = {name: probe[name] for name in (*KEYS, "layer", "method")}
            parts = [{**fixed, **part} for part in _parts(neurons, readout)]
            for line in score_readout(readout, samples):
                place = line.pop("place")
                f1_train = float(readout.f1_train[place])
                scored.append({**parts[place], **line, "f1_train": f1_train})
            counts = count_values(readout, samples, config.superposition.histogram_bins)
            counted += [{**part, **line} for part, line in zip(parts, counts, strict=True)]
    return scored, counted


def _parts(neurons: np.ndarray, readout: Readout) -> list[dict]:
    """Which part of a readout each place is."""
    singles = [
        {"part": NEURON, "rank": i + 1, "neuron": int(n), "sign": int(readout.weights[i, i])}
        for i, n in enumerate(neurons)
    ]
    rest = [{"part": part, "rank": None, "neuron": None, "sign": None} for part in (SUM, PROBE)]
    return [*singles, *rest]


def best_first(config: ProbingConfig, train: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Order of neurons by the F1 of each alone on the rows it is fitted on.

    Of neurons with equal F1 the one that sets the classes further apart comes first.

    Parameters
    ----------
    config : ProbingConfig
    train : ndarray of float64, shape (neurons, rows)
    positive : ndarray of bool, shape (rows,)
    """
    probes = fit_supports(config, train, positive, np.arange(len(train))[:, None])
    f1 = f1_of(probes.coef[:, 0] * train + probes.intercept, positive)
    return np.lexsort((-np.abs(separation(train, positive)), -f1))


def _compare_bases(
    config: ProbingConfig, words: Words, chosen: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Best single directions of each word in its layer, in the neuron basis and in random ones."""
    for draw in range(config.superposition.random_bases + 1):
        basis: np.ndarray | None = None
        for _, _, activations, probes in layers_of(words, chosen):
            units = activations.shape[1]
            if draw and (basis is None or len(basis) != units):
                # One basis at a time for all layers: a wide layer's takes gigabytes.
                basis = draw_basis(units, config.seed, draw)
            for probe in probes:
                feature = words.features[probe["feature"]]
                used = np.concatenate([feature.train, feature.test])
                directions = activations[used].T.astype(np.float64)
                if basis is not None:
                    directions = basis.T @ directions
                fixed = {name: probe[name] for name in (*KEYS, "layer")}
                yield best_directions(config, directions, feature).with_columns(
                    pl.lit(RANDOM if draw else NEURONS).alias("basis"),
                    pl.lit(draw).alias("draw"),
                    *(pl.lit(value).alias(name) for name, value in fixed.items()),
                )


def _write(frame: pl.DataFrame, schema: pl.Schema, path: Path, model: str, dataset: str) -> None:
    named = frame.with_columns(pl.lit(model).alias("model"), pl.lit(dataset).alias("dataset"))
    write_table(named.select(schema.names()).cast(schema).sort(*KEYS, maintain_order=True), path)
