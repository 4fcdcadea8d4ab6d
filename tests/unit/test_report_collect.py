"""What was run, as gathered from artifacts and sidecars."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from report_example import MODEL, write_example

from artneuro.core.artifacts import sidecar_path, write_json, write_table
from artneuro.core.errors import DataError
from artneuro.report.collect import (
    read_datasets,
    read_models,
    read_scores,
    read_sources,
    time_by_rule,
    trace_jobs,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return write_example(tmp_path_factory.mktemp("run"), layers=2, ks=(1,))


def test_sizes_of_datasets(run: dict[str, list[Path]]) -> None:
    (facts,) = read_datasets(run["sequences"], run["labels"], run["rows"])
    assert (facts.name, facts.tokenizer) == ("text", MODEL)
    assert (facts.sequences, facts.documents, facts.tokens) == (30, 15, 30 * 64)
    assert (facts.train_sequences, facts.test_sequences) == (21, 9)
    assert facts.collections == {"natural_language": 3, "code_language": 2}
    assert facts.rows == {MODEL: 300}
    # The config asks for German (there) and Klingon (not).
    assert facts.left_out == ("Klingon",)


def test_one_path_does_as_well_as_a_list(run: dict[str, list[Path]]) -> None:
    (model,) = read_models(str(run["models"][0]))
    assert (model["name"], model["n_layers"]) == (MODEL, 6)


def test_sources_that_are_missing_say_why(run: dict[str, list[Path]]) -> None:
    here, missing = read_sources(run["sources"])
    assert here.available
    assert (missing.available, missing.reason) == (False, "there is no apt-get here")


def test_jobs_are_found_through_the_inputs_of_inputs(run: dict[str, list[Path]]) -> None:
    rules = [job.rule for job in trace_jobs(run["scores"])]
    assert rules == [
        "build_tokens",
        "dump_activations",
        "fetch_model",
        "fetch_source",
        "fit_probes",
    ]


def test_times_are_summed_by_rule_in_the_order_of_the_data(tmp_path: Path) -> None:
    starts = "2026-01-01T10:00:00+00:00"
    made = {
        "results/probing/a/scores.parquet": ("fit_probes", "a", "2026-01-01T10:01:30+00:00"),
        "results/probing/b/scores.parquet": ("fit_probes", "b", "2026-01-01T10:00:10.5+00:00"),
        "results/models/a/model.json": ("fetch_model", "a", "2026-01-01T10:00:02+00:00"),
        "resources/fetched/s": ("fetch_source", "s", "2026-01-01T10:00:01+00:00"),
    }
    for name, (rule, wildcard, ended) in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(
            {"rule": rule, "wildcards": {"x": wildcard}, "started": starts, "ended": ended},
            sidecar_path(path),
        )
    # Two outputs of one job count once.
    twin = tmp_path / "results/models/a/weights"
    write_json(
        {"rule": "fetch_model", "wildcards": {"x": "a"}, "started": starts, "ended": starts},
        sidecar_path(twin),
    )
    paths = [tmp_path / name for name in made]
    times = time_by_rule(trace_jobs([*paths, tmp_path / "no/such/file", twin]))
    assert [(t.stage, t.rule, t.jobs) for t in times] == [
        ("sources", "fetch_source", 1),
        ("models", "fetch_model", 1),
        ("probing", "fit_probes", 2),
    ]
    assert (times[2].seconds, times[2].longest) == (100.5, 90.0)


def test_a_table_of_another_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_table(pl.DataFrame({"model": ["m"], "f1": [0.5]}), path)
    with pytest.raises(DataError, match=r"no column auc, .*feature") as error:
        read_scores([path])
    assert error.value.where == str(path)


def test_not_a_number_becomes_null(run: dict[str, list[Path]], tmp_path: Path) -> None:
    scores = read_scores(run["scores"])
    write_table(scores.with_columns(pl.lit(float("nan")).alias("auc")), tmp_path / "scores.parquet")
    found = read_scores(tmp_path / "scores.parquet")
    assert found["auc"].null_count() == found.height > 0
