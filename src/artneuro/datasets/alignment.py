"""Which tokens stand for which words, by their characters in one text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

LabelledToken = Literal["first", "last", "all"]


@dataclass(frozen=True)
class Alignment:
    """Words that a token has characters of.

    Attributes
    ----------
    first, stop : (n_tokens,) int64
        The words [first, stop) that each token has a character of; none where both are equal, as
        for white space.
    chosen : (n_tokens,) bool
        Whether the token stands for at least one word.
    """

    first: np.ndarray
    stop: np.ndarray
    chosen: np.ndarray


def align(
    token_start: np.ndarray,
    token_end: np.ndarray,
    word_start: np.ndarray,
    word_end: np.ndarray,
    labelled_token: LabelledToken = "last",
) -> Alignment:
    """Align the tokens of a text with its words.

    A token belongs to every word that it has a character of: `" dog"` with its leading space to
    *dog*, `"don"` of *don't* to *do* and *n't*, `'."'` to both marks. Of a word of several tokens
    the first, the last or all stand for it; tokens that hold parts of one character have all of it,
    so the last is the one that completes it.

    Parameters
    ----------
    token_start, token_end : (n_tokens,) array of int
        Characters [start, end) of each token, in the order of the text.
    word_start, word_end : (n_words,) array of int
        Characters [start, end) of each word, not empty and neither starts nor ends decreasing.
    labelled_token : {"first", "last", "all"}
        Which tokens stand for a word of several.
    """
    first = np.searchsorted(word_end, token_start, side="right")
    stop = np.searchsorted(word_start, token_end, side="left")
    # Normalizers may leave a token without characters, which would be within a word.
    written = np.flatnonzero(token_end > token_start)
    stop = np.where(token_end > token_start, np.maximum(first, stop), first)
    chosen = stop > first
    if labelled_token == "all":
        return Alignment(first, stop, chosen)
    # The tokens [low, high) of each word; a word outside of all tokens has none.
    low = np.searchsorted(token_end[written], word_start, side="right")
    high = np.searchsorted(token_start[written], word_end, side="left")
    held = high > low
    chosen = np.zeros(len(token_start), dtype=bool)
    chosen[written[low[held] if labelled_token == "first" else high[held] - 1]] = True
    return Alignment(first, stop, chosen)
