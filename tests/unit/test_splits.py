"""Grouped, stratified splits against their definition and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artneuro.core.errors import DataError
from artneuro.datasets.splits import grouped_split


def sides(groups, is_test):
    return set(np.asarray(groups)[is_test]), set(np.asarray(groups)[~is_test])


def can_be_split(groups, strata) -> bool:
    """Try every choice of whole groups."""
    names = sorted(set(groups))
    for chosen in itertools.product([False, True], repeat=len(names)):
        on_test = dict(zip(names, chosen, strict=True))
        found = {(c, on_test[g]) for g, c in zip(groups, strata, strict=True)}
        if len(found) == 2 * len(set(strata)):
            return True
    return False


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("n", [7, 10, 48])
def test_single_rows_meet_the_share_of_every_class_to_half_a_row(n, fraction):
    strata = np.repeat(["a", "b", "c"], n)
    groups = np.array([f"g{i}" for i in range(3 * n)])
    is_test = grouped_split(groups, strata, fraction, seed=1)
    for name in "abc":
        assert abs(is_test[strata == name].sum() - fraction * n) <= 0.5 + 1e-9


def test_translations_stay_together_and_every_language_has_the_same_share():
    pages, languages = [f"page{i}" for i in range(40)], ["de", "el", "fr", "sv"]
    groups = np.array([page for page in pages for _ in languages])
    strata = np.array([language for _ in pages for language in languages])
    is_test = grouped_split(groups, strata, 0.3, seed=42)
    for language in languages:
        assert is_test[strata == language].sum() == 12
    test, train = sides(groups, is_test)
    assert not test & train


def test_groups_of_many_sizes_come_close_to_the_share():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, size=120)
    groups = np.repeat([f"g{i}" for i in range(120)], sizes)
    strata = rng.choice(["x", "y", "z"], size=len(groups), p=[0.6, 0.3, 0.1])
    is_test = grouped_split(groups, strata, 0.3, seed=3)
    for name in "xyz":
        assert abs(is_test[strata == name].mean() - 0.3) < 0.01
    test, train = sides(groups, is_test)
    assert not test & train


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("uvwx")), min_size=1),
    fraction=st.sampled_from([0.1, 0.3, 0.5]),
    seed=st.integers(0, 5),
)
def test_a_split_is_found_exactly_when_there_is_one(rows, fraction, seed):
    groups, strata = zip(*rows, strict=True)
    if not can_be_split(groups, strata):
        with pytest.raises(DataError):
            grouped_split(groups, strata, fraction, seed)
        return
    is_test = grouped_split(groups, strata, fraction, seed)
    test, train = sides(groups, is_test)
    assert not test & train
    for name in set(strata):
        assert set(is_test[np.array(strata) == name]) == {True, False}


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    rows = [(f"g{i % 17}", "ab"[(i * i) % 2]) for i in range(80)]
    groups, strata = zip(*rows, strict=True)
    expected = dict(zip(groups, grouped_split(groups, strata, 0.3, 7), strict=True))
    random.shuffle(rows)
    groups, strata = zip(*rows, strict=True)
    assert dict(zip(groups, grouped_split(groups, strata, 0.3, 7), strict=True)) == expected


def test_the_seed_decides():
    groups = [f"g{i}" for i in range(60)]
    first = grouped_split(groups, None, 0.3, 1)
    assert np.array_equal(first, grouped_split(groups, None, 0.3, 1))
    assert not np.array_equal(first, grouped_split(groups, None, 0.3, 2))


def test_no_group_is_favoured_over_seeds():
    groups = [f"g{i}" for i in range(20)]
    share = np.mean([grouped_split(groups, None, 0.3, seed) for seed in range(400)], axis=0)
    # Standard error of a share of 0.3 over 400 seeds is 0.023.
    assert np.all(np.abs(share - 0.3) < 0.1)


def test_a_class_of_one_group_is_named():
    with pytest.raises(DataError, match=r"class 'rare' .* 3 rows"):
        grouped_split(["a", "b", "c", "c", "c"], ["x", "x", "rare", "rare", "rare"], 0.3, 0)


def test_three_classes_that_share_three_groups_in_pairs_cannot_be_split():
    # Each pair of groups must be on different sides, which three groups cannot be.
    with pytest.raises(DataError, match="no split of whole groups"):
        grouped_split(list("122331"), list("aabbcc"), 0.3, 0)


def test_nothing_to_split_is_an_error():
    with pytest.raises(DataError, match="nothing to split"):
        grouped_split([], [], 0.3, 0)
