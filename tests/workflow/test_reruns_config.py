"""For every key of the config: exactly the jobs that it concerns and what follows from them.

`CONCERNS` says in one line a section what its keys concern; the keys are taken from the config
models, and each gets another valid value by itself. One key a line is planned; with
ARTNEURO_KEYS=together all keys of a line in one plan, with ARTNEURO_KEYS=each every key by itself
(some minutes).
"""

from __future__ import annotations

import fnmatch
import os
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from artneuro.config import Config, load_config
from artneuro.core.errors import ArtneuroError
from tests.workflow.full_project import check, following, plan_all
from tests.workflow.planner import PlannedJob
from tests.workflow.projects import Project, change

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KEYS = os.environ.get("ARTNEURO_KEYS", "first")

# Keys that say which jobs there are: what they add is tested below, or in test_reruns.py.
WHICH = "which jobs there are"
RUNS = [
    "dump_activations({0}, *", "dump_share({0}, *", "dump_entities({0}, *", "ablate_neurons({0}, *",
    "refine_neurons({0}, *", "explain_neurons({0}, *", "trace_examples({0}, *",
    "pin_entropy_neurons({0}, *", "score_attention_neurons({0}, *", "score_next_tokens({0}, *",
    "find_entity_neurons({0}, *", "pin_entity_neurons({0}, *", "ablate_entity_neurons({0}, *",
    "predict_in_context({0}, *",
]  # fmt: skip
FITS = ["fit_probes", "fit_sparsity_curves", "enumerate_neurons", "measure_superposition"]
REGRESSES = ["score_recovery({0})", "score_forces({0})", "score_fields({0})",
             "time_regressions({0})"]  # fmt: skip
DUMPS = ["dump_activations", "dump_share"]

# Keys, with `*` for a name and `{0}` for the first such name on the other side, and the jobs that
# they concern: a rule, or a rule with the values of its wildcards. The longest line counts.
CONCERNS: dict[str, list[str] | str] = {
    "sources": WHICH,
    "compute": [],
    "plan": [],
    "models.*.source": ["fetch_model({0})", "train_model({0})"],
    "models.*.source.recipe": WHICH,
    "models.*.source.source": WHICH,
    "models.*.tokenizer": WHICH,
    "models.*.dtype": RUNS,
    "models.toy-*.dtype": [*RUNS, "accumulate_correlations"],
    "models.*.trust_remote_code": ["fetch_model({0})"],
    "models.toy-*.trust_remote_code": [*RUNS, "accumulate_correlations"],
    "models.*.parameters": [],
    "models.*.gpus": [],
    "training.*": ["train_model"],
    "training.*.corpus": WHICH,
    "training.*.held_out": ["train_tokenizer({0})"],
    "training.*.vocabulary": ["train_tokenizer({0})"],
    "training.*.n_ctx": ["train_tokenizer({0})"],
    "training.*.checkpoint_minutes": [],
    "corpora.*": ["read_documents({0})"],
    "corpora.*.parts.*.source": WHICH,
    "corpora.*.parts.*.only_without": WHICH,
    "people.*": ["read_people({0})"],
    "people.*.source": WHICH,
    "datasets.*": ["build_tokens(*, {0})"],
    "datasets.*.corpus": WHICH,
    "datasets.*.collection.people": WHICH,
    "datasets.*.aggregation": ["dump_activations(*, {0})", "dump_share(*, {0}, *"],
    "texts.*": ["build_text(*, {0})"],
    "texts.*.corpus": WHICH,
    "dbpedia.*": ["query_dbpedia({0})"],
    "entities.*": ["build_entities({0})"],
    "entities.*.prompts.*": ["build_prompts(*, {0}, {1})"],
    "activations": [*DUMPS, "dump_entities"],
    "activations.sites": DUMPS,
    "activations.layers": DUMPS,
    "activations.dtype": DUMPS,
    "activations.jobs": WHICH,
    "probing": ["fit_probes"],
    "probing.models": WHICH,
    "probing.datasets": WHICH,
    "probing.transfer": WHICH,
    "probing.sites": FITS,
    "probing.C": FITS,
    "probing.scale": FITS,
    "probing.prefilter": ["fit_probes", "enumerate_neurons"],
    "probing.l1_C": ["fit_probes", "enumerate_neurons"],
    "probing.seed": ["fit_probes", "fit_sparsity_curves", "measure_superposition",
                     "refine_neurons"],
    "probing.best_neurons": ["collect_best_neurons", "score_transfer"],
    "probing.histogram_bins": ["collect_best_neurons", "score_transfer", "refine_neurons"],
    "probing.comparison": ["fit_probes(*, second)"],
    "probing.comparison.datasets": WHICH,
    "probing.sparsity": ["fit_sparsity_curves"],
    "probing.sparsity.datasets": WHICH,
    "probing.sparsity.schedule": ["fit_sparsity_curves", "fit_probes(*, second)"],
    "probing.sparsity.prefilter": ["fit_sparsity_curves", "fit_probes(*, second)"],
    "probing.enumeration": ["enumerate_neurons"],
    "probing.enumeration.datasets": WHICH,
    "probing.superposition": ["measure_superposition"],
    "probing.superposition.datasets": WHICH,
    "probing.superposition.background": WHICH,
    "probing.refinement": ["refine_neurons"],
    "probing.refinement.datasets": WHICH,
    "weights": ["measure_effects"],
    "weights.models": WHICH,
    "weights.kurtosis": ["measure_effects", "build_roles_page"],
    "universality": ["accumulate_correlations"],
    "universality.exclude": ["accumulate_correlations", "explain_neurons"],
    "universality.rotation": ["score_universality"],
    "universality.rotations": ["score_universality"],
    "universality.top_k": ["score_universality"],
    "universality.seed": ["score_universality"],
    "universality.threshold": ["score_universality", "build_universality_page"],
    "universality.store_matrix": WHICH,
    "universality.groups.*.reference": WHICH,
    "universality.groups.*.others": WHICH,
    "universality.groups.*.text": WHICH,
    "universality.groups.*.tiles": WHICH,
    "universality.groups.*.token_parts": WHICH,
    "universality.explanations": ["explain_neurons"],
    "universality.explanations.pairs.*.model": WHICH,
    "universality.explanations.pairs.*.text": WHICH,
    "universality.explanations.pairs.*.example_tokens": ["trace_examples"],
    "universality.explanations.families": ["assign_families", "build_families_page"],
    "universality.explanations.examples": ["trace_examples"],
    "interventions.*.models": WHICH,
    "interventions.*.text": WHICH,
    "interventions.*.datasets": WHICH,
    "interventions.context_neurons": ["ablate_neurons"],
    "interventions.entropy_neurons": ["pin_entropy_neurons"],
    "interventions.attention_neurons": ["score_attention_neurons"],
    "interventions.next_tokens": ["score_next_tokens"],
    "spacetime": ["dump_entities"],
    "spacetime.models": WHICH,
    "spacetime.entities": WHICH,
    "spacetime.main_prompt": WHICH,
    "spacetime.*.tables": WHICH,
    "spacetime.ablation.text": WHICH,
    "spacetime.probes": ["fit_entity_probes"],
    "spacetime.probes.mlp": ["fit_entity_probes(*, empty)"],
    "spacetime.holdouts": ["score_holdouts"],
    "spacetime.neurons": ["find_entity_neurons"],
    "spacetime.pinning": ["pin_entity_neurons"],
    "spacetime.ablation": ["ablate_entity_neurons"],
    "dynamics": ["simulate_system"],
    # No field is split in time.
    "dynamics.validation_share": ["simulate_system(hopf)", "simulate_system(well)",
                                  "time_regressions"],
    "dynamics.systems.*": REGRESSES,
    "dynamics.systems.*.system": ["simulate_system({0})"],
    "dynamics.systems.*.dt": ["simulate_system({0})"],
    "dynamics.systems.*.points": ["simulate_system({0})"],
    "dynamics.systems.*.substeps": ["simulate_system({0})"],
    "dynamics.methods": [pattern.removesuffix("({0})") for pattern in REGRESSES],
    "dynamics.recovery.systems": WHICH,
    "dynamics.runtime.systems": WHICH,
    "dynamics.constraints.systems": WHICH,
    "dynamics.fields.systems": WHICH,
    "dynamics.in_context.models": WHICH,
    "dynamics.runtime": ["time_regressions"],
    "dynamics.constraints": ["score_forces"],
    "dynamics.fields": ["score_fields"],
    "dynamics.in_context": ["predict_in_context"],
    "dynamics.in_context.systems.*.degree": ["probe_in_context(*, {0})"],
    "dynamics.in_context.systems.*.windows": ["probe_in_context(*, {0})"],
    "dynamics.in_context.probes": ["probe_in_context"],
    "dynamics.in_context.probes.layers": ["predict_in_context"],
    "dynamics.in_context.equations": ["probe_in_context"],
    "report": ["build_report"],
    "report.refined_neurons": ["build_refinement_page"],
    "report.scale_tolerance": ["build_scale_page"],
}  # fmt: skip


def row_of(key: str) -> str:
    """The line of `CONCERNS` that a dotted key falls under: the longest, a name before a star."""
    parts = key.split(".")
    rows = [row for row in CONCERNS if fits(row.split("."), parts)]
    assert rows, f"CONCERNS says nothing of {key}"
    return max(rows, key=lambda row: (row.count("."), -row.count("*"), len(row)))


def fits(row: list[str], parts: list[str]) -> bool:
    return len(row) <= len(parts) and all(map(fnmatch.fnmatchcase, parts, row))


def names_in(key: str) -> list[str]:
    """What stands in a key for the stars of its line."""
    pairs = zip(key.split("."), row_of(key).split("."), strict=False)
    return [part for part, row in pairs if "*" in row]


def concerned(key: str, jobs: Iterable[PlannedJob]) -> set[PlannedJob]:
    """The jobs that a key concerns."""
    patterns = [pattern.format(*names_in(key)) for pattern in CONCERNS[row_of(key)]]
    return {
        job
        for job in jobs
        if any(fnmatch.fnmatchcase(str(job), p) or job.rule == p for p in patterns)
    }


# --- another valid value of every key ------------------------------------------------------------


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted key, value and annotation of everything in a validated config."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            if isinstance(inner, BaseModel | dict) or _is_sections(inner):
                yield from leaves(inner, f"{key}.{name}")
            else:
                yield f"{key}.{name}"[1:], inner, field.annotation
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}")
    elif _is_sections(value):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{key}.{i}")


def _is_sections(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], BaseModel)


def literals(annotation: Any) -> list[Any]:
    """Everything that a Literal in an annotation allows."""
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [v for inner in typing.get_args(annotation) for v in literals(inner)]


def others(value: Any, annotation: Any) -> Iterator[Any]:
    """Values to try instead of one."""
    choices = literals(annotation)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value * 2, value + 0.5)
    elif isinstance(value, float):
        yield from (value * 0.9, value * 0.5, value + 0.25, value * 2)
    elif isinstance(value, str):
        yield from (choice for choice in choices if choice != value)
        yield from (f"{value}x", f"./{value}", [0])
    elif isinstance(value, list | tuple):
        listed = list(value)
        numbers = [v * 0.5 for v in listed] if all(isinstance(v, float) for v in listed) else []
        yield from (listed[:-1], listed[::-1], [*listed, *listed[-1:]], numbers)
        yield from ([*listed, choice] for choice in choices if choice not in listed)
        yield from ([1], [0.5], ["Python", "Go"], ["x"], [2, 3])
        if listed and isinstance(listed[-1], int | float):
            yield [*listed[:-1], listed[-1] + 1]
    else:
        yield from (1, 2, 0.5, True, *choices, "x", "name")


def dumped(values: dict[str, Any]) -> dict[str, Any]:
    return load_config(values, ".")[0].model_dump(mode="json")


def changed_configs(raw: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of the config with the first other value that is valid and differs."""
    config, _ = load_config(raw, ".")
    before = config.model_dump(mode="json")
    for key, value, annotation in leaves(config):
        if CONCERNS[row_of(key)] == WHICH or key.endswith((".kind", ".reader")):
            continue
        for other in others(value, annotation):
            try:
                changed = change(raw, key, list(other) if isinstance(other, tuple) else other)
                if dumped(changed) != before:
                    yield key, changed
                    break
            except (ArtneuroError, ValueError, TypeError, OverflowError):
                continue


@pytest.fixture(scope="module")
def cases(projects: list[Project]) -> dict[str, dict[str, Any]]:
    """Changed configs by key: one key for each line of CONCERNS, or all of them."""
    here = os.getcwd()
    os.chdir(projects[0].root)
    try:
        found = dict(changed_configs(projects[0].config()))
        assert len(found) > 300
        if KEYS == "each":
            return found
        # Keys of one line and one name, for which the line says the same.
        alike: dict[tuple, dict[str, dict[str, Any]]] = {}
        for key, config in found.items():
            alike.setdefault((row_of(key), *names_in(key)), {})[key] = config
        if KEYS == "together":
            raw = projects[0].config()
            return {", ".join(keys): together(raw, keys) for keys in alike.values()}
        firsts = {line[0]: next(iter(keys)) for line, keys in reversed(alike.items())}
        return {key: found[key] for key in firsts.values()}
    finally:
        os.chdir(here)


def together(raw: dict[str, Any], changed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All changed keys in one config, but for those that do not fit the ones before."""
    found = raw
    for key, config in changed.items():
        value: Any = config
        for name in key.split("."):
            value = value[int(name) if isinstance(value, list) else name]
        both = change(found, key, value)
        try:
            load_config(both, ".")
        except ArtneuroError:
            continue
        found = both
    return found


def test_every_section_of_the_config_is_told_of():
    for name in Config.model_fields:
        assert any(row.split(".")[0] == name for row in CONCERNS), name


def test_every_pattern_names_jobs(all_jobs):
    rules = {job.rule for job in all_jobs}
    named = {p.split("(")[0] for v in CONCERNS.values() if v != WHICH for p in v}
    assert named <= rules


def test_each_key(projects, all_jobs, cases):
    texts = {
        key: {"config.yaml": yaml.safe_dump(config, sort_keys=False)}
        for key, config in cases.items()
    }
    planned = plan_all(projects, texts)
    wrong = []
    for key in cases:
        try:
            first = concerned(key.split(", ")[0], all_jobs)
            check(planned[key], following(all_jobs, first), key)
        except Exception as error:
            wrong.append(f"{key}: {error}")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)
