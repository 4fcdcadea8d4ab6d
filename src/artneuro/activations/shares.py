"""A dump in shares: jobs that run beside each other, and the store that is made of what they leave.

The plan is that of the undivided dump, and each job runs consecutive batches of it, so every number
and every byte of the store is the same, however many jobs there are. That needs jobs of one kind:
the same versions of libraries, device and number of threads, which is checked.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from artneuro.activations.aggregate import Aggregation
from artneuro.activations.check import Again, choose_rows, compare_rows, compute_rows
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.consolidate import write_store
from artneuro.activations.dump import (
    DumpTask,
    compute_parts,
    count_tokens,
    fingerprint_of,
    identity_of,
    read_task,
    rows_of_part,
    store_attributes,
)
from artneuro.activations.parts import PartFiles, PartFolder
from artneuro.activations.plan import Part, share_plan
from artneuro.activations.store import open_store
from artneuro.core.artifacts import (
    atomic_directory,
    read_json,
    read_table,
    write_json,
    write_table,
)
from artneuro.core.errors import StoreError
from artneuro.core.hashing import sha256_json
from artneuro.models.loading import load_model

log = logging.getLogger(__name__)

NOTE = "share.json"
CHECK = "check.parquet"
REDO = "delete the folder of this share and run snakemake again: only this share is computed"


@dataclass(frozen=True)
class ShareFacts:
    """What the job of a share did, for its provenance.

    Attributes
    ----------
    device, compute_dtype : str
        Where the model ran, and in which type.
    n_rows, n_tokens : int
        Rows of this share, and tokens that were read for them, padding included.
    n_prefix : int
        First tokens that all sequences share: run once, though `n_tokens` counts them for each.
    n_parts, n_resumed : int
        Parts of this share, and how many of them were there from an interrupted run.
    forward_seconds, tokens_per_second : float
        Of the parts that this run computed, writing included.
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


@dataclass(frozen=True)
class MergeFacts:
    """What the merge of shares did, for the provenance of the store.

    Attributes
    ----------
    device, compute_dtype : str
        Where the model ran, and in which type.
    n_rows, n_tokens, n_prefix, n_parts : int
        Of all shares: see `ShareFacts`.
    n_shares : int
        Jobs that the work was divided among.
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
    n_shares: int
    store_seconds: float
    check_error: float


def dump_share(
    config: ActivationsConfig,
    weights: Path,
    model_info: Path,
    tokens: Path,
    sequences: Path,
    labels: Path,
    folder: Path,
    *,
    share: int,
    jobs: int,
    work: Path,
    aggregation: Aggregation = "mean",
    dtype: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
    code: Mapping[str, str] | None = None,
) -> ShareFacts:
    """Compute one share of a dump: its parts, and its rows among those that the merge checks.

    Parameters
    ----------
    config, weights, model_info, tokens, sequences, labels
        As for `artneuro.activations.dump.dump_activations`.
    folder : Path
        The folder to write.
    share, jobs : int
        Which share, from 0 on, of how many.
    work : Path
        Folder for parts while the job runs, beside `folder`: a job that was killed goes on there.
    aggregation, dtype, device, threads, trust_remote_code, code
        As for `dump_activations`.

    Returns
    -------
    ShareFacts

    Raises
    ------
    StoreError, DataError, ConfigError
        As `dump_activations`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    task = read_task(config, model_info, tokens, sequences, labels)
    own = share_plan(task.plan, jobs, rows_of_part(config, task.layout))[share]
    lm = load_model(weights, dtype, device, trust_remote_code)
    identity = identity_of(config, task, lm, aggregation)
    fingerprint = fingerprint_of(identity, task, code)
    bound = sha256_json({**fingerprint, "share": share, "jobs": jobs})
    parts = PartFolder(work, bound, task.layout)
    computed = compute_parts(config, task, lm, own, parts, aggregation)

    chosen = choose_rows(task.rows.height, config.check_rows, config.seed)
    chosen = np.intersect1d(chosen, _rows_of(own))
    layout = task.layout
    again = compute_rows(
        lm, task.tokens, task.rows[chosen], list(layout.units), layout.layers, aggregation
    )
    write_table(_as_table(chosen, again), work / CHECK)
    facts = ShareFacts(
        device=str(lm.device),
        compute_dtype=lm.dtype,
        n_rows=sum(len(part.rows) for part in own),
        **computed,
    )
    note = {"share": share, "jobs": jobs, "identity": identity, "fingerprint": fingerprint}
    write_json({**note, "device": facts.device}, work / NOTE)
    if folder.is_dir():
        # By an older process of this job, which ended while this one waited for it.
        shutil.rmtree(folder)
    os.replace(work, folder)
    log.info("share %d of %d: %s", share, jobs, dataclasses.asdict(facts))
    return facts


