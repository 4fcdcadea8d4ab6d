"""Logging of jobs and progress of long work."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from artneuro.core.errors import ArtneuroError

log = logging.getLogger(__name__)

T = TypeVar("T")
# How long a job waits for another process of the same job, and how often it says so.
PATIENCE_S = 1800.0
REMIND_S = 60.0
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def log_to(path: str | Path | None, level: int = logging.INFO) -> None:
    """Send the package's log to standard error, and to the file `path` where one is given.

    The file is a job's own: it stays locked until the process ends or logs elsewhere, and who else
    wants it waits. A job outlives a Snakemake that is killed, and the next one starts it again;
    two processes would delete each other's temporary files.

    Raises
    ------
    ArtneuroError
        If another process keeps the file for half an hour.
    """
    root = logging.getLogger("artneuro")
    root.setLevel(level)
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="a", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    root.addHandler(handlers[0])
    if path is not None:
        file = handlers[1]
        assert isinstance(file, logging.FileHandler)
        assert file.stream is not None
        _wait_for_others(file.stream.fileno(), Path(path))
        file.stream.truncate(0)
        root.addHandler(file)
        log.info("process %d on %s", os.getpid(), socket.gethostname())


def _wait_for_others(file: int, path: Path) -> None:
    """Lock a log file, once no other process has it."""
    started = time.monotonic()
    reminded = -REMIND_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
        waited = time.monotonic() - started
        if waited > PATIENCE_S:
            raise ArtneuroError(
                f"another process of the same job still runs ({_owner(path)})",
                where=str(path),
                fix="end that process, or delete the log if it is gone, and run again",
            )
        if waited - reminded >= REMIND_S:
            reminded = waited
            log.warning(
                "another process of the same job still runs (%s): waiting for its end", _owner(path)
            )
        time.sleep(0.2)


def _owner(path: Path) -> str:
    """What the first line of a log says of the process that writes it."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().strip().rpartition(": ")[2] or "unknown"


class Progress:
    """Counts units of work and logs the rate and the time left, at most every `every` seconds."""

    def __init__(
        self, name: str, total: int, unit: str, logger: logging.Logger, every: float = 10.0
    ) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.logger, self.every = logger, every
        self.done = 0
        self.started = self.last = time.monotonic()

    def add(self, n: int) -> None:
        """Count `n` more units."""
        self.done += n
        now = time.monotonic()
        if now - self.last >= self.every or self.done == self.total:
            self.last = now
            rate = self.done / max(now - self.started, 1e-9)
            left = (self.total - self.done) / max(rate, 1e-9)
            self.logger.info(
                "%s: %d of %d %s (%.0f %%), %.1f %s/s, %.0f s left",
                self.name,
                self.done,
                self.total,
                self.unit,
                100 * self.done / max(self.total, 1),
                rate,
                self.unit,
                left,
            )


def progress(
    items: Iterable[T], name: str, total: int, unit: str, logger: logging.Logger
) -> Iterator[T]:
    """Iterate over `items` and log how far it has come."""
    counter = Progress(name, total, unit, logger)
    for item in items:
        yield item
        counter.add(1)
