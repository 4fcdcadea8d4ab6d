"""A project that has every rule and was never computed: its results are empty and marked as made.

`snakemake --touch` records of each job what a run of it records (params, inputs, rule), and that is
all that a later plan compares; a test holds the records against those of a real run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from artneuro.activations.config import ActivationsConfig
from tests.workflow.planner import PlannedJob, in_parallel
from tests.workflow.projects import SOURCES, Project, make_project, read_sources, write_sources

# What `snakemake` makes, and what only the target of a stage does.
TARGETS = ("all", "universality")
WORDS = {"kind": "compound_words", "words": ["let const"], "sequences_per_word": 20}


def full_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of `make_project` with what it lacks of the rules, and a second probed model."""
    seconds = {"datasets": ["second"]}
    found = {
        **config,
        "models": {
            **config["models"],
            "packed": {"source": {"kind": "gguf", "source": "packed", "file": "model.gguf"}},
        },
        "people": {"persons": {"reader": "wordnet", "source": "packed"}},
        "dbpedia": {"songs": {"table": "works", "http": {"user_agent": "tests (a@b.example)"}}},
        "datasets": {
            **config["datasets"],
            "words": {"corpus": "first", "collection": WORDS, "n_ctx": 17},
            "persons": {
                "corpus": "first",
                "collection": {"kind": "people_occupation", "people": "persons"},
                "n_ctx": 33,
            },
        },
        "entities": {
            **config["entities"],
            "songs": {"target": "time", "parts": [{"reader": "dbpedia", "query": "songs"}]},
        },
        "probing": {
            **config["probing"],
            "models": ["tiny", "packed"],
            "comparison": {**seconds, "rankings": ["adaptive", "best_subset", "optimal"]},
            "sparsity": seconds,
            "enumeration": seconds,
            "superposition": {"datasets": ["words"], "background": ["first"], "neurons": 2},
            "refinement": seconds,
        },
        "universality": {**config["universality"], "store_matrix": True},
        "interventions": {**config["interventions"], "context_neurons": seconds},
    }
    if "jobs" in ActivationsConfig.model_fields:
        found["activations"] = {**config["activations"], "jobs": {"packed": 2}}
    return found


def make_full_project(root: Path) -> Project:
    """The project with all results marked as made, and a planner that the caller closes."""
    project = make_project(root)
    project.set_config(full_config(project.config()))
    sources = read_sources(root / SOURCES)
    # Never fetched: what is planned asks for no package.
    write_sources(root / SOURCES, {**sources, "other": sources["packed"]})
    project.start_planner()
    touch_results(project)
    return project


def touch_results(project: Project) -> None:
    """Make every output empty, and let Snakemake record it as made."""
    jobs = project.jobs(*TARGETS, "--forceall")
    for job in jobs:
        for output in job.outputs:
            path = project.root / output
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".zarr", ""):
                path.mkdir()
            else:
                path.touch()
    project.snakemake(*TARGETS, "--touch", "--forceall", "--quiet")
    # A run removes these when the store is merged.
    for folder in project.root.glob("results/activations/*/*/shares"):
        shutil.rmtree(folder)


def copy_project(project: Project, root: Path) -> Project:
    """The same project in another folder, with all time stamps."""
    shutil.copytree(project.root, root, symlinks=True)
    return Project(root)


def records(project: Project) -> dict[str, dict[str, Any]]:
    """What Snakemake has recorded of each output and compares in a plan."""
    compared = ("rule", "input", "params", "record_format_version", "incomplete")
    found = {}
    for path in (project.root / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            found[path.name] = {key: record.get(key) for key in compared}
    return found


class Edited:
    """Files of a project with other texts, put back with their time stamps at the end."""

    def __init__(self, project: Project, texts: dict[str, str]) -> None:
        self.project, self.texts = project, texts
        self._saved: dict[Path, tuple[bytes, os.stat_result] | None] = {}

    def __enter__(self) -> Project:
        for name, text in self.texts.items():
            path = self.project.root / name
            self._saved[path] = (path.read_bytes(), path.stat()) if path.exists() else None
            path.write_text(text)
        return self.project

    def __exit__(self, *error: object) -> None:
        for path, saved in self._saved.items():
            if saved is None:
                path.unlink()
            else:
                path.write_bytes(saved[0])
                os.utime(path, ns=(saved[1].st_atime_ns, saved[1].st_mtime_ns))


def following(jobs: Iterable[PlannedJob], first: set[PlannedJob]) -> set[PlannedJob]:
    """Some jobs and all that read what they make, directly or not.

    Shares of a store are gone once it is merged, so whoever merges again needs them made again.
    """
    readers = defaultdict(set)
    for job in jobs:
        for path in job.inputs:
            readers[path].add(job)
    first = first | {
        job for job in jobs for path in job.outputs if "/shares/" in path and readers[path] & first
    }
    found, waiting = set(first), list(first)
    while waiting:
        for path in waiting.pop().outputs:
            new = readers[path] - found
            found |= new
            waiting += new
    return found


def plan_all(projects: list[Project], cases: dict[Any, dict[str, str]]) -> dict[Any, Any]:
    """The planned jobs, or an error, of each case: texts of files that are written for it."""
    by_planner = {project.planner: project for project in projects}

    def plan(planner: Any, case: Any) -> set[PlannedJob]:
        project = by_planner[planner]
        with Edited(project, cases[case]):
            return project.jobs(*TARGETS)

    return in_parallel(by_planner, list(cases), plan)


def names(jobs: Iterable[PlannedJob]) -> list[str]:
    """Jobs as they are told, sorted."""
    return sorted(map(str, jobs))


def check(planned: Any, expected: set[PlannedJob], case: str) -> None:
    """Assert that a plan is exactly what is expected; `planned` may be an error."""
    if isinstance(planned, Exception):
        raise planned
    wrong = {"not planned": names(expected - planned), "planned too": names(planned - expected)}
    assert not any(wrong.values()), f"{case}: {wrong}"
