"""The truth of every token agrees with each sampled label, and goes beyond them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_latex import documents as latex_documents
from test_linguistics import treebank

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents
from artneuro.datasets.labels import label_features
from artneuro.datasets.tokenizer import TextTokenizer, load_tokenizer
from artneuro.datasets.tokens import TokenDataset, build_tokens, read_token_dataset
from artneuro.probing.token_truth import is_known_everywhere, take_sequences, token_truth
from tests.tiny import SENTENCES, make_tokenizer

COLLECTIONS = {
    "text_features": {"kind": "text_features", "min_frequency": 0.01, "skip_tokens": 2},
    "natural_language": {"kind": "natural_language", "sequences_per_class": 8},
    "latex": {"kind": "latex", "min_positives": 3},
    "linguistics": {
        "kind": "linguistics", "max_samples_per_feature": 300, "min_positives": 4,
        "collections": ["part_of_speech", "morphology"],
    },
    "compound_words": {"kind": "compound_words", "words": ["brown fox"], "max_conditional": 0.9},
}  # fmt: skip


def prose(path: Path) -> None:
    """Sentences in two languages, with a compound word and both of its halves."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        words = rng.permutation(["brown fox", "brown dog", "red fox", "12 monkeys", "NASA"] * 3)
        text = " ".join([SENTENCES[i % 2], *words, SENTENCES[2 + i % 4]])
        rows.append((f"d{i}", "c", "s", ["English", "German"][i % 2], f"g{i}", text))
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    write_table(pl.DataFrame(rows, schema=schema, orient="row"), path)


@pytest.fixture(scope="module", params=COLLECTIONS)
def made(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    folder = make_tokenizer(path / "tokenizer")
    if request.param == "latex":
        write_table(latex_documents(), path / "documents")
    elif request.param == "linguistics":
        (path / "t.conllu").write_text(treebank(60, 8))
        part = {"reader": "conllu", "subset": "s", "path": str(path / "t.conllu"), "min_chars": 1}
        read_documents(CorpusConfig.model_validate({"parts": [part]}), {}, path / "documents", "c")
    else:
        prose(path / "documents")
    width = 24 if request.param == "compound_words" else 48
    config = DatasetConfig.model_validate(
        {"corpus": "c", "collection": COLLECTIONS[request.param], "n_ctx": width}
        | ({"max_document_sequences": 9} if request.param == "compound_words" else {})
    )
    build_tokens(config, folder, path / "documents", path / "tokens", path / "sequences")
    label_features(config, folder, path / "tokens", path / "sequences", path / "labels")
    dataset = read_token_dataset(path / "tokens", path / "sequences")
    return config, load_tokenizer(folder), dataset, read_table(path / "labels")


Made = tuple[DatasetConfig, TextTokenizer, TokenDataset, pl.DataFrame]


def test_it_says_what_every_label_says(made: Made):
    config, tokenizer, dataset, labels = made
    features = list(labels.select("collection", "feature").unique().sort("feature").iter_rows())
    truth = token_truth(config, tokenizer, dataset, labels, features)
    assert set(truth) == set(features)
    covered = {feature: np.zeros(dataset.tokens.shape, dtype=bool) for feature in features}
    for collection, feature, sequence, start, end, label in labels.iter_rows():
        state = truth[collection, feature]
        assert state.dtype == np.int8
        assert np.all(state[sequence, start:end] == label), (feature, sequence, start)
        covered[collection, feature][sequence, start:end] = True
    text = dataset.labelled(0)
    for feature, state in truth.items():
        assert set(np.unique(state)) <= {-1, 0, 1}
        assert np.all(state[~text] == -1)
        further = (state >= 0) & ~covered[feature]
        if config.collection.kind in ("text_features", "latex", "linguistics"):
            assert further.any()
        else:
            # Here labels cover everything that is known.
            assert not further.any()
    assert is_known_everywhere(config) == (config.collection.kind != "compound_words")


def test_chosen_sequences_keep_their_truth(made: Made):
    config, tokenizer, dataset, labels = made
    features = list(labels.select("collection", "feature").unique().iter_rows())
    truth = token_truth(config, tokenizer, dataset, labels, features)
    chosen = np.arange(1, len(dataset.tokens), 3)
    renumbered = labels.with_columns(
        pl.col("sequence").replace_strict(
            {int(old): new for new, old in enumerate(chosen)}, default=None, return_dtype=pl.Int32
        )
    ).drop_nulls("sequence")
    part = take_sequences(dataset, chosen)
    found = token_truth(config, tokenizer, part, renumbered, features)
    for feature in features:
        assert np.array_equal(found[feature], truth[feature][chosen])


def test_unknown_features_are_refused(made: Made):
    config, tokenizer, dataset, labels = made
    if config.collection.kind != "natural_language":
        with pytest.raises(DataError, match="'gone'"):
            token_truth(config, tokenizer, dataset, labels, [("x", "gone")])
