"""Texts: every token of whole documents once, held-out groups apart, in a seeded order."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artneuro.config import load_config
from artneuro.core.artifacts import write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.core.holdout import held_out
from artneuro.datasets.text_config import TextConfig
from artneuro.datasets.texts import build_text, cut, make_text
from artneuro.datasets.tokenizer import Encoded, load_tokenizer
from artneuro.datasets.tokens import read_token_dataset
from artneuro.datasets.words import WORDS_TYPE, Word, as_records, from_records
from tests.tiny import SENTENCES, make_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


def documents(n: int = 40) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    texts = [f"{i}. " + " ".join(rng.choice(SENTENCES, rng.integers(1, 6))) for i in range(n)]
    return pl.DataFrame(
        {
            "document": [f"d{i}" for i in range(n)],
            "corpus": "prose",
            "subset": "tales",
            "language": "English",
            "group": [f"author{i // 2}" for i in range(n)],
            "text": texts,
        }
    )


def config(**values) -> TextConfig:
    return TextConfig.model_validate({"corpus": "prose", "n_ctx": 16, **values})


def test_held_out_share_is_nested_and_depends_on_the_name_alone():
    groups = [f"group {i}" for i in range(20_000)]
    small, large = held_out(groups, 0.1), held_out(groups, 0.3)
    assert abs(small.mean() - 0.1) < 0.01
    assert abs(large.mean() - 0.3) < 0.015
    assert not np.any(small & ~large)
    assert np.array_equal(held_out(reversed(groups), 0.1), small[::-1])


def test_every_token_of_every_document_is_there_once(tokenizer):
    table = documents()
    text = make_text(config(), tokenizer, table)
    sequences = text.sequences
    for name, whole in table.select("document", "text").iter_rows():
        rows = sequences.filter(pl.col("document") == name).sort("char_start")
        found = np.concatenate(
            [text.tokens[s, 1:n] for s, n in rows.select("sequence", "n_tokens").iter_rows()]
        )
        # min_tokens is 2, so that no end is left out.
        assert found.tolist() == tokenizer.encode([whole])[0].ids.tolist()
        assert "".join(rows["text"]) == whole
    assert np.all(text.tokens[:, 0] == tokenizer.document_token)
    padding = np.arange(16) >= sequences["n_tokens"].to_numpy()[:, None]
    assert np.all(text.tokens[padding] == tokenizer.document_token)
    assert np.all(text.starts[padding] == -1)
    assert np.all(text.ends[:, 0] == -1)


def test_characters_of_tokens_are_those_of_the_document(tokenizer):
    table = documents()
    text = make_text(config(), tokenizer, table)
    whole = dict(table.select("document", "text").iter_rows())
    strings = tokenizer.strings()
    for row, document in enumerate(text.sequences["document"]):
        for position in range(1, text.sequences["n_tokens"][row]):
            said = strings[text.tokens[row, position]]
            a, b = text.starts[row, position], text.ends[row, position]
            if "\ufffd" not in said:
                assert whole[document][a:b] == said


def test_splits_share_no_group_and_make_up_the_whole(tokenizer):
    table = documents()
    parts = {
        split: make_text(config(split=split, held_out=0.3), tokenizer, table).sequences
        for split in ("train", "held_out", "all")
    }
    groups = {name: set(part["group"]) for name, part in parts.items()}
    assert groups["train"].isdisjoint(groups["held_out"])
    assert groups["train"] | groups["held_out"] == groups["all"]
    names = sorted(groups["all"])
    assert groups["held_out"] == {n for n, h in zip(names, held_out(names, 0.3), strict=True) if h}
    assert set(parts["held_out"]["split"]) == {"test"}
    both = parts["all"]
    assert set(both.filter(pl.col("split") == "test")["group"]) == groups["held_out"]


def test_more_tokens_add_to_fewer(tokenizer):
    table = documents()
    small = make_text(config(max_tokens=200), tokenizer, table)
    large = make_text(config(max_tokens=600), tokenizer, table)
    n = len(small.tokens)
    assert np.array_equal(large.tokens[:n], small.tokens)
    content = (small.sequences["n_tokens"] - 1).sum()
    assert 200 - 15 < content <= 200
    again = make_text(config(max_tokens=200), tokenizer, table.reverse())
    assert np.array_equal(again.tokens, small.tokens)
    other = make_text(config(max_tokens=200, seed=1), tokenizer, table)
    assert other.sequences["document"].to_list() != small.sequences["document"].to_list()


def test_repeated_texts_are_read_once_and_short_ends_left_out(tokenizer):
    table = documents()
    twice = pl.concat([table, table.with_columns(pl.col("document") + "copy")])
    once = make_text(config(), tokenizer, table)
    assert make_text(config(), tokenizer, twice).tokens.shape == once.tokens.shape
    long = make_text(config(min_tokens=10), tokenizer, table).sequences["n_tokens"]
    assert long.min() >= 10
    assert len(long) == (once.sequences["n_tokens"] >= 10).sum()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 9))
def test_cut_keeps_every_token_and_characters_whole(bytes_each, most):
    # Each character is as many tokens as it has bytes.
    character = np.repeat(np.arange(len(bytes_each)), bytes_each)
    ids = np.arange(len(character), dtype=np.int32)
    runs = list(cut(Encoded(ids, character, character + 1), most))
    assert np.concatenate([run.ids for run in runs]).tolist() == ids.tolist()
    assert max(len(run.ids) for run in runs) <= most
    for run, after in itertools.pairwise(runs):
        if max(bytes_each) <= most:
            assert after.starts[0] >= run.ends[-1]


def test_build_text_reads_back_with_words(tmp_path, folder, tokenizer):
    table = documents(6)
    words = [
        as_records([Word(0, 2, "NUM", "root", "", False), Word(3, 6, "DET", "det", None, True)])
    ] * len(table)
    annotated = table.with_columns(pl.Series("words", words, dtype=WORDS_TYPE))
    write_table(annotated, tmp_path / "documents.parquet")
    paths = tmp_path / "tokens.parquet", tmp_path / "sequences.parquet"
    build_text(config(words=True), folder, tmp_path / "documents.parquet", *paths)
    text = read_token_dataset(*paths)
    plain = make_text(config(), tokenizer, table)
    assert np.array_equal(text.tokens, plain.tokens)
    for start, found in text.sequences.select("char_start", "words").iter_rows():
        assert [w.upos for w in from_records(found)] == (["NUM", "DET"] if start == 0 else [])


def test_errors_say_what_to_do(tokenizer):
    table = documents(4)
    bare = table.with_columns(pl.lit(None, dtype=WORDS_TYPE).alias("words"))
    with pytest.raises(DataError, match="annotated"):
        make_text(config(words=True), tokenizer, bare)
    with pytest.raises(DataError, match="no documents of the split"):
        make_text(config(split="held_out", held_out=1e-9), tokenizer, table)
    with pytest.raises(DataError, match="gives 2 tokens"):
        make_text(config(max_tokens=1), tokenizer, table)
    with pytest.raises(ValueError, match="above n_ctx"):
        config(min_tokens=17)


def test_a_text_of_an_unknown_corpus_is_an_error(tmp_path):
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "sources.yaml").write_text("sources: {}\n")
    with pytest.raises(ConfigError, match=r"texts\.prose\.corpus: there is no 'nowhere'"):
        load_config({"texts": {"prose": {"corpus": "nowhere"}}}, tmp_path)
