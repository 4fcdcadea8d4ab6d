"""Labels: text features against regular expressions, balance, and what no label may touch."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets import config as config_module
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.labels import LABELLERS, check_labels, label_features
from artneuro.datasets.text_features import (
    NAMES,
    feature_table,
    label_text_features,
    sample_examples,
)
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.datasets.tokens import TokenDataset, build_tokens, read_token_dataset
from tests.tiny import SENTENCES, make_tokenizer

# Written from the words of table A.3, over Unicode's own classes.
PATTERNS = {
    "leading_capital": r" ?\p{Uppercase}[\s\S]*",
    "no_leading_space_and_loweralpha": r"(?V1)[\p{L}&&\p{Lowercase}]+",
    "all_digits": r" ?\p{Nd}+",
    "is_not_ascii": r"[\s\S]*[^\x00-\x7f][\s\S]*",
    "has_leading_space": r" [\s\S]*",
    "contains_all_whitespace": r"[\s\x1c-\x1f]+",
    "all_capitals": r" ?\p{Uppercase}+",
    "is_not_alphanumeric": r"[^\p{L}\p{N}]+",
    "contains_whitespace": r"[\s\S]*[\s\x1c-\x1f][\s\S]*",
    "contains_capital": r"[\s\S]*\p{Uppercase}[\s\S]*",
    "contains_digit": r"[\s\S]*\p{Nd}[\s\S]*",
}
LETTERS = "aäzAÄZαΩжЖßñ中あ09٣²½ \t\n\u00a0.,;-_€😀\u0301"


def has_by_pattern(name: str, token: str) -> bool:
    return regex.fullmatch(PATTERNS[name], token) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def documents() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    words = " ".join(SENTENCES).split()
    rows = []
    for name in ("x", "y", "z"):
        for i in range(16):
            text = " ".join([f"{name}{i}", *rng.choice(words, 60), "Ω 😀 中 ½ <|endoftext|>"])
            rows.append((f"{name}{i}", "c", "s", name, f"g{name}{i}", text))
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def run(path, folder, **values) -> tuple[pl.DataFrame, TokenDataset]:
    config = DatasetConfig.model_validate({"corpus": "c", **values})
    write_table(documents(), path / "documents")
    build_tokens(config, folder, path / "documents", path / "tokens", path / "sequences")
    label_features(config, folder, path / "tokens", path / "sequences", path / "labels")
    dataset = read_token_dataset(path / "tokens", path / "sequences")
    return read_table(path / "labels"), dataset


TEXT = {"kind": "text_features", "max_samples_per_feature": 400, "min_frequency": 0.01}


# Text features


def test_the_features_are_those_of_the_table():
    assert len(NAMES) == 11
    assert set(NAMES) == set(get_args(config_module.TextFeature)) == set(PATTERNS)


@settings(max_examples=400, deadline=None)
@given(st.text(LETTERS, max_size=6))
def test_features_agree_with_regular_expressions(token):
    found = dict(zip(NAMES, feature_table([token])[0], strict=True))
    assert found == {name: has_by_pattern(name, token) for name in NAMES}


@pytest.mark.parametrize(
    ("token", "features"),
    [
        (
            " The",
            {"leading_capital", "has_leading_space", "contains_whitespace", "contains_capital"},
        ),
        ("ing", {"no_leading_space_and_loweralpha"}),
        (
            " 1984",
            {"all_digits", "has_leading_space", "contains_whitespace", "contains_digit"},
        ),
        ("\n\n", {"contains_all_whitespace", "is_not_alphanumeric", "contains_whitespace"}),
        ("NASA", {"leading_capital", "all_capitals", "contains_capital"}),
        ("é", {"no_leading_space_and_loweralpha", "is_not_ascii"}),
        ("😀", {"is_not_ascii", "is_not_alphanumeric"}),
        ("McD", {"leading_capital", "contains_capital"}),
        ("b2", {"contains_digit"}),
        ("", set()),
    ],
)
def test_features_of_known_tokens(token, features):
    found = feature_table([token])[0]
    assert {name for name, has in zip(NAMES, found, strict=True) if has} == features


def test_labels_are_what_the_decoded_tokens_say(tmp_path, folder):
    labels, dataset = run(tmp_path, folder, collection=TEXT, n_ctx=48)
    backend = load_tokenizer(folder).backend
    assert set(labels["collection"]) == {"text_features"}
    assert labels["feature"].n_unique() >= 9
    for feature, sequence, start, end, label in labels.select(
        "feature", "sequence", "start", "end", "label"
    ).iter_rows():
        assert end == start + 1
        token = backend.decode([int(dataset.tokens[sequence, start])])
        if "\ufffd" in token:  # some bytes of a character: only this is known of it
            assert feature == "is_not_ascii"
            assert label
        else:
            assert label == has_by_pattern(feature, token)


def test_a_features_share_of_positives_is_its_frequency_within_bounds(tmp_path, folder):
    labels, dataset = run(tmp_path, folder, collection=TEXT, n_ctx=48)
    split = labels.join(dataset.sequences.select("sequence", "split"), on="sequence")
    tokenizer = load_tokenizer(folder)
    may = dataset.labelled(10)
    strings = np.array([tokenizer.backend.decode([int(i)]) for i in dataset.tokens[may]])
    whole = np.array(["\ufffd" not in s for s in strings])
    for (feature, side), part in split.group_by("feature", "split"):
        candidate = whole | (feature == "is_not_ascii")
        has = np.array([("\ufffd" in s) or has_by_pattern(feature, s) for s in strings[candidate]])
        expected = np.clip(has.mean(), 0.2, 0.5)
        # Within rounding: half an example of either kind.
        assert abs(part["label"].sum() - expected * len(part)) <= 1, (feature, side)
        assert len(part) <= 400


def test_rare_features_are_left_out(tmp_path, folder):
    labels, dataset = run(tmp_path, folder, collection=TEXT | {"min_frequency": 0.2}, n_ctx=48)
    tokenizer = load_tokenizer(folder)
    ids = dataset.tokens[dataset.labelled(10)]
    strings = [tokenizer.backend.decode([int(i)]) for i in ids]
    strings = [s for s in strings if "\ufffd" not in s]
    for name in set(NAMES) - {"is_not_ascii"}:
        frequency = np.mean([has_by_pattern(name, s) for s in strings])
        assert (name in set(labels["feature"])) == (frequency >= 0.2)
    with pytest.raises(DataError, match="none of the text features"):
        run(tmp_path, folder, collection=TEXT | {"min_frequency": 1.0}, n_ctx=48)


def test_special_tokens_within_a_sequence_are_not_sampled(tmp_path, folder):
    _, dataset = run(tmp_path, folder, collection=TEXT, n_ctx=48)
    tokens = dataset.tokens.copy()
    tokens[:, 12:40] = 0
    config = DatasetConfig.model_validate({"corpus": "c", "collection": TEXT, "n_ctx": 48})
    found = label_text_features(config, load_tokenizer(folder), replace(dataset, tokens=tokens))
    assert not set(found["start"]) & set(range(12, 40))
    assert set(found["start"]) <= {10, 11, *range(40, 48)}


def test_only_the_wanted_features_are_labelled(tmp_path, folder):
    labels, _ = run(
        tmp_path, folder, collection=TEXT | {"features": ["contains_capital"]}, n_ctx=48
    )
    assert set(labels["feature"]) == {"contains_capital"}


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(0, 300),
    frequency=st.floats(0, 1),
    share=st.floats(0.05, 0.95),
    most=st.integers(1, 200),
    seed=st.integers(0, 9),
)
def test_samples_keep_their_share_and_size(n, frequency, share, most, seed):
    rng = np.random.default_rng(seed)
    positive, candidate = rng.random(n) < frequency, rng.random(n) < 0.8
    chosen = sample_examples(positive, candidate, rng.random(n), most, share)
    assert len(set(chosen)) == len(chosen) <= most + 1
    assert candidate[chosen].all()
    yes, no = (candidate & positive).sum(), (candidate & ~positive).sum()
    if len(chosen):
        assert abs(positive[chosen].sum() - share * len(chosen)) <= 1
        # As many as can be: one more of each kind would break the limit or the supply.
        assert len(chosen) >= min(most, yes / share, no / (1 - share)) - 1
    else:
        assert (
            min(most * share, most * (1 - share), yes, no) < 1
            or min(yes * (1 - share) / share, no * share / (1 - share)) < 1
        )


def test_samples_are_uniform_among_the_tokens_of_a_kind():
    positive = np.arange(40) < 10
    counts = np.zeros(40)
    for seed in range(2000):
        priority = np.random.default_rng(seed).random(40)
        counts[sample_examples(positive, np.ones(40, dtype=bool), priority, 20, 0.25)] += 1
    # Five of ten positives and fifteen of thirty negatives: each token half of the time.
    assert np.all(np.abs(counts / 2000 - 0.5) < 0.06)


def test_the_spaces_of_sentencepiece_tokens_are_kept():
    vocabulary = {token: i for i, token in enumerate(["▁", "a", "▁a", "▁The", "the", "<0xE2>"])}
    backend = Tokenizer(models.BPE(vocabulary, [("▁", "a")], byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    tokenizer = TextTokenizer(backend, 0, ())
    strings = tokenizer.strings()
    assert strings[2:5] == [" a", " The", "the"]
    assert tokenizer.whole(strings).tolist() == [True] * 5 + [False]


# Categories


def test_every_class_is_probed_against_all_others(tmp_path, folder):
    labels, dataset = run(
        tmp_path,
        folder,
        collection={"kind": "natural_language", "sequences_per_class": 10, "skip_tokens": 4},
        n_ctx=48,
    )
    language = dict(dataset.sequences.select("sequence", "language").iter_rows())
    assert len(labels) == 3 * 30
    for row in labels.iter_rows(named=True):
        assert row["label"] == (language[row["sequence"]] == row["feature"])
        assert (row["start"], row["end"]) == (4, 48)
    shares = labels.group_by("feature").agg(pl.col("label").mean())
    assert shares["label"].to_list() == pytest.approx([1 / 3] * 3)
    assert dict(labels.schema) == {
        "collection": pl.String, "feature": pl.String, "sequence": pl.Int32,
        "start": pl.Int32, "end": pl.Int32, "label": pl.Boolean,
    }  # fmt: skip


@pytest.mark.parametrize(
    "collection",
    [
        TEXT | {"skip_tokens": 0},
        {"kind": "natural_language", "sequences_per_class": 10, "skip_tokens": 0},
        {"kind": "code_language", "sequences_per_class": 10, "skip_tokens": 6},
    ],
)
def test_no_label_touches_the_document_token_or_padding(tmp_path, folder, collection):
    labels, dataset = run(tmp_path, folder, collection=collection, n_ctx=400, min_tokens=20)
    assert (dataset.sequences["n_tokens"] < 400).any()
    n_tokens = dataset.sequences["n_tokens"].to_numpy()[labels["sequence"].to_numpy()]
    first = max(1, collection.get("skip_tokens", 0))
    assert labels["start"].min() == first
    assert (labels["end"].to_numpy() <= n_tokens).all()
    assert (labels["start"] < labels["end"]).all()


def test_labels_are_the_same_bytes_each_time(tmp_path, folder):
    both = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, folder, collection=TEXT, n_ctx=48)
        both.append((tmp_path / name / "labels").read_bytes())
    assert both[0] == both[1]


def test_every_kind_of_collection_has_a_labeller():
    kinds = {
        kind
        for member in get_args(get_args(config_module.Collection)[0])
        for kind in get_args(member.model_fields["kind"].annotation)
    }
    assert kinds == set(LABELLERS)


# Checks


def tiny_dataset() -> TokenDataset:
    sequences = pl.DataFrame(
        {
            "sequence": [0, 1, 2, 3],
            "n_prefix": [1] * 4,
            "n_tokens": [6, 6, 4, 6],
            "split": ["train", "train", "test", "test"],
        }
    )
    tokens = np.arange(24, dtype=np.int32).reshape(4, 6)
    return TokenDataset(tokens, tokens, tokens, sequences)


def spans(changes=()) -> pl.DataFrame:
    rows = [
        ["f", 0, 1, 6, True],
        ["f", 1, 2, 3, False],
        ["f", 2, 1, 4, True],
        ["f", 3, 3, 6, False],
    ]
    for row, column, value in changes:
        rows[row][column] = value
    return pl.DataFrame(rows, schema=["feature", "sequence", "start", "end", "label"], orient="row")


def test_good_labels_pass():
    check_labels(spans(), tiny_dataset())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(0, 2, 0)], "empty or cover"),  # the document token
        ([(2, 3, 5)], "empty or cover"),  # padding
        ([(0, 3, 7)], "empty or cover"),  # beyond the sequence
        ([(0, 2, -1)], "empty or cover"),
        ([(1, 3, 2)], "empty or cover"),  # empty
        ([(1, 1, 0), (1, 2, 1), (1, 3, 6)], "twice"),
        ([(2, 4, False)], "no test positives"),
        ([(1, 4, True)], "no train negatives"),
    ],
)
def test_bad_labels_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        check_labels(spans(changes), tiny_dataset())


def test_labels_of_special_tokens_and_none_at_all_are_refused():
    with pytest.raises(DataError, match="special token"):
        check_labels(spans(), tiny_dataset(), special=(8,))
    with pytest.raises(DataError, match="no labels"):
        check_labels(spans().clear(), tiny_dataset())


def test_another_tokenizers_tokens_are_refused(tmp_path, folder):
    run(tmp_path, folder, collection=TEXT, n_ctx=48)
    smaller = make_tokenizer(tmp_path / "smaller", n_ids=258)
    config = DatasetConfig.model_validate({"corpus": "c", "collection": TEXT, "n_ctx": 48})
    with pytest.raises(DataError, match="another tokenizer"):
        label_features(
            config, smaller, tmp_path / "tokens", tmp_path / "sequences", tmp_path / "labels"
        )
