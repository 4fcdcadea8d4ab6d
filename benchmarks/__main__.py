"""`make bench`: every benchmark, on the demo's model where one needs a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = Path("results/models/smollm2-135m/weights")
STORE = Path("results/activations/smollm2-135m/natural_language/activations.zarr")
# The dataset of most rows.
LARGEST = Path("results/activations/smollm2-135m/text_features/activations.zarr")
# The text whose words are annotated, which neurons are explained on.
TEXT = Path("results/datasets/smollm2-135m/texts/annotated")


ENSEMBLE = [Path(f"results/models/tiny-{seed}/weights") for seed in "ab"]
PROSE = Path("results/datasets/tiny-a/texts/prose/tokens.parquet")


def main() -> None:
    """Make what the benchmarks run on, then run each in a process of its own."""
    stores = [str(STORE), str(LARGEST), str(TEXT / "tokens.parquet")]
    stores += [*map(str, ENSEMBLE), str(PROSE)]
    subprocess.run(["snakemake", "--cores", "all", *stores], cwd=ROOT, check=True)
    commands = [
        ["benchmarks/bench_dump.py", "--weights", str(WEIGHTS)],
        ["benchmarks/bench_probing.py"],
        ["benchmarks/bench_rankings.py", "--store", str(LARGEST)],
        ["benchmarks/bench_adaptive.py", "--store", str(STORE)],
        ["benchmarks/bench_optimal.py", "--store", str(LARGEST)],
        ["benchmarks/bench_exact_regression.py"],
        ["benchmarks/bench_space_time.py"],
        ["benchmarks/bench_explanations.py", "--weights", str(WEIGHTS), "--text", str(TEXT)],
        [
            "benchmarks/bench_correlations.py",
            "--weights",
            *map(str, ENSEMBLE),
            "--tokens",
            str(PROSE),
        ],
    ]
    for command in commands:
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
