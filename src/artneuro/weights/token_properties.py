"""Properties of tokens that explain what neurons do to the output: the token's own text decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from artneuro.weights.logit_effects import TOKEN_CLASSES

_WORDS = {
    "pronouns": "i me my mine myself we us our ours you your yours he him his she her hers it its "
    "they them their theirs who whom whose",
    "second person": "you your yours yourself yourselves",
    "months": "january february march april may june july august september october november "
    "december",
    "days": "monday tuesday wednesday thursday friday saturday sunday",
    "auxiliary verbs": "be am is are was were been being have has had do does did will would can "
    "could shall should may might must",
    "prepositions": "of in to for with on at from by about as into through after over between out "
    "against during without before under around among",
    "determiners": "the a an this that these those each every some any no",
}
_SUFFIXES = ("ing", "ed", "s", "ly", "er", "tion", "al", "ous", "able", "ment")
_SIGNS = {"parentheses": "()", "quotation marks": "\"'“”‘’`", "brackets": "[]{}", "stops": ".!?"}


def _word(token: str) -> str:
    return token.removeprefix(" ").lower()


def _is_year(token: str) -> bool:
    body = token.removeprefix(" ")
    return len(body) == 4 and body.isdecimal() and 1700 <= int(body) <= 2050


def _one_of(words: str) -> Callable[[str], bool]:
    known = frozenset(words.split())
    return lambda token: _word(token) in known


def _ends_with(suffix: str) -> Callable[[str], bool]:
    return lambda token: token.endswith(suffix) and len(_word(token)) > len(suffix)


def _has(signs: str) -> Callable[[str], bool]:
    return lambda token: any(sign in token for sign in signs)


def _starts_with(letter: str) -> Callable[[str], bool]:
    return lambda token: _word(token)[:1] == letter


def _has_digit(token: str) -> bool:
    return any(c.isdecimal() for c in token)


PROPERTIES: dict[str, Callable[[str], bool]] = {
    **{name.replace("_", " "): has for name, has in TOKEN_CLASSES.items()},
    "has a digit": _has_digit,
    "years": _is_year,
    "one character": lambda token: len(token.removeprefix(" ")) == 1,
    "white space": str.isspace,
    **{name: _one_of(words) for name, words in _WORDS.items()},
    **{name: _has(signs) for name, signs in _SIGNS.items()},
    **{f"ends with -{suffix}": _ends_with(suffix) for suffix in _SUFFIXES},
    **{f"starts with {chr(c)}": _starts_with(chr(c)) for c in range(ord("a"), ord("z") + 1)},
}
NAMES = tuple(PROPERTIES)


def property_table(strings: Sequence[str]) -> np.ndarray:
    """Which properties each token has: bool, shape (tokens, properties), columns as in `NAMES`."""
    return np.array([[has(s) for has in PROPERTIES.values()] for s in strings], dtype=bool).reshape(
        len(strings), len(NAMES)
    )


def explained_share(
    inside: np.ndarray, size: np.ndarray, total: int, mean: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Share of the variance of each neuron's effects that each property explains.

    Parameters
    ----------
    inside : ndarray, shape (neurons, properties)
        Mean effect on the tokens that have the property.
    size : ndarray, shape (properties,)
        Their number.
    total : int
        Number of tokens.
    mean, variance : ndarray, shape (neurons,)
        Of the effects on all tokens.

    Returns
    -------
    ndarray of float64, shape (neurons, properties)
        0 where a property is true of no token or of all, or the effects have no variance.

    Notes
    -----
    Thesis, equation 3.4: the variance between two classes is b / (1 - b) (m - mean)^2, where b is
    the share of one class and m its mean.
    """
    share = size / total
    odds = np.divide(share, 1 - share, out=np.zeros(len(share)), where=(size > 0) & (size < total))
    between = odds * (np.nan_to_num(inside) - mean[:, None]) ** 2
    spread = variance[:, None]
    return np.divide(between, spread, out=np.zeros_like(between), where=spread > 0)
