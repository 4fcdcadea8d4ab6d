"""The audit compares sidecars with what the config asks for, and the whole with a quoted hash."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from artneuro import cli
from artneuro.core.artifacts import read_json, sidecar_path, write_json, write_text
from artneuro.core.errors import ConfigError, DataError
from artneuro.core.hashing import sha256_file, size_of
from artneuro.core.job import Job, sidecar_seal
from artneuro.provenance import audit as module
from artneuro.provenance import planned
from artneuro.provenance.audit import AuditReport, audit
from artneuro.provenance.planned import PlannedJob, read_plan, recorded_configfiles, workflow_of
from tests.unit.test_audit import Outputs

TABLE = "results/probing/m/scores.json"
PAGE = "results/report/index.html"
CONFIG = {"probing": {"seed": 0, "sites": ["mlp_post"]}}
CODE = {"artneuro.core.job": "00", "artneuro.probing.fit": "11"}

PLAN = [
    PlannedJob("fit_probes", {"model": "m"}, [TABLE], ["notes.txt"], CONFIG, CODE, True),
    PlannedJob("build_report", {}, [PAGE], [TABLE], {}, CODE, True),
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    """Results of the two jobs of the plan."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("given")
    for job in PLAN:
        snakemake = SimpleNamespace(
            rule=job.rule, input=Outputs(job.inputs), output=Outputs(job.outputs),
            wildcards=job.wildcards, threads=1, config={"configfiles": ["config.yaml"]},
            params=SimpleNamespace(cfg=job.config, code=job.code), scriptdir=".", log=[],
        )  # fmt: skip
        with Job(snakemake):
            write_text(job.rule, job.outputs[0])
    return tmp_path


def compared(tree: Path, monkeypatch, plan: list[PlannedJob], results: str = "results"):
    monkeypatch.setattr(module, "read_plan", lambda root, base, files: plan)
    return audit(tree / results, root=tree)


def found(report: AuditReport) -> set[tuple[str, str]]:
    return {(f.kind, f.path) for f in report.findings}


def test_results_of_the_plan_fit(tree: Path, monkeypatch):
    report = compared(tree, monkeypatch, PLAN)
    assert report.ok
    assert report.planned == 2
    assert "compared with 2 jobs" in report.summary()
    assert audit(tree / "results").planned is None


def test_what_the_config_no_longer_asks_for_is_orphaned(tree: Path, monkeypatch):
    (finding,) = compared(tree, monkeypatch, PLAN[:1]).findings
    assert (finding.kind, finding.path) == ("orphaned", PAGE)
    assert "nor for anything else that build_report makes" in finding.detail
    other = replace(PLAN[1], outputs=["results/report/other.html"], wanted=False)
    (finding,) = compared(tree, monkeypatch, [PLAN[0], other]).findings
    assert finding.detail == "nothing in the config asks for it any more"


def test_edited_config_is_told_by_its_key(tree: Path, monkeypatch):
    config = {"probing": {"seed": 1, "sites": ["mlp_post"], "k": 2}}
    (finding,) = compared(tree, monkeypatch, [replace(PLAN[0], config=config), PLAN[1]]).findings
    assert (finding.kind, finding.path) == ("outdated", TABLE)
    assert finding.detail == "config probing.k: none -> 2; config probing.seed: 0 -> 1"


def test_edited_code_is_told_by_its_module(tree: Path, monkeypatch):
    code = {**CODE, "artneuro.probing.fit": "12"}
    (finding,) = compared(tree, monkeypatch, [replace(PLAN[0], code=code), PLAN[1]]).findings
    assert (finding.kind, finding.path) == ("outdated", TABLE)
    assert finding.detail == 'code artneuro.probing.fit: "11" -> "12"'


def test_other_inputs_and_another_rule(tree: Path, monkeypatch):
    plan = [replace(PLAN[0], inputs=["a", "b"], rule="fit_others"), PLAN[1]]
    (finding,) = compared(tree, monkeypatch, plan).findings
    assert finding.kind == "outdated"
    assert "fit_probes -> fit_others" in finding.detail
    assert finding.detail.endswith("; and 1 more")


def test_sidecar_that_was_sealed_again_is_found_by_the_plan(tree: Path, monkeypatch):
    path = sidecar_path(tree / TABLE)
    record = {**read_json(path), "config": {"probing": {"seed": 7}}}
    write_json({**record, "record_sha256": sidecar_seal(record)}, path)
    assert audit(tree / "results").ok
    assert found(compared(tree, monkeypatch, PLAN)) == {("outdated", TABLE)}


def test_last_artifact_that_went_with_its_sidecar_is_found_by_the_plan(tree: Path, monkeypatch):
    (tree / PAGE).unlink()
    sidecar_path(tree / PAGE).unlink()
    assert audit(tree / "results").ok
    assert found(compared(tree, monkeypatch, PLAN)) == {("unmade", PAGE)}
    unwanted = [PLAN[0], replace(PLAN[1], wanted=False)]
    assert compared(tree, monkeypatch, unwanted).ok


def test_missing_artifact_is_told_once(tree: Path, monkeypatch):
    (tree / PAGE).unlink()
    assert found(compared(tree, monkeypatch, PLAN)) == {("missing", PAGE)}


