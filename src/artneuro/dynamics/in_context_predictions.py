"""What a language model expects of the next value of a sequence, and what it holds in memory.

Thesis, section 5.4.2 and figure 5.6. The model reads each sequence once. The likelihood of the true
number is had everywhere from that pass; the whole distribution over numbers at evenly spaced values
from a tree of tokens (`artneuro.dynamics.number_tree`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import write_table
from artneuro.core.errors import ConfigError
from artneuro.datasets.seeding import generator_of, hash_of
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.dynamics.in_context_baselines import BASELINES, baseline_forecasts
from artneuro.dynamics.in_context_config import InContextConfig, TreeConfig
from artneuro.dynamics.in_context_schemas import (
    DISTRIBUTIONS_SCHEMA,
    NATURAL,
    PREDICTIONS_SCHEMA,
)
from artneuro.dynamics.number_tree import NumberTree, build_tree, summarise
from artneuro.dynamics.residual_store import Run, write_residuals
from artneuro.dynamics.sequence_model import (
    Reading,
    log_probabilities,
    read_sequence,
    tree_conditionals,
)
from artneuro.dynamics.sequence_text import (
    NumberFormat,
    SequenceTokens,
    all_spellings,
    canonical_spellings,
    number_format,
    tokenize_sequence,
)
from artneuro.dynamics.simulate import Accuracy, simulate_trial
from artneuro.models.loading import LanguageModel, load_causal_lm, random_causal_lm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What a job used, for its provenance."""

    device: str
    dtype: str
    tokens: int
    seed: int


def simulate_sequence(config: InContextConfig, system: str, trial: int) -> np.ndarray:
    """States of a system at the times of a sequence's values: (value, variable)."""
    chosen = config.systems[system]
    states = simulate_trial(
        chosen.build(),
        "train",
        trial,
        chosen.dt,
        chosen.transient + chosen.values,
        seed=config.seed,
        accuracy=Accuracy(config.rtol, config.rtol),
    )
    return states[chosen.transient :]


def spread_positions(first: int, values: int, count: int) -> np.ndarray:
    """Evenly spaced positions of values from `first` to the last one."""
    return np.unique(np.linspace(first, values - 1, count).round().astype(np.int64))


