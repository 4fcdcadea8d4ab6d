"""Entropy neurons: large output weights that hardly touch the logits (thesis, section 3.5.2)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy import stats

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.logs import Progress
from artneuro.interventions.entropy_pinning import (
    STATISTICS,
    Recording,
    pinned_statistics,
    prediction_statistics,
    record,
)
from artneuro.interventions.forward import run_from
from artneuro.interventions.role_text import draw_positions, draw_text
from artneuro.interventions.roles_config import EntropyNeuronsConfig
from artneuro.models.info import read_model_info
from artneuro.models.loading import LanguageModel, load_causal_lm
from artneuro.probing.data import random_generator
from artneuro.weights.families import FAMILIES

log = logging.getLogger(__name__)

ENTROPY, ANTIPODE, CONTROL = "entropy", "antipode", "control"
COVERAGE = 0.95
# Positions of a forward pass.
BATCH_TOKENS = 2048

ENTROPY_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "text": pl.String(),
        "kind": pl.String(),
        "rank": pl.Int16(),
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "norm_out": pl.Float64(),
        "logit_variance": pl.Float64(),
        "norm_percentile": pl.Float64(),
        "variance_percentile": pl.Float64(),
        "cosine": pl.Float64(),
        "activation_mean": pl.Float64(),
        "activation_std": pl.Float64(),
        "unit": pl.String(),
        "setting": pl.Float64(),
        "value": pl.Float64(),
        "statistic": pl.String(),
        "n_sequences": pl.Int32(),
        "n_tokens": pl.Int32(),
        "baseline": pl.Float64(),
        "mean": pl.Float64(),
        "mean_se": pl.Float64(),
        "change": pl.Float64(),
        "change_low": pl.Float64(),
        "change_high": pl.Float64(),
    }
)
_NEURON = [
    "kind", "rank", "layer", "neuron", "norm_out", "logit_variance", "norm_percentile",
    "variance_percentile", "cosine",
]  # fmt: skip


@dataclass(frozen=True)
class PinningFacts:
    """What a job of pinned neurons did, for its provenance."""

    device: str
    compute_dtype: str
    seed: int
    n_neurons: int
    n_sequences: int
    n_tokens: int
    seconds: float


def choose_entropy_neurons(
    effects: pl.DataFrame, config: EntropyNeuronsConfig, n_layers: int
) -> pl.DataFrame:
    """Candidates by rank, the neurons that write against them, and controls.

    Parameters
    ----------
    effects : DataFrame
        Of the schema of `artneuro.weights.effects`.
    config : EntropyNeuronsConfig
    n_layers : int
        Of the model.

    Returns
    -------
    DataFrame
        `kind`, `rank` (from 1; that of the candidate for its antipode; 0 for controls), `layer`,
        `neuron`, `norm_out`, `logit_variance`, their percentiles among the neurons of the last
        layers (null outside of them), and `cosine` of the antipode with its candidate.

    Raises
    ------
    DataError
        If no neuron is left to draw controls from.

    Notes
    -----
    A neuron's place is its percentile of the norm less its percentile of the variance of logit
    effects, both among the neurons of the last `layers`.
    """
    late = effects.filter(
        pl.col("layer") >= n_layers - config.layers, pl.col("norm_out") > 0
    ).with_columns(
        (pl.col("norm_out").rank() / pl.len()).alias("norm_percentile"),
        (pl.col("logit_variance").rank() / pl.len()).alias("variance_percentile"),
    )
    loud = pl.col("norm_out") >= pl.col("norm_out").quantile(config.min_norm_quantile)
    best = (
        late.filter(loud)
        .with_columns((pl.col("norm_percentile") - pl.col("variance_percentile")).alias("place"))
        .sort("place", "layer", "neuron", descending=[True, False, False])
        .head(config.neurons)
        .with_row_index("rank", offset=1)
        .with_columns(pl.lit(ENTROPY).alias("kind"), pl.lit(None, pl.Float64).alias("cosine"))
    )
    place, sizes = ["layer", "neuron"], ["norm_out", "logit_variance"]
    keys = best.select(place)
    against = (
        best.filter(pl.col("antipode_cosine") <= config.antipode_cosine)
        .select(
            "rank",
            pl.col("antipode_layer").alias("layer"),
            pl.col("antipode").alias("neuron"),
            pl.col("antipode_cosine").alias("cosine"),
        )
        .join(keys, on=place, how="anti")
        .unique(place, keep="first", maintain_order=True)
        .join(effects.select(*place, *sizes), on=place)
        .join(late.select(*place, "norm_percentile", "variance_percentile"), on=place, how="left")
        .with_columns(pl.lit(ANTIPODE).alias("kind"))
        .sort("rank")
    )
    ordinary = (
        late.filter(
            pl.col("norm_out") <= pl.col("norm_out").quantile(config.control_norm_quantile),
            pl.col("logit_variance")
            >= pl.col("logit_variance").quantile(config.control_variance_quantile),
        )
        .join(pl.concat([keys, against.select(place)]), on=place, how="anti")
        .sort(place)
    )
    if ordinary.is_empty() and config.controls:
        raise DataError(
            "no neuron of the last layers is left to draw controls from",
            fix="loosen interventions.entropy_neurons.control_norm_quantile or "
            "control_variance_quantile",
        )
    order = random_generator(config.seed, "controls").permutation(ordinary.height)
    drawn = ordinary[np.sort(order[: config.controls])].with_columns(
        pl.lit(CONTROL).alias("kind"),
        pl.lit(0).alias("rank"),
        pl.lit(None, pl.Float64).alias("cosine"),
    )
    integers = {"rank": pl.Int16}
    return pl.concat(
        [part.select(_NEURON).cast(integers) for part in (best, against, drawn)]  # type: ignore[arg-type]
    )


def pin_entropy_neurons(
    config: EntropyNeuronsConfig,
    weights: Path,
    model_info: Path,
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
) -> PinningFacts:
    """Hold entropy neurons and controls at values, and measure what becomes of the prediction.

    Parameters
    ----------
    config : EntropyNeuronsConfig
    weights, model_info : Path
        Model folder and `model.json`.
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
    PinningFacts

    Raises
    ------
    DataError
        If the text is too short, or no controls can be drawn.

    Notes
    -----
    Thesis, section 3.5.2 and figures 3.7 and B.18. A neuron is held at every token of a sequence.
    Means are over the measured tokens; intervals are Student's over sequences.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    shape = read_model_info(model_info).shape
    neurons = choose_entropy_neurons(read_table(effects), config, shape.n_layers)
    ids, drawn = draw_text(tokens, sequences, shape, config.sequences, config.n_ctx, config.seed)
    positions = draw_positions(drawn, config.skip, config.n_ctx - 1, config.positions, config.seed)
    lm = load_causal_lm(weights, dtype, device, trust_remote_code)
    started = time.perf_counter()
    rows = _pin(config, lm, ids, positions, neurons)
    seconds = time.perf_counter() - started
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.lit(model).alias("model"), pl.lit(text).alias("text")
    )
    write_table(table.select(ENTROPY_SCHEMA.names()).cast(ENTROPY_SCHEMA), output)
    return PinningFacts(
        str(lm.device), lm.dtype, config.seed, neurons.height, len(ids), positions.size, seconds
    )


