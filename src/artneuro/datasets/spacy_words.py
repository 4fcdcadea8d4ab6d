"""Words of any text from a spaCy pipeline, in the terms of Universal Dependencies.

The English pipelines of spaCy tag in universal parts of speech but parse into the relations of
CLEAR style (Choi and Palmer, Guidelines for the Clear Style Constituent to Dependency Conversion,
2012), where prepositions and copulas are heads. `universal_relations` says what a word's relation
is in a universal tree; `universal_features` does the same for the few morphological features that
the English treebanks have and the pipelines lack.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artneuro.core.errors import SourceError
from artneuro.core.logs import Progress
from artneuro.datasets.words import AnnotatedText, Word, shifted

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

log = logging.getLogger(__name__)

PARAGRAPH_BREAK = "\n\n"
# Components that give nothing that is labelled, and the one that finds named entities.
UNUSED = ("lemmatizer",)
ENTITIES = "ner"
BE = frozenset(["be", "am", "is", "are", "was", "were", "been", "being", "'s", "'re", "'m", "’s",
                "’re", "’m", "ai"])  # fmt: skip
# A determiner that governs something stands for a noun: "some of them".
NOMINAL = frozenset(["NOUN", "PROPN", "PRON", "NUM", "SYM", "DET"])
# Relations of one meaning whatever surrounds them. Those that neither this table nor the rules name
# are not told apart well enough by the parser and stay unknown.
SAME_MEANING = {
    "ROOT": "root",
    "acl": "acl",
    "advcl": "advcl",
    "advmod": "advmod",
    "amod": "amod",
    "appos": "appos",
    "aux": "aux",
    "auxpass": "aux:pass",
    "case": "case",
    "cc": "cc",
    "ccomp": "ccomp",
    "compound": "compound",
    "conj": "conj",
    "csubj": "csubj",
    "csubjpass": "csubj:pass",
    "dative": "iobj",
    "det": "det",
    "dobj": "obj",
    "expl": "expl",
    "intj": "discourse",
    "mark": "mark",
    "neg": "advmod",
    "npadvmod": "obl:unmarked",
    "nsubj": "nsubj",
    "nsubjpass": "nsubj:pass",
    "nummod": "nummod",
    "oprd": "xcomp",
    "parataxis": "parataxis",
    "poss": "nmod:poss",
    "preconj": "cc:preconj",
    "predet": "det:predet",
    "prt": "compound:prt",
    "punct": "punct",
    "quantmod": "advmod",
    "relcl": "acl:relcl",
    "xcomp": "xcomp",
}


class SpacyAnnotator:
    """A spaCy pipeline that annotates texts.

    Parameters
    ----------
    pipeline : str or path
        Name of an installed pipeline package such as `en_core_web_sm`, or a folder with one,
        possibly somewhere below it. Nothing is downloaded.
    entities : bool
        Whether to find named entities.

    Raises
    ------
    SourceError
        If spaCy is not installed, there is no such pipeline, or it finds no sentences or entities.
    """

    def __init__(self, pipeline: str | Path, entities: bool = False) -> None:
        self._nlp = _load(pipeline, UNUSED if entities else (*UNUSED, ENTITIES))
        if entities and ENTITIES not in self._nlp.pipe_names:
            raise SourceError(
                f"the pipeline finds no entities; it has {', '.join(self._nlp.pipe_names) or '-'}",
                where=str(pipeline),
                fix="use a pipeline with a component ner, or set entities: false",
            )
        if not {"parser", "senter", "sentencizer"} & set(self._nlp.pipe_names):
            raise SourceError(
                f"the pipeline finds no sentences; it has {', '.join(self._nlp.pipe_names) or '-'}",
                where=str(pipeline),
                fix="use a pipeline with a parser, such as en_core_web_sm",
            )
        meta = self._nlp.meta
        self.name = f"{meta['lang']}_{meta['name']} {meta['version']}"

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedText]:
        """Parse texts, paragraph by paragraph, so that no sentence goes over a blank line.

        Parameters
        ----------
        texts : sequence of str
            Whole documents.

        Returns
        -------
        list of AnnotatedText
            One for each text, white space never a word.
        """
        pieces = [list(_paragraphs(text)) for text in texts]
        flat = [text[a:b] for text, spans in zip(texts, pieces, strict=True) for a, b in spans]
        parsed = self._nlp.pipe(flat)
        progress = Progress("parsed", len(texts), "documents", log)
        found = []
        for text, spans in zip(texts, pieces, strict=True):
            words: list[Word] = []
            for start, _ in spans:
                words += shifted(_words_of(next(parsed)), start)
            found.append(AnnotatedText(text, tuple(words)))
            progress.add(1)
        return found


def _load(pipeline: str | Path, exclude: Sequence[str]) -> Language:
    try:
        import spacy
    except ImportError as error:
        raise SourceError(
            f"annotating words needs spaCy, which cannot be imported ({error})",
            where=f"pipeline {pipeline}",
            fix="pip install 'artneuro[linguistics]', or use a treebank",
        ) from error
    folder = Path(pipeline)
    name = _pipeline_folder(folder) if folder.is_dir() else str(pipeline)
    try:
        return spacy.load(name, exclude=list(exclude))
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(
            f"spaCy cannot load the pipeline ({error})",
            where=str(pipeline),
            fix="install the pipeline's package, name its folder, or add it to the sources",
        ) from error


def _pipeline_folder(folder: Path) -> Path:
    """The folder with a pipeline's config at or below a folder."""
    found = sorted(path.parent for path in folder.rglob("config.cfg"))
    if len(found) != 1:
        raise SourceError(
            f"{len(found)} pipelines of spaCy (folders with config.cfg) where one is needed",
            where=str(folder),
            fix="name the folder of one pipeline",
        )
    return found[0]


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Characters [start, end) of the parts between blank lines that hold more than space."""
    start = 0
    for part in text.split(PARAGRAPH_BREAK):
        if part.strip():
            yield start, start + len(part)
        start += len(part) + len(PARAGRAPH_BREAK)


def _words_of(doc: Doc) -> Iterator[Word]:
    forms = [token.text.lower() for token in doc]
    upos = [token.pos_ for token in doc]
    heads = [token.head.i for token in doc]
    relations = [token.dep_ for token in doc]
    universal = universal_relations(forms, upos, heads, relations)
    features = universal_features(
        forms, [token.tag_ for token in doc], heads, relations, [str(token.morph) for token in doc]
    )
    spoken = [not token.is_space for token in doc]
    last = {
        max((i for i in range(sentence.start, sentence.end) if spoken[i]), default=-1)
        for sentence in doc.sents
    }
    for token in doc:
        i = token.i
        if spoken[i]:
            start = token.idx
            end = start + len(token.text)
            yield Word(
                start, end, upos[i] or None, universal[i], features[i], i in last,
                token.ent_type_ or None,
            )  # fmt: skip


def universal_relations(
    forms: Sequence[str], upos: Sequence[str], heads: Sequence[int], relations: Sequence[str]
) -> list[str | None]:
    """Return the universal relation of every word of a tree in CLEAR style.

    Parameters
    ----------
    forms : sequence of str
        The words in lower case.
    upos : sequence of str
        Their universal parts of speech.
    heads : sequence of int
        Index of each word's head; a root is its own.
    relations : sequence of str
        Relations to the heads, such as pobj.

    Returns
    -------
    list of str or None
        None where the tree does not tell.
    """
    n = len(forms)
    children: list[list[int]] = [[] for _ in range(n)]
    for i, head in enumerate(heads):
        if head != i:
            children[head].append(i)
    found: list[str | None] = [SAME_MEANING.get(relation) for relation in relations]
    for i, relation in enumerate(relations):
        if relation == "aux" and upos[i] == "PART":  # "to" before an infinitive
            found[i] = "mark"
        elif relation == "compound" and upos[i] == upos[heads[i]] == "PROPN":
            found[i] = None  # a name: flat, or compound as in "Fulton County"
        elif relation in ("attr", "acomp"):
            found[i] = "xcomp"  # of other verbs than to be: "became a doctor"
    for i in range(n):
        if relations[i] in ("prep", "agent") or (relations[i] == "dative" and upos[i] == "ADP"):
            _turn_preposition(i, upos, heads, relations, children, found)
    for i in range(n):
        is_verb = upos[i] in ("AUX", "VERB") and relations[i] not in ("aux", "auxpass")
        if forms[i] in BE and is_verb:
            _turn_copula(i, relations, children, found)
    return found


def _turn_preposition(
    i: int,
    upos: Sequence[str],
    heads: Sequence[int],
    relations: Sequence[str],
    children: Sequence[Sequence[int]],
    found: list[str | None],
) -> None:
    """Make what a preposition governs the dependent of what the preposition depends on."""
    governor = heads[i]
    while relations[governor] in ("prep", "agent") and heads[governor] != governor:
        governor = heads[governor]  # "out of the house"
    nominal = upos[governor] in NOMINAL
    objects = [c for c in children[i] if relations[c] == "pobj"]
    clauses = [c for c in children[i] if relations[c] == "pcomp"]
    further = [c for c in children[i] if relations[c] == "prep"]
    for c in objects:
        found[c] = "nmod" if nominal else "obl"
    for c in clauses:
        found[c] = "acl" if nominal else "advcl"
    if objects or further:
        found[i] = "case"
    else:  # a preposition that nothing follows is stranded, and has no relation for sure
        found[i] = "mark" if clauses else None


def _turn_copula(
    i: int,
    relations: Sequence[str],
    children: Sequence[Sequence[int]],
    found: list[str | None],
) -> None:
    """Make the predicate of *to be* the head, in the place that the verb had."""
    kinds = {relations[c]: c for c in reversed(children[i])}
    if "expl" in kinds:  # "there is": the verb stays head
        if "attr" in kinds:
            found[kinds["attr"]] = "nsubj"
        return
    predicate = kinds.get("attr", kinds.get("acomp"))
    if predicate is not None:
        found[predicate], found[i] = found[i], "cop"
    else:
        # "is in the house" has the noun as its head, "is to leave" the other verb: too many cases.
        found[i] = None
        for c in children[kinds["prep"]] if "prep" in kinds else ():
            found[c] = None


def universal_features(
    forms: Sequence[str],
    tags: Sequence[str],
    heads: Sequence[int],
    relations: Sequence[str],
    features: Sequence[str],
) -> list[str]:
    """Add what the English treebanks mark and the pipelines do not: passives and gerunds.

    A verb with a passive subject or auxiliary has `Voice=Pass`. A form in -ing is a participle
    (`VerbForm=Part`) after a form of *to be*, as in "was singing", and else `VerbForm=Ger`.

    Parameters
    ----------
    forms, tags, features : sequence of str
        The words in lower case, their Penn Treebank tags and features (`Number=Sing|Person=3`).
    heads, relations : sequence
        As in `universal_relations`.
    """
    n = len(forms)
    passive = {heads[i] for i in range(n) if relations[i] in ("auxpass", "nsubjpass", "csubjpass")}
    helped = {heads[i] for i in range(n) if relations[i] == "aux" and forms[i] in BE}
    found = []
    for i in range(n):
        values = dict(item.split("=", 1) for item in features[i].split("|") if item)
        if i in passive and tags[i] == "VBN":
            values["Voice"] = "Pass"
        if tags[i] == "VBG":
            first = i
            while relations[first] == "conj" and tags[heads[first]] == "VBG":
                first = heads[first]  # "was singing and dancing"
            if first not in helped:
                values = {"VerbForm": "Ger"}
        found.append("|".join(f"{name}={values[name]}" for name in sorted(values)))
    return found
