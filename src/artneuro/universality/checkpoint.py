"""Checkpoints of a long job."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from artneuro.core.artifacts import atomic_path

log = logging.getLogger(__name__)

# A job that is killed loses at most this much work.
CHECKPOINT_SECONDS = 900.0
# Its entry in the saved state, beside those of the job.
FINGERPRINT = "fingerprint"


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
        self.file, self.fingerprint, self.every = folder / "state.npz", fingerprint, every
        self.last = time.monotonic()

    def load(self) -> dict[str, np.ndarray] | None:
        """The state, if there is a whole one of this very job."""
        try:
            with np.load(self.file) as saved:
                state = dict(saved)
            fingerprint = str(state.pop(FINGERPRINT))
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file of the zip format fails in several ways
            log.warning("%s cannot be read (%s): starting anew", self.file, error)
            return None
        if fingerprint != self.fingerprint:
            log.warning("%s is of another run and is not used", self.file)
            return None
        return state

    def due(self) -> bool:
        """Is it time to save the state?"""
        return time.monotonic() - self.last >= self.every

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the saved state: at every moment there is the old one or the new one, whole."""
        arrays = {**state, FINGERPRINT: np.array(self.fingerprint)}
        with atomic_path(self.file) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        self.last = time.monotonic()
