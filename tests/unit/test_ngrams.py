"""N-grams that a neuron fires on."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from artneuro.probing.ngrams import firing_ngrams, index_ngrams, sum_over


def occurrences(tokens, text, longest):
    """Flat positions where each n-gram ends, read off one by one."""
    found = defaultdict(list)
    for row in range(tokens.shape[0]):
        for end in range(tokens.shape[1]):
            for length in range(1, longest + 1):
                start = end - length + 1
                if start >= 0 and text[row, start : end + 1].all():
                    gram = tuple(tokens[row, start : end + 1].tolist())
                    found[gram].append(row * tokens.shape[1] + end)
    return found


def brute_force(tokens, text, fires, longest, min_count, min_rate):
    """The definition, from the shortest n-gram on."""
    places = {gram: set(at) for gram, at in occurrences(tokens, text, longest).items()}
    firing = set(np.flatnonzero(fires).tolist())

    def enough(at):
        n = len(at & firing)
        return n >= min_count and n >= min_rate * len(at)

    def listed(gram):
        longer = [g for g in places if len(g) == len(gram) + 1 and g[1:] == gram]
        needed = [g for g in longer if enough(places[g]) and not enough(places[gram] - places[g])]
        if enough(places[gram]) and not needed:
            return [gram]
        return [found for g in longer for found in listed(g)]

    return sorted(g for gram in places if len(gram) == 1 for g in listed(gram))


def random_text(seed, sequences=12, width=30, vocabulary=5):
    generator = np.random.default_rng(seed)
    tokens = generator.integers(1, vocabulary, (sequences, width))
    position = np.arange(width)
    text = (position > 0) & (position < generator.integers(2, width + 1, (sequences, 1)))
    return generator, tokens, text


@pytest.mark.parametrize("seed", range(6))
def test_they_equal_the_definition(seed):
    generator, tokens, text = random_text(seed)
    # Fires behind some tokens, with noise.
    previous = np.roll(tokens, 1, axis=1)
    fires = ((tokens == 2) & (previous == 3)) | (
        (tokens == 4) & (generator.random(text.shape) < 0.6)
    )
    fires = (fires ^ (generator.random(text.shape) < 0.05)) & text
    index = index_ngrams(tokens, text, 3)
    for min_count, min_rate in ((2, 0.5), (3, 0.8), (1, 1.0)):
        found = firing_ngrams(index, fires.ravel(), min_count=min_count, min_rate=min_rate)
        grams = sorted(tuple(index.tokens_of(f.length, f.code)) for f in found)
        assert grams == brute_force(tokens, text, fires.ravel(), 3, min_count, min_rate)
        # No n-gram is the end of another.
        assert not [(a, b) for a in grams for b in grams if a != b and a[-len(b) :] == b]


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_and_sums_equal_those_read_one_by_one(seed):
    generator, tokens, text = random_text(seed)
    values = generator.standard_normal(tokens.size)
    index = index_ngrams(tokens, text, 4)
    places = occurrences(tokens, text, 4)
    assert sum(len(count) for count in index.counts) == len(places)
    for length in range(1, 5):
        sums = sum_over(index, length, values)
        for code, count in enumerate(index.counts[length - 1]):
            at = places[tuple(index.tokens_of(length, code))]
            assert count == len(at)
            assert sums[code] == pytest.approx(values[at].sum())


def planted(neuron):
    """A long text over 40 tokens and where a neuron fires, given token and the two before it."""
    tokens = np.random.default_rng(5).integers(1, 41, (60, 100))
    tokens[:, 0] = 0
    # "31 32 33" and "21 33" are made common.
    tokens[:, 10:13], tokens[:, 40:43] = (31, 32, 33), (31, 32, 33)
    tokens[:, 70:72] = (21, 33)
    text = np.ones(tokens.shape, dtype=bool)
    text[:, 0] = False
    fires = neuron(tokens, np.roll(tokens, 1, axis=1), np.roll(tokens, 2, axis=1)) & text
    index = index_ngrams(tokens, text, 4)
    found = firing_ngrams(index, fires.ravel(), min_count=5, min_rate=0.9)
    return sorted(index.tokens_of(f.length, f.code) for f in found)


def test_a_token_stands_alone_where_it_is_enough():
    assert planted(lambda t, p, q: (t == 33) | (t == 7)) == [[7], [33]]


def test_a_token_comes_with_what_its_firing_needs():
    assert planted(lambda t, p, q: (t == 33) & (p == 32) & (q == 31)) == [[31, 32, 33]]
    polysemantic = planted(lambda t, p, q: ((t == 33) & (p == 21)) | ((t == 32) & (p == 31)))
    assert polysemantic == [[21, 33], [31, 32]]


def test_rare_firing_lists_nothing():
    assert planted(lambda t, p, q: np.zeros(t.shape, dtype=bool)) == []
    tokens, text = np.ones((2, 3), dtype=int), np.ones((2, 3), dtype=bool)
    assert (
        firing_ngrams(index_ngrams(tokens, text, 5), text.ravel(), min_count=9, min_rate=0.5) == []
    )
