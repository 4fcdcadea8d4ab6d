"""Compound words: pairs against a reading by characters, counts, ratios, windows, splits."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.compound_words import (
    choose_pairs,
    compound_kinds,
    count_pairs,
    find_pairs,
    label_compound_words,
)
from artneuro.datasets.config import CompoundWords, DatasetConfig
from artneuro.datasets.crops import crops_ending_at
from artneuro.datasets.labels import label_features
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.datasets.tokens import TokenDataset, build_tokens, make_token_dataset
from artneuro.datasets.tokens import read_token_dataset as read_dataset
from tests.tiny import make_tokenizer

LETTERS = "ab-' é1_.\nİ’"


def read_by_characters(text: str) -> list[tuple[str, str, int, int]]:
    """Pairs of words, from the definition, one character after the other."""

    def at(i: int) -> str:
        return text[i] if 0 <= i < len(text) else " "

    words = []
    start = 0
    while start < len(text):
        if not text[start].isalpha():
            start += 1
            continue
        stop = start
        while at(stop).isalpha():
            stop += 1
        wordly = [c.isalnum() or c == "_" for c in (at(start - 1), at(start - 2), at(stop + 1))]
        joined_before = wordly[0] or (at(start - 1) in "-'’" and wordly[1])
        after = at(stop).isalnum() or at(stop) == "_"
        joined_after = after or (at(stop) in "-'’" and wordly[2])
        if not joined_before and not joined_after:
            words.append((start, stop))
        start = stop
    pairs = []
    for (a, b), (c, d) in itertools.pairwise(words):
        if c == b + 1 and text[b] == " ":
            low = [text[x:y].replace("İ", "I").lower() for x, y in ((a, b), (c, d))]
            pairs.append((low[0], low[1], c, d))
    return pairs


@given(st.text(alphabet=LETTERS, max_size=40))
def test_pairs_are_those_of_a_reading_by_characters(text):
    expected = read_by_characters(text)
    assert count_pairs([text]).pairs == Counter(pair[:2] for pair in expected)
    for words in (["a"], ["b", "ab"], ["a", "b", "é"]):
        found = sorted(find_pairs(text, words), key=lambda pair: pair[2])
        assert found == [pair for pair in expected if {pair[0], pair[1]} & set(words)]


def test_conditionals_are_shares_of_counts():
    counts = count_pairs(["Red car. red car red bus blue Car", "red-hot car, red  car"])
    # red car, red car, car red, red bus, bus blue, blue car
    assert counts.pairs["red", "car"] == 2
    assert counts.conditionals(("red", "car")) == pytest.approx((2 / 3, 2 / 3))
    assert counts.conditionals(("car", "bus")) == (0, 0)
    some = count_pairs(["Red car. red car red bus blue Car"], ["red", "car"])
    assert some.conditionals(("red", "car")) == counts.conditionals(("red", "car"))


def corpus(rng: np.random.Generator, n: int = 60) -> pl.DataFrame:
    """Documents with planted pairs among words that do not occur otherwise."""
    filler = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrt"]
    rows = []
    for i in range(n):
        words = list(rng.choice(filler, 120))
        ends = ["Social Security", "social media", "social " + rng.choice(filler)]
        ends += [rng.choice(filler) + " security", "social " + rng.choice(filler), "social work"]
        ends += [rng.choice(filler) + " media", "public security"]
        for place, end in zip(rng.permutation(16)[: len(ends)], ends, strict=True):
            words[7 * int(place) + 6] = f"{end}."
        rows.append((f"d{i}", "c", "s", "en", f"g{i // 2}", " ".join(words)))
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def config(**changes) -> DatasetConfig:
    collection = {
        "kind": "compound_words", "words": ["social security", "Social Media"],
        "sequences_per_word": 60, "max_conditional": 0.6,
    }  # fmt: skip
    collection.update(changes.pop("collection", {}))
    values = {"corpus": "c", "n_ctx": 41, "min_tokens": 25, "max_document_sequences": 8, **changes}
    return DatasetConfig.model_validate({**values, "collection": collection})


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory) -> tuple[pl.DataFrame, TokenDataset]:
    path = tmp_path_factory.mktemp("dataset")
    write_table(corpus(np.random.default_rng(0)), path / "documents")
    build_tokens(config(), folder, path / "documents", path / "tokens", path / "sequences")
    label_features(config(), folder, path / "tokens", path / "sequences", path / "labels")
    return read_table(path / "labels"), read_dataset(path / "tokens", path / "sequences")


def last_two(text: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[^\W\d_]+", text)[-2:]]


def test_windows_end_with_the_second_word_inside_their_document(made):
    _, dataset = made
    texts = dict(corpus(np.random.default_rng(0)).select("document", "text").iter_rows())
    for row in dataset.sequences.iter_rows(named=True):
        text = texts[row["document"]]
        assert row["text"] == text[row["char_start"] : row["char_end"]]
        assert " ".join(last_two(row["text"])) == row["target"]
        assert not text[row["char_end"] :][:1].isalpha()
        assert 25 <= row["n_tokens"] <= 41
        assert row["n_tokens"] == 41 or row["char_start"] == 0
        assert dataset.ends[row["sequence"], row["n_tokens"] - 1] == row["char_end"]
        assert text[row["target_start"] : row["char_end"]].lower() == row["target"].split()[1]
    assert len(np.unique(dataset.tokens, axis=0)) == len(dataset.tokens)


def test_labels_are_on_the_last_token_in_the_ratio_of_the_thesis(made):
    labels, dataset = made
    kinds = compound_kinds(dataset.sequences)
    joined = labels.join(kinds, on=["feature", "sequence"], how="left").join(
        dataset.sequences, on="sequence"
    )
    assert (joined["end"] == joined["n_tokens"]).all()
    assert (joined["start"] == joined["end"] - 1).all()
    assert (joined["label"] == (joined["kind"] == "XY")).all()
    for feature in ("social-security", "social-media"):
        part = joined.filter(pl.col("feature") == feature)
        x, y = feature.split("-")
        for target, kind in part.select("target", "kind").iter_rows():
            first, second = target.split(" ")
            assert (first == x, second == y) == {
                "XY": (True, True), "XW": (True, False), "ZY": (False, True)
            }[kind]  # fmt: skip
        counts = dict(part.group_by("kind").len().iter_rows())
        assert counts["XY"] == 12
        assert counts["XW"] == counts["ZY"] == 24


def test_a_compound_word_is_a_negative_of_another_that_shares_a_word(made):
    labels, dataset = made
    security = dataset.sequences.filter(pl.col("target") == "social security")["sequence"]
    kinds = compound_kinds(dataset.sequences).filter(pl.col("feature") == "social-media")
    assert set(kinds.filter(pl.col("sequence").is_in(security.implode()))["kind"]) == {"XW"}
    used = labels.filter((pl.col("feature") == "social-media") & ~pl.col("label"))
    assert set(used["sequence"]) & set(security)


def test_splits_share_no_group_and_have_every_kind(made):
    _, dataset = made
    sides = dataset.sequences.group_by("group").agg(pl.col("split").n_unique())
    assert sides["split"].max() == 1
    assert (
        dataset.sequences.group_by("target_class")
        .agg(pl.col("split").n_unique())["split"]
        .to_list()
        == [2] * 6
    )


def test_seed_decides_and_further_documents_change_little(folder):
    tokenizer, documents = load_tokenizer(folder), corpus(np.random.default_rng(0))
    first = make_token_dataset(config(), tokenizer, documents)
    again = make_token_dataset(config(), tokenizer, documents.reverse())
    assert np.array_equal(first.tokens, again.tokens)
    assert first.sequences.equals(again.sequences)
    other = make_token_dataset(config(seed=1), tokenizer, documents)
    assert not np.array_equal(first.tokens, other.tokens)


def test_a_document_gives_no_more_windows_than_it_may(folder):
    tokenizer, documents = load_tokenizer(folder), corpus(np.random.default_rng(0))
    dataset = make_token_dataset(
        config(max_document_sequences=1, collection={"sequences_per_word": 20}),
        tokenizer, documents,
    )  # fmt: skip
    assert dataset.sequences["document"].is_unique().all()


def test_rare_and_predictable_words_are_named_or_left_out(folder, caplog):
    texts = ["a big red car and a bus", "mauve wizard and mauve wizard"] * 3
    counts = count_pairs(texts)
    settings = config(collection={"words": ["mauve wizard", "big red", "absent thing"]}).collection
    assert isinstance(settings, CompoundWords)
    with pytest.raises(DataError, match=r"mauve wizard: 6 times.*absent thing: 0 times"):
        choose_pairs(settings, counts)
    lenient = settings.model_copy(update={"missing_words": "leave_out", "max_conditional": 1.0})
    with caplog.at_level(logging.WARNING):
        assert choose_pairs(lenient, counts) == []
    assert "left out absent thing: 0 times" in caplog.text


def test_automatic_choice_is_by_count_without_common_words():
    words = ["north star", "north wind", "south star", "cold wind", "with star", "ox star"]
    text = ". ".join(word for i, word in enumerate(words) for _ in range(12 - i))
    settings = CompoundWords(
        kind="compound_words", max_words=3, max_conditional=0.6, min_positives=2
    )
    # South and cold predict their second words; "with" is a stop word, "ox" is short.
    expected = [("north", "star"), ("north", "wind")]
    assert choose_pairs(settings, count_pairs([text])) == expected
    assert choose_pairs(settings.model_copy(update={"max_words": 1}), count_pairs([text])) == [
        ("north", "star")
    ]


def test_crops_end_where_asked_and_hold_the_tokens_before(folder):
    tokenizer = load_tokenizer(folder)
    text = "The quick brown fox jumps over the lazy dog, and Ω 😀 the dog sleeps on. " * 40
    whole = tokenizer.encode([text])[0]
    for stop in (3, 25, 700, len(text)):
        crop = crops_ending_at(tokenizer, [("d", text, stop)], 12)[0]
        assert crop is not None
        last = np.flatnonzero(whole.ends <= stop)[-1]
        n = len(crop.encoded.ids)
        assert np.array_equal(crop.encoded.ids, whole.ids[last + 1 - n : last + 1])
        assert n == min(12, last + 1) or n == 11
    assert crops_ending_at(tokenizer, [("d", text, 0)], 12) == [None]


def test_labels_of_one_kind_are_capped_at_twice_the_positives(made):
    _, dataset = made
    # Without a third of its positives a word keeps fewer negatives.
    gone = dataset.sequences.filter(pl.col("target") == "social media")["sequence"][:4].to_list()
    fewer = dataset.sequences.filter(~pl.col("sequence").is_in(gone))
    small = TokenDataset(dataset.tokens, dataset.starts, dataset.ends, fewer)
    labels = label_compound_words(config(), None, small)  # type: ignore[arg-type]
    counts = labels.filter(pl.col("feature") == "social-media")["label"].value_counts(sort=True)
    assert dict(counts.iter_rows()) == {True: 8, False: 32}
