"""Words from treebanks, the Brown corpus and parsers: their characters, tags and relations."""

from __future__ import annotations

import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artneuro.core.artifacts import read_table, write_json
from artneuro.core.errors import DataError, SourceError
from artneuro.core.sources import SourceInfo
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents
from artneuro.datasets.readers.brown import read_tagged_brown, tagged_words, universal_tag
from artneuro.datasets.readers.conllu import parse_conllu
from artneuro.datasets.readers.formats import brown_text
from artneuro.datasets.spacy_words import (
    SpacyAnnotator,
    universal_features,
    universal_relations,
)
from artneuro.datasets.words import (
    AnnotatedText,
    Word,
    check_words,
    from_records,
    words_of_crops,
    words_within,
)


def forms(annotated: AnnotatedText) -> list[str]:
    return [annotated.text[word.start : word.end] for word in annotated.words]


def line(index, form, upos="X", feats="_", deprel="dep", misc="_") -> str:
    return "\t".join([str(index), form, "_", upos, "_", feats, "0", deprel, "_", misc])


# Treebanks

TREEBANK = "\n".join([
    "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC",
    "# newdoc id = first",
    "# newpar",
    "# sent_id = 1",
    "# text = “Don't  go”, he said.",
    line(1, "“", "PUNCT", deprel="punct", misc="SpaceAfter=No"),
    line("2-3", "Don't", misc="_"),
    line(2, "Do", "AUX", "Mood=Imp|VerbForm=Fin", "aux"),
    line(3, "n't", "PART", deprel="advmod"),
    line(4, "go", "VERB", "VerbForm=Inf", "ccomp", "SpaceAfter=No"),
    line(5, "”", "PUNCT", deprel="punct", misc="SpaceAfter=No"),
    line(6, ",", "PUNCT", deprel="punct"),
    line(7, "he", "PRON", "Number=Sing|Person=3", "nsubj"),
    line(8, "said", "VERB", "_", "root", "X=1|SpaceAfter=No"),
    line("8.1", "that", "PRON", "_", "_"),
    line(9, ".", "PUNCT", deprel="punct"),
    "",
    "# text = Ça va du café 😀",
    line(1, "Ça"),
    line(2, "va"),
    line("3-4", "du"),
    line(3, "de", "ADP", deprel="case"),
    line(4, "le", "DET", deprel="det"),
    line(5, "café"),
    line(6, "😀", "SYM", misc="SpaceAfter=No"),
    "",
    "# sent_id = 3",
    line(1, "1 000", "NUM", misc="SpaceAfter=No"),
    line(2, "%"),
    "",
    "# newpar id = p2",
    "# text = a = b",
    line(1, "a"),
    line(2, "=", "_", "_", "_"),
    line(3, "b"),
    "",
    "# newdoc",
    "# text = New .",
    line(1, "New"),
    line(2, "."),
])  # fmt: skip


def test_documents_of_a_treebank_are_whole_texts_with_words():
    (first_name, first), (second_name, second) = parse_conllu(TREEBANK)
    assert (first_name, second_name) == ("first", None)
    assert first.text == "“Don't  go”, he said. Ça va du café 😀1 000%\n\na = b"
    assert second.text == "New ."
    assert forms(first) == [
        "“", "Do", "n't", "go", "”", ",", "he", "said", ".", "Ça", "va", "du", "du", "café", "😀",
        "1 000", "%", "a", "=", "b",
    ]  # fmt: skip
    ends = [first.text[word.start : word.end] for word in first.words if word.sentence_end]
    assert ends == [".", "😀", "%", "b"]
    by_form = dict(zip(forms(first), first.words, strict=True))
    assert by_form["Do"][2:] == ("AUX", "aux", "Mood=Imp|VerbForm=Fin", False, None)
    assert by_form["said"][2:] == ("VERB", "root", "", False, None)
    assert by_form["="][2:4] == (None, None)
    for document in (first, second):
        check_words(document.words, document.text, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tword\t_", "10 columns between tabs, this one 3"),
        (line("1a", "word"), "'1a' is no id"),
        ("# text = other\n" + line(1, "word"), "'word' does not come next .* 'other'"),
        ("# text = word and more\n" + line(1, "word"), "goes on after its last word: ' and more'"),
        (line("1-2", "word"), "the range 'word' has no words"),
    ],
)
def test_broken_treebanks_are_refused_with_their_line(text, message):
    with pytest.raises(DataError, match=message) as error:
        list(parse_conllu(text, "file.conllu"))
    assert "file.conllu, line" in str(error.value)


