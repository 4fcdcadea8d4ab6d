"""Config of token datasets: which corpus, how it is cropped, which features are labelled.

The defaults are those of the thesis (A.2.2); the demo makes everything smaller.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.datasets.linguistics_config import Linguistics
from artneuro.datasets.people_config import People

TextFeature = Literal[
    "leading_capital",
    "no_leading_space_and_loweralpha",
    "all_digits",
    "is_not_ascii",
    "has_leading_space",
    "contains_all_whitespace",
    "all_capitals",
    "is_not_alphanumeric",
    "contains_whitespace",
    "contains_capital",
    "contains_digit",
]

LatexFeature = Literal[
    "is_superscript",
    "is_subscript",
    "is_inline_math",
    "is_display_math",
    "is_math",
    "is_numerator",
    "is_denominator",
    "is_frac",
    "is_title",
    "is_author",
    "is_abstract",
    "is_reference",
    "is_citation",
    "is_section",
]


class CategoryCollection(Section):
    """A class for each sequence, probed as one binary feature a class, against all the others."""

    classes: list[str] = Field(
        [],
        description="The classes to tell apart. Empty: every class of the corpus that has enough "
        "documents.",
    )
    missing_classes: Literal["error", "leave_out"] = Field(
        "error",
        description="What to do about a class listed in `classes` without enough documents, as "
        "when a source could not be had: fail, or leave it out and say so in the log.",
    )
    sequences_per_class: int = Field(
        ge=4, description="Sequences of each class: all classes have equally many."
    )
    skip_tokens: int = Field(
        ge=0,
        description="The first tokens of a sequence that its label does not cover, the document "
        "token included (which is never covered).",
    )


class NaturalLanguage(CategoryCollection):
    """The natural language of a sequence: the `language` of its document."""

    kind: Literal["natural_language"] = Field(description="Natural languages.")
    sequences_per_class: int = Field(
        3000, ge=4, description="Sequences of each language: all have equally many."
    )
    skip_tokens: int = Field(
        1,
        ge=0,
        description="The first tokens of a sequence that its label does not cover, the document "
        "token included.",
    )


class CodeLanguage(CategoryCollection):
    """The programming language of a sequence: the `language` of its document."""

    kind: Literal["code_language"] = Field(description="Programming languages.")
    sequences_per_class: int = Field(
        600, ge=4, description="Sequences of each programming language: all have equally many."
    )
    skip_tokens: int = Field(
        50,
        ge=0,
        description="The first tokens of a sequence that its label does not cover, the document "
        "token included: the thesis passes over licences and comments at the start of files.",
    )


class DataSubset(CategoryCollection):
    """The part of the corpus that a sequence is from: the `subset` of its document."""

    kind: Literal["data_subset"] = Field(description="Parts of the corpus.")
    sequences_per_class: int = Field(
        900, ge=4, description="Sequences of each subset: all have equally many."
    )
    skip_tokens: int = Field(
        25,
        ge=0,
        description="The first tokens of a sequence that its label does not cover, the document "
        "token included.",
    )


class TextFeatures(Section):
    """Plain-text features of single tokens (table A.3), read off the tokens' own strings."""

    kind: Literal["text_features"] = Field(description="Plain-text features of tokens.")
    features: list[TextFeature] = Field(
        [], description="Which of the eleven features to label. Empty: all."
    )
    max_sequences: int = Field(
        10000,
        ge=4,
        description="Sequences to sample tokens from, if the corpus has as many.",
    )
    max_samples_per_feature: int = Field(
        10000, ge=20, description="Labelled tokens of each feature, both splits together."
    )
    skip_tokens: int = Field(
        10,
        ge=0,
        description="The first tokens of a sequence that are never sampled, the document token "
        "included.",
    )
    min_frequency: float = Field(
        0.05, ge=0, le=1, description="A feature of a smaller share of the tokens is left out."
    )
    positive_share: tuple[float, float] = Field(
        (0.2, 0.5),
        description="A feature's share of positives is its frequency among the tokens, brought "
        "into this range.",
    )

    @model_validator(mode="after")
    def _shares(self) -> TextFeatures:
        low, high = self.positive_share
        if not 0 < low <= high < 1:
            raise ValueError("positive_share is (lowest, highest) with 0 < lowest <= highest < 1")
        return self


