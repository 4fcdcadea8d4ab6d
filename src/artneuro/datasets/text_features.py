"""Plain-text features of tokens (A.2.2, table A.3): the token's own string decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from artneuro.core.errors import DataError
from artneuro.datasets.config import DatasetConfig, TextFeatures
from artneuro.datasets.seeding import generator_of
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.datasets.tokens import TokenDataset

log = logging.getLogger(__name__)


def _body(token: str) -> str:
    """Return the token without the one space that joins it to the word before."""
    return token.removeprefix(" ")


# `Capital`, `digit` and `letter` are Unicode's: A to Z and others such as Greek capitals.
FEATURES: dict[str, Callable[[str], bool]] = {
    # The first character, after a leading space, is a capital.
    "leading_capital": lambda token: _body(token)[:1].isupper(),
    # Lower-case letters only: the inside or end of a word.
    "no_leading_space_and_loweralpha": lambda token: (
        bool(token) and all(c.isalpha() and c.islower() for c in token)
    ),
    # Decimal digits only, after a leading space.
    "all_digits": lambda token: _body(token).isdecimal(),
    "is_not_ascii": lambda token: not token.isascii(),
    "has_leading_space": lambda token: token.startswith(" "),
    "contains_all_whitespace": lambda token: token.isspace(),
    # Capitals only, after a leading space.
    "all_capitals": lambda token: bool(_body(token)) and all(c.isupper() for c in _body(token)),
    # No letter and no digit anywhere: punctuation, symbols, white space.
    "is_not_alphanumeric": lambda token: bool(token) and not any(c.isalnum() for c in token),
    "contains_whitespace": lambda token: any(c.isspace() for c in token),
    "contains_capital": lambda token: any(c.isupper() for c in token),
    "contains_digit": lambda token: any(c.isdecimal() for c in token),
}
NAMES = tuple(FEATURES)
# All that is known of a token that holds only some bytes of a character.
KNOWN_OF_BYTES = ("is_not_ascii",)


def feature_table(strings: Sequence[str]) -> np.ndarray:
    """Which features each string has.

    Parameters
    ----------
    strings : sequence of str
        The text of each id of a vocabulary.

    Returns
    -------
    (n_strings, 11) array of bool
        Columns in the order of `NAMES`.
    """
    return np.array([[has(s) for has in FEATURES.values()] for s in strings], dtype=bool).reshape(
        len(strings), len(NAMES)
    )


def decided_table(whole: np.ndarray) -> np.ndarray:
    """Which features each token can be said to have or lack, (n_ids, 11) bool.

    A token with some bytes of a character has no text of its own; whether it is part of a letter,
    say, is not known from it. It is an example only of not being ASCII.

    Parameters
    ----------
    whole : (n_ids,) array of bool
        From `TextTokenizer.whole`.
    """
    of_bytes = np.array([name in KNOWN_OF_BYTES for name in NAMES])
    return whole[:, None] | of_bytes[None, :]


def sample_examples(
    positive: np.ndarray,
    candidate: np.ndarray,
    priority: np.ndarray,
    most: int,
    share: float,
) -> np.ndarray:
    """Sample examples without replacement, a given share of them positive.

    Parameters
    ----------
    positive, candidate : (n,) array of bool
        Which tokens have the feature, and which may be taken.
    priority : (n,) array of float
        Tokens of the lowest priority are taken. Sharing it between features makes them share
        tokens, and so rows of activations, while each one's sample remains uniform.
    most : int
        Examples to take; fewer if there are not enough of one kind to keep the share.
    share : float
        Share of positives, within (0, 1).

    Returns
    -------
    (m,) array of int
        Indices of the examples, sorted; none if one kind is absent.
    """
    yes = np.flatnonzero(candidate & positive)
    no = np.flatnonzero(candidate & ~positive)
    n = min(float(most), len(yes) / share, len(no) / (1 - share))
    # Half up, so that the share is met to the nearest example; the cap guards against overshoot.
    n_yes, n_no = min(int(n * share + 0.5), len(yes)), min(int(n * (1 - share) + 0.5), len(no))
    if not n_yes or not n_no:
        return np.empty(0, dtype=np.int64)
    taken = [
        members[np.argsort(priority[members], kind="stable")[:count]]
        for members, count in ((yes, n_yes), (no, n_no))
    ]
    return np.sort(np.concatenate(taken))


def label_text_features(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Sample tokens with and without each text feature (A.2.2).

    In each split a feature's share of positives is its frequency among all tokens that may be
    taken, brought into `positive_share`; features of a frequency below `min_frequency` are left
    out.

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `start`, `end`, `label`.

    Raises
    ------
    DataError
        If no feature is left.
    """
    settings = config.collection
    assert isinstance(settings, TextFeatures)
    strings = tokenizer.strings()
    table, decided = feature_table(strings), decided_table(tokenizer.whole(strings))
    may = dataset.labelled(settings.skip_tokens)
    may &= ~np.isin(dataset.tokens, tokenizer.special)
    sequence, position = np.nonzero(may)
    ids = dataset.tokens[sequence, position]
    is_test = (dataset.sequences["split"] == "test").to_numpy()[sequence]
    priority = generator_of(config.seed, "text_features").random(len(ids))
    parts = []
    for name in settings.features or NAMES:
        column = NAMES.index(name)
        positive, candidate = table[ids, column], decided[ids, column]
        frequency = float(positive[candidate].mean()) if candidate.any() else 0.0
        if frequency < settings.min_frequency:
            log.warning("left out %s: %.2g %% of the tokens", name, 100 * frequency)
            continue
        share = float(np.clip(frequency, *settings.positive_share))
        examples = []
        for side in (is_test, ~is_test):
            most = int(settings.max_samples_per_feature * side.mean() + 0.5)
            examples.append(sample_examples(positive, candidate & side, priority, most, share))
        if not all(len(found) for found in examples):
            log.warning("left out %s: a split has no token with it, or none without", name)
            continue
        chosen = np.sort(np.concatenate(examples))
        parts.append(
            pl.DataFrame(
                {
                    "sequence": sequence[chosen].astype(np.int32),
                    "start": position[chosen].astype(np.int32),
                    "end": (position[chosen] + 1).astype(np.int32),
                    "label": positive[chosen],
                }
            ).select(pl.lit(name).alias("feature"), pl.all())
        )
    if not parts:
        raise DataError(
            f"none of the text features is frequent enough among {len(ids)} tokens",
            fix="raise max_sequences or n_ctx, or lower min_frequency",
        )
    return pl.concat(parts)
