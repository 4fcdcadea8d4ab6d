"""The whole workflow on a real model and real text, from the registries to the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from artneuro.core.artifacts import read_table
from artneuro.provenance.audit import audit

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
MODEL = "smollm2-135m"


def snakemake(folder: Path, *arguments: str) -> str:
    """Output of a run of the smoke config in `folder`, with the hub's client not set offline."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    files = ["-s", str(ROOT / "Snakefile"), "--configfile", str(ROOT / "config" / "smoke.yaml")]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *files, "-d", str(folder), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smoke config. Downloads that the checkout already has are used."""
    folder = tmp_path_factory.mktemp("smoke")
    cache = ROOT / "resources" / "cache"
    cache.mkdir(exist_ok=True)
    (folder / "resources").mkdir()
    (folder / "resources" / "cache").symlink_to(cache)
    snakemake(folder)
    return folder


def test_a_second_run_does_nothing_and_says_so(run: Path) -> None:
    assert "Nothing to be done" in snakemake(run)


def test_the_audit_finds_nothing_wrong(run: Path) -> None:
    report = audit(run / "results", run)
    assert not report.findings


def test_the_tables_are_whole(run: Path) -> None:
    scores = read_table(run / "results" / "probing" / MODEL / "code_language" / "scores.parquet")
    real = scores.filter(pl.col("control") == "none")
    assert real["feature"].unique().sort().to_list() == ["Java", "JavaScript", "TypeScript"]
    assert real["layer"].unique().sort().to_list() == [3, 7, 11]
    assert real.height == 3 * 3 * 8 * 3  # features, layers, rankings, k
    for name in ("f1", "precision", "recall", "auc"):
        assert real[name].is_between(0, 1).all()
    sequences = read_table(
        run / "results" / "datasets" / MODEL / "code_language" / "sequences.parquet"
    )
    splits = sequences.group_by("group").agg(pl.col("split").n_unique())
    assert splits["split"].max() == 1


def test_every_optimum_is_proven_and_its_bound_holds(run: Path) -> None:
    proofs = read_table(
        run / "results" / "probing" / MODEL / "code_language" / "certificates.parquet"
    )
    assert proofs.height == 3 * 3 * 3  # features, layers, k
    assert set(proofs["status"]) == {"optimal"}
    assert (proofs["bound"] <= proofs["objective"]).all()
    assert (proofs["gap"] <= 1e-4).all()


def test_equations_of_systems_are_scored(run: Path) -> None:
    folder = run / "results" / "dynamics"
    recovery = read_table(folder / "hopf" / "recovery.parquet")
    assert recovery.height == 2 * 2 * 7  # trials, durations, methods
    for name in ("tpr", "nce", "rmse"):
        assert (recovery[name] >= 0).all()
    forces = read_table(folder / "duffing" / "forces.parquet")
    constrained = forces.filter(pl.col("method") == "exact_constrained")
    assert constrained.height == 2
    assert constrained["violation"].max() < 1e-10
    fields = read_table(folder / "waves" / "fields.parquet")
    assert fields.height == 2 * 5


def test_every_neuron_is_explained(run: Path) -> None:
    folder = run / "results" / "universality" / MODEL / "prose"
    statistics, families = (
        read_table(folder / f"{name}.parquet") for name in ("statistics", "families")
    )
    assert statistics.height == families.height == 30 * 1536
    assert statistics["activation_frequency"].is_between(0, 1).all()
    # The first layer knows its token.
    best = families.filter(pl.col("layer") == 0).sort("variance_reduction").tail(20)
    assert best["variance_reduction"].min() > 0.5


