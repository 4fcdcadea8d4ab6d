"""What was run, gathered from the artifacts themselves and from their provenance sidecars."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from artneuro.core.artifacts import read_json, read_table, sidecar_path
from artneuro.core.errors import DataError
from artneuro.core.sources import SourceInfo, read_source
from artneuro.report.choose import SECTION

Paths = str | Path | Iterable[str | Path]

SCORE_COLUMNS = (
    *SECTION, "feature", "layer", "method", "k", "control", "neurons", "f1", "precision", "recall",
    "mcc", "auc", "f1_train", "n_train", "n_test", "n_train_positive", "n_test_positive",
)  # fmt: skip
NEURON_COLUMNS = (
    *SECTION, "feature", "layer", "neuron", "rank", "f1", "f1_train", "edges", "counts_in",
    "counts_out",
)  # fmt: skip
TRANSFER_COLUMNS = (
    *SECTION, "source", "feature", "layer", "neuron", "f1_source", "f1_frozen", "precision_frozen",
    "recall_frozen", "auc_frozen", "f1_refit", "n_test", "n_test_positive",
)  # fmt: skip


def as_paths(value: Paths) -> list[Path]:
    """One path or several, as a list."""
    if isinstance(value, str | Path):
        return [Path(value)]
    return [Path(item) for item in value]


@dataclass(frozen=True)
class DatasetFacts:
    """Sizes of one token dataset.

    `tokens` leaves padding out; `features` are the labelled (collection, feature); `rows` counts
    the labelled spans whose activations were stored, for each model; `left_out` are features that
    the config asks for and that are not labelled.
    """

    name: str
    tokenizer: str
    sequences: int
    documents: int
    tokens: int
    train_sequences: int
    test_sequences: int
    corpora: tuple[str, ...]
    features: tuple[tuple[str, str], ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def collections(self) -> dict[str, int]:
        """Number of labelled features of each collection."""
        return dict(Counter(collection for collection, _ in self.features))


@dataclass(frozen=True)
class JobFacts:
    """One job that made something of this report, as its sidecar tells it."""

    rule: str
    stage: str
    wildcards: str
    seconds: float | None
    device: str | None
    commit: str | None
    dirty: bool
    machine: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RuleTime:
    """Time of all jobs of one rule."""

    stage: str
    rule: str
    jobs: int
    seconds: float
    longest: float


def read_models(paths: Paths) -> list[dict[str, Any]]:
    """The `model.json` of each model, with the folder's name as `name` where it has none."""
    return [{"name": path.parent.name, **read_json(path)} for path in as_paths(paths)]


def read_datasets(sequences: Paths, labels: Paths, rows: Paths) -> list[DatasetFacts]:
    """Sizes of the token datasets, their labels and their stored rows.

    The names of dataset, tokenizer and model are those of the folders that the tables lie in.
    """
    features: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    left_out: dict[tuple[str, str], tuple[str, ...]] = {}
    for path in as_paths(labels):
        labelled = read_table(path, ["collection", "feature"]).unique()
        features[_place(path)] = tuple(sorted(labelled.iter_rows()))
        left_out[_place(path)] = tuple(
            sorted(set(_features_asked_for(path)) - set(labelled["feature"]))
        )
    stored: dict[str, dict[str, int]] = defaultdict(dict)
    for path in as_paths(rows):
        model, dataset = _place(path)
        stored[dataset][model] = read_table(path, ["row"]).height
    facts = []
    for path in as_paths(sequences):
        tokenizer, dataset = _place(path)
        table = read_table(path, ["document", "corpus", "n_tokens", "split"])
        facts.append(
            DatasetFacts(
                name=dataset,
                tokenizer=tokenizer,
                sequences=table.height,
                documents=table.select("corpus", "document").n_unique(),
                tokens=int(table["n_tokens"].cast(pl.Int64).sum()),
                train_sequences=int((table["split"] == "train").sum()),
                test_sequences=int((table["split"] == "test").sum()),
                corpora=tuple(sorted(table["corpus"].drop_nulls().unique())),
                features=features.get((tokenizer, dataset), ()),
                rows=stored.get(dataset, {}),
                left_out=left_out.get((tokenizer, dataset), ()),
            )
        )
    return sorted(facts, key=lambda f: (f.name, f.tokenizer))


