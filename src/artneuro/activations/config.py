"""Config of the activation dump: what is read, how it is stored, how much memory it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from artneuro.core.config import JobCount, Name, Section
from artneuro.core.errors import ConfigError
from artneuro.models.sites import parse_site


class ActivationsConfig(Section):
    """What the dump reads from a model, and how it stores it."""

    sites: list[str] = Field(
        ["mlp_post"],
        min_length=1,
        description="Sites to store: mlp_post, mlp_pre, resid_pre, resid_post, attn_out, "
        "attn_pattern (heads * context numbers a row), or the same as hook names without a layer "
        "(mlp.hook_post).",
    )
    layers: Literal["all"] | list[Annotated[int, Field(ge=0)]] = Field(
        "all", description="Layers to store. Layers above the highest one are not run."
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field(
        "float16",
        description="Type to store, rounded to nearest from the computed value. float16 keeps "
        "11 bits up to 65504, bfloat16 8 bits of any size.",
    )
    batch_tokens: int = Field(
        4096, ge=1, description="Tokens of a batch, padding included (at least one sequence)."
    )
    buffer_mb: int = Field(
        256,
        ge=1,
        description="Memory of the write buffer in MB, two halves: one is filled while the other "
        "is written. An interrupted job loses at most this much.",
    )
    shard_mb: int = Field(
        128,
        ge=1,
        description="Largest file of the store in MB, uncompressed: a layer is one file up to "
        "this size. Writing and reading a file takes about twice this in memory.",
    )
    compression_level: int = Field(
        1, ge=0, le=9, description="Level of the zstd compressor; 0 stores without compression."
    )
    check_rows: int = Field(
        8, ge=0, description="Random rows that are computed again after the dump and compared."
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of the rows to check.")

    jobs: JobCount | dict[Name, JobCount] = Field(
        1,
        description="Jobs that share the dump of one model on one dataset, each on a GPU of its "
        "own where GPUs are asked for: for all models, or by name of the model (others have 1). "
        "The store is the same; a change dumps the model anew.",
    )

    def jobs_of(self, model: str) -> int:
        """Jobs that share the dump of a model."""
        return self.jobs if isinstance(self.jobs, int) else self.jobs.get(model, 1)

    @field_validator("sites")
    @classmethod
    def _short_forms(cls, sites: list[str]) -> list[str]:
        short = []
        for name in sites:
            try:
                site, layer = parse_site(name)
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if layer is not None:
                raise ValueError(f"{name!r} names a layer: give the site {site!r} and 'layers'")
            short.append(site)
        if len(set(short)) < len(short):
            raise ValueError(f"a site is named twice: {sites}")
        return short
