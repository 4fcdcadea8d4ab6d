"""Contiguous runs of tokens from documents, without tokenizing long documents whole (A.2.2)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from artneuro.datasets.seeding import generator_of
from artneuro.datasets.tokenizer import Encoded, TextTokenizer

# Window of characters to tokenize for each token wanted. Most text has 2 to 5 characters a token;
# where a window gives too few tokens it is widened.
CHARACTERS_PER_TOKEN = 8
# Characters beyond each edge of a window that are tokenized too and then left out, so that the
# edge does not change the tokens that are kept.
MARGIN = 64
BATCH = 256


@dataclass(frozen=True)
class Piece:
    """Characters [`start`, `stop`) of a document that one crop may be from."""

    document: str
    index: int
    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Crop:
    """A run of a document's tokens with their characters in the document."""

    document: str
    encoded: Encoded

    @property
    def char_start(self) -> int:
        """The first character of the run."""
        return int(self.encoded.starts[0])

    @property
    def char_end(self) -> int:
        """One past the last character of the run."""
        return int(self.encoded.ends[-1])


def pieces_of(document: str, text: str, n_tokens: int, most: int, seed: int) -> list[Piece]:
    """Cut a document into at most `most` pieces of equal length that can each hold a crop.

    They are in random order, so that the first of each document are not all beginnings.
    """
    size = CHARACTERS_PER_TOKEN * n_tokens
    n_pieces = max(1, min(most, len(text) // size))
    edges = [len(text) * i // n_pieces for i in range(n_pieces + 1)]
    pieces = [
        Piece(document, i, text, start, stop)
        for i, (start, stop) in enumerate(itertools.pairwise(edges))
    ]
    if n_pieces == 1:
        return pieces
    return [pieces[i] for i in generator_of(seed, "pieces", document).permutation(n_pieces)]


def crop_pieces(
    tokenizer: TextTokenizer,
    pieces: Sequence[Piece],
    n_tokens: int,
    seed: int,
    crop: Literal["random", "start"] = "random",
) -> list[Crop | None]:
    """Draw a contiguous run of at most `n_tokens` tokens from each piece.

    A random window of characters is tokenized and a random run of its tokens is taken; shorter
    pieces are tokenized whole. A run never begins or ends within a character. The generator of a
    piece is seeded by `seed`, its document and its index alone.

    Returns
    -------
    list of Crop or None
        One for each piece. Runs are shorter than `n_tokens` only where the piece is; None where
        there is no token at all.
    """
    crops: list[Crop | None] = [None] * len(pieces)
    pending = list(range(len(pieces)))
    size = CHARACTERS_PER_TOKEN * n_tokens
    while pending:
        retry = []
        for batch in (pending[i : i + BATCH] for i in range(0, len(pending), BATCH)):
            generators = [generator_of(seed, "crop", *_key(pieces[i])) for i in batch]
            windows = [
                _window(pieces[i], size, rng, crop)
                for i, rng in zip(batch, generators, strict=True)
            ]
            widened = [_widen(pieces[i].text, *w) for i, w in zip(batch, windows, strict=True)]
            texts = [pieces[i].text[a:b] for i, (a, b) in zip(batch, widened, strict=True)]
            for i, rng, (start, stop), (origin, _), encoded in zip(
                batch, generators, windows, widened, tokenizer.encode(texts), strict=True
            ):
                whole = start == pieces[i].start and stop == pieces[i].stop
                shifted = Encoded(encoded.ids, encoded.starts + origin, encoded.ends + origin)
                inside, clean = _between(shifted, start, stop)
                if len(inside.ids) < n_tokens and not whole:
                    retry.append(i)
                    continue
                run = _run(inside, clean, n_tokens, rng, crop)
                crops[i] = Crop(pieces[i].document, run) if run is not None else None
        pending = retry
        size *= 2
    return crops


def crops_ending_at(
    tokenizer: TextTokenizer, ends: Sequence[tuple[str, str, int]], n_tokens: int
) -> list[Crop | None]:
    """Take the last `n_tokens` tokens of a document that lie before a given character.

    Tokens are those of the text as it goes on, so a crop ends earlier than asked where a token
    reaches beyond the end. A crop never begins within a character.

    Parameters
    ----------
    tokenizer : TextTokenizer
        Tokenizer.
    ends : sequence of (str, str, int)
        Name of a document, its text, and the character that the crop ends before.
    n_tokens : int
        Tokens of a crop at most.

    Returns
    -------
    list of Crop or None
        In the order of `ends`; None where there is no token before the end.
    """
    crops: list[Crop | None] = [None] * len(ends)
    pending = list(range(len(ends)))
    size = CHARACTERS_PER_TOKEN * n_tokens
    while pending:
        retry = []
        for batch in (pending[i : i + BATCH] for i in range(0, len(pending), BATCH)):
            starts = [max(0, ends[i][2] - size) for i in batch]
            widened = [
                _widen(ends[i][1], start, ends[i][2])
                for i, start in zip(batch, starts, strict=True)
            ]
            texts = [ends[i][1][a:b] for i, (a, b) in zip(batch, widened, strict=True)]
            for i, start, (origin, _), encoded in zip(
                batch, starts, widened, tokenizer.encode(texts), strict=True
            ):
                shifted = Encoded(encoded.ids, encoded.starts + origin, encoded.ends + origin)
                inside, clean = _between(shifted, start, ends[i][2])
                if len(inside.ids) < n_tokens and start > 0:
                    retry.append(i)
                    continue
                first = np.flatnonzero(clean[max(0, len(inside.ids) - n_tokens) : -1])
                if len(first):
                    a = int(first[0]) + max(0, len(inside.ids) - n_tokens)
                    run = Encoded(inside.ids[a:], inside.starts[a:], inside.ends[a:])
                    crops[i] = Crop(ends[i][0], run)
        pending = retry
        size *= 2
    return crops


def _key(piece: Piece) -> tuple[str, int]:
    return piece.document, piece.index


def _window(
    piece: Piece, size: int, rng: np.random.Generator, crop: Literal["random", "start"]
) -> tuple[int, int]:
    """Characters to draw from: the piece, or `size` characters of a longer one."""
    if piece.stop - piece.start <= size:
        return piece.start, piece.stop
    last = piece.stop - size
    start = piece.start if crop == "start" else int(rng.integers(piece.start, last + 1))
    return start, start + size


def _widen(text: str, start: int, stop: int) -> tuple[int, int]:
    """Add a margin to a window, out to where a run of white space begins, or the text's edge."""
    low, high = max(0, start - MARGIN), min(len(text), stop + MARGIN)
    for position in range(low, max(0, low - MARGIN), -1):
        if _word_ends(text, position):
            low = position
            break
    else:
        low = 0 if low <= MARGIN else low
    for position in range(high, min(len(text), high + MARGIN)):
        if _word_ends(text, position):
            high = position
            break
    else:
        high = len(text) if high + MARGIN >= len(text) else high
    return low, high


def _word_ends(text: str, position: int) -> bool:
    """Whether white space begins at a position; every common tokenizer cuts there."""
    return 0 < position < len(text) and text[position].isspace() and text[position - 1].isalnum()


def _between(encoded: Encoded, start: int, stop: int) -> tuple[Encoded, np.ndarray]:
    """Tokens within [start, stop), and before which of them, and after the last, a character ends.

    A token may hold a whole character and some bytes of the next one, so the window's edges alone
    do not say.
    """
    clean = np.ones(len(encoded.ids) + 1, dtype=bool)
    clean[1:-1] = encoded.starts[1:] >= encoded.ends[:-1]
    kept = np.flatnonzero((encoded.starts >= start) & (encoded.ends <= stop))
    a, b = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 0)
    return Encoded(encoded.ids[a:b], encoded.starts[a:b], encoded.ends[a:b]), clean[a : b + 1]


def _run(
    encoded: Encoded,
    clean: np.ndarray,
    n_tokens: int,
    rng: np.random.Generator,
    crop: Literal["random", "start"],
) -> Encoded | None:
    """Choose a run that begins and ends between characters, as long as may be up to `n_tokens`."""
    edges = np.flatnonzero(clean)
    # For each edge, the furthest edge that n_tokens tokens reach.
    reach = edges[np.searchsorted(edges, edges + n_tokens, side="right") - 1]
    length = reach - edges
    if not len(edges) or length.max() == 0:
        return None
    longest = np.flatnonzero(length == length.max())
    chosen = longest[0] if crop == "start" else longest[rng.integers(len(longest))]
    a, b = int(edges[chosen]), int(reach[chosen])
    return Encoded(encoded.ids[a:b], encoded.starts[a:b], encoded.ends[a:b])
