"""What one change makes Snakemake plan: exactly the rules whose results may differ.

A tiny project (a random GPT-2, generated files) is run once with the real Snakefile in a copy of
the checkout. Then one thing is changed at a time, the plan is read, and the change is undone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.full_project import records, touch_results
from tests.workflow.projects import (
    SOURCES,
    Project,
    change,
    make_project,
    read_sources,
    write_corpus,  # noqa: F401
    write_sources,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """The project, run to its end."""
    made = make_project(tmp_path_factory.mktemp("reruns") / "project")
    made.snakemake()
    assert (made.root / "results" / "report" / "index.html").exists()
    planner = made.start_planner()
    yield made
    planner.close()


@pytest.fixture(autouse=True)
def undone(request) -> Iterator[None]:
    """Put back every file that a test changed, and its time stamps."""
    if "project" not in request.fixturenames:
        yield
        return
    root = request.getfixturevalue("project").root
    files = [p for p in root.rglob("*") if p.is_file() and not belongs_to_run(p, root)]
    saved = {p: (p.read_bytes(), p.stat()) for p in files}
    yield
    for path in root.rglob("*"):
        if path.is_file() and path not in saved and not belongs_to_run(path, root):
            path.unlink()
    for path, (data, stat) in saved.items():
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def belongs_to_run(path: Path, root: Path) -> bool:
    first = path.relative_to(root).parts[0]
    return first in ("results", "logs", ".snakemake", ".cache") or "fetched" in path.parts


def edit(project: Project, name: str, old: str, new: str) -> None:
    path = project.root / name
    text = path.read_text()
    assert old in text, f"{name} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def append(project: Project, name: str, text: str) -> None:
    path = project.root / name
    path.write_text(path.read_text() + text)


# The rules with their jobs in this project, and what each makes run again.
JOBS = {
    "fetch_source": 1,
    "fetch_model": 1,
    "read_documents": 2,
    "build_tokens": 2,
    "label_features": 2,
    "dump_activations": 2,
    "fit_probes": 2,
    "collect_best_neurons": 2,
    "score_transfer": 1,
    "collect_methods": 1,
    "plot_scores": 2,
    "plot_transfer": 1,
    "plot_methods": 1,
    "build_report": 1,
    "build_scale_page": 1,
    "build_methods_page": 1,
    "predict_in_context": 1,
    "probe_in_context": 1,
    "build_in_context_page": 1,
    "simulate_system": 3,
    "score_recovery": 1,
    "score_forces": 1,
    "score_fields": 1,
    "time_regressions": 1,
    "build_dynamics_page": 1,
    "train_tokenizer": 1,
    "tokenize_documents": 1,
    "train_model": 2,
    "build_text": 1,
    "accumulate_correlations": 1,
    "score_universality": 1,
    "measure_effects": 1,
    "build_universality_page": 1,
    "explain_neurons": 1,
    "assign_families": 1,
    "name_universal_neurons": 1,
    "trace_examples": 1,
    "build_families_page": 1,
    "pin_entropy_neurons": 1,
    "score_attention_neurons": 1,
    "score_next_tokens": 1,
    "build_roles_page": 1,
    "build_entities": 2,
    "build_prompts": 3,
    "dump_entities": 3,
    "fit_entity_probes": 3,
    "score_holdouts": 2,
    "score_prompts": 1,
    "find_entity_neurons": 2,
    "pin_entity_neurons": 1,
    "ablate_entity_neurons": 1,
    "build_maps_page": 1,
    "build_space_time_page": 1,
}
AFTER = {
    "build_universality_page": set(),
    "build_roles_page": set(),
    "pin_entropy_neurons": {"build_roles_page"},
    "score_attention_neurons": {"build_roles_page"},
    "score_next_tokens": {"build_roles_page"},
    "measure_effects": {
        "build_universality_page",
        "pin_entropy_neurons",
        "score_next_tokens",
        "build_roles_page",
    },
    "build_maps_page": set(),
    "build_space_time_page": set(),
    "pin_entity_neurons": {"build_space_time_page"},
    "ablate_entity_neurons": {"build_space_time_page"},
    "score_prompts": {"build_space_time_page"},
    "score_holdouts": {"build_maps_page", "build_space_time_page"},
    "build_families_page": set(),
    "trace_examples": {"build_families_page"},
    "name_universal_neurons": {"trace_examples", "build_families_page"},
    "assign_families": {"name_universal_neurons", "trace_examples", "build_families_page"},
    "score_universality": {
        "build_universality_page",
        "name_universal_neurons",
        "trace_examples",
        "build_families_page",
    },
    "build_dynamics_page": set(),
    "score_recovery": {"build_dynamics_page"},
    "score_forces": {"build_dynamics_page"},
    "score_fields": {"build_dynamics_page"},
    "time_regressions": {"build_dynamics_page"},
    "build_in_context_page": set(),
    "probe_in_context": {"build_in_context_page"},
    "predict_in_context": {"probe_in_context", "build_in_context_page"},
    "build_report": set(),
    "build_scale_page": set(),
    "plot_transfer": set(),
    "plot_scores": set(),
    "plot_methods": set(),
    "build_methods_page": set(),
    "collect_methods": {"plot_methods", "build_methods_page"},
    "score_transfer": {"plot_transfer", "build_report"},
    "collect_best_neurons": {"plot_scores", "build_report"},
}
AFTER["simulate_system"] = {
    "score_recovery", "score_forces", "score_fields", "time_regressions", "build_dynamics_page",
}  # fmt: skip
AFTER["fit_probes"] = {"collect_best_neurons", "score_transfer", "plot_scores", "build_report"} | (
    AFTER["score_transfer"] | {"collect_methods", "build_scale_page"} | AFTER["collect_methods"]
)
AFTER["dump_activations"] = {"fit_probes"} | AFTER["fit_probes"]
AFTER["label_features"] = {"dump_activations"} | AFTER["dump_activations"]
AFTER["build_tokens"] = {"label_features"} | AFTER["label_features"]
AFTER["accumulate_correlations"] = {"score_universality"} | AFTER["score_universality"]
AFTER["explain_neurons"] = {"assign_families", "build_universality_page"} | AFTER["assign_families"]
AFTER["find_entity_neurons"] = {"pin_entity_neurons", "ablate_entity_neurons"} | (
    AFTER["ablate_entity_neurons"]
)
AFTER["fit_entity_probes"] = {"score_holdouts", "score_prompts", "find_entity_neurons"} | (
    AFTER["score_holdouts"] | AFTER["find_entity_neurons"]
)
AFTER["dump_entities"] = {"fit_entity_probes"} | AFTER["fit_entity_probes"]
AFTER["build_prompts"] = {"dump_entities"} | AFTER["dump_entities"]
AFTER["build_entities"] = {"build_prompts"} | AFTER["build_prompts"]
READS_TEXT = {"accumulate_correlations", "explain_neurons", "pin_entropy_neurons",
              "score_attention_neurons", "score_next_tokens", "ablate_entity_neurons"}  # fmt: skip
AFTER["build_text"] = READS_TEXT.union(*(AFTER[rule] for rule in READS_TEXT))
AFTER["train_model"] = {"build_text", "measure_effects", "build_prompts"} | (
    AFTER["build_text"] | AFTER["measure_effects"] | AFTER["build_prompts"]
)
AFTER["tokenize_documents"] = {"train_model"} | AFTER["train_model"]
AFTER["train_tokenizer"] = {"tokenize_documents"} | AFTER["tokenize_documents"]
AFTER["read_documents"] = {"build_tokens", "train_tokenizer"} | (
    AFTER["build_tokens"] | AFTER["train_tokenizer"]
)
AFTER["fetch_model"] = {"build_tokens", "predict_in_context"} | (
    AFTER["build_tokens"] | AFTER["predict_in_context"]
)
AFTER["fetch_source"] = {"read_documents"} | AFTER["read_documents"]


def from_rules(*rules: str) -> dict[str, int]:
    """All jobs of `rules` and of what follows from them."""
    names = set(rules).union(*(AFTER[r] for r in rules))
    return {name: n for name, n in JOBS.items() if name in names}


def test_a_finished_run_plans_nothing(project: Project):
    assert project.plan() == {}


def test_the_audit_of_a_finished_run_finds_nothing(project: Project):
    done = subprocess.run(
        [sys.executable, "-m", "artneuro.cli", "audit", "results/"],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(project.root / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything fits" in done.stdout


def test_results_that_are_touched_are_recorded_as_those_of_a_run(tmp_path: Path, project: Project):
    """What the tests stand on that mark results as made instead of making them."""
    left_out = shutil.ignore_patterns("results", "logs", ".snakemake", ".cache", "fetched")
    touched = Project(tmp_path / "touched")
    shutil.copytree(project.root, touched.root, ignore=left_out)
    planner = touched.start_planner()
    try:
        touch_results(touched)
    finally:
        planner.close()
    made = records(project)
    assert len(made) > 100
    assert records(touched) == made


MODULE_CHANGES = {
    # A module that only one script imports, and one that several reach through others.
    "probing/fit.py": ("fit_probes",),
    "probing/neurons.py": ("collect_best_neurons", "score_transfer"),
    "probing/transfer.py": ("score_transfer",),
    "activations/dump.py": ("dump_activations", "dump_entities"),
    "datasets/documents.py": ("read_documents",),
    "datasets/labels.py": ("label_features",),
    "models/fetch.py": ("fetch_model",),
    "models/training.py": ("train_model",),
    "datasets/texts.py": ("build_text",),
    "universality/properties.py": ("build_universality_page",),
    "universality/topics.py": ("explain_neurons", "trace_examples"),
    "universality/examples.py": ("trace_examples",),
    "report/families_figures.py": ("build_families_page",),
    "dynamics/sequence_model.py": ("predict_in_context",),
    "dynamics/state_probes.py": ("probe_in_context",),
    "dynamics/greedy.py": ("score_recovery", "score_forces", "score_fields"),
    "dynamics/timing.py": ("time_regressions",),
    "report/dynamics_figures.py": ("build_dynamics_page",),
    "datasets/entity_leakage.py": ("build_entities",),
    "datasets/prompts.py": ("build_prompts",),
    "spacetime/ridge.py": ("fit_entity_probes",),
    "spacetime/holdouts.py": ("score_holdouts",),
    "spacetime/neurons.py": ("find_entity_neurons",),
    "spacetime/neurons_choose.py": ("pin_entity_neurons", "ablate_entity_neurons"),
    "report/maps.py": ("build_maps_page",),
    # Several at once, each of a rule of its own.
    "interventions/entropy_pinning.py interventions/attention_scores.py": (
        "pin_entropy_neurons",
        "score_attention_neurons",
    ),
    "interventions/next_tokens.py spacetime/pinning.py": (
        "score_next_tokens",
        "pin_entity_neurons",
    ),
    "report/roles.py spacetime/ablation.py": ("build_roles_page", "ablate_entity_neurons"),
    # Pages are told of by what reads the sources, too.
    "core/archives.py": (
        "fetch_source",
        "fetch_model",
        "read_documents",
        "build_entities",
        "build_in_context_page",
        "build_dynamics_page",
        "build_roles_page",
    ),
    "core/job.py": tuple(JOBS),
}


@pytest.mark.parametrize("modules", MODULE_CHANGES)
def test_edited_module(project: Project, modules: str):
    for module in modules.split():
        append(project, f"src/artneuro/{module}", "\n_CHANGED = 1\n")
    assert project.plan() == from_rules(*MODULE_CHANGES[modules])


def test_new_module_counts_once_it_is_imported(project: Project):
    (project.root / "src/artneuro/probing/extra.py").write_text('"""More."""\n\nX = 1\n')
    assert project.plan() == {}
    append(project, "src/artneuro/probing/transfer.py", "\nfrom artneuro.probing import extra\n")
    assert project.plan() == from_rules("score_transfer")


def test_edited_template_of_the_report(project: Project):
    template = next((project.root / "src/artneuro/report/templates").glob("*"))
    template.write_text(template.read_text() + "\n")
    planned = project.plan()
    assert planned["build_report"] == 1
    plots = {"plot_scores", "plot_transfer", "plot_methods"}
    pages = {name for name in JOBS if re.match(r"build_(report|.*_page)$", name)}
    assert set(planned) <= pages | plots


def test_edited_script(project: Project):
    append(project, "workflow/scripts/probing/score_transfer.py", "\nprint(1)\n")
    assert project.plan() == from_rules("score_transfer")


def test_comments_and_docstrings(project: Project):
    for name in (
        "src/artneuro/core/job.py",
        "src/artneuro/probing/fit.py",
        "workflow/scripts/probing/fit_probes.py",
        "workflow/rules/probing.smk",
        "Snakefile",
    ):
        append(project, name, "\n# A remark.\n")
    for name in ("src/artneuro/probing/fit.py", "workflow/scripts/probing/fit_probes.py"):
        edit(project, name, '"""', '"""In other words: ')
    assert project.plan() == {}


def test_time_stamps_of_all_sources(project: Project):
    for folder in ("src", "workflow", "profiles", SOURCES, "Snakefile"):
        path = project.root / folder
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            os.utime(file)
    assert project.plan() == {}


def test_unrelated_files(project: Project):
    for name in (
        "README.md",
        "src/artneuro/provenance/audit.py",
        "src/artneuro/cli.py",
        "src/artneuro/config_docs.py",
        # No table of entities asks DBpedia.
        "src/artneuro/datasets/sparql.py",
        "envs/requirements.lock",
        "data/notes.txt",
    ):
        (project.root / name).touch()
        append(project, name, "\n\nNOTES = 1\n")
    assert project.plan() == {}


SECOND_ONLY = {
    "build_tokens": 1,
    "label_features": 1,
    "dump_activations": 1,
    "fit_probes": 1,
    "collect_best_neurons": 1,
    "score_transfer": 1,
    "collect_methods": 1,
    "plot_scores": 1,
    "plot_transfer": 1,
    "plot_methods": 1,
    "build_report": 1,
    "build_scale_page": 1,
    "build_methods_page": 1,
}
# What more probes on the second dataset make run again: the scores that its neurons have elsewhere
# are of the first.
SECOND_PROBES = {
    "fit_probes": 1,
    "collect_best_neurons": 1,
    "collect_methods": 1,
    "plot_scores": 1,
    "plot_methods": 1,
    "build_report": 1,
    "build_scale_page": 1,
    "build_methods_page": 1,
}
# What follows from the places alone, and from a prompt that is not the main one.
PLACES_ONLY = {
    "build_entities": 1,
    "build_prompts": 2,
    "dump_entities": 2,
    "fit_entity_probes": 2,
    "score_holdouts": 1,
    "score_prompts": 1,
    "find_entity_neurons": 1,
    "ablate_entity_neurons": 1,
    "build_maps_page": 1,
    "build_space_time_page": 1,
}
ONE_PROMPT = {
    "build_prompts": 1,
    "dump_entities": 1,
    "fit_entity_probes": 1,
    "score_prompts": 1,
    "build_space_time_page": 1,
}
CONFIG_CHANGES: dict[str, tuple[str, Any, dict[str, int]]] = {
    "model": ("models.tiny.source.path", "./data/model", from_rules("fetch_model")),
    "corpus": (
        "corpora.second.seed",
        5,
        {"read_documents": 1, **SECOND_ONLY, **from_rules("train_tokenizer")},
    ),
    "recipe": ("training.toy.steps", 5, from_rules("train_model")),
    "held-out documents": ("training.toy.held_out", 0.2, from_rules("train_tokenizer")),
    "text": ("texts.code.max_tokens", 1000, from_rules("build_text")),
    "threshold": ("universality.threshold", 0.4, from_rules("score_universality")),
    "labels of tokens": (
        "universality.explanations.min_positives", 6, from_rules("explain_neurons")
    ),
    "thresholds of families": (
        "universality.explanations.families.unigram",
        0.4,
        from_rules("assign_families", "build_families_page"),
    ),
    "neurons that are drawn": (
        "universality.explanations.examples.neurons", 3, from_rules("trace_examples")
    ),
    "a second seed": (
        "models.toy-b.source.seed",
        2,
        {"train_model": 1, **from_rules("accumulate_correlations")},
    ),
    "dataset": ("datasets.second.seed", 5, SECOND_ONLY),
    "labels": ("datasets.second.collection.skip_tokens", 4, SECOND_ONLY),
    "activations": ("activations.layers", [1, 2], from_rules("dump_activations")),
    "probing": ("probing.C", 0.5, from_rules("fit_probes")),
    "comparison": (
        "probing.comparison",
        {"datasets": ["second"], "rankings": ["adaptive"]},
        SECOND_PROBES,
    ),
    "sequence": (
        "dynamics.in_context.systems.map.values", 21, from_rules("predict_in_context")
    ),
    "trajectories": ("dynamics.rtol", 1e-9, from_rules("simulate_system")),
    "grids": (
        "dynamics.methods.sr3_iterations",
        4,
        from_rules("score_recovery", "score_forces", "score_fields", "time_regressions"),
    ),
    "noise": (
        "dynamics.systems.hopf.noise", [0.1], from_rules("score_recovery", "time_regressions")
    ),
    "constraints": ("dynamics.constraints.terms", [3], from_rules("score_forces")),
    "state probes": ("dynamics.in_context.probes.folds", 3, from_rules("probe_in_context")),
    "equations": (
        "dynamics.in_context.systems.map.degree", 3, from_rules("probe_in_context")
    ),
    "sparsity": (
        "probing.sparsity.datasets",
        ["first"],
        {"fit_sparsity_curves": 1, "plot_sparsity": 1, "build_methods_page": 1},
    ),
    "entities that are kept": ("entities.places.parts.0.min_popularity", 101, PLACES_ONLY),
    "a prompt": ("entities.places.prompts.where.before", "In ", ONE_PROMPT),
    "a further prompt": ("entities.places.prompts.upper", {"capitals": True}, ONE_PROMPT),
    "layers of places and dates": ("spacetime.layers", [1], from_rules("dump_entities")),
    "dimensions": ("spacetime.probes.dimensions", [3], from_rules("fit_entity_probes")),
    "blocks held out": ("spacetime.holdouts.max_blocks", 3, from_rules("score_holdouts")),
    "neurons along probes": ("spacetime.neurons.top", 9, from_rules("find_entity_neurons")),
    "who is ablated": ("spacetime.ablation.tables", [], {"build_space_time_page": 1}),
    "report": ("report.title", "Another title", from_rules("build_report")),
}  # fmt: skip
# Where work runs, how often it is saved and what else could be asked for changes no result.
NOTHING_CHANGES = {
    "compute.device": "auto",
    "compute.dask.workers": 2,
    "training.toy.checkpoint_minutes": 1,
    "probing.sparsity.prefilter": 9,
    "corpora.third": {"parts": [{"reader": "files", "subset": "x", "path": "nowhere"}]},
    "dbpedia.songs": {"table": "works"},
    "sources": "data/more.yaml",
}


@pytest.mark.parametrize("name", CONFIG_CHANGES)
def test_edited_config(project: Project, name: str):
    key, value, expected = CONFIG_CHANGES[name]
    project.set_config(change(project.config(), key, value))
    assert project.plan() == expected


def test_settings_that_change_no_result(project: Project):
    sources = read_sources(project.root / SOURCES)
    more = {"unused": sources["packed"], **sources}
    write_sources(project.root / NOTHING_CHANGES["sources"], more)
    config = project.config()
    for key, value in NOTHING_CHANGES.items():
        config = change(config, key, value)
    project.set_config(config)
    assert project.plan() == {}


def test_a_new_lock_asks_and_makes_nothing_again(project: Project):
    lock, accepted = "envs/requirements.lock", project.root / "results" / "requirements.lock"
    before = accepted.read_bytes()
    # The run has put down what it was made with.
    assert before == (project.root / lock).read_bytes()
    edit(project, lock, "numpy==", "numpy==9")
    for name in ("envs/environment.yaml", lock):
        append(project, name, "# Resolved anew.\n")
    printed = project.dry_run()
    assert "Nothing to be done" in printed
    assert re.search(r"lock has changed: (\d+) of \1 artifacts", printed)
    assert "  numpy " in printed
    try:
        accepted.write_bytes((project.root / lock).read_bytes())
        assert "has changed" not in project.dry_run()
    finally:
        accepted.write_bytes(before)


def test_layout_of_the_config(project: Project):
    config = project.config()
    text = yaml.safe_dump(dict(reversed(config.items())), default_flow_style=True)
    project.config_file.write_text(f"# A remark.\n{text}")
    assert project.plan() == {}


def test_another_dataset_adds_only_its_own_jobs(project: Project):
    config = project.config()
    third = {**config["datasets"]["second"], "seed": 9}
    project.set_config(change(config, "datasets.third", third))
    expected = {name: 1 for name in SECOND_ONLY if "transfer" not in name}
    assert project.plan() == expected


def test_neurons_that_are_held_and_what_reads_a_text(project: Project):
    config = project.config()
    for key, value in (
        ("spacetime.pinning.deviations", [-2, 2]),
        ("spacetime.ablation.sequences", 5),
        ("interventions.entropy_neurons.positions", 3),
        ("interventions.attention_neurons.pairs", 2),
        ("interventions.next_tokens.per_role", 3),
    ):
        config = change(config, key, value)
    project.set_config(config)
    assert project.plan() == from_rules(
        "pin_entity_neurons",
        "ablate_entity_neurons",
        "pin_entropy_neurons",
        "score_attention_neurons",
        "score_next_tokens",
    )


def test_another_main_prompt(project: Project):
    config = project.config()
    prompts = {"empty": {}, **config["entities"]["places"]["prompts"]}
    config = change(config, "entities.works.prompts", prompts)
    project.set_config(change(config, "spacetime.main_prompt", "where"))
    # The works' own new prompt, and all that the main prompt stands for.
    expected = {name: JOBS[name] for name in JOBS if name in AFTER["fit_entity_probes"]}
    assert project.plan() == {**expected, **ONE_PROMPT, "score_prompts": 2}


def test_another_table_adds_only_its_own_jobs(project: Project):
    config = project.config()
    project.set_config(change(config, "entities.more", config["entities"]["works"]))
    left_out = {"score_prompts": 0, "ablate_entity_neurons": 0}
    one = {**dict.fromkeys(PLACES_ONLY, 1), **left_out}
    assert project.plan() == {name: n for name, n in one.items() if n}


def test_pinned_source(project: Project):
    sources = read_sources(project.root / SOURCES)
    sources["packed"]["packages"][0]["sha256"] = "0" * 64
    write_sources(project.root / SOURCES, sources)
    one = {"fetch_source": 1, "read_documents": 1}
    rest = dict.fromkeys(SECOND_ONLY, 1)
    assert project.plan() == one | rest


def test_deleted_results(project: Project):
    # Snakemake makes a missing intermediate result again only where it is asked for.
    table, figure = "results/probing/tiny/second/transfer.parquet", "results/report/index.html"
    for name, targets, expected in (
        (table, [], {}),
        (table, [table], {"score_transfer": 1}),
        (figure, [], {"build_report": 1}),
    ):
        path = project.root / name
        saved = path.with_name("saved")
        path.rename(saved)
        try:
            assert project.plan(*targets) == expected
        finally:
            saved.rename(path)


def test_syntax_error_stops_the_plan_and_names_the_file(project: Project):
    append(project, "src/artneuro/probing/fit.py", "\ndef broken(:\n")
    with pytest.raises(AssertionError, match=r"probing/fit\.py"):
        project.plan()


def test_control_without_code_hashes_an_edit_is_missed(tmp_path: Path, project: Project):
    """The hashes are what notices an edit: Snakemake alone, with the same profile, does not."""
    control = make_project(tmp_path / "control")
    replaced = 0
    for rules in (control.root / "workflow" / "rules").glob("*.smk"):
        text, n = re.subn(r"code=code\([^)]*\)", "code={}", rules.read_text())
        rules.write_text(text)
        replaced += n
    assert replaced >= len(JOBS)
    control.snakemake("models")
    for each in (control, project):
        append(each, "src/artneuro/models/fetch.py", "\n_CHANGED = 1\n")
        append(each, "workflow/scripts/models/fetch_model.py", "\nprint(1)\n")
    assert control.plan("models") == {}
    assert project.plan("models") == {"fetch_model": 1}
