"""A new lock file: when it asks, what it says, and that an answer is kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from artneuro.core.artifacts import write_json
from artneuro.provenance.lock import lock_question, lock_state, read_lock, record_lock
from artneuro.provenance.tree import ResultsTree, walk_results

ROOT = Path(__file__).resolve().parents[2]
OLD = "numpy==2.4.6\nruff==0.17.6\ntorch==2.13.0\nzict==3.0.0\n"
NEW = "# Resolved anew.\nnumpy==2.4.6\nruff==0.18.0\ntorch==2.14.0\nyarl==1.0\n"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workflow with a lock, and three artifacts that were made with it, one of them a folder."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "requirements.lock").write_text(OLD)
    for name in ("a.parquet", "probing/b.parquet", "store.zarr"):
        add_artifact(tmp_path, name, OLD)
    # What lies inside an artifact is not looked at.
    (tmp_path / "results/store.zarr").mkdir()
    write_json({"lock_sha256": "0" * 64}, tmp_path / "results/store.zarr/c.prov.json")
    return tmp_path


def add_artifact(root: Path, name: str, lock: str | None, **versions: str) -> None:
    """Each a second later than the one before, whatever the clock of the file system."""
    record = {"lock_sha256": None if lock is None else sha256(lock), "versions": versions}
    results = root / "results"
    newest = max((p.stat().st_mtime_ns for p in results.rglob("*.prov.json")), default=0)
    path = results / f"{name}.prov.json"
    write_json(record, path)
    os.utime(path, ns=(max(newest + 10**9, path.stat().st_mtime_ns),) * 2)


def set_lock(root: Path, text: str) -> None:
    (root / "envs" / "requirements.lock").write_text(text)


def question(root: Path, **options) -> str | None:
    return lock_question(lock_state(root, root / "results"), **options)


def recorded(root: Path) -> str | None:
    path = root / "results" / "requirements.lock"
    return path.read_text() if path.exists() else None


def test_no_lock_no_results_and_the_same_lock_ask_nothing(root: Path, tmp_path: Path):
    assert question(root) is None
    (root / "envs" / "requirements.lock").unlink()
    assert question(root) is None
    assert lock_question(lock_state(ROOT, tmp_path / "nowhere")) is None


def test_a_new_lock_says_how_many_artifacts_and_which_packages(root: Path):
    record_lock(root, root / "results")
    assert recorded(root) == OLD
    set_lock(root, NEW)
    add_artifact(root, "d.parquet", NEW)
    state = lock_state(root, root / "results")
    assert (state.outdated, state.artifacts, state.asks) == (3, 4, True)
    # A library that results depend on comes before a linter.
    assert list(map(str, state.changes)) == [
        "torch 2.13.0 -> 2.14.0", "ruff 0.17.6 -> 0.18.0", "yarl 1.0 is new", "zict 3.0.0 is gone",
    ]  # fmt: skip
    told = lock_question(state)
    assert "3 of 4 artifacts" in told
    assert all(str(change) in told for change in state.changes)
    assert "snakemake --cores all --forceall" in told


def test_what_the_question_says_to_type_is_an_answer(root: Path, monkeypatch):
    record_lock(root, root / "results")
    set_lock(root, NEW)
    monkeypatch.chdir(root)
    command = next(line for line in question(root).splitlines() if " cp " in line)
    subprocess.run(command[command.index("cp ") :], shell=True, check=True)
    assert question(root) is None
    # An answer is to one lock: the next asks again, and tells what is new since the answer.
    set_lock(root, NEW.replace("yarl==1.0", "yarl==1.1"))
    assert list(map(str, lock_state(root, root / "results").changes)) == ["yarl 1.0 -> 1.1"]


def test_results_that_were_all_made_again_need_no_answer(root: Path):
    record_lock(root, root / "results")
    set_lock(root, NEW)
    for name in ("a.parquet", "probing/b.parquet", "store.zarr"):
        # As long as one is left the results stand for the old lock.
        record_lock(root, root / "results")
        assert recorded(root) == OLD
        assert question(root) is not None
        add_artifact(root, name, NEW)
    assert question(root) is None
    record_lock(root, root / "results")
    assert recorded(root) == NEW


def test_without_the_old_lock_the_recorded_versions_say_what_changed(root: Path):
    set_lock(root, NEW)
    assert "No version of a library" in question(root)
    add_artifact(root, "e.parquet", OLD, python="3.11.7", numpy="2.4.6", torch="2.13.0+cpu")
    assert list(map(str, lock_state(root, root / "results").changes)) == ["torch 2.13.0 -> 2.14.0"]
    assert recorded(root) is None


def test_artifacts_without_a_lock_and_broken_sidecars(root: Path):
    add_artifact(root, "f.parquet", None)
    (root / "results" / "g.parquet.prov.json").write_bytes(b"\xff\x00{")
    assert lock_state(root, root / "results").outdated == 1
    assert question(root) is not None


def test_many_changes_are_cut(root: Path):
    record_lock(root, root / "results")
    set_lock(root, "".join(f"package-{i}==1\n" for i in range(30)))
    told = question(root)
    assert "and 22 more" in told
    assert len(told.splitlines()) < 25


def test_what_is_not_installed_yet_is_named(root: Path):
    record_lock(root, root / "results")
    here = importlib.metadata.version("numpy")
    set_lock(root, OLD.replace("numpy==2.4.6", "numpy==99.0"))
    assert "Not installed yet here: numpy 99.0; `make env`" in question(root)
    assert "Not installed" not in question(root, uses_conda=True)
    record_lock(root, root / "results")
    (root / "results" / "requirements.lock").write_text("numpy==98.0\n")
    set_lock(root, f"numpy=={here}\n")
    assert "Not installed" not in question(root)


def test_a_folder_of_results_that_cannot_be_written_stops_nothing(root: Path, monkeypatch):
    def fail(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("artneuro.provenance.lock.write_text", fail)
    record_lock(root, root / "results")
    assert recorded(root) is None


def test_the_recorded_lock_is_nothing_that_an_audit_finds_unexplained(root: Path):
    record_lock(root, root / "results")
    tree = ResultsTree()
    walk_results(root / "results", tree, top=True)
    assert tree.unexplained == []


def test_the_lock_of_this_project_is_read_as_its_writer_reads_it():
    text = (ROOT / "envs" / "requirements.lock").read_text()
    versions = read_lock(text)
    assert len(versions) == len([line for line in text.splitlines() if "==" in line]) > 100
    pins = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())["dependencies"][-1]
    assert [f"{name}=={version}" for name, version in versions.items()] == pins["pip"]


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path):
    add_artifact(tmp_path, "a.parquet", OLD, torch="1.0")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--nolock", "-s", str(ROOT / "Snakefile"),
         "-d", str(tmp_path), "--configfile", str(ROOT / "config" / "smoke.yaml")],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "1 of 1 artifacts were made with another version of it" in printed
    assert "  torch 1.0 -> " in printed
    now = [p for p in sorted(tmp_path.rglob("*")) if ".snakemake" not in p.parts]
    assert now == before