def _pin(
    config: EntropyNeuronsConfig,
    lm: LanguageModel,
    ids: np.ndarray,
    positions: np.ndarray,
    neurons: pl.DataFrame,
) -> list[dict]:
    """Rows of the table, one for each neuron, value and statistic."""
    of_layer: dict[int, list[int]] = {}
    columns = []
    for layer, unit in neurons.select("layer", "neuron").iter_rows():
        columns.append(len(of_layer.setdefault(layer, [])))
        of_layer[layer].append(unit)
    size = max(1, BATCH_TOKENS // ids.shape[1])
    batches = [slice(i, min(i + size, len(ids))) for i in range(0, len(ids), size)]
    recorded = [record(lm, torch.from_numpy(ids[b]).to(lm.device), of_layer) for b in batches]
    where = [_places(positions[b], lm.device) for b in batches]
    parts = zip(recorded, where, strict=True)
    baseline = np.concatenate([_unchanged(lm, r, *places) for r, places in parts])
    counter = Progress("pinned", neurons.height, "neurons", log)
    found = []
    for row, column in zip(neurons.iter_rows(named=True), columns, strict=True):
        layer = row["layer"]
        natural = np.concatenate(
            [
                r.layers[layer].activations[a, b, column].float().cpu().numpy()
                for r, (a, b) in zip(recorded, where, strict=True)
            ]
        ).astype(np.float64)
        row = {**row, "activation_mean": natural.mean(), "activation_std": natural.std()}
        grid = _grid(config, lm, natural.mean(), natural.std())
        pinned = np.concatenate(
            [
                pinned_statistics(lm, r, (layer, row["neuron"]), column, [v for *_, v in grid], *p)
                for r, p in zip(recorded, where, strict=True)
            ],
            axis=1,
        )
        for (unit, setting, value), values in zip(grid, pinned, strict=True):
            settings = {"unit": unit, "setting": setting, "value": value}
            found += [
                {**row, **settings, **described}
                for described in describe_changes(baseline, values, positions.shape)
            ]
        counter.add(1)
    return found


def _places(positions: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.repeat(np.arange(len(positions)), positions.shape[1])
    return torch.from_numpy(rows).to(device), torch.from_numpy(positions.ravel()).to(device)


def _unchanged(
    lm: LanguageModel, recording: Recording, rows: torch.Tensor, positions: torch.Tensor
) -> np.ndarray:
    before = recording.last[rows, positions]
    base = lm.model.base_model
    final = run_from(base, lm.architecture, recording.ids, lm.shape.n_layers, before[None])[0]
    return prediction_statistics(lm, before, final, recording.ids[rows, positions + 1])


def _grid(
    config: EntropyNeuronsConfig, lm: LanguageModel, mean: float, std: float
) -> list[tuple[str, float, float]]:
    """Unit, setting and activation of each value that a neuron is held at."""
    gated = len(FAMILIES[lm.architecture].mlp_readers) > 1
    values = config.gated_values if gated else config.values
    grid = [("activation", float(value), float(value)) for value in values]
    if gated:
        grid += [("deviations", float(d), float(mean + d * std)) for d in config.deviations]
    return grid


def describe_changes(
    baseline: np.ndarray, values: np.ndarray, shape: tuple[int, ...]
) -> list[dict]:
    """Means of each statistic and of its change, with intervals over sequences.

    Parameters
    ----------
    baseline, values : ndarray, shape (sequence * position, 4)
        `STATISTICS` of each prediction without and with the intervention.
    shape : (sequences, positions)

    Returns
    -------
    list of dict
        One for each statistic: `baseline`, `mean`, `mean_se` (standard error over sequences),
        `change` and the ends of its interval (Student's t, `COVERAGE`, over the means of sequences,
        which have equally many tokens each).
    """
    before, after = (a.reshape(*shape, len(STATISTICS)).mean(axis=1) for a in (baseline, values))
    change, n = after - before, shape[0]
    error = change.std(axis=0, ddof=1) / np.sqrt(n)
    half = stats.t.ppf((1 + COVERAGE) / 2, n - 1) * error
    spread = after.std(axis=0, ddof=1) / np.sqrt(n)
    return [
        {
            "statistic": name,
            "n_sequences": n,
            "n_tokens": shape[0] * shape[1],
            "baseline": float(before[:, i].mean()),
            "mean": float(after[:, i].mean()),
            "mean_se": float(spread[i]),
            "change": float(change[:, i].mean()),
            "change_low": float(change[:, i].mean() - half[i]),
            "change_high": float(change[:, i].mean() + half[i]),
        }
        for i, name in enumerate(STATISTICS)
    ]
