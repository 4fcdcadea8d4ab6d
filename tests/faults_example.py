"""Faults on purpose: jobs of a small real run that are killed, or whose disk fills up.

A tiny project is run once with Snakemake, which leaves the scripts of its jobs. A process of its
own has imported what they need and forks a child for each attempt, so that a job takes a second
and can be killed at many moments. Run as a program inside a project, it prints what it found.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import importlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("probing", "universality")
PREAMBLE_END = "######## snakemake preamble end"
# What jobs measure differs from run to run: these columns are left out of comparisons.
TIMED_COLUMNS = {"times.parquet": ["seconds"], "certificates.parquet": ["seconds"]}


# --- the project ---------------------------------------------------------------------------------


def make_fault_project(root: Path):
    """The tiny project, cut down to jobs that go on after a kill, each with much to do."""
    from tests.workflow.projects import Project, make_project, write_corpus

    project: Project = make_project(root)
    shutil.rmtree(root / "data" / "files")
    write_corpus(root / "data" / "files", seed=1, n=60)
    config = project.config()
    sections = ("entities", "spacetime", "interventions", "dynamics")
    config = {k: v for k, v in config.items() if k not in sections}
    config["universality"].pop("explanations")
    config["universality"].update(block_tokens=64, batch_tokens=64, rotations=1)
    config["training"]["toy"].update(steps=60, record_every=20, checkpoint_minutes=0)
    config["datasets"]["second"]["max_document_sequences"] = 8
    config["datasets"]["second"]["collection"]["sequences_per_class"] = 220
    sites = ["mlp_post", "mlp_pre", "resid_pre", "resid_post"]
    # Absolute, so that `model.json` of a copy of the project says the same.
    config["models"]["tiny"]["source"]["path"] = str(root / "data" / "model")
    config["activations"].update(sites=sites, dtype="float32", buffer_mb=1, batch_tokens=128)
    project.set_config(config)
    return project


@functools.cache
def finished_project():
    """The project, run once for all tests with its scripts kept; in memory where there is room."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(dir=memory if roomy else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = make_fault_project(folder / "project")
    project.snakemake("--skip-script-cleanup", *TARGETS)
    return project


def driver(root: Path, *arguments: str, own_mounts: bool = False) -> list[dict[str, Any]]:
    """Run this file inside a project, with the project's package, and return what it printed."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    if own_mounts:
        command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["-Ur"]), *command]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root / "src"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "NUMBA_DISABLE_JIT": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def can_mount() -> bool:
    """Whether this user may mount a file system in a name space of its own."""
    options = [] if os.geteuid() == 0 else ["-Ur"]
    trial = ["unshare", "--mount", *options, "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(trial).returncode == 0


# --- jobs ----------------------------------------------------------------------------------------


@dataclass
class JobScript:
    """A job as Snakemake starts it: its script, and what it is to write."""

    script: Path
    rule: str
    outputs: list[str]
    inputs: list[str]
    log: str
    expected: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.rule} {self.outputs[0]}"

    def delete_outputs(self) -> None:
        """What Snakemake does when a job failed and before it starts one."""
        for output in self.outputs:
            delete(Path(output))

    def clean(self) -> None:
        """As if the job had never run."""
        from artneuro.core.artifacts import sidecar_path

        self.delete_outputs()
        for output in self.outputs:
            sidecar_path(output).unlink(missing_ok=True)
        for path in self.leftovers():
            delete(path)

    def leftovers(self) -> list[Path]:
        """What unfinished attempts left beside the outputs."""
        folders = {Path(output).parent for output in self.outputs}
        found = [p for f in folders if f.is_dir() for p in f.iterdir()]
        return [p for p in found if p.name.startswith(".") or p.suffix == ".parts"]


def read_jobs(root: Path) -> list[JobScript]:
    """The jobs of the scripts that `snakemake --skip-script-cleanup` left."""
    jobs = []
    for script in sorted((root / ".snakemake" / "scripts").glob("*.py")):
        text = script.read_text()
        space: dict[str, Any] = {"__file__": str(script)}
        saved = list(sys.path)
        exec(text[: text.index(PREAMBLE_END)], space)
        sys.path[:] = saved
        made = space["snakemake"]
        log = str(made.log[0])
        jobs.append(JobScript(script, made.rule, list(made.output), list(made.input), log))
    return jobs


def delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def content_of(path: str | Path) -> str:
    """Hash of an artifact, without what a job measures."""
    from artneuro.core.hashing import sha256_path

    columns = TIMED_COLUMNS.get(Path(path).name)
    return _hash_without(str(path), columns) if columns else sha256_path(path)


def _hash_without(path: str, columns: list[str]) -> str:
    """Without polars: a process whose threads of polars run cannot be forked any more."""
    from artneuro.core.hashing import sha256_json

    table = pyarrow.parquet.read_table(path, use_threads=False).drop_columns(columns)
    return sha256_json([str(table.schema.remove_metadata()), table.to_pylist()])


# --- attempts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """How a child ended: its exit status (negative: the signal), and what it printed."""

    code: int
    seconds: float
    printed: str


def start(job: JobScript, output: Path) -> int:
    """Fork a child that runs a job's script and prints to a file; its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setsid()
            target = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(target, 1)
            os.dup2(target, 2)
            try:
                runpy.run_path(str(job.script), run_name="__main__")
                code = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return pid


