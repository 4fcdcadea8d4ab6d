"""The Brown corpus' tags as universal parts of speech, where a tag leaves no doubt.

The tags are those of W. N. Francis and H. Kučera, Manual of Information to accompany A Standard
Corpus of Present-Day Edited American English (Brown University, 1979). What a tag does not decide
(whether *do* is an auxiliary, whether *that* is a determiner or a pronoun) stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from artneuro.core.errors import DataError
from artneuro.datasets.readers.formats import brown_text
from artneuro.datasets.words import AnnotatedText, Word

_UNIVERSAL = {
    "NOUN": ("nn", "nns"),
    "PROPN": ("np", "nps"),
    "VERB": ("vb", "vbd", "vbg", "vbn", "vbz"),
    "AUX": ("be", "bed", "bedz", "beg", "bem", "ben", "ber", "bez", "md"),
    "ADJ": ("jj", "jjr", "jjs", "jjt", "od"),
    "ADV": ("rb", "rbr", "rbt", "rn", "ql", "qlp"),
    "PRON": ("ex", "pn", "pp$", "pp$$", "ppl", "ppls", "ppo", "pps", "ppss", "wpo", "wps"),
    "DET": ("at",),
    "ADP": ("in", "rp"),
    "CCONJ": ("cc",),
    "NUM": ("cd",),
    "PART": ("to", "*"),
    "INTJ": ("uh",),
    "PUNCT": (".", ",", ":", "--", "-", "(", ")", "``", "''", "'"),
}
UPOS_OF_TAG = {tag: upos for upos, tags in _UNIVERSAL.items() for tag in tags}
# `cs` is a conjunction or, as in "than him", a preposition: these are conjunctions alone.
_CONJUNCTIONS = frozenset(["although", "because", "if", "lest", "though", "unless", "whether"])
_CLITIC = re.compile(r"(?i)(?<=.)(n['’]t|['’](?:s|re|m|ll|ve|d)|(?<=s)['’])$")
_NEGATED_TOGETHER = re.compile(r"(?i)(?<=^can)not$")
_POSSESSIVE = ("nn$", "nns$", "np$", "nps$")
# Of "there is" and the like: within so many words of the tag `ex`, *be* is no auxiliary.
_EXISTENTIAL_REACH = 3


def universal_tag(word: str, tag: str) -> str | None:
    """Return the universal part of speech of a word with a simple tag; None where it is unclear.

    Titles (-tl) are unclear, because their words are proper nouns in names and themselves in
    descriptions, and so are cited (-nc) and foreign (fw-) words. Headlines (-hl) count like text.
    """
    base = tag.lower().removesuffix("-hl")
    if base == "cs":
        return "SCONJ" if word.lower() in _CONJUNCTIONS else None
    return UPOS_OF_TAG.get(base)


def tagged_words(word: str, tag: str) -> list[tuple[str, str | None]]:
    """Part a word as treebanks do and give each piece its universal part of speech.

    Examples
    --------
    >>> tagged_words("it's", "pps+bez")
    [('it', 'PRON'), ("'s", 'AUX')]
    >>> tagged_words("Atlanta's", "np$")
    [('Atlanta', 'PROPN'), ("'s", 'PART')]
    """
    base = tag.lower().removesuffix("-hl")
    negated = base.endswith("*") and base != "*"
    match = _CLITIC.search(word) or (_NEGATED_TOGETHER.search(word) if negated else None)
    if negated:
        # An auxiliary is what can be negated so: "don't", where "do" alone might be a verb.
        host = "AUX" if base[:2] in ("do", "md", "be", "hv") else None
        pieces: tuple[str | None, str | None] = (host, "PART")
    elif base in _POSSESSIVE:
        pieces = (universal_tag(word, base[:-1]), "PART")
    elif "+" in base and base.count("+") == 1:
        first, second = base.split("+")
        pieces = (universal_tag(word, first), universal_tag(word, second))
    else:
        return [(word, universal_tag(word, tag))]
    if match is None:
        return [(word, None)]
    return [(word[: match.start()], pieces[0]), (word[match.start() :], pieces[1])]


def read_tagged_brown(text: str, where: str = "") -> AnnotatedText:
    """Running text of `word/tag` pairs, as `brown_text` gives it, with the words' tags.

    A line is a sentence. A mark that the corpus doubles, at the end of a quotation and of its
    sentence, stands once in the text and once among the words.

    Parameters
    ----------
    text : str
        Contents of a file of the corpus.
    where : str
        What to call it in errors.

    Raises
    ------
    DataError
        If a word is not where the running text has it.
    """
    running = brown_text(text)
    words: list[Word] = []
    position = 0
    for pairs in _sentences(text):
        before = len(words)
        for pieces in _parted(pairs):
            for form, upos in pieces:
                start = position
                while start < len(running) and running[start].isspace():
                    start += 1
                if running.startswith(form, start):
                    position = start + len(form)
                    words.append(Word(start, position, upos, None, None, False))
                elif not re.fullmatch(r"[.;:?!]+", form):
                    raise DataError(
                        f"{form!r} does not come next in the running text: "
                        f"{running[start:][:40]!r}",
                        where=where,
                        fix="the file is not in the format of the Brown corpus",
                    )
        if len(words) > before:
            words[-1] = words[-1]._replace(sentence_end=True)
    return AnnotatedText(running, tuple(words))


def _sentences(text: str) -> Iterator[list[tuple[str, str]]]:
    for line in text.split("\n"):
        pairs = [pair.rpartition("/") for pair in line.split()]
        if pairs:
            yield [(word, tag) for word, _, tag in pairs]


def _parted(pairs: list[tuple[str, str]]) -> Iterator[list[tuple[str, str | None]]]:
    """Each pair's pieces as they stand in the running text, with what the neighbours tell."""
    tags = [tag.lower().removesuffix("-hl") for _, tag in pairs]
    existential = [i for i, tag in enumerate(tags) if tag.startswith("ex")]
    for i, (word, tag) in enumerate(pairs):
        written = re.sub(r"([.;:?!])\1+", r"\1", word.replace("``", '"').replace("''", '"'))
        pieces = tagged_words(written, tag)
        if any(abs(i - j) <= _EXISTENTIAL_REACH for j in existential):
            pieces = [(form, None if upos == "AUX" else upos) for form, upos in pieces]
        # "before leaving": treebanks have a conjunction where a clause follows.
        if tags[i] == "in" and tags[i + 1 : i + 2] == ["vbg"]:
            pieces = [(form, None) for form, _ in pieces]
        yield pieces
