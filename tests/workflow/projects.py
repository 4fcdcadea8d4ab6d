"""Small projects for the tests of reruns: a copy of the checkout with generated inputs."""

from __future__ import annotations

import copy
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.tiny_models import make_model
from tests.workflow.planner import PlannedJob, Planner

ROOT = Path(__file__).resolve().parents[2]

COPIED = ("Snakefile", "workflow", "src", "profiles", "envs")
SOURCES = "data/sources.yaml"
WORDS = {
    "JavaScript": ["function", "const", "let", "return", "await", "exports", "null", "typeof"],
    "Python": ["def", "return", "lambda", "import", "yield", "None", "class", "self"],
    "Go": ["func", "package", "import", "chan", "defer", "range", "struct", "nil"],
}


@dataclass
class Project:
    """A copy of the checkout with a tiny config, and the folder that it runs in."""

    root: Path
    planner: Planner | None = None

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    def config(self) -> dict[str, Any]:
        """The config as it is now."""
        return yaml.safe_load(self.config_file.read_text())

    def set_config(self, config: dict[str, Any]) -> None:
        """Write a config."""
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))

    def environment(self) -> dict[str, str]:
        """The environment that Snakemake is run in."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST"))},
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            # A fresh copy would compile for minutes what computes for milliseconds here.
            "NUMBA_DISABLE_JIT": "1",
            "XDG_CACHE_HOME": str(self.root / ".cache"),
        }
        environment.pop("PYTHONPATH", None)
        return environment

    def snakemake(self, *arguments: str) -> str:
        """Run Snakemake in the project; what it printed."""
        options = ["--cores", "2", *arguments, "--configfile", str(self.config_file)]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *options],
            cwd=self.root, env=self.environment(), capture_output=True, text=True,
        )  # fmt: skip
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed[-6000:]
        return printed

    def dry_run(self, *arguments: str) -> str:
        """What a dry run prints: a fork of one process where there is a planner."""
        if self.planner is None:
            return self.snakemake("--dry-run", *arguments)
        config = ["--configfile", str(self.config_file)]
        status, printed = self.planner.run("--dry-run", "--cores", "2", *arguments, *config)
        assert status == 0, printed[-6000:]
        return printed

    def plan(self, *targets: str) -> dict[str, int]:
        """Jobs that a dry run plans, by rule; the target rule is left out."""
        printed = self.dry_run(*targets)
        if "Nothing to be done" in printed:
            return {}
        table = printed.split("Job stats:")[-1]
        planned = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        assert planned.pop("total") == sum(planned.values())
        for target in ("all", "models"):
            planned.pop(target, None)
        return planned

    def jobs(self, *arguments: str) -> set[PlannedJob]:
        """Jobs that a dry run plans, each with what it reads and makes."""
        assert self.planner
        self.dry_run(*arguments)
        return self.planner.jobs()

    def start_planner(self) -> Planner:
        """Make dry runs cheap from now on; the caller closes what this gives."""
        self.planner = Planner(self.root, self.environment())
        return self.planner


def copy_checkout(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def write_corpus(folder: Path, seed: int, n: int = 24) -> None:
    generator = random.Random(seed)
    for language, words in WORDS.items():
        (folder / language).mkdir(parents=True)
        for i in range(n):
            text = " ".join(generator.choice(words) for _ in range(90))
            (folder / language / f"{i}.txt").write_text(f"{text} {seed}.{i}\n")


def write_entities(folder: Path) -> None:
    """Two tables in the layouts of the thesis: places of four countries, works of four decades."""
    generator = random.Random(3)
    syllables = [a + b + c for a in "BDKL" for b in "aeiou" for c in "mnrst"]
    names = iter(generator.sample(syllables, 88))
    countries = ["France", "Kenya", "Japan", "Chile"]
    places = [
        f"{next(names)},{countries[i % 4]},{generator.uniform(-60, 60)},"
        f"{generator.uniform(-180, 180)},{100 + i},town,{i % 5 == 0}"
        for i in range(48)
    ]
    works = [
        f"{next(names)},X{i},{1950 + i}-05-01,P{i},{100 + i},song,{i % 5 == 0}" for i in range(40)
    ]
    for name, columns, rows in (
        ("places", "name,country,latitude,longitude,page_views,entity_type,is_test", places),
        ("works", "title,creator,release_date,page_name,page_views,entity_type,is_test", works),
    ):
        (folder / f"{name}.csv").write_text("\n".join([columns, *rows]) + "\n")


def change(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of a config with another value at a dotted key."""
    changed = copy.deepcopy(config)
    section = changed
    *parents, last = key.split(".")
    for name in parents:
        section = section[int(name)] if isinstance(section, list) else section.setdefault(name, {})
    section[last] = value
    return changed


def write_sources(path: Path, sources: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"sources": sources}, sort_keys=False))


