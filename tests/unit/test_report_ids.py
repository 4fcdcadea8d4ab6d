"""What Snakemake's report shows carries the hash that the sidecars have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from artneuro.core.artifacts import sidecar_path, write_json
from artneuro.provenance.graph import recorded_sha256

ROOT = Path(__file__).resolve().parents[2]
REPORTED = [
    pytest.param(name, block, id=f"{path.stem}/{name}/{i}")
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk"))
    for i, (name, block) in enumerate(
        re.findall(r"^        (\w+)=report\((.*?)^        \),", path.read_text(), re.M | re.S)
    )
]


def test_all_reported_outputs_are_looked_at():
    texts = [p.read_text() for p in (ROOT / "workflow" / "rules").glob("*.smk")]
    assert len(REPORTED) == sum(len(re.findall(r"\breport\(", t)) for t in texts) >= 30


@pytest.mark.parametrize(("name", "block"), REPORTED)
def test_labels_are_with_the_hash_of_that_output(name: str, block: str):
    assert re.findall(r"labels=with_hash\(\s*\"(\w+)\"", block) == [name]


def test_recorded_hash(tmp_path: Path):
    assert recorded_sha256(tmp_path / "a") == ""
    for text, expected in (({"sha256": "abc"}, "abc"), ([], ""), ({}, "")):
        write_json(text, sidecar_path(tmp_path / "a"))
        assert recorded_sha256(tmp_path / "a") == expected
    sidecar_path(tmp_path / "a").write_text("{")
    assert recorded_sha256(tmp_path / "a") == ""
