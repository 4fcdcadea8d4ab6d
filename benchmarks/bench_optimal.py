"""Optimal sparse probing on real activations: how long proofs take, and how many come in time.

Every fit has the published setting (thesis, section A.2.4): the 50 neurons of the largest mean
difference on the training rows, activations as they are, gamma = 1 / sqrt(rows), balanced
classes, 60 s, one thread. For each (layer, feature) the best supports of k = 8, ..., 1 are proven
to a gap of 1e-4. The thesis reports 53 s on average for a fit, many of them stopped by the limit,
on another machine and model. The peer that is measured is the thesis's method, outer approximation
with a mixed-integer master problem (here OR-Tools), on two of the same problems.

The default takes about five minutes; `--cases 2 --limit 10` less than one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from harness import record
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.probing.data import Feature, load_features
from artneuro.probing.optimal import Certificate, OptimalSparseSVM, optimal_supports
from artneuro.probing.rankings import top
from artneuro.probing.svm_losses import LOSSES

PREFILTER, K, PEER_K = 50, 8, 2


def case(activations: np.ndarray, feature: Feature, rows: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations (units, rows) of the neurons with the largest mean differences, and labels."""
    index, y = feature.train, feature.train_positive
    if rows == "all":
        index = np.concatenate([index, feature.test])
        y = np.concatenate([y, feature.test_positive])
    values = activations[index].astype(np.float64)
    kept = top(np.abs(values[y].mean(axis=0) - values[~y].mean(axis=0)), PREFILTER)
    return np.ascontiguousarray(values[:, kept].T), y


def summary(fits: list[Certificate], limit: float) -> str:
    """Times, and what is proven, of fits."""
    seconds = np.array([c.seconds for c in fits])
    gaps = np.array([c.gap for c in fits if c.status != "optimal"])
    worst = f", largest gap {gaps.max():.2%}" if gaps.size else ""
    return (
        f"{len(fits)} fits, median {np.median(seconds):.3f} s, mean {seconds.mean():.2f} s, "
        f"longest {seconds.max():.1f} s; proven in {limit:.0f} s: {len(fits) - gaps.size} of "
        f"{len(fits)}{worst}"
    )


def run(
    store: Path, labels: Path | None, site: str, losses: list[str], rows: str, limit: float,
    layers: list[int] | None, names: list[str] | None, cases: int,
) -> None:  # fmt: skip
    """Measure, print the tables, and record the comparison with outer approximation."""
    opened = open_store(store)
    if labels is None:
        # results/activations/{model}/{dataset}/activations.zarr
        model, dataset = store.resolve().parts[-3:-1]
        labels = store.resolve().parents[3] / "datasets" / model / dataset / "labels.parquet"
    features = load_features(store.parent / "rows.parquet", labels)
    if names:
        features = tuple(f for f in features if f.name in names)
    depth = len(opened.layers)
    if layers is None:
        layers = [int(opened.layers[depth * part // 8]) for part in (1, 4, 7)]
    # Neighbouring cases differ in both layer and feature.
    pairs = [(layer, f) for i, f in enumerate(features) for layer in np.roll(layers, -i)]
    chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(cases, len(pairs))).astype(int)]
    ours, peers = [], []
    with threadpool_limits(1):
        x, y = np.random.default_rng(0).standard_normal((12, 60)), np.arange(60) % 3 == 0
        for loss in losses:
            optimal_supports(x, y, 2, loss=loss)
        problems = [
            (layer, f.name, *case(opened.read(site, layer), f, rows)) for layer, f in chosen
        ]
        for loss in losses:
            found: dict[int, list[Certificate]] = {k: [] for k in range(1, K + 1)}
            for layer, name, columns, positive in problems:
                path = optimal_supports(columns, positive, K, loss=loss, time_limit=limit)
                for k, proof in enumerate(path, start=1):
                    found[k].append(proof)
                times = " ".join(
                    f"{c.seconds:.2f}" if c.status == "optimal" else f"({c.gap:.1%})" for c in path
                )
                print(
                    f"{loss}, layer {layer}, {name}, {positive.size} rows: seconds (or gap) of "
                    f"k = 1 to {K}: {times}",
                    flush=True,
                )
            for k, proofs in found.items():
                print(f"{loss}, k = {k}: {summary(proofs, limit)}")
            print(f"{loss}, all k: {summary([c for p in found.values() for c in p], limit)}")
        for _, _, columns, positive in problems[:2]:
            for times, backend in ((ours, "branch_and_bound"), (peers, "ortools")):
                model = OptimalSparseSVM(PEER_K, time_limit=limit / 2, backend=backend)
                started = time.perf_counter()
                model.fit(columns.T, positive)
                times.append(time.perf_counter() - started)
                print(
                    f"{backend}, k = {PEER_K}: {times[-1]:.2f} s, gap {model.gap_:.2%}", flush=True
                )
    record(
        "optimal_sparse_probing",
        f"mean over {len(ours)} (feature, layer) of {store.resolve().parts[-3]}, "
        f"{store.resolve().parts[-2]}: {PREFILTER} neurons, {problems[0][3].size} rows, hinge, "
        f"k = {PEER_K}, gap 1e-4, one thread",
        float(np.mean(ours)),
        f"outer approximation with OR-Tools CP-SAT (stopped after {limit / 2:.0f} s)",
        float(np.mean(peers)),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="activation store of the demo")
    parser.add_argument("--labels", type=Path, help="labels of its dataset, if not beside it")
    parser.add_argument("--site", default="mlp_post")
    parser.add_argument(
        "--losses", nargs="+", default=["squared_error", "hinge"], choices=list(LOSSES)
    )
    parser.add_argument("--rows", default="train", choices=["train", "all"])
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of a fit")
    parser.add_argument("--layers", type=int, nargs="+", help="by default an early, middle, late")
    parser.add_argument("--features", nargs="+", help="by default all")
    parser.add_argument("--cases", type=int, default=4, help="(layer, feature) of each loss")
    a = parser.parse_args()
    run(a.store, a.labels, a.site, a.losses, a.rows, a.limit, a.layers, a.features, a.cases)


if __name__ == "__main__":
    main()
