"""A diff names the first ancestors that differ, and what their sidecars say otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from artneuro import cli
from artneuro.core.artifacts import sidecar_path
from artneuro.core.errors import DataError
from artneuro.core.hashing import sha256_path
from artneuro.provenance.diff import diff
from tests.unit.test_trace import edit, make

SOURCE, STORE = "resources/fetched/corpus", "results/activations/m/a store.zarr"
LEFT, RIGHT = "results/probing/m/left.parquet", "results/probing/m/right.parquet"
FIGURE = "results/report/m/figure.svg"
# As `make` records them.
COMMIT = "c0ffee" * 6 + "abcd"
MACHINE = {"system": "Linux", "processor": "x86_64", "cores": 2}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("artneuro.core.artifacts._fsync", lambda path: None)


def run(base: Path, source="abc", store="1", left="l", right="r", figure="f", **facts) -> Path:
    """Results of five jobs, with the contents given; facts are `{rule}={...}` of sidecars."""
    make(base, "fetch", [], {SOURCE: {"a.txt": source}}, **facts.get("fetch", {}))
    make(
        base, "dump", [SOURCE], {STORE: {"c/0": store, "zarr.json": "{}"}}, **facts.get("dump", {})
    )
    make(base, "fit_left", [STORE], {LEFT: left}, **facts.get("fit_left", {}))
    make(base, "fit_right", [STORE], {RIGHT: right}, **facts.get("fit_right", {}))
    make(base, "plot", [LEFT, RIGHT], {FIGURE: figure}, **facts.get("plot", {}))
    return base


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return run(tmp_path / "run a")


def text(a: Path, b: Path, path: str = FIGURE) -> list[str]:
    """The lines of a diff after the two that name A and B, with short hashes."""
    lines = diff(a / path, b / path).to_text().splitlines()
    assert lines[:2] == [f"A: {a / path}", f"B: {b / path}"]
    return lines[2:]


def contents(a: Path, b: Path, path: str = FIGURE) -> str:
    return f"contents: differ, sha256 {sha256_path(a / path)} -> {sha256_path(b / path)}"


def test_equal_runs(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", dump={"store_seconds": 3.0, "ended": "2027"})
    found = diff(a / FIGURE, b / FIGURE)
    assert found.equal
    assert text(a, b) == [
        f"contents: equal, sha256 {sha256_path(a / FIGURE)}",
        "diff: 1 pair compared, 1 equal",
    ]
    assert diff(a / "results", b / "results").equal


def test_diamond_leads_to_the_first_differing_ancestor(a: Path, tmp_path: Path):
    b = run(
        tmp_path / "b", store="2", left="l2", figure="f2",
        dump={"config": {"dtype": "float32", "layers": [1, 2], "a.b": 1}, "threads": 4},
        fit_right={"code": {"artneuro.core": "01", "artneuro.new": "02"}},
        plot={"versions": {"python": "3.12.1"}},
    )  # fmt: skip
    edit(a / STORE, config={"dtype": "float16", "layers": [1, 2], "seed": None})
    assert text(a, b) == [
        contents(a, b),
        f"differs first: {STORE}",
        "  | by dump",
        '  | config "a.b": only in B: 1',
        '  | config dtype: "float16" -> "float32"',
        "  | config seed: only in A: null",
        f"follows: {LEFT}",
        "  | by fit_left",
        f"  | from {STORE}",
        f"follows: {FIGURE}",
        "  | by plot",
        f"  | from {LEFT}",
        "circumstances:",
        '  versions numpy: only in A: "2.4.6" (1 pair)',
        '  versions python: "3.11.7" -> "3.12.1" (1 pair)',
        "  threads: 1 -> 4 (1 pair)",
        "diff: 1 pair compared, 0 equal, 1 differ",
    ]
    # The folders hold the right table too, whose content is the same by other code.
    lines = diff(a / "results", b / "results").to_text().splitlines()
    assert lines[2:13] == text(a, b)[1:12]
    assert lines[-4:] == [
        "without effect:",
        '  code artneuro.core: "00" -> "01" (1 pair)',
        '  code artneuro.new: only in B: "02" (1 pair)',
        "diff: 4 pairs compared, 1 equal, 3 differ",
    ]


def test_ancestor_outside_the_folders(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", source="abd", store="2", left="l2", right="r2", figure="f2")
    found = diff(a / "results/report", b / "results/report")
    assert [p.a for p in found.ordered()] == [SOURCE, STORE, LEFT, RIGHT, FIGURE]
    assert [p.a for p in found.ordered() if p.first] == [SOURCE]
    assert found.summary() == "diff: 1 pair compared, 0 equal, 1 differ"
    assert "config, code and inputs are the same" in found.to_text()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"lock_sha256": "2" * 64}, f'  lock: "{"1" * 64}" -> "{"2" * 64}" (1 pair)'),
        ({"git": {"commit": COMMIT, "dirty": True}}, "  git dirty: false -> true (1 pair)"),
        ({"machine": {**MACHINE, "cores": 64}}, "  machine cores: 2 -> 64 (1 pair)"),
        ({"device": "cuda"}, '  noted device: only in B: "cuda" (1 pair)'),
    ],
)
def test_circumstances(a: Path, tmp_path: Path, change: dict, line: str):
    b = run(tmp_path / "b", figure="f2", plot=change)
    assert text(a, b) == [
        contents(a, b),
        f"differs first: {FIGURE}",
        "  | by plot",
        "  | config, code and inputs are the same: see the circumstances, or chance",
        "circumstances:",
        line,
        "diff: 1 pair compared, 0 equal, 1 differ",
    ]


def test_inputs_of_one_side(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", figure="f2")
    edit(b / FIGURE, inputs=[{"path": LEFT, "sha256": sha256_path(b / LEFT)}])
    assert f"  | inputs {RIGHT}: only in A" in text(a, b)
    assert f"  | inputs {RIGHT}: only in B" in text(b, a)


def test_two_artifacts_of_one_run_pair_their_inputs_by_name(tmp_path: Path):
    base = tmp_path / "b"
    for model in ("one", "two"):
        stores = [f"results/{model}/rows.parquet", f"results/{model}/x.zarr"]
        make(base, "dump", [], dict.fromkeys(stores, model), config={"model": model})
        inputs = stores if model == "one" else stores[::-1]
        make(base, "fit", inputs, {f"results/{model}/scores.parquet": model})
    one, two = (base / f"results/{m}/scores.parquet" for m in ("one", "two"))
    found = diff(one, two)
    assert {(p.a, p.b) for p in found.pairs} == {
        (f"results/one/{n}", f"results/two/{n}")
        for n in ("scores.parquet", "rows.parquet", "x.zarr")
    }
    assert found.to_text().splitlines()[3:6] == [
        "differs first: results/one/rows.parquet (B: results/two/rows.parquet)",
        "  and results/one/x.zarr (B: results/two/x.zarr)",
        "  | by dump",
    ]


def test_missing_and_damaged_sidecars(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", store="2", left="l2", figure="f2")
    sidecar_path(b / STORE).unlink()
    assert "  | sidecar: fits -> none" in text(a, b)
    sidecar_path(a / STORE).write_text("{}")
    assert "  | sidecar: is not a provenance sidecar of version 1 -> none" in text(a, b)
    sidecar_path(a / FIGURE).unlink()
    assert text(a, b)[1:3] == [f"differs first: {FIGURE}", "  | sidecar: none -> fits"]


def test_changed_after_it_was_made(a: Path, tmp_path: Path):
    b = run(tmp_path / "b")
    (b / FIGURE).write_text("edited")
    assert text(a, b)[1:4] == [
        f"differs first: {FIGURE}",
        "  | by plot",
        "  | sidecar: fits -> of other content",
    ]


def test_ancestor_that_was_made_again_since(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", left="l2", figure="f2")
    make(b, "fit_left", [STORE], {LEFT: "l3"})
    assert "  | sidecar: fits -> of other content" in text(a, b)
    # Made alike since: the folders hold the same table, but the figure was made of another.
    make(b, "fit_left", [STORE], {LEFT: "l"})
    found = diff(a / "results", b / "results")
    assert [p.a for p in found.ordered()] == [FIGURE]
    first, second = sha256_path(a / LEFT)[:12], found.pairs[-1].differences[0]
    assert (second.name, second.a) == (LEFT, f"read as {first}")


def test_only_in_one_folder(a: Path, tmp_path: Path):
    b = run(tmp_path / "b")
    (b / FIGURE).unlink()
    (b / "results/stray file.txt").write_text("x")
    found = diff(a / "results", b / "results")
    assert not found.equal
    assert found.to_text().splitlines()[2:] == [
        "only in A:",
        "  report/m/figure.svg",
        "only in B:",
        "  stray file.txt",
        "diff: 3 pairs compared, 3 equal, 1 only in A, 1 only in B",
    ]


def test_cycles_end(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", store="2", left="l2", figure="f2")
    for base in (a, b):
        figure = {"path": FIGURE, "sha256": sha256_path(base / FIGURE)}
        edit(base / STORE, inputs=[figure])
    found = diff(a / FIGURE, b / FIGURE)
    assert {p.a for p in found.ordered()} == {FIGURE, LEFT, STORE}
    assert "follows" in found.to_text()


def test_part_of_a_store(a: Path, tmp_path: Path):
    b = run(tmp_path / "b", store="2", dump={"config": {"x": 1}})
    assert diff(a / STORE / "zarr.json", b / STORE / "zarr.json").equal
    found = diff(a / STORE / "c/0", b / STORE / "c/0")
    assert [p.a for p in found.ordered()] == [STORE, f"{STORE}/c/0"]


def test_long_values_are_cut_where_they_differ(a: Path, tmp_path: Path):
    numbers = list(range(500))
    b = run(
        tmp_path / "b", figure="f2", plot={"config": {"k": [*numbers[:400], -7, *numbers[401:]]}}
    )
    edit(a / FIGURE, config={"k": numbers})
    line = next(line for line in text(a, b) if "config k" in line)
    assert "399, 400, 401" in line
    assert "399, -7, 401" in line
    assert len(line) < 250


def test_errors(a: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no such artifact"):
        diff(a / FIGURE, tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be compared with one artifact"):
        diff(a / "results", a / FIGURE)
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="neither folder"):
        diff(tmp_path / "x", tmp_path / "x")
    (a / LEFT).unlink()
    with pytest.raises(DataError, match="only its sidecar"):
        diff(a / LEFT, a / RIGHT)


def test_command(a: Path, tmp_path: Path, capsys):
    b = run(tmp_path / "b", figure="f2", plot={"threads": 2})
    one, two = str(a / FIGURE), str(b / FIGURE)
    assert cli.main(["diff", one, one]) == 0
    assert cli.main(["diff", one, two]) == 1
    assert "threads: 1 -> 2" in capsys.readouterr().out
    assert cli.main(["diff", one, str(b / "nothing")]) == 2
    assert "no such artifact" in capsys.readouterr().err
    assert cli.main(["diff", str(a / "results"), str(b / "results"), "--json"]) == 1
    whole = json.loads(capsys.readouterr().out)
    assert whole["equal"] is False
    assert [p["a"] for p in whole["pairs"] if p["first"]] == [FIGURE]
    for path in (a, b):
        shutil.move(path / "results", path / "kept")
    args = ["diff", str(a / "kept"), str(b / "kept"), "--workdir-a", str(a), "--workdir-b", str(b)]
    assert cli.main(args) == 1
