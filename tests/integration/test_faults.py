"""Faults of a small real run: kills, full disks, damage; docs/faults.md has the counts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from artneuro.core.hashing import sha256_path
from artneuro.provenance.audit import audit
from tests.faults_example import TARGETS, can_mount, content_of, driver, finished_project

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

# docs/faults.md has the counts of 20.
TIMES = os.environ.get("ARTNEURO_FAULTS", "3")
LONG_JOBS = ["dump_activations", "accumulate_correlations", "fit_probes", "train_model"]


@pytest.fixture(scope="module")
def project():
    return finished_project()


def test_killed_jobs_end_in_the_same_bytes(project):
    rules = [*LONG_JOBS, "fetch_source", "fetch_model"]
    found = driver(project.root, "kill", *rules, "--times", TIMES)
    assert [job["rule"] for job in found] == rules
    assert all(job["killed"] == job["equal"] == int(TIMES) for job in found), found
    # A dump has several parts, and correlations and training save their state all the time.
    assert sum(job["resumed"] for job in found) > 0


def test_a_job_that_still_runs_is_waited_for(project):
    """A kill of Snakemake alone leaves its jobs, and the next Snakemake starts them again."""
    rules = ["dump_activations", "fit_probes"]
    found = driver(project.root, "overlap", *rules, "--times", TIMES)
    assert [job["rule"] for job in found] == rules
    assert all(job["overlaps"] == job["equal"] == int(TIMES) for job in found), found


@pytest.mark.skipif(not can_mount(), reason="mounting a file system is not allowed here")
def test_full_disks_are_named_and_survived(project):
    found = driver(project.root, "fill", *LONG_JOBS, "--times", TIMES, own_mounts=True)
    assert [job["rule"] for job in found] == LONG_JOBS
    assert all(job["full"] == job["named"] == job["equal"] == int(TIMES) for job in found), found


@pytest.mark.skipif(not can_mount(), reason="mounting a file system is not allowed here")
def test_read_only_disks_are_named(project):
    found = driver(project.root, "forbid", *LONG_JOBS, "--times", "1", own_mounts=True)
    assert [job["rule"] for job in found] == LONG_JOBS
    assert all(job["named"] == job["equal"] == 1 for job in found), found


def test_no_job_takes_a_damaged_table_or_store_for_a_whole_one(project):
    rules = ["fit_probes", "score_universality", "collect_best_neurons"]
    found = driver(project.root, "damage", *rules, "--times", TIMES)
    assert [job["rule"] for job in found] == rules
    for job in found:
        assert job["damaged"] == int(TIMES)
        assert job.get("named", 0) + job.get("harmless", 0) == job["damaged"], job["details"]


STORE = "results/activations/tiny/second/activations.zarr"
TABLE = "results/datasets/tiny/second/labels.parquet"
SCORES = "results/probing/tiny/second/scores.parquet"


def audit_of(root: Path) -> list[tuple[str, str]]:
    return [(f.kind, f.path) for f in audit(root / "results").findings]


def test_a_corrupt_chunk_is_found_named_and_rebuilt(project):
    root = project.root
    # Other tests have made files again, which changes their time stamps.
    project.snakemake(*TARGETS, "--touch")
    store, before = root / STORE, content_of(root / SCORES)
    whole = sha256_path(store)
    # A bit in the middle of the largest file; size and time stamps stay.
    files = [p for p in (store / "mlp_post").rglob("*") if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    data, stat = bytearray(file.read_bytes()), file.stat()
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ("changed", STORE) in audit_of(root)
    # Who reads it fails, and says what to do.
    with pytest.raises(AssertionError) as failed:
        project.snakemake(SCORES, "--forcerun", "fit_probes")
    said = str(failed.value)
    assert "a chunk is corrupt" in said
    assert str(file.relative_to(root)) in said
    assert "delete the store and run snakemake again" in said
    shutil.rmtree(store)
    printed = project.snakemake(SCORES)
    assert "Finished jobid: 0 (Rule: fit_probes)" in printed
    assert "dump_activations" in printed
    assert "label_features" not in printed
    assert sha256_path(store) == whole
    assert content_of(root / SCORES) == before
    project.snakemake(*TARGETS)
    assert audit_of(root) == []
    assert project.plan(*TARGETS) == {}


def test_a_truncated_table_is_found_named_and_rebuilt(project):
    root, table = project.root, project.root / TABLE
    project.snakemake(*TARGETS, "--touch")
    data = table.read_bytes()
    table.write_bytes(data[: len(data) // 2])
    assert ("changed", TABLE) in audit_of(root)
    # What the audit says: delete it, and ask for it by its name.
    table.unlink()
    assert project.plan(TABLE) == {"label_features": 1}
    project.snakemake(TABLE)
    assert table.read_bytes() == data
    assert audit_of(root) == []