def read_sources(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["sources"]


def make_project(root: Path) -> Project:
    """A checkout, a model, a corpus in a local folder, and another in a pinned source."""
    copy_checkout(root)
    make_model("gpt2", root / "data" / "model")
    write_corpus(root / "data" / "files", seed=1)
    write_corpus(root / "data" / "packed", seed=2)
    write_entities(root / "data")
    package = Path(
        shutil.make_archive(str(root / "data" / "pack"), "zip", root / "data" / "packed")
    )

    write_sources(
        root / SOURCES,
        {
            "packed": {
                "registry": "url",
                "licence": "CC0-1.0",
                "description": "Generated files.",
                "packages": [
                    {
                        "name": "pack.zip",
                        "url": package.as_uri(),
                        "sha256": hashlib.sha256(package.read_bytes()).hexdigest(),
                    }
                ],
            }
        },
    )

    def parts(**origin: str) -> list[dict]:
        return [
            {"reader": "files", "subset": "code", "language": name, "files": [f"*{name}/*"],
             **origin}
            for name in WORDS
        ]  # fmt: skip

    labels = {"kind": "code_language", "sequences_per_class": 10, "skip_tokens": 3}
    reading = {"models": ["toy-a"], "text": "code", "sequences": 8, "n_ctx": 16}
    project = Project(root)
    project.set_config(
        {
            "sources": SOURCES,
            "models": {
                "tiny": {"source": {"kind": "local", "path": "data/model"}},
                "toy-a": {"source": {"kind": "trained", "recipe": "toy"}},
                "toy-b": {"source": {"kind": "trained", "recipe": "toy", "seed": 1},
                          "tokenizer": "toy-a"},
            },
            "training": {
                "toy": {"corpus": "second", "vocabulary": 270, "n_layers": 2, "d_model": 8,
                        "n_heads": 2, "n_ctx": 16, "steps": 4, "batch": 2, "warmup": 1},
            },
            "texts": {
                "code": {"corpus": "second", "n_ctx": 16, "max_tokens": 2000, "split": "held_out"},
            },
            "universality": {
                "groups": {"toys": {"reference": "toy-a", "others": ["toy-b"], "text": "code"}},
                "explanations": {
                    "pairs": [{"model": "toy-a", "text": "code"}],
                    "min_positives": 5,
                    "unigrams": {"min_variants": 1},
                    "topics": {"components": 1, "share": 0.3},
                },
            },
            "interventions": {
                "entropy_neurons": {**reading, "neurons": 1, "controls": 1, "positions": 2,
                                    "skip": 4, "min_norm_quantile": 0.2},
                "attention_neurons": {**reading, "position_step": 4, "random_directions": 10,
                                      "pairs": 1, "positions": 2, "attention_range": [0, 1]},
                "next_tokens": {**reading, "per_role": 2, "deviations": 0.5, "min_count": 1,
                                "resamples": 10},
            },
            "entities": {
                "places": {
                    "target": "space",
                    "parts": [{"reader": "published", "layout": "world_place",
                               "path": "data/places.csv"}],
                    "split": {"kind": "published"},
                    "prompts": {"empty": {}, "where": {"before": "At "}},
                },
                "works": {
                    "target": "time",
                    "parts": [{"reader": "published", "layout": "art", "path": "data/works.csv",
                               "template": "{title}"}],
                    "split": {"kind": "published"},
                },
            },
            "spacetime": {
                "models": ["toy-a"],
                "probes": {"mlp": False, "dimensions": [2], "bag_tokens": 20},
                "holdouts": {"min_entities": 5, "min_test": 1},
                "neurons": {"top": 10},
                "pinning": {"tables": ["works"], "template": "{title} 19", "examples": 1,
                            "controls": 1, "deviations": [-1, 1]},
                "ablation": {"tables": ["places"], "text": "code", "sequences": 4, "n_ctx": 8,
                             "neurons": 1, "contexts": 2},
            },
            "corpora": {
                "first": {"parts": parts(source="packed")},
                "second": {"parts": parts(path="data/files")},
            },
            "datasets": {
                "first": {"corpus": "first", "collection": {**labels}, "n_ctx": 17},
                "second": {"corpus": "second", "collection": {**labels}, "n_ctx": 17},
            },
            "activations": {"layers": [0, 1]},
            "probing": {
                "models": ["tiny"],
                "transfer": {"second": "first"},
                "rankings": ["mean_difference", "random"],
                "max_k": 2,
                "prefilter": 32,
            },
            "dynamics": {
                "trials": 1,
                "systems": {
                    "hopf": {"system": "hopf", "dt": 0.01, "durations": [0.4], "degree": 3,
                             "window": 9, "thresholds": [0.1, 0.5]},
                    "well": {"system": "duffing", "dt": 0.01, "durations": [0.5], "degree": 3,
                             "window": 9, "thresholds": [0.1, 0.5]},
                    "waves": {"system": "kuramoto_sivashinsky", "dt": 0.1, "durations": [2.0],
                              "degree": 2, "derivative_order": 4, "points": 32,
                              "weak": {"domains": 40, "width": 0.4}, "thresholds": [0.4]},
                },
                "methods": {"max_terms": 2, "alphas": [0.01], "nus": [1.0], "sr3_iterations": 3,
                            "ensembles": 2},
                "recovery": {"systems": ["hopf"]},
                "runtime": {"systems": ["hopf"], "degrees": [3], "trials": 1},
                "constraints": {"systems": ["well"], "terms": [2], "alphas": [0.01]},
                "fields": {"systems": ["waves"], "alphas": [0.01], "ensembles": 2},
                "scoring": {"trials": 1, "duration": 0.5},
                "in_context": {
                    "models": ["tiny"],
                    "systems": {"map": {"system": "logistic_map", "values": 20, "decimals": 1,
                                        "high": 1.2, "prefix": "", "degree": 2}},
                    "controls": [],
                    "tree": {"positions": 2},
                    "probes": {"layers": [0, 1], "delays": [1]},
                }
            },
            "compute": {"device": "cpu", "dask": {"workers": 1}},
        }
    )  # fmt: skip
    return project
