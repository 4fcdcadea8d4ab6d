"""Config of the models: where each comes from and how it is computed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.web import Sha256

_COMMIT = re.compile(r"[0-9a-f]{40}")
PIN = (
    "What `sha256` of its model.json must be, checked before anything is read of it. Empty: what "
    "comes is taken, and recorded there."
)


class HubSource(Section):
    """A model of the Hugging Face hub."""

    kind: Literal["hub"] = Field("hub", description="A repository of the Hugging Face hub.")
    id: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$",
        description="Repository of the hub, such as EleutherAI/pythia-70m.",
    )
    revision: str = Field(
        "main",
        min_length=1,
        description="Commit, tag or branch. A commit pins the model; what a tag or branch pointed "
        "to when it was fetched is recorded in model.json.",
    )
    sha256: Sha256 | None = Field(None, description=PIN)
    licence: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Licence of the model, such as Apache-2.0, for the record. Empty: what its "
        "card on the hub says.",
    )

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never means anything else."""
        return _COMMIT.fullmatch(self.revision) is not None


class LocalSource(Section):
    """A model folder of this machine."""

    kind: Literal["local"] = Field("local", description="A folder of this machine.")
    path: str = Field(
        min_length=1,
        description="Folder with config.json, safetensors and tokenizer files, as save_pretrained "
        "writes it. Weights are linked, not copied.",
    )
    sha256: Sha256 | None = Field(None, description=PIN)
    licence: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Licence of the model, such as Apache-2.0, for the record. Empty: what its "
        "README.md or LICENSE file says.",
    )


class GgufSource(Section):
    """A GGUF file inside a pinned package."""

    kind: Literal["gguf"] = Field("gguf", description="A GGUF file inside a pinned package.")
    source: Name = Field(description="Name of the package in resources/sources.yaml.")
    file: str = Field(min_length=1, description="Path of the .gguf file inside the package.")


class TrainedSource(Section):
    """A model that is trained here, by a recipe and from a seed of its own."""

    kind: Literal["trained"] = Field("trained", description="A model that is trained here.")
    recipe: Name = Field(description="Name of the recipe in the section `training`.")
    seed: int = Field(0, ge=0, description="Seed of the initial weights.")


ModelSource = Annotated[
    HubSource | LocalSource | GgufSource | TrainedSource, Field(discriminator="kind")
]


class ModelConfig(Section):
    """One model: where it comes from and how it is computed."""

    source: ModelSource = Field(description="Where the weights come from.")
    tokenizer: Name | None = Field(
        None,
        description="Another model of this config whose tokenizer this one shares, so that their "
        "token datasets are built once. Empty: its own.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type to compute in. auto: float32 on a CPU, bfloat16 on a GPU."
    )
    trust_remote_code: bool = Field(
        False,
        description="Whether Python files that come with the model's folder may run. Only for "
        "sources whose code you have read, and for a hub's only where `revision` is a commit: what "
        "a branch points to may change after it was read. The log and the report say so.",
    )
    parameters: float | None = Field(
        None,
        gt=0,
        le=1e13,
        description="Number of parameters, such as 6.9e9: sizes the memory of jobs that are "
        "planned before the model is there.",
    )

    @model_validator(mode="after")
    def _code_is_pinned(self) -> ModelConfig:
        source = self.source
        if self.trust_remote_code and isinstance(source, HubSource) and not source.is_pinned:
            raise ValueError(
                f"trust_remote_code: the revision {source.revision!r} is no commit, so the code "
                "may change after you have read it; give the 40 digits of one"
            )
        return self

    gpus: int = Field(
        1,
        ge=1,
        description="GPUs of each job that dumps the model's activations, where GPUs are asked "
        "for. The layers are spread over as many as the weights need.",
    )
