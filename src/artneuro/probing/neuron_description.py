"""Tables about neurons from their activations on the tokens of a text.

What `refinement` writes, as functions of arrays: mean activations by token, effects on the output,
firing by class, n-grams, and examples (thesis, section 2.5.4).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.datasets.tokens import TokenDataset
from artneuro.probing.config import ProbingConfig, RefinementConfig
from artneuro.probing.data import random_generator
from artneuro.probing.ngrams import NgramIndex, firing_ngrams, index_ngrams, sum_over
from artneuro.probing.refinement_tables import SCHEMAS
from artneuro.probing.token_statistics import (
    balanced_precision,
    count_firing,
    mean_by_token,
    sample_by_quantile,
)
from artneuro.weights.logit_effects import centred_effects, token_classes

# Characters of the text that an example shows before and after its token.
BEFORE, AFTER = 80, 40


@dataclass(frozen=True)
class TracedText:
    """The tokens that were traced, one behind the other.

    Attributes
    ----------
    dataset : TokenDataset
        The chosen sequences.
    original : ndarray of int
        Their numbers in the whole dataset.
    text : ndarray of bool, shape (sequences, n_ctx)
        Tokens of the text.
    sequence, position : ndarray of int64, shape (tokens,)
        Where each of them is.
    is_test : ndarray of bool, shape (tokens,)
    strings : list of str
        Text of each id of the vocabulary.
    whole : ndarray of bool
        Whether each id stands for whole characters.
    tokenizer : TextTokenizer
    """

    dataset: TokenDataset
    original: np.ndarray
    text: np.ndarray
    sequence: np.ndarray
    position: np.ndarray
    is_test: np.ndarray
    strings: list[str]
    whole: np.ndarray
    tokenizer: TextTokenizer

    @property
    def ids(self) -> np.ndarray:
        """Token ids, shape (tokens,)."""
        return self.dataset.tokens[self.sequence, self.position]


def describe_neurons(
    config: ProbingConfig,
    traced: TracedText,
    truth: Mapping[tuple[str, str], np.ndarray],
    chosen: pl.DataFrame,
    units: list[tuple[int, int]],
    activations: np.ndarray,
    effects: np.ndarray,
) -> dict[str, pl.DataFrame]:
    """The tables of `refine_neurons`, without the names of model and dataset.

    Parameters
    ----------
    config : ProbingConfig
    traced : TracedText
    truth : mapping of (collection, feature) to ndarray of int8, shape (sequences, n_ctx)
        From `token_truth`.
    chosen : DataFrame
        From `chosen_neurons`.
    units : list of (layer, neuron)
    activations : ndarray, shape (tokens, units)
        In the order of the traced text.
    effects : ndarray, shape (units, vocabulary)
        From `logit_effects`.
    """
    settings = config.refinement
    size = min(len(traced.strings), effects.shape[1])
    strings, ids = traced.strings[:size], traced.ids
    known = traced.whole[:size] & np.array([bool(s) for s in strings], dtype=np.bool_)
    known[[i for i in traced.tokenizer.special if i < size]] = False
    centred, deviation = centred_effects(effects[:, :size], known)
    classes = token_classes(strings, known)
    means = mean_by_token(ids, activations)
    index = index_ngrams(traced.dataset.tokens, traced.text, settings.ngram_length)
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in SCHEMAS}
    for row in chosen.iter_rows(named=True):
        column = units.index((row["layer"], row["neuron"]))
        sign = -1.0 if row["coef"] < 0 else 1.0
        values = sign * activations[:, column].astype(np.float64)
        state = truth[row["collection"], row["feature"]][traced.text]
        name = {key: row[key] for key in ("collection", "feature", "rank", "layer", "neuron")}
        effect = sign * centred[column]
        spread = float(deviation[column]) or 1.0
        parts = {
            "neurons": _neuron_row(config, row, sign, values, state, traced.is_test, effect[known]),
            "tokens": pl.DataFrame(
                {
                    "token": means.ids,
                    "text": [traced.strings[i] for i in means.ids],
                    "count": means.counts,
                    "mean": sign * means.means[:, column],
                    "error": means.errors[:, column],
                }
            )
            .filter(pl.col("count") >= settings.min_count)
            .with_columns(pl.col("error").fill_nan(None))
            .sort("mean", "token", descending=[True, False]),
            "effects": _effect_rows(settings, effect, spread, strings, known, classes),
            "ngrams": pl.DataFrame(
                list(_ngram_rows(settings, traced, index, values, state)),
                schema={k: SCHEMAS["ngrams"][k] for k in SCHEMAS["ngrams"].names()[7:]},
            ),
            "examples": pl.DataFrame(
                list(_example_rows(config, traced, values, state, name)),
                schema={k: SCHEMAS["examples"][k] for k in SCHEMAS["examples"].names()[7:]},
            ),
        }
        for table, part in parts.items():
            tables[table].append(part.with_columns([pl.lit(v).alias(k) for k, v in name.items()]))
    return {table: pl.concat(parts) for table, parts in tables.items()}


def _neuron_row(
    config: ProbingConfig,
    row: Mapping,
    sign: float,
    values: np.ndarray,
    state: np.ndarray,
    is_test: np.ndarray,
    effect: np.ndarray,
) -> pl.DataFrame:
    # A probe with a coefficient of zero never changes its mind.
    threshold = -row["intercept"] / abs(row["coef"]) if row["coef"] else float("inf")
    counted = is_test if is_test.any() else np.ones_like(is_test)
    firing = count_firing(values[counted], state[counted], threshold, config.histogram_bins)
    n_in, n_out = int(firing.counts_in.sum()), int(firing.counts_out.sum())
    share = row["n_test_positive"] / row["n_test"]
    third, fourth = _moments(effect)
    return pl.DataFrame(
        {
            "sign": int(sign),
            "threshold": threshold,
            **{name: row[name] for name in ("f1_train", "f1", "precision", "recall")},
            "precision_balanced": balanced_precision(row["precision"], row["recall"], share),
            "sampled_share": share,
            "text_share": n_in / (n_in + n_out) if n_in + n_out else None,
            "tokens": values.size,
            "test_tokens": int(counted.sum()),
            "fires_in": firing.fires_in,
            "fires_out": firing.fires_out,
            "fires_unknown": firing.fires_unknown,
            "edges": [firing.edges.tolist()],
            "counts_in": [firing.counts_in.tolist()],
            "counts_out": [firing.counts_out.tolist()],
            "counts_unknown": [firing.counts_unknown.tolist()],
            "effect_std": float(effect.std()),
            "effect_skew": third,
            "effect_kurtosis": fourth,
        }
    )


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Skewness and kurtosis (3 for a normal distribution); 0 where nothing varies."""
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    if variance == 0.0:
        return 0.0, 0.0
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _effect_rows(
    settings: RefinementConfig,
    effect: np.ndarray,
    spread: float,
    strings: list[str],
    known: np.ndarray,
    classes: Mapping[str, np.ndarray],
) -> pl.DataFrame:
    """The tokens whose logits rise and fall most, and the means over classes of tokens."""
    ids = np.flatnonzero(known)
    order = ids[np.argsort(-effect[ids], kind="stable")]
    n = min(settings.effect_tokens, len(order) // 2)
    rows: list[tuple] = []
    for kind, part in (("raised", order[:n]), ("lowered", order[len(order) - n :][::-1])):
        rows += [
            (kind, place, int(i), strings[i], 1, float(effect[i]), float(effect[i]) / spread, None)
            for place, i in enumerate(part, 1)
        ]
    for place, (name, members) in enumerate(classes.items(), 1):
        mine = effect[members]
        if mine.size:
            mean = float(mine.mean())
            share = float((mine > 0).mean())
            rows.append(("class", place, None, name, mine.size, mean, mean / spread, share))
    schema = SCHEMAS["effects"]
    return pl.DataFrame(rows, schema={k: schema[k] for k in schema.names()[7:]}, orient="row")


def _ngram_rows(
    settings: RefinementConfig,
    traced: TracedText,
    index: NgramIndex,
    values: np.ndarray,
    state: np.ndarray,
) -> Iterator[dict]:
    """The n-grams that a neuron fires on, those with the highest mean activation first."""
    flat = traced.text.ravel()
    activation, inside, outside = np.zeros((3, flat.size))
    activation[flat], inside[flat], outside[flat] = values, state == 1, state == 0
    fires = np.zeros(flat.size, dtype=np.bool_)
    fires[flat] = values > np.quantile(values, settings.firing_quantile)
    found = firing_ngrams(index, fires, min_count=settings.min_count, min_rate=settings.min_rate)
    sums = {
        length: [sum_over(index, length, v) for v in (activation, inside, outside)]
        for length in {one.length for one in found}
    }
    rows: list[dict[str, Any]] = []
    for one in found:
        total, n_in, n_out = (values[one.code] for values in sums[one.length])
        ids = index.tokens_of(one.length, one.code)
        rows.append(
            {
                "length": one.length,
                "tokens": ids,
                "text": text_of(traced, ids),
                "count": one.count,
                "firings": one.firings,
                "mean": float(total) / one.count,
                "in_class": float(n_in / (n_in + n_out)) if n_in + n_out else None,
            }
        )
    rows.sort(key=lambda row: (-row["mean"], row["tokens"]))
    for place, row in enumerate(rows[: settings.ngrams], 1):
        yield {"place": place, **row}


def text_of(traced: TracedText, ids: list[int]) -> str:
    """The text of neighbouring tokens, which together may hold the bytes of a character."""
    if traced.whole[ids].all():
        return "".join(traced.strings[i] for i in ids)
    return traced.tokenizer.backend.decode(ids, skip_special_tokens=False)


def _example_rows(
    config: ProbingConfig,
    traced: TracedText,
    values: np.ndarray,
    state: np.ndarray,
    name: Mapping,
) -> Iterator[dict]:
    """Tokens from every quantile of the activation, in their text."""
    settings = config.refinement
    generator = random_generator(config.seed, "examples", *map(str, name.values()))
    quantiles = settings.example_quantiles
    bins = sample_by_quantile(values, quantiles, settings.examples_per_quantile, generator)
    for (low, high), places in zip(itertools.pairwise(quantiles), bins, strict=True):
        for place in places:
            sequence, position = int(traced.sequence[place]), int(traced.position[place])
            crop, offset = traced.dataset.sequences.select("text", "char_start").row(sequence)
            start = int(traced.dataset.starts[sequence, position]) - offset
            end = int(traced.dataset.ends[sequence, position]) - offset
            yield {
                "low": low,
                "high": high,
                "sequence": int(traced.original[sequence]),
                "position": position,
                "activation": float(values[place]),
                "in_class": None if state[place] < 0 else bool(state[place]),
                "before": crop[max(0, start - BEFORE) : start],
                "text": crop[start:end],
                "after": crop[end : end + AFTER],
            }
