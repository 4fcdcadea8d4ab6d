"""From a true trajectory to the regression that its equations are found by.

Thesis, sections 5.3.1, 5.3.2 and 5.3.5: noisy measurements of the start of a trajectory, a library
of candidate terms, and time derivatives by differences or in the weak form, on a part to train on
and on one to choose hyperparameters by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from artneuro.datasets.seeding import generator_of
from artneuro.dynamics.compressed import Compressed, compress
from artneuro.dynamics.config import SystemConfig
from artneuro.dynamics.derivatives import differentiate
from artneuro.dynamics.equations import System, true_coefficients
from artneuro.dynamics.libraries import library_terms, polynomial_features, term_names
from artneuro.dynamics.noise import observe, sample_counts
from artneuro.dynamics.trajectories import Trajectories
from artneuro.dynamics.weak import draw_domains, weak_features, weak_targets


@dataclass(frozen=True)
class Regression:
    """A library and derivatives on one trajectory.

    Attributes
    ----------
    library : ndarray of shape (measurements, terms)
    targets : ndarray of shape (measurements, targets)
    validation : Compressed
        The same on the validation part.
    unit_columns : bool
        Do methods see library columns of unit length? In the weak form they do.
    """

    library: np.ndarray
    targets: np.ndarray
    validation: Compressed
    unit_columns: bool

    @cached_property
    def train(self) -> Compressed:
        """The training part."""
        return compress(self.library, self.targets)

    @cached_property
    def seen(self) -> Compressed:
        """The training part as methods see it."""
        return self.train.scaled() if self.unit_columns else self.train


@dataclass(frozen=True)
class Measured:
    """How a trajectory is measured: trial, time of the training part, and noise level."""

    trial: int
    duration: float
    noise: float


def build_regression(
    config: SystemConfig,
    store: Trajectories,
    measured: Measured,
    degree: int,
    *,
    seed: int,
    validation_share: float,
) -> Regression:
    """The regression of one trajectory of a flow.

    Parameters
    ----------
    config : SystemConfig
    store : Trajectories
        Of the system.
    measured : Measured
    degree : int
        Of the library.
    seed : int
        Of the noise and the domains.
    validation_share : float
        See `sample_counts`.
    """
    system = config.build()
    train, validation = sample_counts(measured.duration, config.dt, validation_share)
    states = store.read("train", measured.trial, train + validation)
    # The same noise but for its scale at every level and duration: trials are compared in pairs.
    noise = generator_of(seed, "dynamics", "noise", system.name, measured.trial)
    seen = observe(states, train, validation, measured.noise, noise)

    def weakly(part: np.ndarray, role: str) -> tuple[np.ndarray, np.ndarray]:
        assert config.weak is not None
        generator = generator_of(seed, "dynamics", "domains", system.name, role, measured.trial)
        domains = draw_domains(
            (len(part),), (config.dt,), config.weak.domains, config.weak.width, generator
        )
        return (
            weak_features(part[:, list(system.inputs)], domains, degree),
            weak_targets(part[:, list(system.targets)], domains),
        )

    def directly(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert config.window is not None
        return (
            polynomial_features(part[:, list(system.inputs)], degree),
            differentiate(part[:, list(system.targets)], config.dt, config.window),
        )

    weak = config.weak
    library, targets = weakly(seen.train, "train") if weak else directly(seen.train)
    if weak and (config.window is None or measured.noise > weak.validate_above):
        judged = weakly(seen.validation, "validation")
    else:
        judged = directly(seen.validation)
    return Regression(library, targets, compress(*judged), weak is not None)


def true_model(system: System, degree: int, order: int = 0) -> tuple[np.ndarray, list[str]]:
    """True coefficients, (targets, terms), in a library, and the names of its terms."""
    terms = library_terms(system, degree, order)
    return true_coefficients(system, terms), term_names(system, terms)


def scoring_factors(system: System, store: Trajectories, degree: int) -> list[np.ndarray]:
    """For each test trajectory a matrix of as few rows as terms with the same mean squares.

    Whatever the coefficients, the mean square of matrix times coefficients over its rows is that
    over all samples of the trajectory: what `artneuro.dynamics.metrics.derivative_rmse` needs.
    """
    found = []
    for trial in range(store.plan("test").trials):
        states = store.read("test", trial)[:, list(system.inputs)]
        factor = np.asarray(np.linalg.qr(polynomial_features(states, degree), mode="r"))
        found.append(factor * np.sqrt(len(factor) / len(states)))
    return found
