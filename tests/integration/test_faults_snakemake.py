"""Snakemake itself is killed, started twice, or may not write; docs/faults.md has the counts."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.faults_example import TARGETS, content_of, finished_project
from tests.workflow.projects import Project

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]

# docs/faults.md has the counts of 20.
TIMES = int(os.environ.get("ARTNEURO_FAULTS", "3"))
# They hold CPU seconds, which are never the same twice.
MEASURED = ("times.parquet", "methods.parquet", "methods_by_dataset.parquet")


@pytest.fixture(scope="module")
def project() -> Project:
    return finished_project()


def again(project: Project) -> Project:
    """The same project beside it, without what the longer jobs make."""
    root = project.root.with_name("again")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("locks"))
    for name in ("models/toy-b", "activations", "probing", "universality"):
        shutil.rmtree(root / "results" / name)
    return replace(project, root=root)


def start(project: Project, *arguments: str) -> tuple[subprocess.Popen, Path]:
    """Start Snakemake in a session of its own; the process, and the file that it prints to."""
    printed = project.root / "printed.txt"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *(arguments or TARGETS)]
    with printed.open("w") as out:
        process = subprocess.Popen(
            [*command, "--configfile", str(project.config_file)],
            cwd=project.root, env=project.environment(), stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return process, printed


def ended(project: Project, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a run of Snakemake."""
    process, printed = start(project, *arguments)
    return process.wait(), printed.read_text()


def kill(process: subprocess.Popen, who: str, root: Path, generator: random.Random) -> bool:
    """Kill Snakemake with its jobs, Snakemake alone, or one of its jobs; whether it still ran."""
    while process.poll() is None:
        # Held, it can neither end nor give its lock back before the kill.
        if not hold(psutil.Process(process.pid)):
            continue
        below = psutil.Process(process.pid).children(recursive=True)
        jobs = [p for p in below if _is_job(p)]
        victims = []
        if who == "a job":
            victims = [p for p in generator.sample(jobs, len(jobs)) if hold(p)][:1]
        elif jobs or any((root / ".snakemake" / "locks").glob("*")):
            victims = [*below, process] if who == "all" else [process]
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
        for held in (*jobs, process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(held.pid, signal.SIGCONT)
        if victims:
            return True
        time.sleep(0.05)
    return False


def hold(process: psutil.Process) -> bool:
    """Stop a process; whether it had not ended before."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            time.sleep(0.001)
        return process.status() == psutil.STATUS_STOPPED
    return False


def _is_job(process: psutil.Process) -> bool:
    try:
        return any(".snakemake/scripts/" in part for part in process.cmdline()[1:2])
    except psutil.Error:
        return False


def test_killed_snakemakes_end_in_the_same_bytes(project: Project):
    other = again(project)
    generator = random.Random(0)
    counts = {"all": 0, "Snakemake": 0, "a job": 0}
    kinds = list(counts)
    locked = 0
    status = 1
    for n in range(12 * TIMES):
        if sum(counts.values()) >= TIMES:
            break
        if not status:
            # All was made: the next kills hit it anew.
            for folder in ("activations", "probing", "universality"):
                shutil.rmtree(other.root / "results" / folder)
        who = kinds[sum(counts.values()) % 3]
        process, printed = start(other, *TARGETS, *(["--nolock"] if locked else []))
        # Planning takes a few seconds, in which there is nothing to lose.
        while process.poll() is None and "Select jobs to execute" not in printed.read_text():
            time.sleep(0.1)
        wait = time.monotonic() + generator.uniform(0, 15)
        while process.poll() is None and time.monotonic() < wait:
            time.sleep(0.05)
        hit = kill(process, who, other.root, generator)
        status = process.wait()
        counts[who] += hit
        assert status or not hit
        if hit and who != "a job" and locked < 1:
            # The lock stays; Snakemake says so and how to remove it. Jobs may still run.
            code, said = ended(other)
            assert code
            assert "--unlock" in said
            locked += 1
            assert ended(other, *TARGETS, "--unlock")[0] == 0
        print(f"kill {n}: {who}, hit {hit}, status {status}")
    assert ended(other, *TARGETS, "--unlock")[0] == 0
    status, said = ended(other)
    assert status == 0, said[-6000:]
    assert sum(counts.values()) >= TIMES
    print(f"kills {counts}, stale locks {locked}")
    check_same(project, other)


def check_same(project: Project, other: Project) -> None:
    """Every artifact of a run has the bytes of the other, and the audit finds nothing."""
    from artneuro.provenance.audit import audit

    made = [made_by(p.root) for p in (project, other)]
    assert made[0].keys() == made[1].keys()
    assert len(made[0]) > 30
    different = [name for name in made[0] if made[0][name] != made[1][name]]
    assert [name for name in different if not name.endswith(MEASURED)] == []
    report = audit(other.root / "results")
    assert report.ok, report.findings
    leftovers = [
        p for p in (other.root / "results").rglob("*") if p.name.endswith((".tmp", ".parts"))
    ]
    assert leftovers == []


def made_by(root: Path) -> dict[str, str]:
    """Hash of every artifact that has a sidecar."""
    found = {}
    for sidecar in (root / "results").rglob("*.prov.json"):
        artifact = sidecar.with_name(sidecar.name.removesuffix(".prov.json"))
        name = artifact.relative_to(root).as_posix()
        found[name] = content_of(artifact)
    return found


def hold_a_job(snakemake: subprocess.Popen) -> psutil.Process:
    """Stop the first job that is seen, so that Snakemake waits for it until it is resumed."""
    while snakemake.poll() is None:
        for process in psutil.Process(snakemake.pid).children(recursive=True):
            if _is_job(process) and hold(process):
                return process
        time.sleep(0.01)
    raise AssertionError(f"Snakemake ended with {snakemake.returncode} before a job was seen")


def test_two_at_once(project: Project):
    other = again(project)
    target = "results/models/toy-b/model.json"
    first, _ = start(other, target)
    # A job of the first is held until the second has ended.
    held = hold_a_job(first)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", target,
         "--configfile", str(other.config_file)],
        cwd=other.root, env=other.environment(), capture_output=True, text=True,
    )  # fmt: skip
    held.resume()
    assert done.returncode
    assert "no other Snakemake process" in done.stdout + done.stderr
    assert first.wait() == 0
    assert (other.root / f"{target}.prov.json").exists()