word_forms = st.text(st.sampled_from(list("aZ0é中😀.'\"-’")), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(word_forms, st.booleans(), st.booleans()), min_size=1, max_size=5),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_any_treebank_reads_back_as_it_was_written(sentences, with_text):
    """Words may be split in two or followed by a space, and sentences may say their text."""
    lines, text, words = [], "", []
    for sentence in sentences:
        rows, start = [], len(text)
        index = 1
        for form, split, space in sentence:
            misc = "_" if space else "SpaceAfter=No"
            if split and len(form) > 1:
                rows.append(line(f"{index}-{index + 1}", form, misc=misc))
                rows += [line(index, form[:1]), line(index + 1, form[1:])]
                words += [(len(text), len(text) + 1), (len(text) + 1, len(text) + len(form))]
                index += 2
            else:
                rows.append(line(index, form, misc=misc))
                words.append((len(text), len(text) + len(form)))
                index += 1
            text += form + (" " if space else "")
        own = text[start:].rstrip(" ")
        lines += ([f"# text = {own}"] if with_text else []) + rows + [""]
    ((_, found),) = parse_conllu("\n".join(lines))
    assert found.text == text.rstrip(" ")
    assert [(word.start, word.end) for word in found.words] == words
    assert sum(word.sentence_end for word in found.words) == len(sentences)


# The Brown corpus

BROWN = """

\tThe/at jury/nn said/vbd ,/, ``/`` It/pps didn't/dod* say/vb Georgia's/np$ laws/nns are/ber
outmoded/jj ''/'' !/. !/.
\tThere's/ex+bez no/at way/nn ;/. ;/.


\t(/( She/pps cannot/md* go/vb )/)
"""


def test_tagged_words_lie_in_the_running_text():
    found = read_tagged_brown(BROWN)
    assert found.text == brown_text(BROWN)
    pairs = [(form, word.upos) for form, word in zip(forms(found), found.words, strict=True)]
    assert pairs == [
        ("The", "DET"), ("jury", "NOUN"), ("said", "VERB"), (",", "PUNCT"), ('"', "PUNCT"),
        ("It", "PRON"), ("did", "AUX"), ("n't", "PART"), ("say", "VERB"), ("Georgia", "PROPN"),
        ("'s", "PART"), ("laws", "NOUN"), ("are", "AUX"), ("outmoded", "ADJ"), ('"', "PUNCT"),
        ("!", "PUNCT"), ("There", "PRON"), ("'s", None), ("no", "DET"), ("way", "NOUN"),
        (";", "PUNCT"), ("(", "PUNCT"), ("She", "PRON"), ("can", "AUX"), ("not", "PART"),
        ("go", "VERB"), (")", "PUNCT"),
    ]  # fmt: skip
    assert all(word.deprel is None and word.feats is None for word in found.words)


@pytest.mark.parametrize(
    ("word", "tag", "pieces"),
    [
        ("it's", "pps+bez", [("it", "PRON"), ("'s", "AUX")]),
        ("he's", "pps+hvz", [("he", "PRON"), ("'s", None)]),  # "he's got" or "he's gone"
        ("I'd", "ppss+md", [("I", "PRON"), ("'d", "AUX")]),
        ("boys'", "nns$", [("boys", "NOUN"), ("'", "PART")]),
        ("won't", "md*", [("wo", "AUX"), ("n't", "PART")]),
        ("gonna", "vbg+to", [("gonna", None)]),
        ("not", "*", [("not", "PART")]),
        ("his", "pp$", [("his", "PRON")]),
        ("do", "do", [("do", None)]),
        ("that", "cs", [("that", None)]),
        ("if", "cs", [("if", "SCONJ")]),
        ("County", "nn-tl", [("County", None)]),
        ("County", "nn-hl", [("County", "NOUN")]),
        ("''", "''", [("''", "PUNCT")]),
    ],
)
def test_tags_of_the_brown_corpus_in_universal_terms(word, tag, pieces):
    assert tagged_words(word, tag) == pieces


