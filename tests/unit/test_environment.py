"""The lock file, the conda environment and the page of dependencies agree with pyproject.toml."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DIRECT = [Requirement(r) for rs in (PROJECT["dependencies"], *EXTRAS.values()) for r in rs]
LOCK = (ROOT / "envs" / "requirements.lock").read_text()
PINS = dict(line.split("==") for line in LOCK.splitlines())


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "envs" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_every_line_of_the_lock_is_one_exact_version():
    for line in LOCK.splitlines():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*", line), line
        name, version = line.split("==")
        assert canonicalize_name(name) == name
        assert Version(version).local is None
    assert LOCK.splitlines() == sorted(LOCK.splitlines(), key=lambda line: line.split("==")[0])
    assert len(PINS) == len(LOCK.splitlines())


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_lock_has_every_direct_dependency(requirement: Requirement):
    version = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


def test_torch_is_the_tested_release():
    assert PINS["torch"] == "2.13.0"


def test_lock_does_not_pin_hardware():
    assert not [n for n in PINS if n.startswith(("nvidia", "cuda", "triton", "rocm"))]


def test_conda_environment_is_in_step():
    environment = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert pip == {"pip": LOCK.splitlines()}
    # Python of the environment is the oldest that the package supports, for which pip resolved.
    assert PROJECT["requires-python"] == ">=3.11"


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_page_of_dependencies_has_a_line(requirement: Requirement):
    page = (ROOT / "docs" / "dependencies.md").read_text()
    rows = [r for r in page.splitlines() if r.startswith(f"| {requirement.name} |")]
    assert len(rows) == 1
    purpose = rows[0].split("|")[2].strip()
    assert len(purpose) > 3


def test_page_of_dependencies_has_no_more(tool: ModuleType):
    page = (ROOT / "docs" / "dependencies.md").read_text()
    named = [r.split("|")[1].strip() for r in page.splitlines() if r.startswith("| ")]
    named = [n for n in named if n != "package"]
    assert sorted(named) == sorted(r.name for r in DIRECT)
    for extra in EXTRAS:
        assert f"## `{extra}`" in page


def test_what_a_report_of_pip_becomes(tool: ModuleType):
    def item(name: str, version: str) -> dict:
        return {"metadata": {"name": name, "version": version}}

    report = {
        "install": [
            item("torch", "2.13.0+cpu"),
            item("ArtNeuro", "0.1"),
            item("Zope.Interface__x", "1.0"),
            item("nvidia-cudnn-cu13", "9.1"),
            item("cuda-bindings", "13.0"),
            item("triton", "3.8.0"),
            item("abc", "1.0rc1"),
        ]
    }
    versions = tool.pinned(report, "artneuro")
    assert versions == {"abc": "1.0rc1", "torch": "2.13.0", "zope-interface-x": "1.0"}
    text = tool.lock_text(versions)
    assert text == "abc==1.0rc1\ntorch==2.13.0\nzope-interface-x==1.0\n"
    assert tool.read_lock("# note\n\n" + text) == versions
    environment = yaml.safe_load(tool.environment_text(versions, "artneuro"))
    assert environment["dependencies"][-1]["pip"] == text.splitlines()


def test_files_are_as_the_tool_writes_them(tool: ModuleType):
    versions = tool.read_lock(LOCK)
    assert tool.lock_text(versions) == LOCK
    written = (ROOT / "envs" / "environment.yaml").read_text()
    assert tool.environment_text(versions, PROJECT["name"]) == written
    assert tool.HELD.items() <= versions.items()
