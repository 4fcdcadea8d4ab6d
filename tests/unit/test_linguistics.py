"""Linguistic labels: words aligned with tokens, contrasts within classes, shares and splits."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.datasets.alignment import align
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents
from artneuro.datasets.labels import label_features
from artneuro.datasets.linguistics import (
    FeatureWords,
    TokenTable,
    WordTable,
    feature_tokens,
    feature_words,
    label_linguistics,
)
from artneuro.datasets.linguistics_config import FEATURES
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.datasets.tokens import TokenDataset, build_tokens, read_token_dataset
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


# Alignment


def spans_of(pieces: list[str], text: str) -> tuple[np.ndarray, np.ndarray]:
    """Characters of pieces that follow each other in a text, with white space between some."""
    starts, position = [], 0
    for piece in pieces:
        starts.append(text.index(piece, position))
        position = starts[-1] + len(piece)
    start = np.array(starts, dtype=np.int64)
    return start, start + np.array([len(piece) for piece in pieces], dtype=np.int64)


def aligned(tokens: list[str], words: list[str], rule) -> list[tuple[str, list[str]]]:
    """The tokens that stand for words, and the words that they have characters of."""
    text = "".join(tokens)
    found = align(*spans_of(tokens, text), *spans_of(words, text), rule)
    return [
        (token, words[a:b])
        for token, a, b, chosen in zip(tokens, found.first, found.stop, found.chosen, strict=True)
        if chosen
    ]


@pytest.mark.parametrize(
    ("tokens", "words", "last", "first"),
    [
        (["I", " don", "'t", " know", "."], ["I", "do", "n't", "know", "."],
         ["I", " don", "'t", " know", "."], ["I", " don", " know", "."]),
        ([" can", "not"], ["can", "not"], [" can", "not"], [" can", "not"]),
        ([" cannot"], ["can", "not"], [" cannot"], [" cannot"]),
        (["go", ".\"", "\n\n", "“", "No"], ["go", ".", '"', "“", "No"],
         ["go", ".\"", "“", "No"], ["go", ".\"", "“", "No"]),
        ([" un", "believ", "able", " ", " day"], ["unbelievable", "day"],
         ["able", " day"], [" un", " day"]),
        (["naïve", " ", "中", "国"], ["naïve", "中国"], ["naïve", "国"], ["naïve", "中"]),
        (["  ", "\t", " x"], ["x"], [" x"], [" x"]),
        (["1", " 0", "00"], ["1 000"], ["00"], ["1"]),
    ],
)  # fmt: skip
def test_tokens_that_stand_for_awkward_words(tokens, words, last, first):
    assert [token for token, _ in aligned(tokens, words, "last")] == last
    assert [token for token, _ in aligned(tokens, words, "first")] == first
    every = [token for token, _ in aligned(tokens, words, "all")]
    assert every == [t for t in tokens if t.strip() or "1 000" in words]


def test_words_of_a_token_are_all_that_it_has_characters_of():
    tokens, words = ["I", " don", "'t.\""], ["I", "do", "n't", ".", '"']
    assert aligned(tokens, words, "last") == [
        ("I", ["I"]), (" don", ["do", "n't"]), ("'t.\"", ["n't", ".", '"']),
    ]  # fmt: skip


def test_tokens_of_one_character_and_words_without_a_border():
    # An emoji of three tokens, and French "du", whose two words have the same characters.
    found = align(
        np.array([0, 0, 0, 1]), np.array([1, 1, 1, 4]), np.array([0, 2, 2]), np.array([1, 4, 4])
    )
    assert found.chosen.tolist() == [False, False, True, True]
    assert (found.first[3], found.stop[3]) == (1, 3)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=8),
    st.integers(0, 3),
    st.sampled_from(["first", "last", "all"]),
)
def test_alignment_agrees_with_brute_force(sizes, gaps, offset, rule):
    edges = offset + np.concatenate([[0], np.cumsum(sizes)])
    token_start, token_end = edges[:-1], edges[1:]
    words, position = [], 0
    for gap, size in gaps:
        words.append((position + gap, position + gap + size))
        position += gap + size
    tokens = [set(range(a, b)) for a, b in zip(token_start, token_end, strict=True)]
    characters = [set(range(a, b)) for a, b in words]
    expected = set()
    for word in characters:
        own = [i for i, token in enumerate(tokens) if token & word]
        expected |= set({"first": own[:1], "last": own[-1:], "all": own}[rule])
    found = align(token_start, token_end, *np.array(words).T, rule)
    assert set(np.flatnonzero(found.chosen)) == expected
    for i, token in enumerate(tokens):
        touched = [j for j, word in enumerate(characters) if token & word]
        assert list(range(found.first[i], found.stop[i])) == touched


AWKWARD = (
    "“Don't”, she said—I can't; we cannot… It's 3.5% (of $1,000)!  \n\n\tThe café's naïve "
    "coöperation: 中国 and 😀👍🏽 at www.x.org/a?b=1 …\u00a0A.B. isn’t ‘quoted’ e\u0301lan"
)


@pytest.mark.parametrize("rule", ["first", "last", "all"])
def test_a_real_tokenizer_on_awkward_text(folder, rule):
    encoded = load_tokenizer(folder).encode([AWKWARD])[0]
    words = [m.span() for m in re.finditer(r"n['’]t|(?:(?!n['’]t)\w)+|[^\w\s]", AWKWARD)]
    found = align(encoded.starts, encoded.ends, *np.array(words).T, rule)
    stands_for = {i: range(found.first[i], found.stop[i]) for i in np.flatnonzero(found.chosen)}
    # Every word has its token, and nothing that stands for a word is white space alone.
    assert {j for touched in stands_for.values() for j in touched} == set(range(len(words)))
    for i, touched in stands_for.items():
        token = AWKWARD[encoded.starts[i] : encoded.ends[i]]
        assert token.strip()
        covered = "".join(AWKWARD[slice(*words[j])] for j in touched)
        assert token.strip() in covered or rule == "all"


# Features of words


def table(rows: list[tuple], sequence=None, cut=()) -> WordTable:
    """A table of words (upos, deprel, feats, sentence_end) that follow one another."""
    n = len(rows)
    columns = [np.array([row[i] for row in rows], dtype=object) for i in range(3)]
    return WordTable(
        np.array(sequence if sequence is not None else [0] * n),
        np.arange(n) * 2,
        np.arange(n) * 2 + 1,
        *columns,
        np.array([row[3] for row in rows], dtype=bool),
        np.isin(np.arange(n), cut),
    )


WORDS = [
    ("DET", "det", "Definite=Def|PronType=Art", False),
    ("NOUN", "nsubj:pass", "Number=Plur", False),
    ("AUX", "aux:pass", "Mood=Ind|Number=Plur|Tense=Past|VerbForm=Fin", False),
    ("VERB", "root", "Tense=Past|VerbForm=Part|Voice=Pass", False),
    ("NOUN", "obl:unmarked", "Number=Sing", False),
    ("PUNCT", "punct", "", True),
    ("VERB", "root", "Mood=Imp|VerbForm=Fin", False),
    ("PRON", "obj", "Gender=Fem|Number=Sing|Person=3|PronType=Int,Rel", False),
    (None, None, None, False),
    ("NUM", "obl", "NumType=Card", True),
]
MASKS = {name: words for _, name, words in feature_words(table(WORDS))}


def members(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("name", "positive", "negative"),
    [
        ("NOUN", [1, 4], [0, 2, 3, 5, 6, 7, 9]),
        ("PUNC", [5], [0, 1, 2, 3, 4, 6, 7, 9]),
        ("obl", [9], [0, 1, 2, 3, 5, 6, 7]),  # another subtype of obl is neither
        ("nsubj", [], [0, 2, 3, 4, 5, 6, 7, 9, 1]),  # nsubj:pass is a feature of its own
        ("aux:pass", [2], [0, 1, 3, 4, 5, 6, 7, 9]),
        ("Number_Plur", [1, 2], [4, 7]),
        ("Tense_Past", [2, 3], []),
        ("Mood_Imp", [6], [2]),
        ("VerbForm_Fin", [2, 6], [3]),
        ("Voice_Pass", [3], [6]),
        ("PronType_Int", [7], [0]),
        ("PronType_Rel", [7], [0]),
        ("NumType_Card", [9], [0, 1, 2, 3, 4, 5, 6, 7]),
        ("eos_True", [5, 9], [0, 1, 2, 3, 4, 6, 7, 8]),
        ("first_eos_True", [5], [9]),
    ],
)
def test_words_in_and_out_of_a_feature(name, positive, negative):
    assert members(MASKS[name].positive) == positive
    assert members(MASKS[name].negative) == sorted(negative)


def test_the_first_end_is_that_of_each_sequence():
    words = table(WORDS[:6] + WORDS[:6] + WORDS[5:6], sequence=[0] * 6 + [1] * 7)
    (found,) = (f for _, name, f in feature_words(words) if name == "first_eos_True")
    assert members(found.positive) == [5, 11]
    assert members(found.negative) == [12]


def test_all_features_of_the_table_are_there():
    # Counted in table A.2.
    assert {name: len(names) for name, names in FEATURES.items()} == {
        "part_of_speech": 16, "dependencies": 29, "morphology": 22,
    }  # fmt: skip
    assert [(c, n) for c, n, _ in feature_words(table(WORDS))] == [
        (collection, name) for collection, names in FEATURES.items() for name in names
    ]


def test_tokens_of_several_words_count_where_all_agree():
    words = table(WORDS[:6], cut=[0])
    tokens = TokenTable(
        *(np.zeros(5, dtype=int),) * 2, np.array([0, 1, 2, 4, 5]), np.array([1, 3, 4, 6, 6])
    )
    feature = FeatureWords(
        np.array([1, 1, 0, 0, 0, 1], dtype=bool), np.array([0, 0, 1, 1, 1, 0], dtype=bool)
    )
    # Cut, mixed, two negatives, mixed, one positive.
    positive, negative = feature_tokens(feature, tokens, words)
    assert members(positive) == [4]
    assert members(negative) == [2]
    positive, negative = feature_tokens(replace(feature, of_last=True), tokens, words)
    assert members(positive) == [3, 4]
    assert members(negative) == [1, 2]


# From a treebank to labels

SUBJECTS = (
    ("She", "PRON", "Gender=Fem|Number=Sing|Person=3|PronType=Prs"),
    ("They", "PRON", "Number=Plur|Person=3|PronType=Prs"),
    ("I", "PRON", "Number=Sing|Person=1|PronType=Prs"),
    ("He", "PRON", "Gender=Masc|Number=Sing|Person=3|PronType=Prs"),
)
VERBS = (
    ("sees", "Mood=Ind|Tense=Pres|VerbForm=Fin"),
    ("unhesitatingly-saw", "Mood=Ind|Tense=Past|VerbForm=Fin"),
)
NOUNS = (("dogs", "Number=Plur"), ("Übermut", "Number=Sing"), ("fox", "Number=Sing"))


def treebank(n_documents: int, n_sentences: int, seed: int = 0) -> str:
    """Subject, verb, perhaps not, noun, full stop; "n't" is one with the verb before it."""
    rng = np.random.default_rng(seed)
    lines = []
    for document in range(n_documents):
        lines.append(f"# newdoc id = d{document}")
        for _ in range(n_sentences):
            subject, verb, noun = (x[rng.integers(len(x))] for x in (SUBJECTS, VERBS, NOUNS))
            rows = [("1", subject[0], subject[1], subject[2], "nsubj", "_")]
            if rng.random() < 0.4:
                rows += [
                    ("2-3", "didn't", "_", "_", "_", "_"),
                    ("2", "did", "AUX", "Mood=Ind|Tense=Past|VerbForm=Fin", "aux", "_"),
                    ("3", "n't", "PART", "_", "advmod", "_"),
                    ("4", "see", "VERB", "VerbForm=Inf", "root", "_"),
                ]
            else:
                rows.append(("2", verb[0], "VERB", verb[1], "root", "_"))
            n = len(rows) + 1 - (rows[1][1] == "didn't")
            rows += [
                (str(n), noun[0], "NOUN", noun[1], "obj", "SpaceAfter=No"),
                (str(n + 1), ".", "PUNCT", "_", "punct", "_"),
            ]
            lines += [
                "\t".join([i, form, "_", upos, "_", feats, "0", relation, "_", misc])
                for i, form, upos, feats, relation, misc in rows
            ]
            lines.append("")
    return "\n".join(lines)


def labelled(path, folder, text: str, **changes) -> tuple[pl.DataFrame, TokenDataset]:
    (path / "t.conllu").write_text(text)
    part = {"reader": "conllu", "subset": "s", "path": str(path / "t.conllu"), "min_chars": 1}
    read_documents(CorpusConfig.model_validate({"parts": [part]}), {}, path / "documents", "c")
    config = dataset_config(**changes)
    build_tokens(config, folder, path / "documents", path / "tokens", path / "sequences")
    label_features(config, folder, path / "tokens", path / "sequences", path / "labels")
    return read_table(path / "labels"), read_token_dataset(path / "tokens", path / "sequences")


def dataset_config(n_ctx: int = 60, **collection) -> DatasetConfig:
    chosen = {
        "kind": "linguistics", "max_samples_per_feature": 300, "min_positives": 4, **collection,
    }  # fmt: skip
    return DatasetConfig.model_validate({"corpus": "c", "collection": chosen, "n_ctx": n_ctx})


@pytest.fixture(scope="module")
def made(tmp_path_factory, folder):
    path = tmp_path_factory.mktemp("made")
    return *labelled(path, folder, treebank(100, 12)), path


def test_labels_are_what_the_treebank_says(made):
    """Each label against a look at the text around its token, without the package's alignment."""
    labels, dataset, path = made
    texts = dict(read_table(path / "documents").select("document", "text").iter_rows())
    document = dataset.sequences["document"].to_list()
    pattern = re.compile(r"did(?=n't)|n't|unhesitatingly-saw|\w+|\.")
    seen = set()
    for collection, feature, sequence, start, end, label in labels.iter_rows():
        assert end == start + 1
        a, b = dataset.starts[sequence, start], dataset.ends[sequence, start]
        text = texts[document[sequence]]
        touched = [m for m in pattern.finditer(text) if m.start() < b and m.end() > a]
        forms = [m.group() for m in touched]
        # The last token of a word: one of the words ends in it.
        assert any(a < m.end() <= b for m in touched)
        if feature == "eos_True":
            assert label == (forms[-1] == ".")
            continue
        if feature == "first_eos_True":
            assert forms[-1] == "."
            first = text.index(".", dataset.starts[sequence, 1])
            assert label == (a <= first < b)
            continue
        expected = {property_of(feature, form) for form in forms}
        assert expected == {label}, (feature, forms)
        seen.add((collection, feature))
    assert {"NOUN", "VERB", "AUX", "PRON", "PUNC"} <= {name for _, name in seen}
    assert {"Number_Plur", "Tense_Past", "Person_1", "Gender_Masc"} <= {name for _, name in seen}
    assert {"nsubj", "root", "obj", "aux", "advmod", "punct"} <= {name for _, name in seen}


