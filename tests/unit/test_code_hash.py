"""Hashes of code: what changes them, what does not, and which modules count."""

from __future__ import annotations

import ast
import modulefinder
import os
import shutil
import time
from pathlib import Path

import pytest

from artneuro.core.errors import CodeError
from artneuro.provenance import code
from artneuro.provenance.code import code_hashes

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "workflow/scripts/probing/fit.py"

FILES = {
    SCRIPT: "from artneuro.probing.fit import fit\n\nfit(1)\n",
    "src/artneuro/__init__.py": '"""Top."""\n',
    "src/artneuro/core/__init__.py": '"""Core."""\n',
    "src/artneuro/core/maths.py": (
        '"""Maths."""\n\nFACTOR = 3\n\n\ndef scale(x):\n    """Scale."""\n    return x * FACTOR\n'
    ),
    "src/artneuro/core/unused.py": "UNUSED = 1\n",
    "src/artneuro/probing/__init__.py": '"""Probing."""\n',
    "src/artneuro/probing/fit.py": (
        '"""Fit."""\n\nfrom __future__ import annotations\n\n'
        "from typing import TYPE_CHECKING\n\n"
        "import numpy as np\n\n"
        "from ..core import maths as m\n"
        "from .config import Settings\n\n"
        "if TYPE_CHECKING:\n    from artneuro.core.unused import UNUSED\n\n\n"
        "def fit(x):\n"
        '    """Fit it.\n\n    At length.\n    """\n'
        "    from artneuro.probing.late import late  # only when called\n\n"
        "    return late(m.scale(np.float64(x)), Settings)\n"
    ),
    "src/artneuro/probing/config.py": "class Settings:\n    depth = 2\n",
    "src/artneuro/probing/late.py": "def late(x, s):\n    return x + s.depth\n",
    "src/artneuro/report/__init__.py": "",
    "src/artneuro/report/page.py": "TEMPLATE = 'page.html'\n",
    "src/artneuro/report/page.html": "<p>",
    "src/artneuro/report/styles/page.css": "p {}",
    "src/artneuro/report/deep/__init__.py": "",
    "src/artneuro/report/deep/other.js": "1",
}
CLOSURE = {
    SCRIPT,
    "artneuro",
    "artneuro.core",
    "artneuro.core.maths",
    "artneuro.probing",
    "artneuro.probing.config",
    "artneuro.probing.fit",
    "artneuro.probing.late",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small workflow: a script, a package, and modules that the script does not reach."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def write(path: Path, text: str) -> None:
    """Write a file so that its time stamp is new even within the resolution of the clock."""
    path.write_text(text)
    later = time.time_ns() + 5_000_000_000
    os.utime(path, ns=(later, later))


def edit(project: Path, name: str, old: str, new: str) -> None:
    path = project / name
    text = path.read_text()
    assert old in text
    write(path, text.replace(old, new))


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {key for key in before | after if before.get(key) != after.get(key)}


def test_closure_is_what_the_script_reaches(project: Path):
    assert set(code_hashes(SCRIPT, project)) == CLOSURE


def test_closure_agrees_with_the_import_scanner_of_the_standard_library(project: Path):
    # TYPE_CHECKING imports are the one difference: the scanner reads bytecode and sees them.
    edit(project, "src/artneuro/probing/fit.py", "if TYPE_CHECKING:", "if not TYPE_CHECKING:")
    finder = modulefinder.ModuleFinder(path=[str(project / "src")])
    finder.run_script(str(project / SCRIPT))
    scanned = {name for name in finder.modules if name.split(".")[0] == "artneuro"}
    assert set(code_hashes(SCRIPT, project)) - {SCRIPT} == scanned
    assert "artneuro.core.unused" in scanned


SCRIPTS = sorted(p.relative_to(ROOT) for p in (ROOT / "workflow/scripts").glob("*/*.py"))


@pytest.fixture(scope="module")
def sources_as_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's sources without what is imported for type checkers alone.

    The scanner reads bytecode, from which the compiler leaves out `if False:`.
    """
    copy = tmp_path_factory.mktemp("src") / "src"
    shutil.copytree(ROOT / "src" / "artneuro", copy / "artneuro")
    for path in copy.rglob("*.py"):
        path.write_text(path.read_text().replace("if TYPE_CHECKING:", "if False:"))
    return copy


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_real_closures_agree_with_the_import_scanner(script: Path, sources_as_run: Path):
    finder = modulefinder.ModuleFinder(path=[str(sources_as_run)])
    finder.run_script(str(ROOT / script))
    scanned = {name for name in finder.modules if name.split(".")[0] == "artneuro"}
    assert {name for name in code_hashes(script, ROOT) if "/" not in name} == scanned


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR = 3  # three"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", "# note\n\n\nFACTOR   =   3"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", 'FACTOR = 3\n"""What it is."""'),
        ("src/artneuro/core/maths.py", "x * FACTOR", "(x\n        * FACTOR)"),
        ("src/artneuro/core/maths.py", '"""Scale."""', '"""Scale by three."""'),
        ("src/artneuro/core/maths.py", '    """Scale."""\n', ""),
        ("src/artneuro/core/maths.py", '"""Maths."""\n', ""),
        ("src/artneuro/probing/fit.py", "At length.", "In full."),
        ("src/artneuro/probing/fit.py", "import UNUSED", "import UNUSED, MORE"),
        (
            "src/artneuro/probing/config.py",
            "class Settings:",
            'class Settings:\n    "Doc."\n    pass',
        ),
        ("src/artneuro/probing/config.py", "    depth", "\tdepth"),
        ("src/artneuro/__init__.py", "Top", "The top"),
        (SCRIPT, "fit(1)", "fit( 1 )  # go"),
        ("src/artneuro/core/unused.py", "1", "2"),
        ("src/artneuro/report/page.html", "<p>", "<b>"),
    ],
)
def test_no_change(project: Path, name: str, old: str, new: str):
    before = code_hashes(SCRIPT, project)
    edit(project, name, old, new)
    assert code_hashes(SCRIPT, project) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "module"),
    [
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR = 4", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR = 3.0", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR = '3'", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR = True", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "x * FACTOR", "FACTOR * x", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "x * FACTOR", "x + FACTOR", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "(x)", "(x=0)", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "(x)", "(x, /)", "artneuro.core.maths"),
        ("src/artneuro/core/maths.py", "FACTOR = 3", "FACTOR: int = 3", "artneuro.core.maths"),
        ("src/artneuro/probing/config.py", "depth = 2", "depth = 3", "artneuro.probing.config"),
        ("src/artneuro/probing/late.py", "x + s", "x - s", "artneuro.probing.late"),
        ("src/artneuro/__init__.py", '"""Top."""', "X = 1", "artneuro"),
        (SCRIPT, "fit(1)", "fit(2)", SCRIPT),
    ],
)
def test_one_module_changes(project: Path, name: str, old: str, new: str, module: str):
    before = code_hashes(SCRIPT, project)
    edit(project, name, old, new)
    assert changed(before, code_hashes(SCRIPT, project)) == {module}


def test_another_name_for_an_import_reaches_the_same_modules(project: Path):
    before = code_hashes(SCRIPT, project)
    edit(project, "src/artneuro/probing/fit.py", "maths as m", "maths as mathematics")
    edit(project, "src/artneuro/probing/fit.py", "m.scale", "mathematics.scale")
    after = code_hashes(SCRIPT, project)
    assert after.keys() == before.keys()
    # Names are kept in the hash: to rerun for a new alias is the safe side.
    assert changed(before, after) == {"artneuro.probing.fit"}


@pytest.mark.parametrize(
    "statement",
    [
        "import artneuro.core.unused",
        "import artneuro.core.unused as u",
        "import os, artneuro.core.unused",
        "from artneuro.core import unused",
        "from artneuro.core import maths, unused as u",
        "from artneuro.core.unused import UNUSED",
        "from artneuro.core.unused import *",
        "from artneuro.core import *",
        "try:\n    import artneuro.core.unused\nexcept ImportError:\n    unused = None",
        "def f():\n    def g():\n        from artneuro.core import unused",
        "class A:\n    from artneuro.core import unused",
        "import typing\nif typing.TYPE_CHECKING:\n    x = 1\nelse:\n    import artneuro.core.unused",  # noqa: E501
        "with open('x') as f:\n    import artneuro.core.unused",
    ],
)
def test_ways_to_import(project: Path, statement: str):
    write(project / SCRIPT, FILES[SCRIPT] + statement + "\n")
    assert set(code_hashes(SCRIPT, project)) == CLOSURE | {"artneuro.core.unused"}


@pytest.mark.parametrize(
    ("module", "statement", "target"),
    [
        ("probing/late", "from ..core import unused", "artneuro.core.unused"),
        ("probing/late", "from ..core.unused import UNUSED", "artneuro.core.unused"),
        ("probing/late", "from .. import report", "artneuro.report"),
        ("probing/__init__", "from . import extra", "artneuro.probing.extra"),
        ("probing/__init__", "from .extra import E", "artneuro.probing.extra"),
        ("probing/__init__", "from ..core.unused import UNUSED", "artneuro.core.unused"),
    ],
)
def test_relative_imports(project: Path, module: str, statement: str, target: str):
    write(project / "src/artneuro/probing/extra.py", "E = 1\n")
    write(project / f"src/artneuro/{module}.py", statement + "\n" + "def late(*a): ...\n")
    found = {name for name in code_hashes(SCRIPT, project) if "/" not in name}
    assert found >= {target}
    finder = modulefinder.ModuleFinder(path=[str(project / "src")])
    finder.run_script(str(project / SCRIPT))
    scanned = {name for name in finder.modules if name.split(".")[0] == "artneuro"}
    assert found == scanned - {"artneuro.core.unused"} | (found & {"artneuro.core.unused"})


def test_type_checking_imports_do_not_count(project: Path):
    for test in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"):
        text = f"{FILES[SCRIPT]}if {test}:\n    from artneuro.core import unused\n"
        write(project / SCRIPT, text)
        assert set(code_hashes(SCRIPT, project)) == CLOSURE


def test_import_cycles_end(project: Path):
    write(
        project / "src/artneuro/core/maths.py",
        "import artneuro.probing.fit\n\n\ndef scale(x): return x\n",
    )
    assert set(code_hashes(SCRIPT, project)) == CLOSURE


def test_data_of_a_package_counts_with_its_modules(project: Path):
    write(project / SCRIPT, "from artneuro.report.page import TEMPLATE\n")
    before = code_hashes(SCRIPT, project)
    data = {"src/artneuro/report/page.html", "src/artneuro/report/styles/page.css"}
    assert {name for name in before if "/" in name} == data | {SCRIPT}

    edit(project, "src/artneuro/report/page.html", "<p>", "<p >")
    edit(project, "src/artneuro/report/deep/other.js", "1", "2")
    assert changed(before, code_hashes(SCRIPT, project)) == {"src/artneuro/report/page.html"}

    # What editors, the interpreter and the type checker leave behind is not data.
    for name in ("page.html~", ".page.html.swp", "__pycache__/page.cpython-311.pyc", "py.typed"):
        path = project / "src/artneuro/report" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert changed(before, code_hashes(SCRIPT, project)) == {"src/artneuro/report/page.html"}


def test_same_hashes_in_another_folder_and_with_new_time_stamps(project: Path, tmp_path: Path):
    before = code_hashes(SCRIPT, project)
    copy = tmp_path / "elsewhere" / "deep"
    shutil.copytree(project / "src", copy / "src")
    shutil.copytree(project / "workflow", copy / "workflow")
    for path in copy.rglob("*.py"):
        os.utime(path)
    assert code_hashes(SCRIPT, copy) == before
    assert code_hashes(copy / SCRIPT, copy) == before
    assert list(before) == sorted(before)
    assert not any(str(tmp_path) in name for name in before)


def test_hash_does_not_depend_on_the_folder_that_is_current(project: Path, monkeypatch):
    before = code_hashes(SCRIPT, project)
    monkeypatch.chdir(project)
    assert code_hashes(SCRIPT, ".") == before


def test_each_file_is_parsed_once(project: Path, monkeypatch):
    parsed: list[str] = []
    parse = ast.parse

    def counting(source, filename="", *args, **options):
        parsed.append(Path(filename).name)
        return parse(source, filename, *args, **options)

    # The module is shared with pytest, which parses sources to show a failure: undone before that.
    with monkeypatch.context() as patch:
        patch.setattr(code.ast, "parse", counting)
        code_hashes(SCRIPT, project)
        first = len(parsed)
        code_hashes(SCRIPT, project)
        second = len(parsed)
        edit(project, "src/artneuro/probing/late.py", "x + s", "x - s")
        code_hashes(SCRIPT, project)
    assert (first, second, len(parsed)) == (len(CLOSURE), len(CLOSURE), len(CLOSURE) + 1)


def test_a_module_and_a_package_of_one_name_follow_python(project: Path):
    # As the import system does: the package wins over the module beside it.
    folder = project / "src/artneuro/probing/late"
    folder.mkdir()
    (folder / "__init__.py").write_text("PACKAGE = True\n")
    before = code_hashes(SCRIPT, project)
    edit(project, "src/artneuro/probing/late.py", "x + s", "x - s")
    assert code_hashes(SCRIPT, project) == before


def test_syntax_error_names_file_and_line(project: Path):
    write(project / "src/artneuro/probing/late.py", "def late(x, s):\n    return x +\n")
    with pytest.raises(CodeError, match=r"late\.py:2"):
        code_hashes(SCRIPT, project)


def test_null_bytes_and_bad_encoding_are_errors_of_the_file(project: Path):
    for data in (b"x = 1\0\n", b"x = '\xff'\n"):
        (project / "src/artneuro/probing/late.py").write_bytes(data)
        with pytest.raises(CodeError, match=r"late\.py"):
            code_hashes(SCRIPT, project)


def test_missing_module_names_the_importer(project: Path):
    edit(project, "src/artneuro/probing/fit.py", "from .config", "from .configuration")
    with pytest.raises(CodeError, match=r"(?s)artneuro\.probing\.configuration.*fit\.py:10"):
        code_hashes(SCRIPT, project)


def test_missing_script(project: Path):
    with pytest.raises(CodeError, match=r"none\.py"):
        code_hashes("workflow/scripts/none.py", project)


def test_relative_import_in_a_script(project: Path):
    write(project / SCRIPT, "from . import helper\n")
    with pytest.raises(CodeError, match="relative import"):
        code_hashes(SCRIPT, project)
