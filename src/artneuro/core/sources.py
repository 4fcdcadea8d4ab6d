"""Pinned external inputs: what `resources/sources.yaml` says, fetched, verified and unpacked.

Every file that enters from outside is named with its version and SHA-256, and the hash is checked
before anything is unpacked. A source that is marked optional and that this machine cannot have
(no client for its registry, or a version that the registry no longer carries) becomes a folder
whose `source.json` says so, so that what depends on it can go on without it.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import Field, StringConstraints, ValidationError, model_validator

from artneuro.core.archives import is_archive, unpack
from artneuro.core.artifacts import atomic_directory, read_json, write_json
from artneuro.core.config import Name, Section
from artneuro.core.errors import ConfigError, SourceError
from artneuro.core.hashing import sha256_file
from artneuro.core.registries import URL_SCHEMES, NetworkFailure, Unavailable, download
from artneuro.core.validation import explained
from artneuro.core.values import read_yaml
from artneuro.core.web import Sha256, problem_of

log = logging.getLogger(__name__)

SOURCE_FILE = "source.json"
# Not a range, an address or an option: those mean something to some clients.
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:_-]*$")]
# npm packs everything below one folder of its own.
STRIPPED_FOLDERS = {"npm": 1}


class PackageConfig(Section):
    """One pinned file of a registry."""

    name: Annotated[str, StringConstraints(pattern=r"^@?[A-Za-z0-9][\w.+-]*(/[\w.+-]+)?$")] = Field(
        description="Name of the package in its registry; for a URL, the name of the file to keep."
    )
    version: Version | None = Field(None, description="Exact version; not for a URL.")
    url: str | None = Field(None, description="Address (https or file), for registry url.")
    sha256: Sha256 = Field(description="SHA-256 of the file that the registry sends.")

    @property
    def folder(self) -> str:
        """The folder that it is unpacked in: its name without the marks of an npm scope."""
        return self.name.lstrip("@").replace("/", "-")


class SourceConfig(Section):
    """One external input: a package or several that belong together."""

    registry: Literal["pypi", "npm", "debian", "url"] = Field(
        description="Who carries it. pypi: wheels by pip. npm: by npm pack. debian: by apt-get "
        "download. url: by https."
    )
    packages: list[PackageConfig] = Field(min_length=1, description="The pinned files.")
    licence: str = Field(
        description="Licence of what is used, as an SPDX expression where it has one."
    )
    description: str = Field(description="What it is and what of it is used.")
    keep: list[str] = Field(
        [],
        description="Shell patterns of the files to keep after unpacking, over paths inside the "
        "package; `*` matches across folders. Empty: all.",
    )
    optional: bool = Field(
        False, description="Whether a machine that cannot have it goes on without it."
    )

    @model_validator(mode="after")
    def _pinned(self) -> SourceConfig:
        for package in self.packages:
            if self.registry == "url":
                if not package.url or not package.url.startswith(URL_SCHEMES) or package.version:
                    raise ValueError(
                        f"package {package.name}: registry url needs `url:` (https or file) and no "
                        "`version:`"
                    )
                wrong = package.url.startswith("https:") and problem_of(package.url, ("https",))
                if wrong:
                    raise ValueError(f"package {package.name}: url: {wrong}")
            elif package.url or not package.version:
                raise ValueError(
                    f"package {package.name}: registry {self.registry} needs `version:` "
                    "and no `url:`"
                )
        if len({package.folder for package in self.packages}) < len(self.packages):
            raise ValueError("a package is named twice")
        return self


class SourcesFile(Section):
    """The file of pinned sources."""

    sources: dict[Name, SourceConfig] = Field(description="Every external input, by name.")


class SourceInfo(Section):
    """What `source.json` in a fetched folder says."""

    name: str = Field(description="Name of the source.")
    registry: str = Field(description="Who carries it.")
    packages: list[PackageConfig] = Field(description="The pinned files.")
    licence: str = Field(description="Its licence.")
    description: str = Field(description="What it is.")
    available: bool = Field(description="Whether its files are here.")
    reason: str | None = Field(description="Why they are not, where they are not.")
    files: int = Field(description="Number of files kept.")
    bytes: int = Field(description="Their size in bytes.")


def load_sources(path: str | Path) -> dict[str, SourceConfig]:
    """Read and check the file of pinned sources.

    Raises
    ------
    ConfigError
        If the file is missing, no YAML, or an entry is wrong; all wrong entries are named.
    """
    where = str(path)
    content = read_yaml(Path(path), "the file of sources")
    try:
        return dict(SourcesFile.model_validate(content).sources)
    except ValidationError as error:
        wrong = "\n".join(explained(error, content))
        raise ConfigError(f"the file of sources is not valid:\n{wrong}", where) from error


def fetch_source(
    name: str,
    config: SourceConfig,
    destination: str | Path,
    cache: str | Path,
    attempts: int = 4,
    pause_s: float = 2.0,
) -> SourceInfo:
    """Fetch, verify and unpack a source.

    Each package lands in its own folder `destination/{package}/` (an npm scope `@s/p` as `s-p`).
    Verified downloads stay in `cache` under their hash, so that a second fetch needs no network.

    Parameters
    ----------
    name : str
        Name of the source.
    config : SourceConfig
        Its pins.
    destination : str or Path
        The folder to write, complete or not at all.
    cache : str or Path
        Folder of verified downloads and of apt's lists; may be shared by jobs that run at once.
    attempts : int
        How often a download that fails for the network's sake is tried.
    pause_s : float
        Seconds before the second attempt; doubled for each further one.

    Returns
    -------
    SourceInfo
        What was written to `source.json`.

    Raises
    ------
    SourceError
        If a download differs from its pin, the network fails, an archive is damaged or unsafe,
        nothing matches `keep`, or a source that is not optional cannot be had.
    """
    reason, downloads = None, {}
    # Absolute: the clients run in folders of their own.
    kept = Path(cache).resolve()
    try:
        for package in config.packages:
            downloads[package.folder] = _obtain(
                name, package, config.registry, kept, attempts, pause_s
            )
    except Unavailable as error:
        reason = str(error)
        if not config.optional:
            raise SourceError(
                f"source {name} cannot be had here: {reason}",
                where=f"sources.yaml, {name}",
                fix="provide what is missing, or pin a version that is there, and run again",
            ) from error
        log.warning(
            "source %s is left out: %s. What depends on it goes without it. To try again, delete "
            "%s and run snakemake again.", name, reason, destination,
        )  # fmt: skip
    with atomic_directory(destination) as folder:
        written = [] if reason else _unpack_all(name, config, downloads, folder)
        info = SourceInfo(
            name=name,
            registry=config.registry,
            packages=config.packages,
            licence=config.licence,
            description=config.description,
            available=reason is None,
            reason=reason,
            files=len(written),
            bytes=sum(path.stat().st_size for path in written),
        )
        write_json(info.model_dump(), folder / SOURCE_FILE)
    return info


def pinned_download(url: str, sha256: str | None, name: str, scratch: Path) -> Path:
    """Download one file by its address, and check it before it is given away.

    Parameters
    ----------
    url : str
        Address, https or file.
    sha256 : str or None
        What its hash must be; None, which the config allows for files alone, takes what comes.
    name : str
        Name of the file to write.
    scratch : Path
        An existing folder, in which the file gets a folder of its own.

    Raises
    ------
    SourceError
        If it cannot be downloaded, or is not what was pinned.
    """
    into = Path(tempfile.mkdtemp(dir=scratch))
    try:
        file = download("url", name, url, into, scratch)
    except (Unavailable, NetworkFailure) as error:
        raise SourceError(
            f"cannot download the file ({error})", url, "check the address and the network"
        ) from error
    found = sha256_file(file)
    if sha256 is not None and found != sha256:
        file.unlink()
        raise SourceError(
            f"the download is not what was pinned: expected sha256 {sha256}, got {found}",
            where=url,
            fix="do not use it; if the new content is meant, review it and pin its hash",
        )
    return file


def read_source(folder: str | Path) -> SourceInfo:
    """What a fetched folder holds.

    Raises
    ------
    SourceError
        If the folder is not one that `fetch_source` wrote.
    """
    path = Path(folder) / SOURCE_FILE
    try:
        return SourceInfo.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"not a fetched source ({error})",
            where=str(path),
            fix="delete the folder and run snakemake again",
        ) from error


def available_sources(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Those of the fetched folders whose files are here."""
    return {name: folder for name, folder in folders.items() if read_source(folder).available}