def property_of(feature: str, form: str) -> bool | None:
    """True or False as the treebank's grammar has it; None where it is no example at all."""
    subjects = {row[0]: row[2] for row in SUBJECTS}
    verbs = {**dict(VERBS), "see": "VerbForm=Inf", "did": "Mood=Ind|Tense=Past|VerbForm=Fin"}
    values = {**subjects, **verbs, **dict(NOUNS)}.get(form, "")
    if feature in FEATURES["morphology"]:
        attribute, value = feature.split("_")
        found = dict(item.split("=") for item in values.split("|") if item)
        return found[attribute] == value if attribute in found else None
    kinds = {
        **dict.fromkeys(subjects, ("PRON", "nsubj")), **dict.fromkeys(verbs, ("VERB", "root")),
        **dict.fromkeys(dict(NOUNS), ("NOUN", "obj")), "did": ("AUX", "aux"),
        "n't": ("PART", "advmod"), ".": ("PUNC", "punct"),
    }  # fmt: skip
    return feature in kinds[form]


def test_shares_splits_and_skipped_tokens(made):
    labels, dataset, _ = made
    assert labels["start"].min() >= 5
    counts = labels.join(dataset.sequences.select("sequence", "split"), on="sequence")
    for (feature, _), part in counts.group_by("feature", "split"):
        assert len(part) <= 300
        assert abs(part["label"].sum() - 0.2 * len(part)) <= 1, feature
        assert min(part["label"].sum(), (~part["label"]).sum()) >= 4
    # Most tokens are shared among features.
    spans = labels.select("sequence", "start").n_unique()
    assert spans < len(labels) / 3


