"""Two rankings against scikit-learn on the same activations: mutual information, and L1 logistic.

One thread. The mutual information must be equal to 1e-9; the L1 probe must reach an objective no
higher than saga's at convergence, to 1e-6 of it. saga's time is that of the tolerance 1e-4 that
scikit-learn has as a default, with which it stops above the minimum.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from harness import interleaved, record, seconds
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.probing.data import load_features
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.logistic import balanced_weights
from artneuro.probing.mutual_information import mutual_information, tie_breaking_noise
from artneuro.probing.rankings import top

PREFILTER = 1024


def objective(columns: np.ndarray, positive: np.ndarray, coef: np.ndarray, b: float, C: float):
    """The balanced logistic loss times C plus the l1 norm."""
    margin = np.where(positive, 1.0, -1.0) * (coef @ columns + b)
    return C * float(balanced_weights(positive) @ np.logaddexp(0.0, -margin)) + np.abs(coef).sum()


def run(store: Path, layer: int, C: float, repeats: int) -> None:
    """Measure both rankings on the first feature of a dataset of the demo."""
    # results/activations/{model}/{dataset}/activations.zarr
    model, dataset = store.resolve().parts[-3:-1]
    labels = store.resolve().parents[3] / "datasets" / model / dataset / "labels.parquet"
    feature = load_features(store.parent / "rows.parquet", labels)[0]
    rows = open_store(store).read("mlp_post", layer)[feature.train].astype(np.float64)
    y = feature.train_positive
    kept = top(np.abs(rows[y].mean(axis=0) - rows[~y].mean(axis=0)), PREFILTER)
    columns = np.ascontiguousarray(rows[:, kept].T)
    lines = np.ascontiguousarray(columns.T)
    work = f"{model}, {dataset}, layer {layer}: {kept.size} neurons, {y.size} rows, one thread"

    def ours_mi() -> np.ndarray:
        tie_breaking_noise.cache_clear()
        return mutual_information(columns, y)

    def peer_mi() -> np.ndarray:
        return mutual_info_classif(lines, y, random_state=0)

    difference = np.abs(ours_mi() - peer_mi()).max()
    assert difference < 1e-9, f"mutual information differs by {difference}"
    times = interleaved(lambda: seconds(ours_mi), lambda: seconds(peer_mi), repeats)
    record("mutual_information", work, times[0], "scikit-learn's mutual_info_classif", times[1])

    def ours_l1():
        return fit_elastic_net(columns, y, C=C)

    def saga(tolerance: float = 1e-4, iterations: int = 1000) -> LogisticRegression:
        probe = LogisticRegression(
            solver="saga", l1_ratio=1.0, C=C, class_weight="balanced", tol=tolerance,
            max_iter=iterations, random_state=0,
        )  # fmt: skip
        return probe.fit(lines, y)

    fit, converged = ours_l1(), saga(1e-7, 100_000)
    mine = objective(columns, y, fit.coef, fit.intercept, C)
    best = objective(columns, y, converged.coef_[0], converged.intercept_[0], C)
    assert mine <= best * (1.0 + 1e-6), f"objective {mine} above saga's {best}"
    times = interleaved(lambda: seconds(ours_l1), lambda: seconds(saga), repeats)
    record("l1_logistic", f"{work}, C = {C}", times[0], "scikit-learn's saga", times[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="activation store of the demo")
    parser.add_argument("--layer", type=int, default=15)
    parser.add_argument("--C", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        run(arguments.store, arguments.layer, arguments.C, arguments.repeats)


if __name__ == "__main__":
    main()
