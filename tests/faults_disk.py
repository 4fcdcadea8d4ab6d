"""Disks that fill up or may not be written, as file systems in memory: see `faults_example`."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults_example import (
    JobScript,
    attempt,
    check_finished,
    check_whole_or_absent,
    run_to_end,
    undisturbed,
)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system in memory under `folder`, with what the folder holds."""
    saved = folder.with_name(f"{folder.name}.saved")
    shutil.copytree(folder, saved, symlinks=True, copy_function=shutil.copy2)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", str(folder)], check=True)
    try:
        shutil.copytree(saved, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(saved)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{size}", str(folder)], check=True)


def used(folder: Path) -> int:
    stat = os.statvfs(folder)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def fill_disk(job: JobScript, times: int, generator: random.Random) -> dict[str, Any]:
    """Run a job on a disk with some bytes left, then make room and run it again."""
    folder = Path("results")
    undisturbed(job)
    need = sum(f.stat().st_size for o in job.outputs for f in [Path(o), *Path(o).rglob("*")])
    found = {"rule": job.rule, "full": 0, "enough": 0, "resumed": 0, "named": 0}
    tries = 0
    while found["full"] < times:
        tries += 1
        assert tries < 10 * times + 10, f"{job.name} never finds the disk full"
        job.clean()
        resize(folder, f"size={used(folder) + 4096 * int(generator.uniform(0, need / 4096 + 8))}")
        done = attempt(job)
        resize(folder, "size=1g")
        if done.code == 0:
            found["enough"] += 1
            check_finished(job)
            continue
        found["full"] += 1
        check_whole_or_absent(job)
        log = Path(job.log).read_text()
        assert "what to do" in log, f"{job.name}: {log[-1500:]}"
        assert "disk is full" in log, f"{job.name}: {log[-1500:]}"
        found["named"] += 1
        job.delete_outputs()
        found["resumed"] += "going on" in run_to_end(job).printed
    return {**found, "equal": found["full"]}


def forbid_writing(job: JobScript, times: int, generator: random.Random) -> dict[str, Any]:
    """Run a job on a disk that is mounted read-only, then on one that is not."""
    folder = Path("results")
    undisturbed(job)
    for _ in range(times):
        job.clean()
        for output in job.outputs:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
        resize(folder, "ro")
        done = attempt(job)
        resize(folder, "rw")
        log = Path(job.log).read_text()
        assert done.code, f"{job.name} wrote to a disk that is read-only"
        assert "the disk is read-only" in log, f"{job.name}: {log[-1500:]}"
        assert "what to do" in log
        run_to_end(job)
    return {"rule": job.rule, "read_only": times, "named": times, "equal": times}
