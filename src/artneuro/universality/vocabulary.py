"""Vocabulary explanations: what the string of a token says, whatever surrounds it.

About 250 yes or no questions about a token's own text, for every id of a tokenizer at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from artneuro.universality.vocabulary_words import (
    GROUPS,
    NUMBER_WORDS,
    ORDINALS,
    PREFIXES,
    PRONOUNS,
    ROMAN,
    SUFFIXES,
    SYMBOLS,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FIRST_YEAR, LAST_YEAR = 1491, 2199
VOWELS = tuple("aeiou")
CONSONANTS = tuple(letter for letter in LETTERS if letter not in VOWELS)
# Characters beside an affix: shorter tokens are rather words of their own.
REST_OF_AFFIX = 2
NOT_ASCII = "not ASCII"


@dataclass(frozen=True)
class VocabularyFeature:
    """A question about a token's string.

    Attributes
    ----------
    category : str
        Kind of question: type, symbol, number, pronoun, start, letter, prefix, suffix, group.
    name : str
        Unique within its category.
    holds : callable (token) -> bool
        `token` is the text of the token with its leading space.
    """

    category: str
    name: str
    holds: Callable[[str], bool]


def body(token: str) -> str:
    """The token without the one space that joins it to the word before."""
    return token.removeprefix(" ")


def word_form(token: str) -> str:
    """What all ways of writing a word share: no leading space, lower case."""
    return body(token).casefold()


def vocabulary_features() -> list[VocabularyFeature]:
    """All questions, each with a name of its own in its category."""
    return list(_features())


Question = Callable[[str], bool]


def _features() -> Iterator[VocabularyFeature]:
    for category, questions in (
        ("type", _types()),
        ("symbol", _symbols()),
        ("number", _numbers()),
        ("pronoun", _pronouns()),
        ("start", _starts()),
        ("letter", ((letter, _word_in((letter,))) for letter in LETTERS)),
        ("prefix", ((f"{prefix}-", _prefixed(prefix)) for prefix in PREFIXES)),
        ("suffix", ((f"-{suffix}", _suffixed(suffix)) for suffix in SUFFIXES)),
        ("group", ((name, _word_in(words)) for name, words in GROUPS.items())),
    ):
        for name, holds in questions:
            yield VocabularyFeature(category, name, holds)


def _types() -> Iterator[tuple[str, Question]]:
    yield "letters only", lambda t: body(t).isalpha()
    yield "all capitals", lambda t: body(t).isalpha() and body(t).isupper()
    yield "two capitals or more", lambda t: len(body(t)) > 1 and body(t).isupper()
    yield "capitalised", lambda t: body(t)[:1].isupper() and body(t)[1:].islower()
    yield "lower case", lambda t: body(t).isalpha() and body(t).islower()
    yield NOT_ASCII, lambda t: not t.isascii()
    yield "no letter or digit", lambda t: not any(c.isalnum() for c in t)
    yield "white space", lambda t: t.isspace()
    for low, high in ((1, 1), (2, 2), (3, 3), (4, 5), (6, 7)):
        name = f"{low} to {high} characters" if high > low else f"{low} characters"
        yield name, _long(low, high)
    yield "8 characters or more", lambda t: len(body(t)) >= 8


def _symbols() -> Iterator[tuple[str, Question]]:
    for symbol in SYMBOLS:
        yield f"contains {symbol}", _containing(symbol)
    yield "ends a sentence", lambda t: body(t)[:1] in tuple(".!?")
    yield "opens", _containing("([{“")
    yield "closes", _containing(")]}”")


def _numbers() -> Iterator[tuple[str, Question]]:
    yield "contains a digit", lambda t: any(c.isdecimal() for c in t)
    yield "digits only", lambda t: body(t).isdecimal()
    for n in (1, 2, 3, 4):
        yield f"{n} digit{'s' * (n > 1)}", _digits(n)
    yield "year", lambda t: _is_year(body(t))
    yield "century", lambda t: body(t) in ("15", "16", "17", "18", "19", "20")
    yield "number word", _word_in(NUMBER_WORDS)
    yield "ordinal", _word_in(ORDINALS)
    yield "Roman numeral", lambda t: body(t).isupper() and word_form(t) in ROMAN
    yield "digits or number word", lambda t: body(t).isdecimal() or word_form(t) in NUMBER_WORDS


def _pronouns() -> Iterator[tuple[str, Question]]:
    for pronoun in PRONOUNS:
        yield pronoun, _word_in((pronoun,))
    yield "first person", _word_in(("i", "we", "me", "us", "my", "our"))
    yield "second person", _word_in(("you", "your"))
    yield (
        "third person",
        _word_in(("he", "she", "it", "they", "him", "her", "them", "his", "its", "their")),
    )
    yield "male", _word_in(("he", "him", "his"))
    yield "female", _word_in(("she", "her"))
    yield "possessive", _word_in(("my", "your", "his", "her", "its", "our", "their"))
    yield "any", _word_in(PRONOUNS)


def _starts() -> Iterator[tuple[str, Question]]:
    yield "space", lambda t: t.startswith(" ")
    yield "space and letter", lambda t: t.startswith(" ") and t[1:2].isalpha()
    yield "space and capital", lambda t: t.startswith(" ") and t[1:2].isupper()
    yield "capital", lambda t: body(t)[:1].isupper()
    yield "lower case without space", lambda t: t[:1].islower()
    yield "capital without space", lambda t: t[:1].isupper()
    yield "digit", lambda t: body(t)[:1].isdecimal()
    yield "symbol", lambda t: not t[:1].isspace() and not t[:1].isalnum()
    yield "vowel", lambda t: word_form(t)[:1] in VOWELS
    yield "consonant", lambda t: word_form(t)[:1] in CONSONANTS
    yield "line break", lambda t: t[:1] in ("\n", "\r")
    for letter in LETTERS:
        yield letter, _starting_with(letter)


def _word_in(words: Collection[str]) -> Question:
    return lambda token: word_form(token) in words


def _containing(characters: str) -> Question:
    return lambda token: any(c in characters for c in token)


def _starting_with(letter: str) -> Question:
    return lambda token: word_form(token)[:1] == letter


def _long(low: int, high: int) -> Question:
    return lambda token: low <= len(body(token)) <= high


def _digits(n: int) -> Question:
    return lambda token: body(token).isdecimal() and len(body(token)) == n


def _prefixed(prefix: str) -> Question:
    return lambda token: _is_longer(token, prefix) and word_form(token).startswith(prefix)


def _suffixed(suffix: str) -> Question:
    return lambda token: _is_longer(token, suffix) and word_form(token).endswith(suffix)


def _is_longer(token: str, affix: str) -> bool:
    word = word_form(token)
    return word.isalpha() and len(word) >= len(affix) + REST_OF_AFFIX


def _is_year(text: str) -> bool:
    return text.isdecimal() and len(text) == 4 and FIRST_YEAR <= int(text) <= LAST_YEAR


def vocabulary_table(strings: Sequence[str], whole: np.ndarray) -> np.ndarray:
    """Which questions each string is a yes to.

    Parameters
    ----------
    strings : sequence of str
        The text of each id of a vocabulary; an empty one is a yes to none.
    whole : (n_ids,) array of bool
        Which ids stand for whole characters: the others are only not ASCII.

    Returns
    -------
    (n_ids, n_features) array of bool
        Columns in the order of `vocabulary_features`.
    """
    features = vocabulary_features()
    table = np.zeros((len(strings), len(features)), dtype=bool)
    of_bytes = [feature.name == NOT_ASCII for feature in features]
    for i, token in enumerate(strings):
        if token and whole[i]:
            table[i] = [feature.holds(token) for feature in features]
        elif token:
            table[i] = of_bytes
    return table
