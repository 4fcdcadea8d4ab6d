"""Matrix products over tokens at a chosen precision, with their error measured on samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bf16x3"]

# What takes over where the measured error is too large.
_MORE_EXACT: dict[str, Precision | None] = {"tf32": "bf16x3", "bf16x3": "float32", "float32": None}
# Units of each side whose products are computed again in float64.
SAMPLE = 16


@dataclass
class ErrorRecord:
    """What the samples of products say.

    Attributes
    ----------
    largest : float
        Largest error of a sampled product that was kept, relative to the lengths of the two
        columns (so of a correlation within the block).
    n_repeated : int
        Products that were computed again more exactly.
    """

    largest: float = 0.0
    n_repeated: int = 0


def multiply(x: torch.Tensor, y: torch.Tensor, precision: Precision, out: torch.Tensor) -> None:
    """Write x^T y to `out`.

    Parameters
    ----------
    x, y : Tensor of float32, shapes (row, unit of x) and (row, unit of y)
    precision : {"float32", "tf32", "bf16x3"}
        "tf32" rounds the factors to 11 bits and sums in float32. "bf16x3" writes each factor as
        the sum of two bfloat16 numbers (16 bits) and adds three of the four products. A CPU gives
        what a GPU would give up to the order of the sums, but no faster than float32.
    out : Tensor of float32, shape (unit of x, unit of y)
    """
    if precision == "bf16x3":
        # One product over three times the rows: high * high + high * low + low * high.
        high_x, low_x = _split(x)
        high_y, low_y = _split(y)
        left, right = torch.cat([high_x, high_x, low_x]), torch.cat([high_y, low_y, high_y])
        if x.is_cuda:
            out.copy_(torch.mm(left.T, right, out_dtype=torch.float32))
        else:
            torch.mm(left.float().T, right.float(), out=out)
        return
    if precision == "tf32" and not x.is_cuda:
        x, y = _round_to_tf32(x), _round_to_tf32(y)
    with _tensor_cores(precision == "tf32"):
        torch.mm(x.T, y, out=out)


def multiply_checked(
    x: torch.Tensor,
    y: torch.Tensor,
    precision: Precision,
    max_error: float,
    out: torch.Tensor,
    record: ErrorRecord,
) -> None:
    """Write x^T y to `out`, more exactly than asked where the measured error is too large.

    Parameters
    ----------
    x, y, precision, out
        As in `multiply`.
    max_error : float
        Largest error allowed to a sampled product over the lengths of its two columns. A product
        in float32 is kept whatever its error is.
    record : ErrorRecord
        Is brought up to date.
    """
    rows, columns = _sample(x.shape[1]), _sample(y.shape[1])
    left, right = x[:, rows].double(), y[:, columns].double()
    exact = left.T @ right
    scale = torch.outer(left.norm(dim=0), right.norm(dim=0))
    scale = torch.where(scale > 0, scale, torch.inf)
    chosen: Precision | None = precision
    while chosen is not None:
        multiply(x, y, chosen, out)
        error = float(((out[rows, columns].double() - exact).abs() / scale).max())
        chosen = _MORE_EXACT[chosen] if error > max_error else None
        record.n_repeated += chosen is not None
    record.largest = max(record.largest, error)


def _sample(n: int) -> slice:
    """Up to SAMPLE units from the middle, side by side: scattered ones cost far more to read."""
    start = max(0, (n - SAMPLE) // 2)
    return slice(start, min(n, start + SAMPLE))


def _split(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bfloat16 nearest to each number, and the one nearest to what is left."""
    high = x.bfloat16()
    return high, (x - high.float()).bfloat16()


def _round_to_tf32(x: torch.Tensor) -> torch.Tensor:
    """Each number rounded to 11 significant bits, ties to even."""
    bits = x.contiguous().view(torch.int32)
    dropped = 13
    half = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    return ((bits + half) & ~((1 << dropped) - 1)).view(torch.float32)


@contextmanager
def _tensor_cores(allowed: bool) -> Iterator[None]:
    """Let products of float32 on a GPU use TF32, or forbid it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