def test_tables_of_entities_are_split_by_groups_and_read_at_their_names(run: Path) -> None:
    for table, most in (("world", 140 + 60), ("films", 120)):
        folder = run / "results" / "datasets" / "entities" / table
        entities = read_table(folder / "entities.parquet")
        assert 50 < entities.height <= most
        assert entities["entity"].to_list() == list(range(entities.height))
        splits = entities.group_by("group").agg(pl.col("split").n_unique())
        assert splits["split"].max() == 1
        assert set(entities["split"]) == {"train", "test"}
        if table == "world":
            assert entities["latitude"].is_between(-90, 90).all()
            assert entities["longitude"].is_between(-180, 180).all()
            assert entities["time"].null_count() == entities.height
        else:
            assert entities["time"].is_between(1888, 2026).all()
        leakage = read_table(folder / "leakage.parquet")
        assert (leakage["n_test"] <= leakage["n_rows"]).all()
        for prompt in {"world": ("empty", "question"), "films": ("empty",)}[table]:
            read = run / "results" / "datasets" / MODEL / "entities" / table / prompt
            sequences = read_table(read / "sequences.parquet")
            assert sequences.height == (60 if prompt == "question" else entities.height)
            known = sequences.join(entities, on="entity", suffix="_known")
            assert known.height == sequences["entity"].n_unique() == sequences.height
            assert (known["split"] == known["split_known"]).all()
            stored = run / "results" / "activations" / MODEL / "entities" / table / prompt
            assert read_table(stored / "rows.parquet").height == sequences.height


def spacetime_folders(run: Path) -> tuple[Path, Path]:
    """Where the probes' results are, and the tables of entities."""
    results = run / "results"
    return results / "spacetime" / MODEL, results / "datasets" / "entities"


