"""Unpacking of downloaded packages: regular files only, never outside the target folder."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self, cast

import zstandard

from artneuro.core.errors import SourceError

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Archives come from registries, but a small download can unpack to anything: a bound on the sum.
MAX_UNPACKED_BYTES = 8 * 2**30
# And what is not kept must be read past all the same.
MAX_READ_BYTES = 64 * 2**30
MAX_ENTRIES = 1_000_000
# Of a name or another note about an entry, which the library reads into memory as a whole.
MAX_NOTE_BYTES = 1 << 20
NOTES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DAMAGED = (
    OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error,
    zstandard.ZstdError, ValueError,
    # What zipfile says of passwords and of compression that it does not know.
    RuntimeError,
)  # fmt: skip

Member = tuple[str, Callable[[], IO[bytes]]]


def unpack(
    archive: Path,
    target: Path,
    keep: Sequence[str] = (),
    strip: int = 0,
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> list[Path]:
    """Unpack the wanted regular files of an archive under `target`.

    Links, devices and other special entries are left out: data needs none of them, and without
    them no entry can redirect another. The kind of the archive is told by its first bytes: zip
    (wheels), tar with gzip, bzip2, xz, zstandard or no compression, and Debian packages.

    Parameters
    ----------
    archive : Path
        The file to unpack.
    target : Path
        An existing folder.
    keep : sequence of str
        Shell patterns over the paths inside the archive (after `strip`), in which `*` matches
        across folders; none keeps everything.
    strip : int
        Leading folders to drop from each path.
    max_bytes : int
        Bound on the sum of the unpacked files, in bytes.

    Returns
    -------
    list of Path
        The files written, sorted.

    Raises
    ------
    SourceError
        If the archive is damaged or of an unknown kind, an entry would land outside `target`, or
        the bound is passed.
    """
    written: list[Path] = []
    total = 0
    try:
        for count, (name, opened) in enumerate(_members(archive)):
            if count >= MAX_ENTRIES:
                raise ValueError(f"it holds more than {MAX_ENTRIES} entries")
            relative = _inside(name, archive)
            parts = relative.parts[strip:]
            inner = "/".join(parts)
            if not parts or (keep and not any(fnmatchcase(inner, pattern) for pattern in keep)):
                continue
            _check_name(inner)
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened() as stream, path.open("wb") as out:
                while block := stream.read(1 << 20):
                    total += len(block)
                    if total > max_bytes:
                        raise SourceError(
                            f"the archive unpacks to more than {max_bytes} bytes",
                            where=str(archive),
                            fix="narrow `keep`, or check that this is the package you expect",
                        )
                    out.write(block)
            written.append(path)
    except DAMAGED as error:
        raise SourceError(
            f"cannot unpack the archive ({error})",
            where=str(archive),
            fix="free disk space"
            if getattr(error, "errno", None) == errno.ENOSPC
            else "delete it from the download cache and fetch again",
        ) from error
    return sorted(set(written))


def is_archive(path: Path) -> bool:
    """Whether `path` is of a kind that `unpack` reads."""
    with path.open("rb") as file:
        head = file.read(8)
    return zipfile.is_zipfile(path) or head == AR_MAGIC or head[:4] == ZSTD_MAGIC or _is_tar(path)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except DAMAGED:
        return False


def _check_name(name: str) -> None:
    """Make sure that a path can be written to a sidecar and shown on a terminal."""
    if _CONTROL.search(name):
        raise ValueError(f"the name {name!r} holds control characters")
    name.encode()


def _inside(name: str, archive: Path) -> PurePosixPath:
    """The entry's path, made sure not to lead out of the folder it is unpacked in."""
    path = PurePosixPath(name.replace("\\", "/"))
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\0" in name
        or (path.parts[:1] or "x")[0][1:2] == ":"
    ):
        raise SourceError(
            f"the archive holds an entry that leads outside its folder: {name!r}",
            where=str(archive),
            fix="do not use this package: it is damaged or made to harm",
        )
    return path


def _members(archive: Path) -> Iterator[Member]:
    """Name and opener of each regular file of the archive, in its order."""
    with archive.open("rb") as file:
        head = file.read(8)
    if head == AR_MAGIC:
        yield from _deb_members(archive)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = (info.external_attr >> 16) & 0o170000
                # 0: made where modes are unknown. 0o100000: regular. The rest are links, devices.
                if not info.is_dir() and kind in (0, 0o100000):
                    yield info.filename, lambda info=info: zipped.open(info)  # type: ignore[misc]
    else:
        with archive.open("rb") as raw:
            yield from _tar_members(raw)


def _zstandard(packed: IO[bytes]) -> Any:
    return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)


PACKERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
    (b"\x5d\0\0", lzma.open),
    (ZSTD_MAGIC, _zstandard),
)


class _Part(io.RawIOBase):
    """The next bytes of a stream, so many at most.

    Parameters
    ----------
    stream : binary stream
    size : int
        Where it ends.
    strict : bool
        Whether it is an error to come to the end.
    """

    def __init__(self, stream: IO[bytes], size: int, strict: bool = False) -> None:
        self._stream, self._left, self._strict = stream, size, strict

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._strict and not self._left:
            raise ValueError(f"it unpacks to more than {MAX_READ_BYTES} bytes")
        block = self._stream.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)


class _Entry(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in NOTES and entry.size > MAX_NOTE_BYTES:
            # Not a TarError, which the library takes for the archive's end.
            raise ValueError(f"a note about an entry has {entry.size} bytes")
        return entry


def _tar_members(packed: IO[bytes]) -> Iterator[Member]:
    """The files of a tar archive that is compressed as its first bytes say."""
    buffered = io.BufferedReader(cast(io.RawIOBase, packed))
    head = buffered.peek(8)
    opened = next((way for magic, way in PACKERS if head.startswith(magic)), None)
    plain = cast(IO[bytes], opened(buffered) if opened else buffered)
    stream = cast(IO[bytes], _Part(plain, MAX_READ_BYTES, strict=True))
    with plain, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as tar:
        for info in tar:
            if info.isreg():
                yield info.name, lambda info=info: cast(IO[bytes], tar.extractfile(info))  # type: ignore[misc]


def _deb_members(archive: Path) -> Iterator[Member]:
    """The files of a Debian package: the tar archive `data.tar.*` inside an ar archive."""
    with archive.open("rb") as file:
        file.seek(len(AR_MAGIC))
        while header := file.read(AR_HEADER):
            digits = header[48:58].strip()
            if len(header) < AR_HEADER or header[58:60] != b"`\n" or not digits.isdigit():
                raise ValueError("damaged ar header")
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            size = int(digits)
            if name.startswith("data.tar"):
                if file.tell() + size > archive.stat().st_size:
                    raise EOFError("data.tar ends early")
                yield from _tar_members(cast(IO[bytes], _Part(file, size)))
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("the Debian package holds no data.tar")