def test_a_preposition_before_a_participle_is_left_open():
    found = read_tagged_brown("after/in leaving/vbg in/in there/rb was/bedz once/rb a/at man/nn")
    assert [word.upos for word in found.words][:3] == [None, "VERB", "ADP"]
    assert universal_tag("was", "bedz") == "AUX"
    existential = read_tagged_brown("there/ex once/rb was/bedz a/at man/nn who/wps is/bez")
    assert [word.upos for word in existential.words] == [
        "PRON", "ADV", None, "DET", "NOUN", "PRON", "AUX"
    ]  # fmt: skip


def test_text_that_is_not_tagged_is_refused():
    with pytest.raises(DataError, match="does not come next"):
        read_tagged_brown("a`` b/nn", "ca99")


# Trees of parsers


def tree(text: str) -> tuple[list[str], list[str], list[int], list[str]]:
    """Words as `form/UPOS/relation/head`, heads counted from 1, 0 for the root."""
    rows = [word.split("/") for word in text.split()]
    heads = [int(row[3]) - 1 if row[3] != "0" else i for i, row in enumerate(rows)]
    return [r[0].lower() for r in rows], [r[1] for r in rows], heads, [r[2] for r in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Universal Dependencies' own guidelines on case, cop, aux:pass, expl and xcomp.
        (
            "She/PRON/nsubj/2 is/AUX/ROOT/0 a/DET/det/4 doctor/NOUN/attr/2 in/ADP/prep/4 "
            "Rome/PROPN/pobj/5 ./PUNCT/punct/2",
            "nsubj cop det root case nmod punct",
        ),
        (
            "It/PRON/nsubjpass/3 was/AUX/auxpass/3 done/VERB/ROOT/0 by/ADP/agent/3 "
            "him/PRON/pobj/4 out/ADP/prep/3 of/ADP/prep/6 love/NOUN/pobj/7",
            "nsubj:pass aux:pass root case obl case case obl",
        ),
        (
            "There/PRON/expl/2 is/VERB/ROOT/0 a/DET/det/4 man/NOUN/attr/2 who/PRON/nsubj/6 "
            "seems/VERB/relcl/4 to/PART/aux/8 sing/VERB/xcomp/6",
            "expl root det nsubj nsubj acl:relcl mark xcomp",
        ),
        (
            "He/PRON/nsubj/2 says/VERB/ROOT/0 it/PRON/nsubj/4 's/AUX/ccomp/2 late/ADJ/acomp/4 "
            "and/CCONJ/cc/4 is/AUX/conj/4 not/PART/neg/7 nice/ADJ/acomp/7",
            "nsubj root nsubj cop ccomp cc cop advmod conj",
        ),
        (
            "His/PRON/poss/2 friend/NOUN/nsubj/5 's/PART/case/2 soon/ADV/advmod/5 "
            "became/VERB/ROOT/0 rich/ADJ/acomp/5 before/ADP/prep/5 leaving/VERB/pcomp/7 "
            "some/DET/dobj/8 of/ADP/prep/9 us/PRON/pobj/10",
            "nmod:poss nsubj case advmod root xcomp mark advcl obj case nmod",
        ),
        (
            "Give/VERB/ROOT/0 him/PRON/dative/1 that/PRON/dobj/1 or/CCONJ/cc/1 send/VERB/conj/1 "
            "it/PRON/dobj/5 to/ADP/dative/5 her/PRON/pobj/7",
            "root iobj obj cc conj obj case obl",
        ),
        # What the tree does not tell: names, stranded prepositions, to be without predicate.
        (
            "John/PROPN/compound/2 Smith/PROPN/nsubj/3 is/AUX/ROOT/0 in/ADP/prep/3 "
            "town/NOUN/pobj/4 they/PRON/nsubj/7 live/VERB/relcl/5 in/ADP/prep/7",
            "? nsubj ? case ? nsubj acl:relcl ?",
        ),
    ],
)
def test_parsers_relations_in_universal_terms(text, expected):
    words, upos, heads, relations = tree(text)
    found = universal_relations(words, upos, heads, relations)
    assert found == [None if name == "?" else name for name in expected.split()]


