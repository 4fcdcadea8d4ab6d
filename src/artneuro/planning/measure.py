"""What the jobs of a finished run took, and the rates that follow."""

from __future__ import annotations

import csv
import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import nnls

from artneuro.config import Config
from artneuro.core.artifacts import read_json
from artneuro.core.errors import DataError
from artneuro.planning.config import PlanConfig
from artneuro.planning.estimate import COSTS, parts_seconds
from artneuro.planning.model_work import annotated
from artneuro.planning.rates import Rates, RuleRate
from artneuro.planning.sizes import CHARACTERS_PER_TOKEN, Sizes
from artneuro.planning.table_work import ranking_units, ridge_flop

# What a job takes whatever its size: without and with torch and a model.
STARTS = {False: 1.0, True: 4.0}
_RULE = re.compile(r"^rule (\w+):(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
_BENCHMARK = re.compile(r'benchmark:\s*"([^"]+)"')
# Snakemake samples a job every half second for some time, then every 30 seconds.
_FINE, _COARSE = 15.0, 30.0


@dataclass(frozen=True)
class MeasuredJob:
    """A job that has run.

    Attributes
    ----------
    rule : str
    wildcards : dict of str to str
    seconds, cpu : float
        From start to end, and of all cores.
    memory : float
        Most bytes resident.
    stored : int
        Bytes of its results.
    """

    rule: str
    wildcards: dict[str, str]
    seconds: float
    cpu: float
    memory: float
    stored: int


def measured_jobs(root: Path, workdir: Path) -> list[MeasuredJob]:
    """The jobs of a run, from the benchmark files in `logs/` and the sidecars in `results/`.

    Parameters
    ----------
    root, workdir : Path
        Folder of the workflow, and the one that the run lies in.

    Raises
    ------
    DataError
        If there are none.
    """
    stored: dict[tuple[str, tuple[tuple[str, str], ...]], int] = defaultdict(int)
    for folder in ("results", "resources"):
        for path in sorted((workdir / folder).rglob("*.prov.json")):
            record = read_json(path)
            stored[record["rule"], _key(record["wildcards"])] += int(record["bytes"])
    found = [
        MeasuredJob(rule, wildcards, *_times(path), stored[rule, _key(wildcards)])
        for rule, wildcards, path in _benchmarks(root, workdir)
    ]
    if not found:
        raise DataError(
            "there are no benchmark files of jobs",
            where=str(workdir / "logs"),
            fix="name a folder in which snakemake has run",
        )
    return found


def _key(wildcards: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(wildcards.items()))


def _benchmarks(root: Path, workdir: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    patterns = []
    for file in sorted((root / "workflow" / "rules").glob("*.smk")):
        for name, body in _RULE.findall(file.read_text(encoding="utf-8")):
            if match := _BENCHMARK.search(body):
                pieces = re.split(r"\{(\w+)\}", match[1])
                text = "".join(
                    f"(?P<{piece}>[^/]+)" if i % 2 else re.escape(piece)
                    for i, piece in enumerate(pieces)
                )
                patterns.append((name, re.compile(text)))
    for path in sorted((workdir / "logs").rglob("*.tsv")):
        told = path.relative_to(workdir).as_posix()
        for name, pattern in patterns:
            if match := pattern.fullmatch(told):
                yield name, match.groupdict(), path
                break


def _times(path: Path) -> tuple[float, float, float]:
    with path.open(encoding="utf-8") as lines:
        row = next(csv.DictReader(lines, delimiter="\t"))
    seconds, cpu = float(row["s"]), _number(row["cpu_time"])
    # What was used after the last sample is taken to be as much a second as before it.
    last = seconds
    if seconds > _FINE:
        last = _FINE + _COARSE * ((seconds - _FINE) // _COARSE)
    return seconds, cpu * seconds / last, 1e6 * _number(row["max_rss"])


def _number(text: str) -> float:
    return 0.0 if text in ("-", "NA", "") else float(text)


def measured_plan(config: Config, workdir: Path) -> PlanConfig:
    """The sizes that the data of a run have, in place of those that follow from a config."""
    data = workdir / "results" / "datasets"
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for path in sorted((data / "documents").glob("*.parquet")):
        texts = pl.scan_parquet(path).select(pl.col("text").str.len_chars().sum()).collect()
        found["characters"][path.stem] = float(texts.item() or 1)
    for path in sorted((data / "entities").glob("*/entities.parquet")):
        found["entities"][path.parent.name] = _height(path)
    for path in sorted(data.glob("*/texts/*/sequences.parquet")):
        # Several tokenizers read a text; the plan has one number for it.
        tokens = pl.scan_parquet(path).select(pl.col("n_tokens").sum()).collect().item()
        name = path.parent.name
        found["text_tokens"][name] = max(tokens, found["text_tokens"].get(name, 0))
    for path in sorted(data.glob("*/entities/*/*/sequences.parquet")):
        table, prompt = path.parts[-3:-1]
        asked = config.entities[table].prompts.get(prompt) if table in config.entities else None
        if asked is not None and not (asked.random_tokens or asked.capitals or asked.after):
            mean = pl.scan_parquet(path).select(pl.col("n_tokens").mean()).collect().item()
            around = len(asked.before) / CHARACTERS_PER_TOKEN
            found["name_tokens"].setdefault(table, max(0.1, mean - 1 - around))
    for path in sorted(data.glob("*/*/labels.parquet")):
        labels = pl.read_parquet(path, columns=["feature"])["feature"]
        name = path.parent.name
        sequences = pl.read_parquet(path.with_name("sequences.parquet"), columns=["n_tokens"])
        found["sequences"][name] = sequences.height
        found["features"][name] = labels.n_unique()
        found["examples"][name] = labels.len() // labels.n_unique()
    for path in sorted((workdir / "results" / "activations").glob("*/*/rows.parquet")):
        found["rows"][path.parent.name] = _height(path)
    return PlanConfig.model_validate({"models": config.plan.models, **found})


def _height(path: Path) -> int:
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def ranking_rates(sizes: Sizes, workdir: Path) -> dict[str, RuleRate]:
    """Rates of the rankings of probes, from the tables of times; `optimal` counts in seconds."""
    took: dict[str, float] = defaultdict(float)
    units: dict[str, float] = defaultdict(float)
    cases: dict[str, int] = defaultdict(int)
    for path in sorted((workdir / "results" / "probing").glob("*/*/times.parquet")):
        w = {"model": path.parts[-3], "dataset": path.parts[-2]}
        table = pl.read_parquet(path, columns=["method", "seconds"]).group_by("method")
        for method, seconds, n in table.agg(pl.col("seconds").sum(), n=pl.len()).iter_rows():
            took[method] += seconds
            cases[method] += n
            units[method] += n * ranking_units(sizes, method, w)
    return {
        f"ranking {name}": RuleRate(0.0, took[name] / units[name], 0.0, cases[name])
        for name in took
        if units[name] and name != "optimal"
    } | {"ranking optimal": RuleRate(0.0, 1.0, 0.0, cases["optimal"])}


def known_rates(root: Path) -> dict[str, RuleRate]:
    """Rates of parts of jobs that are measured by themselves: `benchmarks/results.json`, and the
    SHA-256 of some bytes in memory here.
    """
    found = {}
    benchmark = {e["name"]: e["ours_s"] for e in read_json(root / "benchmarks" / "results.json")}
    if seconds := benchmark.get("entity_probes_wide"):
        # 8 layers of 5,000 rows and 2,048 units.
        found["ridge"] = RuleRate(0.0, seconds / (8 * ridge_flop(5000, 2048)), 0.0, 1)
    block = bytes(100_000_000)
    began = time.process_time()
    hashlib.sha256(block)
    found["hash"] = RuleRate(0.0, (time.process_time() - began) / len(block), 0.0, 1)
    return found


def annotation_rate(jobs: Iterable[MeasuredJob], sizes: Sizes) -> dict[str, RuleRate]:
    """Rate of the grammar and entities of words, from the jobs that read annotated corpora."""
    took = characters = 0.0
    n = 0
    for job in jobs:
        corpus = job.wildcards.get("corpus", "")
        if job.rule == "read_documents" and annotated(sizes, corpus):
            took += job.cpu - STARTS[False]
            characters += sizes.characters(corpus)
            n += 1
    return {"annotation": RuleRate(0.0, max(0.0, took) / characters, 0.0, n)} if n else {}


def fit_rates(
    jobs: Iterable[MeasuredJob], parts: dict[str, RuleRate], sizes: Sizes, measured: str
) -> Rates:
    """Rates of each rule: what all its jobs took beyond their start, by all their units.

    Parameters
    ----------
    jobs : iterable of MeasuredJob
    parts : dict of str to RuleRate
        Rates of parts of jobs (`ranking_rates`), whose seconds are not the rule's.
    sizes : Sizes
        With the sizes of that run's data (`measured_plan`).
    measured : str
        What this was measured on.
    """
    by_rule: dict[str, list[MeasuredJob]] = defaultdict(list)
    for job in jobs:
        if job.rule in COSTS:
            by_rule[job.rule].append(job)
    rates = dict(parts)
    known = Rates(parts, measured)
    for rule, found in by_rule.items():
        cost = COSTS[rule]
        works = [cost.work(sizes, job.wildcards) for job in found]
        pairs = list(zip(found, works, strict=True))
        beside = [parts_seconds(work, known) + work.reads / known.decode for work in works]
        took = np.array([max(0.0, j.cpu - s) for j, s in zip(found, beside, strict=True)])
        units, rows = np.array([w.units for w in works]), sum(w.rows for w in works)
        start, per_unit = start_and_rate(took, units, STARTS[cost.torch])
        tables = sum(max(0.0, job.stored - work.stored) for job, work in pairs)
        rates[rule] = RuleRate(
            start,
            per_unit,
            tables / rows if rows else 0.0,
            len(found),
        )
    return Rates(rates, measured)


def start_and_rate(took: np.ndarray, units: np.ndarray, start: float) -> tuple[float, float]:
    """Seconds of a start and seconds a unit of some jobs.

    Parameters
    ----------
    took : ndarray
        Seconds of each job.
    units : ndarray
        Its units.
    start : float
        What is taken for the start where the jobs do not tell: they are fewer than four, or their
        sizes are within a factor of four of each other.

    Returns
    -------
    start, per_unit : float
        Neither below zero.
    """
    total = float(units.sum())
    if total == 0:
        return float(took.mean()), 0.0
    start = min(start, float(took.min()))
    if len(took) < 4 or units.max() <= 4 * units.min():
        return start, float((took - start).sum()) / total
    # Between least squares, which the largest jobs decide, and least relative errors.
    weight = 1 / np.sqrt(np.maximum(took, 1e-3))
    terms = np.stack([np.ones_like(units), units / total], axis=1)
    (more, whole), _ = nnls(terms * weight[:, None], (took - start) * weight)
    # All jobs together take what they took, also where they are of different kinds.
    scale = float(took.sum()) / (len(took) * (start + more) + whole)
    return scale * (start + more), scale * whole / total
