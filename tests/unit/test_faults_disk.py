"""What the operating system refuses, as an error that says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from artneuro.core.artifacts import atomic_directory, atomic_path, write_json
from artneuro.core.errors import ArtneuroError, DataError

KINDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk fails",
}


class LibraryError(Exception):
    """As of a library that knows errors of its own only."""


def raised(target: Path, error: Exception, writer=atomic_path) -> Exception:
    with pytest.raises(Exception) as caught, writer(target):
        raise error
    return caught.value


@pytest.mark.parametrize("code", KINDS)
@pytest.mark.parametrize("writer", [atomic_path, atomic_directory])
def test_disk_problems_are_named(tmp_path: Path, code: int, writer):
    target = tmp_path / "store"
    said = os.strerror(code)
    for error in (OSError(code, said), LibraryError(f"Error: {said} (os error {code})")):
        named = raised(target, error, writer)
        assert isinstance(named, ArtneuroError)
        assert named.what == KINDS[code]
        assert str(target) in str(named)
        assert named.fix
        assert named.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_as_they_are(tmp_path: Path):
    target = tmp_path / "a.json"
    for error in (
        OSError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EACCES, "Permission denied", "/elsewhere/model.safetensors"),
        PermissionError(errno.EACCES, "Permission denied"),
        LibraryError("Permission denied"),
        DataError("No space left on device", fix="said already"),
        KeyError("x"),
    ):
        assert raised(target, error) is error


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch):
    target = tmp_path / "new" / "a.json"

    def refuse(path: Path, *args, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtneuroError, match="may not write here") as caught:
        write_json(1, target)
    assert str(target) in str(caught.value)
