"""Labels of tokens: strings, places in words, grammar, topics, the previous token, and blocks."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from artneuro.datasets.text_config import TextConfig
from artneuro.datasets.texts import make_text
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.datasets.words import WORDS_TYPE
from artneuro.universality.explanations import NONE, Explanation, Labelling, Labels
from artneuro.universality.explanations_config import (
    ExplanationsConfig,
    TopicsConfig,
    UnigramsConfig,
)
from artneuro.universality.grammar_labels import grammar_labelling
from artneuro.universality.token_labels import (
    PLACES,
    label_text,
    labelled_text,
    unigram_labelling,
    word_places,
)
from artneuro.universality.topics import find_topics
from artneuro.universality.vocabulary import vocabulary_features, vocabulary_table
from tests.tiny import SENTENCES, make_tokenizer

DOCUMENTS = [
    "The quick dog. Dogs and the\n\ndog: the thedog underdog 1984 dog's A a b-c",
    "In 1984 the monkeys counted coins.\nThe dog sleeps on, the Dog and THE fox and the end.",
    "über den Hund; the brown fox. And the dogs jump over 12 dogs and 2048 notes",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def documents(texts: list[str], words: list | None = None) -> pl.DataFrame:
    n = len(texts)
    return pl.DataFrame(
        {
            "document": [f"d{i}" for i in range(n)],
            "corpus": ["c"] * n,
            "subset": [f"s{i % 2}" for i in range(n)],
            "language": [None] * n,
            "group": [f"g{i}" for i in range(n)],
            "text": texts,
            "words": pl.Series(words or [None] * n, dtype=WORDS_TYPE),
        },
        schema_overrides={"language": pl.String},
    )


@pytest.fixture(scope="module")
def text(tokenizer):
    # Sequences of a few tokens: documents are cut, and the last sequence of each is padded.
    dataset = make_text(
        TextConfig(corpus="c", n_ctx=24), tokenizer, documents([*DOCUMENTS, *SENTENCES])
    )
    return labelled_text(dataset, tokenizer, ("document_token", "newline"))


# Strings


def test_names_are_unique_and_there_are_about_as_many_as_published():
    names = [(f.category, f.name) for f in vocabulary_features()]
    assert len(set(names)) == len(names)
    assert 200 <= len(names) <= 320


@pytest.mark.parametrize(
    ("token", "yes", "no"),
    [
        (" 1984", {"number/year", "number/4 digits", "number/digits only", "start/space",
                   "type/4 to 5 characters"}, {"type/letters only", "start/vowel"}),
        ("2200", {"number/4 digits", "start/digit"}, {"number/year"}),
        ("1490", {"number/4 digits"}, {"number/year"}),
        ("A", {"letter/a", "start/a", "start/vowel", "type/all capitals", "type/1 characters"},
         {"type/two capitals or more", "letter/b", "prefix/a-", "start/space"}),
        (" Unlike", {"prefix/un-", "suffix/-like", "start/space and capital", "type/capitalised",
                     "start/u"}, {"prefix/under-", "type/lower case", "letter/u"}),
        (" under", {"prefix/un-", "suffix/-er"}, {"prefix/under-"}),
        (" .\"", {"symbol/contains .", "symbol/contains \"", "symbol/ends a sentence",
                  "type/no letter or digit"}, {"start/symbol", "symbol/contains ,"}),
        (".", {"start/symbol"}, {"start/space"}),
        (" Her", {"pronoun/her", "pronoun/female", "pronoun/possessive", "pronoun/third person",
                  "pronoun/any"}, {"pronoun/male", "pronoun/he"}),
        ("VII", {"number/Roman numeral"}, {"number/number word"}),
        (" vii", set(), {"number/Roman numeral"}),
        (" May", {"group/month"}, {"group/day"}),
        (" However", {"group/contrast"}, {"group/negation"}),
        ("\n\n", {"type/white space", "start/line break"}, {"start/space"}),
        ("é", {"type/not ASCII", "type/letters only"}, {"start/vowel", "start/consonant"}),
    ],
)  # fmt: skip
def test_features_of_strings(token: str, yes: set[str], no: set[str]):
    features = vocabulary_features()
    (row,) = vocabulary_table([token], np.array([True]))
    held = {f"{f.category}/{f.name}" for f, holds in zip(features, row, strict=True) if holds}
    assert yes <= held
    assert not no & held


def test_part_of_a_character_is_only_not_ascii():
    (row,) = vocabulary_table(["�"], np.array([False]))
    assert [f.name for f, holds in zip(vocabulary_features(), row, strict=True) if holds] == [
        "not ASCII"
    ]


# Places in written words


def written_place(text, row: int, at: int) -> int:
    """The place of a token by the characters of the text, through a regular expression."""
    start, end = text.dataset.starts[row, at], text.dataset.ends[row, at]
    crop = text.dataset.sequences["text"][int(row)]
    offset = text.dataset.sequences["char_start"][int(row)]
    own = crop[start - offset : end - offset].removeprefix(" ")
    if not re.match(r"[^\W_]", own):
        return NONE
    first = end - len(own)  # past the space
    for match in re.finditer(r"[^\W_]+", crop):
        low, high = match.start() + offset, match.end() + offset
        if low <= first < high:
            if first > low:
                return 2
            return 0 if end >= high else 1
    raise AssertionError(own)


def test_places_agree_with_the_characters(text):
    places = word_places(text)
    whole = text.tokenizer.whole(text.strings)
    seen = set()
    for row, at in np.argwhere(text.text):
        if whole[text.dataset.tokens[row, at]]:
            assert places[row, at] == written_place(text, row, at), (row, at)
            seen.add(int(places[row, at]))
    assert seen == {NONE, 0, 1, 2}
    assert (places[~text.text] == NONE).all()


def test_unigrams_are_counted_in_all_ways_of_writing_them(text):
    found = unigram_labelling(text, UnigramsConfig(min_share=0.01, min_variants=2, most=50))
    labels = Labels([found], text.included, 1)
    strings = np.array(text.strings, dtype=object)[text.dataset.tokens]
    places = word_places(text)
    assert "the (whole word)" in {e.name for e in labels.explanations}
    for i, explanation in enumerate(labels.explanations):
        word, _, where = explanation.name.partition(" (")
        expected = np.vectorize(lambda s: s.removeprefix(" ").casefold())(strings) == word
        expected &= text.text
        if where:
            expected &= places == PLACES.index(where.rstrip(")"))
        np.testing.assert_array_equal(labels.of(i)[text.text], expected[text.text])
        assert labels.counts[i] == (expected & text.included).sum()
    # A word that stands in one place only has no explanation without the place.
    names = [e.name for e in labels.explanations]
    for name in names:
        if " (" not in name:
            own = [labels.counts[names.index(n)] for n in names if n.startswith(f"{name} (")]
            assert labels.counts[names.index(name)] not in own


def test_unigrams_need_to_be_frequent_and_to_have_variants(text):
    assert not unigram_labelling(text, UnigramsConfig(min_share=0.9)).explanations
    assert not unigram_labelling(text, UnigramsConfig(min_variants=99)).explanations
    few = unigram_labelling(text, UnigramsConfig(min_share=0, min_variants=1, most=3))
    words = [e.name.partition(" (")[0] for e in few.explanations]
    assert len(set(words)) == 3
    assert "the" in words


def test_line_breaks_and_special_tokens_are_left_out(text, tokenizer):
    strings = np.array(text.strings, dtype=object)[text.dataset.tokens]
    is_break = np.array([[set(s) <= {"\n", "\r"} for s in row] for row in strings])
    np.testing.assert_array_equal(text.included, text.text & ~is_break)
    assert (text.text & is_break).any()
    assert not np.isin(text.dataset.tokens[text.included], tokenizer.special).any()
    kept = labelled_text(text.dataset, tokenizer, ())
    assert kept.included[:, 0].all()
    assert (kept.included[:, 1:] == text.text[:, 1:]).all()


# The previous token, and blocks of labels


def test_labels_of_the_previous_token_stay_within_the_sequence():
    text = np.array([[False, True, True, True, False], [False, True, True, True, True]])
    codes = np.array([[0, 1, 2, 0, 0], [0, 0, 1, NONE, 2]], dtype=np.int32)
    table = np.eye(3, dtype=bool)
    labelling = Labelling(tuple(Explanation("c", str(i)) for i in range(3)), codes, table)
    found = labelling.of_previous(text)
    # The document token is no previous token, and a token after padding has none.
    assert found.codes.tolist() == [[-1, -1, 1, 2, 0], [-1, -1, 0, 1, -1]]
    assert [e.title for e in found.explanations] == [f"previous: c/{i}" for i in range(3)]


def random_labelling(rng, name: str, shape: tuple[int, int], n: int) -> Labelling:
    codes = rng.integers(NONE, 7, size=shape).astype(np.int32)
    table = rng.random((7, n)) < np.linspace(0, 1, n)
    return Labelling(tuple(Explanation(name, str(i)) for i in range(n)), codes, table)


def test_blocks_are_the_labels_of_the_included_tokens():
    rng = np.random.default_rng(0)
    shape = (9, 11)
    included = rng.random(shape) < 0.8
    parts = [random_labelling(rng, name, shape, 6) for name in "ab"]
    labels = Labels(parts, included, 4)
    dense = {}
    for part in parts:
        table = np.vstack([part.table, np.zeros((1, 6), bool)])
        for e, column in zip(part.explanations, table.T, strict=True):
            dense[e.title] = column[part.codes]
    kept = {
        title for title, holds in dense.items()
        if 4 <= holds[included].sum() <= included.sum() - 4
    }  # fmt: skip
    assert {e.title for e in labels.explanations} == kept
    assert labels.left_out == len(dense) - len(kept)
    assert labels.flipped.any()
    assert not labels.flipped.all()
    for rows in (slice(0, 4), slice(4, 9), slice(2, 3)):
        inside = included[rows]
        block = labels.block(rows)
        assert block.tokens == inside.sum()
        for i, explanation in enumerate(labels.explanations):
            holds = dense[explanation.title]
            assert labels.counts[i] == holds[included].sum()
            np.testing.assert_array_equal(labels.of(i), holds)
            given = np.zeros(block.tokens, dtype=bool)
            given[block.members[block.offsets[i] : block.offsets[i + 1]]] = True
            np.testing.assert_array_equal(given ^ labels.flipped[i], holds[rows][inside])


def test_all_labels_of_a_text_have_names_of_their_own(text):
    config = ExplanationsConfig(
        min_positives=2, unigrams={"min_variants": 1}, topics={"components": 2, "share": 0.3}
    )
    labels = label_text(text, config, small_norm=np.arange(300))
    titles = [e.title for e in labels.explanations]
    assert len(set(titles)) == len(titles)
    categories = {(e.category, e.previous) for e in labels.explanations}
    assert {("type", False), ("type", True), ("unigram", True), ("subset", False)} <= categories
    # A document's labels are the same for the previous token.
    assert ("subset", True) not in categories
    assert ("topic", True) not in categories
    small = titles.index("type/small embedding")
    np.testing.assert_array_equal(
        labels.of(small)[text.text], (text.dataset.tokens < 300)[text.text]
    )


# Grammar


def word(text: str, form: str, *values, start: int = 0) -> dict:
    begin = text.index(form, start)
    upos, deprel, feats, ends, entity = values
    return {
        "start": begin, "end": begin + len(form), "upos": upos, "deprel": deprel, "feats": feats,
        "sentence_end": ends, "entity": entity,
    }  # fmt: skip


def test_grammar_is_that_of_the_words_a_token_has_characters_of(tokenizer):
    text = 'The monkeys counted." NASA'
    words = [
        word(text, "The", "DET", "det", "Definite=Def|PronType=Art", False, None),
        word(text, "monkeys", "NOUN", "nsubj", "Number=Plur", False, None),
        word(text, "counted", "VERB", "root", "Tense=Past", False, None),
        word(text, ".", "PUNCT", "punct", "", False, None),
        word(text, '"', "PUNCT", "punct", "", True, None),
        word(text, "NASA", "PROPN", "root", None, True, "ORG"),
    ]
    dataset = make_text(
        TextConfig(corpus="c", n_ctx=32, words=True), tokenizer, documents([text], [words])
    )
    found = grammar_labelling(dataset)
    names = [f"{e.category}/{e.name}" for e in found.explanations]

    def labels_of(form: str, n: int = 1) -> list[set[str]]:
        """Labels of the tokens that hold a form, from the first to the last."""
        begin = text.index(form)
        at = [
            i
            for i in range(1, int(dataset.sequences["n_tokens"][0]))
            if dataset.starts[0, i] < begin + len(form) and dataset.ends[0, i] > begin
        ]
        return [{names[j] for j in np.flatnonzero(found.table[found.codes[0, i]])} for i in at]

    (the,) = labels_of("The")
    assert the == {
        "part of speech/DET", "relation/det", "morphology/Definite=Def", "morphology/PronType=Art",
        "stop word/any", "sentence/begin",
    }  # fmt: skip
    for part in labels_of("monkeys"):
        assert part == {"part of speech/NOUN", "relation/nsubj", "morphology/Number=Plur"}
    nasa = labels_of("NASA")
    common = {"part of speech/PROPN", "relation/root", "entity/ORG", "entity/any"}
    assert all(common <= part for part in nasa)
    assert ["sentence/begin" in part for part in nasa] == [True] + [False] * (len(nasa) - 1)
    assert ["sentence/end" in part for part in nasa] == [False] * (len(nasa) - 1) + [True]
    assert "sentence/end" in labels_of('"')[-1]
    assert (found.codes[0, 0], found.codes[0, -1]) == (NONE, NONE)


# Topics


def test_topics_find_planted_groups_of_documents():
    rng = np.random.default_rng(0)
    themes = [
        ["court", "judge", "trial", "lawyer", "verdict", "jury", "appeal"],
        ["cell", "protein", "gene", "enzyme", "tissue", "blood", "virus"],
        ["river", "mountain", "valley", "forest", "island", "coast", "lake"],
    ]
    shared = ["people", "world", "place", "thing", "work"]
    group = np.arange(60) % 3
    texts = [" ".join([*rng.choice(themes[g], 30), *rng.choice(shared, 15)]) for g in group]
    topics = find_topics(texts, TopicsConfig(components=4, share=0.2), seed=0)
    assert topics.members.shape == (60, 8)
    assert (topics.members.sum(axis=0) == 12).all()
    # Of each theme there is a topic of that theme's documents alone, named after its words.
    for g, theme in enumerate(themes):
        pure = [t for t in range(8) if (group[topics.members[:, t]] == g).all()]
        assert any(set(topics.names[t].split(": ")[1].split(", ")) <= set(theme) for t in pure)
    again = find_topics(texts, TopicsConfig(components=4, share=0.2), seed=0)
    np.testing.assert_array_equal(again.members, topics.members)


def test_no_topics_of_few_documents_or_of_documents_without_common_words():
    config = TopicsConfig(share=0.2)
    assert find_topics(["one two", "three four"], config, 0).members.shape == (2, 0)
    lonely = ["alpha beta", "gamma delta", "epsilon zeta", "theta iota", "kappa lambda"]
    assert find_topics(lonely, config, 0).names == ()
