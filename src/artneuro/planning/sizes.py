"""How many sequences, tokens, rows and features the datasets of a config have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from artneuro.config import Config
from artneuro.datasets.config import (
    CategoryCollection,
    CompoundWords,
    DatasetConfig,
    Latex,
    LatexFeature,
    TextFeature,
    TextFeatures,
)
from artneuro.datasets.linguistics_config import FEATURES, Linguistics
from artneuro.datasets.people_config import People
from artneuro.planning.shapes import PlannedModel

# Where `classes` is empty, the corpus says how many there are.
CLASSES = 10
ENTITIES = 40_000
NAME_TOKENS = 5.0
CHARACTERS_PER_TOKEN = 4.5
# Distinct rows for each label of datasets of single tokens, whose features share tokens, measured:
# docs/scale.md.
ROWS_PER_LABEL = {"text_features": 0.17, "linguistics": 0.16, "latex": 0.28}


@dataclass(frozen=True)
class DatasetSize:
    """Sizes of a token dataset, at most: a corpus may have less.

    Attributes
    ----------
    sequences, n_ctx : int
        Sequences, and tokens of each.
    rows : int
        Rows of its activations: labelled spans that differ.
    features : int
    examples : int
        Labelled rows of one feature.
    """

    sequences: int
    n_ctx: int
    rows: int
    features: int
    examples: int

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.sequences * self.n_ctx


@dataclass(frozen=True)
class PromptSize:
    """Sizes of a table of entities in one prompt.

    Attributes
    ----------
    entities : int
    n_ctx : float
        Tokens of a prompt, on average.
    """

    entities: int
    n_ctx: float

    @property
    def tokens(self) -> float:
        """Tokens of all prompts."""
        return self.entities * self.n_ctx


@dataclass(frozen=True)
class Sizes:
    """A config and the sizes of its models."""

    config: Config
    models: dict[str, PlannedModel]

    @cached_property
    def datasets(self) -> dict[str, DatasetSize]:
        """Sizes of all token datasets."""
        return {name: self._dataset(name, data) for name, data in self.config.datasets.items()}

    def text_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return self.config.plan.text_tokens.get(text) or self.config.texts[text].max_tokens

    def characters(self, corpus: str) -> float:
        """Characters of the documents of a corpus."""
        config = self.config
        if corpus in config.plan.characters:
            return config.plan.characters[corpus]
        tokens = [self.datasets[n].tokens for n, d in config.datasets.items() if d.corpus == corpus]
        tokens += [self.text_tokens(n) for n, t in config.texts.items() if t.corpus == corpus]
        # The largest reader has to find enough in it.
        return CHARACTERS_PER_TOKEN * max(tokens, default=0)

    def prompt(self, table: str, prompt: str) -> PromptSize:
        """Sizes of a table of entities in one of its prompts."""
        asked = self.config.entities[table].prompts[prompt]
        entities = min(self.entities(table), asked.max_entities or self.entities(table))
        around = len(f"{asked.before}{asked.after}") / CHARACTERS_PER_TOKEN
        name = self.config.plan.name_tokens.get(table, NAME_TOKENS)
        # Capital letters are rare in texts, so that names take more tokens.
        name *= 1.5 if asked.capitals else 1.0
        return PromptSize(entities, 1 + asked.random_tokens + around + name)

    def entities(self, table: str) -> int:
        """Names in a table of entities."""
        if table in self.config.plan.entities:
            return self.config.plan.entities[table]
        asked = self.config.entities[table]
        parts = [part.max_entities for part in asked.parts]
        known = None if None in parts else sum(part or 0 for part in parts)
        return min(asked.max_entities or ENTITIES, known or ENTITIES)

    def _dataset(self, name: str, data: DatasetConfig) -> DatasetSize:
        plan, collection = self.config.plan, data.collection
        sequences, features, examples = _counts(collection)
        sequences = plan.sequences.get(name, sequences)
        features = plan.features.get(name, features)
        # Tokens of single sequences that may be labelled are the most that there is.
        tokens = sequences * (data.n_ctx - collection.skip_tokens)
        share = ROWS_PER_LABEL.get(collection.kind)
        examples = plan.examples.get(name, min(examples, tokens if share else sequences))
        rows = sequences if share is None else min(int(share * examples * features), tokens)
        return DatasetSize(
            sequences, data.n_ctx, plan.rows.get(name, rows), features, min(examples, rows)
        )


def _counts(collection: object) -> tuple[int, int, int]:
    """Sequences, features, and labelled rows of one feature."""
    match collection:
        case CategoryCollection():
            classes = len(collection.classes) or CLASSES
            sequences = classes * collection.sequences_per_class
            return sequences, classes, sequences
        case TextFeatures():
            features = len(collection.features) or len(get_args(TextFeature))
            return collection.max_sequences, features, collection.max_samples_per_feature
        case Latex():
            features = len(collection.features) or len(get_args(LatexFeature))
            return collection.max_sequences, features, collection.max_samples_per_feature
        case Linguistics():
            known = sum(len(FEATURES[name]) for name in collection.collections)
            features = len(collection.features) or known
            return collection.max_sequences, features, collection.max_samples_per_feature
        case CompoundWords():
            words = len(collection.words) or collection.max_words
            return words * collection.sequences_per_word, words, collection.sequences_per_word
        case People():
            return collection.max_sequences, len(collection.class_values), collection.max_sequences
    raise TypeError(f"no sizes of {type(collection).__name__}")
