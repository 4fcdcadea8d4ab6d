"""A trace tells everything behind an artifact, and what of it no longer fits."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

from artneuro import cli
from artneuro.core.artifacts import read_json, sidecar_path, write_json
from artneuro.core.errors import DataError
from artneuro.core.hashing import sha256_path
from artneuro.core.job import sidecar_seal, write_sidecar
from artneuro.provenance.audit import audit
from artneuro.provenance.diff import diff
from artneuro.provenance.graph import flatten, in_cycles, read_ancestors
from artneuro.provenance.trace import trace
from artneuro.provenance.trace_drawing import _boxes, _columns, _place, trace_svg

SOURCE = "resources/fetched/corpus"
WEIGHTS = "results/models/m/weights"
LEFT, RIGHT = "results/probing/m/left scores.parquet", "results/probing/m/right.parquet"
FIGURE = "results/report/m/figure <1>.svg"
PIN = {"name": "corpus", "version": "1.2", "url": None, "sha256": "ab" * 32}
SVG = "{http://www.w3.org/2000/svg}"


def make(base: Path, rule: str, inputs: list[str], outputs: dict[str, object], **facts) -> None:
    """Write outputs (text, or dicts of files) with sidecars as one job would."""
    for name, content in outputs.items():
        path = base / name
        files = content if isinstance(content, dict) else {"": content}
        for inner, text in files.items():
            file = path / inner if inner else path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(text))
    record = {
        "rule": rule,
        "wildcards": {},
        "config": {},
        "code": {"artneuro.core": "00"},
        "inputs": [{"path": i, "sha256": sha256_path(base / i)} for i in inputs],
        "git": {"commit": "c0ffee" * 6 + "abcd", "dirty": False},
        "lock_sha256": "1" * 64,
        "versions": {"python": "3.11.7", "numpy": "2.4.6"},
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
        "threads": 1,
        "started": "2026-01-02T03:04:05.000+00:00",
        "ended": "2026-01-02T03:04:06.000+00:00",
        **facts,
    }
    for name in outputs:
        write_sidecar(base / name, record)
        edit(base / name, artifact=name)


def edit(of: Path, /, **entries) -> None:
    """Change entries of a sidecar and seal it again."""
    sidecar = {**read_json(sidecar_path(of)), **entries}
    write_json({**sidecar, "record_sha256": sidecar_seal(sidecar)}, sidecar_path(of))


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("artneuro.core.artifacts._fsync", lambda path: None)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source, a model, two tables from it and a figure from both: a diamond."""
    info = {
        "name": "corpus", "registry": "pypi", "packages": [PIN], "licence": "CC-BY-4.0",
        "description": "A corpus.", "available": True, "reason": None, "files": 1, "bytes": 3,
    }  # fmt: skip
    base = tmp_path / "a lab"
    make(base, "fetch_source", [], {SOURCE: {"source.json": json.dumps(info), "t/a.txt": "abc"}})
    make(base, "fetch_model", [SOURCE], {WEIGHTS: {"w": "1"}}, wildcards={"model": "m"})
    weights = sha256_path(base / WEIGHTS)
    write_json(
        {"source": "gguf:corpus/x", "revision": "sha256:12", "sha256": weights},
        base / "results/models/m/model.json",
    )
    for table in (LEFT, RIGHT):
        config = {"probes": {"k": [1, 2], "by.name": {"a": None}}}
        make(base, "fit_probes", [WEIGHTS], {table: table}, config=config)
    make(base, "plot_scores", [LEFT, RIGHT], {FIGURE: "<svg/>"}, config={"title": "<b>"})
    return base


def short(text: str, base: Path) -> str:
    """A trace's text with hashes replaced by names, so that a test can spell it out."""
    for path in (SOURCE, WEIGHTS, LEFT, RIGHT, FIGURE):
        text = text.replace(sha256_path(base / path), f"<{Path(path).name[:4]}>")
    text = text.replace(sha256_path(base / WEIGHTS)[:12], "<weig>")
    return re.sub(r"\(hash [0-9a-f]{12}\)", "(hash)", text)


CODE = "code git c0ffeec0ffee, 1 modules (hash), lock 111111111111"
WHEN = "2026-01-02T03:04:05"


