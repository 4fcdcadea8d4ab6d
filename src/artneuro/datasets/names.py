"""Search for many names in many texts at once (Aho and Corasick, 1975)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick

from artneuro.core.errors import DataError

# Names of one automaton: a few GB of memory at the most. More names are searched in several passes.
NAMES_PER_PASS = 1_000_000


@dataclass(frozen=True)
class Found:
    """An occurrence of a name.

    Attributes
    ----------
    name : int
        Index of the name.
    start, stop : int
        Its characters [start, stop) in the text.
    """

    name: int
    start: int
    stop: int


class NameSearch:
    """Finds names as whole words; of names that overlap, the longer one.

    Names match with their case. A line break in the text stands for a space of a name. A name does
    not match within a longer word, nor where a hyphen joins it to another.

    Parameters
    ----------
    names : sequence of str
        What to look for.

    Raises
    ------
    DataError
        If a name is empty or blank, or occurs twice.
    """

    def __init__(self, names: Sequence[str], names_per_pass: int = NAMES_PER_PASS) -> None:
        if not all(name.strip() for name in names):
            raise DataError("a name is empty", fix="leave it out of the names to search for")
        if len(set(names)) < len(names):
            raise DataError("a name occurs twice", fix="give each name once")
        self._automata = [
            (first, AhoCorasick(list(names[first : first + names_per_pass])))
            for first in range(0, len(names), names_per_pass)
        ]

    def find(self, text: str) -> list[Found]:
        """Find the names in a text, in the order of their places; they do not overlap."""
        flat = text.replace("\n", " ")
        found = [
            Found(first + i, start, stop)
            for first, automaton in self._automata
            # All matches: the longest at a place may turn out to be part of a longer word.
            for i, start, stop in automaton.find_matches_as_indexes(flat, overlapping=True)
            if _whole(flat, start, stop)
        ]
        # The longest first, and of equally long ones the first in the text.
        taken: list[Found] = []
        covered = bytearray(len(text) if found else 0)
        for one in sorted(found, key=lambda f: (f.start - f.stop, f.start)):
            if not any(covered[one.start : one.stop]):
                covered[one.start : one.stop] = b"\1" * (one.stop - one.start)
                taken.append(one)
        return sorted(taken, key=lambda f: f.start)


def _whole(text: str, start: int, stop: int) -> bool:
    """Whether [start, stop) begins and ends where words do."""
    before = text[max(0, start - 2) : start][::-1]
    return not (_joins(before) or _joins(text[stop : stop + 2]))


def _joins(beside: str) -> bool:
    """Whether the characters beside a name, nearest first, make it part of a longer word."""
    if not beside:
        return False
    if beside[0].isalnum() or beside[0] == "_":
        return True
    return beside[0] == "-" and beside[1:].isalnum()
