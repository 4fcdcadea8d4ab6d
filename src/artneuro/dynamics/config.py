"""Config of the dynamics stage: which systems are simulated, how they are measured, and what is
looked for in them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.errors import ConfigError
from artneuro.dynamics.derivatives import POLYNOMIAL_ORDER
from artneuro.dynamics.equations import System, true_coefficients
from artneuro.dynamics.in_context_config import InContextConfig
from artneuro.dynamics.libraries import library_terms
from artneuro.dynamics.methods_config import (
    ConstraintsConfig,
    Degree,
    FieldsConfig,
    Method,
    MethodsConfig,
    RecoveryConfig,
    RuntimeConfig,
)
from artneuro.dynamics.noise import sample_counts
from artneuro.dynamics.systems import SystemName, build_system
from artneuro.dynamics.weak import HIGHEST_DERIVATIVE

# No memory holds more: 8 GB of each variable of each trajectory.
MOST_SAMPLES = 10**9


class Spaced(Section):
    """Numbers evenly spaced between two, or powers with evenly spaced exponents."""

    start: float = Field(description="The first number; of powers, the first exponent.")
    stop: float = Field(description="The last number; of powers, the last exponent.")
    count: int = Field(ge=1, le=10_000, description="How many numbers.")
    base: Literal[2, 10] | None = Field(
        None, description="Base of the powers; empty: evenly spaced numbers."
    )

    def values(self) -> list[float]:
        """The numbers."""
        with np.errstate(over="ignore", invalid="ignore"):  # `_are_finite` tells of it
            numbers = np.linspace(self.start, self.stop, self.count)
            if self.base is not None:
                numbers = np.float64(self.base) ** numbers
        return [float(x) for x in numbers]

    @model_validator(mode="after")
    def _are_finite(self) -> Spaced:
        if not np.isfinite(self.values()).all():
            raise ValueError(
                f"the numbers from start {self.start:g} to stop {self.stop:g} are beyond what a "
                "float can hold"
            )
        return self


Numbers = list[float] | Spaced


def numbers_of(given: Numbers) -> list[float]:
    """The numbers that a key of the config lists or spaces."""
    return given.values() if isinstance(given, Spaced) else list(given)


class WeakConfig(Section):
    """The weak form of a library (thesis, sections 5.2.1 and 5.3.5)."""

    domains: int = Field(ge=1, description="Random domains to integrate over.")
    width: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Width of a domain along each axis, relative to the length of that axis. All "
        "samples inside are used.",
    )
    validate_above: float = Field(
        0.15,
        ge=0,
        description="Above this noise models are validated in the weak form too; up to it, by "
        "smoothed time derivatives if the system has a window.",
    )


class SystemConfig(Section):
    """One system, how it is measured, and the library that its equations are looked for in."""

    system: SystemName = Field(description="The system.")
    parameters: dict[str, float] = Field(
        {}, description="Parameters that differ from the thesis's."
    )
    dt: float = Field(gt=0, description="Time between samples; 1 for a map.")
    durations: Numbers = Field(
        description="Time of the training data, one or several: a list, or evenly spaced numbers "
        "or exponents. Validation data follow it."
    )
    noise: Numbers = Field(
        [0.0],
        description="Standard deviation of the noise, relative to the mean over the variables of "
        "their root mean squares, one or several.",
    )
    degree: Degree = Field(description="Highest degree of the library's monomials.")
    tight_degree: Degree | None = Field(
        None,
        description="Degree of the tight library, the smallest that holds the equations.",
    )
    derivative_order: int = Field(
        0,
        ge=0,
        le=HIGHEST_DERIVATIVE,
        description="Highest order of the library's space derivatives, for a field.",
    )
    window: int | None = Field(
        None,
        description="Samples of the smoothing window of numerical time derivatives, odd. In the "
        "weak form they serve validation with little noise; empty: never.",
    )
    weak: WeakConfig | None = Field(
        None, description="The weak form; empty: equations are fitted in the differential form."
    )
    thresholds: Numbers = Field(
        Spaced(start=-2, stop=1, count=50, base=10),
        description="Thresholds that stlsq is tuned over, of coefficients (in the weak form, of "
        "those of columns of unit length); those of sr3 reach half a decade further on both sides.",
    )
    methods: list[Method] | None = Field(
        None, min_length=1, description="Methods of this system; empty: `methods.names`."
    )
    points: int | None = Field(
        None,
        ge=8,
        multiple_of=2,
        description="Grid points along each axis of a field; empty: the thesis's.",
    )
    substeps: int = Field(
        4, ge=1, description="Steps of the integrator from one sample of a field to the next."
    )

    def build(self) -> System:
        """The system with its parameters."""
        return build_system(self.system, self.parameters)

    def samples(self, validation_share: float) -> int:
        """Samples of the longest trajectory, validation included; a field needs none, because its
        hyperparameters are chosen by the truth (thesis, section 5.3.6).
        """
        share = 0.0 if self.build().kind == "field" else validation_share
        return sum(sample_counts(max(numbers_of(self.durations)), self.dt, share))

    @model_validator(mode="after")
    def _fits_together(self) -> SystemConfig:
        try:
            system = self.build()
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix}") from error
        field = system.kind == "field"
        if field != (self.derivative_order > 0) or (self.points and not field):
            raise ValueError(
                f"derivative_order and points are of fields, and {self.system} is "
                + ("one: it needs a derivative_order" if field else "none")
            )
        if field and not (self.weak and self.window is None):
            raise ValueError("a field is fitted in the weak form: it needs weak and no window")
        if system.kind == "map" and (self.weak or self.window or self.dt != 1):
            raise ValueError("a map has no derivatives: it takes no window, no weak and dt 1")
        if system.kind == "flow" and not (self.weak or self.window):
            raise ValueError("one of window and weak must say how the system is differentiated")
        if self.window is not None and (self.window % 2 == 0 or self.window <= POLYNOMIAL_ORDER):
            raise ValueError(f"window {self.window} is not odd and above {POLYNOMIAL_ORDER}")
        if self.tight_degree is not None and self.tight_degree > self.degree:
            raise ValueError(f"tight_degree {self.tight_degree} is above degree {self.degree}")
        for degree in (self.degree, self.tight_degree or self.degree):
            _hold_equations(system, degree, self.derivative_order)
        if min(numbers_of(self.thresholds), default=0) <= 0:
            raise ValueError("thresholds need at least one number, and all above zero")
        durations, noise = numbers_of(self.durations), numbers_of(self.noise)
        if min(durations, default=0) <= 0:
            raise ValueError("durations need at least one number, and all above zero")
        if min(noise, default=-1) < 0:
            raise ValueError("noise needs at least one number, and none negative")
        _check_samples("the longest of durations", max(durations), self.dt)
        shortest, _ = sample_counts(min(durations), self.dt, 0)
        if shortest < max(self.window or 0, 2):
            raise ValueError(f"the shortest of durations has only {shortest} samples")
        return self


def _check_samples(name: str, duration: float, dt: float) -> None:
    if not duration / dt <= MOST_SAMPLES:
        raise ValueError(f"{name}, {duration:g}, has over {MOST_SAMPLES:,} samples at dt {dt:g}")


def _hold_equations(system: System, degree: int, derivative_order: int = 0) -> None:
    try:
        true_coefficients(system, library_terms(system, degree, derivative_order))
    except ConfigError as error:
        raise ValueError(f"degree {degree}: {error.what}; {error.fix}") from error


class ScoringConfig(Section):
    """Trajectories that recovered equations are scored on (thesis, section 5.3.1)."""

    trials: int = Field(10, ge=1, description="Trajectories, each from its own initial condition.")
    duration: float = Field(10.0, gt=0, description="Time of each.")
    dt: float = Field(0.01, gt=0, description="Time between samples of flows.")

    @model_validator(mode="after")
    def _can_be_held(self) -> ScoringConfig:
        _check_samples("duration", self.duration, self.dt)
        return self


class RoleConfig(Section):
    """Trajectories of one role: how many, and how each is sampled."""

    trials: int
    dt: float
    samples: int


class SimulationConfig(Section):
    """All that a system's trajectories depend on; made by `DynamicsConfig.simulation`."""

    system: SystemName
    parameters: dict[str, float]
    points: int | None
    substeps: int
    seed: int
    rtol: float
    atol: float
    dtype: Literal["float32", "float64"]
    roles: dict[Literal["train", "test"], RoleConfig]


