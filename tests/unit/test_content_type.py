"""Content types of unlabelled source files: thresholds, the real model, and corpora that ask."""

from __future__ import annotations

import logging
import sys

import pytest

from artneuro.core.errors import SourceError
from artneuro.datasets.content_type import LANGUAGES, magika_classifier, with_detected_language
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents
from artneuro.datasets.readers.base import RawDocument

SOURCES = {
    "Python": "import os\n\n\ndef main(path):\n    for name in os.listdir(path):\n"
    "        print(f'{name}: {os.path.getsize(name)}')\n\n\nif __name__ == '__main__':\n"
    "    main('.')\n",
    "Java": "package a.b;\n\nimport java.util.List;\n\npublic class Box<T> {\n"
    "    private final List<T> items;\n\n    public Box(List<T> items) {\n"
    "        this.items = items;\n    }\n\n    public T first() {\n"
    "        return items.get(0);\n    }\n}\n",
    "Go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := 0; i < 3; i++ {\n'
    '\t\tfmt.Println("hello", i)\n\t}\n}\n',
    "PHP": "<?php\n\nnamespace App\\Model;\n\nuse App\\Base;\n\nclass Box extends Base\n{\n"
    "    public function first(array $items): ?string\n    {\n"
    "        return $items[0] ?? null;\n    }\n}\n",
}  # fmt: skip


def test_doubtful_files_and_other_types_are_left_out(caplog):
    answers = {"a": ("python", 0.95), "b": ("python", 0.899), "c": ("txt", 0.99), "d": ("cpp", 0.9)}
    documents = [RawDocument(key, key, key) for key in answers]
    documents.append(RawDocument("e", "e", "known", language="COBOL"))
    with caplog.at_level(logging.INFO):
        found = list(with_detected_language(documents, 0.9, answers.__getitem__))
    assert [(d.key, d.language) for d in found] == [("a", "Python"), ("d", "C++"), ("e", "COBOL")]
    assert "C++ 1, Python 1; left out: 1 below a confidence of 0.9, 1 of other types: txt 1" in (
        caplog.text
    )


def test_languages_of_the_thesis_have_the_names_of_the_thesis():
    wanted = {"Python", "XML", "Java", "C++", "HTML", "C", "Go", "PHP", "JavaScript"}
    assert wanted <= set(LANGUAGES.values())


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "magika", None)
    with pytest.raises(SourceError, match=r"content-type"):
        magika_classifier()


def test_the_model_knows_real_files():
    pytest.importorskip("magika")
    classify = magika_classifier()
    for name, text in SOURCES.items():
        label, score = classify(text)
        assert LANGUAGES[label] == name
        assert score >= 0.8
    assert classify("Dear all, we meet on Tuesday at noon.")[0] not in LANGUAGES


def test_corpora_detect_languages_and_sample_each(tmp_path):
    pytest.importorskip("magika")
    for name, text in SOURCES.items():
        for i in range(3):
            path = tmp_path / "files" / f"{name}{i}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("main", f"main{i}").replace("Box", f"Box{i}") + "\n" * i)
    (tmp_path / "files" / "letter").write_text("Dear all, we meet on Tuesday at noon. " * 3)
    part = {
        "reader": "files", "subset": "code", "path": str(tmp_path / "files"), "language": "detect",
        "min_confidence": 0.5, "min_chars": 20, "max_documents": 2,
    }  # fmt: skip
    config = CorpusConfig.model_validate({"parts": [part]})
    frame = read_documents(config, {}, tmp_path / "documents", "c")
    counts = dict(frame.group_by("language").len().iter_rows())
    assert set(counts) == set(SOURCES)
    assert set(counts.values()) <= {1, 2}
    assert max(counts.values()) == 2
    for name, language in frame.select("document", "language").iter_rows():
        assert name.startswith(f"code/{language}/")
        assert f"/{language}" in name
