"""Treebanks in CoNLL-U, the format of Universal Dependencies: documents of whole texts with words.

https://universaldependencies.org/format.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from artneuro.core.errors import DataError
from artneuro.datasets.corpus_config import ConlluPart
from artneuro.datasets.readers.base import RawDocument, group_of, part_files, read_text
from artneuro.datasets.words import AnnotatedText, Word, shifted

log = logging.getLogger(__name__)

N_COLUMNS = 10
PARAGRAPH_BREAK = "\n\n"


@dataclass
class _Unit:
    """What is written as one: a word, or a range of words such as 1-2 `don't`."""

    form: str
    space_after: bool
    words: list[list[str]]
    line: int


@dataclass
class _Sentence:
    text: str | None = None
    units: list[_Unit] = field(default_factory=list)
    # Last id of the range that the next words may belong to.
    open_until: int = 0


@dataclass
class _Document:
    parts: list[str] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    length: int = 0
    separator: str = ""

    def add(self, sentence: AnnotatedText, space_after: bool) -> None:
        if self.parts:
            self.parts.append(self.separator)
            self.length += len(self.separator)
        self.words += shifted(sentence.words, self.length)
        self.parts.append(sentence.text)
        self.length += len(sentence.text)
        self.separator = " " if space_after else ""

    def finished(self) -> AnnotatedText:
        return AnnotatedText("".join(self.parts), tuple(self.words))


def read_conllu(part: ConlluPart, folder: Path | None) -> Iterator[RawDocument]:
    """Read treebank files: one document for each `# newdoc`, or a file without any.

    Sentences are joined by a space, paragraphs (`# newpar`) by a blank line.

    Parameters
    ----------
    part : ConlluPart
        The part. Without a `group` pattern a document is a group of its own.
    folder : Path or None
        The fetched folder of its source, where it has one.

    Raises
    ------
    DataError
        If a file is not valid CoNLL-U.
    """
    for file in part_files(part, folder):
        text = read_text(file.path)
        if text is None:
            raise DataError("a binary file is no CoNLL-U", where=file.name, fix="correct `files`")
        for number, (name, document) in enumerate(parse_conllu(text, file.name)):
            key = f"{file.name}:{name or number}"
            group = group_of(part, file.name) if part.group is not None else key
            yield RawDocument(key, group, document.text, words=document.words)


def parse_conllu(text: str, where: str = "") -> Iterator[tuple[str | None, AnnotatedText]]:
    """Documents of a CoNLL-U text: the id that `# newdoc` gives, and the text with its words.

    A sentence's text is what `# text` says, else its forms with the spaces that `SpaceAfter=No`
    does not take away. Words of a range share out its characters where their forms put together
    are the range's form, as in *did* + *n't*; else each has all of them. Empty nodes (8.1) stand
    for nothing written and are left out.

    Parameters
    ----------
    text : str
        Contents of a file.
    where : str
        What to call it in errors.
    """
    name: str | None = None
    document = _Document()
    sentence = _Sentence()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.startswith("#"):
            key, _, value = line[1:].strip().partition("=")
            match key.split():
                case ["newdoc", *_]:
                    if document.parts:
                        yield name, document.finished()
                    name, document = value.strip() or None, _Document()
                case ["newpar", *_]:
                    document.separator = PARAGRAPH_BREAK
                case ["text"]:
                    # One space follows the sign; further ones would be the sentence's.
                    sentence.text = value.removeprefix(" ")
        elif line.strip():
            _add_line(sentence, line.split("\t"), f"{where}, line {number}", number)
        elif sentence.units:
            document.add(_annotated(sentence, where), sentence.units[-1].space_after)
            sentence = _Sentence()
    if document.parts:
        yield name, document.finished()


def _add_line(sentence: _Sentence, columns: list[str], place: str, number: int) -> None:
    if len(columns) != N_COLUMNS:
        raise DataError(
            f"a line of CoNLL-U has {N_COLUMNS} columns between tabs, this one {len(columns)}",
            where=place,
            fix="correct the file, or leave it out with `exclude`",
        )
    index, form, misc = columns[0], columns[1], columns[9]
    space_after = "SpaceAfter=No" not in misc.split("|")
    if "." in index:
        return
    first, _, last = index.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise DataError(
            f"{index!r} is no id of CoNLL-U", where=place, fix="ids are 3, 3-4 (a range) or 3.1"
        )
    if last:
        sentence.units.append(_Unit(form, space_after, [], number))
        sentence.open_until = int(last)
    elif int(first) <= sentence.open_until:
        sentence.units[-1].words.append(columns)
    else:
        sentence.units.append(_Unit(form, space_after, [columns], number))


def _annotated(sentence: _Sentence, where: str) -> AnnotatedText:
    text = sentence.text
    if text is None:
        text = "".join(unit.form + " " * unit.space_after for unit in sentence.units).rstrip(" ")
    words: list[Word] = []
    position = 0
    for unit in sentence.units:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith(unit.form, position) or not unit.words:
            raise DataError(
                f"{unit.form!r} does not come next in the sentence's text: {text[position:][:40]!r}"
                if unit.words
                else f"the range {unit.form!r} has no words",
                where=f"{where}, line {unit.line}",
                fix="correct `# text` or the forms",
            )
        words += _words_of(unit, position)
        position += len(unit.form)
    if text[position:].strip():
        raise DataError(
            f"the sentence's text goes on after its last word: {text[position:][:40]!r}",
            where=f"{where}, line {sentence.units[-1].line}",
            fix="correct `# text` or the forms",
        )
    words[-1] = words[-1]._replace(sentence_end=True)
    return AnnotatedText(text, tuple(words))


def _words_of(unit: _Unit, start: int) -> Iterator[Word]:
    forms = [columns[1] for columns in unit.words]
    parted = "".join(forms) == unit.form
    for columns, form in zip(unit.words, forms, strict=True):
        end = start + len(form if parted else unit.form)
        yield Word(
            start, end, _known(columns[3]), _known(columns[7]), _known(columns[5]) or "", False
        )
        start = end if parted else start


def _known(value: str) -> str | None:
    return None if value == "_" else value