def test_passives_and_gerunds_are_marked_as_in_treebanks():
    words, _, heads, relations = tree(
        "It/PRON/nsubjpass/3 was/AUX/auxpass/3 sung/VERB/ROOT/0 while/SCONJ/mark/7 "
        "they/PRON/nsubj/7 were/AUX/aux/7 eating/VERB/advcl/3 and/CCONJ/cc/7 "
        "drinking/VERB/conj/7 and/CCONJ/cc/3 liked/VERB/conj/3 swimming/VERB/xcomp/11"
    )
    tags = ["PRP", "VBD", "VBN", "IN", "PRP", "VBD", "VBG", "CC", "VBG", "CC", "VBD", "VBG"]
    parsed = ["Tense=Pres|VerbForm=Part" if tag == "VBG" else "" for tag in tags]
    parsed[2] = "Aspect=Perf|VerbForm=Part"
    found = universal_features(words, tags, heads, relations, parsed)
    assert found[2] == "Aspect=Perf|VerbForm=Part|Voice=Pass"
    assert found[6] == found[8] == "Tense=Pres|VerbForm=Part"
    assert found[11] == "VerbForm=Ger"
    assert [found[i] for i in (0, 1, 3, 4, 5, 7, 9, 10)] == [""] * 8


def test_a_missing_spacy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(SourceError, match=r"artneuro\[linguistics\]"):
        SpacyAnnotator("en_core_web_sm")


def blank_pipeline(folder, *components: str):
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    for component in components:
        pipeline.add_pipe(component)
    folder.mkdir(parents=True)
    pipeline.to_disk(folder)
    return folder


def test_pipelines_that_do_not_exist_or_do_not_fit_are_refused(tmp_path):
    pytest.importorskip("spacy")
    with pytest.raises(SourceError, match="cannot load the pipeline"):
        SpacyAnnotator("no_such_pipeline")
    with pytest.raises(SourceError, match="0 pipelines"):
        SpacyAnnotator(tmp_path)
    with pytest.raises(SourceError, match="finds no sentences"):
        SpacyAnnotator(blank_pipeline(tmp_path / "bare"))
    with pytest.raises(SourceError, match="finds no entities"):
        SpacyAnnotator(blank_pipeline(tmp_path / "nameless", "sentencizer"), entities=True)


def test_parsed_words_have_the_characters_of_the_text(tmp_path):
    annotator = SpacyAnnotator(blank_pipeline(tmp_path / "somewhere" / "below", "sentencizer"))
    texts = ["\n\nI can't  go\n\n😀 “No.” Yes", "", "  \n\n "]
    found = annotator.annotate(texts)
    assert [one.text for one in found] == texts
    assert forms(found[0]) == ["I", "ca", "n't", "go", "😀", "“", "No", ".", "”", "Yes"]
    assert [form for form, w in zip(forms(found[0]), found[0].words, strict=True)
            if w.sentence_end] == ["go", "”", "Yes"]  # fmt: skip
    assert found[0].words[0][2:5] == (None, None, "")
    assert not found[1].words
    assert not found[2].words


# Words in tables


def read(tmp_path, part: dict, data: dict[str, str]) -> pl.DataFrame:
    for name, text in data.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    corpus = CorpusConfig.model_validate(
        {"parts": [{"subset": "s", "path": str(tmp_path / "in"), "min_chars": 1, **part}]}
    )
    frame = read_documents(corpus, {}, tmp_path / "documents", "c")
    assert read_table(tmp_path / "documents").equals(frame)
    return frame


def annotated(frame: pl.DataFrame) -> list[AnnotatedText]:
    return [
        AnnotatedText(text, tuple(from_records(words)))
        for text, words in frame.select("text", "words").iter_rows()
    ]


def test_a_treebank_becomes_documents_with_words(tmp_path):
    frame = read(tmp_path, {"reader": "conllu"}, {"a.conllu": TREEBANK, "b.conllu": TREEBANK[:80]})
    assert frame["document"].to_list() == ["s/in/a.conllu:first", "s/in/a.conllu:1"]
    assert frame["group"].to_list() == ["s/a.conllu:first", "s/a.conllu:1"]
    assert annotated(frame) == [document for _, document in parse_conllu(TREEBANK)]


