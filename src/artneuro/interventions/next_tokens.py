"""Whether neurons that predict or suppress tokens fire where one of them comes next.

Thesis, section 3.5.1 and figure B.17.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import read_table, write_table
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.interventions.measure import Spans, unit_activations
from artneuro.interventions.role_text import draw_text
from artneuro.interventions.roles_config import NextTokensConfig
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_model
from artneuro.probing.data import random_generator
from artneuro.weights.effects import read_outputs, read_vocabulary
from artneuro.weights.neighbours import unit_rows
from artneuro.weights.preprocessing import read_processed_unembedding
from artneuro.weights.roles import PREDICTION, SUPPRESSION

log = logging.getLogger(__name__)

NO_CONTROL, SAME_LAYER = "none", "same_layer"
QUANTILES = (0.025, 0.975)

NEXT_TOKENS_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "text": pl.String(),
        "role": pl.String(),
        "control": pl.String(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "of_neuron": pl.Int32(),
        "set_size": pl.Int32(),
        "set_texts": pl.List(pl.String()),
        "n_in": pl.Int32(),
        "n_out": pl.Int32(),
        "mean_in": pl.Float64(),
        "mean_out": pl.Float64(),
        "std": pl.Float64(),
        "difference": pl.Float64(),
        "push": pl.Float64(),
        "difference_low": pl.Float64(),
        "difference_high": pl.Float64(),
        "active_in": pl.Float64(),
        "active_out": pl.Float64(),
        "active_difference": pl.Float64(),
        "active_low": pl.Float64(),
        "active_high": pl.Float64(),
    }
)
# Texts of a set that are kept.
_SHOWN = 12


@dataclass(frozen=True)
class NextTokenFacts:
    """What a job about next tokens did, for its provenance."""

    device: str
    compute_dtype: str
    seed: int
    n_neurons: int
    n_tokens: int
    seconds: float


def score_next_tokens(
    config: NextTokensConfig,
    weights: Path,
    model_info: Path,
    tokenizer: Path,
    effects: Path,
    tokens: Path,
    sequences: Path,
    output: Path,
    *,
    model: str,
    text: str,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> NextTokenFacts:
    """Compare the activations of neurons where the next token is in their set, and elsewhere.

    Parameters
    ----------
    config : NextTokensConfig
    weights, model_info, tokenizer : Path
        Model folder, `model.json`, and the folder of the tokenizer.
    effects : Path
        What `measure_effects` made of the model.
    tokens, sequences : Path
        Tables of a text.
    output : Path
        The table to write: see docs/architecture.md.
    model, text : str
        Names for the table.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    NextTokenFacts

    Raises
    ------
    DataError
        If the text is too short.

    Notes
    -----
    Without neurons of these roles the table is empty.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    chosen = choose_neurons(read_table(effects), config.per_role, model)
    ids, _drawn = draw_text(tokens, sequences, shape, config.sequences, config.n_ctx, config.seed)
    vocabulary = read_vocabulary(
        load_tokenizer(tokenizer), read_processed_unembedding(weights, shape), torch.device("cpu")
    )
    if chosen.is_empty():
        write_table(pl.DataFrame(schema=NEXT_TOKENS_SCHEMA), output)
        return NextTokenFacts(device, dtype, config.seed, 0, ids.size, 0.0)
    neurons = chosen.select("layer", "neuron").rows()
    effect = (
        unit_rows(read_outputs(weights, shape, neurons)) @ vocabulary.vectors.double().numpy().T
    )
    sets = [
        acted_on(line, role == PREDICTION, config.deviations, config.max_tokens)
        for line, role in zip(effect, chosen["role"], strict=True)
    ]
    others = _controls(neurons, shape.d_mlp, config.seed)
    lm = load_model(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    units = list(dict.fromkeys([*neurons, *others]))
    n, width = ids.shape
    spans = Spans(np.arange(n), np.full(n, config.skip), np.full(n, width - 1))
    active = unit_activations(lm, ids, spans, "mlp_post", units)
    seconds = time.perf_counter() - started
    following = ids[:, config.skip + 1 :]
    place = {unit: i for i, unit in enumerate(units)}
    rows = []
    for i, row in enumerate(chosen.iter_rows(named=True)):
        inside = np.isin(following, vocabulary.ids[sets[i]])
        if inside.sum() < config.min_count:
            continue
        names = {
            "model": model, "text": text, "role": row["role"], "layer": row["layer"],
            "of_neuron": row["neuron"], "set_size": len(sets[i]),
            "set_texts": [vocabulary.strings[t] for t in sets[i][:_SHOWN]],
        }  # fmt: skip
        for control, unit in ((NO_CONTROL, neurons[i]), (SAME_LAYER, others[i])):
            values = active[place[unit]].reshape(following.shape)
            generator = random_generator(config.seed, "bootstrap", *unit, row["neuron"])
            found = compare_firing(values, inside, config.resamples, generator)
            found["push"] = push(row["role"], found["difference"], found["std"])
            rows.append({**names, "control": control, "neuron": unit[1], **found})
    log.info("%d of %d neurons have next tokens enough", len(rows) // 2, chosen.height)
    table = pl.DataFrame(rows, schema=NEXT_TOKENS_SCHEMA)
    write_table(table, output)
    return NextTokenFacts(
        str(lm.device), lm.dtype, config.seed, len(rows) // 2, following.size, seconds
    )


def choose_neurons(effects: pl.DataFrame, per_role: int, model: str) -> pl.DataFrame:
    """The prediction and suppression neurons of highest kurtosis, sorted by layer and neuron."""
    found = (
        effects.filter(pl.col("role").is_in([PREDICTION, SUPPRESSION]))
        .sort("effect_kurtosis", "layer", "neuron", descending=[True, False, False])
        .group_by("role", maintain_order=True)
        .head(per_role)
        .sort("layer", "neuron")
    )
    if found.is_empty():
        log.warning("no neuron of %s predicts or suppresses tokens", model)
    return found


def acted_on(effects: np.ndarray, raised: bool, deviations: float, most: int) -> np.ndarray:
    """Tokens whose effect is far from the mean: indices, the furthest first.

    Parameters
    ----------
    effects : ndarray, shape (v,)
    raised : bool
        Whether those above the mean count, or those below it.
    deviations : float
        How far, in standard deviations; the one furthest token counts in any case.
    most : int
    """
    distance = (effects - effects.mean()) * (1 if raised else -1)
    order = np.argsort(-distance, kind="stable")
    far = int((distance > deviations * effects.std()).sum())
    return order[: max(1, min(far, most))]


def compare_firing(
    values: np.ndarray, inside: np.ndarray, resamples: int, generator: np.random.Generator
) -> dict[str, float]:
    """Mean activation and share of positive ones at some tokens and at the others.

    Parameters
    ----------
    values : ndarray, shape (sequence, position)
    inside : ndarray of bool, the same shape
    resamples : int
        Bootstrap samples of sequences.
    generator : Generator

    Returns
    -------
    dict
        `n_in`, `n_out`, `mean_in`, `mean_out`, `std` (of all), `difference` with the ends of its
        95 % interval, and the same of the share of positive activations (`active_*`). Samples
        without a token of either kind are left out of the interval.
    """
    values = values.astype(np.float64)
    sums = np.stack(
        [
            (part * side).sum(axis=1)
            for part in (values, values > 0, np.ones_like(values))
            for side in (inside, ~inside)
        ],
        axis=1,
    )
    n = len(values)
    # How often each sequence is drawn: sums of a sample are sums weighted with it.
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=resamples) @ sums
    drawn = drawn[(drawn[:, 4] > 0) & (drawn[:, 5] > 0)]
    total = sums.sum(axis=0)
    found: dict[str, float] = {
        "n_in": int(total[4]),
        "n_out": int(total[5]),
        "std": float(values.std()),
    }
    for first, (inner, outer, difference, ends) in enumerate(
        (("mean_in", "mean_out", "difference", "difference"),
         ("active_in", "active_out", "active_difference", "active"))
    ):  # fmt: skip
        a, b = 2 * first, 2 * first + 1
        found[inner], found[outer] = float(total[a] / total[4]), float(total[b] / total[5])
        found[difference] = found[inner] - found[outer]
        sampled = drawn[:, a] / drawn[:, 4] - drawn[:, b] / drawn[:, 5]
        low, high = np.quantile(sampled, QUANTILES) if len(sampled) else (np.nan, np.nan)
        found[f"{ends}_low"], found[f"{ends}_high"] = float(low), float(high)
    return found


def push(role: str, difference: float, std: float) -> float:
    """How far a neuron's role carries over to what it does where one of its tokens comes next.

    The difference of its activation there in standard deviations: positive if it raises the tokens
    then, negative if it lowers them. Neurons of gated MLPs take both signs, so that one that raises
    tokens with a positive activation lowers them with a negative one.
    """
    return (difference if role == PREDICTION else -difference) / std if std > 0 else 0.0


def _controls(neurons: list[tuple[int, int]], d_mlp: int, seed: int) -> list[tuple[int, int]]:
    """Another neuron of the same layer for each, none of those given."""
    taken = set(neurons)
    found = []
    for layer, neuron in neurons:
        others = [u for u in range(d_mlp) if (layer, u) not in taken]
        generator = random_generator(seed, "control", layer, neuron)
        found.append((layer, int(generator.choice(others or [neuron]))))
    return found
