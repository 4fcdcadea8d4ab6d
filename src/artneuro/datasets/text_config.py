"""Config of texts: tokens of whole documents without labels, for statistics over many tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section


class TextConfig(Section):
    """A text: documents of a corpus, token after token, cut into sequences."""

    corpus: Name = Field(description="The corpus whose documents are read.")
    n_ctx: int = Field(
        512, ge=2, description="Tokens of a sequence, the document token at its start included."
    )
    max_tokens: int = Field(
        100_000_000,
        ge=1,
        description="Tokens at most, document tokens and padding not counted. Documents are taken "
        "whole and in random order, up to the last sequence that still fits.",
    )
    split: Literal["train", "held_out", "all"] = Field(
        "all",
        description="Which documents: those that models of the section `training` may learn from, "
        "those held out from them, or both.",
    )
    held_out: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the groups of documents (files, speakers, pages) that is held out. "
        "Which ones follows from their names, so that equal shares hold out the same.",
    )
    min_tokens: int = Field(
        2,
        ge=2,
        description="Ends of documents that give fewer tokens (document token included) are left "
        "out.",
    )
    document_token: str | None = Field(
        None,
        description="The special token put first in every sequence. Empty: as for datasets.",
    )
    words: bool = Field(
        False,
        description="Whether the grammar of words (parts of speech, relations) comes along, which "
        "takes a corpus that is annotated.",
    )
    seed: int = Field(42, ge=0, description="Seed of the order of the documents.")

    @model_validator(mode="after")
    def _lengths(self) -> TextConfig:
        if self.min_tokens > self.n_ctx:
            raise ValueError(f"min_tokens ({self.min_tokens}) is above n_ctx ({self.n_ctx})")
        return self