class CompoundWords(Section):
    """Two words that mean something else together than apart, at the end of short windows."""

    skip_tokens: ClassVar[int] = 0
    kind: Literal["compound_words"] = Field(description="Compound words.")
    words: list[Annotated[str, Field(pattern=r"^\S+ \S+$")]] = Field(
        [],
        description="The compound words, such as `social security`. Empty: the most frequent pairs "
        "of words in the corpus that pass the filters below.",
    )
    missing_words: Literal["error", "leave_out"] = Field(
        "error",
        description="What to do about a listed word that is too rare or too predictable: fail, or "
        "leave it out and say so in the log.",
    )
    max_words: int = Field(21, ge=1, description="How many words to choose where none are listed.")
    min_letters: int = Field(
        4, ge=1, description="Shorter words are no part of a pair that is chosen automatically."
    )
    max_conditional: float = Field(
        0.3,
        gt=0,
        le=1,
        description="A pair XY is used if both P(Y follows | X) and P(X precedes | Y) are below "
        "this, in the corpus at hand.",
    )
    sequences_per_word: int = Field(
        8000,
        ge=20,
        description="Windows for each word: one fifth end with XY, two fifths with X and another "
        "word, two fifths with another word and Y; fewer in the same ratio where they are rare.",
    )
    min_positives: int = Field(
        4, ge=2, description="A word with fewer windows that end with XY is too rare."
    )


class Latex(Section):
    """What a token of LaTeX source is part of: mathematics, fractions, titles, references."""

    kind: Literal["latex"] = Field(description="Features of LaTeX source.")
    features: list[LatexFeature] = Field(
        [], description="Which of the fourteen features to label. Empty: all."
    )
    windows: Literal["documents", "constructs"] = Field(
        "documents",
        description="Where sequences are. documents: one crop of each document, as `crop` says. "
        "constructs: equally many windows around instances of each feature, for small datasets.",
    )
    max_sequences: int = Field(
        5000, ge=4, description="Sequences to sample tokens from, if the corpus has as many."
    )
    max_samples_per_feature: int = Field(
        20000, ge=20, description="Labelled tokens of each feature, both splits together."
    )
    min_positives: int = Field(
        20, ge=2, description="A feature with fewer tokens in either split is left out."
    )
    positive_share: float = Field(0.25, gt=0, lt=1, description="A feature's share of positives.")
    mirrored_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="For numerators and denominators, superscripts and subscripts: the share of "
        "negatives that are from the other of the two, where there are enough.",
    )
    skip_tokens: int = Field(
        1,
        ge=0,
        description="The first tokens of a sequence that are never sampled, the document token "
        "included.",
    )


Collection = Annotated[
    NaturalLanguage
    | CodeLanguage
    | DataSubset
    | TextFeatures
    | CompoundWords
    | Latex
    | People
    | Linguistics,
    Field(discriminator="kind"),
]


class DatasetConfig(Section):
    """A token dataset: crops of a corpus' documents, with labels of one feature collection."""

    corpus: Name = Field(description="The corpus whose documents are cropped.")
    collection: Collection = Field(description="Which features are labelled, and their settings.")
    n_ctx: int = Field(
        512, ge=2, description="Tokens of a sequence, the document token at its start included."
    )
    min_tokens: int | None = Field(
        None,
        ge=2,
        description="Documents that give fewer tokens (document token included) are passed over. "
        "Empty: n_ctx, so that every sequence is full.",
    )
    crop: Literal["random", "start"] = Field(
        "random",
        description="A random contiguous run of each document's tokens, or its start; has no say "
        "where sequences are chosen by what they end with or hold.",
    )
    max_document_sequences: int = Field(
        1,
        ge=1,
        description="Sequences that one document may give; they stay in one split, and do not "
        "overlap unless they are chosen by what they end with (compound words, people).",
    )
    document_token: str | None = Field(
        None,
        description="The special token put first, so that nothing probed is at position 0. Empty: "
        "what the tokenizer itself puts before a text, else <|endoftext|>, else its beginning- or "
        "end-of-sequence token.",
    )
    aggregation: Literal["mean", "max"] = Field(
        "mean", description="How the activations of a labelled span of tokens become one row."
    )
    test_fraction: float = Field(
        0.3, gt=0, lt=1, description="Share of the sequences in the test split."
    )
    seed: int = Field(42, ge=0, description="Seed of the choice of documents, crops and split.")

    @property
    def shortest(self) -> int:
        """Tokens that a sequence must have at least, the document token included."""
        return self.n_ctx if self.min_tokens is None else self.min_tokens

    @model_validator(mode="after")
    def _lengths(self) -> DatasetConfig:
        if self.shortest > self.n_ctx:
            raise ValueError(f"min_tokens ({self.shortest}) is above n_ctx ({self.n_ctx})")
        if self.collection.skip_tokens >= self.shortest:
            raise ValueError(
                f"collection.skip_tokens ({self.collection.skip_tokens}) leaves nothing of the "
                f"shortest sequences ({self.shortest} tokens): lower it, or raise n_ctx or "
                "min_tokens"
            )
        return self
