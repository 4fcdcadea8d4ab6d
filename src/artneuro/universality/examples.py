"""Activations of chosen neurons, in and out of what explains them, for figures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from artneuro.activations.trace import trace_neurons
from artneuro.core.artifacts import read_table, write_table
from artneuro.core.logs import Progress
from artneuro.models.loading import load_model
from artneuro.universality.explain import POST, read_labelled_text, small_embeddings
from artneuro.universality.explanation_schemas import EXAMPLES_SCHEMA
from artneuro.universality.explanations import NONE
from artneuro.universality.explanations_config import ExplanationsConfig
from artneuro.universality.families import FAMILIES, NO_FAMILY, POSITION
from artneuro.universality.token_labels import (
    LETTER,
    PLACES,
    UNIGRAM,
    label_text,
    word_places,
)
from artneuro.universality.vocabulary import word_form

log = logging.getLogger(__name__)

_NEURON = ["layer", "neuron"]


@dataclass(frozen=True)
class ExampleFacts:
    """How many neurons were traced, on how many tokens."""

    n_neurons: int
    n_tokens: int


def trace_examples(
    config: ExplanationsConfig,
    *,
    weights: Path,
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    families: Path,
    universal: Sequence[Path],
    output: Path,
    max_tokens: int | None = None,
    example_tokens: int = 100_000,
    exclude: tuple[str, ...] = ("document_token", "newline"),
    document_token: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> ExampleFacts:
    """Write histograms of some neurons of each family, by the classes of their explanation.

    Parameters
    ----------
    config : ExplanationsConfig
        `examples` says how many neurons; the rest must be as in `explain_neurons`.
    weights, tokenizer, tokens, sequences, max_tokens, exclude, document_token
        As in `explain_neurons`.
    families : path
        The family of every neuron of the model.
    universal : sequence of path
        Families of the universal neurons of the groups that the model is the reference of; these
        come first.
    output : path
        Table to write, of the schema `examples`: a row for each class of tokens of each neuron.
    example_tokens : int
        Tokens to trace the neurons on, those of the first sequences.
    dtype, device, threads, trust_remote_code
        How the model runs: see `load_model`.

    Returns
    -------
    ExampleFacts

    Raises
    ------
    DataError
        If the tokens are of another tokenizer.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    known = [read_table(path).select("model", *_NEURON) for path in universal]
    chosen = choose_neurons(read_table(families), known, config.examples.neurons)
    lm = load_model(weights, dtype, device, trust_remote_code)
    text = read_labelled_text(tokenizer, tokens, sequences, exclude, max_tokens, document_token)
    labels = label_text(text, config, small_embeddings(lm, config.small_norm))
    number = {(e.category, e.name, e.previous): i for i, e in enumerate(labels.explanations)}
    total = np.cumsum(text.included.sum(axis=1))
    n = max(1, int((total <= example_tokens).sum()))
    included = text.included[:n]
    units = list(chosen.select(_NEURON).iter_rows())
    progress = Progress("tracing", int(included.sum()), "tokens", log)
    values = trace_neurons(
        lm, text.dataset.tokens[:n], included, units, site=POST, on_batch=progress.add
    )[included]
    places, ids = word_places(text)[:n][included], text.dataset.tokens[:n][included]
    forms = np.array([word_form(token) for token in text.strings], dtype=object)
    rows = []
    for column, row in enumerate(chosen.iter_rows(named=True)):
        key = (row["category"], row["explanation"], row["previous_token"])
        holds = labels.of(number[key])[:n][included] if key in number else None
        groups = token_classes(row, ids, forms, places, holds)
        rows += list(_histograms(values[:, column], row, groups, config.examples.bins))
    write_table(pl.DataFrame(rows, schema=EXAMPLES_SCHEMA), output)
    facts = ExampleFacts(len(units), int(included.sum()))
    log.info("%s", facts)
    return facts


def choose_neurons(
    families: pl.DataFrame, universal: Sequence[pl.DataFrame], most: int
) -> pl.DataFrame:
    """Some neurons of each family: universal ones first, then those that are explained best.

    Position neurons are ordered by their mutual information with the position.

    Parameters
    ----------
    families : DataFrame
        Of the schema `families`.
    universal : sequence of DataFrame
        `model`, `layer`, `neuron` of universal neurons.
    most : int
        Neurons of a family at most.

    Returns
    -------
    DataFrame
        The columns of `families`, and `is_universal`.
    """
    keys = ["model", *_NEURON]
    known = pl.concat([families.select(keys).head(0), *(t.select(keys) for t in universal)])
    marked = families.join(
        known.unique().with_columns(pl.lit(True).alias("is_universal")), on=keys, how="left"
    ).with_columns(
        pl.col("is_universal").fill_null(False),
        pl.when(pl.col("family") == POSITION)
        .then(pl.col("position_information"))
        .otherwise(pl.col("variance_reduction"))
        .fill_null(-1.0)
        .alias("order"),
    )
    return (
        marked.filter(pl.col("family") != NO_FAMILY)
        .sort(
            pl.col("family").replace_strict({f: i for i, f in enumerate(FAMILIES)}),
            "is_universal", "order", *_NEURON,
            descending=[False, True, True, False, False],
        )
        .filter(pl.int_range(pl.len()).over("family") < most)
        .drop("order")
    )  # fmt: skip


def token_classes(
    row: dict[str, Any],
    ids: np.ndarray,
    forms: np.ndarray,
    places: np.ndarray,
    holds: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The classes of tokens that a neuron's activations are shown for, which share out all tokens.

    Of a word: its places in a written word. Of a letter: the letter, and tokens that begin with it.
    Else: tokens in and out of the explanation.

    Parameters
    ----------
    row : dict
        A row of the schema `families`.
    ids : (tokens,) array of int
    forms : (n_ids,) array of str
        Each id's text without leading space, in lower case.
    places : (tokens,) array of int
        From `word_places`.
    holds : (tokens,) array of bool, optional
        Whether the explanation holds.
    """
    if holds is None:
        return {"all tokens": np.ones(len(ids), dtype=bool)}
    own = forms[ids]
    name = str(row["explanation"])
    found: dict[str, np.ndarray] = {}
    if row["category"] == UNIGRAM and not row["previous_token"]:
        for place in PLACES:
            name = name.removesuffix(f" ({place})")
        is_word = own == name
        for i, place in enumerate(PLACES):
            found[place] = is_word & (places == i)
        found["sign"] = is_word & (places == NONE)
    elif row["category"] == LETTER and not row["previous_token"]:
        found["letter"] = own == name
        begins = np.array([form[:1] == name for form in forms])[ids]
        found["begins with it"] = begins & ~found["letter"]
    else:
        found["in class"] = holds
    found = {key: mask for key, mask in found.items() if mask.any()}
    found["other tokens"] = ~np.any([*found.values(), np.zeros(len(ids), bool)], axis=0)
    return found


def _histograms(
    values: np.ndarray, row: dict[str, Any], classes: dict[str, np.ndarray], bins: int
) -> Iterator[dict[str, Any]]:
    """One row of the schema `examples` a class, over the same bins."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    for name, mask in classes.items():
        mine = values[mask].astype(np.float64)
        yield {
            **{key: row[key] for key in EXAMPLES_SCHEMA if key in row},
            "tokens": name,
            "n": len(mine),
            "mean": float(mine.mean()) if len(mine) else None,
            "edges": edges.tolist(),
            "counts": np.histogram(mine, edges)[0].tolist(),
        }
