"""Config of prompts: what stands around the name of an entity when a model reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from artneuro.core.config import Section


class PromptConfig(Section):
    """What a model reads of an entity (thesis, section 4.3.3): the document token, then this."""

    before: str = Field(
        "",
        description="Text in front of the name, with the space that parts them. Empty: the name "
        "follows the document token.",
    )
    after: str = Field("", description="Text behind the name, such as a period.")
    capitals: bool = Field(False, description="Whether the name is written in capital letters.")
    random_tokens: int = Field(
        0,
        ge=0,
        description="Tokens drawn at random for each entity and put in front of everything else.",
    )
    read: Literal["name", "last"] = Field(
        "name",
        description="Which token is probed: the last one of the name, or the last one of all, "
        "behind `after`.",
    )
    max_entities: int | None = Field(
        None,
        ge=20,
        description="Entities that this prompt is made for, drawn from both splits. A smaller "
        "number draws some of those of a larger one. Empty: all.",
    )
    document_token: str | None = Field(
        None,
        description="The special token put first, so that no name stands at position 0. Empty: as "
        "for datasets.",
    )
    seed: int = Field(0, ge=0, description="Seed of the random tokens and of `max_entities`.")

    @model_validator(mode="after")
    def _something_to_read(self) -> PromptConfig:
        if self.read == "last" and not self.after:
            raise ValueError("read: without text behind the name, the last token is the name's")
        return self
