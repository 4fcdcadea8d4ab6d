"""Probes of all features on some layers of a collection against a plain scikit-learn loop.

Both sides get the same arrays, use one thread, and do the same fits: five rankings of each
(feature, layer), then a balanced logistic refit and five scores for each ranking and k = 1 to 8.
The scores must agree to 1e-3. With --store the activations are the demo's; without, made-up ones of
the same shape.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from harness import record
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)
from threadpoolctl import threadpool_limits

from artneuro.activations.store import open_store
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature, load_features, random_generator
from artneuro.probing.layer import probe_layer

TOLERANCE = 1e-3


def made_up(layers: int, rows: int = 430, units: int = 1536, classes: int = 9):
    """Activations (layer, row, unit) and one feature for each class, shaped like mean activations.

    Sizes of neurons differ by orders of magnitude, neurons are correlated and skewed, and some
    follow one class: what post-activation neurons averaged over a text look like.
    """
    generator = np.random.default_rng(0)
    language = np.arange(rows) % classes
    size = np.exp(generator.normal(-2.0, 1.0, (layers, 1, units)))
    shared = generator.standard_normal((layers, rows, 12)) @ generator.standard_normal(
        (layers, 12, units)
    )
    own = generator.standard_normal((layers, classes, units)) ** 3
    noise = generator.standard_normal((layers, rows, units))
    activations = size * (
        0.3 * shared + 0.3 * own[:, language] + noise + generator.normal(size=units)
    )
    train = generator.random(rows) < 0.7
    index = np.arange(rows)
    features = tuple(
        Feature(
            collection="natural_language",
            name=f"language_{c}",
            train=index[train],
            test=index[~train],
            train_positive=language[train] == c,
            test_positive=language[~train] == c,
            train_groups=index[train],
            test_groups=index[~train],
        )
        for c in range(classes)
    )
    return dict(enumerate(activations.astype(np.float32))), features


def stored(store: Path, labels: Path | None, site: str, layers: int):
    """Some layers of a store, spread over its depth, and the features of its dataset."""
    opened = open_store(store)
    if labels is None:
        # results/activations/{model}/{dataset}/activations.zarr
        model, dataset = store.resolve().parts[-3:-1]
        labels = store.resolve().parents[3] / "datasets" / model / dataset / "labels.parquet"
    places = np.unique(np.linspace(0, len(opened.layers) - 1, layers + 2)[1:-1].round().astype(int))
    chosen = {opened.layers[i]: opened.read(site, opened.layers[i]) for i in places}
    return chosen, load_features(store.parent / "rows.parquet", labels)


def ours(config: ProbingConfig, layers: dict, features, site: str) -> dict:
    """Scores by (layer, feature, method, k), each (F1, precision, recall, MCC, AUC)."""
    scores = {}
    for layer, activations in layers.items():
        for found in probe_layer(config, activations, features, site=site, layer=layer):
            m = found.metrics
            for i, method in enumerate(found.methods):
                for j in range(found.supports.shape[1]):
                    scores[layer, found.feature.name, method, j + 1] = tuple(
                        values[i, j] for values in (m.f1, m.precision, m.recall, m.mcc, m.auc)
                    )
    return scores


def peer(config: ProbingConfig, layers: dict, features, site: str) -> dict:
    """The same with scikit-learn, one fit after the other."""
    scores = {}
    for layer, activations in layers.items():
        for feature in features:
            x, y = activations[feature.train].astype(np.float64), feature.train_positive
            test, truth = activations[feature.test].astype(np.float64), feature.test_positive
            for method, neurons in peer_rankings(config, x, y, feature, site, layer).items():
                for k in range(1, config.max_k + 1):
                    probe = LogisticRegression(
                        C=config.C,
                        class_weight="balanced",
                        solver="newton-cholesky",
                        tol=1e-8,
                    ).fit(x[:, neurons[:k]], y)
                    decision = probe.decision_function(test[:, neurons[:k]])
                    called = decision > 0
                    scores[layer, feature.name, method, k] = (
                        f1_score(truth, called, zero_division=0),
                        precision_score(truth, called, zero_division=0),
                        recall_score(truth, called, zero_division=0),
                        matthews_corrcoef(truth, called),
                        roc_auc_score(truth, decision),
                    )
    return scores


def peer_rankings(config: ProbingConfig, x, y, feature: Feature, site: str, layer: int) -> dict:
    """The best neurons by each method, from training rows."""
    difference = np.abs(x[y].mean(axis=0) - x[~y].mean(axis=0))
    kept = np.sort(np.argsort(-difference, kind="stable")[: config.prefilter])
    part = x[:, kept]

    def best(score: np.ndarray) -> np.ndarray:
        return kept[np.argsort(-score, kind="stable")[: config.max_k]]

    information = mutual_info_classif(
        part, y, n_neighbors=config.mi_neighbors, random_state=config.seed
    )
    # liblinear is the faster solver for this penalty (saga took over 200 times as long and
    # was less exact). It penalises the intercept; the scaling makes that penalty negligible.
    lasso = LogisticRegression(
        C=config.l1_C,
        l1_ratio=1.0,
        class_weight="balanced",
        solver="liblinear",
        intercept_scaling=1e5,
        tol=1e-8,
        max_iter=1000,
        random_state=0,
    ).fit(part, y)
    coef = np.abs(lasso.coef_[0])
    generator = random_generator(
        config.seed, "random", site, layer, feature.collection, feature.name
    )
    return {
        "mean_difference": best(difference[kept]),
        "f_statistic": best(f_classif(part, y)[0]),
        "mutual_information": best(information),
        # Neurons that the l1 penalty leaves out come in order of their mean difference.
        "l1_logistic": kept[np.lexsort((-difference[kept], -coef))[: config.max_k]],
        "random": generator.choice(x.shape[1], size=config.max_k, replace=False),
    }


def run(
    store: Path | None = None,
    labels: Path | None = None,
    site: str = "mlp_post",
    layers: int = 3,
    repeats: int = 3,
) -> float:
    """Measure, check, record; return how many times faster than the peer ours is."""
    config = ProbingConfig(controls=[])
    if store is None:
        chosen, features = made_up(layers)
    else:
        chosen, features = stored(store, labels, site, layers)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # The first call loads the compiled functions, which takes as long for any amount of work.
        ours(config, dict([next(iter(chosen.items()))]), features[:1], site)
        found: dict = {}
        expected: dict = {}
        wall, cpu = np.zeros(2), np.zeros(2)
        # In turns, layer by layer and with ours on both sides of the peer, so that other work on
        # the machine weighs on both; CPU seconds are printed because they feel it less.
        for layer, values in chosen.items():
            one = {layer: values}
            turns = [timed(lambda one=one: found.update(ours(config, one, features, site)))]
            slow = timed(lambda one=one: expected.update(peer(config, one, features, site)))
            turns += [
                timed(lambda one=one: found.update(ours(config, one, features, site)))
                for _ in range(repeats - 1)
            ]
            fast = np.median(turns, axis=0)
            wall += fast[0], slow[0]
            cpu += fast[1], slow[1]
    print(f"CPU seconds: {cpu[0]:.2f} against {cpu[1]:.2f}, ratio {cpu[1] / cpu[0]:.1f}")
    compare(found, expected)
    rows, units = next(iter(chosen.values())).shape
    return record(
        "probing",
        f"{len(features)} features x {len(chosen)} layers ({rows} x {units}), 5 rankings, "
        f"k = 1 to {config.max_k}, one thread, "
        f"{'activations of ' + store.resolve().parts[-3] if store else 'made-up activations'}",
        float(wall[0]),
        "a scikit-learn loop over the same fits",
        float(wall[1]),
    )


def timed(work) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(found: dict, expected: dict) -> None:
    """Print the largest difference of any score, and fail where it exceeds the tolerance."""
    assert found.keys() == expected.keys()
    keys = sorted(found)
    gaps = np.abs(np.array([found[k] for k in keys]) - np.array([expected[k] for k in keys]))
    for method in dict.fromkeys(key[2] for key in keys):
        mine = gaps[[key[2] == method for key in keys]]
        print(f"largest score difference, {method}: {mine.max():.2e} ({len(mine)} probes)")
    worst = keys[int(gaps.max(axis=1).argmax())]
    assert gaps.max() <= TOLERANCE, f"scores differ by {gaps.max():.3g} at {worst}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="activation store; without, made-up data")
    parser.add_argument("--labels", type=Path, help="labels of its dataset, if not beside it")
    parser.add_argument("--site", default="mlp_post")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    run(arguments.store, arguments.labels, arguments.site, arguments.layers, arguments.repeats)


if __name__ == "__main__":
    main()
