"""All explanations of all neurons of a model at once, against one at a time in pandas.

The same activations, in memory, of SmolLM2 on the demo's annotated text, and the same labels. Ours
is what `explain_neurons` does beside the forward pass: labels of each block, sums by class, and
equation 3.4 at the end. The peer groups the activations of a layer by one explanation and takes
variances, all neurons of the layer at once; it is timed on some explanations, drawn at random, and
its time for all is that times their number. One thread each. Variance reductions must be equal to
1e-6.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import torch
from harness import interleaved, record, seconds

from artneuro.models.hooks import tapped
from artneuro.models.loading import load_model
from artneuro.universality.explain import POST, read_labelled_text, small_embeddings
from artneuro.universality.explanations import Labels
from artneuro.universality.explanations_config import ExplanationsConfig
from artneuro.universality.token_labels import LabelledText, label_text
from artneuro.universality.variance_reduction import ClassSums

TOLERANCE = 1e-6


def read_activations(weights: Path, text: LabelledText) -> list[np.ndarray]:
    """Activations of the included tokens in each layer, (tokens, neurons) float32."""
    lm = load_model(weights, "float32", "cpu")
    found: list[list[np.ndarray]] = [[] for _ in range(lm.shape.n_layers)]
    inside = text.included[:0]

    def consume(_site: str, layer: int, value: torch.Tensor) -> None:
        found[layer].append(value.numpy()[inside].copy())

    with tapped(lm.model, lm.architecture, [POST], range(lm.shape.n_layers), consume) as run:
        for start in range(0, len(text.text), 16):
            inside = text.included[start : start + 16]
            run(torch.from_numpy(text.dataset.tokens[start : start + 16].astype(np.int64)))
    return [np.concatenate(parts) for parts in found]


def all_at_once(layers: list[np.ndarray], labels: Labels, text: LabelledText) -> list[np.ndarray]:
    """Variance reductions by all explanations, (explanations, neurons) for each layer."""
    n = len(labels.explanations)
    sums = [ClassSums(n, layer.shape[1]) for layer in layers]
    at = 0
    for start in range(0, len(text.text), 32):
        block = labels.block(slice(start, start + 32))
        for layer, total in zip(layers, sums, strict=True):
            total.add(torch.from_numpy(layer[at : at + block.tokens]), block)
        at += block.tokens
    return [total.reduction().variance_reduction for total in sums]


def one_at_a_time(frames: list[pd.DataFrame], holds: np.ndarray) -> list[np.ndarray]:
    """Equation 3.4 of one explanation, (neurons,) for each layer."""
    beta = holds.mean()
    found = []
    for frame in frames:
        variances = frame.groupby(holds).var()
        within = (1 - beta) * variances.loc[False] + beta * variances.loc[True]
        found.append((1 - within / frame.var()).to_numpy())
    return found


def run(arguments: argparse.Namespace) -> None:
    """Read the activations, check that both ways agree, and time them."""
    text = read_labelled_text(
        arguments.weights, arguments.text / "tokens.parquet", arguments.text / "sequences.parquet",
        ("document_token", "newline"), arguments.tokens, None,
    )  # fmt: skip
    config = ExplanationsConfig(unigrams={"min_variants": 1})
    lm = load_model(arguments.weights, "float32", "cpu")
    labels = label_text(text, config, small_embeddings(lm, config.small_norm))
    layers = read_activations(arguments.weights, text)
    frames = [pd.DataFrame(layer.astype(np.float64)) for layer in layers]
    n = len(labels.explanations)
    chosen = np.random.default_rng(0).choice(n, arguments.explanations, replace=False)
    holds = [labels.of(int(e))[text.included] for e in chosen]

    numba.set_num_threads(1)
    torch.set_num_threads(1)
    ours = all_at_once(layers, labels, text)
    difference = max(
        float(np.nanmax(np.abs(mine[e] - theirs)))
        for e, held in zip(chosen, holds, strict=True)
        for mine, theirs in zip(ours, one_at_a_time(frames, held), strict=True)
    )
    assert difference < TOLERANCE, f"variance reductions differ by {difference}"

    def peer() -> float:
        return seconds(lambda: [one_at_a_time(frames, held) for held in holds]) * n / len(holds)

    times = interleaved(lambda: seconds(lambda: all_at_once(layers, labels, text)), peer, 1)
    neurons = sum(layer.shape[1] for layer in layers)
    work = (
        f"{n} explanations of {neurons} neurons on {len(layers[0])} tokens, one thread; pandas "
        f"timed on {len(holds)} explanations; largest difference {difference:.1e}"
    )
    record("explanations", work, times[0], "one explanation at a time in pandas", times[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="model folder")
    parser.add_argument("--text", type=Path, required=True, help="folder of the annotated text")
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--explanations", type=int, default=6, help="that pandas is timed on")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
