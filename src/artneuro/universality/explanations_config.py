"""Config of the explanations of neurons: on which texts, by which labels, and what is a family."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section

Category = Literal["vocabulary", "unigrams", "words", "documents", "topics"]


class ExplainedPair(Section):
    """A model and the text that its neurons are explained on."""

    model: Name = Field(description="A model of the config.")
    text: Name = Field(description="A text of the config.")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Read the first sequences of the text with so many tokens alone; all if empty.",
    )
    example_tokens: int = Field(
        100_000, ge=1, description="Tokens that activations are drawn from for figures, at most."
    )


class UnigramsConfig(Section):
    """Words that are explanations of their own, together and by their place in a written word."""

    most: int = Field(300, ge=0, description="Words at most, the most frequent ones.")
    min_share: float = Field(
        3e-4, ge=0, lt=1, description="Share of the tokens that are a way of writing the word."
    )
    min_variants: int = Field(
        4,
        ge=1,
        description="Tokens of the vocabulary that are ways of writing the word (the, The, and "
        "both with a space before), at least.",
    )


class TopicsConfig(Section):
    """A topic model: singular vectors of the TF-IDF matrix of the documents."""

    components: int = Field(32, ge=1, description="Singular vectors; each gives two topics.")
    share: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Share of the documents with the highest scores on a vector that are of one "
        "topic, and with the lowest of another.",
    )


class FamilyThresholds(Section):
    """When a neuron is of a family; the first two, and the kurtosis, are the thesis's."""

    unigram: float = Field(0.5, gt=0, lt=1, description="Variance reduction by a unigram.")
    alphabet: float = Field(
        0.37, gt=0, lt=1, description="Variance reduction by a letter that is a token of its own."
    )
    previous_token: float = Field(
        0.3, gt=0, lt=1, description="Variance reduction by any label of the previous token."
    )
    syntax: float = Field(
        0.3, gt=0, lt=1, description="Variance reduction by grammar: parts of speech, relations."
    )
    semantic: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Variance reduction by what a document is about: its subset, language, topic.",
    )
    vocabulary: float = Field(
        0.3, gt=0, lt=1, description="Variance reduction by any other property of the token."
    )
    position_information: float = Field(
        0.1,
        ge=0,
        description="Mutual information, in nats, of (pre-activation > 0) with the position.",
    )
    position_kurtosis: float = Field(
        2.0, gt=0, description="A position neuron's kurtosis is below this; a Gaussian has 3."
    )


class ExamplesConfig(Section):
    """Neurons whose activations are drawn."""

    neurons: int = Field(8, ge=1, description="Neurons of each family that are drawn, at most.")
    bins: int = Field(40, ge=2, description="Bins of a histogram.")


class ExplanationsConfig(Section):
    """Automated tests of what neurons respond to (thesis, 3.4.3 and equation 3.4)."""

    pairs: list[ExplainedPair] = Field(
        [],
        description="Models and the texts that their neurons are explained on. The universal "
        "neurons of a group are explained by the first pair with its reference.",
    )
    categories: list[Category] = Field(
        ["vocabulary", "unigrams", "words", "documents", "topics"],
        min_length=1,
        description="Kinds of labels. words: grammar, where the text carries it; documents: "
        "subset and language. Those of tokens are tried for the previous token too.",
    )
    min_positives: int = Field(
        20, ge=2, description="An explanation with fewer tokens in or out of it is left out."
    )
    unigrams: UnigramsConfig = Field(UnigramsConfig(), description="Words.")
    topics: TopicsConfig = Field(TopicsConfig(), description="Topics of documents.")
    small_norm: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Share of the vocabulary with the smallest embeddings, as one explanation.",
    )
    top: int = Field(
        5,
        ge=1,
        description="Explanations of each neuron that are kept, beside the best of each family.",
    )
    batch_tokens: int = Field(4096, ge=1, description="Tokens of a forward pass.")
    seed: int = Field(42, ge=0, description="Seed of the topic model.")
    families: FamilyThresholds = Field(FamilyThresholds(), description="When a family is given.")
    examples: ExamplesConfig = Field(ExamplesConfig(), description="What the page draws.")

    @model_validator(mode="after")
    def _pairs_once(self) -> ExplanationsConfig:
        named = [(pair.model, pair.text) for pair in self.pairs]
        for pair in named:
            if named.count(pair) > 1:
                raise ValueError(f"pairs: {pair[0]} on {pair[1]} is named twice")
        return self

    def pair(self, model: str, text: str) -> ExplainedPair:
        """The pair of these names."""
        return next(p for p in self.pairs if (p.model, p.text) == (model, text))

    def text_of(self, model: str) -> str | None:
        """The text that a model is explained on, the first one if there are several."""
        return next((p.text for p in self.pairs if p.model == model), None)
