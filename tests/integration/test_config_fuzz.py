"""Two thousand wrong configs: each a clear error that names the key, or a plan; never a traceback.

Every config of the repository is changed in one to three places, or its text is, and goes through
`load_config`; a sample goes through Snakemake itself.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import os
import re
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import artneuro.config
from artneuro.config import Config, load_config
from artneuro.core.errors import ConfigError
from artneuro.core.sources import load_sources
from artneuro.core.values import problems_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# Each config as it is run; the last goes over the first.
FILES = {
    "config": ["config"], "smoke": ["smoke"], "thesis": ["thesis"], "dynamics": ["dynamics"],
    "ensemble": ["ensemble"], "standard": ["config", "standard"],
}  # fmt: skip
N_VALUES = int(os.environ.get("ARTNEURO_FUZZED", "1600"))
N_TEXTS = N_VALUES // 4
N_PLANS = int(os.environ.get("ARTNEURO_PLANNED", "20"))
# What a user can do with: no name of an exception, no address of an object, no line of code.
INSIDE = re.compile(r"Traceback|object at 0x|pydantic|(Key|Type|Attribute|Index|Value)Error")
NEW_KEY = re.compile(r"^  - \S.*: no such key", re.M)
Path_ = tuple[Any, ...]
seen: Counter[str] = Counter()


ENDS = ("error", "plan")


def over(base: Any, top: Any) -> Any:
    """A config with another one over it, as Snakemake merges them."""
    if isinstance(base, dict) and isinstance(top, dict):
        return {k: over(base.get(k), top[k]) if k in top else base[k] for k in {**base, **top}}
    return top


@cache
def whole(name: str) -> str:
    value: Any = {}
    for file in FILES[name]:
        value = over(value, yaml.safe_load((ROOT / "config" / f"{file}.yaml").read_text()))
    return json.dumps(value)


@cache
def places(name: str) -> list[Path_]:
    """The path of every value of a config."""
    return list(below(json.loads(whole(name))))


def below(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every value within a mapping or a list."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from below(value[key], (*path, key))


ODD_TEXTS = [
    "", " ", "\n", "null", "all", "-1", "1e9", "../../etc/passwd", "/dev/zero", "/", ".",
    "~nobody/x", "{model}", "{", "}{", "{0}", "{wildcards.x}", "%s", "$HOME", "`id`", "$(id)",
    ";", "'", '"', "<b>", "a/b", "a b", "a\tb", "a\\b", "\x00", "\x1b[31m", "\u202eabc",
    "\ud800", "naïve", "模型", "🧠", "İ", "x" * 300, "x" * 200_000, "*", "**/*", "[", "(", "(a",
    "(?P<x", "\\", "a{99999}", "(a+)+$", "nan", "inf", "0x10", "1_000",
    "!!python/object:os.system", "CON", "-rf", "--help", "documents", "recipes",
]  # fmt: skip
ODD_NUMBERS = [
    0, -0.0, 1, -1, 2, 0.5, 1.5, 1e-320, 1e308, -1e308, float("inf"), float("-inf"),
    float("nan"), 2**31, 2**63 - 1, 2**63, 10**30, -(10**30), 10**5000, 1e100, 65536,
]  # fmt: skip


def odd_values() -> st.SearchStrategy[Any]:
    shared: list[Any] = []
    bomb: Any = ["x"] * 9
    for _ in range(12):
        bomb = [bomb] * 9
    circle: dict[str, Any] = {}
    circle["self"] = circle
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    fixed = [
        None, True, False, [], {}, [[]], [{}], {"": ""}, {"kind": None}, {"kind": "hub"}, {1: 2},
        {None: 1}, {True: 1}, {"a": {"b": {"c": []}}}, [None], [1, "1", 1.0], ["x"] * 2000,
        shared, dt.date(2001, 1, 2), dt.datetime(2001, 1, 2), b"bytes", {"x"}, bomb, circle,
        deep, {"kind": ["kind"]}, {"reader": {"reader": 1}}, {f"k{i}": i for i in range(300)},
    ]  # fmt: skip
    leaves = st.sampled_from([*fixed, *ODD_TEXTS, *ODD_NUMBERS])
    texts = st.text(string.printable + "äß漢\u0301\u2028", max_size=12)
    return st.one_of(
        leaves,
        leaves,
        texts,
        st.integers(),
        st.floats(),
        st.lists(st.one_of(leaves, texts), max_size=3),
        st.dictionaries(texts, leaves, max_size=3),
    )


VALUES = odd_values()
WAYS = [
    "replace", "replace", "replace", "scale", "delete", "add", "rename", "swap", "copy", "wrap",
    "edit",
]  # fmt: skip


def at(config: Any, path: Path_) -> Any:
    for key in path:
        config = config[key]
    return config


def change(config: Any, name: str, draw: Any) -> list[str]:
    """Change a config in one place; what a message may name of it."""
    path = draw(st.sampled_from(places(name)))
    way = draw(st.sampled_from(WAYS))
    try:
        parent = at(config, path[:-1])
        value = parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return []  # an earlier change took it away
    named = [str(key) for key in path if isinstance(key, str)]
    if isinstance(value, str):
        named.append(value)
    if way == "delete":
        del parent[path[-1]]
    elif way == "add" and isinstance(value, dict):
        key = draw(st.one_of(st.sampled_from(ODD_TEXTS), st.sampled_from([1, None, True, 2.5])))
        value[key] = draw(VALUES)
        named.append(str(key))
    elif way == "rename" and isinstance(parent, dict):
        key = draw(st.sampled_from([path[-1] + "s", path[-1].upper(), path[-1][:-1], *ODD_TEXTS]))
        parent[key] = parent.pop(path[-1])
        named.append(str(key))
    elif way == "swap":
        other = draw(st.sampled_from(places(name)))
        if other[: len(path)] != path and path[: len(other)] != other:
            try:
                home = at(config, other[:-1])
                home[other[-1]], parent[path[-1]] = value, home[other[-1]]
                named += [str(key) for key in other if isinstance(key, str)]
            except (KeyError, IndexError, TypeError):
                pass
    elif way == "copy":
        other = draw(st.sampled_from(places(name)))
        try:
            parent[path[-1]] = copy.deepcopy(at(config, other))
        except (KeyError, IndexError, TypeError):
            return []
        named += [str(key) for key in other if isinstance(key, str)]
    elif way == "wrap":
        parent[path[-1]] = draw(st.sampled_from([[value], {"value": value}, [value, value]]))
    elif way == "scale" and isinstance(value, int | float):
        factor = draw(st.sampled_from([0, -1, 1e6, 1e-6, 0.5, 10**20, 1.0000001]))
        parent[path[-1]] = value * factor
    elif way == "edit" and isinstance(value, str):
        odd = draw(st.sampled_from(ODD_TEXTS))
        parent[path[-1]] = draw(st.sampled_from([value + odd, odd + value, value.upper()]))
    else:
        parent[path[-1]] = draw(VALUES)
    return named


def check(values: dict[str, Any] | Path, named: list[str]) -> str:
    """Load a config: it must be valid and usable, or its error must help."""
    try:
        config, _ = load_config(values, ROOT)
    except ConfigError as error:
        message = str(error)
        inside = INSIDE.search(message)
        assert inside is None, message
        assert len(message) < 200_000
        message.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", message), repr(message)
        # Either what was changed is named, or why the file as a whole cannot be read.
        as_a_whole = ["(top level)", "the file of sources", "cannot read", "no mapping", "anchor"]
        known = [*named, *Config.model_fields, *as_a_whole]
        assert any(name and name[:30] in message for name in known) or NEW_KEY.search(message)
        return "error"
    # What a plan asks of a config.
    json.dumps(config.model_dump(mode="json"), allow_nan=False)
    config.probed(), config.mapped(), config.used_sources(), config.trained()
    config.dynamics.identified(), config.dynamics.in_context.pairs()
    for system in config.dynamics.systems:
        config.dynamics.simulation(system)
    for model in config.models:
        config.recipe_of(model), config.parameters_of(model), config.tokenizer(model)
    for dataset in config.datasets:
        config.people_of(dataset)
    return "plan"


@pytest.fixture(autouse=True)
def pins_are_read_once(monkeypatch):
    """The file of sources is the same in nearly all of them."""
    known = str(ROOT / "resources" / "sources.yaml")
    found = load_sources(known)
    monkeypatch.setattr(
        artneuro.config, "load_sources", lambda p: found if str(p) == known else load_sources(p)
    )


def fuzzed(n: int):
    return settings(
        max_examples=n, derandomize=True, database=None, deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@fuzzed(N_VALUES)
@given(data=st.data())
def test_changed_values_are_named_or_make_a_plan(data):
    name = data.draw(st.sampled_from(list(FILES)))
    values = json.loads(whole(name))
    named: list[str] = []
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2, 3]))):
        named += change(values, name, data.draw)
    seen[f"values: {check(values, named)}"] += 1


EXTREMES = [-1, 0, 1e-320, 400, 1e9, 2**31, 10**30, 1e308, -1e308]


@pytest.mark.parametrize("name", ["config", "dynamics"])
def test_every_number_may_be_extreme(name):
    # Those of defaults too, which no file has and no change above meets.
    values = load_config(json.loads(whole(name)), ROOT)[0].model_dump(mode="json")
    met = set()
    for path in below(values):
        key = tuple("*" if isinstance(part, int) else part for part in path)
        usual = at(values, path)
        if isinstance(usual, bool) or not isinstance(usual, int | float) or key in met:
            continue
        met.add(key)
        for extreme in EXTREMES:
            at(values, path[:-1])[path[-1]] = extreme
            check(copy.deepcopy(values), [str(part) for part in path])
        at(values, path[:-1])[path[-1]] = usual
    assert len(met) > 250


PIECES = [
    "\t", ":", "- ", "&a ", "*a", "<<: *a", "!!python/object/apply:os.system [id]",
    "!!timestamp x", "!!bool maybe", "!!int x", "!!float x", "!!binary '*'", "!!set {a}", "{",
    "}", "[", "]", "#", "'", '"', "|", ">", "%", "@", "`", "\x00", "\x07", "\ufeff", "---\n",
    "...\n", "? ", "~", "2001-99-99", "9" * 5000, "yes", "no", "é", "\u2028", "\r", "[" * 400,
    "{a: " * 400,
]  # fmt: skip
BOMB = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in pairwise("abcdefghijkl")
)
MERGED = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in pairwise("abcdefghijkl")
)
TRAPS = [
    BOMB, MERGED, "models: &m {m: *m}\n", "models: {<<: 3}\n", "models: {<<: [1]}\n",
    "models: {<<: *none}\n", "models: {}\nmodels: {}\n", "probing: {max_k: 1, max_k: 2}\n",
    "? [a]\n: 1\n", "? {a: 1}\n: 1\n", "1: 2\n", "null: 1\n", "yes: 1\n", "- models\n",
    "models\n", "", "# nothing\n", "--- 1\n--- 2\n", "%YAML 9.9\n---\na: 1\n",
    "sources: /dev/zero\n", "sources: /\n", "sources: ''\n", "sources: no/such\n",
    "sources: config/config.yaml\n", "sources: config/README.md\n", "sources: /bin/ls\n",
    "sources: .\n", "models: " + "[" * 3000 + "\n",
]  # fmt: skip


@fuzzed(N_TEXTS)
@given(data=st.data())
def test_changed_text_is_named_or_makes_a_plan(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    name = data.draw(st.sampled_from([n for n in FILES if n != "standard"]))
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 3))):
        spot = data.draw(st.integers(0, len(text)))
        end = spot + data.draw(st.sampled_from([0, 0, 1, 2, 40]))
        text = text[:spot] + data.draw(st.sampled_from(["", *PIECES])) + text[end:]
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    seen[f"text: {check(file, [])}"] += 1


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_yaml_are_told(trap, tmp_path):
    file = tmp_path / "trap.yaml"
    file.write_text(trap)
    assert check(file, []) == "error"


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"models: \xe9\n", b"\x80" * 100, b"x" * 11_000_000]
)
def test_files_that_are_no_text_are_told(data, tmp_path):
    file = tmp_path / "binary.yaml"
    file.write_bytes(data)
    assert check(file, []) == "error"


def samples(wanted: int) -> list[tuple[str, dict[str, Any]]]:
    """Changed configs, the first of them plans and the rest errors, as a file can hold them."""
    found: dict[str, list[dict[str, Any]]] = {"plan": [], "error": []}

    @fuzzed(wanted * 20)
    @given(data=st.data())
    def collect(data):
        name = data.draw(st.sampled_from(list(FILES)))
        values = json.loads(whole(name))
        change(values, name, data.draw)
        # As JSON, an anchor that unfolds to millions of values would fill the memory of this test.
        if any(problems_of(values)):
            return
        try:
            values = yaml.safe_load(json.dumps(values))
        except (ValueError, TypeError, RecursionError, yaml.YAMLError):
            return
        if isinstance(values, dict) and values not in (json.loads(whole(n)) for n in FILES):
            end = check(values, list(values))
            found[end] += [values] if values not in found[end] else []

    collect()
    few = wanted // 3
    plans = [("plan", values) for values in found["plan"][: wanted - few]]
    return [*plans, *(("error", values) for values in found["error"][: wanted - len(plans)])]


def test_snakemake_says_the_same(tmp_path):
    told = Counter()
    for end, values in samples(N_PLANS):
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps(values))
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--cores", "1",
             "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
             "--configfile", str(file)],
            cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        # Snakemake names the place where an exception of ours came up.
        assert not re.search(r"^(?!Workflow|MissingInput)\w*(Error|Exception) in ", said, re.M), (
            said
        )
        if end == "error":
            assert done.returncode != 0
            assert "the config" in said
        else:
            assert done.returncode == 0 or "Missing input files" in said, said
        told[end if done.returncode else "planned"] += 1
    print(dict(told))
    assert told["planned"] > N_PLANS // 3
    assert told["error"] > N_PLANS // 5


def test_both_ends_were_met():
    # Last in the file: what the changes above came to.
    print(dict(seen))
    if seen:
        assert all(
            seen[f"{kind}: {end}"] for kind in ("values", "text") for end in ("error", "plan")
        )
