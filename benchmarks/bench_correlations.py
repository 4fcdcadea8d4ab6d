"""Streamed correlations of two models against one large matrix product, and against the thesis.

All get the same activations in memory: those of two models, or of the lower and the upper half of
the layers of one. Three comparisons:

- the arithmetic rate of the sums of products (centring, sums in float64 and measured errors
  included, products within layers too) against one float32 product of all rows at once;
- correlations, to the finished matrix, against the published algorithm: batches of 16,384 tokens,
  for each pair of layers an einsum in float32, added into an accumulator in float64;
- the same with one draw of the rotation baseline, or five, each of which the published algorithm
  takes another pass with rotated activations for, while all come from the same moments here.

The published algorithm gets its activations in its own layout (layer, neuron, token) and in
float16, as it keeps them, without the time of bringing them there; its sums of single neurons,
which overflow in float16, are in float32 here. Forward passes are left out on both sides.
Memory is the peak of a process that reads the activations from a file, block by block.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from harness import interleaved, peak_memory, record, seconds

from artneuro.core.artifacts import read_table
from artneuro.models.hooks import tapped
from artneuro.models.loading import load_model
from artneuro.universality.layout import Layout
from artneuro.universality.moments import ProductSums
from artneuro.universality.rotations import random_rotation
from artneuro.universality.similarity import (
    Units,
    largest_rotated,
    rotated_directions,
    similarity,
)
from artneuro.universality.sums import ModelPart, PairPart

BLOCK, BATCH = 4096, 16_384


def activations(weights: Path, tokens: np.ndarray, layers: range) -> torch.Tensor:
    """Activations of neurons on all tokens but the first of each sequence, (token, layer, unit)."""
    lm = load_model(weights, dtype="float32", device="cpu")
    kept = tokens.shape[1] - 1
    found = torch.empty(len(tokens) * kept, len(layers), lm.shape.d_mlp)
    at = 0

    def keep(_site: str, layer: int, value: torch.Tensor) -> None:
        rows = value[:, 1:].flatten(0, 1)
        found[at : at + len(rows), layer - layers.start] = rows

    with tapped(lm.model, lm.architecture, ["mlp_post"], layers, keep) as run:
        for i in range(0, len(tokens), 16):
            batch = torch.from_numpy(tokens[i : i + 16].astype(np.int64))
            run(batch)
            at += len(batch) * kept
    return found


# --- ours ----------------------------------------------------------------------------------------


def layout_of(x: torch.Tensor, y: torch.Tensor) -> Layout:
    """All neurons of two models, and those of the second within their layers."""
    models = {
        name: ModelPart(name, z.shape[1], z.shape[2], range(z.shape[1]))
        for name, z in (("x", x), ("y", y))
    }
    x_layers, y_layers = models["x"].layers, models["y"].layers
    return Layout(models, [PairPart("x", "y", x_layers, y_layers)], {"y": y_layers})


def summed(x: torch.Tensor, y: torch.Tensor, layout: Layout) -> ProductSums:
    """The sums of a job, block by block."""
    sums = ProductSums(layout.units, layout.products())
    buffers = {name: torch.empty(BLOCK, size) for name, size in layout.units.items()}
    for i in range(0, len(x), BLOCK):
        for name, z in (("x", x), ("y", y)):
            rows = z[i : i + BLOCK].flatten(1)
            reference = sums.moments[name].reference
            if i == 0:
                reference.copy_(rows[0])
            torch.sub(rows, reference, out=buffers[name][: len(rows)])
        n = min(BLOCK, len(x) - i)
        sums.add({name: buffer[:n] for name, buffer in buffers.items()})
    return sums


def correlations(
    x: torch.Tensor, y: torch.Tensor, draws: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """All correlations, (neuron of x, neuron of y), and the largest of each with rotated layers."""
    layout = layout_of(x, y)
    sums = summed(x, y, layout)
    cross, *own = sums.centred()
    units = {m: Units(sums.mean(m), sums.deviations(m), sums.n) for m in ("x", "y")}
    found = torch.empty(cross.shape)
    largest = torch.full((draws, len(found)), -1.0)
    for layer in layout.models["y"].layers:
        columns = layout.models["y"].columns(range(layer, layer + 1))
        own_units = Units(units["y"].mean[columns], units["y"].deviations[columns], sums.n)
        found[:, columns] = similarity("pearson", cross[:, columns], units["x"], own_units).float()
        for draw in range(draws):
            size = own[layer].shape[0]
            rotation = random_rotation("orthogonal", size, 0, "y", layer, draw)
            directions = rotated_directions(
                "pearson", own[layer], own_units, torch.from_numpy(rotation)
            )
            alike = largest_rotated(found[:, columns], directions)
            largest[draw] = torch.maximum(largest[draw], alike)
    return found, largest.mean(dim=0) if draws else None


# --- the published algorithm ---------------------------------------------------------------------


def thesis_correlations(batches, shapes: tuple[tuple[int, int], tuple[int, int]]) -> torch.Tensor:
    """Correlations as the thesis sums them: per pair of layers in float32, added in float64.

    Parameters
    ----------
    batches : iterable of (Tensor, Tensor) of float16, shapes (layer, neuron, token)
    shapes : layers and neurons of both
    """
    (n_x, d_x), (n_y, d_y) = shapes
    sums = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
    squares = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
    products = torch.zeros((n_x, d_x, n_y, d_y), dtype=torch.float64)
    n = 0
    for x, y in batches:
        for i in range(n_x):
            left = x[i].float()
            for j in range(n_y):
                products[i, :, j, :] += torch.einsum("at,bt->ab", left, y[j].float())
        for k, z in enumerate((x.float(), y.float())):
            sums[k] += z.sum(dim=-1)
            squares[k] += (z**2).sum(dim=-1)
        n += x.shape[-1]
    lengths = [(q - s**2 / n).clamp_min(0).sqrt() for q, s in zip(squares, sums, strict=True)]
    found = torch.empty((n_x, d_x, n_y, d_y))
    for i in range(n_x):
        above = products[i] - torch.einsum("a,lb->alb", sums[0][i], sums[1]) / n
        found[i] = above / torch.einsum("a,lb->alb", lengths[0][i], lengths[1])
    return found.reshape(n_x * d_x, n_y * d_y)


def thesis(x: list[torch.Tensor], y: list[torch.Tensor], draws: int):
    """Correlations of the thesis, and in a second pass those with rotated activations."""
    shapes = (x[0].shape[:2], y[0].shape[:2])
    found = thesis_correlations(zip(x, y, strict=True), shapes)
    if not draws:
        return found, None
    n_layers, d = shapes[1]
    largest = []
    for draw in range(draws):
        drawn = [random_rotation("orthogonal", d, 0, "y", layer, draw) for layer in range(n_layers)]
        rotations = torch.from_numpy(np.stack(drawn)).float()
        turned = (torch.einsum("lnt,lmn->lmt", batch.float(), rotations) for batch in y)
        passed = thesis_correlations(zip(x, turned, strict=True), shapes)
        largest.append(passed.nan_to_num().amax(dim=1))
    return found, torch.stack(largest).mean(dim=0)


def in_batches(z: torch.Tensor) -> list[torch.Tensor]:
    """The layout of the thesis: batches of (layer, neuron, token)."""
    return [z[i : i + BATCH].permute(1, 2, 0).half().contiguous() for i in range(0, len(z), BATCH)]


# --- comparing -----------------------------------------------------------------------------------


def check(x: torch.Tensor, y: torch.Tensor) -> None:
    """Both must give the same, and ours numpy's correlations on some neurons."""
    ours, largest = correlations(x, y, draws=1)
    theirs, their_largest = thesis(in_batches(x), in_batches(y), draws=1)
    some = slice(0, None, max(1, len(ours) // 100))
    rows, columns = x.flatten(1)[:, some].numpy(), y.flatten(1)[:, some].numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = np.corrcoef(rows.T.astype(float), columns.T.astype(float))
    exact = np.nan_to_num(exact[: rows.shape[1], rows.shape[1] :])
    error = float(np.abs(ours[some, some].numpy() - exact).max())
    print(f"largest difference from numpy in float64: {error:.1e}")
    assert error < 1e-5
    apart = float((ours - theirs.nan_to_num()).abs().max())
    print(f"largest difference from the published algorithm: {apart:.1e}")
    assert apart < 1e-3
    assert float((largest - their_largest).abs().max()) < 1e-3


def peak_of_child(name: str, x: torch.Tensor, y: torch.Tensor) -> float:
    """Peak in MB of a process that reads the activations from files and correlates them."""
    with tempfile.TemporaryDirectory() as folder:
        for key, z in (("x", x), ("y", y)):
            values = z if name == "ours" else torch.stack(in_batches(z[: len(z) // BATCH * BATCH]))
            values.numpy().tofile(f"{folder}/{key}.bin")
        shape = ",".join(map(str, [len(x), *x.shape[1:], *y.shape[1:]]))
        command = [sys.executable, __file__, "--child", name, folder, shape]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def child(name: str, folder: str, shape: str) -> None:
    """Correlate from files, and print the peak of this process in MB, less that of its imports."""
    n, n_x, d_x, n_y, d_y = map(int, shape.split(","))
    step = BLOCK if name == "ours" else BATCH
    before = peak_memory()

    def blocks(key: str, layers: int, d: int):
        inner = (step, layers, d) if name == "ours" else (layers, d, step)
        size = step * layers * d
        for i in range(n // step):
            kind = np.dtype(np.float32 if name == "ours" else np.float16)
            start = kind.itemsize * i * size
            read = np.fromfile(f"{folder}/{key}.bin", kind, size, offset=start)
            yield torch.from_numpy(read.reshape(inner))

    if name == "ours":
        empty = [torch.empty(0, layers, d) for layers, d in ((n_x, d_x), (n_y, d_y))]
        layout = layout_of(*empty)
        sums = ProductSums(layout.units, layout.products())
        for x, y in zip(blocks("x", n_x, d_x), blocks("y", n_y, d_y), strict=True):
            sums.add({"x": x.flatten(1), "y": y.flatten(1)})
        sums.centred()
    else:
        pairs = zip(blocks("x", n_x, d_x), blocks("y", n_y, d_y), strict=True)
        thesis_correlations(pairs, ((n_x, d_x), (n_y, d_y)))
    print(peak_memory() - before)


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", help="folders of one or two models")
    parser.add_argument("--tokens", type=Path, help="tokens.parquet of a text or dataset")
    parser.add_argument("--layers", type=int, help="of one model: layers of each half")
    parser.add_argument("--n-tokens", type=int, default=2 * BATCH)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="ensemble", help="how the records are called")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    torch.set_num_threads(args.threads)
    ids = read_table(args.tokens, ["tokens"])["tokens"].to_numpy()
    ids = ids[: -(-args.n_tokens // (ids.shape[1] - 1))]
    if len(args.weights) == 2:
        shapes = [load_model(w, device="cpu").shape.n_layers for w in args.weights]
        x, y = (activations(w, ids, range(n)) for w, n in zip(args.weights, shapes, strict=True))
    else:
        both = activations(args.weights[0], ids, range(2 * args.layers))
        x, y = both[:, : args.layers].contiguous(), both[:, args.layers :].contiguous()
        del both
    n = min(len(x), args.n_tokens)
    x, y = x[:n], y[:n]
    layout = layout_of(x, y)
    a, b = layout.units["x"], layout.units["y"]
    print(f"{n} tokens, {a} x {b} neurons, {args.threads} threads")
    check(x, y)

    work = f"{n} tokens, {a} x {b} neurons of {args.name}, {args.threads} threads"
    flat_x, flat_y, out = x.flatten(1), y.flatten(1), torch.empty(a, b)
    flop = 2 * n * a * b
    own_flop = 2 * n * sum(p.shape[0] * p.shape[1] for p in layout.products()) - flop

    def rate() -> float:
        return seconds(lambda: summed(x, y, layout).centred())

    def product() -> float:
        return seconds(lambda: torch.mm(flat_x.T, flat_y, out=out))

    ours_s, peer_s = interleaved(rate, product, args.repeats)
    print(f"of the sums {own_flop / flop:.1%} more products are within layers, for the baseline")
    print(f"{1e-9 * flop / peer_s:.1f} GFLOP/s of the large product")
    record(
        f"correlation_rate_{args.name}",
        f"sums of products, {work}: seconds for as many products",
        ours_s * flop / (flop + own_flop),
        "one float32 matrix product of all rows",
        peer_s,
    )
    batches = in_batches(x), in_batches(y)
    kinds = {0: "correlations", 1: "correlations and a rotated baseline of one draw"}
    kinds[5] = "correlations and a rotated baseline of five draws"
    for draws, kind in kinds.items():
        times = interleaved(
            lambda d=draws: seconds(lambda: correlations(x, y, d)),
            lambda d=draws: seconds(lambda: thesis(*batches, d)),
            args.repeats if draws < 2 else 1,
        )
        record(
            f"correlations_{args.name}_{draws}_draws",
            f"{kind}, {work}",
            times[0],
            "the published algorithm (an einsum for each pair of layers, 16,384 tokens a batch)",
            times[1],
        )
    for name in ("ours", "thesis"):
        print(f"peak memory of sums, {name}: {peak_of_child(name, x, y):.0f} MB")


if __name__ == "__main__":
    main()