def test_text_of_a_diamond_tells_shared_parts_once(tree: Path):
    found = trace(tree / FIGURE)
    size = sum(f.stat().st_size for f in (tree / SOURCE).rglob("*") if f.is_file())
    assert found.ok
    assert short(found.to_text(), tree).splitlines() == [
        FIGURE,
        "  | sha256 <figu>, 6 bytes",
        f"  | by plot_scores, {WHEN}",
        '  | config title: "<b>"',
        f"  | {CODE}",
        f"  {LEFT}",
        f"    | sha256 <left>, {len(LEFT)} bytes",
        f"    | by fit_probes, {WHEN}",
        "    | config probes.k: [1, 2]",
        '    | config probes."by.name".a: null',
        f"    | {CODE}",
        f"    {WEIGHTS}",
        "      | sha256 <weig>, 1 bytes",
        f"      | by fetch_model (model=m), {WHEN}",
        f"      | {CODE}",
        f"      {SOURCE}",
        f"        | sha256 <corp>, {size} bytes",
        f"        | by fetch_source, {WHEN}",
        f"        | {CODE}",
        f"  {RIGHT}",
        f"    | sha256 <righ>, {len(RIGHT)} bytes",
        f"    | by the same job as {LEFT}",
        "",
        "models",
        "  m: gguf:corpus/x, revision sha256:12, licence CC-BY-4.0, weights <weig>",
        "sources",
        "  corpus: licence CC-BY-4.0; pypi: corpus 1.2 abababababab",
        "code",
        "  git c0ffeec0ffee: 4 jobs",
        "trace: 5 artifacts of 4 jobs, 1 model, 1 source: everything is there, unchanged and "
        "explained",
    ]


def test_parts_shared_by_two_jobs_are_told_once(tree: Path):
    edit(tree / RIGHT, started="2026-01-02T03:05:00.000+00:00")
    lines = trace(tree / FIGURE).to_text().splitlines()
    assert lines.count(f"    {WEIGHTS}") == 1
    assert lines.count(f"    {WEIGHTS} (above)") == 1


def kinds(tree: Path, path: str = FIGURE) -> set[tuple[str, str]]:
    return {(f.kind, f.path) for f in trace(tree / path).findings}


def test_changed_input(tree: Path):
    (tree / LEFT).write_text("other")
    assert kinds(tree) == {("changed", LEFT), ("input_changed", FIGURE)}
    assert kinds(tree, LEFT) == {("changed", LEFT)}
    assert kinds(tree, RIGHT) == set()
    text = trace(tree / FIGURE).to_text()
    assert f"    | ! changed: 5 bytes instead of {len(LEFT)}" in text.splitlines()
    assert f"  | ! input_changed: was made from another version of {LEFT}" in text.splitlines()


@pytest.mark.parametrize("path", [SOURCE, WEIGHTS, LEFT, RIGHT, FIGURE])
@pytest.mark.parametrize("harm", ["change", "delete", "no sidecar", "edit sidecar", "cut sidecar"])
def test_finds_what_the_audit_finds(tree: Path, path: str, harm: str):
    target = tree / path
    sidecar = sidecar_path(target)
    file = next(p for p in (target, *sorted(target.rglob("*"))) if p.is_file())
    if harm == "change":
        file.write_text("harmed")
    elif harm == "delete":
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    elif harm == "no sidecar":
        sidecar.unlink()
    elif harm == "edit sidecar":
        sidecar.write_text(sidecar.read_text().replace("2.4.6", "2.4.7"))
    else:
        sidecar.write_text(sidecar.read_text()[:-40])
    if harm == "no sidecar":
        # The audit may name the folder instead, where nothing in it has a sidecar.
        assert kinds(tree) == {("unexplained", path)}
        return
    # The audit sees what lies around too.
    lone = "results/models/m/model.json"
    audited = {(f.kind, f.path) for f in audit(tree / "results").findings if f.path != lone}
    assert audited
    assert kinds(tree) == audited


