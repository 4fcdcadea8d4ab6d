"""Token datasets: crops are runs of the documents' own tokens, chosen, split and seeded right."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError, ModelError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.crops import Piece, crop_pieces, pieces_of
from artneuro.datasets.tokenizer import (
    TextTokenizer,
    _make_fast,
    _read_saved,
    load_tokenizer,
)
from artneuro.datasets.tokens import build_tokens, make_token_dataset, read_token_dataset
from tests.tiny import SENTENCES, make_tokenizer

WORDS = " ".join(SENTENCES).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


def prose(seed: int, n_words: int) -> str:
    rng = np.random.default_rng(seed)
    return "".join(
        word + (" ", " ", " ", "\n", "\n\n", "  ")[rng.integers(6)]
        for word in rng.choice(WORDS, n_words)
    )


def corpus(
    classes=("de", "en", "el"), n_documents: int = 12, n_words: int = 120, first: int = 0
) -> pl.DataFrame:
    """Documents whose group is a page that every language has."""
    rows = [
        (f"{name}/{i}", "pages", "help", name, f"page{i}", f"{name} {i} {prose(i, n_words)}")
        for name in classes
        for i in range(first, first + n_documents)
    ]
    return pl.DataFrame(
        rows,
        schema=["document", "corpus", "subset", "language", "group", "text"],
        orient="row",
    )


def config(n: int = 8, n_ctx: int = 17, collection=None, **settings) -> DatasetConfig:
    chosen = {"kind": "natural_language", "sequences_per_class": n, **(collection or {})}
    return DatasetConfig.model_validate(
        {"corpus": "pages", "collection": chosen, "n_ctx": n_ctx, **settings}
    )


def contains(whole: list[int], run: list[int]) -> bool:
    return any(whole[i : i + len(run)] == run for i in range(len(whole) - len(run) + 1))


# Crops


awkward = st.text(
    st.one_of(
        st.sampled_from(list("aeZ09 .,\n\t\r-_é𝔸ß中\u00a0\u200d\u2028\ufffdα")),
        st.sampled_from(["😀", "\u0301", "🏳"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=300,
)


@settings(max_examples=250, deadline=None)
@given(text=awkward, n=st.integers(1, 12), seed=st.integers(0, 3), most=st.integers(1, 3))
def test_any_text_gives_runs_that_decode_to_their_characters(tokenizer, text, n, seed, most):
    pieces = pieces_of("doc", text, n, most, seed)
    assert sorted((p.start, p.stop) for p in pieces)[0][0] == 0
    crops = crop_pieces(tokenizer, pieces, n, seed)
    if text and most == 1:
        assert crops[0] is not None or n < 4  # a character may have more bytes than n tokens hold
    spans = []
    for crop in crops:
        if crop is None:
            continue
        assert 1 <= len(crop.encoded.ids) <= n
        characters = text[crop.char_start : crop.char_end]
        assert tokenizer.backend.decode(list(crop.encoded.ids)) == characters
        spans.append((crop.char_start, crop.char_end))
    for (_, end), (start, _) in itertools.pairwise(sorted(spans)):
        assert end <= start


@pytest.mark.parametrize("n", [4, 16, 64])
def test_crops_of_long_documents_are_runs_of_the_whole_documents_tokens(tokenizer, n):
    for seed in range(20):
        text = prose(seed, 3000)
        whole = tokenizer.encode([text])[0]
        (crop,) = crop_pieces(tokenizer, pieces_of(f"d{seed}", text, n, 1, 0), n, seed)
        assert len(crop.encoded.ids) == n
        at = int(np.flatnonzero(whole.starts == crop.char_start)[0])
        assert np.array_equal(whole.ids[at : at + n], crop.encoded.ids)
        assert np.array_equal(whole.starts[at : at + n], crop.encoded.starts)
        assert np.array_equal(whole.ends[at : at + n], crop.encoded.ends)


def test_crops_are_from_everywhere_in_a_document(tokenizer):
    text = prose(0, 2000)
    places = []
    for i in range(300):
        (crop,) = crop_pieces(tokenizer, pieces_of(f"d{i}", text, 16, 1, 0), 16, 0)
        places.append(crop.char_start / len(text))
    # Uniform on (0, 1): the standard error of the mean is 0.017, of a fifth's share 0.023.
    assert abs(np.mean(places) - 0.5) < 0.07
    shares = np.histogram(places, bins=5, range=(0, 1))[0] / 300
    assert np.all(np.abs(shares - 0.2) < 0.1)


def test_crops_from_the_start_begin_with_the_document(tokenizer):
    text = prose(3, 2000)
    (crop,) = crop_pieces(tokenizer, pieces_of("d", text, 32, 1, 0), 32, 9, "start")
    assert crop.char_start == 0
    assert np.array_equal(crop.encoded.ids, tokenizer.encode([text])[0].ids[:32])


@dataclass(frozen=True)
class Counting(TextTokenizer):
    """Counts the characters that it is given."""

    lengths: list[int] = field(default_factory=list)

    def encode(self, texts):
        self.lengths.extend(len(text) for text in texts)
        return super().encode(texts)


def test_long_documents_are_not_tokenized_whole(tokenizer):
    counting = Counting(tokenizer.backend, tokenizer.document_token, tokenizer.special)
    text = prose(1, 50_000)
    assert len(text) > 200_000
    (crop,) = crop_pieces(counting, pieces_of("d", text, 64, 1, 0), 64, 0)
    assert len(crop.encoded.ids) == 64
    assert sum(counting.lengths) < 4000


def test_windows_widen_where_tokens_are_long(tmp_path):
    # With words of 60 letters as one token, 8 characters a token are far too few.
    word = "w" * 60
    backend = PreTrainedTokenizerFast.from_pretrained(make_tokenizer(tmp_path)).backend_tokenizer
    backend.add_tokens([word])
    backend.post_processor = None
    counting = Counting(backend, 0, (0,))
    text = " ".join([word] * 200)
    (crop,) = crop_pieces(counting, pieces_of("d", text, 20, 1, 0), 20, 0)
    assert len(crop.encoded.ids) == 20
    assert len(counting.lengths) > 1
    assert backend.decode(list(crop.encoded.ids)) == text[crop.char_start : crop.char_end]


def test_short_documents_give_runs_from_anywhere_too(tokenizer):
    text = "The quick brown fox jumps over the lazy dog, and the dog sleeps on."
    n = len(tokenizer.encode([text])[0].ids)
    starts = set()
    for i in range(400):
        (crop,) = crop_pieces(tokenizer, pieces_of(f"d{i}", text, n - 5, 1, 0), n - 5, 0)
        starts.add(crop.char_start)
    assert len(starts) == 6


def test_no_run_begins_or_ends_within_a_character(tokenizer):
    # The space before a Greek word and the first byte of its first letter are one token.
    text = "και η αλεπού πηδάει πάνω από τον τεμπέλη σκύλο " * 40
    whole = tokenizer.encode([text])[0]
    joined = (whole.starts[1:] < whole.ends[:-1]) & (whole.ends[:-1] - whole.starts[:-1] > 1)
    assert joined.any()
    for i in range(150):
        for crop_from in ("random", "start"):
            piece = Piece(f"d{i}", 0, text, i, len(text) - i)
            (crop,) = crop_pieces(tokenizer, [piece], 9, 0, crop_from)
            characters = text[crop.char_start : crop.char_end]
            assert tokenizer.backend.decode(list(crop.encoded.ids)) == characters
            assert i <= crop.char_start < crop.char_end <= len(text) - i


# Datasets


def test_the_document_token_is_first_and_padding_last(tokenizer):
    short = corpus(n_words=6)
    dataset = make_token_dataset(config(n_ctx=65, min_tokens=3), tokenizer, short)
    n_tokens = dataset.sequences["n_tokens"].to_numpy()
    assert dataset.tokens.dtype == np.int32
    assert dataset.tokens.shape == (24, 65)
    assert np.all(dataset.tokens[:, 0] == tokenizer.document_token)
    assert n_tokens.max() < 65
    texts = dict(short.select("document", "text").iter_rows())
    for row, sequence in enumerate(dataset.sequences.iter_rows(named=True)):
        n = sequence["n_tokens"]
        characters = texts[sequence["document"]][sequence["char_start"] : sequence["char_end"]]
        assert sequence["sequence"] == row
        assert sequence["n_prefix"] == 1
        assert sequence["text"] == characters == texts[sequence["document"]]
        assert tokenizer.backend.decode(list(dataset.tokens[row, 1:n])) == characters
        assert tokenizer.document_token not in dataset.tokens[row, 1:n]
        assert set(dataset.tokens[row, n:]) <= {tokenizer.document_token}
        assert dataset.starts[row, 0] == -1
        assert np.all(dataset.ends[row, n:] == -1)
        assert dataset.starts[row, 1] == sequence["char_start"]
        assert dataset.ends[row, n - 1] == sequence["char_end"]


def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer):
    text = "one <|endoftext|> two"
    (encoded,) = tokenizer.encode([text])
    assert tokenizer.document_token not in encoded.ids
    assert tokenizer.backend.decode(list(encoded.ids)) == text


def test_classes_are_equally_large_and_the_split_is_by_page(tokenizer):
    dataset = make_token_dataset(config(n=10), tokenizer, corpus())
    sequences = dataset.sequences
    assert sequences["language"].value_counts()["count"].to_list() == [10, 10, 10]
    pages = sequences.group_by("group").agg(pl.col("split").n_unique())
    assert pages["split"].max() == 1
    shares = sequences.filter(pl.col("split") == "test")["language"].value_counts()
    assert shares["count"].to_list() == [3, 3, 3]
    # Translations of one page are taken together: 10 pages in all rather than up to 12.
    assert sequences["group"].n_unique() == 10


def test_one_document_of_each_group_comes_before_a_second_of_any(tokenizer):
    # Ten authors, one of them with 50 documents.
    table = corpus(("x", "y"), n_documents=60).with_columns(
        pl.format("author{}", pl.col("group").str.slice(4).cast(pl.Int32).clip(0, 9)).alias("group")
    )
    dataset = make_token_dataset(config(n=10), tokenizer, table)
    for part in dataset.sequences.partition_by("language"):
        assert part["group"].n_unique() == 10


def test_adding_documents_leaves_the_crops_of_others_alone(tokenizer):
    few, many = corpus(n_documents=10), corpus(n_documents=30)
    first = make_token_dataset(config(n=10), tokenizer, few)
    second = make_token_dataset(config(n=30), tokenizer, many)
    spans = {
        row["document"]: (row["char_start"], row["char_end"])
        for row in second.sequences.iter_rows(named=True)
    }
    for row in first.sequences.iter_rows(named=True):
        assert spans[row["document"]] == (row["char_start"], row["char_end"])


def test_the_order_of_documents_does_not_matter_and_the_seed_does(tokenizer):
    table = corpus(n_documents=30)
    first = make_token_dataset(config(), tokenizer, table)
    shuffled = make_token_dataset(
        config(), tokenizer, table.sample(fraction=1, shuffle=True, seed=1)
    )
    other = make_token_dataset(config(seed=1), tokenizer, table)
    assert np.array_equal(first.tokens, shuffled.tokens)
    assert first.sequences.equals(shuffled.sequences)
    assert set(first.sequences["document"]) != set(other.sequences["document"])


def test_a_document_may_give_several_sequences_in_one_split(tokenizer):
    table = corpus(n_documents=5, n_words=400)
    dataset = make_token_dataset(config(n=12, max_document_sequences=4), tokenizer, table)
    assert len(dataset.sequences) == 36
    by_document = dataset.sequences.sort("document", "char_start").partition_by("document")
    assert {len(part) for part in by_document} == {2, 3}
    for part in by_document:
        assert part["split"].n_unique() == 1
        assert (part["char_end"][:-1] <= part["char_start"][1:]).all()


def test_the_same_inputs_give_the_same_bytes(tmp_path, folder):
    write_table(corpus(), tmp_path / "documents.parquet")
    for name in ("a", "b"):
        build_tokens(
            config(), folder, tmp_path / "documents.parquet",
            tmp_path / f"{name}.tokens", tmp_path / f"{name}.sequences",
        )  # fmt: skip
    for kind in ("tokens", "sequences"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    dataset = read_token_dataset(tmp_path / "a.tokens", tmp_path / "a.sequences")
    assert dataset.tokens.shape == dataset.starts.shape == dataset.ends.shape == (24, 17)
    assert dataset.tokens.dtype == np.int32


def test_repeated_texts_are_left_out(tokenizer):
    table = corpus(("x", "y"), n_documents=12)
    copies = table.filter(pl.col("document").is_in(["x/0", "x/1"])).with_columns(
        pl.concat_str("document", pl.lit("-copy")).alias("document")
    )
    # A copy in another class contradicts its original: both go.
    foreign = table.filter(pl.col("document") == "x/2").with_columns(
        pl.lit("y/x2").alias("document"), pl.lit("y").alias("language")
    )
    dataset = make_token_dataset(
        config(n=11, collection={"missing_classes": "leave_out"}),
        tokenizer,
        pl.concat([table, copies, foreign]),
    )
    found = set(dataset.sequences["document"])
    assert found >= {"x/0", "x/1"}
    assert not found & {"x/0-copy", "x/1-copy", "x/2", "y/x2"}


def test_documents_without_a_class_are_not_used(tokenizer):
    table = corpus(("x", "y"), n_documents=12)
    none = corpus(("z",)).with_columns(pl.lit(None, dtype=pl.String).alias("language"))
    dataset = make_token_dataset(config(), tokenizer, pl.concat([table, none]))
    assert set(dataset.sequences["language"]) == {"x", "y"}


def test_the_class_of_a_data_subset_is_its_subset(tokenizer):
    table = corpus(("x", "y")).with_columns(pl.col("language").alias("subset"))
    chosen = {"kind": "data_subset", "skip_tokens": 3}
    dataset = make_token_dataset(
        config(collection=chosen), tokenizer, table.with_columns(pl.lit("en").alias("language"))
    )
    assert sorted(dataset.sequences["subset"].value_counts().iter_rows()) == [("x", 8), ("y", 8)]


# Errors


def test_too_few_documents_are_named_and_counted(tokenizer):
    table = pl.concat([corpus(("x", "y"), n_documents=12), corpus(("rare",), n_documents=3)])
    classes = {"classes": ["x", "y", "rare"]}
    with pytest.raises(DataError, match=r"'rare': 3 sequences .* from 3 documents, 8 needed"):
        make_token_dataset(config(collection=classes), tokenizer, table)
    for left_out in (classes | {"missing_classes": "leave_out"}, {}):
        dataset = make_token_dataset(config(collection=left_out), tokenizer, table)
        assert set(dataset.sequences["language"]) == {"x", "y"}
    with pytest.raises(DataError, match="too few documents"):
        make_token_dataset(config(n=50), tokenizer, table)


def test_unknown_classes_are_named(tokenizer):
    with pytest.raises(DataError, match=r"Klingon; it has: de, el, en"):
        make_token_dataset(config(collection={"classes": ["de", "Klingon"]}), tokenizer, corpus())


def test_an_empty_corpus_is_an_error(tokenizer):
    with pytest.raises(DataError, match="no documents"):
        make_token_dataset(config(), tokenizer, corpus().clear())


def test_documents_that_occur_twice_are_an_error(tokenizer):
    table = corpus()
    with pytest.raises(DataError, match=r"2 documents .* 'de/0'"):
        make_token_dataset(config(), tokenizer, pl.concat([table, table[:2]]))


def test_documents_that_are_all_too_short_are_an_error(tokenizer):
    chosen = {"collection": {"kind": "text_features"}, "n_ctx": 500}
    with pytest.raises(DataError, match="no document has 500 tokens"):
        make_token_dataset(
            DatasetConfig.model_validate({"corpus": "pages", **chosen}),
            tokenizer,
            corpus(n_words=9),
        )


@pytest.mark.parametrize(
    "wrong",
    [{"n_ctx": 50, "min_tokens": 51}, {"n_ctx": 20, "collection": {"skip_tokens": 20}}],
)
def test_lengths_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValidationError, match=r"n_ctx|skip_tokens"):
        config(**wrong)


# The document token


def saved(folder, change, **declared):
    """Save the tiny tokenizer after `change(backend)`, with other declared tokens."""
    base = PreTrainedTokenizerFast.from_pretrained(make_tokenizer(folder / "base"))
    change(base.backend_tokenizer)
    other = PreTrainedTokenizerFast(tokenizer_object=base.backend_tokenizer, **declared)
    other.save_pretrained(folder / "changed")
    return folder / "changed"


def test_what_the_tokenizer_puts_first_is_the_document_token(tmp_path):
    def template(backend):
        backend.add_special_tokens(["<s>"])
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )

    folder = saved(tmp_path, template, bos_token="<s>", eos_token="<|endoftext|>")
    tokenizer = load_tokenizer(folder)
    assert tokenizer.backend.id_to_token(tokenizer.document_token) == "<s>"
    assert tokenizer.document_token not in tokenizer.encode(["<s> text"])[0].ids


@pytest.mark.parametrize("bos", [None, "<s>"])
def test_a_saved_tokenizer_is_what_transformers_makes_of_it(tmp_path, bos):
    folder = saved(tmp_path, lambda backend: None, bos_token=bos, eos_token="<|endoftext|>")
    found, first, last = _read_saved(folder)
    expected, *named = _make_fast(folder)
    assert found.to_str() == expected.to_str()
    assert [first, last] == named


def test_a_class_that_changes_the_saved_tokenizer_is_left_to_transformers(folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    declared = tmp_path / "tokenizer_config.json"
    config = json.loads(declared.read_text())
    declared.write_text(json.dumps({**config, "tokenizer_class": "GPT2Tokenizer"}))
    assert _read_saved(tmp_path) is None
    found, expected = load_tokenizer(tmp_path), load_tokenizer(folder)
    assert found.backend.get_vocab() == expected.backend.get_vocab()


def test_the_end_of_text_comes_before_a_chat_marker(tmp_path):
    folder = saved(
        tmp_path,
        lambda backend: backend.add_special_tokens(["<|im_start|>", "<|im_end|>"]),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
    )
    assert load_tokenizer(folder).document_token == 0
    chosen = load_tokenizer(folder, "<|im_end|>")
    assert chosen.backend.id_to_token(chosen.document_token) == "<|im_end|>"
    with pytest.raises(ModelError, match=r"'<bos>'; it has: .*<\|im_start\|>"):
        load_tokenizer(folder, "<bos>")


def test_the_end_of_sequence_serves_where_there_is_no_other(tmp_path):
    tokenizer = load_tokenizer(make_tokenizer(tmp_path, special="</s>"))
    assert tokenizer.backend.id_to_token(tokenizer.document_token) == "</s>"


def test_a_tokenizer_without_any_such_token_is_an_error(tmp_path):
    base = PreTrainedTokenizerFast.from_pretrained(make_tokenizer(tmp_path / "a", special="[X]"))
    PreTrainedTokenizerFast(tokenizer_object=base.backend_tokenizer).save_pretrained(tmp_path / "b")
    with pytest.raises(ModelError, match="no token to put before a document"):
        load_tokenizer(tmp_path / "b")


def test_a_missing_tokenizer_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer folder"):
        load_tokenizer(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no tokenizer files"):
        load_tokenizer(tmp_path / "empty")