def predict_in_context(
    config: InContextConfig,
    *,
    weights: Path,
    tokenizer: Path,
    predictions: Path,
    distributions: Path,
    residuals: Path,
    model: str,
    system: str,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> Facts:
    """Give a model the sequences of a system, and write what it expects and what it holds.

    Parameters
    ----------
    config : InContextConfig
        With this system.
    weights, tokenizer : path
        Model folders.
    predictions, distributions : path
        Tables to write (`in_context_schemas`): every value of every sequence and control; the whole
        distributions of the sequences themselves.
    residuals : path
        The store to write (`residual_store`): the first sequence and its controls.
    model, system : str
        Names, for the tables.
    dtype, device, trust_remote_code
        See `artneuro.models.loading`.
    threads : int, optional
        Of the forward passes on a CPU.

    Raises
    ------
    DataError
        If the sequence is longer than the model can read, or a value cannot be written.
    ConfigError
        If the model has no such layer, or the tokenizer joins numbers and separators.
    """
    if threads:
        torch.set_num_threads(threads)
    text = load_tokenizer(tokenizer)
    chosen = config.systems[system]
    written = number_format(chosen)
    observed = chosen.build().variables.index(chosen.observed)
    tree = build_tree(_spellings(config, text, written))
    options: dict[str, Any] = {
        "dtype": dtype, "device": device, "trust_remote_code": trust_remote_code
    }  # fmt: skip
    lm = load_causal_lm(weights, **options)
    layers = _layers(config, lm)
    tables: list[pl.DataFrame] = []
    shapes: list[pl.DataFrame] = []
    runs: list[Run] = []
    tokens = 0
    for trial in range(chosen.sequences):
        natural = simulate_sequence(config, system, trial)
        for control in (NATURAL, *(config.controls if trial == 0 else [])):
            states, reader = natural, lm
            if control == "shuffled":
                order = generator_of(config.seed, "in_context", system, control)
                states = natural[order.permutation(len(natural))]
            elif control == "random_weights":
                seed = hash_of(config.seed, "in_context", control) % 2**63
                reader = random_causal_lm(weights, seed, **options)
            codes = written.encode(states[:, observed])
            sequence = tokenize_sequence(text, written, codes, lm.shape.n_ctx)
            tokens += len(sequence.ids)
            reading = read_sequence(
                reader, sequence.ids, sequence.separators, layers if trial == 0 else []
            )
            frame, found = _forecast(
                config.tree, reader, reading, sequence, codes, written,
                tree if control == NATURAL else None,
            )  # fmt: skip
            labels = {"model": model, "system": system, "control": control, "sequence": trial}
            tables.append(_labelled(frame, labels, PREDICTIONS_SCHEMA))
            shapes.append(_labelled(found, labels, DISTRIBUTIONS_SCHEMA))
            if trial == 0:
                runs.append(Run(control, reading.residuals, states, codes))
            log.info("sequence %d, control %s: %d tokens", trial, control, len(sequence.ids))
    write_table(pl.concat(tables), predictions)
    write_table(pl.concat(shapes), distributions)
    write_residuals(residuals, runs, layers)
    return Facts(str(lm.device), lm.dtype, tokens, config.seed)


def _spellings(
    config: InContextConfig, text: TextTokenizer, written: NumberFormat
) -> list[list[tuple[int, ...]]]:
    if config.tree.spellings == "canonical":
        return canonical_spellings(text, written)
    return all_spellings(text.strings(), written, text.special)


def _layers(config: InContextConfig, lm: LanguageModel) -> list[int]:
    chosen = config.probes.layers
    if chosen == "all":
        return list(range(lm.shape.n_layers))
    wrong = [layer for layer in chosen if not 0 <= layer < lm.shape.n_layers]
    if wrong:
        raise ConfigError(
            f"the model has no layer {wrong[0]}",
            where="dynamics.in_context.probes.layers",
            fix=f"it has layers 0 to {lm.shape.n_layers - 1}",
        )
    return sorted(set(chosen))


def _forecast(
    config: TreeConfig,
    lm: LanguageModel,
    reading: Reading,
    sequence: SequenceTokens,
    codes: np.ndarray,
    written: NumberFormat,
    tree: NumberTree | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of the predictions of one sequence, and of its distributions."""
    values, n = written.decode(codes), len(codes)
    # Every token of a number is predicted by the one before it.
    spans = zip(sequence.starts, sequence.ends, strict=True)
    inside = np.concatenate([np.arange(start, end) for start, end in spans])
    owner = np.repeat(np.arange(n), sequence.ends - sequence.starts)
    states = reading.final[torch.from_numpy(inside - 1).to(reading.final.device)]
    logs = log_probabilities(lm, states, sequence.ids[inside][:, None])[:, 0]
    columns: dict[str, Any] = {
        "position": np.arange(n),
        "token": sequence.starts,
        "value": values,
        "log_loss": -np.bincount(owner, weights=logs, minlength=n),
        **{name: np.full(n, np.nan) for name in ("mass", "mean", "median", "std")},
        **{name: found for name, found in baseline_forecasts(values).items() if name in BASELINES},
    }
    if tree is None:
        return columns, {"position": []}
    chosen = spread_positions(config.first, n, config.positions)
    conditionals = tree_conditionals(
        lm, reading, sequence.starts[chosen] - 1, tree, config.batch_tokens
    )
    probabilities = tree.distribution(conditionals)
    forecast = summarise(probabilities, written.decode(np.arange(written.count)))
    for name in ("mass", "mean", "median", "std"):
        columns[name][chosen] = getattr(forecast, name)
    found = {
        "position": chosen,
        "value": values[chosen],
        "first": [written.low] * len(chosen),
        "step": [written.step] * len(chosen),
        "probabilities": list(probabilities),
    }
    return columns, found


def _labelled(
    columns: Mapping[str, Any], labels: Mapping[str, Any], schema: pl.Schema
) -> pl.DataFrame:
    """A table of a schema, with the same labels in every row; NaN becomes null."""
    size = len(columns["position"])
    filled = {name: [value] * size for name, value in labels.items()}
    frame = pl.DataFrame(
        {name: filled.get(name, columns.get(name, [])) for name in schema}, schema=schema
    )
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))
