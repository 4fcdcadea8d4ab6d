"""Config of linguistic features: which collections are labelled, and on which tokens of a word."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from artneuro.core.config import Section

LinguisticCollection = Literal["part_of_speech", "dependencies", "morphology"]
# Names as in table A.3: PUNC is the tag PUNCT, and an attribute and its value are joined by _.
FEATURES: dict[LinguisticCollection, tuple[str, ...]] = {
    "part_of_speech": (
        "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PRON", "PROPN", "PUNC",
        "SCONJ", "SYM", "VERB", "X",
    ),
    "dependencies": (
        "acl", "acl:relcl", "advcl", "advmod", "amod", "appos", "aux", "aux:pass", "case", "cc",
        "ccomp", "compound", "conj", "cop", "det", "flat", "list", "mark", "nmod", "nmod:poss",
        "nsubj", "nsubj:pass", "nummod", "obj", "obl", "parataxis", "punct", "root", "xcomp",
    ),
    "morphology": (
        "Gender_Fem", "Gender_Masc", "Gender_Neut", "Mood_Imp", "NumType_Card", "Number_Plur",
        "Person_1", "Person_2", "Person_3", "PronType_Art", "PronType_Dem", "PronType_Int",
        "PronType_Prs", "PronType_Rel", "Tense_Past", "VerbForm_Fin", "VerbForm_Ger",
        "VerbForm_Inf", "VerbForm_Part", "Voice_Pass", "eos_True", "first_eos_True",
    ),
}  # fmt: skip


class Linguistics(Section):
    """Parts of speech, dependencies and morphology of words (table A.3), on the same tokens.

    The words come with the documents: from a treebank, a tagged corpus or a parser
    (`annotate_with` of a corpus part).
    """

    kind: Literal["linguistics"] = Field(description="Linguistic features of words.")
    collections: list[LinguisticCollection] = Field(
        ["part_of_speech", "dependencies", "morphology"],
        min_length=1,
        description="Which collections to label. They share tokens, so that more of them take "
        "few more activations.",
    )
    features: list[str] = Field(
        [],
        description="Which features of these collections to label, named as in table A.3 (NOUN, "
        "nsubj:pass, Tense_Past). Empty: all.",
    )
    labelled_token: Literal["first", "last", "all"] = Field(
        "last",
        description="Which tokens stand for a word of several: the last one, where the model has "
        "seen the whole word, the first, or each of them.",
    )
    max_sequences: int = Field(
        1500,
        ge=4,
        description="Sequences to sample tokens from, if the corpus has as many.",
    )
    max_samples_per_feature: int = Field(
        25000, ge=20, description="Labelled tokens of each feature, both splits together."
    )
    min_positives: int = Field(
        10,
        ge=1,
        description="A feature with fewer positives or negatives in either split is left out.",
    )
    positive_share: float = Field(
        0.2, gt=0, lt=1, description="Share of positives among a feature's labelled tokens."
    )
    skip_tokens: int = Field(
        5,
        ge=0,
        description="The first tokens of a sequence that are never sampled, the document token "
        "included.",
    )

    @field_validator("features")
    @classmethod
    def _known(cls, features: list[str]) -> list[str]:
        known = [name for names in FEATURES.values() for name in names]
        for name in features:
            if name not in known:
                raise ValueError(f"no feature {name!r}; there are: {', '.join(known)}")
        return features
