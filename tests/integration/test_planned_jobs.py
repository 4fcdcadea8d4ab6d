"""`artneuro plan` against what `snakemake -n` says of the same config."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from artneuro.cli import main
from artneuro.core.errors import ConfigError
from artneuro.planning.jobs import planned_jobs

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def dry_run(config: Path, workdir: Path) -> dict[str, int]:
    """Jobs by rule, from the table that Snakemake prints."""
    command = [sys.executable, "-m", "snakemake", "-n", "--nocolor", "--configfile", str(config)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(workdir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table = (done.stdout + done.stderr).split("Job stats:")[1]
    found = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    assert found.pop("total") == sum(found.values())
    return found


@pytest.mark.parametrize("name", ["smoke", "config", "thesis"])
def test_jobs_are_those_of_a_dry_run(name, tmp_path, capsys):
    config = ROOT / "config" / f"{name}.yaml"
    command = ["plan", "--configfile", str(config), "--root", str(ROOT), "--json"]
    assert main([*command, "--workdir", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["jobs_by_rule"] == dry_run(config, tmp_path)
    assert found["jobs"] == sum(found["jobs_by_rule"].values()) < 2000
    assert found["stages"][-1]["jobs"] == found["jobs"] - found["jobs_by_rule"]["all"]
    by_stage = [total for total in found["stages"] if total["name"] != "all"]
    assert sum(total["jobs"] for total in by_stage) == found["stages"][-1]["jobs"]
    # Nothing was made but Snakemake's own folder.
    assert {path.name for path in tmp_path.iterdir()} <= {".snakemake"}


def test_threads_memory_and_gpus_are_those_of_the_rules(tmp_path):
    thesis = ROOT / "config" / "thesis.yaml"
    jobs = planned_jobs(thesis, ROOT, tmp_path)
    dump = {"model": "llama-2-70b", "entities": "art", "prompt": "empty"}
    found = next(j for j in jobs if j.rule == "dump_entities" and j.wildcards == dump)
    # Two bytes a parameter, for GPUs, and a fifth more, and 4 GB; all threads of the rule.
    assert found.mem_mb == 4000 + int(1.2 * 2 * 6.9e10 / 1e6)
    assert (found.threads, found.gpus, found.runtime) == (8, 2, 480)
    # Layers of 16,384 neurons in float32, twice, in each of the workers that 256 GB hold.
    rows = {"data_subset": 9 * 935, "linguistics": 268_000}
    for dataset, threads in (("data_subset", 16), ("linguistics", 7)):
        probed = {"model": "pythia-6.9b", "dataset": dataset}
        found = next(j for j in jobs if j.rule == "fit_probes" and j.wildcards == probed)
        assert found.threads == threads
        layers = threads * 8 * rows[dataset] * 16_384 / 1e6
        assert layers < found.mem_mb < layers + 2000 + 800 * threads
    assert sum(job.target for job in jobs) == 1


def test_threads_of_one_machine_are_a_share_of_its_cores(tmp_path):
    jobs = planned_jobs(ROOT / "config" / "smoke.yaml", ROOT, tmp_path, cores=4)
    assert {job.threads for job in jobs if job.rule == "fit_probes"} == {1}
    assert not any(job.gpus for job in jobs)


def test_what_snakemake_says_is_handed_on(tmp_path):
    with pytest.raises(ConfigError, match="no plan for this config"):
        planned_jobs(
            ROOT / "config" / "smoke.yaml", ROOT, tmp_path, options=["results/nothing.parquet"]
        )