def places(value: object, at: tuple = ()) -> list[tuple]:
    """The paths of all values in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else []
    inner = enumerate(value) if isinstance(value, list) else inner
    return [p for key, v in inner for p in ((*at, key), *places(v, (*at, key)))]


ODD = [None, 0, -1.5, True, "", "../..", "a\0b", [], [1], [[]], {}, {"": {}}, {"x": None}]


@pytest.mark.parametrize("path", [SOURCE, WEIGHTS, LEFT, FIGURE])
@pytest.mark.parametrize("sealed", [False, True])
def test_odd_sidecars_never_end_in_a_traceback(tree: Path, path: str, sealed: bool):
    edit(tree / SOURCE, config={"source": {"registry": "pypi", "packages": [PIN]}})
    (tree / SOURCE / "source.json").unlink()
    whole = read_json(sidecar_path(tree / path))
    rng = random.Random(f"{path} {sealed}")
    for place in places(whole):
        for odd in rng.sample(ODD, 1):
            sidecar = json.loads(json.dumps(whole))
            holder = sidecar
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = odd
            if sealed:
                sidecar["record_sha256"] = sidecar_seal(sidecar)
            sidecar_path(tree / path).write_text(json.dumps(sidecar))
            found = trace(tree / FIGURE, threads=1)
            assert found.to_text()
            assert json.loads(found.to_json())["artifact"] == FIGURE
            ElementTree.fromstring(trace_svg(found))
            assert sealed or not found.ok
            compared = diff(tree / FIGURE, tree / LEFT, threads=1)
            assert compared.to_text()
            assert compared.to_json()


def test_change_far_away_is_found(tree: Path):
    (tree / SOURCE / "t/a.txt").write_text("abd")
    assert kinds(tree) == {("changed", SOURCE), ("input_changed", WEIGHTS)}


def test_input_that_was_made_again(tree: Path):
    make(tree, "fit_probes", [WEIGHTS], {LEFT: "second"})
    assert kinds(tree) == {("input_changed", FIGURE)}


def test_missing_input(tree: Path):
    (tree / LEFT).unlink()
    assert kinds(tree) == {("missing", LEFT), ("input_missing", FIGURE)}
    sidecar_path(tree / LEFT).unlink()
    assert kinds(tree) == {("input_missing", FIGURE)}


def test_missing_sidecar(tree: Path):
    sidecar_path(tree / WEIGHTS).unlink()
    assert kinds(tree) == {("unexplained", WEIGHTS)}
    found = trace(tree / FIGURE)
    assert found.sources == found.models == []


def test_missing_target_is_still_traced_by_its_sidecar(tree: Path):
    (tree / FIGURE).unlink()
    assert kinds(tree) == {("missing", FIGURE)}
    assert len(trace(tree / FIGURE).artifacts) == 5


def test_damaged_sidecars(tree: Path):
    sidecar_path(tree / WEIGHTS).write_text("{")
    assert kinds(tree) == {("bad_sidecar", f"{WEIGHTS}.prov.json")}
    assert "! bad_sidecar: cannot be read as JSON" in trace(tree / FIGURE).to_text()


def test_edited_sidecar(tree: Path):
    sidecar = sidecar_path(tree / LEFT)
    sidecar.write_text(sidecar.read_text().replace('"threads": 1', '"threads": 2'))
    assert kinds(tree) == {("bad_sidecar", f"{LEFT}.prov.json")}


def test_description_of_other_weights(tree: Path):
    write_json({"sha256": "00"}, tree / "results/models/m/model.json")
    assert kinds(tree) == {("changed", "results/models/m/model.json")}


def test_cycle_ends_and_is_found(tree: Path):
    figure = {"path": FIGURE, "sha256": sha256_path(tree / FIGURE)}
    edit(tree / WEIGHTS, inputs=[figure])
    bad = {("bad_sidecar", f"{p}.prov.json") for p in (WEIGHTS, LEFT, RIGHT, FIGURE)}
    assert kinds(tree) == bad
    assert f"{FIGURE} (above)" in trace(tree / FIGURE).to_text()
    ElementTree.fromstring(trace_svg(trace(tree / FIGURE)))


def test_artifact_made_from_itself(tree: Path):
    edit(tree / LEFT, inputs=[{"path": LEFT, "sha256": sha256_path(tree / LEFT)}])
    assert kinds(tree) == {("bad_sidecar", f"{LEFT}.prov.json")}
    ElementTree.fromstring(trace_svg(trace(tree / FIGURE)))


def test_what_comes_from_a_cycle_is_not_in_it():
    def artifact(*inputs: str):
        return SimpleNamespace(inputs=[SimpleNamespace(path=i) for i in inputs])

    graph = {"a": artifact("b"), "b": artifact("c", "e"), "c": artifact("b"), "e": artifact()}
    assert in_cycles(graph) == ["b", "c"]


def test_deep_chain(tmp_path: Path):
    names = [f"results/{i}" for i in range(1100)]
    make(tmp_path, "first", [], {names[0]: "0"})
    for before, name in itertools.pairwise(names):
        make(tmp_path, "next", [before], {name: name})
    found = trace(tmp_path / names[-1])
    assert found.ok
    assert len(found.to_text().splitlines()) > 1100
    boxes = _boxes(found)
    assert len(_columns(boxes, found.artifacts[found.target].job)) == 1100


def test_part_of_a_store_is_explained_by_the_store(tree: Path):
    found = trace(tree / WEIGHTS / "w")
    assert found.ok
    assert [a.shown for a in found.artifacts.values()] == [f"{WEIGHTS}/w", WEIGHTS, SOURCE]
    assert "  | a part of" in found.to_text().splitlines()


def test_sidecar_names_its_artifact(tree: Path):
    assert trace(sidecar_path(tree / FIGURE)).target == tree / FIGURE


def test_file_of_the_user(tree: Path):
    (tree / "my words.txt").write_text("x")
    make(tree, "read", ["my words.txt"], {"results/words.parquet": "y"})
    assert kinds(tree, "results/words.parquet") == set()
    text = trace(tree / "results/words.parquet").to_text()
    assert "given by the user: no rule makes it" in text
    (tree / "my words.txt").write_text("z")
    assert kinds(tree, "results/words.parquet") == {("input_changed", "results/words.parquet")}
    assert kinds(tree, "my words.txt") == {("unexplained", "my words.txt")}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_pins(tree: Path, version: str):
    pins = f"""sources:
  corpus:
    registry: pypi
    licence: MIT
    description: A corpus.
    packages: [{{name: corpus, version: "{version}", sha256: {PIN["sha256"]}}}]
