"""Exact sparse regression on the thesis's instances: time to a proven optimum.

Instances (thesis, 5.3.1 and 5.3.3): Lorenz and Hopf with libraries of fifth order, MHD of third, dt
0.002, 0.2 % noise, smoothed finite differences, alpha 0.01; durations from 0.5 to 17 s, a target of
each trial; the true number of terms and five. One thread.

The peer is Gurobi with the thesis's formulation (SOS-1), its columns scaled and its gap zero. It
gets its model ready and is timed from there, for one number of terms; ours is timed from the same
factor, for all numbers up to it. Where Gurobi stops at the limit, the limit is its time. Then fits
of all targets, from the library on, against PySINDy's STLSQ and SSR; paths of ten models; and two
libraries that Gurobi's licence does not allow.

The default takes about twelve minutes; `--trials 1 --limit 5 --large-limit 5` three.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from harness import record, seconds
from threadpoolctl import threadpool_limits

from artneuro.dynamics.derivatives import differentiate
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.gurobi_backend import SOS1Model
from artneuro.dynamics.libraries import polynomial_features
from artneuro.dynamics.noise import observe, sample_counts
from artneuro.dynamics.simulate import Accuracy, simulate_trial
from artneuro.dynamics.sparse_library import Library, factorise, with_penalty
from artneuro.dynamics.sparse_path import search
from artneuro.dynamics.spectral import draw_field, integrate_field
from artneuro.dynamics.systems import SystemName, build_system
from artneuro.dynamics.weak import draw_domains, weak_features, weak_targets

DT, NOISE, ALPHA, WINDOW = 0.002, 0.002, 0.01, 9
DURATIONS = (0.5, 4.0, 17.0)
# Gurobi's number of a proven optimum, and of a time limit.
OPTIMAL, TIME_LIMIT = 2, 9


@dataclass(frozen=True)
class Case:
    """A system with its library: degree, terms of each target, a threshold amid the thesis's."""

    system: SystemName
    degree: int
    terms: tuple[int, ...] = ()
    threshold: float = 0.3


CASES = (
    Case("hopf", 5, (4, 4), 0.03),
    Case("lorenz", 5, (2, 3, 2), 0.3),
    Case("mhd", 3, (2,) * 6, 0.3),
)


@dataclass(frozen=True)
class Comparison:
    """One instance: wall-clock and CPU seconds of both, and whether Gurobi proved its optimum."""

    ours: float
    ours_cpu: float
    peer: float
    peer_cpu: float
    ended: bool

    @property
    def ratio(self) -> float:
        """Of wall-clock seconds."""
        return self.peer / self.ours


def instance(case: Case, duration: float, trial: int) -> tuple[np.ndarray, np.ndarray]:
    """Library and targets of a trajectory."""
    train, _ = sample_counts(duration, DT, 0.0)
    loose = Accuracy(1e-9, 1e-9)
    states = simulate_trial(
        build_system(case.system), "train", trial, DT, train, seed=0, accuracy=loose
    )
    seen = observe(states, train, 0, NOISE, np.random.default_rng(trial)).train
    return polynomial_features(seen, case.degree), differentiate(seen, DT, WINDOW)


def scaled(X: np.ndarray, y: np.ndarray) -> Library:
    """The library with all of its columns."""
    return with_penalty(factorise(X, y), ALPHA, "raw", np.ones(X.shape[1], dtype=bool))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(library: Library, target: int, k: int, limit: float, what: str) -> Comparison | None:
    """Both on one instance; None where Gurobi gave up for another reason than time."""
    times = [timed(lambda: search(library, target, k)) for _ in range(5)]
    path = search(library, target, k)
    size = path.sizes[k]
    sos1 = SOS1Model(library, target, np.empty(0, dtype=np.int64))
    sos1.prepare(k, 0.0, limit)
    wall, cpu = timed(sos1.model.optimize)
    status, found = int(sos1.model.Status), float("inf")
    if sos1.model.SolCount:
        support = np.flatnonzero(np.asarray(sos1.unused.X) < 0.5)
        columns, y = library.columns[support].T, library.targets[target]
        left = y - columns @ np.linalg.lstsq(columns, y)[0]
        found = float(left @ left + library.rest[target])
    value = size.pool[0][1]
    if size.status not in ("optimal", "capped") or value > found * (1.0 + 1e-9):
        raise SystemExit(f"{what}: {size.status} at {value:.12g}, and Gurobi found {found:.12g}")
    ours, ours_cpu = (statistics.median(column) for column in zip(*times, strict=True))
    ended = {OPTIMAL: "", TIME_LIMIT: " (limit)"}.get(status, f" (status {status})")
    worse = "" if found <= value * (1.0 + 1e-9) else f", {found / value - 1:.1e} above ours"
    print(
        f"{what}: {ours * 1e3:.2f} ms, {path.nodes} nodes, {size.status} / {wall:.3f} s{ended}"
        f"{worse} = {wall / ours:.0f}; CPU {ours_cpu * 1e3:.2f} ms / {cpu:.3f} s",
        flush=True,
    )
    if status not in (OPTIMAL, TIME_LIMIT):
        return None
    return Comparison(ours, ours_cpu, wall, cpu, status == OPTIMAL)


