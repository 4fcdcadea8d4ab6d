"""A fetch that is killed half way through a download."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

from artneuro.core import sources
from artneuro.core.sources import SourceConfig, fetch_source

CONTENT = b"what the source is" * 1000


def config_of(file: Path) -> SourceConfig:
    package = {
        "name": "data.txt",
        "url": file.as_uri(),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return SourceConfig.model_validate(
        {"registry": "url", "licence": "CC0-1.0", "description": "x", "packages": [package]}
    )


def killed_fetch(config: SourceConfig, folder: Path, monkeypatch, part: int) -> int:
    """Fetch in a child that dies after `part` bytes; its exit status."""

    def die(registry: str, name: str, version: str, into: Path, *rest) -> Path:
        (into / name).write_bytes(CONTENT[:part])
        os.kill(os.getpid(), signal.SIGKILL)
        return into / name

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(sources, "download", die)
        fetch_source("s", config, folder / "fetched", folder / "cache")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_next_fetch_starts_anew(tmp_path: Path, monkeypatch):
    (tmp_path / "data.txt").write_bytes(CONTENT)
    config = config_of(tmp_path / "data.txt")
    for part in (0, 1, len(CONTENT) // 2, len(CONTENT)):
        assert killed_fetch(config, tmp_path, monkeypatch, part) == -signal.SIGKILL
        # Nothing that could be taken for the source or for a verified download.
        assert not (tmp_path / "fetched").exists()
        assert not (tmp_path / "cache" / config.packages[0].sha256).exists()
    info = fetch_source("s", config, tmp_path / "fetched", tmp_path / "cache")
    assert info.available
    assert (tmp_path / "fetched" / "data.txt" / "data.txt").read_bytes() == CONTENT