def attempt(job: JobScript, kill_after: float | None = None) -> Attempt:
    """Run a job's script in a child, and kill it after some seconds."""
    output = job.script.with_suffix(".out")
    started = time.monotonic()
    pid = start(job, output)
    while kill_after is None or time.monotonic() - started < kill_after:
        done, status = os.waitpid(pid, 0 if kill_after is None else os.WNOHANG)
        if done:
            break
        time.sleep(0.001)
    else:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    seconds = time.monotonic() - started
    return Attempt(os.waitstatus_to_exitcode(status), seconds, output.read_text(errors="replace"))


def check_whole_or_absent(job: JobScript) -> dict[str, int]:
    """After a fault: every output is the undisturbed one or is not there, and no sidecar lies."""
    from artneuro.core.artifacts import read_json, sidecar_path
    from artneuro.core.hashing import sha256_path

    whole = 0
    for output in job.outputs:
        sidecar = sidecar_path(output)
        if os.path.lexists(output):
            whole += 1
            assert content_of(output) == job.expected[output], f"{output} is neither"
            if sidecar.exists():
                assert read_json(sidecar)["sha256"] == sha256_path(output), f"{sidecar} lies"
    return {"whole": whole, "absent": len(job.outputs) - whole}


def check_finished(job: JobScript) -> None:
    """After a run to the end: the undisturbed outputs, their sidecars, and nothing else."""
    from artneuro.core.artifacts import read_json, sidecar_path
    from artneuro.core.hashing import sha256_path
    from artneuro.core.job import sidecar_seal

    for output in job.outputs:
        assert content_of(output) == job.expected[output], f"{output} differs"
        record = read_json(sidecar_path(output))
        assert record["sha256"] == sha256_path(output)
        assert record["record_sha256"] == sidecar_seal(record)
    assert not job.leftovers(), job.leftovers()


def undisturbed(job: JobScript) -> float:
    """Run a job from a clean start, and remember what it makes; the seconds that it took."""
    job.clean()
    done = attempt(job)
    assert done.code == 0, f"{job.name}: {done.printed[-3000:]}"
    job.expected = {output: content_of(output) for output in job.outputs}
    return done.seconds


def run_to_end(job: JobScript) -> Attempt:
    done = attempt(job)
    assert done.code == 0, f"{job.name}: {done.printed[-3000:]}"
    check_finished(job)
    return done


def kill_at_random(job: JobScript, times: int, generator: random.Random) -> dict[str, Any]:
    """Kill a job at random moments, each time from a clean start, and run it to its end after.

    Every second time the outputs that the killed job left are deleted before the rerun, as a
    living Snakemake does; else they stay, as if Snakemake had been killed too.
    """
    duration = undisturbed(job)
    found = {"rule": job.rule, "killed": 0, "resumed": 0, "whole": 0, "absent": 0}
    tries = 0
    while found["killed"] < times:
        tries += 1
        assert tries < 10 * times + 10, f"{job.name} ends before it is killed"
        job.clean()
        done = attempt(job, generator.uniform(0, duration))
        if done.code != -signal.SIGKILL:
            check_finished(job)
            # The first run may have been slow by chance.
            duration = min(duration, done.seconds)
            continue
        found["killed"] += 1
        for state, n in check_whole_or_absent(job).items():
            found[state] += n
        if found["killed"] % 2:
            job.delete_outputs()
        found["resumed"] += "going on" in run_to_end(job).printed
    return {**found, "equal": found["killed"], "seconds": round(duration, 2)}


def overlap_at_random(job: JobScript, times: int, generator: random.Random) -> dict[str, Any]:
    """Start a job while another process still runs it, as after a kill of Snakemake alone.

    Before it starts the job again, the new Snakemake deletes what there is of its outputs.
    """
    duration = undisturbed(job)
    found = {"rule": job.rule, "overlaps": 0, "first_failed": 0}
    while found["overlaps"] < times:
        job.clean()
        first = start(job, job.script.with_suffix(".first"))
        time.sleep(generator.uniform(0, duration))
        if os.waitpid(first, os.WNOHANG)[0]:
            continue
        found["overlaps"] += 1
        job.delete_outputs()
        second = attempt(job)
        status = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
        found["first_failed"] += status != 0
        assert second.code == 0, f"{job.name}: {second.printed[-3000:]}"
        check_finished(job)
    return {**found, "equal": found["overlaps"]}


# --- the program ---------------------------------------------------------------------------------


def main() -> None:
    from tests.faults_damage import damage_inputs
    from tests.faults_disk import fill_disk, forbid_writing, small_disk

    faults = {
        "kill": kill_at_random,
        "overlap": overlap_at_random,
        "fill": fill_disk,
        "forbid": forbid_writing,
        "damage": damage_inputs,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", choices=list(faults))
    parser.add_argument("rules", nargs="+", help="rules whose first job is disturbed, or all")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import_everything()
    generator = random.Random(args.seed)
    jobs: dict[str, JobScript] = {}
    for job in sorted(read_jobs(Path()), key=lambda job: job.outputs, reverse=True):
        jobs.setdefault(job.rule, job)
    chosen = list(jobs) if args.rules == ["all"] else args.rules
    mounted = args.fault in ("fill", "forbid")
    with small_disk(Path("results")) if mounted else contextlib.nullcontext():
        for rule in chosen:
            print(json.dumps(faults[args.fault](jobs[rule], args.times, generator)), flush=True)


def import_everything() -> None:
    """What takes seconds to import, once for all children; nothing is computed here."""
    for name in ("activations.dump", "models.training", "probing.fit", "universality.accumulate"):
        importlib.import_module(f"artneuro.{name}")
    from artneuro.universality.checkpoint import Checkpoint

    # A tiny job would be over before its first checkpoint.
    Checkpoint.__init__.__defaults__ = (0.2,)


if __name__ == "__main__":
    main()
