"""For every module and every section of the config: exactly its jobs and what follows from them.

What is expected is not listed by hand. Which scripts run a module says the standard library's
`modulefinder`; what follows from a job, the paths that jobs read and make.
"""

from __future__ import annotations

import ast
import modulefinder
import shutil
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from artneuro.provenance.code import code_hashes
from tests.workflow.full_project import TARGETS, check, following, plan_all
from tests.workflow.projects import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*/*.py"))
MODULES = sorted((ROOT / "src" / "artneuro").rglob("*.py"))
CHANGE = "\n_CHANGED = 1\n"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- which scripts run a module, by modulefinder -------------------------------------------------


class _WithoutTypeChecking(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> Any:
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return node.orelse or ast.Pass()
        return self.generic_visit(node)


class _Finder(modulefinder.ModuleFinder):
    """A finder that compiles each module once, without what is for type checkers alone."""

    compiled: dict[str, types.CodeType] = {}  # noqa: RUF012

    def load_module(self, fqname, fp, pathname, file_info):
        if file_info[2] != modulefinder._PY_SOURCE:
            return super().load_module(fqname, fp, pathname, file_info)
        if pathname not in self.compiled:
            tree = _WithoutTypeChecking().visit(ast.parse(fp.read()))
            self.compiled[pathname] = compile(ast.fix_missing_locations(tree), pathname, "exec")
        module = self.add_module(fqname)
        module.__file__ = pathname
        module.__code__ = self.compiled[pathname]
        self.scan_code(module.__code__, module)
        return module


def run_modules(script: Path) -> set[str]:
    finder = _Finder(path=[str(ROOT / "src")])
    finder.run_script(str(script))
    return {name for name in finder.modules if name.split(".")[0] == "artneuro"}


@pytest.fixture(scope="module")
def scripts_of() -> dict[str, frozenset[str]]:
    """The rules whose scripts run each module of the package."""
    found: dict[str, set[str]] = {module_name(path): set() for path in MODULES}
    for script in SCRIPTS:
        for module in run_modules(script):
            found[module].add(script.stem)
    return {module: frozenset(rules) for module, rules in found.items()}


def test_hashes_are_of_the_modules_that_modulefinder_finds(scripts_of):
    hashed = {script.stem: code_hashes(script, ROOT) for script in SCRIPTS}
    for module, rules in scripts_of.items():
        assert {rule for rule, code in hashed.items() if module in code} == rules, module


def test_an_edit_changes_the_hash_of_its_module_alone(tmp_path: Path, scripts_of):
    """Every module by itself, in one script that runs it."""
    for folder in ("src", "workflow"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    scripts = {script.stem: tmp_path / script.relative_to(ROOT) for script in SCRIPTS}
    n = 0
    for path in MODULES:
        if rules := scripts_of[module := module_name(path)]:
            script = scripts[min(rules)]
            before = code_hashes(script, tmp_path)
            copied = tmp_path / path.relative_to(ROOT)
            text = copied.read_text()
            copied.write_text(text + CHANGE)
            after = code_hashes(script, tmp_path)
            assert {k for k in before | after if before.get(k) != after.get(k)} == {module}
            copied.write_text(text)
            n += 1
    assert n > 300


# --- plans ---------------------------------------------------------------------------------------


def test_the_project_has_every_rule_and_plans_nothing(projects, all_jobs):
    rules = {script.stem for script in SCRIPTS}
    assert {job.rule for job in all_jobs} == rules
    for project in projects:
        assert project.jobs(*TARGETS) == set()


def test_each_module(projects, all_jobs, scripts_of):
    """Modules that the same scripts run are edited together: an edit of each is tested above."""
    classes = defaultdict(list)
    for path in MODULES:
        classes[scripts_of[module_name(path)]].append(path)
    cases = {
        rules: {
            path.relative_to(ROOT).as_posix(): path.read_text() + CHANGE for path in classes[rules]
        }
        for rules in classes
    }
    planned = plan_all(projects, cases)
    for rules, paths in classes.items():
        expected = following(all_jobs, {job for job in all_jobs if job.rule in rules})
        check(planned[rules], expected, ", ".join(map(module_name, paths)))


def test_scripts_that_no_module_is_of_alone(projects, all_jobs, scripts_of):
    """The other scripts have a module that only they run, whose edit is planned above."""
    alone = {min(rules) for rules in scripts_of.values() if len(rules) == 1}
    cases = {
        script.stem: {script.relative_to(ROOT).as_posix(): script.read_text() + CHANGE}
        for script in SCRIPTS
        if script.stem not in alone
    }
    assert cases
    planned = plan_all(projects, cases)
    for rule in cases:
        first = {job for job in all_jobs if job.rule == rule}
        check(planned[rule], following(all_jobs, first), rule)
