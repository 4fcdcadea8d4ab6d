"""The workflow itself through `snakemake --profile slurm`: what is asked for, given and made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from artneuro.provenance.audit import audit
from tests.integration.slurm.cluster import Cluster, call
from tests.integration.slurm.conftest import ROOT, Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]

# A quarter of the smoke config, with more jobs that use a GPU than there are of one type; or all.
WHOLE = os.environ.get("ARTNEURO_SLURM_WHOLE") == "1"
STORES = ("text_features", "compound_words", "entities/world/empty", "entities/world/question")
PART = [
    f"results/activations/smollm2-135m/{name}/rows.parquet"
    for name in (*STORES, "entities/films/empty")
]


@dataclass(frozen=True)
class Accounted:
    """A job as Slurm's database has it."""

    rule: str
    state: str
    node: str
    start: datetime
    end: datetime
    cores: int
    memory: int
    gpus: int


def accounted(since: datetime) -> list[Accounted]:
    """All jobs of rules that were submitted since a time."""
    columns = "Comment,State,NodeList,Start,End,AllocTRES"
    text = call("sacct", "-X", "-n", "-P", "-S", f"{since:%Y-%m-%dT%H:%M:%S}", "-o", columns)
    found = []
    for line in text.splitlines():
        comment, state, node, start, end, given = line.split("|")
        if not comment.startswith("rule_"):
            continue
        tres = dict(part.split("=") for part in given.split(","))
        found.append(
            Accounted(
                comment.removeprefix("rule_").split("_wildcards_")[0],
                state,
                node,
                datetime.fromisoformat(start),
                datetime.fromisoformat(end),
                int(tres["cpu"]),
                int(float(tres["mem"][:-1]) * {"M": 1, "G": 1024}[tres["mem"][-1]]),
                int(tres.get("gres/gpu", 0)),
            )
        )
    return found


def most_at_once(jobs: list[Accounted]) -> int:
    """The largest number of GPUs that jobs held at the same time."""
    changes = [(job.start, job.gpus) for job in jobs] + [(job.end, -job.gpus) for job in jobs]
    held = most = 0
    for _, change in sorted(changes):  # at the same second, GPUs are given back first
        held += change
        most = max(most, held)
    return most


def checkout(folder: Path) -> Path:
    """A copy of this checkout's files, with the downloads that it already has."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    for name in listed.split("\0"):
        source = ROOT / name
        if name and (source.is_file() or source.is_symlink()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    cache = ROOT / "resources" / "cache"
    cache.mkdir(exist_ok=True)
    (folder / "resources" / "cache").symlink_to(cache)
    return folder


def test_the_smoke_config(cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_idle()
    folder = checkout(tmp_path / "artneuro")
    since = datetime.now().replace(microsecond=0)
    # There is no real GPU, so the jobs that may ask for one do so without computing on it.
    many_cores = (
        *("dump_activations", "fit_probes", "fit_sparsity_curves", "enumerate_neurons"),
        *("measure_superposition", "score_recovery", "score_forces", "score_fields"),
    )
    Site(folder).describe(
        jobs=6,
        scratch=f"{tmp_path}/scratch/$SLURM_JOB_ID",
        gpu={"gpu": 1},
        rules={"dump_entities": {"gpu_model": "h100"}},
        threads=dict.fromkeys(many_cores, 2),
    )
    targets = [] if WHOLE else ["--", *PART]
    run = Site(folder).snakemake("--configfile", "config/smoke.yaml", *targets)
    assert run.wait(2900) == 0, Site(folder).said()[-6000:]

    jobs = accounted(since)
    by_rule: dict[str, list[Accounted]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len(by_rule["dump_activations"]) == (4 if WHOLE else 2)
    assert len(by_rule["dump_entities"]) == 3
    planned = re.search(r"^total +(\d+)$", Site(folder).said(), re.MULTILINE)
    assert planned
    # The target `all` runs nothing.
    assert len(jobs) == int(planned[1]) - int(WHOLE)

    profile = (ROOT / "profiles" / "slurm" / "config.yaml").read_text()
    may_ask = re.search(r'GPU_RULES = """(.*?)"""', profile, re.DOTALL)[1].split()
    for job in jobs:
        assert job.gpus == int(job.rule in may_ask), job
        assert job.node.startswith("gpu" if job.gpus else "cpu"), job
    for node in ("gpu1", "gpu2"):
        assert most_at_once([job for job in jobs if job.node == node]) <= 2
    assert most_at_once(jobs) >= 2

    # What the site file says of a rule, and of temporary files.
    assert {job.node for job in by_rule["dump_entities"]} == {"gpu2"}
    scratch = {path.name for path in (tmp_path / "scratch").iterdir()}
    assert len(scratch) == len(jobs)
    assert all(name.isdigit() for name in scratch)

    # What each rule says that it needs is what it got.
    assert {job.memory for job in by_rule["fetch_source"]} == {1000}
    assert {job.cores for job in by_rule["fetch_source"]} == {1}
    assert {job.cores for job in by_rule["dump_activations"]} == {2}
    assert {job.cores for job in by_rule["dump_entities"]} == {8}
    assert min(job.memory for job in by_rule["dump_activations"]) > 4000

    assert not audit(folder / "results", folder).findings
