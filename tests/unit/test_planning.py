"""The plan of a config against published numbers, arithmetic by hand and planted rates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from artneuro.cli import main
from artneuro.config import load_config
from artneuro.core.errors import ConfigError, DataError
from artneuro.planning import table_work
from artneuro.planning.command import sizes_of, stages_of
from artneuro.planning.config import ShapeConfig
from artneuro.planning.estimate import COSTS, estimate
from artneuro.planning.jobs import PlannedJob
from artneuro.planning.measure import MeasuredJob, fit_rates, measured_jobs, start_and_rate
from artneuro.planning.model_work import stored_rows
from artneuro.planning.plan import make_plan
from artneuro.planning.rates import GPUS, Rates, RuleRate, gpu_named, read_rates, write_rates
from artneuro.planning.shapes import PlannedModel
from artneuro.planning.text import plan_text, table

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = yaml.safe_load((ROOT / "resources" / "model_shapes.yaml").read_text())


@pytest.fixture(scope="module")
def thesis():
    config, _ = load_config(ROOT / "config" / "thesis.yaml", ROOT)
    return sizes_of(config, ROOT, ROOT / "nowhere")


def planned(rule, **wildcards) -> PlannedJob:
    return PlannedJob(rule, wildcards, 8, 16_000, 480, 1 if rule.startswith("dump") else 0)


# --- sizes of models -----------------------------------------------------------------------------


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry["ids"][0])
def test_parameters_that_follow_from_the_sizes_are_those_published(entry):
    model = PlannedModel(ShapeConfig(**entry["shape"]), entry["source"])
    assert model.parameters == entry["parameters"]


def transformers_config(kind: str):
    from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig

    if kind == "gpt2":
        return GPT2Config(n_layer=2, n_embd=24, n_head=3, n_inner=80, vocab_size=50, n_positions=16)
    sizes = {
        "num_hidden_layers": 3,
        "hidden_size": 32,
        "intermediate_size": 72,
        "num_attention_heads": 4,
        "vocab_size": 60,
    }
    if kind == "llama":
        return LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=False)
    return GPTNeoXConfig(**sizes, tie_word_embeddings=False)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
def test_parameters_are_those_that_transformers_counts(kind):
    import torch
    from transformers import AutoModelForCausalLM

    from artneuro.models.shapes import shape_of
    from artneuro.planning.shapes import _told

    config = transformers_config(kind)
    with torch.device("meta"):
        counted = AutoModelForCausalLM.from_config(config).num_parameters()
    shape = _told(shape_of(config), "float32", counted)
    assert PlannedModel(shape, "").parameters == counted
    assert shape.tied == (kind == "gpt2")


def test_forward_passes_of_gpt2_by_hand():
    shape = ShapeConfig(**next(e for e in PUBLISHED if "gpt2" in e["ids"])["shape"])
    model = PlannedModel(shape, "")
    weights = 12 * 12 * 768**2
    assert model.forward_flop(1, 0) == 2 * weights
    assert model.forward_flop(10, 100) == 10 * (2 * weights + 2 * 12 * 100 * 768)
    assert model.forward_flop(1, 0, head=True) == 2 * weights + 2 * 768 * 50257


def test_an_unknown_model_is_asked_for_by_its_key():
    config, _ = load_config(
        {"models": {"mine": {"source": {"kind": "hub", "id": "who/knows"}}}, "dynamics": LORENZ},
        ROOT,
    )
    with pytest.raises(ConfigError) as error:
        sizes_of(config, ROOT, ROOT)
    assert "models.mine (who/knows)" in str(error.value)
    assert "plan: {models: {mine:" in str(error.value)
    shape = {"n_layers": 2, "d_model": 8, "d_mlp": 32, "n_heads": 2, "vocab": 100}
    told = {**config.model_dump(mode="json"), "plan": {"models": {"mine": shape}}}
    sizes = sizes_of(load_config(told, ROOT)[0], ROOT, ROOT)
    assert sizes.models["mine"].neurons == 64


LORENZ = {
    "systems": {
        "lorenz": {
            "system": "lorenz",
            "dt": 0.002,
            "durations": [0.5],
            "noise": [0.002],
            "degree": 2,
            "window": 9,
            "thresholds": [0.1],
        }
    },
    "recovery": {"systems": ["lorenz"]},
}


# --- sizes of datasets ---------------------------------------------------------------------------


def test_sizes_of_the_thesis_by_hand(thesis):
    languages = thesis.datasets["natural_language"]
    assert (languages.sequences, languages.tokens) == (9 * 3120, 9 * 3120 * 512)
    assert (languages.rows, languages.features, languages.examples) == (28_080, 9, 28_080)
    words = thesis.datasets["compound_words"]
    assert (words.rows, words.features, words.examples) == (168_000, 21, 8000)
    assert thesis.entities("world") == 39_585
    # 32 layers of 16,384 neurons in float16.
    assert stored_rows(thesis, "pythia-6.9b", "latex") == 32 * 16_384
    job = planned("dump_activations", model="pythia-6.9b", dataset="natural_language")
    found = estimate(job, thesis, Rates({}, ""))
    assert found.stored == pytest.approx(28_080 * 32 * 16_384 * 2 / 1.07)


def test_entities_are_those_that_the_parts_have_at_most():
    config, _ = load_config(ROOT / "config" / "config.yaml", ROOT)
    sizes = sizes_of(config, ROOT, ROOT / "nowhere")
    assert sizes.entities("world") == 2300 + 450 + 350
    assert sizes.prompt("world", "random").entities == 400
    assert sizes.prompt("world", "random").n_ctx > 10 + sizes.prompt("world", "empty").n_ctx - 1


# --- work ----------------------------------------------------------------------------------------


def test_every_rule_has_a_cost_and_a_stage():
    stages = stages_of(ROOT)
    assert set(stages) == set(COSTS)
    assert list(dict.fromkeys(stages.values()))[:3] == ["models", "datasets", "activations"]


def test_numbers_that_are_copied_from_slow_modules_are_theirs():
    from artneuro.probing.fit import FEATURES_PER_TASK
    from artneuro.spacetime.mlp import WEIGHT_DECAYS, MLPProbe

    assert table_work.FEATURES_PER_TASK == FEATURES_PER_TASK
    defaults = MLPProbe().get_params()
    assert table_work.MLP.pop("weight_decays") == len(WEIGHT_DECAYS)
    assert {name: defaults[name] for name in table_work.MLP} == table_work.MLP
    table_work.MLP["weight_decays"] = len(WEIGHT_DECAYS)


def test_a_job_on_a_gpu_takes_what_its_parts_take(thesis):
    gpu = gpu_named("h100", {"half": 100, "forward": 0.5, "traffic": 1.0, "bandwidth": 2.0})
    rates = Rates({}, "", gpu, disk=1e9, encode=1e8, gpu_start=7.0)
    job = planned("dump_activations", model="pythia-70m", dataset="natural_language")
    found = estimate(job, thesis, rates)
    model, data = thesis.models["pythia-70m"], thesis.datasets["natural_language"]
    seconds = 7.0 + model.stored_bytes / 1e9 + found.stored / 1e8
    seconds += model.forward_flop(data.tokens, 512) / 50e12
    seconds += 2 * model.parameters * data.tokens / 4096 / 2e12
    assert found.gpu == found.wall == pytest.approx(seconds)


def test_layers_that_are_chosen_count_alone(thesis):
    told = thesis.config.model_dump(mode="json")
    told["activations"]["layers"] = [0, 7]
    sizes = sizes_of(load_config(told, ROOT)[0], ROOT, ROOT / "nowhere")
    w = {"model": "pythia-6.9b", "dataset": "latex"}
    whole, some = (COSTS["dump_activations"].work(s, w) for s in (thesis, sizes))
    # Two of 32 layers are stored, and the model is run up to the eighth.
    assert some.stored == pytest.approx(whole.stored / 16)
    assert some.flop == pytest.approx(whole.flop / 4)
    probes = [COSTS["fit_probes"].work(s, w).rows for s in (thesis, sizes)]
    assert probes[0] == 16 * probes[1]


def test_shares_of_a_dump_are_the_dump_with_a_start_each(thesis):
    told = thesis.config.model_dump(mode="json")
    told["activations"]["jobs"] = {"pythia-6.9b": 4}
    sizes = sizes_of(load_config(told, ROOT)[0], ROOT, ROOT / "nowhere")
    w = {"model": "pythia-6.9b", "dataset": "latex"}
    rates = Rates({}, "", gpu_start=0.0, disk=1e30)
    whole = estimate(PlannedJob("dump_activations", w, 8, 1, 1, 1), sizes, rates)
    share = estimate(PlannedJob("dump_share", {**w, "share": "0"}, 8, 1, 1, 1), sizes, rates)
    assert 4 * share.gpu == pytest.approx(whole.gpu)
    assert 4 * share.stored == pytest.approx(whole.stored)
    assert share.device_memory == whole.device_memory
    # The store counts once: it is merged from the shares, which go.
    assert estimate(PlannedJob("merge_shares", w, 1, 1, 1, 0), sizes, rates).stored == 0


def test_correlations_are_those_of_the_calculator(thesis):
    from artneuro.models.info import ModelShape
    from artneuro.universality.paper import Machine, plan_on_paper

    config = thesis.config.universality
    medium = ModelShape("gpt2", 24, 1024, 4096, 16, 16, 50257, 1024)
    machine = Machine(494.7, 0.8, 989.4, 0.4)
    paper = plan_on_paper(config, config.groups["gpt2-medium"], medium, 100_000_000, machine)
    job = PlannedJob("accumulate_correlations", {"group": "gpt2-medium"}, 8, 1, 1, 1)
    rates = Rates({}, "", GPUS["h100"], disk=1e30, encode=1e30, gpu_start=0.0)
    found = estimate(job, thesis, rates)
    assert 8 * found.gpu / 3600 == pytest.approx(paper.hours)
    assert 8 * found.stored == pytest.approx(paper.sums_bytes)


def test_the_calculator_knows_the_sizes_of_published_models(capsys):
    command = ["universality", str(ROOT / "config" / "thesis.yaml"), "gpt2-medium"]
    assert main([*command, "--root", str(ROOT)]) == 0
    known = capsys.readouterr().out
    sizes = ["--layers", "24", "--d-model", "1024", "--d-mlp", "4096"]
    assert main([*command, "--root", str(ROOT), *sizes]) == 0
    assert capsys.readouterr().out == known


# --- rates ---------------------------------------------------------------------------------------


def test_planted_starts_and_rates_are_found_again():
    units = np.array([1e3, 1e4, 5e4, 2e5])
    start, per_unit = start_and_rate(3.0 + 2e-4 * units, units, 1.0)
    assert (start, per_unit) == (pytest.approx(3.0), pytest.approx(2e-4))
    # Jobs of one size do not tell the start from the rest.
    assert start_and_rate(np.full(5, 3.0), np.full(5, 10.0), 1.0) == (1.0, 0.2)
    # A job that got faster with its size does not make a rate below zero.
    falling = start_and_rate(np.array([4.0, 3.0, 2.0, 1.0]), units, 1.0)
    assert falling[1] == 0


def test_rates_are_written_and_read(tmp_path):
    rates = Rates({"fit_probes": RuleRate(1.234567, 1e-9, 12.0, 3)}, "here")
    write_rates(rates, tmp_path / "rates.json")
    read = read_rates(tmp_path / "rates.json", GPUS["a100"])
    assert read.of("fit_probes") == RuleRate(1.23, 1e-9, 12.0, 3)
    assert (read.measured, read.gpu.name) == ("here", "a100")
    (tmp_path / "rates.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot read measured rates"):
        read_rates(tmp_path / "rates.json")
    with pytest.raises(ConfigError, match="known: h100"):
        gpu_named("v1", {})


def test_committed_rates_are_of_every_rule_of_the_demo():
    rates = read_rates(ROOT / "benchmarks" / "rates.json")
    missing = set(COSTS) - set(rates.rules)
    assert missing <= NOT_IN_THE_DEMO


NOT_IN_THE_DEMO = {"export_correlations", "query_dbpedia", "dump_share", "merge_shares"}


# --- what is told --------------------------------------------------------------------------------


def test_what_does_not_fit_is_named(thesis):
    jobs = [
        planned("dump_activations", model="llama-2-70b", dataset="latex"),
        planned("fit_probes", model="pythia-6.9b", dataset="linguistics"),
        planned("query_dbpedia", query="art"),
        PlannedJob("all", {}, 1, 0, 0, 0, target=True),
    ]
    plan = make_plan(jobs, thesis, read_rates(ROOT / "benchmarks" / "rates.json"), stages_of(ROOT))
    text = plan_text(plan)
    assert "4 jobs as `snakemake -n` counts them, 1 of them a target" in text
    assert re.search(r"dump_activations: 1 job .*\(llama-2-70b, latex\) 1\d\d GB on 1 x 80", text)
    assert re.search(r"fit_probes: 1 job may need more memory", text)
    assert "query_dbpedia (1 x, at most 8 h)" in text
    seventy = next(model for model in plan.models if model.name == "llama-2-70b")
    assert seventy.gpus == 2
    assert plan.totals[-1].jobs == 3


def test_a_rule_that_is_not_known_is_an_error(thesis):
    with pytest.raises(ConfigError, match="make_tea"):
        estimate(planned("make_tea"), thesis, Rates({}, ""))


# --- finished runs -------------------------------------------------------------------------------

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def finish(tmp_path: Path, log: str, rule: str, wildcards: dict, took: str, size: int) -> None:
    """The benchmark file and the sidecar of a job."""
    path = tmp_path / "logs" / log
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + took)
    sidecar = tmp_path / "results" / f"{len(list(tmp_path.rglob('*.prov.json')))}.prov.json"
    sidecar.parent.mkdir(exist_ok=True)
    sidecar.write_text(json.dumps({"rule": rule, "wildcards": wildcards, "bytes": size}))


def test_finished_jobs_are_read_from_benchmarks_and_sidecars(tmp_path):
    w = {"model": "m", "dataset": "d"}
    took = "70.0\t0:01:10\t1000.0\t0\t0\t0\t0\t0\t0\t45.0\n"
    finish(tmp_path, "activations/m/d/dump_activations.tsv", "dump_activations", w, took, 300)
    finish(tmp_path, "activations/m/d/dump_activations.tsv", "dump_activations", w, took, 20)
    tile = {"group": "g", "tile": "0", "part": "1"}
    short = "0.2\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-\n"
    log = "universality/g/accumulate_correlations/0-1.tsv"
    finish(tmp_path, log, "accumulate_correlations", tile, short, 5)
    dump, sums = measured_jobs(ROOT, tmp_path)
    # 45 s were used when it was last looked, after 45 of its 70 s.
    assert dump == MeasuredJob("dump_activations", w, 70.0, pytest.approx(70.0), 1e9, 320)
    assert sums == MeasuredJob("accumulate_correlations", tile, 0.2, 0.0, 0.0, 5)
    with pytest.raises(DataError, match="no benchmark files"):
        measured_jobs(ROOT, tmp_path / "nowhere")


def test_rates_of_planted_jobs_give_their_times_back(thesis):
    jobs = []
    for model in ("pythia-70m", "pythia-410m", "pythia-1b", "pythia-6.9b"):
        w = {"model": model, "dataset": "natural_language"}
        flop = COSTS["dump_activations"].work(thesis, w).flop
        stored = COSTS["dump_activations"].work(thesis, w).stored
        jobs.append(MeasuredJob("dump_activations", w, 0.0, 9.0 + 2e-11 * flop, 0.0, int(stored)))
    rates = fit_rates(jobs, {}, thesis, "planted")
    found = rates.of("dump_activations")
    assert found.jobs == 4
    # What it reads of weights is taken off, a tenth of a second in all but the largest.
    assert found.per_unit == pytest.approx(2e-11, rel=1e-3)
    for job in jobs:
        again = estimate(PlannedJob(job.rule, job.wildcards, 1, 0, 0, 0), thesis, rates)
        assert again.cpu == pytest.approx(job.cpu, rel=0.1)
        assert again.stored == pytest.approx(job.stored, rel=1e-6)


def test_columns_of_a_table_are_as_wide_as_what_they_hold():
    lines = table(["name", "n"], [["a", "1,000"], ["longer", "2"]]).splitlines()
    assert lines[1] == "| ------ | ----: |"
    assert lines[2] == "| a      | 1,000 |"
    assert len({len(line) for line in lines}) == 1
