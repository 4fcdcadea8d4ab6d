"""Which documents no model is trained on: one rule for training and for measuring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

# Part of the rule: with another one, other documents would be held out.
_SALT = b"artneuro holdout\0"


def held_out(groups: Iterable[str], share: float) -> np.ndarray:
    """Which groups of documents are held out, (n_groups,) bool.

    It depends on a group's name alone, so that every corpus, tokenizer and seed agrees, and the
    groups of a smaller share are among those of a larger one.

    Parameters
    ----------
    groups : iterable of str
        Column `group` of a table of documents.
    share : float
        Expected share of the groups, between 0 and 1.
    """
    return np.fromiter((_place(group) < share for group in groups), dtype=bool)


def _place(group: str) -> float:
    """A number in [0, 1) that a name stands for, uniform over names."""
    digest = hashlib.blake2b(_SALT + group.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