def _unpack_all(
    name: str, config: SourceConfig, downloads: Mapping[str, Path], folder: Path
) -> list[Path]:
    written: list[Path] = []
    for package in config.packages:
        file = downloads[package.folder]
        target = folder / package.folder
        target.mkdir()
        if config.registry == "url" and not is_archive(file):
            shutil.copyfile(file, target / package.folder)
            found = [target / package.folder]
        else:
            found = unpack(file, target, config.keep, STRIPPED_FOLDERS.get(config.registry, 0))
        if not found:
            raise SourceError(
                f"no file of package {package.name} matches `keep` of source {name}",
                where=f"sources.yaml, {name}.keep: {config.keep}",
                fix="list the files of the package and correct the patterns",
            )
        written += found
    return written


def _obtain(
    source: str, package: PackageConfig, registry: str, cache: Path, attempts: int, pause_s: float
) -> Path:
    """The verified file of a package: from the cache, or downloaded into it."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / package.sha256
    with FileLock(cache / f"{package.sha256}.lock"):
        if kept.exists():
            if sha256_file(kept) == package.sha256:
                return kept
            log.warning("the cached download of %s is damaged and is fetched again", package.name)
            kept.unlink()
        version = package.version or package.url or ""
        log.info("downloading %s %s (%s)", package.name, version, registry)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as scratch:
            file = _download_patiently(
                source, registry, package.name, version, Path(scratch), cache, attempts, pause_s
            )
            got = sha256_file(file)
            if got != package.sha256:
                raise SourceError(
                    f"the download of {package.name} {version} is not what was pinned: "
                    f"expected sha256 {package.sha256}, got {got}",
                    where=f"sources.yaml, {source}",
                    fix="do not use it; if the new content is meant, review it and pin its hash",
                )
            file.replace(kept)
    return kept


def _download_patiently(
    source: str,
    registry: str,
    name: str,
    version: str,
    scratch: Path,
    state: Path,
    attempts: int,
    pause_s: float,
) -> Path:
    for attempt in range(1, attempts + 1):
        into = scratch / str(attempt)
        into.mkdir()
        target = name if registry != "url" else "download"
        try:
            return download(registry, target, version, into, state)
        except NetworkFailure as error:
            if attempt == attempts:
                raise SourceError(
                    f"could not download {name} {version} in {attempts} attempts: {error}",
                    where=f"sources.yaml, {source} (registry {registry})",
                    fix="check the network and the client's own configuration, and run again; "
                    "what was downloaded before is kept",
                ) from error
            wait = pause_s * 2 ** (attempt - 1)
            log.warning("attempt %d to download %s failed (%s); next in %.0f s",
                        attempt, name, error, wait)  # fmt: skip
            time.sleep(wait)
    raise AssertionError("attempts must be at least 1")
