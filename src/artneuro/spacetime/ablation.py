"""Space and time neurons held at zero: which tokens the model then predicts worse (C.2)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.interventions.describe import describe_losses
from artneuro.interventions.forward import Ablation
from artneuro.interventions.measure import Losses
from artneuro.interventions.role_text import draw_text
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_causal_lm
from artneuro.spacetime.ablation_losses import TokenLosses, token_losses
from artneuro.spacetime.config import AblationConfig
from artneuro.spacetime.neurons_choose import choose_neurons, draw_controls
from artneuro.spacetime.neurons_schemas import ABLATIONS_SCHEMA, CONTEXTS_SCHEMA

log = logging.getLogger(__name__)

# Nats by which a token has to be predicted worse to be counted.
RAISED = 0.01


@dataclass(frozen=True)
class AblationFacts:
    """What a job of ablations did, for its provenance."""

    device: str
    compute_dtype: str
    seed: int
    n_neurons: int
    n_controls: int
    n_sequences: int
    n_tokens: int
    seconds: float


def ablate_entity_neurons(
    config: AblationConfig,
    *,
    weights: Path,
    model_info: Path,
    tokenizer: Path,
    neurons: Path,
    tokens: Path,
    sequences: Path,
    ablations: Path,
    contexts: Path,
    model: str,
    table: str,
    document_token: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> AblationFacts:
    """Hold space or time neurons at zero, one at a time, while a model reads a text.

    Parameters
    ----------
    config : AblationConfig
    weights, model_info, tokenizer : Path
        Model folder, `model.json`, and the folder of the tokenizer.
    neurons : Path
        What `find_entity_neurons` found.
    tokens, sequences : Path
        Tables of a text.
    ablations, contexts : Path
        The tables to write: see Notes.
    model, table : str
        Names for the tables: of the model and of the table of entities.
    document_token : str, optional
        As in `load_tokenizer`.
    dtype, device, threads, trust_remote_code
        As in `artneuro.activations.dump.dump_activations`.

    Returns
    -------
    AblationFacts

    Raises
    ------
    DataError
        If the text is too short, or no neuron was found.

    Notes
    -----
    Thesis, appendix C.2 and tables C.1 to C.4. A neuron is held at zero at every token. For each
    there is a control: another neuron of its layer, drawn at random. `ablations` has the loss per
    token with standard errors over sequences, and the share of tokens that are predicted worse by
    more than 0.01 nats; `contexts` the tokens whose loss rises most, with what precedes them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    chosen = choose_neurons(read_table(neurons), config.neurons)
    if chosen.is_empty():
        raise DataError(
            "no neuron along the probes' directions can be ablated",
            where=str(neurons),
            fix="raise spacetime.neurons.top",
        )
    ids, drawn = draw_text(tokens, sequences, shape, config.sequences, config.n_ctx, config.seed)
    units = _with_controls(chosen, shape.d_mlp, config.seed)
    lm = load_causal_lm(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    held = [Ablation(u["layer"], (u["neuron"],), (0.0,)) for u in units]
    found = token_losses(lm, ids, held)
    seconds = time.perf_counter() - started
    reader = load_tokenizer(tokenizer, document_token)
    names = [pl.lit(model).alias("model"), pl.lit(table).alias("entities")]
    rows = [{**u, **_describe(found, i)} for i, u in enumerate(units)]
    shown = [
        {**u, **row}
        for i, u in enumerate(units)
        for row in _contexts(config, found, i, ids, drawn, reader)
    ]
    for part, schema, path in (
        (rows, ABLATIONS_SCHEMA, ablations),
        (shown, CONTEXTS_SCHEMA, contexts),
    ):
        frame = pl.DataFrame(part, infer_schema_length=None).with_columns(names)
        write_table(frame.select(schema.names()).cast(schema), path)
    n_controls = sum(u["control"] for u in units)
    return AblationFacts(
        str(lm.device), lm.dtype, config.seed, len(units) - n_controls, n_controls, len(ids),
        found.baseline.size, seconds,
    )  # fmt: skip


def _with_controls(chosen: pl.DataFrame, d_mlp: int, seed: int) -> list[dict]:
    """The neurons, each followed by a control of its layer that is neither of them."""
    taken = set(chosen.select("layer", "neuron").rows())
    units = []
    for row in chosen.iter_rows(named=True):
        units.append({**row, "control": False, "of_neuron": row["neuron"]})
        for layer, neuron in draw_controls(row["layer"], d_mlp, taken, 1, seed):
            taken.add((layer, neuron))
            units.append(
                {**row, "neuron": neuron, "control": True, "of_neuron": row["neuron"],
                 "activation_spearman": None}
            )  # fmt: skip
    return units


def _describe(found: TokenLosses, i: int) -> dict:
    """Mean losses of an ablation, and what it does to single tokens."""
    increase = found.ablated[i] - found.baseline
    n, width = increase.shape
    losses = Losses(np.full(n, width), found.baseline.sum(axis=1), found.ablated.sum(axis=2), [])
    active = found.activations[i].astype(np.float64)
    return {
        **describe_losses(losses, losses.ablated[i]),
        "activation_mean": float(active.mean()),
        "activation_std": float(active.std()),
        "increase_max": float(increase.max()),
        "share_raised": float((increase > RAISED).mean()),
    }


def _contexts(
    config: AblationConfig,
    found: TokenLosses,
    i: int,
    ids: np.ndarray,
    drawn: np.ndarray,
    tokenizer: TextTokenizer,
) -> list[dict]:
    """The tokens whose loss rises most under an ablation, the largest rise first."""
    increase = found.ablated[i] - found.baseline
    order = np.argsort(-increase, axis=None, kind="stable")[: config.contexts]
    rows = []
    for rank, flat in enumerate(order, start=1):
        row, column = divmod(int(flat), increase.shape[1])
        position = column + 1
        before = ids[row, max(0, position - config.context_tokens) : position].tolist()
        token = int(ids[row, position])
        rows.append(
            {
                "rank": rank,
                "sequence": int(drawn[row]),
                "position": position,
                "context": tokenizer.backend.decode(before, skip_special_tokens=True),
                "token": token,
                "token_text": tokenizer.backend.decode([token], skip_special_tokens=False),
                "increase": float(increase[row, column]),
                "loss": float(found.baseline[row, column]),
                "activation": float(found.activations[i, row, column]),
            }
        )
    return rows
