"""Config of the systems that a language model learns in context: which sequences are written, what
is asked of the model, and how its activations are probed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.errors import ConfigError
from artneuro.dynamics.equations import System
from artneuro.dynamics.systems import SystemName, build_system

Control = Literal["shuffled", "random_weights"]


class WeakWindows(Section):
    """Windows in time that the equations of a flow are integrated over (thesis, 5.2.1)."""

    count: int = Field(200, ge=2, description="How many, in each of the parts of the data.")
    width: float = Field(
        0.1, gt=0, lt=1, description="Width of a window relative to the time of the data."
    )


class SequenceConfig(Section):
    """A system, and how its sequence is written as text."""

    system: SystemName = Field(description="The system: a map or a flow.")
    parameters: dict[str, float] = Field(
        {}, description="Parameters that differ from the thesis's."
    )
    observed: str = Field("x", description="The variable that is written.")
    dt: float = Field(1.0, gt=0, description="Time between values; 1 for a map.")
    transient: int = Field(
        0, ge=0, description="Samples that are left out first, until a flow is on its attractor."
    )
    values: int = Field(ge=16, description="Values of a sequence; the thesis wrote 1600.")
    sequences: int = Field(
        1,
        ge=1,
        description="Sequences that predictions are averaged over, each from its own initial "
        "condition. Probes see the first alone.",
    )
    low: float = Field(0.0, description="The value that is written as 0, in units of the system.")
    high: float = Field(
        1.0,
        description="The value that would be written as 1. A value outside of low to high is an "
        "error.",
    )
    decimals: int = Field(3, ge=1, le=4, description="Decimals that a value is rounded to.")
    prefix: str = Field(
        "0.", description="What is written before the decimals; empty spares its tokens."
    )
    separator: str = Field(",", min_length=1, description="What is written after each value.")
    degree: int = Field(
        5, ge=1, le=7, description="Highest degree of the library that equations are looked for in."
    )
    windows: WeakWindows = Field(
        WeakWindows(), description="The weak form, in which the equations of a flow are fitted."
    )

    def build(self) -> System:
        """The system with its parameters."""
        return build_system(self.system, self.parameters)

    @model_validator(mode="after")
    def _fits_together(self) -> SequenceConfig:
        try:
            system = self.build()
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix}") from error
        if system.kind == "field":
            raise ValueError(f"{self.system} is a field, which is not written as a sequence")
        if len(system.targets) != system.dimension or len(system.inputs) != system.dimension:
            raise ValueError(f"{self.system} has variables without an equation to look for")
        if self.observed not in system.variables:
            raise ValueError(
                f"{self.system} has no variable {self.observed!r}; it has: "
                + ", ".join(system.variables)
            )
        if system.kind == "map" and self.dt != 1:
            raise ValueError("a map takes dt 1")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if any(c.isdigit() for c in self.separator):
            raise ValueError("separator: a digit would be read as part of a number")
        return self


class TreeConfig(Section):
    """The distribution of the next number, from a tree over the tokens that spell it."""

    positions: int = Field(
        40, ge=1, description="Values, evenly spaced, before which the whole tree is evaluated."
    )
    first: int = Field(8, ge=3, description="The first of them: values that precede it.")
    spellings: Literal["canonical", "all"] = Field(
        "canonical",
        description="canonical: a number is spelled as the tokenizer writes it. all: in every way "
        "that its tokens allow, which are added up.",
    )
    batch_tokens: int = Field(
        1024, ge=1, description="Tokens of a forward pass over trees (at least one tree)."
    )


class ProbesConfig(Section):
    """Linear probes of the state on the residual stream at separators."""

    layers: Literal["all"] | list[int] = Field("all", description="Layers whose output is probed.")
    train_share: float = Field(
        0.75, gt=0, lt=1, description="The first part of a sequence, which probes are fitted on."
    )
    skip: int = Field(0, ge=0, description="Values at the start that probes are not fitted on.")
    log_alphas: tuple[float, float] = Field(
        (-2.0, 6.0), description="Exponents (of 10) of the smallest and largest ridge penalty."
    )
    alphas: int = Field(17, ge=2, description="How many penalties there are to choose from.")
    folds: int = Field(
        5,
        ge=0,
        description="Consecutive parts of the training values that are left out in turn to choose "
        "the penalty. 0: each value alone, which its neighbours in time give away.",
    )
    delays: list[int] = Field(
        [1, 2, 8],
        description="Probes on the input alone see this many of the last values: as numbers, and "
        "as one indicator for each digit at each place.",
    )

    def penalties(self) -> np.ndarray:
        """The ridge penalties, ascending."""
        return np.logspace(*self.log_alphas, self.alphas)


class EquationsConfig(Section):
    """Sparse equations fitted to what probes read."""

    max_terms: int = Field(5, ge=1, description="Most terms of an equation; the path is tuned.")
    alpha: float = Field(1e-5, ge=0, description="Ridge penalty of the exact method.")
    stlsq_alphas: list[float] = Field(
        [1e-5, 0.05], min_length=1, description="Ridge penalties that STLSQ is tuned over."
    )
    log_thresholds: tuple[float, float] = Field(
        (-2.0, 1.0), description="Exponents (of 10) of STLSQ's smallest and largest threshold."
    )
    thresholds: int = Field(20, ge=1, description="How many thresholds STLSQ is tuned over.")
    train_share: float = Field(
        2 / 3,
        gt=0,
        lt=1,
        description="The first part of what probes read, which equations are fitted to; the rest "
        "chooses among them (AICc).",
    )


class InContextConfig(Section):
    """The systems that a language model learns in context (thesis, section 5.4)."""

    models: list[Name] = Field([], description="Models that sequences are given to, by name.")
    systems: dict[Name, SequenceConfig] = Field({}, description="Sequences, by name.")
    seed: int = Field(0, description="Seed of initial conditions, shuffles and random weights.")
    rtol: float = Field(
        1e-10, ge=1e-13, lt=1, description="Relative and absolute tolerance of flows."
    )
    controls: list[Control] = Field(
        ["shuffled", "random_weights"],
        description="shuffled: the values of the sequence in random order. random_weights: a model "
        "of the same architecture with random weights.",
    )
    tree: TreeConfig = Field(TreeConfig(), description="Distributions of the next number.")
    probes: ProbesConfig = Field(ProbesConfig(), description="Probes of the state.")
    equations: EquationsConfig = Field(
        EquationsConfig(), description="Equations from what the probes read."
    )

    @model_validator(mode="after")
    def _long_enough(self) -> InContextConfig:
        for name, sequence in self.systems.items():
            if self.tree.first >= sequence.values:
                raise ValueError(
                    f"tree.first {self.tree.first} is behind the {sequence.values} values of {name}"
                )
            train = self.probes.train_share * (sequence.values - 1)
            if self.probes.skip + 8 > train:
                raise ValueError(f"probes.skip leaves fewer than 8 values of {name} to train on")
        return self

    def prediction(self, system: str) -> InContextConfig:
        """All that predictions and residual streams of a system depend on; the rest as defaults."""
        chosen = self.systems[system].model_copy(update={"degree": 5, "windows": WeakWindows()})
        return InContextConfig(
            systems={system: chosen},
            probes=ProbesConfig(layers=self.probes.layers),
            **{key: getattr(self, key) for key in ("seed", "rtol", "controls", "tree")},
        )

    def probing(self, system: str) -> InContextConfig:
        """All that probes of a system and their equations depend on beside what was stored."""
        chosen = self.systems[system].model_copy(update={"sequences": 1})
        return InContextConfig(
            systems={system: chosen},
            probes=self.probes.model_copy(update={"layers": "all"}),
            equations=self.equations,
            seed=self.seed,
        )

    def pairs(self) -> list[tuple[str, str]]:
        """The (model, system) pairs, in the order of the config."""
        return [(model, system) for model in self.models for system in self.systems]
