"""The demo's results as the tables of docs/validation.md: `python -m benchmarks.demo_summary`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.report.choose import best_by_feature, random_by_feature
from artneuro.report.sparsity import methods_grid

PROBING = Path("results/probing")
INTERVENTIONS = Path("results/interventions")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print("\n| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings))
    for row in rows:
        print("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row) + " |")


def collections() -> list[list[object]]:
    """Mean test F1 of the best single neurons of each collection, with its controls."""
    rows: list[list[object]] = []
    for path in sorted(PROBING.glob("*/*/scores.parquet")):
        for part in read_table(path).partition_by("collection", maintain_order=True):
            best = best_by_feature(part)["f1"]
            null = random_by_feature(part)["f1"].mean()
            shuffled = best_by_feature(part, "shuffled_labels")["f1"].mean()
            good = int((best >= 0.9).sum())
            name = part["collection"][0]
            rows.append([path.parent.name, name, best.len(), best.mean(), good, null, shuffled])
    return rows


def transfers() -> list[list[object]]:
    """The neurons that were found on one dataset, scored on another."""
    return [
        [
            r["feature"],
            f"L{r['layer']}.{r['neuron']}",
            r["f1_source"],
            r["f1_frozen"],
            r["f1_refit"],
        ]
        for path in sorted(PROBING.glob("*/*/transfer.parquet"))
        for r in read_table(path).sort("feature").iter_rows(named=True)
    ]


def methods() -> tuple[list[str], list[list[object]]]:
    """Table A.4: test F1 by method and k, and milliseconds a feature and layer."""
    names, ks, f1, seconds = methods_grid(read_table(PROBING / "methods.parquet"))
    rows = [
        [name, *(f"{v:.3f}" for v in line), f"{1000 * time:.0f}"]
        for name, line, time in zip(names, f1, seconds, strict=True)
    ]
    return ["method", *(f"k = {k}" for k in ks), "CPU ms"], rows


def certificates() -> list[list[object]]:
    """How many of the exact fits were proven, and how fast."""
    rows: list[list[object]] = []
    for path in sorted(PROBING.glob("*/*/certificates.parquet")):
        table = read_table(path)
        if table.height:
            proven = int((table["status"] == "optimal").sum())
            rows.append(
                [path.parent.name, table.height, proven, f"{1000 * table['seconds'].median():.0f}",
                 table["seconds"].max(), f"{100 * table['gap'].max():.2f}"]
            )  # fmt: skip
    return rows


def ablations() -> list[list[object]]:
    """Rise of the loss without the neuron of a class: in it, and in the class that suffers most."""
    rows: list[list[object]] = []
    for path in sorted(INTERVENTIONS.glob("*/*/ablations.parquet")):
        table = read_table(path)
        own = table.filter(pl.col("feature") == pl.col("context"))
        null = own.filter(pl.col("control") != "none")
        for r in own.filter(pl.col("control") == "none").sort("feature").iter_rows(named=True):
            same = (pl.col("feature") == r["feature"]) & (pl.col("control") == "none")
            other = table.filter(same & (pl.col("context") != r["feature"]))
            worst = other.sort("relative_increase").row(-1, named=True)
            random = null.filter(pl.col("feature") == r["feature"])["relative_increase"].mean()
            rows.append(
                [r["feature"], f"L{r['layer']}.{r['neuron']}", 100 * r["relative_increase"],
                 f"{100 * worst['relative_increase']:.2f} ({worst['context']})", 100 * random]
            )  # fmt: skip
    return rows


def main() -> None:
    """Print all tables of the demo."""
    print_table(
        ["dataset", "collection", "features", "best neuron", "of them >= 0.9", "random neuron",
         "shuffled labels"],
        collections(),
    )  # fmt: skip
    print_table(
        ["feature", "neuron", "F1", "F1 elsewhere, frozen", "F1 elsewhere, refitted"], transfers()
    )
    print_table(*methods())
    print_table(
        ["dataset", "fits", "proven", "median ms", "longest s", "largest gap %"], certificates()
    )
    print_table(
        ["class", "neuron", "rise of its loss, %", "largest elsewhere, %", "random neuron, %"],
        ablations(),
    )


if __name__ == "__main__":
    main()
