"""Explanations: binary labels of tokens, as codes of tokens and what holds of each code.

There are hundreds of labels and many tokens, but few kinds of tokens: a label of a token's string
is the same wherever the token stands, and one of a document for all of its tokens. So labels are
kept as a code for each token and a small table of what holds of each code; the sparse matrix of
labels is put together for one block of tokens at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from artneuro.universality.variance_reduction import LabelBlock

NONE = -1


@dataclass(frozen=True)
class Explanation:
    """A yes or no for every token.

    Attributes
    ----------
    category : str
        Kind of explanation, such as "part of speech".
    name : str
        Unique within category and `previous`.
    previous : bool
        Whether it is about the token before, within the same sequence.
    """

    category: str
    name: str
    previous: bool = False

    @property
    def title(self) -> str:
        """A name that no other explanation has."""
        return f"{'previous: ' if self.previous else ''}{self.category}/{self.name}"


@dataclass(frozen=True)
class Labelling:
    """Explanations that depend on one code of each token.

    Attributes
    ----------
    explanations : tuple of Explanation
    codes : (n_sequences, n_ctx) int32
        Code of each token; NONE where no explanation holds.
    table : (n_codes, n_explanations) array of bool
        What holds of each code.
    of_documents : bool
        Whether all tokens of a sequence have one code, which the previous token then shares.
    """

    explanations: tuple[Explanation, ...]
    codes: np.ndarray
    table: np.ndarray
    of_documents: bool = False

    def of_previous(self, text: np.ndarray) -> Labelling:
        """The same explanations for the token before, where that is of the text.

        Parameters
        ----------
        text : (n_sequences, n_ctx) array of bool
            Tokens of the text: neither the document token nor padding.
        """
        codes = np.full_like(self.codes, NONE)
        codes[:, 1:] = np.where(text[:, :-1], self.codes[:, :-1], NONE)
        named = tuple(replace(e, previous=True) for e in self.explanations)
        return replace(self, explanations=named, codes=codes)


class Labels:
    """The labels of a token dataset, given out block by block.

    Explanations with too few tokens in or out of them are left out. Of an explanation that holds
    of most tokens the complement is kept, whose variance reduction is the same.

    Parameters
    ----------
    labellings : sequence of Labelling
        No two explanations have one title.
    included : (n_sequences, n_ctx) array of bool
        The tokens that statistics are of.
    min_positives : int
        Tokens in and out of an explanation, at least.

    Attributes
    ----------
    explanations : list of Explanation
    counts : (n_explanations,) int64
        Included tokens that each holds of.
    flipped : (n_explanations,) bool
        Whether blocks hold the complement.
    left_out : int
        Explanations that too few tokens are in or out of.
    """

    def __init__(
        self, labellings: Sequence[Labelling], included: np.ndarray, min_positives: int
    ) -> None:
        n = int(included.sum())
        self._included = included
        self._codes: list[np.ndarray] = []
        self._tables: list[sp.csr_array] = []
        self.explanations: list[Explanation] = []
        self._first: list[int] = []
        counts, flipped = [], []
        self.left_out = 0
        for labelling in labellings:
            # The last row is that of tokens without a code.
            table = np.vstack([labelling.table, np.zeros((1, labelling.table.shape[1]), bool)])
            codes = np.where(labelling.codes == NONE, len(table) - 1, labelling.codes)
            per_code = np.bincount(codes[included], minlength=len(table))
            count = per_code @ table.astype(np.int64)
            kept = (count >= min_positives) & (n - count >= min_positives)
            self.left_out += int((~kept).sum())
            if not kept.any():
                continue
            flip = count[kept] > n // 2
            self._first.append(len(self.explanations))
            self._codes.append(codes)
            self._tables.append(sp.csr_array((table[:, kept] ^ flip).astype(np.int8)))
            self.explanations += [
                e for e, keep in zip(labelling.explanations, kept, strict=True) if keep
            ]
            counts.append(count[kept])
            flipped.append(flip)
        titles = [e.title for e in self.explanations]
        assert len(set(titles)) == len(titles), "two explanations have one title"
        self.counts = np.concatenate([np.zeros(0, np.int64), *counts])
        self.flipped = np.concatenate([np.zeros(0, bool), *flipped])

    def block(self, sequences: slice) -> LabelBlock:
        """The labels of the included tokens of some sequences, sequence after sequence."""
        inside = self._included[sequences]
        n = int(inside.sum())
        if not self._tables:
            return LabelBlock(n, np.zeros(1, np.int64), np.zeros(0, np.int32))
        parts = [
            table[codes[sequences][inside]]
            for codes, table in zip(self._codes, self._tables, strict=True)
        ]
        matrix = sp.hstack(parts, format="csc")
        return LabelBlock(n, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))

    def of(self, explanation: int) -> np.ndarray:
        """Whether one explanation holds of each token, (n_sequences, n_ctx) bool."""
        place = int(np.searchsorted(self._first, explanation, side="right")) - 1
        column = self._tables[place][:, [explanation - self._first[place]]].toarray()[:, 0]
        return column.astype(bool)[self._codes[place]] ^ self.flipped[explanation]
