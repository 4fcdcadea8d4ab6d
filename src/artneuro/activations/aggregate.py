"""From activations of whole sequences to one vector a row."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

Aggregation = Literal["mean", "max"]


class SpanReducer:
    """Reduces a batch's activations to its rows, in float32, without Python work for each row.

    Parameters
    ----------
    where, start, end : ndarray of int, shape (n_rows,)
        Sequence within the batch and token span of each row.
    width : int
        Tokens of a sequence of the batch.
    aggregation : {"mean", "max"}
        How the tokens of a span become one vector, unit by unit.
    limit : int
        Tokens that are gathered at once at most (or one span), which bounds the memory that
        overlapping spans would take.
    """

    def __init__(
        self,
        where: np.ndarray,
        start: np.ndarray,
        end: np.ndarray,
        width: int,
        aggregation: Aggregation,
        limit: int,
    ) -> None:
        self.n_rows, self.width, self.aggregation = len(where), width, aggregation
        length = end - start
        first = where * width + start
        # Spans of one length are gathered together: each group is (rows, tokens of each row).
        self.groups: list[tuple[torch.Tensor, torch.Tensor]] = []
        for size in np.unique(length):
            rows = np.flatnonzero(length == size)
            step = max(1, limit // int(size))
            for i in range(0, len(rows), step):
                chosen = rows[i : i + step]
                flat = first[chosen][:, None] + np.arange(size)
                self.groups.append((torch.from_numpy(chosen), torch.from_numpy(flat)))

    def __call__(self, value: torch.Tensor, n_ctx: int) -> torch.Tensor:
        """Rows of an activation.

        Parameters
        ----------
        value : Tensor
            (batch, position, unit), or an attention pattern (batch, head, query, key).
        n_ctx : int
            Keys that a row of an attention pattern is filled up to, with zeros.

        Returns
        -------
        Tensor, shape (n_rows, unit), float32
            For an attention pattern the units are (head, key) of the query, flattened.
        """
        pieces = [self._reduce(value, flat.to(value.device), n_ctx) for _, flat in self.groups]
        if len(pieces) == 1:
            return pieces[0]
        result = torch.empty(
            (self.n_rows, pieces[0].shape[1]), dtype=torch.float32, device=value.device
        )
        for (rows, _), piece in zip(self.groups, pieces, strict=True):
            result[rows.to(value.device)] = piece
        return result

    def _reduce(self, value: torch.Tensor, flat: torch.Tensor, n_ctx: int) -> torch.Tensor:
        tokens = _gather(value, flat.reshape(-1), self.width, n_ctx)
        tokens = tokens.view(*flat.shape, -1)
        if flat.shape[1] == 1:
            return tokens[:, 0].float()
        if self.aggregation == "max":
            return tokens.amax(dim=1).float()
        return tokens.mean(dim=1, dtype=torch.float32)


def _gather(value: torch.Tensor, flat: torch.Tensor, width: int, n_ctx: int) -> torch.Tensor:
    """Vectors at the flat indices (sequence * width + position)."""
    if value.ndim == 3:
        return value.reshape(-1, value.shape[-1]).index_select(0, flat)
    pattern = value[flat // width, :, flat % width, :]
    filled = torch.nn.functional.pad(pattern, (0, n_ctx - pattern.shape[-1]))
    return filled.reshape(len(flat), -1)
