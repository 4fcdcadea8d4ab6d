"""One GPU for each job of a machine with several, where no cluster hands them out."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

# Open as long as this process lives: the system lets go of the lock when it ends, however it ends.
_held: dict[int, IO[str]] = {}


def claim_gpu(count: int, folder: Path | None = None) -> int:
    """The number of a GPU that no other job of this user holds, from now until this process ends.

    Parameters
    ----------
    count : int
        GPUs that torch sees.
    folder : Path, optional
        Where locks lie. Default: the machine's folder for temporary files, not the job's own.

    Returns
    -------
    int
        The same at each call of a process. Where all are held, one by the process's number: more
        jobs run than there are GPUs, and share them.
    """
    if _held:
        return next(iter(_held))
    where = folder or Path(tempfile.gettempdir())
    for gpu in range(count):
        handle = open(where / f"artneuro-{os.getuid()}-gpu-{gpu}.lock", "a")  # noqa: SIM115
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            continue
        _held[gpu] = handle
        return gpu
    return os.getpid() % count