class DynamicsConfig(Section):
    """Sparse equations of dynamical systems (thesis, chapter 5)."""

    seed: int = Field(0, description="Seed of initial conditions, noise and domains.")
    trials: int = Field(
        5, ge=1, description="Random initial conditions of each system; the thesis used 50."
    )
    validation_share: float = Field(
        0.5,
        gt=0,
        le=10,
        description="Time of validation data relative to that of training data: 0.5 makes them "
        "the last third.",
    )
    systems: dict[Name, SystemConfig] = Field({}, description="The systems, by name.")
    methods: MethodsConfig = Field(
        MethodsConfig(), description="Methods of sparse regression and their grids."
    )
    recovery: RecoveryConfig = Field(
        RecoveryConfig(), description="Equations recovered from trajectories."
    )
    runtime: RuntimeConfig = Field(RuntimeConfig(), description="Run times of the methods.")
    constraints: ConstraintsConfig = Field(
        ConstraintsConfig(), description="Equations with physical constraints."
    )
    fields: FieldsConfig = Field(FieldsConfig(), description="Equations of fields.")
    scoring: ScoringConfig = Field(
        ScoringConfig(), description="Trajectories without noise that equations are scored on."
    )
    in_context: InContextConfig = Field(
        InContextConfig(), description="Systems that a language model learns in context."
    )
    rtol: float = Field(
        1e-12, ge=1e-13, lt=1, description="Relative tolerance of the integrator of flows."
    )
    atol: float = Field(1e-12, gt=0, description="Absolute tolerance of the integrator of flows.")
    field_dtype: Literal["float32", "float64"] = Field(
        "float32", description="Type that fields are stored in; all else is stored in float64."
    )

    @model_validator(mode="after")
    def _names_systems(self) -> DynamicsConfig:
        kinds = {name: system.build() for name, system in self.systems.items()}
        for section, fits in (
            ("recovery", lambda s: s.kind == "flow"),
            ("runtime", lambda s: s.kind == "flow"),
            ("constraints", lambda s: s.name == "duffing"),
            ("fields", lambda s: s.kind == "field"),
        ):
            for name in getattr(self, section).systems:
                if name not in kinds:
                    raise ValueError(
                        f"{section}.systems: there is no system {name!r}; there are: "
                        + (", ".join(kinds) or "none")
                    )
                if not fits(kinds[name]):
                    raise ValueError(f"{section}.systems: {name!r} is not of the kind it is about")
        for name in self.runtime.systems:
            for degree in self.runtime.degrees:
                _hold_equations(kinds[name], degree)
        if any(self.systems[n].weak or not self.systems[n].window for n in self.runtime.systems):
            raise ValueError("runtime.systems: the differential form is timed; it takes no weak")
        return self

    def identified(self) -> list[str]:
        """Systems whose equations are looked for in their trajectories, in any experiment."""
        sections = (self.recovery, self.runtime, self.constraints, self.fields)
        return list(dict.fromkeys(name for section in sections for name in section.systems))

    def simulation(self, name: str) -> SimulationConfig:
        """What is simulated of a system: enough for its longest duration, and what equations are
        scored on (of a map as long as the former; of a field none).
        """
        chosen = self.systems[name]
        kind = chosen.build().kind
        samples = chosen.samples(self.validation_share)
        roles = {"train": RoleConfig(trials=self.trials, dt=chosen.dt, samples=samples)}
        if kind != "field":
            scoring = self.scoring
            dt = 1.0 if kind == "map" else scoring.dt
            if kind == "flow":
                samples = round(scoring.duration / dt)
            roles["test"] = RoleConfig(trials=scoring.trials, dt=dt, samples=samples)
        return SimulationConfig.model_validate(
            {
                **chosen.model_dump(include={"system", "parameters", "points", "substeps"}),
                **self.model_dump(include={"seed", "rtol", "atol"}),
                "dtype": self.field_dtype if kind == "field" else "float64",
                "roles": roles,
            }
        )