def great_circle_km(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances of places (row; latitude, longitude) in degrees, by the angle of their vectors."""

    def vectors(places: np.ndarray) -> np.ndarray:
        latitude, longitude = np.radians(places).T
        flat = np.cos(latitude)
        return np.stack(
            [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1
        )

    a, b = vectors(one), vectors(other)
    return 6371.0 * np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1))


def test_probes_of_places_and_dates_add_up(run: Path) -> None:
    folder, tables = spacetime_folders(run)
    for table, prompt in (("world", "empty"), ("world", "question"), ("films", "empty")):
        is_space = table == "world"
        n = 60 if prompt == "question" else None
        entities = read_table(tables / table / "entities.parquet")
        scores = read_table(folder / table / prompt / "scores.parquet")
        linear = scores.filter(pl.col("probe") == "linear")
        assert linear["layer"].sort().to_list() == [3, 7, 11]
        baselines = scores.filter(pl.col("layer").is_null())
        assert baselines.height == 3
        assert set(baselines["probe"]) == {"bag_of_tokens", "random_features", "shuffled_targets"}
        assert (scores["n_train"] + scores["n_test"] == (n or entities.height)).all()
        assert scores["proximity"].is_between(0, 1).all()
        assert scores["spearman"].drop_nans().is_between(-1, 1).all()
        assert (scores["r2"] <= 1).all()
        # What a row is left out for can only be predicted worse; noise has nothing to predict.
        assert (linear["r2_loo"] <= linear["r2_train"] + 1e-6).all()
        shuffled = scores.filter(pl.col("probe") == "shuffled_targets")
        assert abs(shuffled["r2_loo"].item()) < 0.15
        assert -0.5 < shuffled["r2"].item() < 0.15
        if is_space:
            halves = (scores["r2_latitude"] + scores["r2_longitude"]) / 2
            np.testing.assert_allclose(scores["r2"], halves, atol=1e-9)

        predictions = read_table(folder / table / prompt / "predictions.parquet")
        assert predictions["entity"].n_unique() == predictions.height == (n or entities.height)
        layer = predictions["layer"].unique().item()
        best = linear.filter(pl.col("layer") == layer)
        assert best["r2_loo"].item() == linear["r2_loo"].max()
        test = predictions.filter(pl.col("split") == "test")
        targets = ("latitude", "longitude") if is_space else ("time",)
        truth, predicted = (
            test.select(f"{kind}{name}" for name in targets).to_numpy()
            for kind in ("", "predicted_")
        )
        residual = ((truth - predicted) ** 2).sum(axis=0)
        r2 = 1 - residual / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
        np.testing.assert_allclose(best["r2"].item(), r2.mean(), atol=1e-6)
        np.testing.assert_allclose(best["proximity"].item(), test["proximity"].mean(), atol=1e-9)
        if is_space:
            # A probe is linear in degrees, so that it may read a place beyond a pole.
            within = np.abs(predicted[:, 0]) < 90
            km = great_circle_km(truth, predicted)
            np.testing.assert_allclose(test["error_km"].to_numpy()[within], km[within], rtol=2e-3)
            np.testing.assert_allclose(best["error_km"].item(), test["error_km"].mean(), rtol=1e-9)

        dimensions = read_table(folder / table / prompt / "dimensions.parquet").sort("k")
        assert dimensions["k"].to_list() == [2, 10, 576]
        assert (dimensions["explained_variance"].diff().drop_nulls() > 0).all()
        assert dimensions["explained_variance"][-1] == pytest.approx(1)
        assert dimensions["r2"][-1] == pytest.approx(best["r2"].item(), abs=1e-6)


def test_what_is_held_out_and_held_at_values_adds_up(run: Path) -> None:
    folder, tables = spacetime_folders(run)
    for table, kinds in (("world", {"block", "entity_type"}), ("films", {"block"})):
        entities = read_table(tables / table / "entities.parquet")
        holdouts = read_table(folder / table / "holdouts.parquet")
        assert set(holdouts["kind"]) == kinds
        for kind, column in (("block", "block"), ("entity_type", "entity_type")):
            held = holdouts.filter(pl.col("kind") == kind)
            for row in held.iter_rows(named=True):
                of_unit = entities.filter(pl.col(column) == row["unit"])
                rest = entities.filter(pl.col(column) != row["unit"], pl.col("split") == "train")
                # Those that share a group with an entity that was trained on are left out.
                assert row["n_held_out"] + row["n_bound"] == of_unit.height >= 10
                assert row["n"] == of_unit.filter(pl.col("split") == "test").height >= 2
                assert row["n_train"] == rest.height
        assert holdouts["proximity_held_out"].is_between(0, 1).all()

        neurons = read_table(folder / table / "neurons.parquet")
        for _, found in neurons.group_by("target", "weights"):
            ranked = found.sort("rank")
            assert ranked["rank"].to_list() == list(range(1, 51))
            assert (ranked["cosine"].abs().diff().drop_nulls() <= 1e-9).all()
            assert found.select("layer", "neuron").is_unique().all()
    transfer = read_table(folder / "world" / "prompt_transfer.parquet")
    pairs = set(transfer.select("train_prompt", "test_prompt").iter_rows())
    assert pairs == {(a, b) for a in ("empty", "question") for b in ("empty", "question")}

    pinned = read_table(folder / "films" / "pinned_predictions.parquet")
    assert set(pinned["setting"].drop_nulls()) == {-4, 4}
    as_it_is = pl.col("neuron").is_null()
    assert (pinned.filter(as_it_is)["divergence"] == 0).all()
    assert (pinned.filter(~as_it_is)["divergence"] >= 0).all()
    assert pinned["probability"].is_between(0, 1).all()
    shown = pinned.group_by("entity", "layer", "neuron", "setting").agg(pl.col("probability").sum())
    assert (shown["probability"] <= 1 + 1e-6).all()
    assert pinned.filter(~as_it_is).select("neuron", "control").unique().height == 1 + 2

    ablations = read_table(folder / "world" / "ablations.parquet")
    assert ablations["control"].sum() * 2 == ablations.height
    difference = ablations["loss_ablated"] - ablations["loss"]
    np.testing.assert_allclose(ablations["increase"], difference, atol=1e-6)
    contexts = read_table(folder / "world" / "ablation_contexts.parquet")
    largest = contexts.group_by("layer", "neuron").agg(pl.col("increase").max())
    both = largest.join(ablations, on=["layer", "neuron"], suffix="_ablated")
    np.testing.assert_allclose(both["increase"], both["increase_max"], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "methods", "superposition", "context_neurons", "refinement", "scale", "dynamics",
        "in_context", "families", "maps", "space_time",
    ],
)  # fmt: skip
def test_each_case_study_has_a_page_that_needs_nothing_else(run: Path, name: str) -> None:
    page = (run / "results" / "report" / f"{name}.html").read_text()
    assert f'href="{name}.html"' in (run / "results" / "report" / "index.html").read_text()
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_report_is_there_and_needs_nothing_else(run: Path) -> None:
    page = (run / "results" / "report" / "index.html").read_text()
    assert "SmolLM2" in page or MODEL in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