def test_a_part_of_the_results_is_asked_for_no_other(tree: Path, monkeypatch):
    shutil.rmtree(tree / "results/report")
    assert compared(tree, monkeypatch, PLAN, "results/probing").ok


# --- the hash of the whole -----------------------------------------------------------------------


def test_hashes_of_the_whole(tree: Path):
    report = audit(tree / "results")
    for text in (report.contents, report.seal, report.seal[:12]):
        assert audit(tree / "results", expect=text).ok
    (finding,) = audit(tree / "results", expect="0" * 12).findings
    assert (finding.kind, finding.path) == ("unexpected", "results")


def test_who_rewrites_everything_alike_is_found_by_the_hash_of_the_whole(tree: Path, monkeypatch):
    before = audit(tree / "results")
    write_text("forged", PAGE)
    record = read_json(sidecar_path(PAGE))
    forged = audit(tree / "results").findings
    assert forged
    record = {**record, "sha256": sha256_file(PAGE), "bytes": size_of(PAGE)}
    write_json({**record, "record_sha256": sidecar_seal(record)}, sidecar_path(PAGE))
    assert compared(tree, monkeypatch, PLAN).ok
    for text in (before.contents, before.seal):
        assert found(audit(tree / "results", expect=text)) == {("unexpected", "results")}


def test_seal_changes_with_sidecars_and_contents_do_not(tree: Path):
    before = audit(tree / "results")
    path = sidecar_path(tree / PAGE)
    record = {**read_json(path), "started": "2020-01-01"}
    write_json({**record, "record_sha256": sidecar_seal(record)}, path)
    after = audit(tree / "results")
    assert after.contents == before.contents
    assert after.seal != before.seal


def test_hashes_of_the_whole_are_the_same_in_another_folder(tree: Path, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(tree, copy)
    assert audit(copy / "results").seal == audit(tree / "results").seal


@pytest.mark.parametrize("text", ["", "abc", "0" * 11, "Z" * 64, "0x" + "1" * 12])
def test_what_cannot_be_a_hash(tree: Path, text: str):
    with pytest.raises(DataError, match="hash to expect"):
        audit(tree / "results", expect=text)


def test_config_files_are_named_from_where_the_user_is(tree: Path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "read_plan", lambda root, base, files: asked.append(files) or PLAN)
    (tree / "sub").mkdir()
    monkeypatch.chdir(tree / "sub")
    audit("../results", root=tree, configfiles=["mine.yaml"])
    audit("../results", root=tree)
    assert asked == [[str(tree / "sub" / "mine.yaml")], ["config.yaml"]]


# --- what to compare with ------------------------------------------------------------------------


def test_the_last_job_says_which_config_it_was(tree: Path):
    assert read_json(sidecar_path(tree / TABLE))["configfiles"] == ["config.yaml"]
    records = [
        {"ended": "2026-01-02", "configfiles": ["b.yaml"]},
        {"ended": "2026-01-01", "configfiles": ["a.yaml"]},
        {"configfiles": 3},
    ]
    assert recorded_configfiles(records) == ["b.yaml"]
    assert recorded_configfiles(records[2:]) == []
    assert recorded_configfiles([]) == []


def test_code_beside_results_is_run_only_if_it_is_named(tree: Path, monkeypatch, capsys):
    (tree / "workflow").mkdir()
    (tree / "Snakefile").write_text("")
    (tree / planned.LISTER).write_text("raise SystemExit('this must not run')\n")
    assert workflow_of(tree / "results", None, None, [])[0] is None
    assert cli.main(["audit", "results"]) == 0
    assert "name it by --root" in capsys.readouterr().err
    assert cli.main(["audit", "results", "--root", "."]) == 2
    assert "the config that the results were made with is not there" in capsys.readouterr().err
    (tree / "config.yaml").write_text("")
    assert cli.main(["audit", "results", "--root", "."]) == 2
    assert "this must not run" in capsys.readouterr().err
    assert cli.main(["audit", "results", "--root", ".", "--no-plan"]) == 0


def test_own_results_are_compared_with_the_own_workflow():
    own = Path(planned.__file__).resolve().parents[3]
    assert workflow_of(own / "results", None, None, []) == (own, "")
    assert workflow_of("elsewhere/results", None, None, ["config.yaml"]) == (own, "")


def test_plan_without_a_workflow(tmp_path: Path):
    with pytest.raises(ConfigError, match="no workflow"):
        read_plan(tmp_path, tmp_path)


def test_plan_is_read_from_the_lister(tmp_path: Path, monkeypatch):
    (tmp_path / "workflow").mkdir()
    (tmp_path / planned.LISTER).write_text("")

    def run(command, **options):
        text = '[{"rule": "r", "wildcards": {}, "outputs": ["results/a"], "inputs": [], '
        text += '"config": {}, "code": {}, "wanted": true}]'
        assert command[2:] == [str(tmp_path / "c.yaml")]
        return subprocess.CompletedProcess(command, 0, text, "")

    (tmp_path / "c.yaml").write_text("")
    monkeypatch.setattr(planned.subprocess, "run", run)
    (job,) = read_plan(tmp_path, tmp_path, ["c.yaml"])
    assert job == PlannedJob("r", {}, ["results/a"], [], {}, {}, True)
