"""Config of the experiments of the dynamics stage: which methods, with which grids, on which
systems.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from artneuro.core.config import Name, Section

Method = Literal[
    "exact", "exact_path", "exact_stability", "stlsq", "ensemble_stlsq", "ssr", "sr3"
]  # fmt: skip
METHODS: tuple[Method, ...] = (
    "exact", "exact_path", "exact_stability", "stlsq", "ensemble_stlsq", "ssr", "sr3",
)  # fmt: skip

Degree = Annotated[int, Field(ge=1, le=9)]


class MethodsConfig(Section):
    """Methods of sparse regression and the grids that they are tuned over (thesis, D.1.1)."""

    names: list[Method] = Field(
        list(METHODS),
        min_length=1,
        description="exact: the best supports of every size; exact_path: the same, with the size "
        "chosen by a criterion on all data instead of validation; exact_stability: terms that "
        "most bootstraps choose; stlsq, ensemble_stlsq, ssr, sr3: heuristics.",
    )
    max_terms: int = Field(5, ge=1, description="Largest number of terms of exact models.")
    alphas: list[float] = Field(
        [0.0, 1e-5, 1e-3, 0.01, 0.05, 0.2],
        min_length=1,
        description="Ridge penalties of exact, stlsq and ssr.",
    )
    nus: list[float] = Field(
        [1 / 30, 0.1, 1 / 3, 1.0, 10 / 3], min_length=1, description="Relaxations of sr3."
    )
    sr3_iterations: int = Field(10_000, ge=1, description="Largest number of iterations of sr3.")
    ensembles: int = Field(
        50, ge=2, description="Bootstraps of ensemble_stlsq and of exact_stability."
    )
    inclusion: float = Field(
        0.6,
        ge=0.5,
        le=1,
        description="Share of bootstraps that a term of exact_stability is chosen in.",
    )
    criterion: Literal["bic", "aicc"] = Field(
        "bic", description="What exact_path chooses the number of terms by."
    )
    time_limit: float | None = Field(
        30.0,
        gt=0,
        description="Seconds of an exact search, for each target and penalty; models that it cuts "
        "short are marked, and may differ from run to run.",
    )


class RecoveryConfig(Section):
    """Equations recovered from trajectories of flows, by all methods (thesis, 5.3.2 and 5.3.5)."""

    systems: list[Name] = Field([], description="Systems, by name.")


class RuntimeConfig(Section):
    """Run times of single fits with typical settings (thesis, section 5.3.3)."""

    systems: list[Name] = Field([], description="Systems, by name.")
    degrees: list[Degree] = Field([3, 5], description="Degrees of the libraries.")
    trials: int = Field(5, ge=1, description="Trials that are timed, the first ones.")
    methods: list[Literal["exact", "stlsq", "ensemble_stlsq", "ssr", "sr3"]] = Field(
        ["exact", "stlsq", "ensemble_stlsq", "ssr", "sr3"],
        description="Methods; the heuristics as PySINDy has them.",
    )


class ConstraintsConfig(Section):
    """Equations of the Duffing system with and without physical constraints (thesis, 5.3.4)."""

    systems: list[Name] = Field([], description="Systems, by name.")
    terms: list[int] = Field(
        list(range(2, 11)), min_length=1, description="Numbers of terms of all targets together."
    )
    alphas: list[float] = Field(
        [1e-4, 1e-3, 1e-2], min_length=1, description="Ridge penalties of the exact method."
    )


class FieldsConfig(Section):
    """Whether equations of fields can be found at all: settings chosen by the truth (5.3.6)."""

    systems: list[Name] = Field([], description="Systems, by name.")
    alphas: list[float] = Field(
        [0.0, 1e-5, 1e-3, 0.01, 0.05, 0.2],
        min_length=1,
        description="Ridge penalties that are tried.",
    )
    ensembles: int = Field(20, ge=2, description="Libraries of ensemble_stlsq.")
    dropped: int = Field(2, ge=1, description="Terms that each of them leaves out at random.")
