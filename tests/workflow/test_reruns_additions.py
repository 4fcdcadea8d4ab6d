"""What one more of something makes run: its own jobs, and the tables and pages over all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml

from tests.workflow.full_project import TARGETS, Edited, check, following

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OVER_PROBES = {"collect_methods", "plot_methods", "build_methods_page", "build_scale_page",
               "build_report"}  # fmt: skip
OVER_A_GROUP = {"accumulate_correlations", "score_universality", "export_correlations",
                "name_universal_neurons", "trace_examples", "build_families_page",
                "build_universality_page"}  # fmt: skip


@dataclass(frozen=True)
class Addition:
    """One more of something: how the config changes, its name, and the rules over all of them."""

    name: str
    change: Callable[[dict[str, Any]], Any]
    over_all: set[str]


def add_model(config: dict[str, Any]) -> None:
    config["models"]["new"] = {"source": {"kind": "local", "path": "data/model"}}
    config["probing"]["models"].append("new")


def add_seed(config: dict[str, Any]) -> None:
    source = {"kind": "trained", "recipe": "toy", "seed": 2}
    config["models"]["new"] = {"source": source, "tokenizer": "toy-a"}
    config["universality"]["groups"]["toys"]["others"].append("new")


def add_system(config: dict[str, Any]) -> None:
    systems = config["dynamics"]["systems"]
    systems["new"] = dict(systems["hopf"])
    config["dynamics"]["recovery"]["systems"].append("new")


def add_copy(of: str, *section: str) -> Callable[[dict[str, Any]], None]:
    """A change that adds, under the name `new`, what is already there as `of`."""

    def change(config: dict[str, Any]) -> None:
        for key in section:
            config = config[key]
        config["new"] = copy.deepcopy(config[of])

    return change


ADDITIONS = {
    "a model": Addition(
        "new",
        add_model,
        OVER_PROBES | {"build_superposition_page", "build_context_page", "build_refinement_page"},
    ),
    "a seed": Addition("new", add_seed, OVER_A_GROUP),
    "a dataset": Addition("new", add_copy("second", "datasets"), OVER_PROBES),
    "a table of entities": Addition(
        "new", add_copy("works", "entities"), {"build_maps_page", "build_space_time_page"}
    ),
    "a prompt": Addition(
        "new",
        add_copy("where", "entities", "places", "prompts"),
        {"score_prompts", "build_space_time_page"},
    ),
    "a system": Addition("new", add_system, {"build_dynamics_page"}),
    "a system in context": Addition(
        "new", add_copy("map", "dynamics", "in_context", "systems"), {"build_in_context_page"}
    ),
    "a group": Addition(
        "new",
        add_copy("toys", "universality", "groups"),
        {"trace_examples", "build_families_page", "build_universality_page"},
    ),
    "a model whose neurons have roles": Addition(
        "toy-b",
        lambda config: config["interventions"]["entropy_neurons"]["models"].append("toy-b"),
        {"build_roles_page"},
    ),
}


@pytest.mark.parametrize("what", ADDITIONS)
def test_one_more(what: str, projects, all_jobs):
    addition, project = ADDITIONS[what], projects[0]
    config = copy.deepcopy(project.config())
    addition.change(config)
    with Edited(project, {"config.yaml": yaml.safe_dump(config, sort_keys=False)}):
        planned = project.jobs(*TARGETS)
        graph = project.jobs(*TARGETS, "--forceall")
    new = {job for job in graph - all_jobs if addition.name in job.wildcards}
    assert graph - all_jobs == new
    assert new
    assert new <= planned
    assert {job.rule for job in planned - new} == addition.over_all


@pytest.mark.parametrize(
    ("section", "key", "value", "first"),
    [
        # A feature is new in all that is made of its dataset, and in no other.
        (
            "datasets.words.collection",
            "words",
            ["let const", "class self"],
            ["build_tokens(*, words)"],
        ),
        ("activations", "layers", [0, 1, 2], ["dump_activations(*", "dump_share(*"]),
    ],
)
def test_one_more_in_what_is_there(section, key, value, first, projects, all_jobs):
    project = projects[0]
    config = copy.deepcopy(project.config())
    inner = config
    for name in section.split("."):
        inner = inner[name]
    inner[key] = value
    with Edited(project, {"config.yaml": yaml.safe_dump(config, sort_keys=False)}):
        planned = project.jobs(*TARGETS)
    concerned = {job for job in all_jobs if any(fnmatchcase(str(job), p) for p in first)}
    check(planned, following(all_jobs, concerned), key)


def test_one_less_makes_nothing_but_what_is_over_all(projects):
    project = projects[0]
    config = copy.deepcopy(project.config())
    del config["datasets"]["persons"]
    with Edited(project, {"config.yaml": yaml.safe_dump(config, sort_keys=False)}):
        assert {job.rule for job in project.jobs(*TARGETS)} == OVER_PROBES
