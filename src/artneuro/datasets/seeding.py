"""Randomness that belongs to a thing, not to its place in a table.

A crop is drawn from a generator seeded by its own document, and documents are taken in the order of
their hashes, so adding documents to a corpus leaves the others' crops as they were.
"""

from __future__ import annotations

import hashlib

import numpy as np


def hash_of(seed: int, *parts: str | int) -> int:
    """Hash (128 bits) of a seed and the parts that name something, the same on every machine."""
    text = "\0".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def generator_of(seed: int, *parts: str | int) -> np.random.Generator:
    """Return a generator for the thing that the parts name."""
    return np.random.default_rng(hash_of(seed, *parts))
