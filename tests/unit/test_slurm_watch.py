"""What a user is told of Slurm's queue."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from artneuro.core.slurm_watch import (
    QueuedJob,
    QueueWatch,
    ask_squeue,
    logged_jobs,
    remembered_seconds,
)


def job(number: int, state: str = "RUNNING", reason: str = "None", run: str = "here") -> QueuedJob:
    return QueuedJob(str(number), run, state, reason, f"fit_wildcards_{number}")


class Told:
    """A watch over answers that a test gives, and what it said of each."""

    def __init__(self, *answers: list[QueuedJob] | str) -> None:
        self.answers = iter(answers)
        self.said: list[str] = []
        self.logged: list[QueuedJob] = []
        self.watch = QueueWatch(self.said.append, "/here", self.answer, lambda *_: self.logged)

    def answer(self, folder: str) -> list[QueuedJob]:
        assert folder == "/here"
        found = next(self.answers)
        if isinstance(found, str):
            raise OSError(found)
        return found

    def look(self, times: int, step: float = 60.0) -> list[str]:
        for i in range(times):
            self.watch.look(i * step)
        return self.said


def test_nothing_is_said_of_jobs_that_wait_their_turn_run_or_end() -> None:
    told = Told(
        [job(1, "PENDING", "Priority"), job(2, "PENDING", "Resources"), job(3)],
        [job(1, "PENDING", "BeginTime"), job(2), job(3, "COMPLETING")],
        [job(1), job(2, "FAILED"), job(3, "COMPLETED")],
        [job(1, "NODE_FAIL"), job(2, "FAILED")],
        [job(1, "COMPLETED")],
        [],
    )
    assert told.look(6) == []


def test_jobs_that_may_never_start_are_told_once_each_with_the_reason() -> None:
    held = [job(n, "PENDING", "PartitionTimeLimit") for n in range(8)]
    told = Told(held, held, held, [*held, job(9, "PENDING", "PartitionTimeLimit")] * 1, held)
    told.look(1)
    assert told.said == []  # it may pass
    told.look(2)
    assert len(told.said) == 1
    assert "PartitionTimeLimit" in told.said[0]
    assert "0 (fit_wildcards_0)" in told.said[0]
    assert "and 3 more" in told.said[0]
    told.look(2)
    assert len(told.said) == 1


def test_a_reason_that_passes_is_not_told() -> None:
    held, free = [job(1, "PENDING", "ReqNodeNotAvail")], [job(1, "PENDING", "Priority")]
    assert Told(held, free, held, free).look(4) == []


def test_a_job_that_was_preempted_for_good_is_told() -> None:
    said = Told([job(1)], [job(1, "PREEMPTED")], [job(1, "PREEMPTED")]).look(3)
    assert len(said) == 1
    assert "PREEMPTED of 1 (fit_wildcards_1)" in said[0]
    # One that is queued again is not.
    assert Told([job(1, "PREEMPTED")], [job(1, "PENDING", "BeginTime")], [job(1)]).look(3) == []


def test_a_job_that_slurm_has_forgotten_is_told() -> None:
    said = Told([job(1), job(2)], [job(2)], [job(2)], [job(2)]).look(4)
    assert len(said) == 1
    assert "forgotten 1 (fit_wildcards_1)" in said[0]
    # One that was never told of, but has begun to write its log.
    unseen = Told([job(2)], [job(2)], [job(2)], [job(2, "COMPLETED")], [])
    unseen.logged = [QueuedJob("3", "", "", "", "fit 3"), QueuedJob("2", "", "", "", "fit 2")]
    said = unseen.look(5)
    assert len(said) == 1
    assert "forgotten 3 (fit 3)" in said[0]
    # Where ended jobs are forgotten within the minute, nothing can be concluded.
    short = Told([job(1)], [], [], [])
    short.watch.sees_ends = False
    assert short.look(4) == []


def test_no_answer_is_told_with_its_reason_again_and_when_it_ends() -> None:
    told = Told([job(1)], *["no route to host"] * 14, [job(1)], [job(1)])
    said = told.look(17)
    assert len(said) == 3
    assert "not answered for 60 s: no route to host" in said[0]
    assert "not answered for 660 s" in said[1]
    assert said[2] == "Slurm answers again, after 840 s."
    # A single lost answer is nothing.
    assert Told([job(1)], "timed out", [job(1)]).look(3) == []


def test_jobs_of_an_earlier_run_are_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artneuro.core.slurm_watch.remembered_seconds", lambda: 300)
    told = Told([job(1, run="old"), job(2, "COMPLETED", run="older")])
    told.watch.start(seconds=3600)
    assert len(told.said) == 1
    assert "1 (fit_wildcards_1)" in told.said[0]
    assert "scancel --name=old)" in told.said[0]
    nothing = Told("not there")
    nothing.watch.start(seconds=3600)
    assert nothing.said == []


def test_jobs_of_other_runs_are_not_looked_at() -> None:
    old = job(1, "PENDING", "JobHeldUser", run="old")
    told = Told([old], [old], [old])
    told.logged = [QueuedJob("1", "", "", "", "fit 1")]
    for i in range(3):
        told.watch.look(60.0 * i, others=["old"])
    assert told.said == []


def test_squeue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, script = tmp_path / "here", tmp_path / "bin" / "squeue"
    here.mkdir()
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n"
        f"printf '7\\tuuid\\tPENDING\\t{here}\\trule_fit_wildcards_a\\t(Nodes DOWN, or so)\\n'\n"
        "printf '8\\tuuid\\tRUNNING\\t/elsewhere\\trule_fit\\tNone\\n'\n"
        "printf 'odd\\n'\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    expected = QueuedJob("7", "uuid", "PENDING", "(Nodes DOWN, or so)", "fit_wildcards_a")
    assert ask_squeue(str(here)) == [expected]
    script.write_text("#!/bin/sh\necho 'squeue: error: no' >&2; exit 1\n")
    with pytest.raises(OSError, match="squeue: error: no"):
        ask_squeue(str(here))
    control = script.with_name("scontrol")
    control.write_text("#!/bin/sh\necho 'MinJobAge               = 250 sec'\n")
    control.chmod(0o755)
    assert remembered_seconds() == 250
    control.write_text("#!/bin/sh\nexit 1\n")
    assert remembered_seconds() == 0


def test_logs_of_jobs_are_read(tmp_path: Path) -> None:
    folder = tmp_path / ".snakemake" / "slurm_logs" / "rule_fit_probes" / "model_data"
    folder.mkdir(parents=True)
    for name, at in (("12.log", 2000), ("11.log", 1000), ("odd.log", 2000)):
        (folder / name).touch()
        os.utime(folder / name, (at, at))
    assert logged_jobs(str(tmp_path), 1500.0) == [
        QueuedJob("12", "", "", "", "fit_probes model_data")
    ]
    assert logged_jobs(str(tmp_path / "nowhere"), 0) == []


def test_a_squeue_that_hangs_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_, **__):
        raise subprocess.TimeoutExpired("squeue", 60)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(OSError, match="does not answer"):
        ask_squeue("/here")
    assert remembered_seconds() == 0


def test_odd_bytes_in_the_answer_of_squeue(tmp_path: Path, monkeypatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\nprintf '7\\tr\\tPENDING\\t{tmp_path}\\trule_a\\t\\377\\n'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert [found.number for found in ask_squeue(str(tmp_path))] == ["7"]
