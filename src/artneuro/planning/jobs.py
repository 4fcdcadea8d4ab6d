"""The jobs that Snakemake plans, with their threads, memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artneuro.core.errors import ConfigError

# Of a cluster, where every job gets the threads that it asks for.
CLUSTER_CORES = 100_000


@dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run.

    Attributes
    ----------
    rule : str
    wildcards : dict of str to str
    threads : int
    mem_mb, runtime : int
        Memory and minutes that the first attempt asks for.
    gpus : int
    target : bool
        Whether the job only names what is to be made.
    """

    rule: str
    wildcards: dict[str, str]
    threads: int
    mem_mb: int
    runtime: int
    gpus: int
    target: bool = False


def planned_jobs(
    configfile: Path,
    root: Path,
    workdir: Path,
    *,
    cores: int | None = None,
    everything: bool = False,
    options: Sequence[str] = (),
) -> list[PlannedJob]:
    """Ask Snakemake what it would run; nothing is written.

    Parameters
    ----------
    configfile : Path
    root, workdir : Path
        Folder of the workflow, and the one that `results/` lies in.
    cores : int, optional
        Of the one machine that all runs on; None: a cluster's.
    everything : bool
        Whether to plan as if no results were there.
    options : sequence of str
        Further options of snakemake.

    Raises
    ------
    ConfigError
        With what Snakemake says, if there is no plan.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--logger", "plan"]
    command += ["--snakefile", str(root / "Snakefile"), "--directory", str(workdir)]
    command += ["--configfile", str(configfile), "--cores", str(cores or CLUSTER_CORES)]
    command += ["--forceall"] if everything else []
    plugins = [str(root / "workflow" / "plugins"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, plugins))}
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, env=environment, check=False
    )
    if run.returncode:
        raise ConfigError(
            "Snakemake has no plan for this config:\n" + (run.stderr or run.stdout).strip()[-4000:],
            where=str(configfile),
        )
    return [_job(line) for line in run.stdout.splitlines() if line.startswith('{"rule"')]


def _job(line: str) -> PlannedJob:
    found = json.loads(line)
    resources = found["resources"]
    return PlannedJob(
        found["rule"],
        found["wildcards"],
        int(found["threads"]),
        int(resources.get("mem_mb", 0)),
        int(resources.get("runtime", 0)),
        int(resources.get("gpu", 0)),
        not found["output"],
    )
