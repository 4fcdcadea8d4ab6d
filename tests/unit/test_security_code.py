"""What package, workflow and templates must not do, found in the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")])
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])
TEMPLATES = sorted((ROOT / "src/artneuro/report/templates").iterdir())

# They run what they read, or read what runs.
UNSAFE_MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "imp", "code",
    "xml", "ftplib", "telnetlib", "requests", "httpx", "aiohttp", "urllib3", "pty",
}  # fmt: skip
# All requests go through these, which know time-outs, sizes and schemes.
NETWORK = {
    "urllib.request": {"core/web.py", "core/registries.py", "datasets/polite_http.py"},
    "http.client": {"core/web.py", "core/registries.py", "datasets/polite_http.py"},
}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
UNSAFE_CALLS = {
    "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnl", "torch.load", "yaml.load",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "shutil.unpack_archive",
    "tempfile.mktemp", "hashlib.md5", "hashlib.sha1", "jinja2.Template",
    "pl.DataFrame.deserialize", "urllib.request.urlopen", "urlopen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "ssl._create_unverified_context",
}  # fmt: skip
UNSAFE_METHODS = {"extractall", "to_pickle", "read_pickle", "from_string", "set_default_verify"}
UNSAFE_ARGUMENTS = {
    ("shell", True), ("allow_pickle", True), ("trust_remote_code", True),
    ("weights_only", False), ("verify", False), ("autoescape", False),
    ("use_safetensors", False), ("unsafe_load", True),
}  # fmt: skip
# Where markup is made of something else than a constant, with why that is safe.
MARKUP = {
    "report/case_page.py": "style sheet and script of the package",
    "report/maps.py": "style sheet and script of the package",
    "report/page.py": "style sheet and script of the package",
    "report/drawing.py": "names of tags and attributes, which only the package gives",
    "report/map_drawing.py": "circles whose texts are escaped one line above",
    "provenance/trace_drawing.py": "a style sheet of the package",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def inside(path: Path) -> str:
    return name(path).removeprefix("src/artneuro/")


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression; empty for what is no such chain."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def faults(tree: ast.AST, file: str) -> Iterator[str]:
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        for module in modules:
            if module.split(".")[0] in UNSAFE_MODULES:
                yield f"line {node.lineno}: import {module}"
            if module in NETWORK and file not in NETWORK[module]:
                yield f"line {node.lineno}: import {module}"
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        # The name of the machine may be asked for anywhere.
        if (
            called.startswith("socket.")
            and called != "socket.gethostname"
            and file != "core/web.py"
        ):
            yield f"line {node.lineno}: {called}()"
        if called in UNSAFE_NAMES | UNSAFE_CALLS or called.split(".")[-1] in UNSAFE_METHODS:
            yield f"line {node.lineno}: {called}()"
        for argument in node.keywords:
            value = getattr(argument.value, "value", None)
            if isinstance(value, bool) and (argument.arg, value) in UNSAFE_ARGUMENTS:
                yield f"line {node.lineno}: {argument.arg}={value}"
        if (
            called.startswith("subprocess.")
            and node.args
            and isinstance(node.args[0], ast.JoinedStr)
        ):
            yield f"line {node.lineno}: {called}() of a text"
        plain = all(isinstance(a, ast.Constant) for a in node.args)
        if called in ("Markup", "markupsafe.Markup") and not plain and file not in MARKUP:
            yield f"line {node.lineno}: Markup() of what may come from outside"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_code_does_what_is_unsafe(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(faults(tree, inside(path))) == []


@pytest.mark.parametrize("path", RULES, ids=name)
def test_no_rule_does_what_is_unsafe(path):
    text = path.read_text(encoding="utf-8")
    # No `shell:` at all: then nothing from a config can be a command.
    assert not re.search(r"^\s*shell:", text, flags=re.M)
    words = r"\b(eval|exec|pickle|os\.system|subprocess\.\w+|torch\.load|__import__)\b\s*\("
    assert not re.search(words, text)


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_no_template_lets_markup_through_or_writes_any(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*(safe|forceescape|xmlattr|tojson)\b|autoescape|Markup", text)
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|setTimeout\("
    assert not re.search(words, text)
    # Values stand in quoted attributes and in texts: never in scripts, styles, handlers, or tags.
    # A picture of the package's own making is put in as data.
    checked = text.replace('src="{{ item.source }}"', "")
    for tag in re.findall(r"<[a-zA-Z][^<>]*\{\{[^<>]*>", checked):
        assert not re.search(r"\s(on\w+|style|srcdoc|src)\s*=", tag), tag
        outside = re.sub(r'"[^"]*"', '""', re.sub(r"\{%.*?%\}", "", tag))
        assert "{{" not in outside or "{{ num" in tag, tag
    links = set(re.findall(r'href="([^"]*\{\{[^"]*)"', text))
    assert all(link.startswith("#") or link == "{{ file }}" for link in links), links
    for block in re.findall(r"<(?:script|style)[^>]*>(.*?)</", text, flags=re.S):
        assert block.strip() in ("{{ script }}", "{{ style }}"), block


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "import xml.etree.ElementTree",
        "import requests", "from urllib.request import urlopen", "eval('1')", "exec(x)",
        "torch.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(t)",
        "subprocess.run(c, shell=True)",
        "subprocess.run(f'ls {x}')", "tar.extractall(p)", "os.system('ls')", "Markup(text)",
        "Model.from_pretrained(p, trust_remote_code=True)", "torch.load(p, weights_only=False)",
        "hashlib.md5(b)", "socket.create_connection(a)",
        "env.from_string(t)", "urllib.request.urlopen(u)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(code):
    assert list(faults(ast.parse(code), "models/x.py"))
    assert not list(faults(ast.parse("model.eval(); re.compile('x'); Markup('<b>')"), "m.py"))