def merge_shares(
    config: ActivationsConfig,
    shares: Sequence[Path],
    model_info: Path,
    tokens: Path,
    sequences: Path,
    labels: Path,
    store: Path,
    rows: Path,
    *,
    tokenizer: str = "",
) -> MergeFacts:
    """Put the shares of a dump together as the store that one job would have written.

    No model is loaded: the rows that are checked were computed again by the jobs of the shares.

    Parameters
    ----------
    config, model_info, tokens, sequences, labels
        As for `dump_share`.
    shares : sequence of Path
        The folders of all shares, in their order.
    store, rows : Path
        The Zarr folder and the row table to write.
    tokenizer : str
        Name of the model whose tokenizer made the tokens, for the attributes.

    Returns
    -------
    MergeFacts

    Raises
    ------
    StoreError
        If a share is missing, damaged or of another dump, shares were computed in different ways,
        or the check of random rows fails.
    """
    task = read_task(config, model_info, tokens, sequences, labels)
    divided = share_plan(task.plan, len(shares), rows_of_part(config, task.layout))
    notes = [_read_note(folder, i, len(shares)) for i, folder in enumerate(shares)]
    identity = notes[0]["identity"]
    _check_alike(notes, shares)
    ours = fingerprint_of(identity, task, None)
    for key in ("rows", "tokens"):
        if notes[0]["fingerprint"][key] != ours[key]:
            raise StoreError(
                f"the shares are of other {key} than the token dataset has now",
                where=str(shares[0]),
                fix="delete the folders of all shares and run snakemake again",
            )
    plan = [part for own in divided for part in own]
    parts = PartFiles(
        task.layout,
        {p.number: folder for folder, own in zip(shares, divided, strict=True) for p in own},
    )
    for part in plan:
        if not parts.is_whole(part.number, len(part.rows)):
            raise StoreError(
                "a part of the dump is missing or damaged",
                where=str(parts.path(part.number)),
                fix=REDO,
            )

    started = time.perf_counter()
    with atomic_directory(store) as folder:
        write_store(
            folder,
            parts,
            plan,
            task.rows.height,
            shard_mb=config.shard_mb,
            compression_level=config.compression_level,
            attributes=store_attributes(identity, task, tokenizer),
        )
        store_seconds = time.perf_counter() - started
        written = open_store(folder)
        checks = [_read_table(read_table(share / CHECK)) for share in shares]
        compute_dtype = identity["compute_dtype"]
        error = max(compare_rows(written, *check, compute_dtype) for check in checks)
        _check_all_checked(task, config, [chosen for chosen, _ in checks])
        write_table(task.rows, rows)
    facts = MergeFacts(
        device=", ".join(dict.fromkeys(note["device"] for note in notes)),
        compute_dtype=compute_dtype,
        n_rows=task.rows.height,
        n_tokens=count_tokens(plan),
        n_prefix=task.prefix,
        n_parts=len(plan),
        n_shares=len(shares),
        store_seconds=round(store_seconds, 3),
        check_error=error,
    )
    log.info("stored %d rows: %s", task.rows.height, dataclasses.asdict(facts))
    return facts


def _rows_of(parts: Sequence[Part]) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts)])


def _read_note(folder: Path, share: int, jobs: int) -> dict[str, Any]:
    try:
        note = read_json(folder / NOTE)
        found = (note["share"], note["jobs"])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"not a share of a dump ({error})", where=str(folder), fix=REDO) from error
    if found != (share, jobs):
        raise StoreError(
            f"this is share {found[0]} of {found[1]}, not share {share} of {jobs}",
            where=str(folder),
            fix=REDO,
        )
    return note


def _check_alike(notes: Sequence[Mapping[str, Any]], shares: Sequence[Path]) -> None:
    """Raise where a share was computed in another way than the first."""
    first = notes[0]["fingerprint"]
    for note, folder in zip(notes, shares, strict=True):
        other = note["fingerprint"]
        for key in first.keys() | other.keys():
            if first.get(key) != other.get(key):
                raise StoreError(
                    f"shares of one dump were computed differently: {key} is "
                    f"{str(other.get(key))[:80]}, for the first {str(first.get(key))[:80]}",
                    where=str(folder),
                    fix="delete the folders of all shares and run snakemake again, on machines "
                    "of one kind",
                )


def _as_table(rows: np.ndarray, again: Again) -> pl.DataFrame:
    """Vectors that were computed again, one row of the table each."""
    schema: dict[str, Any] = {
        "row": pl.Int64,
        "site": pl.String,
        "layer": pl.Int64,
        "values": pl.List(pl.Float32),
    }
    found = [
        (int(row), site, layer, vector.tolist())
        for (site, layer), vectors in again.items()
        for row, vector in zip(rows, vectors, strict=True)
    ]
    return pl.DataFrame(found, schema=schema, orient="row")


def _read_table(table: pl.DataFrame) -> tuple[np.ndarray, Again]:
    """What `_as_table` was given."""
    again: dict[tuple[str, int], list[np.ndarray]] = {}
    rows: dict[int, None] = {}
    for row, site, layer, values in table.iter_rows():
        rows[row] = None
        again.setdefault((site, layer), []).append(np.array(values, dtype=np.float32))
    chosen = np.array(list(rows), dtype=np.int64)
    return chosen, {key: np.stack(vectors) for key, vectors in again.items()}


def _check_all_checked(
    task: DumpTask, config: ActivationsConfig, checked: Sequence[np.ndarray]
) -> None:
    """Raise where the shares have not computed again what one job would have."""
    found = np.sort(np.concatenate(checked))
    wanted = choose_rows(task.rows.height, config.check_rows, config.seed)
    if not np.array_equal(found, wanted):
        raise StoreError(
            f"the shares computed {len(found)} rows again for the check, not the {len(wanted)} "
            "that were chosen",
            fix="delete the folders of all shares and run snakemake again",
        )