def test_rare_features_are_left_out_with_the_reason(tmp_path, folder, caplog):
    with caplog.at_level(logging.WARNING):
        labels, _ = labelled(tmp_path, folder, treebank(20, 12), collections=["part_of_speech"])
    assert set(labels["collection"]) == {"part_of_speech"}
    assert set(labels["feature"]) == {"NOUN", "VERB", "AUX", "PRON", "PUNC"}
    assert "left out part_of_speech: ADJ: the train split has 0 tokens with it" in caplog.text


def test_only_the_wanted_features_on_the_wanted_tokens(tmp_path, folder):
    counts = {}
    for rule in ("first", "last", "all"):
        path = tmp_path / rule
        path.mkdir()
        labels, dataset = labelled(
            path, folder, treebank(20, 12), features=["Tense_Past"], labelled_token=rule,
            max_samples_per_feature=2000, positive_share=0.5, skip_tokens=0,
        )  # fmt: skip
        assert set(labels["feature"]) == {"Tense_Past"}
        rows = labels.filter(pl.col("label")).select("sequence", "start").rows()
        counts[rule] = [int(dataset.tokens[row]) for row in rows]
    backend = load_tokenizer(folder).backend
    ends = {rule: {backend.decode([i])[-1] for i in ids} for rule, ids in counts.items()}
    begins = {rule: {backend.decode([i]).strip()[0] for i in ids} for rule, ids in counts.items()}
    assert ends["last"] <= {"d", "w"}  # did, saw
    assert begins["first"] <= {"d", "u"}
    assert begins["all"] > begins["first"]


