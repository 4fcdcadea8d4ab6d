"""Streamed centred products of the neurons of several models.

Rows (tokens) come in blocks. Each block is centred by its own means, multiplied in float32, and its
products are added to float64 sums; what lies between the means of the blocks is added exactly, in
float64. So neither a mean far from zero nor one that drifts costs accuracy, and no sum over all
tokens is ever in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from artneuro.core.errors import DataError
from artneuro.universality.products import ErrorRecord, Precision, multiply_checked

# Products are computed in squares of this many units, which bounds the memory of one.
SQUARE = 8192
# Rows of a float32 product that are added to float64 sums at once, so that they stay in the cache.
ADD_ROWS = 16
# Rows of a block that are centred at once, for the same reason.
CENTRE_ROWS = 256
# Blocks whose means wait until they are multiplied together.
WAITING = 64


@dataclass(frozen=True)
class Product:
    """Two ranges of units whose products are summed.

    Attributes
    ----------
    left, right : str
        Names of the models.
    rows, columns : slice
        Units of each, as columns of their blocks.
    """

    left: str
    right: str
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of units."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass
class Moments:
    """Sums of one model's units.

    Attributes
    ----------
    reference : Tensor of float32, shape (unit,)
        What was subtracted from every number: the first row, so that a unit that never changes
        gives exact zeros.
    sums, squares : Tensor of float64, shape (unit,)
        Sums of the shifted numbers and of their squares.
    means, offsets : list of Tensor of float64
        For each block that waits: sqrt(n) times the means of the shifted numbers, and sqrt(n)
        times what the means of the centred ones missed zero by.
    """

    reference: torch.Tensor
    sums: torch.Tensor
    squares: torch.Tensor
    means: list[torch.Tensor] = field(default_factory=list)
    offsets: list[torch.Tensor] = field(default_factory=list)


class ProductSums:
    """Accumulates products of units over blocks of rows.

    Parameters
    ----------
    units : mapping of str to int
        Units of each model.
    products : sequence of Product
        What to multiply.
    device : torch.device
    precision : {"float32", "tf32", "bf16x3"}
        Of the products within a block.
    max_error : float
        See `multiply_checked`.
    centre : bool
        Whether blocks are centred; without it products of 0 and 1 stay whole numbers.
    """

    def __init__(
        self,
        units: Mapping[str, int],
        products: Sequence[Product],
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        max_error: float = 1e-4,
        centre: bool = True,
    ) -> None:
        self.products = list(products)
        self.precision, self.max_error, self.centre = precision, max_error, centre
        self.n = 0
        self.errors = ErrorRecord()
        self.moments = {
            model: Moments(
                torch.zeros(size, dtype=torch.float32, device=device),
                torch.zeros(size, dtype=torch.float64, device=device),
                torch.zeros(size, dtype=torch.float64, device=device),
            )
            for model, size in units.items()
        }
        self.totals = [
            torch.zeros(p.shape, dtype=torch.float64, device=device) for p in self.products
        ]
        heights = [min(p.shape[0], SQUARE) for p in self.products]
        widths = [min(p.shape[1], SQUARE) for p in self.products]
        size = max((h * w for h, w in zip(heights, widths, strict=True)), default=0)
        self._scratch = torch.empty(size, dtype=torch.float32, device=device)

    def add(self, blocks: Mapping[str, torch.Tensor]) -> None:
        """Add a block of rows.

        Parameters
        ----------
        blocks : mapping of str to Tensor of float32, shape (row, unit)
            The same rows of every model, less its `reference` (which is all zeros unless the
            caller sets it before the first block). They are overwritten.

        Raises
        ------
        DataError
            If a number is NaN or infinite, naming the model and the unit.
        """
        (n,) = {len(block) for block in blocks.values()}
        root = n**0.5
        for model, block in blocks.items():
            found = self.moments[model]
            centre = block.mean(dim=0) if self.centre else None
            offset, squares = _subtract(block, centre)
            mean = offset if centre is None else centre.double() + offset
            _check_finite(model, squares)
            found.sums += n * mean
            # About the reference: the centred squares, and what the shift by `centre` adds.
            found.squares += squares + n * (mean.square() - offset.square())
            if self.centre:
                found.means.append(root * mean)
                found.offsets.append(root * offset)
        for product, total in zip(self.products, self.totals, strict=True):
            x = blocks[product.left][:, product.rows]
            y = blocks[product.right][:, product.columns]
            for i, j in _squares(product.shape):
                left, right = x[:, i], y[:, j]
                size = left.shape[1] * right.shape[1]
                out = self._scratch[:size].view(left.shape[1], right.shape[1])
                multiply_checked(left, right, self.precision, self.max_error, out, self.errors)
                _add(total[i, j], out)
        self.n += n
        if self.n_waiting >= WAITING:
            self.settle()

    @property
    def n_waiting(self) -> int:
        """Blocks whose means are not in the totals yet."""
        return max((len(found.means) for found in self.moments.values()), default=0)

    def settle(self) -> None:
        """Add to the totals what lies between the means of the blocks that wait."""
        if self.n_waiting:
            plus = {m: torch.stack([*f.means, *f.offsets]) for m, f in self.moments.items()}
            minus = {
                m: torch.stack([*f.means, *(-x for x in f.offsets)])
                for m, f in self.moments.items()
            }
            for product, total in zip(self.products, self.totals, strict=True):
                x = plus[product.left][:, product.rows]
                y = minus[product.right][:, product.columns]
                for i, j in _squares(product.shape):
                    total[i, j].addmm_(x[:, i].T, y[:, j])
        for found in self.moments.values():
            found.means.clear()
            found.offsets.clear()

    def centred(self) -> list[torch.Tensor]:
        """Turn the totals into centred products, sum over rows of (x - mean x)(y - mean y).

        Returns
        -------
        list of Tensor of float64, each of shape (unit of left, unit of right)
            For each product; the totals themselves, changed in place: this ends the accumulation.
        """
        self.settle()
        for product, total in zip(self.products, self.totals, strict=True):
            x = self.moments[product.left].sums[product.rows]
            y = self.moments[product.right].sums[product.columns]
            for i, j in _squares(product.shape):
                total[i, j].addr_(x[i], y[j], alpha=-1 / self.n)
        return self.totals

    def mean(self, model: str) -> torch.Tensor:
        """Mean of each unit, (unit,) float64."""
        found = self.moments[model]
        return found.reference.double() + found.sums / self.n

    def deviations(self, model: str) -> torch.Tensor:
        """Sum of squared deviations from the mean of each unit, (unit,) float64, never negative."""
        found = self.moments[model]
        return (found.squares - found.sums.square() / self.n).clamp_min_(0)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the sums depend on, to go on from with `load_state`."""
        found = {
            "n": np.array(self.n),
            "largest_error": np.array(self.errors.largest),
            "n_repeated": np.array(self.errors.n_repeated),
        }
        arrays = {f"totals/{k}": total for k, total in enumerate(self.totals)}
        for model, own in self.moments.items():
            for name in ("reference", "sums", "squares"):
                arrays[f"{name}/{model}"] = getattr(own, name)
            # Kept apart: settling them earlier would round the totals otherwise.
            for name in ("means", "offsets"):
                waiting = getattr(own, name)
                arrays[f"{name}/{model}"] = torch.stack(waiting) if waiting else torch.empty(0)
        return {**found, **{name: value.cpu().numpy() for name, value in arrays.items()}}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave for the same models and products."""
        self.n = int(state["n"])
        self.errors = ErrorRecord(float(state["largest_error"]), int(state["n_repeated"]))
        for k, total in enumerate(self.totals):
            total.copy_(torch.from_numpy(state[f"totals/{k}"]))
        for model, own in self.moments.items():
            for name in ("reference", "sums", "squares"):
                getattr(own, name).copy_(torch.from_numpy(state[f"{name}/{model}"]))
            for name in ("means", "offsets"):
                rows = torch.from_numpy(state[f"{name}/{model}"]).to(own.sums.device)
                setattr(own, name, list(rows))


def _squares(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    for i in range(0, shape[0], SQUARE):
        for j in range(0, shape[1], SQUARE):
            yield slice(i, min(i + SQUARE, shape[0])), slice(j, min(j + SQUARE, shape[1]))


def _add(total: torch.Tensor, values: torch.Tensor) -> None:
    """Add float32 values to float64 sums."""
    if total.is_cuda:
        total.add_(values)
        return
    for i in range(0, len(total), ADD_ROWS):
        total[i : i + ADD_ROWS].add_(values[i : i + ADD_ROWS])


def _subtract(
    block: torch.Tensor, centre: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtract a row from a block, in place, and return its new means and sums of squares.

    All in one way through the memory: sums over few rows in float32, those of them in float64.
    """
    scratch = torch.empty_like(block[:CENTRE_ROWS])
    total = torch.zeros(block.shape[1], dtype=torch.float64, device=block.device)
    squares = torch.zeros_like(total)
    for i in range(0, len(block), CENTRE_ROWS):
        piece = block[i : i + CENTRE_ROWS]
        if centre is not None:
            piece.sub_(centre)
        total += piece.sum(dim=0)
        squares += torch.mul(piece, piece, out=scratch[: len(piece)]).sum(dim=0)
    return total / len(block), squares


def _check_finite(model: str, squares: torch.Tensor) -> None:
    wrong = torch.nonzero(~torch.isfinite(squares))
    if len(wrong):
        raise DataError(
            f"an activation of {model} is NaN or infinite",
            where=f"neuron {int(wrong[0])} of those that the job reads, counted over its layers",
            fix="compute the model in float32 or bfloat16 (its 'dtype'), or check its weights",
        )
