"""Ways to tamper with results, and whether the audit finds them: the table of docs/provenance.md.

Each way is tried on a small tree with everything that results have: a fetched source, a model, a
store, a table, a figure and a page. It is audited three times: by the sidecars alone, compared with
the config, and with the hash of the whole that was printed before.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from artneuro.core.artifacts import atomic_directory, read_json, sidecar_path, write_json
from artneuro.core.hashing import sha256_path, size_of
from artneuro.core.job import Job, known_sha256, sidecar_seal
from artneuro.provenance import audit as module
from artneuro.provenance.audit import audit
from artneuro.provenance.planned import PlannedJob
from tests.unit.test_audit import Outputs

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "resources/fetched/corpus"
WEIGHTS = "results/models/m/weights"
INFO = "results/models/m/model.json"
STORE = "results/activations/m/d/activations.zarr"
TABLE = "results/probing/m/d/scores.json"
OTHER = "results/probing/m/d/best.json"
FIGURE = "results/report/m/d/scores.svg"
PAGE = "results/report/index.html"

# Output by output: rule, inputs, keys of the config that its job reads, and files if a folder.
JOBS = {
    (SOURCE,): ("fetch_source", [], ["pin"], {"source.json": "{}", "text/a.txt": "abc"}),
    (WEIGHTS, INFO): ("fetch_model", [], ["model"], {"model.safetensors": "12", "config.json": ""}),
    (STORE,): ("dump", [SOURCE, WEIGHTS, "notes.txt"], ["site"], {"c/0": "xyz", "c/1": "uvw"}),
    (TABLE,): ("fit_probes", [STORE], ["seed"], {}),
    (OTHER,): ("collect", [TABLE], [], {}),
    (FIGURE,): ("plot_scores", [TABLE, OTHER], [], {}),
    (PAGE,): ("build_report", [TABLE, FIGURE], ["title"], {}),
}
CONFIG = {"pin": "sha256:1", "model": "m", "site": "mlp_post", "seed": 0, "title": "T"}


def planned(tree: Path) -> list[PlannedJob]:
    """What the config asks for, as it stands in the tree now."""
    config = yaml.safe_load((tree / "config.yaml").read_text())
    code = {"artneuro.core.job": (tree / "code.py").read_text()}
    wanted = [o for o in JOBS if o != (FIGURE,) or config.get("figures", True)]
    return [
        PlannedJob(rule, {}, list(o), inputs, {k: config[k] for k in keys}, code, True)
        for o in wanted
        for rule, inputs, keys, _ in [JOBS[o]]
    ]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("given")
    (tmp_path / "code.py").write_text("11")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for job in planned(tmp_path):
        snakemake = SimpleNamespace(
            rule=job.rule, input=Outputs(job.inputs), output=Outputs(job.outputs), wildcards={},
            threads=1, config={}, params=SimpleNamespace(cfg=job.config, code=job.code),
            scriptdir=".", log=[],
        )  # fmt: skip
        with Job(snakemake):
            for path in job.outputs:
                files = JOBS[tuple(job.outputs)][3]
                if not files or path == INFO:
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                    Path(path).write_text(f"{path}: one of {len(path)}\n")
                    continue
                with atomic_directory(path) as folder:
                    for name, text in files.items():
                        (folder / name).parent.mkdir(exist_ok=True)
                        (folder / name).write_text(text)
    return tmp_path


def edit(path: str, text: str) -> Callable[[], None]:
    return lambda: Path(path).write_text(text) and None


def reseal(artifact: str, **changed: object) -> None:
    """Edit a sidecar and make its own hash fit again."""
    record = {**read_json(sidecar_path(artifact)), **changed}
    write_json({**record, "record_sha256": sidecar_seal(record)}, sidecar_path(artifact))


def fit_sidecar(artifact: str) -> None:
    """Make a sidecar fit what is there now: the artifact, and all its inputs."""
    inputs = [
        {**i, "sha256": sha256_path(i["path"])} for i in read_json(sidecar_path(artifact))["inputs"]
    ]
    reseal(artifact, sha256=sha256_path(artifact), bytes=size_of(artifact), inputs=inputs)


def forge(path: str, *follow: str) -> Callable[[], None]:
    """Rewrite an artifact, and make its sidecar and those of what was made from it fit."""

    def do() -> None:
        Path(path).write_text("forged")
        for artifact in (path, *follow):
            fit_sidecar(artifact)

    return do


def swap(one: str, other: str) -> Callable[[], None]:
    def do() -> None:
        Path(one).rename("aside")
        Path(other).rename(one)
        Path("aside").rename(other)

    return do


def both(*steps: Callable[[], None]) -> Callable[[], None]:
    return lambda: [step() for step in steps] and None


def flip_quietly() -> None:
    """Change a chunk without its size or time stamp, so that no quick look shows it."""
    chunk = Path(STORE) / "c/0"
    stamp = chunk.stat()
    chunk.write_text("xyZ")
    os.utime(chunk, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def set_config(**values: object) -> Callable[[], None]:
    return edit("config.yaml", yaml.safe_dump({**CONFIG, **values}))


def touch_all() -> None:
    for path in Path("results").rglob("*"):
        os.utime(path, (1, 1))


def remove(*paths: str) -> Callable[[], None]:
    def do() -> None:
        for path in map(Path, paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def link_elsewhere() -> None:
    """Replace a table by a link to another one outside of the results."""
    Path("elsewhere.json").write_text("x")
    Path(TABLE).unlink()
    Path(TABLE).symlink_to(Path("elsewhere.json").absolute())


def sidecar(path: str) -> str:
    return f"{path}.prov.json"


NOTHING: set[tuple[str, str]] = set()
CHANGED_TABLE = {("changed", TABLE)} | {("input_changed", p) for p in (OTHER, FIGURE, PAGE)}
# What is done: how, what the sidecars alone show, and what the config shows beyond that. The hash
# of the whole shows all that changes an artifact or a sidecar.
WAYS: dict[str, tuple[Callable[[], None], set[tuple[str, str]], set[tuple[str, str]]]] = {
    "a table, figure or page is edited": (edit(TABLE, "forged"), CHANGED_TABLE, NOTHING),
    "a table is replaced by a link to another file": (link_elsewhere, CHANGED_TABLE, NOTHING),
    "an artifact is deleted": (
        remove(OTHER), {("missing", OTHER), ("input_missing", FIGURE)}, NOTHING,
    ),
    "a byte of a chunk in a store is changed, size and time stamp are not": (
        flip_quietly, {("changed", STORE), ("input_changed", TABLE)}, NOTHING,
    ),
    "a file is put into a store": (
        edit(f"{STORE}/c/2", "new"), {("changed", STORE), ("input_changed", TABLE)}, NOTHING,
    ),
    "a model's weights are replaced": (
        edit(f"{WEIGHTS}/model.safetensors", "21"),
        {("changed", WEIGHTS), ("input_changed", STORE)}, NOTHING,
    ),
    "a model's description is edited": (edit(INFO, "another model"), {("changed", INFO)}, NOTHING),
    "a fetched source is edited": (
        edit(f"{SOURCE}/text/a.txt", "abd"),
        {("changed", SOURCE), ("input_changed", STORE)}, NOTHING,
    ),
    "two artifacts change places": (
        swap(TABLE, OTHER),
        {("changed", TABLE), ("changed", OTHER), ("input_changed", OTHER),
         ("input_changed", FIGURE), ("input_changed", PAGE)}, NOTHING,
    ),
    "two artifacts change places with their sidecars": (
        both(swap(FIGURE, PAGE), swap(sidecar(FIGURE), sidecar(PAGE))),
        {("bad_sidecar", sidecar(FIGURE)), ("bad_sidecar", sidecar(PAGE)),
         ("input_changed", FIGURE)},
        {("outdated", FIGURE), ("outdated", PAGE)},
    ),
    "a sidecar is deleted": (remove(sidecar(OTHER)), {("unexplained", OTHER)}, NOTHING),
    "a sidecar is edited": (
        lambda: write_json({**read_json(sidecar(TABLE)), "git": {}}, sidecar(TABLE)),
        {("bad_sidecar", sidecar(TABLE))}, NOTHING,
    ),
    "a file is added to the results": (
        edit("results/probing/m/d/more.json", "x"),
        {("unexplained", "results/probing/m/d/more.json")}, NOTHING,
    ),
    "an input of the user's is edited": (
        edit("notes.txt", "other"), {("input_changed", STORE)}, NOTHING,
    ),
    "an input of the user's is deleted": (
        remove("notes.txt"), {("input_missing", STORE)}, NOTHING,
    ),
    "an artifact is forged and its sidecar made to fit, others were made from it": (
        forge(TABLE), {("input_changed", p) for p in (OTHER, FIGURE, PAGE)}, NOTHING,
    ),
    "a value of the config is edited": (set_config(seed=1), NOTHING, {("outdated", TABLE)}),
    "the pin of a source is edited": (
        set_config(pin="sha256:2"), NOTHING, {("outdated", SOURCE)},
    ),
    "something is taken out of the config": (
        set_config(figures=False), NOTHING, {("orphaned", FIGURE)},
    ),
    "the code is edited": (
        edit("code.py", "12"), NOTHING, {("outdated", o) for outputs in JOBS for o in outputs},
    ),
    "config, code or inputs in a sidecar are edited and the sidecar is sealed again": (
        lambda: reseal(TABLE, config={"seed": 7}), NOTHING, {("outdated", TABLE)},
    ),
    "an artifact of which nothing was made is deleted with its sidecar": (
        remove(PAGE, sidecar(PAGE)), NOTHING, {("unmade", PAGE)},
    ),
    "commit, versions or machine in a sidecar are edited and the sidecar is sealed again": (
        lambda: reseal(TABLE, git={"commit": "0" * 40, "dirty": False}), NOTHING, NOTHING,
    ),
    "an artifact of which nothing was made is forged and its sidecar made to fit": (
        forge(PAGE), NOTHING, NOTHING,
    ),
    "an artifact is deleted, its sidecar says that it was temporary and is sealed again": (
        both(remove(OTHER), lambda: reseal(OTHER, temporary=True)), NOTHING, NOTHING,
    ),
    "an artifact is forged, and all sidecars that name it are made to fit": (
        forge(TABLE, OTHER, FIGURE, PAGE), NOTHING, NOTHING,
    ),
    "time stamps are changed": (touch_all, NOTHING, NOTHING),
    "a hidden file or a log is added": (edit("results/.hidden", "x"), NOTHING, NOTHING),
}  # fmt: skip
# These change no artifact and no sidecar, so that no hash of the whole can show them.
NOT_OF_THE_WHOLE = {
    "a file is added to the results", "an input of the user's is edited",
    "an input of the user's is deleted", "a value of the config is edited",
    "the pin of a source is edited", "something is taken out of the config",
    "the code is edited", "time stamps are changed", "a hidden file or a log is added",
}  # fmt: skip


def found(report: module.AuditReport) -> set[tuple[str, str]]:
    return {(f.kind, f.path) for f in report.findings}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_audit_finds(tree: Path, way: str, monkeypatch):
    monkeypatch.setattr(module, "read_plan", lambda root, base, files: planned(tree))
    before = audit("results", root=tree)
    assert before.ok
    do, by_sidecars, by_config = WAYS[way]
    do()
    assert found(audit("results")) == by_sidecars
    assert found(audit("results", root=tree)) == by_sidecars | by_config
    whole = {("unexpected", "results")} if way not in NOT_OF_THE_WHOLE else set()
    assert found(audit("results", expect=before.seal)) == by_sidecars | whole


def test_quick_look_at_a_store_is_fooled_by_a_quiet_change_and_the_audit_is_not(tree: Path):
    flip_quietly()
    assert known_sha256(STORE) == read_json(sidecar_path(STORE))["sha256"] != sha256_path(STORE)
    assert ("changed", STORE) in found(audit("results"))


def test_table_of_the_documentation():
    text = (ROOT / "docs" / "provenance.md").read_text()
    rows = dict(re.findall(r"^\| (an? .*?|two .*?|the .*?|time .*?|some.*?|config.*?|commit.*?) "
                           r"\| ([^|\n]+ \| [^|\n]+ \| [^|\n]+) \|$", text, re.M))  # fmt: skip
    expected = {}
    for way, (_, by_sidecars, by_config) in WAYS.items():
        kinds = [", ".join(f"`{k}`" for k in module.FIXES if k in {kind for kind, _ in found_})
                 for found_ in (by_sidecars, by_sidecars | by_config)]  # fmt: skip
        whole = "no" if way in NOT_OF_THE_WHOLE else "yes"
        expected[way] = " | ".join([*(k or "no" for k in kinds), whole])
    assert rows == expected
