"""The demo's results as the tables of docs/validation.md: `python -m benchmarks.demo_summary`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.report.choose import best_by_feature, random_by_feature

PROBING = Path("results/probing")


def main() -> None:
    """Print mean test F1 by collection with its controls, and the languages one by one."""
    print("| dataset | features | best neuron | of them >= 0.9 | random neuron | shuffled labels |")
    print("|---|---|---|---|---|---|")
    for path in sorted(PROBING.glob("*/*/scores.parquet")):
        scores = read_table(path)
        best = best_by_feature(scores)["f1"]
        null = random_by_feature(scores)["f1"].mean()
        shuffled = best_by_feature(scores, "shuffled_labels")["f1"].mean()
        print(
            f"| {path.parent.name} | {best.len()} | {best.mean():.2f} | {(best >= 0.9).sum()} "
            f"| {null:.2f} | {shuffled:.2f} |"
        )
    for path in sorted(PROBING.glob("*/*/transfer.parquet")):
        print("\n| feature | neuron | F1 | F1 elsewhere, frozen | F1 elsewhere, refitted |")
        print("|---|---|---|---|---|")
        for row in read_table(path).sort(pl.col("feature")).iter_rows(named=True):
            print(
                f"| {row['feature']} | L{row['layer']}.{row['neuron']} | {row['f1_source']:.2f} "
                f"| {row['f1_frozen']:.2f} | {row['f1_refit']:.2f} |"
            )


if __name__ == "__main__":
    main()
