"""The dump: labelled rows of a token dataset, through the model, into the store."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import transformers

from artneuro.activations.aggregate import Aggregation
from artneuro.activations.check import check_store
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.consolidate import divide_rows, write_store
from artneuro.activations.extract import extract_parts, shared_prefix
from artneuro.activations.parts import Layout, PartFolder
from artneuro.activations.plan import Part, make_plan
from artneuro.activations.rows import build_rows, read_tokens
from artneuro.activations.store import open_store
from artneuro.core.artifacts import atomic_directory, read_table, write_table
from artneuro.core.errors import DataError
from artneuro.core.hashing import sha256_bytes, sha256_json
from artneuro.core.logs import Progress
from artneuro.models.info import ModelInfo, read_model_info
from artneuro.models.loading import LanguageModel, load_model
from artneuro.models.sites import check_layers, units_of

log = logging.getLogger(__name__)

FORMAT = 1
ROUNDING = {
    "float32": "none: as computed, spans aggregated in float32",
    "float16": "to nearest, ties to even, from the value aggregated in float32",
    "bfloat16": "to nearest, ties to even, from the value aggregated in float32; bits in uint16",
}


@dataclass(frozen=True)
class DumpFacts:
    """What a dump did, for its provenance.

    Attributes
    ----------
    device, compute_dtype : str
        Where the model ran, and in which type.
    n_rows, n_tokens : int
        Rows of the store, and tokens that were read for them, padding included.
    n_prefix : int
        First tokens that all sequences share: run once, though `n_tokens` and
        `tokens_per_second` count them for each.
    n_parts, n_resumed : int
        Parts of the work, and how many of them were there from an interrupted run.
    forward_seconds, tokens_per_second : float
        Of the parts that this run computed, writing included.
    store_seconds : float
        Putting the parts together as the store.
    check_error : float
        Largest relative distance found by the row-level check.
    """

    device: str
    compute_dtype: str
    n_rows: int
    n_tokens: int
    n_prefix: int
    n_parts: int
    n_resumed: int
    forward_seconds: float
    tokens_per_second: float
    store_seconds: float
    check_error: float


def dump_activations(
    config: ActivationsConfig,
    weights: Path,
    model_info: Path,
    tokens: Path,
    sequences: Path,
    labels: Path,
    store: Path,
    rows: Path,
    *,
    work: Path,
    aggregation: Aggregation = "mean",
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    tokenizer: str = "",
    trust_remote_code: bool = False,
    code: Mapping[str, str] | None = None,
) -> DumpFacts:
    """Store the activations of every labelled span of a token dataset.

    Batches go through the base model in inference mode up to the highest hooked module. Each
    span becomes one vector in float32 (Section 2.3 of the thesis: a token, or the mean or maximum
    over a span), rounded to the stored type. Rows go to a buffer whose halves are filled and
    written in turn, as parts in the folder `work`; the finished parts are put together as the
    store. A dump that was killed goes on from its finished parts, and gives the same bytes as an
    undisturbed one on the same machine and number of threads.

    Parameters
    ----------
    config : ActivationsConfig
        What is stored, and how.
    weights, model_info : Path
        Model folder and `model.json`.
    tokens, sequences, labels : Path
        Tables of the token dataset.
    store, rows : Path
        The Zarr folder and the row table to write.
    work : Path
        Folder for the parts, beside the store; deleted at the end.
    aggregation : {"mean", "max"}
        How the tokens of a span become one row.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Type to compute in.
    device : {"auto", "cpu", "cuda"}
        Where to compute.
    threads : int, optional
        Threads of torch; the bytes of a store computed on a CPU depend on it. Empty: as it is set.
    tokenizer : str
        Name of the model whose tokenizer made the tokens, for the attributes.
    trust_remote_code : bool
        Whether Python files of the model's folder may run.
    code : mapping, optional
        Hashes of the code that runs: parts of an interrupted run of other code are not used.

    Returns
    -------
    DumpFacts

    Raises
    ------
    StoreError
        If an activation is NaN or does not fit the stored type, the disk is full, or the check
        of random rows fails.
    DataError
        If labels, sequences and tokens do not fit each other or the model.
    ConfigError
        If a layer does not exist.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    task = read_task(config, model_info, tokens, sequences, labels)
    table, layout, plan = task.rows, task.layout, task.plan

    lm = load_model(weights, dtype, device, trust_remote_code)
    identity = identity_of(config, task, lm, aggregation)
    fingerprint = sha256_json(fingerprint_of(identity, task, code))
    parts = PartFolder(work, fingerprint, layout)
    computed = compute_parts(config, task, lm, plan, parts, aggregation)

    started = time.perf_counter()
    with atomic_directory(store) as folder:
        write_store(
            folder,
            parts,
            plan,
            table.height,
            shard_mb=config.shard_mb,
            compression_level=config.compression_level,
            attributes=store_attributes(identity, task, tokenizer),
        )
        store_seconds = time.perf_counter() - started
        error = check_store(
            open_store(folder),
            lm,
            task.tokens,
            table,
            aggregation=aggregation,
            n_check=config.check_rows,
            seed=config.seed,
        )
        write_table(table, rows)
    shutil.rmtree(work)
    facts = DumpFacts(
        device=str(lm.device),
        compute_dtype=lm.dtype,
        n_rows=table.height,
        **computed,
        store_seconds=round(store_seconds, 3),
        check_error=error,
    )
    log.info("stored %d rows: %s", table.height, dataclasses.asdict(facts))
    return facts


