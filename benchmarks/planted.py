"""Recovery of planted neurons by each method, as a table: `python -m benchmarks.planted`.

A made-up layer of activations holds features of three kinds whose neurons are known:

- monosemantic: one neuron fires for the feature and for nothing else;
- superposed: seven features that exclude each other are spread over seven neurons, three each, any
  two features sharing one (the lines of the Fano plane): no single neuron tells a feature, the sum
  of its three does, as with compound words in early layers;
- composed: a union of four features of unequal frequency with a neuron each, as a family of
  languages.

All neurons carry noise, and each planted neuron has three decoys, which follow it at a larger scale
with noise of their own: their class means differ more, but they add nothing to the neuron itself.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature
from artneuro.probing.layer import probe_layer

CHEAP = ["mean_difference", "f_statistic", "mutual_information", "l1_logistic", "adaptive"]
# Neurons of each superposed feature, and frequencies of the parts of a composed one.
FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
PARTS = (0.10, 0.06, 0.04, 0.02)
SIZES = {"monosemantic": 1, "superposed": 3, "composed": 4}


@dataclass(frozen=True)
class Planted:
    """A feature and the neurons that were made for it."""

    kind: str
    feature: Feature
    neurons: frozenset[int]


def planted_layer(
    seed: int, rows: int = 1500, units: int = 256
) -> tuple[np.ndarray, list[Planted]]:
    """Activations (rows, units) and six features with their neurons, two of each kind."""
    generator = np.random.default_rng(seed)
    x = 0.3 * np.abs(generator.standard_normal((rows, units)))
    free = iter(generator.permutation(units))
    found: list[tuple[str, np.ndarray, list[int]]] = []

    def take(n: int) -> list[int]:
        return [int(next(free)) for _ in range(n)]

    def fire(neuron: int, on: np.ndarray, mean: float) -> None:
        x[on, neuron] += generator.normal(mean, 0.2 * mean, on.sum())

    for _ in range(2):
        on = generator.random(rows) < 0.15
        neurons = take(1)
        fire(neurons[0], on, 2.0)
        found.append(("monosemantic", on, neurons))
    pool = take(7)
    which = generator.integers(0, 10, rows)
    for i, line in enumerate(FANO):
        for place in line:
            fire(pool[place], which == i, 1.5)
    found += [("superposed", which == i, [pool[place] for place in FANO[i]]) for i in range(2)]
    for _ in range(2):
        part = np.searchsorted(np.cumsum(PARTS), generator.random(rows), side="right")
        neurons = take(4)
        for i, neuron in enumerate(neurons):
            fire(neuron, part == i, 2.0)
        found.append(("composed", part < 4, neurons))
    for neuron in dict.fromkeys(neuron for _, _, neurons in found for neuron in neurons):
        for decoy in take(3):
            x[:, decoy] += 1.2 * x[:, neuron] + 0.8 * np.abs(generator.standard_normal(rows))
    train = generator.random(rows) < 0.7
    index = np.arange(rows)
    planted = []
    for i, (kind, on, neurons) in enumerate(found):
        feature = Feature(
            collection="planted", name=f"{kind}_{i % 2}", train=index[train], test=index[~train],
            train_positive=on[train], test_positive=on[~train],
            train_groups=index[train], test_groups=index[~train],
        )  # fmt: skip
        planted.append(Planted(kind, feature, frozenset(neurons)))
    return x.astype(np.float32), planted


def recovery(
    rankings: list[str], seeds: int, *, prefilter: int = 256
) -> dict[tuple[str, str], tuple[float, float]]:
    """Share of the planted neurons found and test F1 with as many neurons as were planted.

    Parameters
    ----------
    rankings : list of str
        Methods of the config.
    seeds : int
        Made-up layers to average over.
    prefilter : int
        Neurons that the rankings see.

    Returns
    -------
    dict
        (method, kind) -> (mean share found, mean F1).
    """
    config = ProbingConfig(rankings=rankings, controls=[], max_k=4, prefilter=prefilter)
    shares: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in range(seeds):
        x, planted = planted_layer(seed)
        probes = probe_layer(config, x, [p.feature for p in planted], site="planted", layer=seed)
        for truth, found in zip(planted, probes, strict=True):
            k = SIZES[truth.kind]
            for i, method in enumerate(found.methods):
                share = len(truth.neurons & set(found.neurons(i, k).tolist())) / k
                f1 = float(found.metrics.f1[i, k - 1])
                shares.setdefault((method, truth.kind), []).append((share, f1))
    return {
        key: (float(np.mean([s for s, _ in v])), float(np.mean([f for _, f in v])))
        for key, v in shares.items()
    }


def table(found: dict[tuple[str, str], tuple[float, float]]) -> str:
    """The recovery as a Markdown table."""
    methods = list(dict.fromkeys(method for method, _ in found))
    heads = [f"{kind} (k = {k})" for kind, k in SIZES.items()]
    lines = [f"| method | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for method in methods:
        cells = [f"{100 * found[method, kind][0]:.0f} %, {found[method, kind][1]:.3f}"
                 for kind in SIZES]  # fmt: skip
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="made-up layers to average over")
    parser.add_argument(
        "--methods", nargs="+", default=[*CHEAP, "best_subset", "optimal", "random"]
    )
    arguments = parser.parse_args()
    print("share of the planted neurons found, test F1 with as many neurons as were planted\n")
    print(table(recovery(arguments.methods, arguments.seeds)))


if __name__ == "__main__":
    main()
