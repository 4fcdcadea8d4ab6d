"""The rules of the house that no other tool checks: layers, scripts, rules, names, texts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "artneuro"
SCRIPTS = ROOT / "workflow" / "scripts"
RULES = ROOT / "workflow" / "rules"

STAGES = (
    "models", "datasets", "activations", "weights", "probing", "universality", "interventions",
    "spacetime", "dynamics", "report", "provenance",
)  # fmt: skip

# Above the stages: they put together or call what stages offer, and no stage may use them.
TOP = ("config", "config_docs", "cli", "planning")

MODULES = sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, under TYPE_CHECKING too, by its full name."""
    package = (
        module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    )
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # A name taken from a package may be a module of it.
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def stage_of(module: str) -> str | None:
    """`probing` for `artneuro.probing.fit`; None for what is not of the package or its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "artneuro" else None


def script_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            found.add(node.module or "")
    return found


# --- the package ---------------------------------------------------------------------------------


def test_package_has_only_known_stages():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders - {"core", "planning"} <= set(STAGES)
    assert {p.stem for p in PACKAGE.glob("*.py")} <= {"__init__", "__main__", *TOP}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_package_does_not_import_snakemake(path: Path):
    assert not [m for m in imports(path) if m.split(".")[0].startswith("snakemake")]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_stages_import_only_stages_above(path: Path):
    own = stage_of(module_name(path))
    used = {stage for m in imports(path) if (stage := stage_of(m)) is not None}
    if own is None or own in TOP:
        return
    assert not used & set(TOP), f"only the workflow and the command line use {TOP}"
    if own == "core":
        assert used <= {"core"}
        return
    above = set(STAGES[: STAGES.index(own) + 1])
    assert used & set(STAGES) <= above


def test_config_puts_together_the_sections_of_stages():
    for m in imports(PACKAGE / "config.py"):
        stage = stage_of(m)
        if stage in STAGES:
            section = m.split(".")[2:3]
            assert not section or section[0].endswith("config"), m


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_dynamic_imports(path: Path):
    # They would not be seen by the code hashes, and a changed module would rerun nothing.
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("__import__", "import_module", "runpy.run_module", "exec", "eval")
            assert not called.endswith((".import_module", "pkgutil.iter_modules")), path
    names = {m.split(".")[-1] for m in imports(path)}
    assert "import_module" not in names


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=relative)
def test_init_files_hold_only_a_docstring(path: Path):
    body = ast.parse(path.read_text()).body
    assert len(body) == 1
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_folder_with_modules_is_a_package():
    for path in MODULES:
        assert (path.parent / "__init__.py").exists(), relative(path.parent)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_functions_have_docstrings(path: Path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    missing = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                missing.append(node.name)
            if isinstance(node, ast.ClassDef):
                missing += [f"{node.name}.{m.name}" for m in node.body if undocumented(m)]
    assert missing == []


def undocumented(node: ast.AST) -> bool:
    """A public method without a docstring; pydantic's validators explain themselves by errors."""
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
        return False
    decorators = " ".join(ast.unparse(d) for d in node.decorator_list)
    return not ast.get_docstring(node) and "validator" not in decorators


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_of_a_size_to_read(path: Path):
    assert len(path.read_text().splitlines()) <= 500


# --- the workflow --------------------------------------------------------------------------------


def rules_of(text: str) -> dict[str, str]:
    """The text of every rule in a rules file, by its name."""
    blocks = re.split(r"^(?=rule \w+:)", text, flags=re.MULTILINE)
    found = {}
    for block in blocks:
        if match := re.match(r"rule (\w+):", block):
            # A rule ends at the next line that starts at the margin.
            end = re.search(r"\n(?=[^\s#])", block)
            found[match.group(1)] = block[: end.start()] if end else block
    return found


def section_of(rule: str, name: str) -> str | None:
    """The text under `name:` in a rule, None where it has none."""
    match = re.search(rf"^    {name}:(.*?)(?=^    \w+:|\Z)", rule, re.MULTILINE | re.DOTALL)
    return match.group(1) if match else None


RULE_FILES = sorted(RULES.glob("*.smk"))
ALL_RULES = [
    pytest.param(path.stem, name, text, id=f"{path.stem}/{name}")
    for path in RULE_FILES
    for name, text in rules_of(path.read_text()).items()
]
WITH_SCRIPT = [p for p in ALL_RULES if section_of(p.values[2], "script") is not None]
ALL_SCRIPTS = sorted(SCRIPTS.rglob("*.py"))