"""
    (tree / "resources/sources.yaml").write_text(pins)
    found = trace(tree / FIGURE)
    assert found.sources[0]["pinned"] is (version == "1.2")
    assert {(f.kind, f.path) for f in found.findings} == (
        set() if version == "1.2" else {("input_changed", SOURCE)}
    )


def test_licence_of_a_source_that_is_gone(tree: Path):
    config = {"source": {"registry": "pypi", "packages": [PIN], "licence": "CC0-1.0"}}
    edit(tree / SOURCE, config=config)
    shutil.rmtree(tree / SOURCE)
    found = trace(tree / FIGURE)
    assert {(f.kind, f.path) for f in found.findings} == {
        ("missing", SOURCE),
        ("input_missing", WEIGHTS),
    }
    assert found.sources[0]["licence"] == "CC0-1.0"


def test_errors(tree: Path):
    with pytest.raises(DataError, match="no such artifact"):
        trace(tree / "results/nothing.svg")
    with pytest.raises(DataError, match="is no artifact"):
        trace(tree / "results")


def test_json_has_everything(tree: Path):
    whole = json.loads(trace(tree / FIGURE).to_json())
    assert whole["ok"] is True
    assert whole["artifact"] == FIGURE
    by_path = {a["path"]: a for a in whole["artifacts"]}
    assert set(by_path) == {FIGURE, LEFT, RIGHT, WEIGHTS, SOURCE}
    assert by_path[LEFT]["sha256"] == by_path[LEFT]["sha256_now"] == sha256_path(tree / LEFT)
    assert by_path[LEFT]["job"] == by_path[RIGHT]["job"] != by_path[FIGURE]["job"]
    assert [i["path"] for i in by_path[FIGURE]["inputs"]] == [LEFT, RIGHT]
    jobs = {j["id"]: j for j in whole["jobs"]}
    assert jobs[by_path[FIGURE]["job"]]["config"] == {"title": "<b>"}
    assert whole["sources"][0]["packages"] == [PIN]
    assert whole["models"][0]["licence"] == "CC-BY-4.0"


def test_flatten():
    value = {"a": {"b": [1, 2], "c": {}}, "d.e": 1, "f": [{"g": 2}, []], "": None}
    assert list(flatten(value)) == [
        ("a.b", [1, 2]), ("a.c", {}), ('"d.e"', 1), ("f.0.g", 2), ("f.1", []), ('""', None),
    ]  # fmt: skip
    assert list(flatten({})) == []
    assert list(flatten(None)) == [("", None)]


# --- the drawing ---------------------------------------------------------------------------------


def test_drawing_is_sound_and_escaped(tree: Path):
    edit(tree / FIGURE, config={"title": '<script>alert("x")</script> & \x00\x1b'})
    root = ElementTree.fromstring(trace_svg(trace(tree / FIGURE)))
    assert not list(root.iter(f"{SVG}script"))
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert FIGURE in texts
    assert any(t and t.startswith('title: "<script>alert') for t in texts)
    assert "licence CC-BY-4.0" in texts
    assert "git c0ffeec0ffee" in texts
    assert texts[-1] == trace(tree / FIGURE).summary()
    assert len(list(root.iter(f"{SVG}g"))) == 4
    assert len([p for p in root.iter(f"{SVG}path") if p.get("class") == "edge"]) == 3


def test_boxes_do_not_overlap_and_go_from_left_to_right(tree: Path):
    edit(tree / RIGHT, started="2026-01-02T03:05:00.000+00:00")
    edit(
        tree / FIGURE,
        inputs=[{"path": p, "sha256": sha256_path(tree / p)} for p in (LEFT, RIGHT, SOURCE)],
    )
    found = trace(tree / FIGURE)
    boxes = _boxes(found)
    order = _columns(boxes, found.artifacts[found.target].job)
    _place(boxes, order)
    assert [len(column) for column in order] == [1, 3, 2, 1]
    for column in order:
        for above, below in itertools.pairwise(column):
            assert boxes[above].y + boxes[above].height < boxes[below].y
    for box in boxes.values():
        for used in box.uses:
            assert boxes[used].x + boxes[used].width < box.x


def test_drawing_marks_what_does_not_fit(tree: Path):
    (tree / LEFT).write_text("other")
    root = ElementTree.fromstring(trace_svg(trace(tree / FIGURE)))
    groups = {g.get("class"): "".join(g.itertext()) for g in root.iter(f"{SVG}g")}
    assert {c for c in groups if "bad" in c.split()} == {"box bad", "box target bad"}
    assert "changed: 5 bytes" in groups["box bad"]


# --- the command ---------------------------------------------------------------------------------


def test_command(tree: Path, capsys):
    drawing = tree / "out put.svg"
    assert cli.main(["trace", str(tree / FIGURE), "--svg", str(drawing)]) == 0
    assert capsys.readouterr().out.startswith(FIGURE)
    assert ElementTree.parse(drawing).getroot().tag == f"{SVG}svg"
    assert cli.main(["trace", str(tree / FIGURE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    (tree / LEFT).write_text("other")
    assert cli.main(["trace", str(tree / FIGURE)]) == 1
    assert cli.main(["trace", str(tree / "nothing")]) == 2
    assert "no such artifact" in capsys.readouterr().err
    assert cli.main(["trace", str(tree / FIGURE), "--svg", str(tree / "results")]) == 2
    assert "the drawing cannot be written" in capsys.readouterr().err


def test_other_folder_of_the_workflow(tree: Path, tmp_path: Path):
    shutil.move(tree / FIGURE, tmp_path / "figure.svg")
    shutil.move(sidecar_path(tree / FIGURE), sidecar_path(tmp_path / "figure.svg"))
    edit(tmp_path / "figure.svg", artifact="../figure.svg")
    assert trace(tmp_path / "figure.svg", workdir=tree).ok


def test_ancestors_are_read_once(tree: Path):
    assert [a.shown for a in read_ancestors(tree / FIGURE, tree).values()] == [
        FIGURE, LEFT, RIGHT, WEIGHTS, SOURCE,
    ]  # fmt: skip
