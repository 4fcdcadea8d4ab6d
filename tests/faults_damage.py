"""Damage on purpose: what a job says of an input that is no longer what it was."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults_example import JobScript, attempt, content_of, run_to_end, undisturbed

KINDS = ("flipped", "cut", "lost")


def damage_inputs(job: JobScript, times: int, generator: random.Random) -> dict[str, Any]:
    """Run a job several times, each with one damaged file among its inputs.

    Counts what came of it: "named" (an error that names the input and says what to do), "unnamed"
    (another error), "harmless" (the undisturbed outputs), "silent" (others, without a word).
    """
    undisturbed(job)
    inputs = [Path(i) for i in job.inputs if i.startswith(("results/", "resources/fetched/"))]
    found: dict[str, Any] = {"rule": job.rule, "damaged": 0}
    outcomes: Counter[str] = Counter()
    details = []
    for n in range(times if inputs else 0):
        chosen = inputs[n % len(inputs)]
        file = generator.choice(files_of(chosen))
        # A whole input that is lost is noticed by Snakemake, before the job.
        kind = generator.choice(KINDS if chosen.is_dir() else KINDS[:2])
        job.clean()
        with damaged(file, kind, generator):
            done = attempt(job)
        log = Path(job.log).read_text()
        if done.code:
            named = "what to do" in log and (str(chosen) in log or str(chosen.parent) in log)
            outcome = "named" if named else "unnamed"
        else:
            equal = all(content_of(o) == job.expected[o] for o in job.outputs)
            outcome = "harmless" if equal else "silent"
        outcomes[outcome] += 1
        found["damaged"] += 1
        if outcome in ("unnamed", "silent"):
            last = log.strip().splitlines()[-1] if done.code else ""
            details.append(f"{outcome}: {kind} {file}: {last[:200]}")
    job.clean()
    run_to_end(job)
    return {**found, **outcomes, "details": details}


def files_of(path: Path) -> list[Path]:
    """The files of an artifact that hold something."""
    from artneuro.core.hashing import content_files

    return [f for f in content_files(path) if f.stat().st_size]


@contextmanager
def damaged(file: Path, kind: str, generator: random.Random) -> Iterator[None]:
    """One file with a flipped bit (and its old time stamps), cut short, or gone."""
    real = file.resolve()
    data, stat = real.read_bytes(), real.stat()
    at = generator.randrange(len(data))
    if kind == "flipped":
        flipped = data[at] ^ (1 << generator.randrange(8))
        real.write_bytes(data[:at] + bytes([flipped]) + data[at + 1 :])
    elif kind == "cut":
        real.write_bytes(data[:at])
    else:
        real.unlink()
    if kind != "lost":
        os.utime(real, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        yield
    finally:
        real.write_bytes(data)
        os.utime(real, ns=(stat.st_atime_ns, stat.st_mtime_ns))
