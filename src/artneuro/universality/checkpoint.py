"""Checkpoints of a long job."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from artneuro.core.artifacts import atomic_path, read_json, write_json

log = logging.getLogger(__name__)

# A job that is killed loses at most this much work.
CHECKPOINT_SECONDS = 900.0


class Checkpoint:
    """The state of an interrupted job, in a folder beside its output.

    Parameters
    ----------
    folder : Path
    fingerprint : str
        Hash of everything that the state depends on; that of another job is not used.
    every : float
        Seconds between two checkpoints.
    """

    def __init__(self, folder: Path, fingerprint: str, every: float = CHECKPOINT_SECONDS) -> None:
        self.file, self.note = folder / "state.npz", folder / "fingerprint.json"
        self.fingerprint, self.every = fingerprint, every
        self.last = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """The state, if there is a whole one of this very job."""
        try:
            if read_json(self.note) != self.fingerprint:
                log.warning("%s is of another run and is not used", self.file)
                return None
            with np.load(self.file) as state:
                return dict(state)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file of the zip format fails in several ways
            log.warning("%s cannot be read (%s): starting anew", self.file, error)
            return None

    def due(self) -> bool:
        """Is it time to save the state?"""
        return time.monotonic() - self.last >= self.every

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the saved state."""
        # The note goes first and comes last, so that it is never beside a state of another run.
        self.note.unlink(missing_ok=True)
        with atomic_path(self.file) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, **dict(state))  # type: ignore[arg-type]
        write_json(self.fingerprint, self.note)
        self.last = time.monotonic()