def test_pieces_of_documents_keep_their_words(tmp_path):
    sentences = [
        f"# newpar\n# text = This is {'very ' * n}long.\n"
        + "\n".join(
            line(i + 1, form, misc="SpaceAfter=No" if form == "long" else "_")
            for i, form in enumerate(["This", "is", *["very"] * n, "long", "."])
        )
        for n in (18, 30, 2, 22)
    ]
    text = "\n\n".join(sentences)
    ((_, whole),) = parse_conllu(text)
    found = annotated(read(tmp_path, {"reader": "conllu", "split_chars": 100}, {"a": text}))
    assert len(found) > 1
    assert "\n\n".join(piece.text for piece in found) == whole.text
    assert [form for piece in found for form in forms(piece)] == forms(whole)
    for piece in found:
        check_words(piece.words, piece.text, "piece")


def test_tagged_text_is_the_text_without_tags(tmp_path):
    plain = read(tmp_path, {"reader": "files", "format": "brown"}, {"ca01": BROWN})
    tagged = read(tmp_path, {"reader": "files", "format": "brown_tagged"}, {"ca01": BROWN})
    assert plain["text"].equals(tagged["text"])
    assert plain["words"].null_count() == 1
    assert annotated(tagged) == [read_tagged_brown(BROWN)]


def test_a_pipeline_replaces_what_the_files_say(tmp_path):
    pipeline = blank_pipeline(tmp_path / "pipeline", "sentencizer")
    frame = read(
        tmp_path,
        {"reader": "conllu", "annotate_with": {"package": str(pipeline)}},
        {"a.conllu": TREEBANK},
    )
    assert [word.upos for document in annotated(frame) for word in document.words] == [None] * 22


def test_parts_whose_pipeline_is_not_to_be_had_are_left_out(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("Some text.")
    (tmp_path / "p").mkdir()
    info = SourceInfo(
        name="p", registry="pypi", packages=[], licence="", description="", available=False,
        reason="gone", files=0, bytes=0,
    )  # fmt: skip
    write_json(info.model_dump(), tmp_path / "p" / "source.json")
    part = {"reader": "files", "path": str(tmp_path / "a.txt"), "min_chars": 1}
    corpus = CorpusConfig.model_validate(
        {
            "parts": [
                {**part, "subset": "parsed", "annotate_with": {"source": "p"}},
                {**part, "subset": "plain"},
            ]
        }
    )
    assert corpus.source_names() == ["p"]
    frame = read_documents(corpus, {"p": tmp_path / "p"}, tmp_path / "documents", "c")
    assert frame["subset"].to_list() == ["plain"]
    assert "goes without parsed" in caplog.text


@pytest.mark.parametrize("origin", [{}, {"source": "p", "package": "q"}])
def test_a_pipeline_has_one_origin(origin):
    part = {"reader": "files", "subset": "s", "path": "a", "annotate_with": origin}
    with pytest.raises(ValidationError, match="exactly one of source and package"):
        CorpusConfig.model_validate({"parts": [part]})


def test_crops_have_the_words_that_they_touch():
    words = [Word(a, b, "X", None, None, False) for a, b in ((0, 2), (2, 5), (6, 9), (9, 9 + 1))]
    records = [word._asdict() for word in words]
    documents = pl.DataFrame({"document": ["d", "e"], "words": [records, None]})
    crops = pl.DataFrame(
        {
            "document": ["d", "d", "d", "e"],
            "char_start": [0, 3, 5, 0],
            "char_end": [10, 7, 6, 9],
        }
    )
    found = words_of_crops(crops, documents).to_list()
    assert [from_records(row) for row in found] == [words, words[1:3], [], []]
    assert found[3] is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=8),
    st.integers(0, 20),
    st.integers(1, 10),
)
def test_words_within_are_those_that_share_a_character(gaps, start, length):
    words, position = [], 0
    for gap, size in gaps:
        words.append(Word(position + gap, position + gap + size, None, None, None, False))
        position += gap + size
    inside = set(range(start, start + length))
    expected = [word for word in words if inside & set(range(word.start, word.end))]
    assert list(words_within(words, start, start + length)) == expected


@pytest.mark.parametrize("spans", [[(0, 0)], [(3, 5), (2, 6)], [(0, 12)], [(3, 6), (4, 5)]])
def test_words_outside_or_out_of_order_are_refused(spans):
    with pytest.raises(DataError, match="a word has the characters"):
        check_words([Word(a, b, None, None, None, False) for a, b in spans], "text of 10", "here")
