"""A Slurm for these tests, and folders that jobs are submitted from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.integration.slurm.cluster import Cluster, call, missing

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

# Quicker to ask than the profile: a test's jobs take seconds.
QUICK = [
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--max-status-checks-per-second", "1"),
    *("--latency-wait", "5"),
]
PARTITION = {"max_runtime": "1d", "max_mem_mb": 20_000, "max_threads": 16}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that has just been started, and is stopped after the last test."""
    if reason := missing():
        # A machine that has to have it must not pass without.
        (pytest.fail if os.environ.get("ARTNEURO_SLURM") else pytest.skip)(f"no Slurm: {reason}")
    found = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@dataclass(frozen=True)
class Site:
    """A folder with the project's profile and a site file, as at a lab.

    Attributes
    ----------
    folder : Path
        Where Snakemake is called, and the jobs are submitted from.
    """

    folder: Path

    def describe(self, **site: object) -> None:
        """Write the site file: that of the project with some keys changed."""
        (self.folder / "slurm").mkdir(exist_ok=True)
        profile = ROOT / "profiles" / "slurm"
        (self.folder / "slurm" / "config.yaml").write_text((profile / "config.yaml").read_text())
        partitions = {"cpu": PARTITION, "gpu": PARTITION | {"max_gpu": 2}}
        own = yaml.safe_load((profile / "site.yaml").read_text())
        own |= {"account": "neurons", "partitions": partitions, **site}
        (self.folder / "slurm" / "site.yaml").write_text(yaml.safe_dump(own))

    def snakemake(self, *arguments: str, log: str = "run.log") -> subprocess.Popen:
        """A run of `snakemake --profile slurm`, whose output is written to a file."""
        outage = self.folder / "outage"
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for name in ("squeue", "sacct"):
            tool = tools / name
            fails = f'{{ echo "{name}: error: no answer" >&2; exit 1; }}'
            own = f'exec {shutil.which(name)} "$@"'
            tool.write_text(f'#!/bin/sh\n[ ! -e "{outage}" ] || {fails}\n{own}\n')
            tool.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SLURM_"))}
        with (self.folder / log).open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--profile", "slurm", *QUICK, *arguments],
                cwd=self.folder,
                env=kept | {"PATH": f"{tools}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                # Whoever starts these tests in the background has interrupts ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def said(self, log: str = "run.log") -> str:
        """What a run has printed so far."""
        return (self.folder / log).read_text()


def queued(what: str = "%k") -> list[str]:
    """A column of squeue for the jobs that have not ended."""
    return call("squeue", "--noheader", "--format", what).splitlines()