def _features_asked_for(labels: Path) -> list[str]:
    """Features that the config names for a table of labels, by its sidecar; none if it says all."""
    sidecar = sidecar_path(labels)
    record = read_json(sidecar) if sidecar.exists() else {}
    collection = record.get("config", {}).get("dataset", {}).get("collection", {})
    return [*(collection.get("classes") or []), *(collection.get("features") or [])]


def _place(path: Path) -> tuple[str, str]:
    """Names of the two folders that a table lies in: (tokenizer or model, dataset)."""
    return path.parent.parent.name, path.parent.name


def read_sources(folders: Paths) -> list[SourceInfo]:
    """What each fetched source is, and why it is missing where it is, by name."""
    return sorted((read_source(folder) for folder in as_paths(folders)), key=lambda s: s.name)


def read_scores(paths: Paths) -> pl.DataFrame:
    """Tables of scores as one, with null for what is not a number.

    Raises
    ------
    DataError
        If a table is not of the schema `scores`.
    """
    table = read_tables(paths, SCORE_COLUMNS)
    return table.with_columns(cs.float().fill_nan(None)) if table.height else table


def read_tables(paths: Paths, required: Iterable[str]) -> pl.DataFrame:
    """Several tables of one schema as one; a `DataError` names the one that does not fit."""
    files, frames = as_paths(paths), []
    for path in files:
        frame = read_table(path)
        missing = sorted(set(required) - set(frame.columns))
        if missing:
            raise DataError(
                f"the table has no column {', '.join(missing)}",
                where=str(path),
                fix="delete the file and run snakemake again: it is rebuilt",
            )
        frames.append(frame)
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def trace_jobs(artifacts: Iterable[str | Path]) -> list[JobFacts]:
    """The jobs behind `artifacts`: from each sidecar on to those of its inputs, and so on.

    Artifacts without a sidecar (a file of the user's) end the walk there. A sidecar is shared by
    the outputs of a job, so that each job is listed once.
    """
    queue, seen = [Path(a) for a in artifacts], set()
    jobs: dict[tuple, JobFacts] = {}
    while queue:
        artifact = queue.pop()
        sidecar = sidecar_path(artifact)
        if artifact in seen or not sidecar.exists():
            seen.add(artifact)
            continue
        seen.add(artifact)
        record = read_json(sidecar)
        wildcards = record.get("wildcards") or {}
        key = (record.get("rule", ""), tuple(sorted(wildcards.items())))
        jobs.setdefault(key, _job(artifact, record))
        queue += [Path(entry["path"]) for entry in record.get("inputs") or []]
    return [jobs[key] for key in sorted(jobs)]


def _job(artifact: Path, record: dict[str, Any]) -> JobFacts:
    seconds = None
    if record.get("started") and record.get("ended"):
        begun, ended = (dt.datetime.fromisoformat(record[key]) for key in ("started", "ended"))
        seconds = (ended - begun).total_seconds()
    machine, git = record.get("machine") or {}, record.get("git") or {}
    cores = machine.get("cores")
    return JobFacts(
        rule=record.get("rule", "unknown"),
        stage=_stage(artifact),
        wildcards=" ".join(f"{k}={v}" for k, v in (record.get("wildcards") or {}).items()),
        seconds=seconds,
        device=str(record["device"]) if record.get("device") else None,
        commit=git.get("commit"),
        dirty=bool(git.get("dirty")),
        machine=" ".join(
            part
            for part in (
                machine.get("system"),
                machine.get("processor"),
                f"({cores} cores)" if cores else None,
            )
            if part
        ),
        versions=tuple(sorted((record.get("versions") or {}).items())),
    )


def _stage(artifact: Path) -> str:
    """Stage of an artifact: the folder below results/, or `sources` for what was fetched."""
    parts = artifact.parts
    if "results" in parts[:-1]:
        return parts[len(parts) - 1 - parts[::-1].index("results") + 1]
    return "sources"


def time_by_rule(jobs: Iterable[JobFacts]) -> list[RuleTime]:
    """Sum of the time of the jobs of each rule, in the order of the data."""
    order = ["sources", "models", "datasets", "activations", "probing", "report"]
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for job in jobs:
        if job.seconds is not None:
            groups[job.stage, job.rule].append(job.seconds)
    times = [
        RuleTime(stage, rule, len(seconds), sum(seconds), max(seconds))
        for (stage, rule), seconds in groups.items()
    ]
    return sorted(
        times,
        key=lambda t: (order.index(t.stage) if t.stage in order else len(order), t.stage, t.rule),
    )
