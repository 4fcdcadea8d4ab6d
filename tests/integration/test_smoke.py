"""The whole workflow on a real model and real text, from the registries to the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    "name",
    [
        "methods", "superposition", "context_neurons", "refinement", "scale", "dynamics",
        "in_context", "families",
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
