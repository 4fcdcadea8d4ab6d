"""A real run, audited against its config, shown in Snakemake's report, and exported and validated.

A random GPT-2 reads generated files; the Snakefile, the audit, Snakemake's report and the validator
of RO-Crates are the real ones. The validator needs no network: its cache is filled by the test.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from artneuro.core.artifacts import read_json
from tests.crate_validator import validate
from tests.tiny_models import make_model

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

COPIED = (
    "Snakefile", "workflow", "src", "profiles", "envs", "resources/sources.yaml", "CITATION.cff",
    "LICENSE", "README.md", "pyproject.toml",
)  # fmt: skip
WORDS = {
    "JavaScript": ["function", "const", "let", "return", "await", "exports", "null", "typeof"],
    "Python": ["def", "return", "lambda", "import", "yield", "None", "class", "self"],
}
FILES = {"reader": "files", "path": "data/files", "subset": "code"}
CONFIG = {
    "models": {"tiny": {"source": {"kind": "local", "path": "data/model"}}},
    "corpora": {
        "code": {"parts": [{**FILES, "language": n, "files": [f"*{n}/*"]} for n in WORDS]},
    },
    "datasets": {
        "languages": {
            "corpus": "code", "n_ctx": 17,
            "collection": {"kind": "code_language", "sequences_per_class": 10, "skip_tokens": 3},
        },
    },
    "activations": {"layers": [0, 1]},
    "probing": {"rankings": ["mean_difference", "random"], "max_k": 2, "prefilter": 32},
    "compute": {"device": "cpu", "dask": {"workers": 1}},
}  # fmt: skip
FIGURE = "results/report/tiny/languages/f1_by_layer.svg"


class Project:
    """A copy of the checkout in which a small config was run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, status: int = 0) -> str:
        """What a module of this copy prints, with its errors."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST"))},
            "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1",
            "XDG_CACHE_HOME": str(self.root / ".cache"), "PYTHONPATH": str(self.root / "src"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        printed = done.stdout + done.stderr
        assert done.returncode == status, printed[-6000:]
        return printed

    def snakemake(self, *arguments: str) -> str:
        """A run of Snakemake."""
        return self.run("snakemake", "--cores", "2", "--configfile", "mine.yaml", *arguments)

    def audit(self, status: int = 1) -> Counter[str]:
        """Findings of the audit by kind; it compares with the config that sidecars name."""
        report = json.loads(self.run("artneuro.cli", "audit", "results", "--json", status=status))
        assert report["planned"] is not None
        return Counter(f["kind"] for f in report["findings"])

    def sidecars(self) -> dict[str, dict]:
        """All sidecars by their artifacts."""
        found = [read_json(p) for p in (self.root / "results").rglob("*.prov.json")]
        return {r["artifact"]: r for r in found}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("run") / "project"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, root / name)
    model = make_model("gpt2", root / "data" / "model")
    (model / "README.md").write_text("---\nlicense: cc-by-4.0\n---\nRandom numbers.\n")
    generator = random.Random(1)
    for language, words in WORDS.items():
        folder = root / "data" / "files" / language
        folder.mkdir(parents=True)
        for i in range(24):
            text = " ".join(generator.choice(words) for _ in range(90))
            (folder / f"{i}.txt").write_text(f"{text} {i}\n")
    (root / "mine.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    project = Project(root)
    project.snakemake()
    return project


@pytest.fixture
def edited(project: Project) -> Iterator[Project]:
    """The project, whose config and code are put back after the test."""
    paths = [project.root / "mine.yaml", project.root / "src" / "artneuro" / "probing" / "fit.py"]
    before = [p.read_bytes() for p in paths]
    yield project
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)


def test_results_of_a_run_fit_its_config(project: Project) -> None:
    assert project.audit(status=0) == {}
    sidecars = project.sidecars()
    assert {tuple(r["configfiles"]) for r in sidecars.values()} == {("mine.yaml",)}
    assert read_json(project.root / "results/models/tiny/model.json")["licence"] == "CC-BY-4.0"
    traced = project.run("artneuro.cli", "trace", FIGURE)
    assert "licence CC-BY-4.0" in traced
    assert traced.rstrip().endswith("everything is there, unchanged and explained")


def test_audit_names_what_an_edit_of_the_config_makes_wrong(edited: Project) -> None:
    def config(change) -> None:
        new = json.loads(json.dumps(CONFIG))
        change(new)
        (edited.root / "mine.yaml").write_text(yaml.safe_dump(new))

    config(lambda c: c["probing"].update(max_k=1))
    of_probes = sum(r["rule"] == "fit_probes" for r in edited.sidecars().values())
    assert edited.audit()["outdated"] >= of_probes > 0

    # Another dataset is asked for: what there is still fits, but it is not all.
    config(lambda c: c["datasets"].update(more=c["datasets"]["languages"]))
    found = edited.audit()
    assert found["unmade"] > 5
    assert found["orphaned"] == 0

    # The only dataset has another name now: nothing asks for what was made of the old one.
    config(lambda c: c.update(datasets={"others": c["datasets"]["languages"]}))
    found = edited.audit()
    named = [a for a in edited.sidecars() if "/languages/" in a]
    assert found["orphaned"] == len(named) > 5


def test_audit_names_the_module_that_was_edited(edited: Project) -> None:
    module = edited.root / "src" / "artneuro" / "probing" / "fit.py"
    text = module.read_text()
    module.write_text(text + "\n# A comment changes no result.\n")
    assert edited.audit(status=0) == {}
    module.write_text(text + "\nEDITED = 1\n")
    found = json.loads(edited.run("artneuro.cli", "audit", "results", "--json", status=1))
    told = {f["path"]: f["detail"] for f in found["findings"] if f["kind"] == "outdated"}
    assert "code artneuro.probing.fit" in told["results/probing/tiny/languages/scores.parquet"]
    assert not [p for p in told if p.startswith(("results/datasets", "results/activations"))]


def test_config_that_cannot_be_planned_with_is_an_error(edited: Project) -> None:
    (edited.root / "mine.yaml").write_text("modles: {}\n")
    printed = edited.run("artneuro.cli", "audit", "results", status=2)
    assert "modles" in printed
    assert "Traceback" not in printed
    (edited.root / "mine.yaml").unlink()
    assert "--no-plan" in edited.run("artneuro.cli", "audit", "results", status=2)
    edited.run("artneuro.cli", "audit", "results", "--no-plan")


def test_plan_holds_every_job_and_changes_nothing(project: Project) -> None:
    def state() -> dict[Path, int]:
        files = [p for p in project.root.rglob("*") if p.is_file() and ".snakemake" not in p.parts]
        return {p: p.stat().st_mtime_ns for p in files if "__pycache__" not in p.parts}

    before = state()
    jobs = json.loads(project.run("workflow.planned_jobs", "mine.yaml"))
    assert state() == before
    wanted = [job for job in jobs if job["wanted"]]
    assert {o for job in wanted for o in job["outputs"]} == set(project.sidecars())
    # Other targets ask for more.
    assert {job["rule"] for job in jobs if not job["wanted"]} == {"summarise_weights"}
    printed = project.snakemake("--dry-run", "--forceall")
    (total,) = set(re.findall(r"^total +(\d+)$", printed, re.MULTILINE))
    assert len(wanted) + len(["all"]) == int(total)


def test_report_of_snakemake_shows_the_recorded_hashes(project: Project) -> None:
    project.snakemake("--report", "report.html")
    page = (project.root / "report.html").read_text()
    figures = {a: r for a, r in project.sidecars().items() if a.endswith((".svg", ".html"))}
    assert FIGURE in figures
    assert len(figures) > 4
    for record in figures.values():
        assert record["sha256"][:16] in page
    assert f"{project.sidecars()[FIGURE]['sha256'][:16]}" in page


def test_crate_of_a_run_is_valid(project: Project, tmp_path: Path) -> None:
    crate = project.root / "crate"
    printed = project.run(
        "artneuro.cli", "crate", "results", "--out", "crate", "--author", "A. Person",
        "--orcid", "https://orcid.org/0000-0002-1825-0097", "--licence", "CC-BY-4.0",
        "--affiliation", "A Lab",
    )  # fmt: skip
    assert f"{len({r['started'] for r in project.sidecars().values()})} jobs" in printed
    found = validate(crate, tmp_path)
    assert found["passed"]
    assert not found["issues"]
    assert found["statistics"]["total_checks"] > 80
    assert not found["statistics"]["total_skipped_checks"]
    profiles = {p.rsplit("-", 1)[0] for p in found["statistics"]["profiles"]}
    assert profiles == {
        "ro-crate", "process-run-crate", "workflow-run-crate", "provenance-run-crate",
        "workflow-ro-crate",
    }  # fmt: skip

    # What is only recommended: scripts in the crate have no address, and the lab has none.
    found = validate(crate, tmp_path, "recommended")
    missing = {i["message"] for i in found["issues"]}
    assert missing <= {
        "The SoftwareApplication id SHOULD be an absolute URI",
        "The Application SHOULD have a url",
        "The organization SHOULD have a URL.",
    }

    # A validator that finds nothing would find nothing here either.
    path = crate / "ro-crate-metadata.json"
    whole = json.loads(path.read_text())
    for entity in whole["@graph"]:
        if entity["@type"] == "ControlAction":
            del entity["object"]
    path.write_text(json.dumps(whole))
    (crate / FIGURE).unlink()
    broken = validate(crate, tmp_path)
    assert not broken["passed"]
    messages = " ".join(i["message"] for i in broken["issues"])
    assert "ControlAction must reference the action" in messages
    assert FIGURE in messages
