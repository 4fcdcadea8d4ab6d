"""Tasks for tests of Dask: workers import them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path


def work(folder: str, number: int, seconds: float, until: str = "") -> tuple[int, str, str]:
    """Leave a file that says where this runs, wait, and return number, job and node.

    The wait takes some seconds, and then until there is a file `until` in the folder.
    """
    job, node = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURMD_NODENAME", "")
    # Written whole: a test reads it while this waits.
    Path(folder, f"{number}_{os.getpid()}_{job}").touch()
    time.sleep(seconds)
    while not Path(folder, until).exists():
        time.sleep(0.05)
    return number, job, node