@dataclass(frozen=True)
class DumpTask:
    """What a dump has to do, as its inputs and settings say; no model is loaded for it.

    Attributes
    ----------
    info : ModelInfo
        What `model.json` says.
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids.
    rows : DataFrame
        The row table.
    layout : Layout
        What a row holds.
    plan : list of Part
        The whole work.
    prefix : int
        First tokens that are run once, from `shared_prefix`.
    """

    info: ModelInfo
    tokens: np.ndarray
    rows: pl.DataFrame
    layout: Layout
    plan: list[Part]
    prefix: int


def compute_parts(
    config: ActivationsConfig,
    task: DumpTask,
    lm: LanguageModel,
    plan: list[Part],
    parts: PartFolder,
    aggregation: Aggregation,
) -> dict[str, Any]:
    """Compute those parts of a plan, which may be a share of the task's, that are not there yet.

    Returns
    -------
    dict
        `n_tokens`, `n_prefix`, `n_parts`, `n_resumed`, `forward_seconds`, `tokens_per_second`: see
        `DumpFacts`.
    """
    todo = [part for part in plan if not parts.is_whole(part.number, len(part.rows))]
    if len(todo) < len(plan):
        log.info("going on: %d of %d parts are done", len(plan) - len(todo), len(plan))
    n_tokens = count_tokens(todo)
    counter = Progress("forward pass", n_tokens, "tokens", log)
    started = time.perf_counter()
    extract_parts(
        lm,
        task.tokens,
        task.rows,
        todo,
        parts,
        aggregation=aggregation,
        gather_tokens=config.batch_tokens,
        prefix=task.prefix,
        on_batch=counter.add,
    )
    seconds = time.perf_counter() - started
    return {
        "n_tokens": count_tokens(plan),
        "n_prefix": task.prefix,
        "n_parts": len(plan),
        "n_resumed": len(plan) - len(todo),
        "forward_seconds": round(seconds, 3),
        "tokens_per_second": round(n_tokens / seconds, 1),
    }


