"""The validator of RO-Crates without the network: its cache is filled with what it would fetch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

# The context that rocrate carried in its version 0.15, of the public domain.
CONTEXT = Path(__file__).parent / "integration" / "ro_crate_1_1_context.json"
URL = "https://w3id.org/ro/crate/1.1/context"
# Of the profiles, the one that asks for most: it takes in the others.
PROFILE = "provenance-run-crate-0.5"


class _Answer(BaseAdapter):
    """Answers every request with the context."""

    def send(self, request, **_: Any) -> requests.Response:  # type: ignore[override]
        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers["Content-Type"] = "application/ld+json"
        body = io.BytesIO(CONTEXT.read_bytes())
        response.raw = HTTPResponse(body, preload_content=False, request_url=str(request.url))
        return response

    def close(self) -> None:
        """Nothing is open."""


def warm_cache(cache: Path) -> None:
    """Do what `rocrate-validator cache warm` does where there is a network."""
    session = CachedSession(str(cache), backend="sqlite", expire_after=-1)
    session.mount("https://", _Answer())
    assert session.get(URL).json()["@id"] == URL
    session.close()


def validate(crate: Path, folder: Path, severity: str = "required") -> dict[str, Any]:
    """The report of the real command on a crate, whose cache and output go to `folder`."""
    cache, report = folder / "http", folder / f"{severity}.json"
    warm_cache(cache)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("rocrate-validator"), "-y", "validate", "--offline",
            "--cache-path", cache, "-p", PROFILE, "-l", severity, "-f", "json", "-o", report,
            "--skip-availability-check", crate,
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert report.is_file(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["passed"] == (done.returncode == 0)
    return found


if __name__ == "__main__":
    print(json.dumps(validate(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]), indent=1))
