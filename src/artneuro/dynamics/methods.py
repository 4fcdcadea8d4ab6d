"""Methods of sparse regression behind one interface, each tuned for each target alone.

A method proposes supports, one for each setting of its grid. Whatever proposed it, a support is
refitted by unregularised least squares on the training part, and the setting is chosen whose refit
has the least AICc on the validation part. Thesis, section 5.3.1; there some methods were tuned for
all targets together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from artneuro.dynamics.certificate import Certificate
from artneuro.dynamics.compressed import Compressed, bootstraps, merge
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.greedy import (
    RidgeFits,
    median_support,
    stepwise_supports,
    threshold_supports,
)
from artneuro.dynamics.methods_config import Method, MethodsConfig
from artneuro.dynamics.metrics import aicc, bic
from artneuro.dynamics.regressions import Regression
from artneuro.dynamics.relaxed import relaxed_fits


@dataclass(frozen=True)
class Setting:
    """Hyperparameters of a method; None is what it does not have."""

    alpha: float | None = None
    threshold: float | None = None
    nu: float | None = None
    k: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A support (terms, bool) that a setting leads to, with what was proven of it."""

    support: np.ndarray
    setting: Setting
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Model:
    """The equation of one target that a method ends with.

    Attributes
    ----------
    coefficients : ndarray of shape (terms,)
    setting : Setting
        The first of the grid that leads to it.
    criterion : float
        What it was chosen by.
    at_edge : bool or None
        Would a grid that reaches further perhaps have led elsewhere: is the lowest or the highest
        threshold, or the largest number of terms, among the settings that lead to this model? None
        where the grid holds all there is.
    certificate : Certificate or None
    """

    coefficients: np.ndarray
    setting: Setting
    criterion: float
    at_edge: bool | None
    certificate: Certificate | None = None


@dataclass
class Tuning:
    """One regression, and what methods share of it: bootstraps and models of other methods.

    Attributes
    ----------
    regression : Regression
    config : MethodsConfig
    thresholds : ndarray
        Of the system.
    generator : Generator
        Draws the bootstraps.
    """

    regression: Regression
    config: MethodsConfig
    thresholds: np.ndarray
    generator: np.random.Generator
    models: dict[Method, list[Model]] = field(default_factory=dict)
    seconds: dict[Method, float] = field(default_factory=dict)
    inclusion: np.ndarray | None = None
    _samples: list[Compressed] | None = None
    _refits: dict[tuple[int, bytes], tuple[np.ndarray, float]] = field(default_factory=dict)

    @property
    def targets(self) -> int:
        """Number of targets."""
        return self.regression.targets.shape[1]

    def run(self, method: Method) -> list[Model]:
        """The models of all targets; other methods that this one builds on are run first."""
        if method not in self.models:
            for needed in _NEEDS.get(method, ()):
                self.run(needed)
            started = time.process_time()
            self.models[method] = _METHODS[method](self)
            self.seconds[method] = time.process_time() - started
        return self.models[method]

    def samples(self) -> list[Compressed]:
        """Bootstraps of the training part as methods see it."""
        if self._samples is None:
            regression = self.regression
            drawn = bootstraps(
                regression.library, regression.targets, self.config.ensembles, self.generator
            )
            self._samples = [s.scaled() for s in drawn] if regression.unit_columns else drawn
        return self._samples

    def refit(self, target: int, support: np.ndarray) -> tuple[np.ndarray, float]:
        """Least-squares coefficients on a support, and their AICc on validation data."""
        key = (target, np.packbits(support).tobytes())
        if key not in self._refits:
            coefficients = self.regression.train.fit(target, support)
            judged = self.regression.validation
            rest = judged.targets[:, target] - judged.library @ coefficients
            score = aicc(float(rest @ rest), judged.measurements, int(support.sum()))
            self._refits[key] = coefficients, float(score)
        return self._refits[key]

    def choose(self, target: int, proposals: Sequence[Proposal]) -> Model:
        """The proposal with the least AICc on validation data; the first of equals."""
        scores = [self.refit(target, proposal.support)[1] for proposal in proposals]
        best = proposals[int(np.argmin(scores))]
        return Model(
            self.refit(target, best.support)[0],
            best.setting,
            min(scores),
            _at_edge(best, proposals),
            best.certificate,
        )


def _at_edge(best: Proposal, proposals: Sequence[Proposal]) -> bool | None:
    same = [p.setting for p in proposals if np.array_equal(p.support, best.support)]
    if best.setting.threshold is not None:
        grid = [p.setting.threshold for p in proposals]
        return any(s.threshold in (min(grid), max(grid)) for s in same)  # type: ignore[type-var]
    if best.certificate is not None:
        return max(p.setting.k for p in proposals) in [s.k for s in same]  # type: ignore[type-var]
    return None


def _masks(supports: np.ndarray, terms: int) -> np.ndarray:
    mask = np.zeros(terms, dtype=bool)
    mask[supports] = True
    return mask


def exact_paths(
    problem: Compressed, alpha: float, config: MethodsConfig
) -> list[list[Certificate]]:
    """For each target the best models of 1, 2, ... terms."""
    model = ExactSparseRegression(
        max_terms=min(config.max_terms, problem.terms),
        alpha=alpha,
        time_limit=config.time_limit,
    )
    return model.fit(problem.library, problem.targets).path_


def _exact(tuning: Tuning) -> list[Model]:
    seen, config = tuning.regression.seen, tuning.config
    proposals: list[list[Proposal]] = [[] for _ in range(tuning.targets)]
    for alpha in config.alphas:
        for found, path in zip(proposals, exact_paths(seen, alpha, config), strict=True):
            found += [
                Proposal(_masks(c.support, seen.terms), Setting(alpha=alpha, k=c.k), c)
                for c in path
            ]
    return [tuning.choose(t, found) for t, found in enumerate(proposals)]