def test_parser_of_rules():
    text = (
        "x = 1\n\nrule make_a:\n    message:\n        'A'\n    input:\n        a='b',\n"
        "    params:\n        cfg={},\n        code=code('s'),\n    threads: 2\n"
        "    script:\n        '../scripts/s/make_a.py'\n\n\ndef f(w):\n    return 1\n\n\n"
        "rule all:\n    input: 'x'\n"
    )
    rules = rules_of(text)
    assert list(rules) == ["make_a", "all"]
    assert "def f" not in rules["make_a"]
    assert section_of(rules["make_a"], "threads") == " 2\n"
    assert "code=" in section_of(rules["make_a"], "params")
    assert section_of(rules["make_a"], "log") is None
    assert section_of(rules["all"], "script") is None


def test_rules_files_are_named_after_stages():
    assert {p.stem for p in RULE_FILES} <= {*STAGES, "common"}
    assert {p.name for p in SCRIPTS.iterdir() if p.is_dir()} <= {*STAGES, "__pycache__"}
    common = RULES / "common.smk"
    if common.exists():
        assert rules_of(common.read_text()) == {}


@pytest.mark.parametrize(("stage", "name", "rule"), ALL_RULES)
def test_rule_names_are_verb_noun(stage: str, name: str, rule: str):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)


@pytest.mark.parametrize(("stage", "name", "rule"), WITH_SCRIPT)
def test_rule_declares_everything(stage: str, name: str, rule: str):
    for section in ("message", "output", "params", "log", "benchmark", "threads", "resources"):
        assert section_of(rule, section), f"rule {name} has no {section}:"
    params = section_of(rule, "params") or ""
    keys = re.findall(r"^        (\w+)=", params, re.MULTILINE)
    # One slice of config and one dict of code: Snakemake stores params as a set without names.
    assert sorted(keys) == ["cfg", "code"]
    # Functions of more than the wildcards are not tracked for reruns.
    assert not re.search(r"lambda\s+\w+\s*,", params)
    resources = section_of(rule, "resources") or ""
    assert {"mem_mb", "runtime"} <= set(re.findall(r"^        (\w+)=", resources, re.MULTILINE))


@pytest.mark.parametrize(("stage", "name", "rule"), WITH_SCRIPT)
def test_rule_and_script_have_one_name(stage: str, name: str, rule: str):
    script = re.findall(r"[\"']([^\"']+)[\"']", section_of(rule, "script") or "")
    assert script == [f"../scripts/{stage}/{name}.py"]
    assert (SCRIPTS / stage / f"{name}.py").exists()
    assert re.findall(r"code=code\([\"']([^\"']+)[\"']\)", rule) == [f"{stage}/{name}.py"]


@pytest.mark.parametrize("path", ALL_SCRIPTS, ids=relative)
def test_script_has_a_rule_and_is_short(path: Path):
    stage = path.parent.name
    assert path.stem in rules_of((RULES / f"{stage}.smk").read_text())
    assert len(path.read_text().splitlines()) <= 40
    # Dask's local workers import the main module, which must then not run the job again.
    assert '\nif __name__ == "__main__":\n    with Job(snakemake) as job:\n' in path.read_text()
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", ALL_SCRIPTS, ids=relative)
def test_script_imports_core_and_its_own_stage(path: Path):
    for module in script_imports(path):
        top = module.split(".")[0]
        if top == "artneuro":
            assert stage_of(module) in ("core", path.parent.name), module
        else:
            assert top in sys.stdlib_module_names, module


@pytest.mark.parametrize("path", ALL_SCRIPTS, ids=relative)
def test_script_does_not_read_the_config_of_snakemake(path: Path):
    # What a script reads there is in no rule's params, so a change of it would rerun nothing.
    text = path.read_text()
    assert "snakemake.config" not in text
    assert text.count("snakemake") == 1, "a script hands its job object to Job, and no more"


# --- texts ---------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Files that are or would be in the repository: text, and not too large to be a source."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [p for name in listed if (p := ROOT / name).is_file() and p.stat().st_size < 2_000_000]


# Put together here, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    r"(?<![\w.~$}/-])/(?:"
    + "|".join(["wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers", "opt"])
    + r")/\w"
)
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("registry", "yarnpkg", "com"),
            ("deb", "debian", "org"),
            ("conda", "anaconda", "org"),
            ("static", "crates", "io"),
        )
    )
)


def test_no_paths_of_one_machine_and_no_registry_hosts():
    # Clients find their registry by the user's own configuration, which may name a mirror.
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line) or REGISTRIES.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_no_notes_to_self():
    words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
    found = [
        f"{relative(path)}:{number}"
        for path in tracked()
        if path.suffix in (".py", ".smk", ".yaml", ".toml", ".md", ".rst", ".sh")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []
