"""What `snakemake -n` plans, as a user calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from artneuro.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def plan(*arguments: str, cwd: Path = ROOT, check: bool = True) -> str:
    """Output of a dry run."""
    done = subprocess.run(
        [*SNAKEMAKE, "-n", "--nolock", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1"},
    )
    output = done.stdout + done.stderr
    if check:
        assert done.returncode == 0, output
    return output


def jobs(output: str) -> dict[str, int]:
    """Jobs by rule, from the table of a dry run."""
    table = output.split("Job stats:")[1]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def space_time_jobs(config: Config) -> dict[str, int]:
    """The jobs that the section `spacetime` of a config comes to, by rule."""
    pairs = config.mapped()
    tables = dict.fromkeys(table for _, table in pairs)
    prompts = {table: len(config.entities[table].prompts) for table in tables}
    written = dict.fromkeys((config.tokenizer(model), table) for model, table in pairs)
    queries = {query for table in tables for query in config.entities[table].query_names()}
    held = config.spacetime
    found = {
        "query_dbpedia": len(queries),
        "build_entities": len(tables),
        "build_prompts": sum(prompts[table] for _, table in written),
        "dump_entities": sum(prompts[table] for _, table in pairs),
        "fit_entity_probes": sum(prompts[table] for _, table in pairs),
        "score_holdouts": len(pairs),
        "score_prompts": sum(prompts[table] > 1 for _, table in pairs),
        "find_entity_neurons": sum(
            held.neurons.tables == "all"
            or table in {*held.neurons.tables, *held.pinning.tables, *held.ablation.tables}
            for _, table in pairs
        ),
        "pin_entity_neurons": sum(table in held.pinning.tables for _, table in pairs),
        "ablate_entity_neurons": sum(table in held.ablation.tables for _, table in pairs),
        "build_maps_page": int(bool(pairs)),
        "build_space_time_page": int(bool(pairs)),
    }
    return {rule: n for rule, n in found.items() if n}


@pytest.mark.slow
def test_another_folder_with_the_whole_path_of_the_snakefile(tmp_path: Path) -> None:
    found = jobs(plan("-s", str(ROOT / "Snakefile"), "-d", str(tmp_path), cwd=tmp_path))
    assert found["dump_activations"] == found["fit_probes"] == 10
    assert found["build_report"] == 1
    config, _ = load_config(ROOT / "config" / "config.yaml", ROOT)
    expected = space_time_jobs(config)
    assert set(expected) > {"score_prompts", "pin_entity_neurons", "ablate_entity_neurons"}
    assert expected.items() <= found.items()


@pytest.mark.slow
def test_the_catalog_finds_the_workflow(tmp_path: Path) -> None:
    found = jobs(plan("-s", str(ROOT / "workflow" / "Snakefile"), "-d", str(tmp_path)))
    assert found["build_report"] == 1


def test_the_slurm_profile_is_found_from_the_root(tmp_path: Path) -> None:
    found = jobs(plan("--profile", "slurm", "-d", str(tmp_path)))
    assert found["dump_activations"] == 10


def test_a_config_file_replaces_the_demo_and_a_single_value_changes_it(tmp_path: Path) -> None:
    smoke = str(ROOT / "config" / "smoke.yaml")
    found = jobs(plan("-d", str(tmp_path), "--configfile", smoke))
    assert found["dump_activations"] == 4
    assert "libreoffice-help" not in plan("-d", str(tmp_path), "--configfile", smoke)
    found = jobs(plan("-d", str(tmp_path), "--config", "probing={datasets: [text_features]}"))
    assert found["dump_activations"] == 1


@pytest.mark.slow
def test_a_single_result_can_be_asked_for(tmp_path: Path) -> None:
    target = "results/probing/smollm2-135m/code_language/scores.parquet"
    found = jobs(plan("-d", str(tmp_path), target))
    assert found["fit_probes"] == 1
    assert found["read_documents"] == 1
    assert "build_report" not in found


@pytest.mark.slow
def test_the_full_scale_is_planned_without_the_network(tmp_path: Path) -> None:
    thesis = str(ROOT / "config" / "thesis.yaml")
    config, _ = load_config(thesis, ROOT)
    # The six tables of chapter 4, each in several prompts.
    assert len({table for _, table in config.mapped()}) == 6
    for profile in ([], ["--profile", "slurm"]):
        found = jobs(plan("-d", str(tmp_path), "--configfile", thesis, *profile))
        assert found["fetch_model"] == len(config.models) - len(config.trained())
        assert found["explain_neurons"] == 3
        assert found["total"] < 2000
        assert space_time_jobs(config).items() <= found.items()


@pytest.mark.slow
def test_an_ensemble_of_ones_own_is_planned_without_the_network(tmp_path: Path) -> None:
    ensemble = str(ROOT / "config" / "ensemble.yaml")
    for profile in ([], ["--profile", "slurm"]):
        found = jobs(plan("-d", str(tmp_path), "--configfile", ensemble, *profile))
        assert found["train_model"] == 5
        assert found["train_tokenizer"] == found["build_universality_page"] == 1
        assert "fetch_model" not in found


def test_a_mistake_in_the_config_stops_before_any_job(tmp_path: Path) -> None:
    wrong = ["--config", "probing={models: [gpt9]}"]
    output = plan("-d", str(tmp_path), *wrong, check=False)
    assert "probing.models: there is no 'gpt9'; there are: smollm2-135m" in output
    assert "Traceback" not in output
    assert "Job stats" not in output


def test_a_key_that_is_there_twice_is_told(tmp_path: Path) -> None:
    config = tmp_path / "twice.yaml"
    config.write_text((ROOT / "config" / "smoke.yaml").read_text() + "\nreport: {}\nreport: {}\n")
    output = plan("--configfile", str(config), check=False)
    assert "the key 'report' is there twice" in output


def test_tables_of_entities_need_no_dataset(tmp_path: Path) -> None:
    smoke = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    kept = {key: smoke[key] for key in ("models", "entities", "spacetime", "corpora", "texts")}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(kept))
    config, _ = load_config(file, ROOT)
    expected = space_time_jobs(config)
    found = jobs(plan("-d", str(tmp_path), "--configfile", str(file)))
    assert expected.items() <= found.items()
    assert not {"build_report", "collect_methods", "dump_activations"} & set(found)
    kept["spacetime"]["pinning"]["tables"] = ["world"]
    file.write_text(yaml.safe_dump(kept))
    output = plan("-d", str(tmp_path), "--configfile", str(file), check=False)
    assert "spacetime.pinning.tables: 'world' is of places" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", ["models", "datasets", "activations", "weights", "probing", "spacetime", "dynamics"]
)
def test_each_stage_has_a_target(rule: str, tmp_path: Path) -> None:
    assert jobs(plan("-d", str(tmp_path), rule))[rule] == 1


@pytest.mark.slow
def test_dynamical_systems_need_no_language_model(tmp_path: Path) -> None:
    system = "{system: hopf, dt: 0.002, durations: [0.1], degree: 3, window: 9}"
    config = tmp_path / "config.yaml"
    config.write_text(f"dynamics: {{systems: {{hopf: {system}}}, recovery: {{systems: [hopf]}}}}\n")
    found = jobs(plan("-d", str(tmp_path), "--configfile", str(config)))
    assert not {"fetch_model", "build_report", "collect_methods"} & set(found)
    assert found["build_dynamics_page"] == found["score_recovery"] == 1
    found = jobs(plan("-d", str(tmp_path), "--configfile", str(config), "--", "dynamics"))
    assert found["simulate_system"] == 1
