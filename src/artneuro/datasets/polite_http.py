"""Requests to public services: rarely, patiently, and never twice for the same answer.

An answer is kept with what was asked for, under the hash of that. A run that was killed goes on
where it was, and asks again only for what it had not yet written down.
"""

from __future__ import annotations

import datetime as dt
import email.message
import email.utils
import hashlib
import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from artneuro.core.artifacts import atomic_path
from artneuro.core.errors import SourceError
from artneuro.core.hashing import sha256_bytes, sha256_json
from artneuro.core.web import Exchange, content_length, problem_of
from artneuro.datasets.polite_config import PoliteConfig

log = logging.getLogger(__name__)
T = TypeVar("T")

# Statuses that may pass. Virtuoso answers 500 when a query takes too long; 206 is an answer that it
# broke off for the same reason.
PASSING_STATUSES = (206, 408, 425, 429, 500, 502, 503, 504)
# Virtuoso's X-SQL-State of such a part, which older versions send with status 200.
BROKEN_OFF = "S1TAT"
# Longer addresses are refused by some servers; what is longer is sent as a form.
MAX_ADDRESS = 4000
BLOCK = 1 << 16


class BadAnswer(Exception):
    """An answer that is damaged, cut off or of another form than asked for."""


class _Passing(Exception):
    """A failure that may pass, and the wait that the service asks for, in seconds."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class PoliteClient:
    """Asks public services and keeps their answers.

    Jobs that share the folder ask one service one after the other, at the configured rate in all.

    Parameters
    ----------
    config : PoliteConfig
        Rate, patience and limits.
    cache : path
        Folder of kept answers. Delete it to ask anew.
    sleep : function of seconds
        How to wait.

    Attributes
    ----------
    n_fetched, n_kept : int
        Answers that came over the network, and that were there already.
    """

    def __init__(
        self,
        config: PoliteConfig,
        cache: str | Path,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.config, self.cache, self.sleep = config, Path(cache), sleep
        self.n_fetched = self.n_kept = 0

    def ask(
        self,
        endpoint: str,
        parameters: Mapping[str, str],
        check: Callable[[bytes], T],
        *,
        accept: str = "application/json",
        if_missing: bytes | None = None,
    ) -> T:
        """Answer to a request: the kept one, or a new one, which is then kept.

        Parameters
        ----------
        endpoint : str
            Address, http or https.
        parameters : mapping of str to str
            Parameters of the request, in a fixed order.
        check : function of bytes
            Reads the body; raises `BadAnswer` if it is damaged.
        accept : str
            Media type of the answer.
        if_missing : bytes, optional
            Body to take where the service answers 404; without it that is an error.

        Returns
        -------
        object
            What `check` returned.

        Raises
        ------
        SourceError
            If the service refuses, redirects elsewhere than to http or https, answers with more
            than allowed, or fails in all attempts.
        """
        if wrong := problem_of(endpoint):
            raise SourceError(
                f"a service is asked over http or https only, and not at this address: {wrong}",
                where=repr(endpoint),
                fix="correct the address",
            )
        asked = {"endpoint": endpoint, "parameters": dict(parameters), "accept": accept}
        key = sha256_json(asked)
        path = self.cache / key[:2] / f"{key}.answer"
        if (kept := self._kept(path, asked, check)) is not None:
            return kept[0]
        self.cache.mkdir(parents=True, exist_ok=True)
        host = hashlib.sha256(urllib.parse.urlsplit(endpoint).netloc.encode()).hexdigest()[:16]
        with FileLock(self.cache / f".{host}.lock"):
            # Another job may have asked while this one waited.
            if (kept := self._kept(path, asked, check)) is not None:
                return kept[0]
            request = self._request(endpoint, parameters, accept)
            body, value = self._patiently(
                request, check, if_missing, self.cache / f".{host}.last", endpoint
            )
            header = json.dumps({**asked, "bytes": len(body), "sha256": sha256_bytes(body)})
            with atomic_path(path) as temporary:
                temporary.write_bytes(header.encode() + b"\n" + body)
        self.n_fetched += 1
        return value

    def _kept(self, path: Path, asked: dict, check: Callable[[bytes], T]) -> tuple[T] | None:
        """The kept answer in a tuple, None if there is none or it is damaged."""
        try:
            header, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        try:
            found = json.loads(header)
            if found != {**asked, "bytes": len(body), "sha256": sha256_bytes(body)}:
                raise BadAnswer("its checksum does not fit")
            value = check(body)
        except (ValueError, RecursionError, BadAnswer) as error:
            log.warning("the kept answer %s is damaged (%s) and is asked for again", path, error)
            return None
        self.n_kept += 1
        return (value,)

    def _request(
        self, endpoint: str, parameters: Mapping[str, str], accept: str
    ) -> urllib.request.Request:
        headers = {"User-Agent": self.config.user_agent, "Accept": accept}
        form = urllib.parse.urlencode(parameters)
        if not form:
            return urllib.request.Request(endpoint, headers=headers)
        if len(endpoint) + len(form) < MAX_ADDRESS:
            mark = "&" if urllib.parse.urlsplit(endpoint).query else "?"
            return urllib.request.Request(f"{endpoint}{mark}{form}", headers=headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return urllib.request.Request(endpoint, data=form.encode(), headers=headers)

    def _patiently(
        self,
        request: urllib.request.Request,
        check: Callable[[bytes], T],
        if_missing: bytes | None,
        stamp: Path,
        endpoint: str,
    ) -> tuple[bytes, T]:
        for attempt in range(1, self.config.attempts + 1):
            self._keep_rate(stamp)
            try:
                body = self._once(request, if_missing, endpoint)
                return body, check(body)
            except (_Passing, BadAnswer) as error:
                asked_wait = getattr(error, "wait", None) or 0.0
                if attempt == self.config.attempts or asked_wait > self.config.max_wait_s:
                    said = f"asks to wait {asked_wait:.0f} s: " if asked_wait else ""
                    raise SourceError(
                        f"no whole answer in {attempt} attempts: {said}{error}",
                        where=endpoint,
                        fix="run again later, what was answered so far is kept; for time-outs and "
                        "answers that are cut off, ask for smaller pages",
                    ) from error
                wait = min(self.config.backoff_s * 2 ** (attempt - 1), self.config.max_wait_s)
                wait = max(wait * random.uniform(0.5, 1), asked_wait)
                log.warning("attempt %d at %s failed (%s); next in %.1f s",
                            attempt, endpoint, error, wait)  # fmt: skip
                self.sleep(wait)
        raise AssertionError("there is at least one attempt")

    def _keep_rate(self, stamp: Path) -> None:
        """Wait until the rate allows a request; the stamp is shared with other jobs."""
        interval = 1 / self.config.requests_per_second
        try:
            since = time.time() - stamp.stat().st_mtime
        except FileNotFoundError:
            since = interval
        # A clock that was set back must not make this wait for long.
        if 0 <= since < interval:
            self.sleep(interval - since)
        stamp.touch()
        os.utime(stamp)

    def _once(
        self, request: urllib.request.Request, if_missing: bytes | None, endpoint: str
    ) -> bytes:
        with Exchange(self.config.timeout_s) as exchange:
            try:
                with exchange.open(request) as answer:
                    state = answer.headers.get("X-SQL-State", "")
                    if answer.status in PASSING_STATUSES or state == BROKEN_OFF:
                        raise _Passing(f"only a part was answered ({answer.status} {state})")
                    body = self._body(answer, endpoint)
            except urllib.error.HTTPError as error:
                with error:
                    body = self._refused(error, if_missing, endpoint)
            except (OSError, http.client.HTTPException) as error:
                if not exchange.passed:
                    raise _Passing(f"{type(error).__name__}: {error}") from error
            if exchange.passed:
                raise _Passing(f"the answer took longer than {self.config.timeout_s:g} s")
        return body

    def _refused(
        self, error: urllib.error.HTTPError, if_missing: bytes | None, endpoint: str
    ) -> bytes:
        """The body that stands for a missing answer; every other status is an error."""
        if error.code == 404 and if_missing is not None:
            return if_missing
        said = f"{error.code} {error.reason}"
        if error.code in PASSING_STATUSES:
            raise _Passing(said, _retry_after(error.headers)) from error
        if error.code < 400:
            raise SourceError(
                f"the service sends the request elsewhere ({said})",
                where=endpoint,
                fix="correct the address; redirects are followed to http and https only, and none "
                "from https to http",
            ) from error
        raise SourceError(
            f"the service refuses the request ({said}: {_start_of(error)})",
            where=endpoint,
            fix="see what it says; the query or the address may be wrong for this service",
        ) from error

    def _body(self, answer: http.client.HTTPResponse, endpoint: str) -> bytes:
        most = int(self.config.max_answer_mb * 1e6)
        body = bytearray()
        while block := answer.read1(BLOCK):
            body += block
            if len(body) > most:
                raise SourceError(
                    f"the answer is larger than {self.config.max_answer_mb:g} MB",
                    where=endpoint,
                    fix="ask for smaller pages, or raise `max_answer_mb`",
                )
        expected = content_length(answer.headers)
        if expected is not None and len(body) < expected:
            raise _Passing(f"the answer broke off after {len(body)} of {expected} bytes")
        return bytes(body)


def _retry_after(headers: email.message.Message) -> float | None:
    """Seconds that `Retry-After` asks to wait: a number, or the time until a date."""
    value = (headers.get("Retry-After") or "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        return max((date - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def _start_of(error: urllib.error.HTTPError) -> str:
    """The first words of an error's body."""
    try:
        text = error.read1(400).decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException, AttributeError):
        return "no message"
    return " ".join(text.split())[:200] or "no message"
