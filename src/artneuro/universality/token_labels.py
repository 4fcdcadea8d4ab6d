"""Labels of a text's tokens from the text itself: strings, words, grammar, documents, topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.datasets.seeding import generator_of
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.datasets.tokens import TokenDataset
from artneuro.datasets.words import WORDS_COLUMN
from artneuro.universality.blocks import wanted_tokens
from artneuro.universality.explanations import NONE, Explanation, Labelling, Labels
from artneuro.universality.explanations_config import ExplanationsConfig, UnigramsConfig
from artneuro.universality.families import SHUFFLED
from artneuro.universality.grammar_labels import grammar_labelling
from artneuro.universality.topics import find_topics
from artneuro.universality.vocabulary import vocabulary_features, vocabulary_table, word_form

# Where a token stands in a written word, and how the explanation says so.
PLACES = ("whole word", "first token", "later token")
UNIGRAM, LETTER = "unigram", "letter"


@dataclass(frozen=True)
class LabelledText:
    """A text with what is needed to label it.

    Attributes
    ----------
    dataset : TokenDataset
    tokenizer : TextTokenizer
    strings : list of str
        The text of every id.
    text : (n_sequences, n_ctx) array of bool
        Tokens of the text: neither special nor padding.
    included : (n_sequences, n_ctx) array of bool
        Tokens that statistics are of.
    """

    dataset: TokenDataset
    tokenizer: TextTokenizer
    strings: list[str]
    text: np.ndarray
    included: np.ndarray


def labelled_text(
    dataset: TokenDataset, tokenizer: TextTokenizer, exclude: Sequence[str]
) -> LabelledText:
    """Find the tokens of a text that statistics are of.

    Parameters
    ----------
    dataset : TokenDataset
    tokenizer : TextTokenizer
    exclude : sequence of {"document_token", "newline"}
        What to leave out besides padding.

    Raises
    ------
    DataError
        If nothing is left.
    """
    strings = tokenizer.strings()
    text = dataset.labelled(0) & ~np.isin(dataset.tokens, tokenizer.special)
    included = wanted_tokens(dataset, strings, exclude)
    return LabelledText(dataset, tokenizer, strings, text, included)


def label_text(
    text: LabelledText, config: ExplanationsConfig, small_norm: np.ndarray | None = None
) -> Labels:
    """All explanations of a text's tokens, and of the tokens before.

    Parameters
    ----------
    text : LabelledText
    config : ExplanationsConfig
        Which categories, and what is frequent enough.
    small_norm : (n_small,) array of int, optional
        Ids with the smallest embeddings.
    """
    found: list[Labelling] = []
    if "vocabulary" in config.categories:
        found.append(vocabulary_labelling(text, small_norm))
    if "unigrams" in config.categories:
        found.append(unigram_labelling(text, config.unigrams))
    if "words" in config.categories and WORDS_COLUMN in text.dataset.sequences.columns:
        found.append(grammar_labelling(text.dataset))
    found += [labelling.of_previous(text.text) for labelling in found]
    found += document_labellings(text, config)
    return Labels(found, text.included, config.min_positives)


def vocabulary_labelling(text: LabelledText, small_norm: np.ndarray | None) -> Labelling:
    """What the strings of tokens say, and whether their embedding is among the smallest."""
    ids, codes = np.unique(np.where(text.text, text.dataset.tokens, NONE), return_inverse=True)
    whole = text.tokenizer.whole(text.strings)
    own = [i for i in ids.tolist() if i != NONE]
    table = np.zeros((len(ids), len(vocabulary_features())), dtype=bool)
    table[ids != NONE] = vocabulary_table([text.strings[i] for i in own], whole[own])
    named = [Explanation(f.category, f.name) for f in vocabulary_features()]
    if small_norm is not None:
        table = np.column_stack([table, np.isin(ids, small_norm)])
        named.append(Explanation("type", "small embedding"))
    return Labelling(tuple(named), codes.reshape(text.text.shape).astype(np.int32), table)


def word_places(text: LabelledText) -> np.ndarray:
    """Where each token stands in a written word: index in `PLACES`, NONE where in none.

    A written word is a run of letters and digits. A token begins one unless the token before ends
    in such a character and its own first one follows without a space, and is its last unless the
    next token goes on in the same way.

    Returns
    -------
    (n_sequences, n_ctx) int8
    """
    first = np.array([s[:1].isalnum() for s in text.strings])
    last = np.array([s[-1:].isalnum() for s in text.strings])
    within = np.array([s.removeprefix(" ")[:1].isalnum() for s in text.strings])
    ids = np.where(text.text, text.dataset.tokens, 0)
    joins = np.zeros(text.text.shape, dtype=bool)
    joins[:, 1:] = first[ids[:, 1:]] & last[ids[:, :-1]] & text.text[:, 1:] & text.text[:, :-1]
    goes_on = np.zeros_like(joins)
    goes_on[:, :-1] = joins[:, 1:]
    place = np.where(joins, 2, np.where(goes_on, 1, 0))
    return np.where(text.text & within[ids], place, NONE).astype(np.int8)


def unigram_labelling(text: LabelledText, config: UnigramsConfig) -> Labelling:
    """Frequent words: in all ways of writing them, and by the token's place in a written word.

    Notes
    -----
    Thesis, section 3.4.3 and figure B.8: "an", "an|agram", "Gig|an|tism".
    """
    # Tokens with some bytes of a character are no writing of anything.
    whole = text.tokenizer.whole(text.strings)
    forms = [
        word_form(s) if s.strip() and is_whole else ""
        for s, is_whole in zip(text.strings, whole, strict=True)
    ]
    variants = Counter(form for form in forms if form)
    # Of tokens that statistics are of: line breaks and the like are no words.
    ids = np.where(text.included & text.text, text.dataset.tokens, NONE)
    counts: Counter[str] = Counter()
    for i, n in zip(*np.unique(ids[ids != NONE], return_counts=True), strict=True):
        if forms[i]:
            counts[forms[i]] += int(n)
    least = config.min_share * text.included.sum()
    frequent = [
        form
        for form, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if n >= least and variants[form] >= config.min_variants
    ][: config.most]
    rank = {form: i for i, form in enumerate(frequent)}
    of_id = np.array([rank.get(form, NONE) for form in forms] + [NONE])
    word, place = of_id[np.where(text.text, text.dataset.tokens, -1)], word_places(text)
    # Code of a word at a place; the last of four is for signs, which are in no written word.
    codes = np.where(word == NONE, NONE, 4 * word + np.where(place == NONE, 3, place))
    table = np.zeros((4 * len(frequent), 4 * len(frequent)), dtype=bool)
    named = []
    for i, form in enumerate(frequent):
        here = slice(4 * i, 4 * i + 4)
        table[here, here] = np.eye(4, dtype=bool)
        table[here, 4 * i + 3] = True
        named += [Explanation(UNIGRAM, f"{form} ({where})") for where in PLACES]
        named.append(Explanation(UNIGRAM, form))
    return _without_copies(Labelling(tuple(named), codes.astype(np.int32), table), text.included)


def _without_copies(labelling: Labelling, included: np.ndarray) -> Labelling:
    """Leave out a word that stands in one place only: the explanation with the place says more."""
    codes = labelling.codes[included]
    counts = np.bincount(codes[codes != NONE], minlength=len(labelling.table))
    total = counts @ labelling.table.astype(np.int64)
    kept = np.ones(len(total), dtype=bool)
    for last in range(3, len(total), 4):
        kept[last] = total[last] not in total[last - 3 : last]
    explanations = tuple(e for e, keep in zip(labelling.explanations, kept, strict=True) if keep)
    return Labelling(explanations, labelling.codes, labelling.table[:, kept])


def document_labellings(text: LabelledText, config: ExplanationsConfig) -> list[Labelling]:
    """Subset and language of each document, its topics, and the same of shuffled documents."""
    table = text.dataset.sequences
    parts = table.group_by("document", maintain_order=True).agg(
        pl.first("subset", "language"), pl.col("text")
    )
    columns: list[np.ndarray] = []
    named: list[Explanation] = []
    if "documents" in config.categories:
        for category in ("subset", "language"):
            values = parts[category].fill_null("").to_numpy()
            for value in sorted(set(values.tolist()) - {""}):
                named.append(Explanation(category, value))
                columns.append(values == value)
    if "topics" in config.categories:
        texts = ["\n".join(pieces) for pieces in parts["text"].to_list()]
        topics = find_topics(texts, config.topics, config.seed)
        named += [Explanation("topic", name) for name in topics.names]
        columns += list(topics.members.T)
    if not columns:
        return []
    members = np.stack(columns, axis=1)
    number = {name: i for i, name in enumerate(parts["document"])}
    of_sequence = np.array([number[d] for d in table["document"]], dtype=np.int32)
    codes = np.broadcast_to(of_sequence[:, None], text.text.shape)
    # As many documents, of the same lengths, that have nothing in common.
    order = generator_of(config.seed, "shuffled documents").permutation(len(parts))
    shuffled = tuple(Explanation(SHUFFLED, f"{e.category}/{e.name}") for e in named)
    return [
        Labelling(tuple(named), codes, members, True),
        Labelling(shuffled, codes, members[order], True),
    ]
