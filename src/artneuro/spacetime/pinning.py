"""A time neuron held at values while a model says when something was made (C.2)."""

from __future__ import annotations

import logging
import re
import string
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.interventions.forward import Ablation, run_ablated, run_recorded
from artneuro.models.info import read_model_info
from artneuro.models.loading import LanguageModel, load_causal_lm
from artneuro.spacetime.config import PinningConfig
from artneuro.spacetime.data import TIME, targets_of
from artneuro.spacetime.neurons_choose import (
    MeasuredNeuron,
    choose_neurons,
    draw_controls,
    measure_neurons,
)
from artneuro.spacetime.neurons_schemas import PINNED_SCHEMA

log = logging.getLogger(__name__)

_FIELDS = ("name", "title", "creator")
# Tokens of copies that run side by side.
COPY_TOKENS = 2048


@dataclass(frozen=True)
class PinningFacts:
    """What a job of a pinned time neuron did, for its provenance."""

    device: str
    compute_dtype: str
    layer: int
    neuron: int
    n_controls: int
    n_entities: int
    seconds: float


def pin_entity_neurons(
    config: PinningConfig,
    *,
    weights: Path,
    model_info: Path,
    tokenizer: Path,
    entities: Path,
    neurons: Path,
    output: Path,
    model: str,
    table: str,
    document_token: str | None = None,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> PinningFacts:
    """Hold a time neuron and others of its layer at values, and follow the next token.

    Parameters
    ----------
    config : PinningConfig
    weights, model_info, tokenizer : Path
        Model folder, `model.json`, and the folder of the tokenizer.
    entities : Path
        A table of entities of time.
    neurons : Path
        What `find_entity_neurons` found on it.
    output : Path
        The table to write: see Notes.
    model, table : str
        Names for the table: of the model and of the table of entities.
    document_token : str, optional
        As in `load_tokenizer`.
    seed : int
        Of the control neurons and of the entities that activations are measured on.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    PinningFacts

    Raises
    ------
    ConfigError
        If the template asks for what entities do not have.
    DataError
        If the table is not of time, or no entity or neuron is fit for it.

    Notes
    -----
    Thesis, appendix C.2 and figure C.2. The neuron is held at every token of the prompt, at values
    in standard deviations of its own activation at the last tokens of names; so are the controls.
    Rows are tokens at each setting, those that the model gives the largest probability to as it is
    or with the time neuron held somewhere; rows without a neuron are of the model as it is.
    `divergence` is the Kullback-Leibler divergence of the whole prediction from that of the model
    as it is; `digit_mass` and `expected_digit` are the probability of the ten digits and their mean
    under it, if the tokenizer has a token for each.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    known = read_table(entities)
    if targets_of(known, str(entities)) != TIME:
        raise DataError(
            "neurons of a table of places are to be held while the model gives a date",
            where=str(entities),
            fix="name tables of time in spacetime.pinning.tables",
        )
    prompts = make_texts(config, known, str(entities))
    chosen = choose_neurons(read_table(neurons).filter(pl.col("target") == TIME[0]), 1)
    if chosen.is_empty():
        raise DataError(
            "no neuron along the probes' directions can be held",
            where=str(neurons),
            fix="raise spacetime.neurons.top",
        )
    unit = chosen.select("layer", "neuron").row(0)
    units = [unit, *draw_controls(unit[0], shape.d_mlp, {unit}, config.controls, seed)]
    reader = load_tokenizer(tokenizer, document_token)
    lm = load_causal_lm(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    measured = measure_neurons(lm, reader, known, TIME[0], units, seed)
    # A vocabulary may be longer than what its tokenizer knows.
    names = reader.strings() + [""] * max(0, shape.vocab - reader.n_ids)
    rows: list[dict] = []
    for prompt in prompts.iter_rows(named=True):
        ids = np.concatenate([[reader.document_token], reader.encode([prompt["text"]])[0].ids])
        if len(ids) > shape.n_ctx:
            raise DataError(
                f"a prompt of {len(ids)} tokens is longer than the model reads",
                where=prompt["name"],
                fix="shorten spacetime.pinning.template",
            )
        rows += [{**prompt, **row} for row in _follow(config, lm, ids, measured, names)]
    seconds = time.perf_counter() - started
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.lit(model).alias("model"),
        pl.lit(table).alias("entities"),
    )
    write_table(frame.select(PINNED_SCHEMA.names()).cast(PINNED_SCHEMA), output)
    return PinningFacts(
        str(lm.device), lm.dtype, unit[0], unit[1], len(units) - 1, prompts.height, seconds
    )


def make_texts(config: PinningConfig, entities: pl.DataFrame, where: str = "") -> pl.DataFrame:
    """The prompts that are continued: the most popular test entities in the template.

    Parameters
    ----------
    config : PinningConfig
    entities : DataFrame
        A table of entities of time. Where the template ends in digits, as in "was written in 19",
        they are those whose year begins with them.
    where : str
        What to call the table in errors.

    Returns
    -------
    DataFrame
        `entity`, `name`, `time` and `text`, the most popular first.

    Raises
    ------
    ConfigError
        If the template has another field than name, title and creator, or none.
    DataError
        If no entity of the split test is fit for it.
    """
    try:
        fields = [f for _, f, _, _ in string.Formatter().parse(config.template) if f is not None]
    except ValueError as error:
        raise ConfigError(
            f"the template {config.template!r} cannot be read ({error})",
            where="spacetime.pinning.template",
        ) from error
    if not fields or set(fields) - set(_FIELDS):
        raise ConfigError(
            f"the template {config.template!r} has the fields {fields}",
            where="spacetime.pinning.template",
            fix=f"use one or more of {', '.join(_FIELDS)}, in curly brackets",
        )
    digits = re.search(r"\d*$", config.template)
    year = pl.col("time").floor().cast(pl.Int64).cast(pl.String)
    fit = entities.filter(
        pl.col("split") == "test",
        year.str.starts_with(digits.group() if digits else ""),
        pl.all_horizontal(pl.col(f).is_not_null() for f in fields),
    ).sort("popularity", "entity", descending=[True, False], nulls_last=True)
    if fit.is_empty():
        raise DataError(
            f"no entity of the split test is fit for the template {config.template!r}",
            where=where,
            fix="change spacetime.pinning.template: its last digits begin the years",
        )
    fit = fit.head(config.examples)
    texts = [
        config.template.format(**{f: row[f] for f in fields}) for row in fit.iter_rows(named=True)
    ]
    return fit.select("entity", "name", "time").with_columns(pl.Series("text", texts))


def _follow(
    config: PinningConfig,
    lm: LanguageModel,
    ids: np.ndarray,
    measured: list[MeasuredNeuron],
    names: list[str],
) -> list[dict]:
    """Rows of one prompt: the model as it is, then each neuron, the time neuron first."""
    settings = [
        (unit, deviations, unit.mean + deviations * unit.std)
        for unit in measured
        for deviations in config.deviations
    ]
    ablations = [Ablation(u.layer, (u.neuron,), (value,)) for u, _, value in settings]
    logs = pinned_log_probabilities(lm, ids, ablations)
    own = len(config.deviations)
    # Tokens that the model or its time neuron bring up; controls have no say.
    height = logs[: own + 1].max(axis=0)
    tokens = np.argsort(-height, kind="stable")[: config.top_tokens]
    digits = [names.index(d) for d in string.digits if d in names]
    base: dict = dict.fromkeys(
        ("layer", "neuron", "control", "activation_mean", "activation_std", "activation_spearman",
         "setting", "value")
    )  # fmt: skip
    rows = [{**base, **row} for row in _of_tokens(logs[0], logs[0], tokens, digits, names)]
    for (unit, deviations, value), line in zip(settings, logs[1:], strict=True):
        about = {
            "layer": unit.layer,
            "neuron": unit.neuron,
            "control": unit is not measured[0],
            "activation_mean": unit.mean,
            "activation_std": unit.std,
            "activation_spearman": None if np.isnan(unit.spearman) else unit.spearman,
            "setting": deviations,
            "value": value,
        }
        rows += [{**about, **row} for row in _of_tokens(line, logs[0], tokens, digits, names)]
    return rows


def pinned_log_probabilities(
    lm: LanguageModel, ids: np.ndarray, ablations: list[Ablation]
) -> np.ndarray:
    """What a model predicts behind a prompt, as it is and with units held at values.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    ids : ndarray of int, shape (position,)
    ablations : list of Ablation
        All of one layer; units are held at every token.

    Returns
    -------
    ndarray of float64, shape (1 + ablation, vocabulary)
        Natural logarithms of probabilities of the next token, first without anything held.
    """
    tokens = torch.from_numpy(ids.astype(np.int64))[None].to(lm.device)
    base, layer = lm.model.base_model, ablations[0].layer
    final, residuals = run_recorded(base, lm.architecture, tokens, [layer])
    last = [final[:, -1]]
    at_once = max(1, COPY_TOKENS // len(ids))
    for first in range(0, len(ablations), at_once):
        copies, _ = run_ablated(
            base, lm.architecture, tokens, residuals[layer], ablations[first : first + at_once]
        )
        last.append(copies[:, 0, -1])
    cap = getattr(lm.model.config, "final_logit_softcapping", None)
    with torch.inference_mode():
        logits = lm.model.get_output_embeddings()(torch.cat(last)).double()
        if cap:
            logits = cap * torch.tanh(logits / cap)
        return logits.log_softmax(dim=-1).cpu().numpy()


def _of_tokens(
    line: np.ndarray, baseline: np.ndarray, tokens: np.ndarray, digits: list[int], names: list[str]
) -> list[dict]:
    """Rows of one prediction, one for each token that is followed."""
    whole: dict = {
        "top_token_text": names[int(line.argmax())],
        "divergence": float(np.exp(baseline) @ (baseline - line)),
        "digit_mass": None,
        "expected_digit": None,
    }
    if len(digits) == len(string.digits):
        p = np.exp(line[digits])
        whole["digit_mass"] = float(p.sum())
        whole["expected_digit"] = float(p @ np.arange(len(digits)) / p.sum())
    return [
        {
            "token": int(token),
            "token_text": names[token],
            "probability": float(np.exp(line[token])),
            "rank": int((line > line[token]).sum()) + 1,
            **whole,
        }
        for token in tokens
    ]