def against_gurobi(trials: int, limit: float) -> None:
    """Instance by instance."""
    found: list[Comparison | None] = []
    print("system, D, duration, trial, k: ours / Gurobi = ratio")
    for case in CASES:
        for duration in DURATIONS:
            for trial in range(trials):
                X, y = instance(case, duration, trial)
                library, target = scaled(X, y), trial % y.shape[1]
                for k in sorted({case.terms[target], 5}):
                    what = f"{case.system}, {X.shape[1]}, {duration:g} s, {trial}, {k}"
                    found.append(compare(library, target, k, limit, what))
    both = sorted((c for c in found if c is not None), key=lambda c: c.ratio)
    middle = both[(len(both) - 1) // 2]
    print(
        f"{len(both)} instances, and {len(found) - len(both)} that Gurobi gave up; it proved "
        f"{sum(c.ended for c in both)} in {limit:g} s. Ratios of wall-clock seconds: least "
        f"{both[0].ratio:.1f}, median {middle.ratio:.0f}, largest {both[-1].ratio:.0f}; of CPU "
        f"seconds: median {statistics.median(c.peer_cpu / c.ours_cpu for c in both):.0f}; slower "
        f"on {sum(c.ratio < 1.0 for c in both)}; ours at most {max(c.ours for c in both):.3f} s"
    )
    record(
        "exact_sparse_regression",
        f"the median of {len(both)} instances of Lorenz and Hopf (order 5) and MHD (order 3): a "
        "proven optimum for one target, true k or k = 5, one thread",
        middle.ours,
        f"Gurobi, SOS-1, scaled columns, gap 0 (stopped after {limit:g} s)",
        middle.peer,
    )


def fit_times(case: Case, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Median seconds of fits of all targets, and of the parts of the exact one."""
    import pysindy as ps

    def exact() -> None:
        ExactSparseRegression(group_sparsity=case.terms, alpha=ALPHA).fit(X, y)

    def stlsq() -> None:
        ps.STLSQ(threshold=case.threshold, alpha=ALPHA).fit(X, y)

    def ssr() -> None:
        ps.SSR(alpha=ALPHA).fit(X, y)

    def solve() -> None:
        for target, k in enumerate(case.terms):
            search(library, target, k)

    def build() -> None:
        scaled(X, y)

    library = scaled(X, y)
    works = {"exact": exact, "STLSQ": stlsq, "SSR": ssr, "build": build, "solve": solve}
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(5)]
    return {name: statistics.median(r[name] for r in rounds) for name in works}


def against_heuristics() -> None:
    """Fits of all targets, from the library on, against PySINDy's STLSQ and SSR."""
    totals: dict[str, float] = {}
    for case in CASES:
        for duration in DURATIONS:
            X, y = instance(case, duration, 0)
            times = fit_times(case, X, y)
            line = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in times.items())
            print(
                f"fits, {case.system}, {duration:g} s, {X.shape[0]} rows, {X.shape[1]} columns, "
                f"{y.shape[1]} targets: {line}; "
                f"exact / STLSQ = {times['exact'] / times['STLSQ']:.2f}",
                flush=True,
            )
            totals = {name: totals.get(name, 0.0) + value for name, value in times.items()}
    for name in ("STLSQ", "SSR"):
        record(
            f"exact_regression_fit_{name.lower()}",
            f"fits of all targets with the true numbers of terms, {len(CASES) * len(DURATIONS)} "
            "libraries (Lorenz, Hopf, MHD), from the library on, one thread",
            totals["exact"],
            f"PySINDy's {name}, one fit",
            totals[name],
        )


def report(what: str, library: Library, target: int, k: int, limit: float) -> None:
    """Print what a search up to k terms proves in a time."""
    path = search(library, target, k, time_limit=limit)
    size = path.sizes[k]
    gap = max(1.0 - size.bound / size.pool[0][1], 0.0)
    proven = [n for n, s in path.sizes.items() if s.status in ("optimal", "capped")]
    print(
        f"{what}, D = {library.usable.size}, k = 1 to {k}: {path.seconds:.3f} s, {path.nodes} "
        f"nodes, {size.status}, gap at {k}: {gap:.1e}, proven up to {max(proven, default=0)}",
        flush=True,
    )


def paths(limit: float) -> None:
    """Paths of ten models of 84 terms, for each target."""
    for duration in DURATIONS:
        X, y = instance(CASES[2], duration, 0)
        library = scaled(X, y)
        for target in range(y.shape[1]):
            report(f"mhd, {duration:g} s, target {target}", library, target, 10, limit)


def reaction_diffusion(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A weak library of 109 terms on a small field with noise (share of its deviation)."""
    system = build_system("reaction_diffusion", {"length": 10.0})
    generator = np.random.default_rng(0)
    states = integrate_field(system, draw_field(system, 64, generator), 0.02, 151, substeps=2)
    states = states + noise * states.std() * generator.standard_normal(states.shape)
    spacing = [length / 64 for _, length in system.domain] + [0.02]
    domains = draw_domains(states.shape[:-1], spacing, 400, 0.3, generator)
    return weak_features(states, domains, 3, 2, bias=False), weak_targets(states, domains)


def large(limit: float) -> None:
    """Libraries beyond Gurobi's licence."""
    cases = [
        (f"reaction-diffusion, weak, {noise:.0%} noise", reaction_diffusion(noise), (3, 5, 7))
        for noise in (0.1, 0.3)
    ]
    six = Case("mhd", 5)
    cases += [
        (f"mhd, fifth order, {duration:g} s", instance(six, duration, 0), (3, 4, 5))
        for duration in (2.0, 4.0, 17.0)
    ]
    for name, (X, y), sizes in cases:
        started = time.perf_counter()
        library = scaled(X, y)
        print(f"{name}: factors {time.perf_counter() - started:.3f} s")
        for k in sizes:
            report(name, library, 0, k, limit)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds of a solve by Gurobi")
    parser.add_argument("--large-limit", type=float, default=60.0, help="seconds of a long search")
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        # Compile first.
        search(scaled(*instance(CASES[0], 0.5, 0)), 0, 5)
        against_gurobi(a.trials, a.limit)
        against_heuristics()
        paths(a.large_limit)
        large(a.large_limit)


if __name__ == "__main__":
    main()
