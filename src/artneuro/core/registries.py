"""Downloads of one pinned package each, by the ordinary client of its registry.

A download ends in one of three ways: a file; `Unavailable`, where this machine cannot have the
package however often it asks (no client, no such version); or `NetworkFailure`, worth another try.
What is downloaded is not trusted here: `artneuro.core.sources` verifies it.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from artneuro.core.web import Exchange, content_length, problem_of

CLIENT_TIMEOUT_S = 900
URL_TIMEOUT_S = 60
MAX_DOWNLOAD_BYTES = 32 * 2**30
# A server that sends less than this on average, after the first minute, is given up.
MIN_BYTES_PER_S = 10_000
URL_SCHEMES = ("https://", "file://")
# Gone or forbidden for good; the other statuses (429, 5xx) may pass.
FINAL_STATUSES = (401, 403, 404, 405, 410, 451)


class Unavailable(Exception):
    """The package cannot be had on this machine; trying again does not help."""


class NetworkFailure(Exception):
    """The registry could not be reached, or broke off."""


def download(registry: str, name: str, version: str, into: Path, state: Path) -> Path:
    """Download one package into the empty folder `into`.

    Parameters
    ----------
    registry : str
        "pypi", "npm", "debian" or "url".
    name : str
        The package's name; for "url" the name of the file to write.
    version : str
        The exact version; for "url" the address, https or file.
    into : Path
        An existing, empty folder.
    state : Path
        Where a client keeps what it needs between calls (apt's package lists).

    Returns
    -------
    Path
        The downloaded file.

    Raises
    ------
    Unavailable
        If the client is missing, or the registry has no such package and version for this machine.
    NetworkFailure
        For every other failure.
    """
    if registry == "pypi":
        _pip_download(name, version, into)
    elif registry == "npm":
        _npm_pack(name, version, into)
    elif registry == "debian":
        _apt_download(name, version, into, state)
    else:
        _url_download(version, into / name)
    files = [path for path in into.iterdir() if path.is_file()]
    if len(files) != 1:
        raise NetworkFailure(f"the {registry} client left {len(files)} files instead of one")
    return files[0]


def _pip_download(name: str, version: str, into: Path) -> None:
    """`pip download` of a wheel. Not of a source distribution: pip runs its code to read it."""
    output, failed = _run(
        [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
            "--disable-pip-version-check", "--no-input", "--dest", str(into), f"{name}=={version}",
        ]
    )  # fmt: skip
    if not failed:
        return
    if "No module named pip" in output:
        raise Unavailable(f"{sys.executable} has no pip (install it with: python -m ensurepip)")
    # pip says "no matching distribution" for an unreachable index as well, after its retries.
    unreachable = "Retrying (Retry(" in output or "connection" in output.lower()
    if "No matching distribution found" in output and not unreachable:
        raise Unavailable(f"the Python index has no wheel {name} {version} for this machine")
    raise NetworkFailure(_tail(output))


def _npm_pack(name: str, version: str, into: Path) -> None:
    if shutil.which("npm") is None:
        raise Unavailable("npm is not installed (it comes with Node.js)")
    output, failed = _run(["npm", "pack", "--ignore-scripts", f"{name}@{version}"], cwd=into)
    if not failed:
        return
    if re.search(r"\b(E404|ETARGET|ENOVERSIONS)\b", output):
        raise Unavailable(f"the npm registry has no {name} {version}")
    raise NetworkFailure(_tail(output))


def _apt_download(name: str, version: str, into: Path, state: Path) -> None:
    """`apt-get download` with package lists of our own, so that it needs no root."""
    if shutil.which("apt-get") is None:
        raise Unavailable("apt-get is not installed (this is not a Debian system)")
    with FileLock(_made(state / "apt") / "lock"):
        options, lists = _apt_options(state / "apt")
        refreshed = ""
        for fresh in (False, True):
            # Lists of an earlier day may not know the version yet, or still know a former one.
            if fresh or not any(lists.glob("*_Packages*")):
                refreshed, _ = _run(["apt-get", *options, "update"])
                fresh = True
            output, failed = _run(["apt-get", *options, "download", f"{name}={version}"], cwd=into)
            if not failed:
                return
            if fresh:
                break
    missing = re.search(
        r"Unable to locate package|was not found|Can't find a source to download", output
    )
    if missing and any(lists.glob("*_Packages*")) and "Failed to fetch" not in refreshed:
        raise Unavailable(
            f"the Debian archive that this machine uses has no {name} {version} "
            "(another release, or a newer build has replaced it)"
        )
    raise NetworkFailure(_tail(refreshed + output))


def _apt_options(home: Path) -> tuple[list[str], Path]:
    """Options that move all of apt's state below `home`; its sources and keys stay the system's."""
    lists = home / "lists"
    for folder in (lists / "partial", home / "state", home / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    status = home / "status"
    # Empty: as if nothing were installed, so that only the archive's versions are offered.
    status.touch()
    settings = {
        "Dir::State": home / "state",
        "Dir::State::lists": lists,
        "Dir::State::status": status,
        "Dir::Cache": home / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
        "Acquire::http::Timeout": 60,
        "Acquire::Retries": 1,
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")], lists


def _url_download(url: str, target: Path) -> None:
    if not url.startswith(URL_SCHEMES):
        raise Unavailable(f"only {' and '.join(URL_SCHEMES)} addresses are fetched, not {url}")
    try:
        blocks = _file_blocks(url) if url.startswith("file://") else _https_blocks(url)
        size = 0
        with target.open("wb") as out:
            for block in blocks:
                size += len(block)
                if size > MAX_DOWNLOAD_BYTES:
                    raise Unavailable(f"{url} is larger than {MAX_DOWNLOAD_BYTES} bytes")
                out.write(block)
    except urllib.error.HTTPError as error:
        with error:
            if error.code < 400:
                raise Unavailable(f"{url} is not to be followed: {error.reason}") from error
            kind = Unavailable if error.code in FINAL_STATUSES else NetworkFailure
            raise kind(f"{url} answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise NetworkFailure(f"{url}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise NetworkFailure(f"{url}: {error}") from error


def _file_blocks(url: str) -> Iterator[bytes]:
    parts = urllib.parse.urlsplit(url)
    path = Path(urllib.request.url2pathname(parts.path))
    # A device or a pipe may never end.
    if parts.netloc not in ("", "localhost") or "\0" in str(path) or not path.is_file():
        raise Unavailable(f"{url} does not exist, or is no file of this machine")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _https_blocks(url: str) -> Iterator[bytes]:
    if wrong := problem_of(url, ("https",)):
        raise Unavailable(f"{url!r} cannot be fetched: {wrong}")
    with Exchange(URL_TIMEOUT_S) as exchange, exchange.open(urllib.request.Request(url)) as answer:
        exchange.go_on()
        if exchange.passed:
            raise NetworkFailure(f"{url} did not answer in {URL_TIMEOUT_S} s")
        expected = content_length(answer.headers)
        if expected is not None and expected > MAX_DOWNLOAD_BYTES:
            raise Unavailable(f"{url} is larger than {MAX_DOWNLOAD_BYTES} bytes")
        size, start = 0, time.monotonic()
        while block := answer.read1(1 << 20):
            size += len(block)
            yield block
            seconds = time.monotonic() - start
            if seconds > URL_TIMEOUT_S and size < MIN_BYTES_PER_S * seconds:
                raise NetworkFailure(f"{url} sent only {size} bytes in {seconds:.0f} s")
        if expected is not None and size < expected:
            raise NetworkFailure(f"{url} broke off after {size} of {expected} bytes")


def _run(command: list[str], cwd: Path | None = None) -> tuple[str, bool]:
    """Run a client: its output (both streams) and whether it failed."""
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
            timeout=CLIENT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NetworkFailure(f"{command[0]} did not end in {CLIENT_TIMEOUT_S} s") from error
    return done.stdout, done.returncode != 0


def _tail(output: str) -> str:
    """The last lines of a client's output, for a message."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-4:]) or "no message"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