def read_task(
    config: ActivationsConfig, model_info: Path, tokens: Path, sequences: Path, labels: Path
) -> DumpTask:
    """Read the inputs of a dump and plan it; arguments and errors as in `dump_activations`."""
    info = read_model_info(model_info)
    ids = read_tokens(tokens)
    table = build_rows(
        read_table(labels, ["sequence", "start", "end"]),
        read_table(sequences, ["sequence", "n_tokens", "group", "split"]),
        ids,
    )
    _check_tokens(ids, table, info, str(tokens))
    layers = tuple(check_layers(config.layers, info.shape.n_layers))
    units = {site: units_of(site, info.shape, ids.shape[1]) for site in config.sites}
    layout = Layout(units, layers, config.dtype)
    plan = plan_dump(config, layout, table, ids.shape[1])
    return DumpTask(info, ids, table, layout, plan, shared_prefix(ids, table, plan, units))


def rows_of_part(config: ActivationsConfig, layout: Layout) -> int:
    """Rows that fill half of the write buffer."""
    return max(1, (config.buffer_mb << 20) // 2 // layout.row_bytes)


def plan_dump(
    config: ActivationsConfig, layout: Layout, rows: pl.DataFrame, n_ctx: int
) -> list[Part]:
    """The parts of a dump: see `artneuro.activations.plan.make_plan`."""
    widest = max(layout.units.values()) * layout.itemsize
    return make_plan(
        rows["sequence"].to_numpy(),
        rows["end"].to_numpy(),
        n_ctx,
        config.batch_tokens,
        rows_of_part(config, layout),
        divide_rows(rows.height, widest, config.shard_mb).shard_rows,
    )


def count_tokens(parts: Sequence[Part]) -> int:
    """Tokens that are run for parts, padding included."""
    return sum(len(b.sequences) * b.width for part in parts for b in part.batches)


def identity_of(
    config: ActivationsConfig, task: DumpTask, lm: LanguageModel, aggregation: str
) -> dict[str, Any]:
    """Everything but the tokens that the stored numbers depend on, as plain values."""
    layout = task.layout
    return {
        "format": FORMAT,
        "model_sha256": task.info.sha256,
        "architecture": task.info.shape.architecture,
        "layers": list(layout.layers),
        "units": layout.units,
        "dtype": layout.dtype,
        "compute_dtype": lm.dtype,
        "device": lm.device.type,
        "aggregation": aggregation,
        # The order of sums depends on the shape of a batch, so the plan is part of the identity.
        "batch_tokens": config.batch_tokens,
        "buffer_mb": config.buffer_mb,
        "shard_mb": config.shard_mb,
    }


def fingerprint_of(
    identity: Mapping[str, Any], task: DumpTask, code: Mapping[str, str] | None
) -> dict[str, Any]:
    """Everything that finished parts depend on: those of another one are of no use."""
    return {
        **identity,
        "rows": _hash(task.rows),
        "tokens": _hash_tokens(task.tokens),
        "code": dict(code or {}),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }


def store_attributes(identity: Mapping[str, Any], task: DumpTask, tokenizer: str) -> dict[str, Any]:
    """What a store says about itself."""
    return {
        **identity,
        "n_rows": task.rows.height,
        "tokenizer": tokenizer,
        "rounding": ROUNDING[task.layout.dtype],
    }


def _hash(table: pl.DataFrame) -> str:
    spans = table.select("sequence", "start", "end").to_numpy().astype("<i4")
    return sha256_bytes(np.ascontiguousarray(spans).tobytes())


def _hash_tokens(tokens: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(tokens).data).hexdigest()


def _check_tokens(tokens: np.ndarray, rows: pl.DataFrame, info: ModelInfo, where: str) -> None:
    longest = int(rows["end"].to_numpy().max())
    if longest > info.shape.n_ctx:
        raise DataError(
            f"sequences of {longest} tokens are longer than the model's context of "
            f"{info.shape.n_ctx}",
            where=where,
            fix="set a smaller context for the dataset",
        )
    if tokens.min() < 0 or tokens.max() >= info.shape.vocab:
        raise DataError(
            f"token ids {tokens.min()} to {tokens.max()} are outside of the model's vocabulary "
            f"of {info.shape.vocab}",
            where=where,
            fix="build the tokens with this model's tokenizer",
        )
