"""Sequences of numbers as text, and the tokens that spell each number.

Thesis, section 5.4.2: values are rounded, written one after the other with separators, and
tokenized as any other text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.dynamics.in_context_config import SequenceConfig


@dataclass(frozen=True)
class NumberFormat:
    """How values are written: scaled to [0, 1), rounded, and spelled with fixed digits.

    Attributes
    ----------
    low, high : float
        The values that are written as 0 and (if it could be) as 1.
    decimals : int
    prefix, separator : str
        What is written before the digits, and after each number.
    """

    low: float
    high: float
    decimals: int
    prefix: str
    separator: str

    @property
    def count(self) -> int:
        """How many numbers can be written."""
        return 10**self.decimals

    @property
    def step(self) -> float:
        """Difference of neighbouring numbers, in units of the system."""
        return (self.high - self.low) / self.count

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The nearest number to each value: integers from 0 to `count` - 1, the digits written.

        Raises
        ------
        DataError
            If a value cannot be written.
        """
        codes = np.rint((np.asarray(values) - self.low) / self.step).astype(np.int64)
        wrong = np.flatnonzero((codes < 0) | (codes >= self.count))
        if wrong.size:
            raise DataError(
                f"the value {np.ravel(values)[wrong[0]]:g} at place {wrong[0]} cannot be written "
                f"with {self.decimals} decimals between {self.low:g} and {self.high:g}",
                fix="set low and high in dynamics.in_context.systems further apart",
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Values of numbers, in units of the system."""
        return self.low + self.step * np.asarray(codes, dtype=np.float64)

    def spell(self, code: int) -> str:
        """A number as text, such as "0.042"."""
        return f"{self.prefix}{code:0{self.decimals}d}"


def number_format(sequence: SequenceConfig) -> NumberFormat:
    """How the values of a system are written."""
    return NumberFormat(
        sequence.low, sequence.high, sequence.decimals, sequence.prefix, sequence.separator
    )


@dataclass(frozen=True)
class SequenceTokens:
    """A sequence as tokens.

    Attributes
    ----------
    ids : ndarray of int64, shape (token,)
        A document token first.
    starts, ends : ndarray of int64, shape (value,)
        Tokens [start, end) of each number.
    separators : ndarray of int64, shape (value,)
        The last token of the separator behind each number.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    separators: np.ndarray


def tokenize_sequence(
    tokenizer: TextTokenizer, written: NumberFormat, codes: np.ndarray, n_ctx: int
) -> SequenceTokens:
    """Write numbers as text and find the tokens of each.

    Parameters
    ----------
    tokenizer : TextTokenizer
    written : NumberFormat
    codes : ndarray of int, shape (value,)
        What `NumberFormat.encode` gave.
    n_ctx : int
        Tokens that the model can read, the document token among them.

    Raises
    ------
    DataError
        If the sequence is longer than that; the message says how many values fit.
    ConfigError
        If a token holds parts of a number and of a separator.
    """
    numbers = [written.spell(int(code)) for code in codes]
    lengths = np.array([len(number) for number in numbers])
    char_start = np.cumsum(lengths + len(written.separator)) - lengths - len(written.separator)
    char_end = char_start + lengths
    encoded = tokenizer.encode(["".join(n + written.separator for n in numbers)])[0]
    first = np.searchsorted(encoded.starts, char_start)
    behind = np.searchsorted(encoded.starts, char_end)
    stop = np.append(first[1:], len(encoded.ids))
    # A number's tokens begin and end with it, and so do the separator's behind it.
    whole = (
        (encoded.starts[first] == char_start)
        & (encoded.ends[behind - 1] == char_end)
        & (behind > first)
        & (stop > behind)
    )
    if not whole.all():
        at = int(np.flatnonzero(~whole)[0])
        raise ConfigError(
            f"the tokenizer joins the number {numbers[at]!r} with the separator "
            f"{written.separator!r} beside it",
            where="dynamics.in_context.systems, separator",
            fix="choose another separator or prefix",
        )
    total = len(encoded.ids) + 1
    if total > n_ctx:
        raise DataError(
            f"{len(codes)} values are {total} tokens, and the model reads {n_ctx}",
            where="dynamics.in_context.systems, values",
            fix=f"{int(np.searchsorted(stop, n_ctx - 1, side='right'))} values fit",
        )
    ids = np.concatenate([[tokenizer.document_token], encoded.ids]).astype(np.int64)
    return SequenceTokens(ids, first + 1, behind + 1, stop)


def canonical_spellings(
    tokenizer: TextTokenizer, written: NumberFormat
) -> list[list[tuple[int, ...]]]:
    """The tokens that the tokenizer itself spells each number with, between separators.

    Returns
    -------
    list of list of tuple of int
        One spelling for each number.

    Raises
    ------
    ConfigError
        If it joins a number with a separator.
    """
    edge = len(written.separator)
    found = []
    texts = [written.spell(code) for code in range(written.count)]
    around = [written.separator + text + written.separator for text in texts]
    for text, encoded in zip(texts, tokenizer.encode(around), strict=True):
        first = int(np.searchsorted(encoded.starts, edge))
        stop = int(np.searchsorted(encoded.starts, edge + len(text)))
        ends = encoded.ends[[first - 1, stop - 1]].tolist()
        if ends != [edge, edge + len(text)]:
            raise ConfigError(
                f"the tokenizer joins the number {text!r} with the separator {written.separator!r}",
                where="dynamics.in_context.systems, separator",
                fix="choose another separator or prefix",
            )
        found.append([tuple(int(i) for i in encoded.ids[first:stop])])
    return found


def all_spellings(
    token_texts: Sequence[str], written: NumberFormat, left_out: Sequence[int] = ()
) -> list[list[tuple[int, ...]]]:
    """Every sequence of tokens whose texts make up a number.

    Parameters
    ----------
    token_texts : sequence of str
        The text of each id, as `TextTokenizer.strings` gives them.
    written : NumberFormat
    left_out : sequence of int
        Ids that are no text, such as special tokens.

    Returns
    -------
    list of list of tuple of int
        The spellings of each number.
    """
    longest = len(written.spell(0))
    letters = set(written.prefix + "0123456789")
    by_text: dict[str, list[int]] = {}
    for i, text in enumerate(token_texts):
        if 0 < len(text) <= longest and set(text) <= letters and i not in set(left_out):
            by_text.setdefault(text, []).append(i)

    def ways(text: str) -> list[tuple[int, ...]]:
        if not text:
            return [()]
        return [
            (token, *rest)
            for size in range(1, len(text) + 1)
            for token in by_text.get(text[:size], [])
            for rest in ways(text[size:])
        ]

    return [ways(written.spell(code)) for code in range(written.count)]
