"""Logging of jobs and progress of long work."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def log_to(path: str | Path | None, level: int = logging.INFO) -> None:
    """Send the package's log to standard error, and to the file `path` where one is given."""
    root = logging.getLogger("artneuro")
    root.setLevel(level)
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
        root.addHandler(handler)


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
