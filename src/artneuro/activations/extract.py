"""Running the model over the planned batches and handing its rows to the writer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from artneuro.activations.aggregate import Aggregation, SpanReducer
from artneuro.activations.parts import Layout, PartBuffer, PartFolder, PartWriter, not_finite
from artneuro.activations.plan import Batch, Part
from artneuro.core.errors import StoreError
from artneuro.models.hooks import tapped
from artneuro.models.loading import LanguageModel
from artneuro.models.sites import hook_name

# Where a prefix saves less than this share of the tokens, copying its keys and values is not
# worth it.
MIN_SAVED = 0.1


def extract_parts(
    lm: LanguageModel,
    tokens: np.ndarray,
    rows: pl.DataFrame,
    todo: Sequence[Part],
    parts: PartFolder,
    *,
    aggregation: Aggregation,
    gather_tokens: int,
    prefix: int = 0,
    on_batch: Callable[[int], None] = lambda n_tokens: None,
) -> None:
    """Compute parts and write them, the writing overlapped with the forward passes.

    Parameters
    ----------
    lm : LanguageModel
        The base model.
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids.
    rows : DataFrame
        `sequence`, `start`, `end` of every row.
    todo : sequence of Part
        Parts to compute.
    parts : PartFolder
        Where they are written.
    aggregation : {"mean", "max"}
        How the tokens of a span become one row.
    gather_tokens : int
        Tokens whose activations are gathered at once, at most.
    prefix : int
        First tokens that all sequences share, from `shared_prefix`: they are run once.
    on_batch : callable
        Called with the number of tokens (padding included) of each finished batch.

    Raises
    ------
    StoreError
        If an activation is NaN or does not fit the stored type, naming layer and sequence.
    """
    if not todo:
        return
    layout, cuda = parts.layout, lm.device.type == "cuda"
    index = {layer: i for i, layer in enumerate(layout.layers)}
    start, end = rows["start"].to_numpy() - prefix, rows["end"].to_numpy() - prefix
    past = _read_prefix(lm, tokens[:1, :prefix]) if prefix else None
    by_number = {part.number: part for part in todo}
    current: tuple[PartBuffer, int, SpanReducer] | None = None

    def consume(site: str, layer: int, value: torch.Tensor) -> None:
        assert current is not None
        buffer, at, reduce = current
        found = reduce(value, tokens.shape[1])
        target = buffer.arrays[site][index[layer], at : at + reduce.n_rows]
        if cuda:
            # Half the bytes to copy, and the copy returns at once: the buffer is page-locked, and
            # the writer waits for its event.
            target.copy_(found.to(target.dtype), non_blocking=True)
        else:
            target.copy_(found)

    def check(number: int, bits: np.ndarray) -> None:
        _check_finite(bits, by_number[number], rows, layout)

    capacity = max(len(part.rows) for part in todo)
    with (
        tapped(lm.model, lm.architecture, layout.units, layout.layers, consume) as run,
        PartWriter(parts, capacity, cuda, check) as writer,
    ):
        for part in todo:
            buffer, at = writer.acquire(len(part.rows)), 0
            for batch in part.batches:
                reduce = SpanReducer(
                    batch.where,
                    start[batch.rows],
                    end[batch.rows],
                    batch.width - prefix,
                    aggregation,
                    gather_tokens,
                )
                current = (buffer, at, reduce)
                run(_to_device(tokens, batch, prefix, lm.device), _repeated(past, batch))
                at += len(batch.rows)
                on_batch(len(batch.sequences) * batch.width)
            if cuda:
                for i in lm.gpus:
                    with torch.cuda.device(i):
                        event = torch.cuda.Event()
                        event.record()
                        buffer.events.append(event)
            writer.submit(part.number, buffer)


def shared_prefix(
    tokens: np.ndarray, rows: pl.DataFrame, plan: Sequence[Part], sites: Iterable[str]
) -> int:
    """How many first tokens of all sequences are the same and worth to be run once.

    Parameters
    ----------
    tokens : ndarray, shape (n_sequences, n_ctx)
        Token ids.
    rows : DataFrame
        `start` of every row: a span is never within the prefix.
    plan : sequence of Part
        The whole work, so that a resumed run decides as an undisturbed one.
    sites : iterable of str
        Sites that are read; patterns of attention are of whole sequences.

    Returns
    -------
    int
        0 where there is nothing to gain.
    """
    if "attn_pattern" in sites:
        return 0
    differs = (tokens != tokens[:1]).any(axis=0)
    same = int(np.argmax(differs)) if differs.any() else tokens.shape[1]
    length = min(same, int(rows["start"].to_numpy().min()))
    widths = np.array([(b.width, len(b.sequences)) for part in plan for b in part.batches])
    saved = length * widths[:, 1].sum() / (widths[:, 0] * widths[:, 1]).sum()
    return length if saved >= MIN_SAVED else 0


def _read_prefix(lm: LanguageModel, tokens: np.ndarray) -> Any:
    """Keys and values of one sequence of tokens in every layer."""
    ids = torch.from_numpy(tokens.astype(np.int64)).to(lm.device)
    with torch.inference_mode():
        return lm.model(input_ids=ids, use_cache=True).past_key_values


def _repeated(past: Any, batch: Batch) -> Any:
    """A copy of a prefix's keys and values for each sequence of a batch."""
    if past is None:
        return None
    own = copy.deepcopy(past)
    own.batch_repeat_interleave(len(batch.sequences))
    return own


def _to_device(tokens: np.ndarray, batch: Batch, prefix: int, device: torch.device) -> torch.Tensor:
    ids = torch.from_numpy(tokens[batch.sequences, prefix : batch.width].astype(np.int64))
    if device.type == "cuda":
        return ids.pin_memory().to(device, non_blocking=True)
    return ids


def _check_finite(bits: np.ndarray, part: Part, rows: pl.DataFrame, layout: Layout) -> None:
    """Raise for the first NaN or infinity of a part, naming where it is."""
    wrong = not_finite(bits, layout.dtype)
    if not len(wrong):
        return
    mantissa = {"float16": 0x03FF, "bfloat16": 0x007F, "float32": 0x007FFFFF}[layout.dtype]
    nan = wrong[(bits[wrong] & mantissa) != 0]
    at, n_rows = int(nan[0] if len(nan) else wrong[0]), len(part.rows)
    is_nan = len(nan) > 0
    site, units = next(iter(layout.units.items()))
    for site, units in layout.units.items():  # noqa: B007 - the one that holds `at` is used below
        size = len(layout.layers) * n_rows * units
        if at < size:
            break
        at -= size
    layer, row = layout.layers[at // (n_rows * units)], int(part.rows[at // units % n_rows])
    sequence, start, end = rows.select("sequence", "start", "end").row(row)
    where = f"{hook_name(site, layer)}, unit {at % units}, sequence {sequence}, "
    where += f"tokens {start} to {end}"
    if is_nan:
        raise StoreError(
            "an activation is NaN",
            where=where,
            fix="compute the model in float32 or bfloat16 (its 'dtype'), or check its weights",
        )
    if layout.dtype == "float16":
        raise StoreError(
            "an activation is too large for float16, whose largest number is 65504",
            where=where,
            fix="set activations.dtype to bfloat16 (or float32)",
        )
    raise StoreError(
        "an activation is infinite",
        where=where,
        fix="compute the model in float32 or bfloat16 (its 'dtype')",
    )
