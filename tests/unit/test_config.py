"""The config as a whole: what is wrong is named, and the documents follow the models."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from artneuro.config import load_config
from artneuro.config_docs import config_reference, config_schema
from artneuro.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SMOKE = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    """The smoke config with the value at a dotted path replaced, or removed where it is ..."""
    config = copy.deepcopy(SMOKE)
    *folders, last = path.split(".")
    at = config
    for key in folders:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    key = int(last) if isinstance(at, list) else last
    if value is ...:
        del at[key]
    else:
        at[key] = value
    return config


@pytest.mark.parametrize("name", ["config", "smoke", "thesis"])
def test_the_configs_are_valid(name: str) -> None:
    config, _ = load_config(ROOT / "config" / f"{name}.yaml", ROOT)
    assert config.probed()
    values = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    jsonschema.validate(values, json.loads(config_schema()))


def test_the_thesis_config_holds_the_models_of_the_thesis() -> None:
    config, _ = load_config(ROOT / "config" / "thesis.yaml", ROOT)
    # Seven sizes, and three more seeds of one of them.
    assert sum(name.startswith("pythia-") for name in config.models) == 7 + 3
    assert sum(name.startswith("gpt2-small-") for name in config.models) == 5
    assert sum(name.startswith("gpt2-medium-") for name in config.models) == 5
    assert sum(name.startswith("llama-2-") for name in config.models) == 3
    assert {config.tokenizer(name) for name in config.models if name.startswith("pythia-")} == {
        "pythia-70m"
    }


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("modles", {}, ["modles", "no such key"]),
        ("datasets.code_language.n_ctxx", 3, ["datasets.code_language.n_ctxx", "no such key"]),
        ("datasets.code_language.n_ctx", "many", ["datasets.code_language.n_ctx", "many"]),
        ("datasets.code_language.corpus", "nowhere", ["nowhere", "source_files", "prose"]),
        ("models.smollm2-135m.source.source", "gone", ["models.smollm2-135m", "'gone'", "smollm2"]),
        ("models.smollm2-135m.tokenizer", "gpt9", ["models.smollm2-135m.tokenizer", "gpt9"]),
        ("corpora.prose.parts.0.source", "gone", ["corpora.prose.parts.0.source", "'gone'"]),
        ("probing.models", ["gpt9"], ["probing.models", "gpt9", "smollm2-135m"]),
        ("probing.datasets", ["poems"], ["probing.datasets", "poems", "text_features"]),
        ("probing.transfer", {"poems": "code_language"}, ["probing.transfer.poems", "poems"]),
        (
            "probing.transfer",
            {"code_elsewhere": "code_elsewhere"},
            ["probing.transfer.code_elsewhere", "same corpus"],
        ),
        (
            "universality.groups",
            {"seeds": {"reference": "smollm2-135m", "others": ["gpt9"], "text": "poems"}},
            ["universality.groups.seeds.text", "poems", "universality.groups.seeds.others", "gpt9"],
        ),
        (
            "universality.groups",
            {"g": {"reference": "smollm2-135m", "others": ["smollm2-135m"], "text": "prose"}},
            ["a model is named twice"],
        ),
        ("probing.datasets", [], ["nothing to do"]),
        ("probing.refinement", {"datasets": ["poems"]}, ["probing.refinement.datasets", "poems"]),
        ("probing.superposition", {"datasets": ["poems"]}, ["probing.superposition.d", "poems"]),
        ("probing.superposition", {"datasets": ["text_features"]}, ["not of compound words"]),
        ("probing.superposition", {"background": ["poems"]}, ["superposition.background", "poems"]),
        ("corpora.prose.parts.0.only_without", "gone", ["only_without", "'gone'"]),
        ("compute.dask", {"kind": "address"}, ["compute.dask.address"]),
        (
            "models.smollm2-135m.source",
            {"kind": "local", "path": "no/such"},
            ["models.smollm2-135m.source.path", "no/such"],
        ),
        (
            "corpora.prose.parts.0",
            {"reader": "files", "path": "no/such", "subset": "s", "patterns": []},
            ["corpora.prose.parts.0.patterns: no such key"],
        ),
        (
            "corpora.prose.parts.0",
            {"reader": "files", "path": "no/such/*.txt", "subset": "s"},
            ["corpora.prose.parts.0.path", "no/such/*.txt"],
        ),
        (
            "corpora.prose.parts.0",
            {"reader": "pile", "path": "later.jsonl", "group": "(a)"},
            ["corpora.prose.parts.0", "group of its own"],
        ),
        ("probing.sites", ["resid_post"], ["probing.sites", "resid_post", "mlp_post"]),
        ("activations.sites", ["mlp_pst"], ["activations.sites", "mlp_pst"]),
        # Places and dates.
        ("entities.world.parts.0.source", "gone", ["entities.world.parts", "'gone'", "geonames"]),
        (
            "entities.world.parts.0",
            {"reader": "dbpedia", "query": "works"},
            ["entities.world.parts", "'works'", "none"],
        ),
        ("entities.world.parts.0.reader", "atlas", ["entities.world.parts.0", "geonames_cities"]),
        (
            "entities.world.parts.0.path",
            "a.csv",
            ["entities.world.parts.0", "exactly one of source and path"],
        ),
        (
            "entities.world.parts.0",
            {"reader": "airports", "path": "http://example.org/a.csv"},
            ["entities.world.parts.0", "must begin with https"],
        ),
        ("entities.world.prompts.empty", ..., ["entities.world.prompts", "'empty'", "question"]),
        (
            "entities.world.prompts.empty.read",
            "last",
            ["entities.world.prompts.empty", "without text behind the name"],
        ),
        ("entities.world.block", "decade", ["entities.world", "a table of space has no decade"]),
        (
            "dbpedia.works",
            {"table": "works", "queries": {"song": {"classes": ["Song"]}}},
            ["dbpedia.works", "queries.song", "creators"],
        ),
        ("spacetime.models", ["gpt9"], ["spacetime.models", "gpt9", "smollm2-135m"]),
        ("spacetime.entities", ["stars"], ["spacetime.entities", "stars", "films, world"]),
        ("spacetime.entities", ["films"], ["spacetime.ablation.tables", "'world' is not among"]),
        ("spacetime.main_prompt", "period", ["entities.films.prompts", "'period'", "empty"]),
        ("spacetime.pinning.tables", ["stars"], ["spacetime.pinning.tables", "stars", "films"]),
        ("spacetime.pinning.tables", ["world"], ["spacetime.pinning.tables", "'world' is of pl"]),
        ("spacetime.pinning.deviations", [1], ["spacetime.pinning.deviations", "at least 2"]),
        ("spacetime.ablation.tables", ["stars"], ["spacetime.ablation.tables", "stars", "films"]),
        ("spacetime.ablation.text", ..., ["spacetime.ablation.text", "nothing to read"]),
        ("spacetime.ablation.text", "poems", ["spacetime.ablation.text", "poems", "prose"]),
        ("spacetime.ablation.n_ctx", 64, ["spacetime.ablation.n_ctx", "33 tokens, not 64"]),
        ("spacetime.holdouts.max_block", 3, ["spacetime.holdouts.max_block", "no such key"]),
        ("dynamics.constraints.alphas", [1, "inf"], ["dynamics.constraints.alphas", "finite"]),
        ("models", ..., ["models", "required"]),
        ("sources", "nowhere.yaml", ["nowhere.yaml"]),
    ],
)
def test_a_mistake_is_named_with_its_key_value_and_what_is_allowed(
    path: str, value: Any, expected: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(changed(path, value), ROOT)
    for text in expected:
        assert text in str(error.value)


def test_the_configs_of_the_readme_are_valid(tmp_path: Path, monkeypatch) -> None:
    text = (ROOT / "README.md").read_text()
    example, group, places = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    for folder in ("data/models/mine", "data/letters/fr", "data/letters/de", "data/notes"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config, _ = load_config(yaml.safe_load(example), ROOT)
    assert ("mine", "letter_language") in config.probed()
    config, _ = load_config(yaml.safe_load(group), ROOT)
    assert config.universality.groups["pythia"].members == ["pythia-a", "pythia-b"]
    config, _ = load_config(yaml.safe_load(places), ROOT)
    assert config.mapped() == [("pythia-160m", "places")]


def test_all_mistakes_are_named_at_once() -> None:
    config = changed("datasets.code_language.corpus", "nowhere")
    config["probing"]["models"] = ["gpt9"]
    with pytest.raises(ConfigError, match=r"nowhere[\s\S]*gpt9"):
        load_config(config, ROOT)


def test_a_file_that_is_no_config_is_named(tmp_path: Path) -> None:
    for name, text in [("a.yaml", "a: [1"), ("b.yaml", "- 1"), ("c.yaml", "")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=name):
            load_config(tmp_path / name, ROOT)
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml", ROOT)


def test_the_reference_and_the_schema_are_those_of_the_models() -> None:
    assert (ROOT / "config" / "README.md").read_text() == config_reference(), "run `make docs`"
    schema = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert schema.read_text() == config_schema(), "run `make docs`"


def test_every_key_is_described() -> None:
    def undescribed(where: str, node: dict[str, Any]) -> list[str]:
        found = []
        for name, value in node.get("properties", {}).items():
            if not value.get("description"):
                found.append(f"{where}.{name}")
        return found

    schema = json.loads(config_schema())
    missing = undescribed("Config", schema)
    for name, definition in schema["$defs"].items():
        missing += undescribed(name, definition)
    assert missing == []


def test_a_config_may_be_of_dynamical_systems_alone() -> None:
    system = {"system": "hopf", "dt": 0.002, "durations": [0.1], "degree": 3, "window": 9}
    dynamics = {"systems": {"hopf": system}, "recovery": {"systems": ["hopf"]}}
    config, _ = load_config({"dynamics": dynamics}, ROOT)
    assert list(config.dynamics.systems) == ["hopf"]
    assert not config.probed()
    for nothing in ({}, {"dynamics": {"systems": {"hopf": system}}}):
        with pytest.raises(ConfigError, match="nothing to do"):
            load_config(nothing, ROOT)
