"""Two processes of one job: the second waits for the first, and says so."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from artneuro.core import logs
from artneuro.core.errors import ArtneuroError

HOLD = """
import sys
from artneuro.core.logs import log_to
log_to(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
import logging
logging.getLogger("artneuro").info("the first is done")
"""


@pytest.fixture(autouse=True)
def own_log():
    yield
    logs.log_to(None)


@pytest.fixture
def other(tmp_path: Path):
    """A process that has the log, and lets it go when its input ends."""
    source = Path(logs.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "job.log")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_waits_for_the_first(tmp_path: Path, other, monkeypatch, capfd):
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            other.communicate()

    monkeypatch.setattr(logs.time, "sleep", sleep)
    logs.log_to(tmp_path / "job.log")
    assert len(naps) == 3
    said = capfd.readouterr().err
    assert said.count(f"still runs (process {other.pid} on ") == 1
    # What the first wrote until its end is gone, and nothing of it comes after.
    lines = (tmp_path / "job.log").read_text().splitlines()
    assert len(lines) == 1
    assert f"process {os.getpid()} on " in lines[0]


def test_a_killed_process_holds_nothing(tmp_path: Path, other, monkeypatch):
    other.kill()
    other.wait()
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: pytest.fail("waited"))
    logs.log_to(tmp_path / "job.log")


def test_patience_ends(tmp_path: Path, other, monkeypatch, capfd):
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            monkeypatch.setattr(logs, "PATIENCE_S", -1.0)

    monkeypatch.setattr(logs, "REMIND_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(logs.time, "sleep", sleep)
        with pytest.raises(ArtneuroError, match=f"process {other.pid} on "):
            logs.log_to(tmp_path / "job.log")
    assert capfd.readouterr().err.count("waiting for its end") == 2
    # The way out that the error names.
    (tmp_path / "job.log").unlink()
    logs.log_to(tmp_path / "job.log")


def test_file_systems_without_locks(tmp_path: Path, monkeypatch):
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(logs.fcntl, "flock", refuse)
    logs.log_to(tmp_path / "job.log")
    assert (tmp_path / "job.log").exists()
