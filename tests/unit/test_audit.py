"""The audit finds what was done to a tree of artifacts behind the workflow's back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from artneuro import cli
from artneuro.core.artifacts import (
    atomic_directory,
    read_json,
    read_table,
    sidecar_path,
    write_json,
    write_table,
    write_text,
)
from artneuro.core.errors import DataError
from artneuro.core.job import Job, write_sidecar
from artneuro.provenance import tree as module
from artneuro.provenance.audit import FIXES, audit

TABLE = "results/probing/m/d/scores.parquet"
STORE = "results/activations/m/d/activations.zarr"
FETCHED = "resources/fetched/corpus"
PAGE = "results/report/index.html"


class Outputs(list):
    """Snakemake's lists can have names; the job only iterates."""


def run(rule: str, inputs: list[str], outputs: list[str], work: Callable[[Job], None]) -> None:
    """What a workflow script does, from the folder that Snakemake runs in."""
    snakemake = SimpleNamespace(
        rule=rule,
        input=Outputs(inputs),
        output=Outputs(outputs),
        wildcards={"model": "m"},
        threads=1,
        params=SimpleNamespace(cfg={"depth": {1: (2, 3)}}, code={"artneuro.core": "00"}),
        config={},
        scriptdir=os.getcwd(),
        log=[],
    )
    with Job(snakemake) as job:
        work(job)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    """Results of four jobs: a fetched folder, a store, a table from it, and a page."""
    monkeypatch.chdir(tmp_path)

    def folder(path: str, files: dict[str, str]) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            with atomic_directory(path) as target:
                for name, text in files.items():
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    (target / name).write_text(text)

        return work

    frame = pl.DataFrame({"feature": ["a", "b"], "f1": [0.5, 0.75]})
    run("fetch_source", [], [FETCHED], folder(FETCHED, {"source.json": "{}", "text/a.txt": "abc"}))
    run("dump", [FETCHED], [STORE], folder(STORE, {"zarr.json": "{}", "site/c/0": "chunk"}))
    run("fit_probes", [STORE], [TABLE], lambda job: write_table(frame, TABLE))
    run("build_report", [TABLE], [PAGE], lambda job: write_text("<html>", PAGE))
    # Snakemake's traces: the time-stamp file in folders, new time stamps, benchmark files, logs.
    for store in (STORE, FETCHED):
        (tmp_path / store / ".snakemake_timestamp").touch()
    for path in (TABLE, PAGE):
        os.utime(path)
    for name in ("results/probing/m/d/fit.log", "results/logs/x.tsv", "results/.page.1.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def found(tree: Path) -> set[tuple[str, str]]:
    return {(f.kind, f.path) for f in audit(tree / "results").findings}


def test_untouched_tree_fits(tree: Path):
    report = audit(tree / "results")
    assert report.findings == []
    assert report.ok
    assert (report.artifacts, report.inputs) == (4, 3)
    files = [p for p in (tree / "results").rglob("*") if p.is_file()]
    files += [p for p in (tree / "resources").rglob("*") if p.is_file()]
    content = [
        p for p in files if p.suffix in (".json", ".txt", ".parquet", ".html") or p.name == "0"
    ]
    content = [p for p in content if ".prov." not in p.name]
    assert report.bytes == sum(p.stat().st_size for p in content)


def test_every_flipped_byte_of_a_table_is_found(tree: Path):
    original = (tree / TABLE).read_bytes()
    for i in range(0, len(original), 7):
        damaged = bytearray(original)
        damaged[i] ^= 0x10
        (tree / TABLE).write_bytes(damaged)
        assert found(tree) == {("changed", TABLE), ("input_changed", PAGE)}
    (tree / TABLE).write_bytes(original)
    assert found(tree) == set()


def test_flipped_byte_in_a_store(tree: Path):
    (tree / STORE / "site/c/0").write_text("chuNk")
    assert found(tree) == {("changed", STORE), ("input_changed", TABLE)}


@pytest.mark.parametrize("change", ["add", "delete", "rename", "move"])
def test_files_of_a_store(tree: Path, change: str):
    chunk = tree / STORE / "site/c/0"
    if change == "add":
        (tree / STORE / "site/c/1").write_text("")
    elif change == "delete":
        chunk.unlink()
    elif change == "rename":
        chunk.rename(chunk.with_name("1"))
    else:
        chunk.rename(tree / STORE / "0")
    assert found(tree) == {("changed", STORE), ("input_changed", TABLE)}


def test_edited_table(tree: Path):
    frame = read_table(tree / TABLE)
    write_table(frame.with_columns(f1=pl.col("f1") + 0.1), tree / TABLE)
    assert found(tree) == {("changed", TABLE), ("input_changed", PAGE)}


def test_deleted_artifact(tree: Path):
    (tree / TABLE).unlink()
    assert found(tree) == {("missing", TABLE), ("input_missing", PAGE)}


def test_deleted_artifact_with_its_sidecar(tree: Path):
    shutil.rmtree(tree / STORE)
    sidecar_path(tree / STORE).unlink()
    assert found(tree) == {("input_missing", TABLE)}


def test_deleted_sidecar(tree: Path):
    sidecar_path(tree / TABLE).unlink()
    assert found(tree) == {("unexplained", "results/probing")}
    sidecar_path(tree / STORE).unlink()
    assert found(tree) == {
        ("unexplained", "results/probing"),
        ("unexplained", "results/activations"),
    }


def test_deleted_sidecar_beside_others(tree: Path):
    run("other", [], ["results/probing/m/d/b.json"], lambda job: write_json(1, job.output[0]))
    sidecar_path(tree / TABLE).unlink()
    assert found(tree) == {("unexplained", TABLE)}


def test_deleted_sidecar_of_a_fetched_source(tree: Path):
    sidecar_path(tree / FETCHED).unlink()
    (finding,) = audit(tree / "results").findings
    assert (finding.kind, finding.path) == ("unexplained", FETCHED)
    assert "2 files" in finding.detail


def test_edited_sidecar_hash(tree: Path):
    path = sidecar_path(tree / TABLE)
    record = read_json(path)
    write_json({**record, "sha256": "0" * 64}, path)
    assert found(tree) == {
        ("changed", TABLE),
        ("bad_sidecar", f"{TABLE}.prov.json"),
    }


@pytest.mark.parametrize(
    "edit",
    [
        {"config": {"depth": 9}},
        {"code": {}},
        {"inputs": []},
        {"git": {"commit": "0", "dirty": False}},
        {"added": 1},
        {"started": "2020-01-01"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_edited_sidecar(tree: Path, edit: dict):
    path = sidecar_path(tree / TABLE)
    write_json({**read_json(path), **edit}, path)
    assert found(tree) == {("bad_sidecar", f"{TABLE}.prov.json")}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"artneuro_provenance": 1}', '{"artneuro_provenance": 2}', "\x00\xff"],
)
def test_corrupt_sidecar(tree: Path, text: str):
    sidecar_path(tree / TABLE).write_bytes(text.encode("latin-1"))
    assert found(tree) == {("bad_sidecar", f"{TABLE}.prov.json")}


@pytest.mark.parametrize("key", module.REQUIRED)
def test_sidecar_without_an_entry(tree: Path, key: str):
    path = sidecar_path(tree / TABLE)
    record = read_json(path)
    del record[key]
    write_json(record, path)
    assert found(tree) == {("bad_sidecar", f"{TABLE}.prov.json")}


@pytest.mark.parametrize("inputs", [[1], [{}], [{"path": 1, "sha256": "a"}], [{"path": "a"}]])
def test_sidecar_with_malformed_inputs(tree: Path, inputs: list):
    path = sidecar_path(tree / TABLE)
    write_json({**read_json(path), "inputs": inputs}, path)
    assert found(tree) == {("bad_sidecar", f"{TABLE}.prov.json")}


def test_sidecar_of_another_artifact(tree: Path):
    shutil.copy(tree / TABLE, tree / "results/probing/m/d/copy.parquet")
    shutil.copy(sidecar_path(tree / TABLE), tree / "results/probing/m/d/copy.parquet.prov.json")
    assert found(tree) == {("bad_sidecar", "results/probing/m/d/copy.parquet.prov.json")}


@pytest.mark.parametrize("name", ["notes.txt", "results.csv", "probing/m/d/old.parquet"])
def test_stray_file(tree: Path, name: str):
    (tree / "results" / name).write_text("x")
    assert found(tree) == {("unexplained", f"results/{name}")}


def test_stray_folder_is_one_line(tree: Path):
    for i in range(30):
        path = tree / f"results/probing/m/old/{i // 10}/{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (finding,) = audit(tree / "results").findings
    assert (finding.kind, finding.path) == ("unexplained", "results/probing/m/old")
    assert "30 files" in finding.detail


def test_link_into_another_folder_is_not_followed(tree: Path):
    (tree / "results/loop").symlink_to(tree / "results")
    (tree / "results/dangling").symlink_to(tree / "nowhere")
    assert found(tree) == {("unexplained", "results/loop"), ("unexplained", "results/dangling")}


def test_changed_input_after_the_fact(tree: Path):
    # An artifact made anew with a right sidecar: only what was made from the old one is wrong.
    frame = pl.DataFrame({"feature": ["a", "b"], "f1": [0.5, 0.8]})
    run("fit_probes", [STORE], [TABLE], lambda job: write_table(frame, TABLE))
    assert found(tree) == {("input_changed", PAGE)}


def test_input_that_changes_while_the_job_runs(tree: Path):
    (tree / "notes.txt").write_text("before")

    def work(job: Job) -> None:
        Path("notes.txt").write_text("after")
        write_json(1, job.output[0])

    run("late", ["notes.txt"], ["results/late.json"], work)
    assert found(tree) == {("input_changed", "results/late.json")}


def test_tree_in_another_folder_fits(tree: Path, tmp_path_factory, monkeypatch):
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(tree, copy)
    shutil.rmtree(tree)
    tree.mkdir()
    monkeypatch.chdir(copy.parent)
    report = audit("project/results")
    assert report.ok
    assert report.artifacts == 4


def test_part_of_the_tree(tree: Path):
    report = audit(tree / "results/probing")
    assert report.ok
    assert (report.artifacts, report.inputs) == (1, 1)
    (tree / STORE / "site/c/0").write_text("x")
    assert [f.kind for f in audit(tree / "results/probing").findings] == ["input_changed"]


def test_inputs_outside_of_the_workflow(tree: Path, tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "corpus.txt"
    data.write_text("text")
    run("read", [str(data)], ["results/read.json"], lambda job: write_json(1, job.output[0]))
    assert found(tree) == set()
    data.write_text("other")
    assert found(tree) == {("input_changed", "results/read.json")}
    data.unlink()
    assert found(tree) == {("input_missing", "results/read.json")}


def test_unreadable_file_is_a_finding(tree: Path, monkeypatch):
    # Not by permissions: the tests may run as root, who reads everything.
    plain = module.sha256_file

    def failing(path):
        if str(path).endswith("scores.parquet"):
            raise OSError(5, "Input/output error")
        return plain(path)

    monkeypatch.setattr(module, "sha256_file", failing)
    assert found(tree) == {("unreadable", TABLE)}


def test_same_findings_with_any_number_of_threads(tree: Path):
    (tree / STORE / "site/c/0").write_text("x")
    (tree / "results/stray").write_text("x")
    reports = [audit(tree / "results", threads=n) for n in (1, 2, 7)]
    assert reports[0] == reports[1] == reports[2]


def test_no_results(tmp_path: Path):
    with pytest.raises(DataError):
        audit(tmp_path / "results")
    (tmp_path / "results").mkdir()
    assert audit(tmp_path / "results").ok


def test_command_line(tree: Path, capsys, monkeypatch):
    monkeypatch.chdir(tree)
    assert cli.main(["audit", "results/"]) == 0
    assert "4 artifacts and 3 recorded inputs" in capsys.readouterr().out

    (tree / TABLE).unlink()
    (tree / "results/stray.txt").write_text("x")
    assert cli.main(["audit", "results"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    for line, kind, path in zip(
        lines,
        ("missing", "input_missing", "unexplained"),
        (TABLE, PAGE, "results/stray.txt"),
        strict=False,
    ):
        assert line.startswith(kind)
        assert path in line
        assert line.endswith(FIXES[kind].format(artifact=path))
    assert lines[-1].endswith("3 things do not fit (1 missing, 1 unexplained, 1 input_missing)")

    assert cli.main(["audit", "results", "--json"]) == 1
    captured = capsys.readouterr()
    assert "not compared with a config" in captured.err
    report = json.loads(captured.out)
    assert not report["ok"]
    assert report["planned"] is None
    assert report["artifacts"] == 3
    assert [f["kind"] for f in report["findings"]] == ["missing", "input_missing", "unexplained"]
    assert report["findings"][0] == {
        "kind": "missing",
        "path": TABLE,
        "detail": "it has a sidecar but is gone",
        "fix": f"run `snakemake {TABLE}`, then `snakemake` for what is made from it; "
        "or delete its sidecar if it is not wanted",
    }


def test_command_line_errors_have_no_traceback(tmp_path: Path, capsys):
    assert cli.main(["audit", str(tmp_path / "none")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("artneuro: there is no such folder")
    assert "Traceback" not in captured.err


def test_config_check_names_what_is_wrong(tmp_path: Path, capsys):
    (tmp_path / "config.yaml").write_text("modles: {}\n")
    assert cli.main(["config", "check", str(tmp_path / "config.yaml")]) == 2
    captured = capsys.readouterr()
    assert "modles" in captured.err
    assert "Traceback" not in captured.err


def test_usage_errors_exit_with_2(capsys):
    for arguments in ([], ["audit"], ["unknown"], ["config"], ["audit", "results", "--nope"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2
    assert "usage: artneuro" in capsys.readouterr().err


def test_sidecar_can_hold_what_json_changes(tmp_path: Path, monkeypatch):
    # Tuples and integer keys come back as lists and strings: the seal must be of that form.
    monkeypatch.chdir(tmp_path)
    write_json(1, "results/a.json")
    facts = {str(i): i for i in range(12)} | {"nested": {i: (i,) for i in range(12)}}
    write_sidecar("results/a.json", {"rule": "r", "config": facts, "code": {}, "inputs": []})
    assert audit("results").ok
