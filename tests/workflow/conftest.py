"""Projects that several modules of these tests plan in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workflow.full_project import TARGETS, copy_project, make_full_project
from tests.workflow.planner import PlannedJob
from tests.workflow.projects import Project


@pytest.fixture(scope="session")
def projects(tmp_path_factory) -> Iterator[list[Project]]:
    """A project with every rule, and a copy of it, so that two plans can be made at a time."""
    folder = tmp_path_factory.mktemp("generated")
    first = make_full_project(folder / "a")
    second = copy_project(first, folder / "b")
    planners = [first.planner, second.start_planner()]
    yield [first, second]
    for planner in planners:
        planner.close()


@pytest.fixture(scope="session")
def all_jobs(projects: list[Project]) -> set[PlannedJob]:
    """All jobs of the project with every rule."""
    return projects[0].jobs(*TARGETS, "--forceall")
