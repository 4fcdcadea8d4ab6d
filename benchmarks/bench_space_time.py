"""Probes for places with leave-one-out, and proximity errors, each against scikit-learn.

Ridge regressions of two targets at every layer, the penalty chosen by leave-one-out from 12: from
activations in float32, as a store gives them, to coefficients, errors and penalty. The peer
centres and scales the same features and fits `RidgeCV`, layer by layer in turns with ours. Features
have the decaying spectrum of a residual stream, a few units with means far above their deviations,
and rows of different size. Both must choose the same penalty, and agree in the leave-one-out error
and in R2 on other rows to 1e-6.

Proximity errors of 40,000 places: every prediction against every truth. The peer goes through
blocks of rows with `haversine_distances`. Each runs in a process of its own, whose peak of memory
is printed; ours must stay below 2 GB.

One thread. The default takes about six minutes, most of it the peer's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
from harness import peak_memory, record
from threadpoolctl import threadpool_limits

from artneuro.spacetime.metrics import SPACE, on_sphere
from artneuro.spacetime.proximity import proximity_errors
from artneuro.spacetime.ridge import DEFAULT_PENALTIES, RidgeDesign, choose_penalty

AGREEMENT = 1e-6
# Gigabytes that proximity errors may take.
MEMORY_GB = 2.0


def make_layer(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float32 and two targets (n, 2), of which the features know a part."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.standard_normal((d, d)))[0]
    hidden = random.standard_normal((n, d)) / np.sqrt(np.arange(1, d + 1))
    targets = hidden[:, :60] @ random.standard_normal((60, 2)) + 2 * random.standard_normal((n, 2))
    features = hidden @ turn
    features[:, :4] = features[:, :4] * 50 + 2000
    features *= np.exp(0.2 * random.standard_normal((n, 1)))
    return features.astype(np.float32), targets


def r2(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean over the targets."""
    total = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    return float((1 - np.square(truth - said).sum(axis=0) / total).mean())


def fit_ours(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Penalty, leave-one-out error, predictions of other rows."""
    design = RidgeDesign(x)
    chosen = choose_penalty(design, y)
    coef, intercept = design.solve(y, chosen.penalty)
    return chosen.penalty, float(chosen.errors.min()), test @ coef + intercept


def fit_peer(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> tuple[float, float, np.ndarray]:
    """The same from scikit-learn."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    scaler, targets = StandardScaler(), StandardScaler()
    fit = RidgeCV(DEFAULT_PENALTIES).fit(
        scaler.fit_transform(x.astype(np.float64)), targets.fit_transform(y)
    )
    said = targets.inverse_transform(fit.predict(scaler.transform(test.astype(np.float64))))
    return float(fit.alpha_), -float(fit.best_score_), said


def probes(name: str, layers: int, n: int, d: int) -> None:
    """Probes of all layers of one dataset."""
    times = {"ours": 0.0, "peer": 0.0}
    apart = 0.0
    fits = {"ours": fit_ours, "peer": fit_peer}
    for layer in range(-1, layers):
        x, y = make_layer(n + n // 4, d, layer + 1)
        found = {}
        for who in list(fits)[:: 1 if layer % 2 else -1]:
            started = time.perf_counter()
            found[who] = fits[who](x[:n], y[:n], x[n:])
            # The layer before the first one warms both up.
            times[who] += (time.perf_counter() - started) * (layer >= 0)
        (penalty, error, said), (alpha, score, peer_said) = found["ours"], found["peer"]
        if not np.isclose(penalty, alpha):
            raise SystemExit(f"{name}, layer {layer}: penalty {penalty}, scikit-learn's {alpha}")
        scores = [abs(error / score - 1), abs(r2(y[n:], said) / r2(y[n:], peer_said) - 1)]
        apart = max(apart, *scores)
        if apart > AGREEMENT:
            raise SystemExit(f"{name}, layer {layer}: scores {apart:.1e} apart")
    print(f"{name}: scores at most {apart:.1e} apart, {times['ours'] / layers:.3f} s a layer")
    record(
        name,
        f"ridge probes of {layers} layers of {n} rows and {d} units, two targets, leave-one-out "
        "over 12 penalties, one thread",
        times["ours"],
        "scikit-learn's RidgeCV, layer by layer",
        times["peer"],
    )


def make_places(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Truths and predictions in degrees, (n, 2) each."""
    random = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(random.uniform(-0.8, 0.9, n)))
    truth = np.stack([latitude, random.uniform(-180, 180, n)], axis=1)
    said = truth + random.standard_normal((n, 2)) * [8, 20]
    # At a pole itself predictions are equal, which the peer's rounding hides.
    said[:, 0] = np.clip(said[:, 0], -89.9, 89.9 - 1e-3 * random.random(n))
    return truth, said


def proximity_of_peer(truth: np.ndarray, said: np.ndarray, block: int = 500) -> np.ndarray:
    """A loop over blocks of rows of the matrix of all distances."""
    from sklearn.metrics.pairwise import haversine_distances

    there = np.radians(np.stack(on_sphere(*said.T), axis=1))
    found = np.empty(len(truth))
    for start in range(0, len(truth), block):
        rows = np.arange(start, min(start + block, len(truth)))
        far = haversine_distances(np.radians(truth[rows]), there)
        own = far[np.arange(len(rows)), rows]
        found[rows] = (far < own[:, None]).sum(axis=1) / (len(truth) - 1)
    return found


def measure_proximity(who: str, n: int) -> None:
    """Run one of both and print what it took; for a process of its own."""
    truth, said = make_places(n)
    if who == "ours":
        # Compile first.
        proximity_errors(truth[:10], said[:10], SPACE)
    started = time.perf_counter()
    if who == "ours":
        found = proximity_errors(truth, said, SPACE)
    else:
        found = proximity_of_peer(truth, said)
    seconds = time.perf_counter() - started
    print(
        json.dumps({"seconds": seconds, "peak_gb": peak_memory() / 1000, "found": found.tolist()})
    )


def proximity(n: int) -> None:
    """Proximity errors of n places."""
    found = {}
    for who in ("peer", "ours"):
        command = [sys.executable, __file__, "--measure", who, "--places", str(n)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found[who] = json.loads(run.stdout)
    ours, peer = found["ours"], found["peer"]
    # Distances that differ in the last digit alone may be told apart by one of both.
    apart = np.abs(np.subtract(ours["found"], peer["found"])).max() * (n - 1)
    print(
        f"proximity error: peaks of memory {ours['peak_gb']:.2f} GB and {peer['peak_gb']:.2f} GB, "
        f"of {n} places at most {apart:.0f} counted differently"
    )
    if apart > 1.5:
        raise SystemExit(f"proximity errors are {apart:.0f} places apart")
    if ours["peak_gb"] > MEMORY_GB:
        raise SystemExit(f"proximity errors take {ours['peak_gb']:.2f} GB")
    record(
        "proximity_error",
        f"{n} predicted places against as many true ones, one thread, within "
        f"{ours['peak_gb']:.2f} GB in all",
        ours["seconds"],
        "blocks of scikit-learn's haversine_distances",
        peer["seconds"],
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--wide-layers", type=int, default=8)
    parser.add_argument("--places", type=int, default=40_000)
    parser.add_argument("--measure", choices=("ours", "peer"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    with threadpool_limits(1):
        if a.measure:
            measure_proximity(a.measure, a.places)
            return
        probes("entity_probes", a.layers, 3000, 576)
        probes("entity_probes_wide", a.wide_layers, 5000, 2048)
        proximity(a.places)


if __name__ == "__main__":
    main()