def test_labels_are_the_same_bytes_each_time(made, tmp_path, folder):
    labelled(tmp_path, folder, treebank(100, 12))
    assert (tmp_path / "labels").read_bytes() == (made[2] / "labels").read_bytes()


def test_other_datasets_carry_no_words(made, folder, tmp_path):
    config = DatasetConfig.model_validate(
        {"corpus": "c", "n_ctx": 60, "collection": {"kind": "text_features"}}
    )
    path = made[2]
    build_tokens(config, folder, path / "documents", tmp_path / "tokens", tmp_path / "sequences")
    assert "words" in made[1].sequences.columns
    assert "words" not in read_table(tmp_path / "sequences").columns


def test_documents_without_words_and_features_without_examples_are_refused(made, folder):
    _, dataset, _ = made
    tokenizer = load_tokenizer(folder)
    empty = dataset.sequences.with_columns(pl.lit(None, dtype=pl.List(pl.Int32)).alias("words"))
    for sequences in (dataset.sequences.drop("words"), empty):
        with pytest.raises(DataError, match="no annotated words"):
            label_linguistics(dataset_config(), tokenizer, replace(dataset, sequences=sequences))
    with pytest.raises(DataError, match="none of the linguistic features"):
        label_linguistics(dataset_config(features=["SYM"]), tokenizer, dataset)


def test_unknown_features_are_refused():
    with pytest.raises(ValidationError, match=r"no feature 'PUNCT'; there are: .*PUNC"):
        dataset_config(features=["PUNCT"])
