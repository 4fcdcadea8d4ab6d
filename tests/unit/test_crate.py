"""A crate says of results what the sidecars say, and holds what it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from artneuro import cli
from artneuro.core.artifacts import atomic_directory, read_json, sidecar_path, write_json
from artneuro.core.errors import ArtneuroError, DataError
from artneuro.core.hashing import sha256_file
from artneuro.core.job import Job, sidecar_seal, write_sidecar
from artneuro.provenance.audit import audit
from artneuro.provenance.crate import CrateSummary, export_crate
from artneuro.provenance.crate_texts import (
    CrateOptions,
    citations,
    licence_entity,
    media_type,
    software_entity,
)
from artneuro.provenance.graph import read_artifact
from artneuro.provenance.trace import trace
from tests.unit.test_audit import Outputs

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "resources/fetched/corpus"
WEIGHTS = "results/models/m/weights"
INFO = "results/models/m/model.json"
TABLE = "results/probing/m/d 1/scores.json"
FIGURES = ["results/report/a.svg", "results/report/b.svg"]
PAGE = "results/report/index.html"
NOTES = "data/notes of mine.txt"
CODE = {"artneuro.core.job": "00", "workflow/scripts/models/fetch_model.py": "11"}
PIN = {"name": "corpus-x", "version": "1.0", "url": None, "sha256": "ab" * 32}


def run(rule: str, inputs: list[str], outputs: list[str], config: dict, code: dict = CODE) -> None:
    snakemake = SimpleNamespace(
        rule=rule, input=Outputs(inputs), output=Outputs(outputs), wildcards={"model": "m"},
        threads=1, config={"configfiles": ["config/mine.yaml"]},
        params=SimpleNamespace(cfg=config, code=code), scriptdir=".", log=[],
    )  # fmt: skip
    with Job(snakemake):
        for path in map(Path, outputs):
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"<{path}>")
            else:
                with atomic_directory(path) as folder:
                    (folder / "content.bin").write_text(path.name)
                    if path.name == "corpus":
                        about = {"name": "corpus", "registry": "npm", "packages": [PIN],
                                 "licence": "CC-BY-4.0", "description": "a corpus"}  # fmt: skip
                        state = {"available": True, "reason": None, "files": 1, "bytes": 1}
                        write_json({**about, **state}, folder / "source.json")
    if INFO in outputs:
        weights = read_json(sidecar_path(WEIGHTS))["sha256"]
        write_json({"source": "hub:x/y", "revision": "c0ffee", "licence": "MIT",
                    "sha256": weights}, INFO)  # fmt: skip
        record = {k: v for k, v in read_json(sidecar_path(INFO)).items() if k != "record_sha256"}
        for key in ("artneuro_provenance", "artifact", "sha256", "bytes"):
            record.pop(key)
        write_sidecar(INFO, record)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    """A small workflow with results of five jobs."""
    project = tmp_path / "project"
    for name in (
        "Snakefile", "CITATION.cff", "LICENSE", "README.md", "envs/requirements.lock",
        "workflow/rules/models.smk", "workflow/scripts/models/fetch_model.py",
    ):  # fmt: skip
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    monkeypatch.chdir(project)
    for name, text in (("config/mine.yaml", "a: 1\n"), (NOTES, "given"), (".git/HEAD", "x")):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    run("fetch_source", [], [SOURCE], {"source": {"registry": "npm"}})
    run("fetch_model", [NOTES], [WEIGHTS, INFO], {"model": {"id": "x/y"}})
    run("fit_probes", [SOURCE, WEIGHTS, NOTES], [TABLE], {"probing": {"seed": 0, "k": [1, 2]}})
    run("plot_scores", [TABLE], FIGURES, {"probing": {"seed": 0}})
    run("build_report", FIGURES, [PAGE], {"title": ""})
    return project


FULL = CrateOptions(
    title="Mine", author="A. Person", orcid="https://orcid.org/0000-0002-1825-0097",
    affiliation="A Lab", licence="CC-BY-4.0", url="https://example.org/workflow",
)  # fmt: skip


def entities(folder: Path) -> dict[str, dict]:
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    found = {e["@id"]: e for e in graph}
    assert len(found) == len(graph)
    return found


def listed(entity: dict, key: str) -> list[str]:
    value = entity.get(key, [])
    return [v["@id"] for v in (value if isinstance(value, list) else [value])]


def of_type(found: dict[str, dict], kind: str) -> dict[str, dict]:
    return {i: e for i, e in found.items() if kind in (e["@type"], *e["@type"])}


def test_every_job_is_an_action_of_what_its_sidecar_says(tree: Path):
    summary = export_crate("results", "out")
    found = entities(tree / "out")
    actions = of_type(found, "CreateAction")
    assert summary.jobs == 5
    assert len(actions) == 5 + 1
    shown = {
        "data/notes of mine.txt": "#data/notes%20of%20mine.txt",
        TABLE: TABLE.replace(" ", "%20"),
    }
    for path in (SOURCE, WEIGHTS, TABLE, *FIGURES, PAGE):
        artifact = read_artifact(tree / path, tree)
        record = artifact.record
        action = actions[f"#job-{artifact.job}"]
        name = f"#{path}" if (tree / path).is_dir() else shown.get(path, path)
        assert name in listed(action, "result")
        inputs = [shown.get(i["path"], i["path"]) for i in record["inputs"]]
        inputs = [f"#{i}" if (tree / i).is_dir() else i for i in inputs]
        objects = listed(action, "object")
        assert [o for o in objects if not o.startswith("#parameter-")] == inputs
        assert (action["startTime"], action["endTime"]) == (record["started"], record["ended"])
        (tool,) = listed(action, "instrument")
        assert tool == "workflow/scripts/models/fetch_model.py"
        assert action["name"] == f"{record['rule']} (model=m)"
    fit = actions["#job-" + read_artifact(tree / TABLE, tree).job]
    values = {found[o]["name"]: found[o]["value"] for o in listed(fit, "object") if "param" in o}
    assert values == {"probing.seed": "0", "probing.k": "[1, 2]"}
    # One entity for what two jobs have alike.
    assert (
        len([e for e in of_type(found, "PropertyValue").values() if e["name"] == "probing.seed"])
        == 1
    )


def test_engine_orchestrates_a_step_of_each_rule(tree: Path):
    export_crate("results", "out")
    found = entities(tree / "out")
    (engine,) = of_type(found, "OrganizeAction").values()
    controls = of_type(found, "ControlAction")
    assert sorted(listed(engine, "object")) == sorted(controls)
    assert listed(engine, "result") == ["#run"]
    workflow = found["Snakefile"]
    steps = {found[listed(c, "instrument")[0]]["name"] for c in controls.values()}
    assert {f"#step-{s}" for s in steps} == set(listed(workflow, "step"))
    assert steps == {"fetch_source", "fetch_model", "fit_probes", "plot_scores", "build_report"}
    assert {listed(c, "object")[0] for c in controls.values()} == set(
        of_type(found, "CreateAction")
    ) - {"#run"}


def test_run_takes_the_config_and_gives_what_nothing_was_made_of(tree: Path):
    summary = export_crate("results", "out")
    found = entities(tree / "out")
    whole = found["#run"]
    assert listed(whole, "object") == ["config/mine.yaml", "#data/notes%20of%20mine.txt"]
    assert listed(whole, "result") == ["results/", INFO, PAGE]
    assert listed(whole, "instrument") == ["Snakefile"]
    report = audit("results")
    assert report.contents in whole["description"]
    assert report.seal in whole["description"]
    assert summary.seal == report.seal
    assert found["#input-config"]["workExample"] == {"@id": "config/mine.yaml"}
    assert found["results/"]["exampleOfWork"] == {"@id": "#output-results"}


def test_files_are_there_with_their_hashes_and_folders_are_named(tree: Path):
    summary = export_crate("results", "out")
    found, out = entities(tree / "out"), tree / "out"
    for name in (TABLE, INFO, *FIGURES, PAGE):
        entity = found[name.replace(" ", "%20")]
        assert entity["sha256"] == sha256_file(out / name) == sha256_file(tree / name)
        assert entity["contentSize"] == str((out / name).stat().st_size)
    for name in (SOURCE, WEIGHTS):
        assert not (out / name).exists()
        assert read_json(sidecar_path(tree / name))["sha256"] in found[f"#{name}"]["identifier"]
    # All that is named is in the crate, and all that is in the crate is named or a sidecar.
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    named = {i.replace("%20", " ") for i in of_type(found, "File") if not i.startswith("#")}
    sidecars = {f for f in files if f.endswith(".prov.json")}
    assert files - sidecars - {"ro-crate-metadata.json"} == named
    assert len(sidecars) == 7
    assert "workflow/rules/models.smk" in files
    assert not [f for f in files if f.startswith(".")]
    assert not (out / NOTES).exists()
    assert found["#data/notes%20of%20mine.txt"]["sha256"] == sha256_file(tree / NOTES)
    assert summary.files == len(files)


def test_licences_and_citations(tree: Path):
    export_crate("results", "out", FULL)
    found = entities(tree / "out")
    assert found["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert found[f"#{SOURCE}"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert found[f"#{SOURCE}"]["description"] == "a corpus"
    assert found[f"#{WEIGHTS}"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert "hub:x/y, revision c0ffee" in found[f"#{WEIGHTS}"]["description"]
    assert found["Snakefile"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    cited = listed(found["./"], "citation")
    assert "https://arxiv.org/abs/2305.01610" in cited
    assert len(cited) == 1 + len(yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"])
    paper = found["https://arxiv.org/abs/2310.02207"]
    assert [found[i]["name"] for i in listed(paper, "creator")] == ["Wes Gurnee", "Max Tegmark"]
    for action in of_type(found, "CreateAction").values():
        assert found[listed(action, "agent")[0]]["name"] == "A. Person"
    assert found["./"]["name"] == "Mine"


def test_what_nobody_said_is_not_made_up(tree: Path):
    export_crate("results", "out")
    found = entities(tree / "out")
    assert found["./"]["license"] == {"@id": "#licence-not-stated"}
    assert "author" not in found["./"]
    assert not [e for e in of_type(found, "CreateAction").values() if "agent" in e]


def test_the_same_results_make_the_same_crate(tree: Path):
    export_crate("results", "one")
    export_crate("results", "two")
    files = sorted(p.relative_to("one") for p in Path("one").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to("two") for p in Path("two").rglob("*") if p.is_file())
    for file in files:
        assert ("one" / file).read_bytes() == ("two" / file).read_bytes()


def test_results_in_the_crate_can_be_traced(tree: Path):
    export_crate("results", "out")
    found = trace("out/results/report/index.html")
    assert {f.kind for f in found.findings} == {"input_missing", "missing"}
    assert {f.path for f in found.findings} == {SOURCE, WEIGHTS, TABLE}
    assert len(found.jobs()) == 5


def test_what_was_there_only_for_a_while_is_named(tree: Path):
    table = sidecar_path(TABLE)
    record = {**read_json(table), "temporary": True}
    write_json({**record, "record_sha256": sidecar_seal(record)}, table)
    Path(TABLE).unlink()
    export_crate("results", "out")
    entity = entities(tree / "out")["#" + TABLE.replace(" ", "%20")]
    assert record["sha256"] in entity["identifier"]
    assert not Path("out", TABLE).exists()


def test_results_that_do_not_fit_are_not_exported(tree: Path):
    Path(PAGE).write_text("forged")
    with pytest.raises(DataError, match=r"1 changed"):
        export_crate("results", "out")
    assert not Path("out").exists()


def test_bad_targets_and_no_results(tree: Path, tmp_path: Path):
    Path("full").mkdir()
    Path("full/x").touch()
    with pytest.raises(DataError, match="not empty"):
        export_crate("results", "full")
    with pytest.raises(DataError, match="no workflow"):
        export_crate("results", "out", workflow=tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(DataError, match="no results"):
        export_crate(tmp_path / "results", "out", workflow=tree)
    Path("empty").mkdir()
    assert export_crate("results", "empty").jobs == 5


def test_nothing_is_left_when_writing_fails(tree: Path, monkeypatch):
    def failing(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("artneuro.provenance.crate._copy_sidecar", failing)
    before = sorted(p.name for p in tree.iterdir())
    with pytest.raises(ArtneuroError, match="disk is full"):
        export_crate("results", "out")
    assert sorted(p.name for p in tree.iterdir()) == before


def test_command_line(tree: Path, capsys):
    assert cli.main(["crate", "results", "--out", "out", "--licence", "MIT"]) == 0
    assert "5 jobs" in capsys.readouterr().out
    assert entities(tree / "out")["./"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert cli.main(["crate", "results", "--out", "out"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_summary():
    text = str(CrateSummary(Path("out"), 1200, 3, 40, 5_000_000, "aa", "bb"))
    assert text == "crate: out: 1,200 files with 5.0 MB, 3 jobs, 40 entities; seal bb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", "https://spdx.org/licenses/MIT"),
        (" Apache-2.0 ", "https://spdx.org/licenses/Apache-2.0"),
        ("https://example.org/terms", "https://example.org/terms"),
        ("public domain", "#licence-public-domain"),
        ("MIT AND Apache-2.0", "#licence-MIT-AND-Apache-2.0"),
        ("other", "#licence-other"),
        ("llama3.1 <b>", "#licence-llama3.1-b"),
        ("llama3.1", "#licence-llama3.1"),
        ("GPL-2.0-or-later", "https://spdx.org/licenses/GPL-2.0-or-later"),
        ("CC-BY-NC-SA-4.0", "https://spdx.org/licenses/CC-BY-NC-SA-4.0"),
        ("LicenseRef-public-domain", "#licence-LicenseRef-public-domain"),
    ],
)
def test_licence_entity(text: str, expected: str):
    entity = licence_entity(text)
    assert entity["@id"] == expected
    assert entity["name"] == text.strip()


def test_media_types():
    assert media_type("a/b.PARQUET") == "application/vnd.apache.parquet"
    assert media_type("Snakefile") == "text/plain"
    assert media_type("data.bin") == "application/octet-stream"


def test_homes_of_software():
    assert software_entity("numpy", "2.0")["@id"].startswith("https://")
    assert software_entity("no-such-library", "1")["@id"] == "#software-no-such-library-1"
    assert software_entity("python", "3.11.7")["url"] == "https://www.python.org/"


def test_citation_files_that_cannot_be_read(tmp_path: Path):
    assert list(citations(tmp_path / "none.cff")) == []
    (tmp_path / "a.cff").write_text("- a\n")
    assert list(citations(tmp_path / "a.cff")) == []
    (tmp_path / "a.cff").write_text("title: T\ndoi: 10.1/x\n")
    (work,) = citations(tmp_path / "a.cff")
    assert work == {"@id": "https://doi.org/10.1/x", "@type": "CreativeWork", "name": "T"}
