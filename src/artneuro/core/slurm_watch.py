"""Says what would otherwise be waited for in silence while jobs are in Slurm's queue.

Snakemake waits for a job until it has ended. A job that can never start, that was preempted for
good or that Slurm has forgotten never does; while Slurm does not answer nothing is known at all.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Reasons for which a job waits its turn; with any other it may wait for ever.
WAITS_ITS_TURN = ("None", "Priority", "Resources", "BeginTime", "Cleaning", "Prolog")

# States whose meaning Snakemake knows: the job goes on, or it has ended and Snakemake says how.
GOES_ON = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT")
HAS_ENDED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"),
    *("NODE_FAIL", "BOOT_FAIL", "DEADLINE"),
)
UNFINISHED = (*GOES_ON, "SUSPENDED", "REQUEUED")

# Seconds between what is said again while nothing has changed.
SAY_AGAIN = 600.0


@dataclass(frozen=True)
class QueuedJob:
    """A job as squeue tells of it.

    Attributes
    ----------
    number : str
        Its number.
    run : str
        Its name, which is that of the run of Snakemake that submitted it.
    state : str
        In Slurm's words, such as PENDING.
    reason : str
        Why it is pending, in Slurm's words; `None` where there is no reason.
    rule : str
        The rule and its wildcards.
    """

    number: str
    run: str
    state: str
    reason: str
    rule: str

    def __str__(self) -> str:
        return f"{self.number} ({self.rule})"


def ask_squeue(folder: str) -> list[QueuedJob]:
    """The user's jobs that were submitted from a folder, those that ended lately too.

    Raises
    ------
    OSError
        If squeue does not answer: with what it says.
    """
    form = "%i\t%j\t%T\t%Z\t%k\t%r"
    command = ["squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", "-o", form]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except subprocess.TimeoutExpired:
        raise OSError("squeue does not answer") from None
    if done.returncode:
        raise OSError(done.stderr.strip() or f"squeue ends with {done.returncode}")
    rows = [line.split("\t", 5) for line in done.stdout.splitlines()]
    return [
        QueuedJob(number, run, state, reason, rule.removeprefix("rule_"))
        for number, run, state, workdir, rule, reason in (row for row in rows if len(row) == 6)
        if os.path.realpath(workdir) == os.path.realpath(folder)
    ]


def logged_jobs(folder: str, since: float) -> list[QueuedJob]:
    """The jobs that began to write the log of theirs, which Snakemake's plugin names after them.

    Parameters
    ----------
    folder : str
        The folder that the jobs are submitted from.
    since : float
        Logs that were last written before this time (of `time.time`) are left out.
    """
    logs = Path(folder, ".snakemake", "slurm_logs")
    found = []
    for log in sorted(logs.rglob("*.log")):
        with suppress(OSError):
            if log.stem.isdigit() and log.stat().st_mtime >= since:
                rule = " ".join(log.relative_to(logs).parent.parts).removeprefix("rule_")
                found.append(QueuedJob(log.stem, "", "", "", rule))
    return found


def remembered_seconds() -> int:
    """For how long squeue knows a job that has ended (MinJobAge); 0 if Slurm does not say."""
    command = ["scontrol", "show", "config"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


class QueueWatch:
    """Looks at the queue now and then and says what a user has to know.

    Parameters
    ----------
    tell : callable
        Called with each message.
    folder : str
        The folder that the jobs are submitted from.
    ask : callable, optional
        What returns the jobs of a folder.
    logged : callable, optional
        What returns the jobs of a folder that have begun since a time.

    Attributes
    ----------
    sees_ends : bool
        Whether Slurm remembers jobs that have ended for longer than it takes to look again.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        folder: str,
        ask: Callable[[str], list[QueuedJob]] = ask_squeue,
        logged: Callable[[str, float], list[QueuedJob]] = logged_jobs,
    ) -> None:
        self.tell, self.folder, self.ask, self.logged = tell, folder, ask, logged
        self._since = time.time()
        self._ended: set[str] = set()
        self.sees_ends = True
        self._silent_since: float | None = None
        self._said_at = 0.0
        self._said: set[tuple[str, str]] = set()
        self._suspects: set[tuple[str, str]] = set()
        self._open: dict[str, QueuedJob] = {}

    def start(self, seconds: float = 60.0) -> None:
        """Say which jobs an earlier run left behind, then go on looking until the program ends."""
        try:
            left = [job for job in self.ask(self.folder) if job.state in UNFINISHED]
        except OSError:
            left = []
        if left:
            runs = " ".join(f"scancel --name={run};" for run in sorted({job.run for job in left}))
            self.tell(
                f"{len(left)} jobs of an earlier run of this folder are still in Slurm's queue: "
                f"{_some(left)}. They write the files that this run's jobs write. If that run was "
                f"killed, stop this one, end its jobs ({runs.rstrip(';')}) and start again."
            )
        others = {job.run for job in left}
        self.sees_ends = remembered_seconds() >= 2 * seconds

        def go_on() -> None:
            while True:
                time.sleep(seconds)
                self.look(time.monotonic(), others)

        threading.Thread(target=go_on, name="slurm-watch", daemon=True).start()

    def look(self, now: float, others: Iterable[str] = ()) -> None:
        """Look once. What might pass by itself is told at the second look that finds it.

        Parameters
        ----------
        now : float
            Seconds of a clock that never goes back.
        others : iterable of str, optional
            Runs whose jobs are not looked at.
        """
        try:
            told_of = self.ask(self.folder)
        except OSError as error:
            self._no_answer(now, str(error))
            return
        if self._silent_since is not None and self._said_at >= self._silent_since:
            self.tell(f"Slurm answers again, after {now - self._silent_since:.0f} s.")
        self._silent_since = None
        found: dict[tuple[str, str], list[QueuedJob]] = defaultdict(list)
        jobs = [job for job in told_of if job.run not in set(others)]
        for job in jobs:
            if job.state == "PENDING" and not job.reason.startswith(WAITS_ITS_TURN):
                found["waits", job.reason].append(job)
            elif job.state not in (*GOES_ON, *HAS_ENDED):
                found["state", job.state].append(job)
        known = {job.number for job in told_of}
        self._ended |= {job.number for job in jobs if job.state in HAS_ENDED}
        # A job that is not told of may have begun and been forgotten since the last look.
        for job in [*self.logged(self.folder, self._since), *jobs]:
            self._open[job.number] = job
        self._open = {n: job for n, job in self._open.items() if n not in self._ended}
        if self.sees_ends:
            found["gone", ""] = [job for n, job in self._open.items() if n not in known]
        suspects = {(job.number, what + why) for (what, why), of in found.items() for job in of}
        for (what, why), of in found.items():
            keys = {job.number: (job.number, what + why) for job in of}
            new = [j for j in of if keys[j.number] in self._suspects - self._said]
            if new:
                self._said |= {keys[job.number] for job in new}
                self.tell(_message(what, why, new))
        self._suspects = suspects

    def _no_answer(self, now: float, why: str) -> None:
        if self._silent_since is None:
            self._silent_since, self._said_at = now, float("-inf")
            return
        if now - self._said_at >= SAY_AGAIN:
            self._said_at = now
            self.tell(
                f"Slurm has not answered for {now - self._silent_since:.0f} s: {why}. Jobs that "
                "run are not touched by that, and the run goes on when Slurm answers."
            )


def _some(jobs: list[QueuedJob]) -> str:
    """The first few jobs, and how many more there are."""
    rest = f" and {len(jobs) - 5} more" if len(jobs) > 5 else ""
    return ", ".join(str(job) for job in jobs[:5]) + rest


def _message(what: str, why: str, jobs: list[QueuedJob]) -> str:
    if what == "waits":
        return (
            f"Slurm holds back {_some(jobs)} for the reason {why}. If that does not pass by "
            "itself, end the job with scancel, and ask for less or for another partition in the "
            "site file (docs/cluster.md)."
        )
    if what == "state":
        return (
            f"Slurm says {why} of {_some(jobs)}. If the job is not queued again, stop the run with "
            "Ctrl-C and start it again: what is done stays done."
        )
    return (
        f"Slurm has forgotten {_some(jobs)}, whose end was not seen. If the run goes on waiting, "
        "stop it with Ctrl-C and start it again: what is done stays done."
    )
