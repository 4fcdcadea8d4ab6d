"""The thesis's table of world places, read by SmolLM2: from a local file to the probes' scores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_table

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT.parent / "shared" / "entities" / "world_place.csv"
MODEL, LAYERS = "smollm2-135m", [11, 23, 29]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not TABLE.exists(), reason=f"needs {TABLE}: a table that is not handed on"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the 2,000 places of most page views of the published table."""
    folder = tmp_path_factory.mktemp("published")
    cache = ROOT / "resources" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "resources").mkdir()
    (folder / "resources" / "cache").symlink_to(cache)
    demo = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    part: dict = {"reader": "published", "layout": "world_place", "path": str(TABLE)}
    part["max_entities"] = 2000
    config = {
        "models": {MODEL: demo["models"][MODEL]},
        "entities": {
            "places": {
                "target": "space",
                "parts": [part],
                "prompts": {"empty": {"before": " "}},
            }
        },
        "spacetime": {"models": [MODEL], "layers": LAYERS},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    target = f"results/spacetime/{MODEL}/places/empty/scores.parquet"
    command = [sys.executable, "-m", "snakemake", target, "--cores", "2", "-d", str(folder)]
    done = subprocess.run(
        [*command, "-s", str(ROOT / "Snakefile"), "--configfile", str(folder / "config.yaml")],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("HF_")},
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return folder


def test_places_are_read_far_better_than_without_a_model(run: Path) -> None:
    # Names tell much of places by themselves ("Kentucky's"): of places that few look up, a bag of
    # tokens knows more than this small model (docs/validation.md).
    scores = read_table(run / f"results/spacetime/{MODEL}/places/empty/scores.parquet")
    linear = scores.filter(pl.col("probe") == "linear")
    best = linear.sort("r2_loo", descending=True).row(0, named=True)
    rest = {row["probe"]: row["r2"] for row in scores.iter_rows(named=True)}
    assert best["n_train"] + best["n_test"] == 2000
    assert best["r2"] > 0.35
    assert best["r2"] > rest["bag_of_tokens"] + 0.05
    assert best["r2"] > rest["random_features"] + 0.15
    assert abs(rest["shuffled_targets"]) < 0.05
    assert abs(best["r2"] - best["r2_loo"]) < 0.1


def test_scores_are_those_of_scikit_learn(run: Path) -> None:
    folder = run / f"results/activations/{MODEL}/entities/places/empty"
    store = open_store(folder / "activations.zarr")
    table = read_table(run / "results/datasets/entities/places/entities.parquet")
    scores = read_table(run / f"results/spacetime/{MODEL}/places/empty/scores.parquet")
    targets = table.select("latitude", "longitude").to_numpy()
    train = (table["split"] == "train").to_numpy()
    for layer in LAYERS:
        features = store.read("resid_post", layer).astype(np.float64)
        mean, scale = features[train].mean(0), features[train].std(0)
        features = (features - mean) / np.where(scale > 0, scale, 1)
        ours = scores.filter((pl.col("probe") == "linear") & (pl.col("layer") == layer))
        peer = RidgeCV(alphas=[ours["penalty"][0]]).fit(features[train], targets[train])
        r2 = r2_score(targets[~train], peer.predict(features[~train]))
        assert ours["r2"][0] == pytest.approx(r2, rel=1e-5)
