"""Unpacking of downloaded packages: regular files only, never outside the target folder."""

from __future__ import annotations

import contextlib
import errno
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

import zstandard

from artneuro.core.errors import SourceError

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Archives come from registries, but a small download can unpack to anything: a bound on the sum.
MAX_UNPACKED_BYTES = 8 * 2**30

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
        for name, opened in _members(archive):
            relative = _inside(name, archive)
            parts = relative.parts[strip:]
            inner = "/".join(parts)
            if not parts or (keep and not any(fnmatchcase(inner, pattern) for pattern in keep)):
                continue
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
    except (
        OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError,
        zstandard.ZstdError, ValueError,
    ) as error:  # fmt: skip
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
    except (OSError, EOFError, lzma.LZMAError):
        return False


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
    elif head[:4] == ZSTD_MAGIC:
        with archive.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            yield from _tar_members(cast(BinaryIO, stream))
    else:
        with archive.open("rb") as raw:
            yield from _tar_members(raw, seekable=True)


def _tar_members(stream: BinaryIO, seekable: bool = False) -> Iterator[Member]:
    mode = "r:*" if seekable else "r|"
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for info in tar:
            if info.isreg():
                yield info.name, lambda info=info: cast(IO[bytes], tar.extractfile(info))  # type: ignore[misc]


def _deb_members(archive: Path) -> Iterator[Member]:
    """The files of a Debian package: the tar archive `data.tar.*` inside an ar archive."""
    with archive.open("rb") as file:
        file.seek(len(AR_MAGIC))
        while header := file.read(AR_HEADER):
            if len(header) < AR_HEADER or header[58:60] != b"`\n":
                raise ValueError("damaged ar header")
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            size = int(header[48:58])
            if name.startswith("data.tar"):
                data = io.BytesIO(file.read(size))
                if len(data.getvalue()) < size:
                    raise EOFError("data.tar ends early")
                with contextlib.ExitStack() as stack:
                    if name.endswith(".zst"):
                        reader = zstandard.ZstdDecompressor().stream_reader(data)
                        yield from _tar_members(cast(BinaryIO, stack.enter_context(reader)))
                    else:
                        yield from _tar_members(data, seekable=True)
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("the Debian package holds no data.tar")