def _exact_path(tuning: Tuning) -> list[Model]:
    """No data are kept back: the whole path is fitted on both parts with the least penalty of the
    grid, and a criterion chooses.
    """
    regression, config = tuning.regression, tuning.config
    everything = merge(regression.train, regression.validation)
    seen = everything.scaled() if regression.unit_columns else everything
    criterion: Callable[..., np.ndarray] = bic if config.criterion == "bic" else aicc
    models, alpha = [], min(config.alphas)
    for target, path in enumerate(exact_paths(seen, alpha, config)):
        fits = [everything.fit(target, _masks(c.support, seen.terms)) for c in path]
        sums = [
            float(np.square(everything.targets[:, target] - everything.library @ f).sum())
            for f in fits
        ]
        sizes = [c.support.size for c in path]
        scores = [float(criterion(s, everything.measurements, k))
                  for s, k in zip(sums, sizes, strict=True)]  # fmt: skip
        best = int(np.argmin(scores))
        models.append(
            Model(
                fits[best],
                Setting(alpha=alpha, k=path[best].k),
                scores[best],
                path[best].k == len(path),
                path[best],
            )
        )
    return models


def _exact_stability(tuning: Tuning) -> list[Model]:
    """Terms that most bootstraps choose, for the penalty that did best in single fits."""
    seen, config = tuning.regression.seen, tuning.config
    alphas = [float(model.setting.alpha or 0.0) for model in tuning.models["exact"]]
    sizes = min(config.max_terms, seen.terms)
    share = np.zeros((tuning.targets, sizes, seen.terms))
    for alpha in dict.fromkeys(alphas):
        for sample in tuning.samples():
            for target, path in enumerate(exact_paths(sample, alpha, config)):
                if alphas[target] == alpha:
                    for row, certificate in enumerate(path):
                        share[target, row, certificate.support] += 1 / len(tuning.samples())
    tuning.inclusion = share
    # Sums of shares such as 0.02 round.
    steady = share >= config.inclusion - 1e-9
    return [
        tuning.choose(
            target,
            [Proposal(steady[target, row], Setting(alpha=alphas[target], k=row + 1))
             for row in range(sizes)],
        )
        for target in range(tuning.targets)
    ]  # fmt: skip


def _stlsq(tuning: Tuning) -> list[Model]:
    models = []
    for target in range(tuning.targets):
        proposals = []
        for alpha in tuning.config.alphas:
            fits = RidgeFits(tuning.regression.seen, target, alpha)
            supports = threshold_supports(fits, tuning.thresholds)
            proposals += _thresholded(supports, tuning.thresholds, alpha=alpha)
        models.append(tuning.choose(target, proposals))
    return models


def _ensemble_stlsq(tuning: Tuning) -> list[Model]:
    """Medians over bootstraps, with the penalty that did best for STLSQ."""
    models = []
    for target in range(tuning.targets):
        alpha = float(tuning.models["stlsq"][target].setting.alpha or 0.0)
        coefficients = []
        for sample in tuning.samples():
            supports = threshold_supports(RidgeFits(sample, target, alpha), tuning.thresholds)
            refits = RidgeFits(sample, target, 0.0)
            coefficients.append([refits.coefficients(support) for support in supports])
        supports = median_support(np.array(coefficients))
        proposals = _thresholded(supports, tuning.thresholds, alpha=alpha)
        models.append(tuning.choose(target, proposals))
    return models


def _ssr(tuning: Tuning) -> list[Model]:
    models = []
    for target in range(tuning.targets):
        proposals = []
        for alpha in tuning.config.alphas:
            supports = stepwise_supports(tuning.regression.seen, target, alpha)
            proposals += [
                Proposal(support, Setting(alpha=alpha, k=k))
                for k, support in enumerate(supports, start=1)
            ]
        models.append(tuning.choose(target, proposals))
    return models


def _sr3(tuning: Tuning) -> list[Model]:
    """Fitted for all targets together, as it is defined, and chosen for each."""
    wide = widened(tuning.thresholds)
    proposals: list[list[Proposal]] = [[] for _ in range(tuning.targets)]
    for nu in tuning.config.nus:
        found, _ = relaxed_fits(tuning.regression.seen, nu, wide, tuning.config.sr3_iterations)
        for target, line in enumerate(proposals):
            line += _thresholded(found[:, target] != 0, wide, nu=nu)
    return [tuning.choose(target, line) for target, line in enumerate(proposals)]


def _thresholded(
    supports: np.ndarray, thresholds: np.ndarray, *, alpha: float | None = None,
    nu: float | None = None,
) -> list[Proposal]:  # fmt: skip
    return [
        Proposal(support, Setting(alpha=alpha, nu=nu, threshold=float(threshold)))
        for support, threshold in zip(supports, thresholds, strict=True)
    ]


def widened(thresholds: np.ndarray) -> np.ndarray:
    """As many thresholds, evenly spaced in the logarithm, from half a decade lower to higher."""
    low, high = math.log10(min(thresholds)) - 0.5, math.log10(max(thresholds)) + 0.5
    return np.logspace(low, high, len(thresholds))


_METHODS: dict[Method, Callable[[Tuning], list[Model]]] = {
    "exact": _exact,
    "exact_path": _exact_path,
    "exact_stability": _exact_stability,
    "stlsq": _stlsq,
    "ensemble_stlsq": _ensemble_stlsq,
    "ssr": _ssr,
    "sr3": _sr3,
}
_NEEDS: dict[Method, tuple[Method, ...]] = {
    "exact_stability": ("exact",),
    "ensemble_stlsq": ("stlsq",),
}
