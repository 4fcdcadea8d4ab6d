"""Windows of tokens that end at something: how a collection chooses its own sequences.

Most collections label random crops. Compound words and names are too rare for that: their
sequences are drawn where they occur. Such a collection has a function that finds the places and
takes windows that end there (`tokens.CHOOSERS`); what is common to all of them is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import polars as pl

from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.crops import BATCH, CHARACTERS_PER_TOKEN, Crop, crops_ending_at
from artneuro.datasets.seeding import hash_of
from artneuro.datasets.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Target:
    """A place that a window ends at.

    Attributes
    ----------
    document : str
        Name of the document.
    start, stop : int
        The characters [start, stop) that labels are about; the window ends with `stop`.
    name : str
        What is there, such as two words or a person.
    kind : str
        What it is an example of. Both splits get a like share of each kind.
    """

    document: str
    start: int
    stop: int
    name: str
    kind: str


@dataclass(frozen=True)
class Window:
    """A run of a document's tokens that ends with a target.

    Attributes
    ----------
    crop : Crop
        The tokens.
    target : Target
        What it ends with.
    """

    crop: Crop
    target: Target


class WindowSource:
    """Takes windows from documents, none twice.

    Parameters
    ----------
    config : DatasetConfig
        `n_ctx`, `min_tokens` and `max_document_sequences`, the windows that one document may give.
    tokenizer : TextTokenizer
        From `load_tokenizer`.
    texts : mapping of str to str
        The documents.
    n_prefix : int
        Tokens that come before the text in every sequence.
    """

    def __init__(
        self,
        config: DatasetConfig,
        tokenizer: TextTokenizer,
        texts: Mapping[str, str],
        n_prefix: int,
    ) -> None:
        self.config = config
        self._tokenizer = tokenizer
        self._texts = texts
        self._n_prefix = n_prefix
        self._seen: set[bytes] = set()
        self._per_document: Counter[str] = Counter()

    def after(self, document: str, start: int, n_tokens: int) -> int:
        """Return the character of a document that about `n_tokens` tokens end at, from `start`."""
        text = self._texts[document]
        size = CHARACTERS_PER_TOKEN * n_tokens
        ends = self._tokenizer.encode([text[start : start + size]])[0].ends[:n_tokens]
        return start + int(ends[-1]) if len(ends) == n_tokens else min(len(text), start + size)

    @property
    def n_content(self) -> int:
        """Tokens of a window."""
        return self.config.n_ctx - self._n_prefix

    def take(self, targets: Iterable[Target], wanted: int, *, exactly: bool = True) -> list[Window]:
        """Take windows at targets in their order, until there are as many as wanted.

        Passed over are windows with fewer than `min_tokens` tokens, with tokens that another window
        has too, and documents that have given all they may.

        Parameters
        ----------
        targets : iterable of Target
            Places, the preferred ones first.
        wanted : int
            How many windows at most.
        exactly : bool
            Pass over places where no token ends.
        """
        left = iter(targets)
        found: list[Window] = []
        while batch := list(islice(left, min(BATCH, wanted - len(found)))):
            ends = [(t.document, self._texts[t.document], t.stop) for t in batch]
            for target, crop in zip(
                batch, crops_ending_at(self._tokenizer, ends, self.n_content), strict=True
            ):
                if crop is None or (exactly and crop.char_end != target.stop):
                    continue
                if len(crop.encoded.ids) + self._n_prefix < self.config.shortest:
                    continue
                if self._per_document[target.document] >= self.config.max_document_sequences:
                    continue
                key = crop.encoded.ids.tobytes()
                if key in self._seen:
                    continue
                self._seen.add(key)
                self._per_document[target.document] += 1
                found.append(Window(crop, target))
        return found


def in_random_order(targets: Iterable[Target], seed: int) -> list[Target]:
    """Targets in an order drawn from the seed: one of each document before a second of any.

    Where a target stands depends on itself and its document alone, so that further documents leave
    the order of the others as it is.
    """
    ranked = sorted(
        (hash_of(seed, "window", target.document, target.stop), i, target)
        for i, target in enumerate(targets)
    )
    turns: Counter[str] = Counter()
    by_turn = []
    for rank, i, target in ranked:
        by_turn.append((turns[target.document], rank, i, target))
        turns[target.document] += 1
    return [target for *_, target in sorted(by_turn)]


def target_columns(targets: Sequence[Target]) -> pl.DataFrame:
    """Columns that tables of sequences have besides the usual ones, where windows were chosen.

    Returns
    -------
    polars.DataFrame
        `target` (str, what the window ends with), `target_class` (str, what it is an example of),
        `target_start` (int32, the target's first character in the document).
    """
    return pl.DataFrame(
        {
            "target": [target.name for target in targets],
            "target_class": [target.kind for target in targets],
            "target_start": pl.Series([target.start for target in targets], dtype=pl.Int32),
        }
    )
