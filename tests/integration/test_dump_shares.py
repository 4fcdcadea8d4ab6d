"""Dumps in shares through Snakemake: the same bytes, what reruns, and what an audit says of it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from artneuro.core.artifacts import read_json
from artneuro.core.hashing import sha256_path
from artneuro.provenance.audit import audit
from artneuro.provenance.code import code_hashes
from artneuro.provenance.trace import trace
from tests.tiny_models import make_model

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

WORDS = {"JavaScript": "function const let", "Python": "def lambda yield", "Go": "func chan defer"}
DUMP = Path("results/activations/tiny/d")
TARGETS = [str(DUMP / "activations.zarr"), str(DUMP / "rows.parquet")]


def set_jobs(folder: Path, jobs, **compute) -> None:
    parts = [
        {"reader": "files", "subset": "code", "language": name, "path": "data/files",
         "files": [f"*{name}/*"]}
        for name in WORDS
    ]  # fmt: skip
    config = {
        "models": {
            "tiny": {"source": {"kind": "local", "path": "data/model"}, "gpus": 2},
        },
        "corpora": {"c": {"parts": parts}},
        "datasets": {
            "d": {
                "corpus": "c",
                "collection": {
                    "kind": "code_language", "sequences_per_class": 20, "skip_tokens": 3,
                },
                "n_ctx": 17,
            },
        },
        "activations": {"batch_tokens": 100, "jobs": jobs},
        "compute": {"device": "cpu", **compute},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def command(*arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--cores", "2", "-s", str(ROOT / "Snakefile")),
        *(*arguments, "--configfile", "config.yaml", "--", *TARGETS),
    ]


def snakemake(folder: Path, *arguments: str) -> str:
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-6000:]
    return printed


def plan(folder: Path) -> dict[str, int]:
    printed = snakemake(folder, "--dry-run")
    found = re.findall(r"^(\w+) +(\d+)$", printed.split("Job stats:")[-1], re.MULTILINE)
    assert found or "Nothing to be done" in printed
    return {rule: int(n) for rule, n in found if rule != "total"}


def hashes(folder: Path) -> list[str]:
    return [sha256_path(folder / target) for target in TARGETS]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A dump by one job."""
    folder = tmp_path_factory.mktemp("shares") / "one"
    make_model("gpt2", folder / "data" / "model")
    generator = random.Random(1)
    for language, words in WORDS.items():
        (folder / "data" / "files" / language).mkdir(parents=True)
        for i in range(24):
            text = " ".join(generator.choice(words.split()) for _ in range(90))
            (folder / "data" / "files" / language / f"{i}.txt").write_text(f"{text} {i}\n")
    set_jobs(folder, 1)
    snakemake(folder)
    assert plan(folder) == {}
    assert not (folder / DUMP / "shares").exists()
    return folder


@pytest.fixture(scope="module")
def many(one) -> Path:
    """The same by three jobs, killed once the first of them was done, and run again."""
    folder = one.with_name("many")
    shutil.copytree(one, folder, symlinks=True)
    set_jobs(folder, {"tiny": 3})
    assert plan(folder) == {"dump_share": 3, "merge_shares": 1}
    run = subprocess.Popen(
        command("--nolock"),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("1 of 4 steps"):
            break
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    run.stderr.close()
    left = plan(folder)
    assert left.pop("merge_shares") == 1
    assert left.get("dump_share", 0) < 3
    snakemake(folder)
    return folder


def test_three_jobs_and_a_kill_make_the_bytes_of_one_job(one, many):
    assert hashes(many) == hashes(one)
    assert plan(many) == {}
    # The shares are gone, and what they say of themselves has stayed.
    kept = sorted(path.name for path in (many / DUMP / "shares").iterdir())
    assert kept == ["0.prov.json", "1.prov.json", "2.prov.json"]
    rows = [read_json(many / DUMP / "shares" / name)["n_rows"] for name in kept]
    assert min(rows) > 0
    assert sum(rows) == read_json(many / f"{TARGETS[0]}.prov.json")["n_rows"]


def test_the_audit_and_the_trace_go_through_the_shares(many):
    assert audit(many / "results").findings == []
    config = many / "config.yaml"
    asked = audit(many / "results", root=ROOT, configfiles=[config])
    # Only the dump was made of all that the config asks for.
    assert {f.kind for f in asked.findings} == {"unmade"}
    assert not [f for f in asked.findings if "activations" in f.path]
    found = trace(many / TARGETS[0])
    assert found.ok
    shown = {artifact.shown for artifact in found.artifacts.values()}
    assert {str(DUMP / "shares" / "1"), "results/models/tiny/weights"} <= shown
    assert any(path.startswith("data/files/Go/") for path in shown)


def test_what_a_change_makes_run_again(one, many):
    again = {"dump_share": 3, "merge_shares": 1}
    set_jobs(many, 3)
    assert plan(many) == {}  # the same number for all models
    for jobs, expected in ((2, {**again, "dump_share": 2}), (1, {"dump_activations": 1})):
        set_jobs(many, jobs)
        assert plan(many) == expected
    set_jobs(many, 3)
    store = many / TARGETS[0]
    store.rename(many / "away")
    assert plan(many) == again
    (many / "away").rename(store)
    file = next((many / "data" / "files" / "Go").iterdir())
    before = file.read_text(), file.stat()
    file.write_text(before[0] + "more\n")
    earlier = {"read_documents": 1, "build_tokens": 1, "label_features": 1}
    assert plan(many) == earlier | again
    file.write_text(before[0])
    os.utime(file, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert plan(many) == {}


def test_a_change_of_code_is_noticed_by_both_kinds_of_jobs():
    def modules(script: str) -> set[str]:
        found = code_hashes(ROOT / "workflow" / "scripts" / "activations" / script, ROOT)
        return {name for name in found if name.startswith("artneuro.")}

    one_job = modules("dump_activations.py")
    assert "artneuro.activations.extract" in one_job
    for script in ("dump_share.py", "merge_shares.py"):
        assert modules(script) == one_job | {"artneuro.activations.shares"}


LIST = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from workflow.planned_jobs import planned
with planned([Path("config.yaml")]) as dag:
    print(json.dumps([[j.rule.name, j.resources.get("gpu", 0)] for j in dag.jobs]))
"""


def test_each_job_of_a_share_asks_for_the_gpus_of_its_model(one):
    folder = one.with_name("plan")
    shutil.copytree(one / "data", folder / "data")
    for device, gpus in (("cuda", 2), ("cpu", 0)):
        set_jobs(folder, 3, device=device)
        done = subprocess.run(
            [sys.executable, "-c", LIST.format(root=str(ROOT))],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        asked = json.loads(done.stdout.splitlines()[-1])
        assert [n for rule, n in asked if rule == "dump_share"] == [gpus] * 3
        assert [n for rule, n in asked if rule == "merge_shares"] == [0]
