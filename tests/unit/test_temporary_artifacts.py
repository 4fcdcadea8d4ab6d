"""What is deleted once it was used is no loss, but its sidecar still has to fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from artneuro.core.artifacts import read_json, sidecar_path, write_json
from artneuro.core.hashing import sha256_path
from artneuro.core.job import sidecar_seal, write_sidecar
from artneuro.provenance.audit import audit
from artneuro.provenance.trace import trace


def make(path: Path, content: str, base: Path, *inputs: Path, **noted) -> Path:
    """A folder with one file, and its sidecar."""
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    record = {
        "rule": f"make_{path.name}",
        "wildcards": {},
        "config": {},
        "code": {},
        "inputs": [{"path": str(p.relative_to(base)), "sha256": sha256_path(p)} for p in inputs],
        **noted,
    }
    name = str(path.relative_to(base))
    write_sidecar(path, record)
    sidecar = read_json(sidecar_path(path)) | {"artifact": name}
    reseal(path, sidecar)
    return path


def reseal(artifact: Path, record: dict) -> None:
    write_json({**record, "record_sha256": sidecar_seal(record)}, sidecar_path(artifact))


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    source = make(folder / "source", "s", tmp_path)
    share = make(folder / "shares" / "0", "abc", tmp_path, source, temporary=True)
    make(folder / "store", "c", tmp_path, share)
    return folder


def kinds(report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.path) for finding in report.findings}


def test_what_was_for_a_while_may_be_gone(results):
    share = results / "shares" / "0"
    there = audit(results)
    assert there.ok
    shutil.rmtree(share)
    gone = audit(results)
    assert gone.findings == []
    assert (gone.contents, gone.seal) == (there.contents, there.seal)
    assert there.bytes - gone.bytes == 3
    found = trace(results / "store")
    assert found.ok
    assert results / "source" in found.artifacts
    assert "abc" not in found.to_text()
    assert "deleted when it was no longer needed" in found.to_text()


def test_what_it_was_made_from_still_counts(results):
    shutil.rmtree(results / "shares" / "0")
    (results / "source" / "file").write_text("x")
    for report in (audit(results), trace(results / "store")):
        assert kinds(report) == {
            ("changed", "results/source"),
            ("input_changed", "results/shares/0"),
        }


def test_its_sidecar_has_to_fit(results):
    share = results / "shares" / "0"
    shutil.rmtree(share)
    good = read_json(sidecar_path(share))
    forged = {**good, "sha256": "0" * 64}
    write_json(forged, sidecar_path(share))
    assert ("bad_sidecar", "results/shares/0.prov.json") in kinds(audit(results))
    reseal(share, forged)
    for report in (audit(results), trace(results / "store")):
        assert kinds(report) == {("input_changed", "results/store")}
    reseal(share, {**good, "temporary": False})
    for report in (audit(results), trace(results / "store")):
        assert kinds(report) == {
            ("missing", "results/shares/0"),
            ("input_missing", "results/store"),
        }
    sidecar_path(share).unlink()
    assert kinds(audit(results)) == {("input_missing", "results/store")}
