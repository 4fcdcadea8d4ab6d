"""Requests over HTTP that cannot be led astray or kept waiting.

An address names a host and carries no password. Redirects lead to http and https alone, and none
from https to http. One request, with its redirects and its answer, ends after a time of its own
however slowly the server speaks.
"""

from __future__ import annotations

import contextlib
import email.message
import http.client
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

SCHEMES = ("http", "https")
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


def problem_of(address: str, schemes: tuple[str, ...] = SCHEMES) -> str | None:
    """What is wrong with an address; None where a request may be sent to it.

    Parameters
    ----------
    address : str
        The address.
    schemes : tuple of str
        The schemes that are allowed.
    """
    if _UNSAFE.search(address):
        return "it holds spaces or control characters"
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in schemes:
        return f"only {' and '.join(schemes)} are allowed"
    if "@" in parts.netloc:
        return "it holds a user's name or password, which would be written to logs and sidecars"
    if not parts.hostname or port == 0:
        return "it names no host"
    return None


def _checked(address: str) -> str:
    if wrong := problem_of(address):
        raise ValueError(wrong)
    return address


# Of a service, in the config.
Address = Annotated[str, AfterValidator(_checked)]


def content_length(headers: email.message.Message) -> int | None:
    """Bytes that an answer says to have; None where it says nothing that can be understood."""
    value = (headers.get("Content-Length") or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and none from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = urllib.parse.urlsplit(newurl).scheme
        if problem_of(newurl) or (req.type == "https" and scheme != "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"redirect to {newurl!r}", headers, fp)
        # Else the library reads the redirect's own body, however long it is.
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Exchange:
    """One request with its redirects and its answer, cut off as a whole after a time.

    Use it as a context manager around everything that reads the answer.

    Parameters
    ----------
    seconds : float
        Until it is cut off: what is being read then ends, or fails.

    Attributes
    ----------
    passed : bool
        Whether the time has passed, so that what was read may be a part only.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.passed = seconds, False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Exchange:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def go_on(self) -> None:
        """Let the answer take longer: whoever reads it watches over that."""
        self._timer.cancel()

    def _cut(self) -> None:
        self.passed = True
        for connected in self._sockets:
            with contextlib.suppress(OSError):
                # The plain socket's: that of TLS would pull the ground from under a read.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Send the request.

        Raises
        ------
        OSError
            As `urllib.request.urlopen`, with `urllib.error.HTTPError` for every status that is no
            success, and for a redirect that is not followed.
        http.client.HTTPException
            If the answer is not HTTP.
        """
        found = self._sockets

        class Plain(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                found.append(self.sock)

        class Secure(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                found.append(self.sock)

        class PlainHandler(urllib.request.HTTPHandler):
            def http_open(self, req):
                return self.do_open(Plain, req)

        class SecureHandler(urllib.request.HTTPSHandler):
            def https_open(self, req):
                return self.do_open(Secure, req)

        # `build_opener` would add handlers of file:, ftp: and data:, which nothing here may reach.
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), PlainHandler(),
            SecureHandler(), _SafeRedirects(), urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):  # fmt: skip
            opener.add_handler(handler)
        opener.addheaders = []
        return opener.open(request, timeout=self.seconds)
