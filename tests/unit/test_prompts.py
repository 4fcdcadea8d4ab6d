"""Prompts: the probed token is the last one of the name, whatever the tokenizer does around it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.prompts import build_prompts, make_prompts
from artneuro.datasets.prompts_config import PromptConfig
from artneuro.datasets.tokenizer import load_tokenizer
from tests.tiny import make_tokenizer

NAMES = ["Paris", "Fenway Park", "Ångström", "東京", "St. John's", "  spaced", "Washington, D.C."]
SPECIAL = "<|endoftext|>"


def table(names=NAMES) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "entity": pl.Series(range(len(names)), dtype=pl.Int32),
            "name": names,
            "group": [f"g{i}" for i in range(len(names))],
            "split": ["train", "test"] * (len(names) // 2) + ["train"] * (len(names) % 2),
        }
    )


def save(backend: Tokenizer, folder: Path) -> Path:
    folder.mkdir(parents=True)
    backend.add_special_tokens([SPECIAL])
    backend.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def metaspace(folder: Path) -> Path:
    """As Llama 2 has it: a space is put in front of the text and is part of the next word."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace()
    text = ["Paris Fenway Park Washington, D.C. The place is St. John's"] * 3 + NAMES
    backend.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>"], show_progress=False)
    )
    return save(backend, folder)


def wordpiece(folder: Path) -> Path:
    """As BERT has it: text is normalised before it is split, accents and case go."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        [*NAMES, "What are the coordinates of it ?"],
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False),
    )
    return save(backend, folder)


@pytest.fixture(scope="module", params=["bytes", "metaspace", "wordpiece"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers") / request.param
    make = {"bytes": make_tokenizer, "metaspace": metaspace, "wordpiece": wordpiece}
    return load_tokenizer(make[request.param](folder))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"before": "What are the coordinates of "},
        {"after": "."},
        {"before": "(", "after": ")"},
        {"capitals": True, "before": "the "},
        {"random_tokens": 10, "before": "of "},
    ],
    ids=lambda v: "+".join(v) or "empty",
)
def test_the_probed_token_is_the_last_of_the_name(tokenizer, values):
    config = PromptConfig(**values)
    prompts = make_prompts(config, tokenizer, table())
    dataset = prompts.dataset
    sequences, labels = dataset.sequences, prompts.labels
    assert sequences["entity"].to_list() == list(range(len(NAMES)))
    for row, name in enumerate(NAMES):
        written = name.upper() if config.capitals else name
        text = config.before + written + config.after
        assert sequences["text"][row] == text
        # An independent reading: of the tokens with characters, the last that reaches into the
        # name's last character (tokenizers leave out white space, so of its last visible one).
        end = len(config.before) + len(written)
        starts, ends = dataset.starts[row], dataset.ends[row]
        with_text = [i for i in range(len(starts)) if starts[i] >= 0]
        expected = max(i for i in with_text if starts[i] < end)
        assert labels["start"][row] == expected
        assert labels["end"][row] == sequences["name_end"][row] == expected + 1
        assert ends[expected] == end or config.after
        first = sequences["name_start"][row]
        assert all(ends[i] <= len(config.before) for i in with_text if i < first)
        n_random = config.random_tokens
        assert sequences["n_tokens"][row] == 1 + n_random + len(with_text)
        assert dataset.tokens[row, 0] == tokenizer.document_token
        assert np.all(dataset.starts[row, : 1 + n_random] == -1)


def test_ids_are_those_of_the_text(tokenizer):
    prompts = make_prompts(PromptConfig(before="Where is ", after="?"), tokenizer, table())
    for row, text in enumerate(prompts.dataset.sequences["text"]):
        ids = tokenizer.backend.encode(text, add_special_tokens=False).ids
        found = prompts.dataset.tokens[row, 1 : 1 + len(ids)]
        assert found.tolist() == ids
        assert np.all(prompts.dataset.tokens[row, 1 + len(ids) :] == tokenizer.document_token)


def test_the_last_token_of_all_is_behind_the_name(tokenizer):
    prompts = make_prompts(PromptConfig(after=".", read="last"), tokenizer, table())
    sequences = prompts.dataset.sequences
    assert (prompts.labels["end"] == sequences["n_tokens"]).all()
    assert (prompts.labels["end"] > sequences["name_end"]).all()


def test_random_tokens_are_of_the_name_alone_and_never_special(tokenizer):
    config = PromptConfig(random_tokens=10)
    whole = make_prompts(config, tokenizer, table()).dataset
    backwards = make_prompts(config, tokenizer, table(NAMES[::-1])).dataset
    random = whole.tokens[:, 1:11]
    assert np.array_equal(random, backwards.tokens[::-1, 1:11])
    assert len(np.unique(random, axis=0)) == len(NAMES)
    assert not np.isin(random, tokenizer.special).any()
    other = make_prompts(PromptConfig(random_tokens=10, seed=1), tokenizer, table()).dataset
    assert not np.array_equal(random, other.tokens[:, 1:11])


def test_fewer_entities_are_some_of_more(tokenizer):
    names = [f"place {i}" for i in range(60)]
    few, more = (
        set(
            make_prompts(PromptConfig(max_entities=n), tokenizer, table(names))
            .dataset.sequences["entity"]
            .to_list()
        )
        for n in (20, 40)
    )
    assert (len(few), len(more)) == (20, 40)
    assert few < more
    # The choice belongs to names: other rows in front change nothing.
    later = make_prompts(PromptConfig(max_entities=20), tokenizer, table([*names][::-1]))
    assert {59 - e for e in later.dataset.sequences["entity"]} == few


def test_files_have_the_layout_of_token_datasets(tmp_path):
    folder = make_tokenizer(tmp_path / "tokenizer")
    write_table(table(), tmp_path / "entities.parquet")
    out = {k: tmp_path / f"{k}.parquet" for k in ("tokens", "sequences", "labels")}
    build_prompts(PromptConfig(), folder, tmp_path / "entities.parquet", **out)
    tokens, sequences = read_table(out["tokens"]), read_table(out["sequences"])
    assert tokens.columns == ["tokens", "starts", "ends"]
    assert tokens.height == sequences.height == read_table(out["labels"]).height == len(NAMES)
    assert set(sequences["split"]) == {"train", "test"}


def test_errors_name_the_entity(tokenizer):
    with pytest.raises(DataError, match="no entities"):
        make_prompts(PromptConfig(), tokenizer, table([]))
    with pytest.raises(DataError, match="gives no token"):
        make_prompts(PromptConfig(), tokenizer, table(["Paris", ""]))
    with pytest.raises(ValueError, match="the last token is the name's"):
        PromptConfig(read="last")
