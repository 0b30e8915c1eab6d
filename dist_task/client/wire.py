"""One request and its envelope, on connections that are kept open."""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from .errors import ApiError, ClientError, UnexpectedAnswer, Unreachable, api_error

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
PASSING = frozenset({502, 503, 504})
"""What a proxy says of a service that is being restarted, and the service of its database."""


@dataclass(frozen=True, slots=True)
class Request:
    """`is_repeatable`: it may be sent again when nobody knows whether it was received."""

    method: str
    path: str
    is_repeatable: bool
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    answer_seconds: float = 0.0
    """How long the service may hold the answer back, over the usual time."""


class Wire:
    def __init__(
        self, url: str, *, token: str, timeout_seconds: float, patience_seconds: float, context: ssl.SSLContext | None
    ) -> None:
        self._url = checked_url(url)
        self._headers = {"Accept": "application/json", "User-Agent": "dist_task-client"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_seconds, self._patience_seconds = timeout_seconds, patience_seconds
        self._context = context
        self._idle: deque[tuple[int, http.client.HTTPConnection]] = deque()
        """With the process that opened each: a fork's child must not speak on its parent's."""

    def data(self, request: Request) -> Any:
        """The `data` of the answer. What may be repeated is, for as long as the patience lasts."""
        ends_at = time.monotonic() + self._patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._attempt(request)
            except ClientError as error:
                if not (request.is_repeatable and is_passing(error)) or time.monotonic() + pause > ends_at:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # so that many clients do not come back as one
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Closes the connections that nobody uses now."""
        while self._idle:
            self._idle.pop()[1].close()

    def _attempt(self, request: Request) -> Any:
        connection = self._take(seconds=self._timeout_seconds + request.answer_seconds)
        try:
            self._send(connection, request)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"no answer from {self._url.netloc}: {error!r}", was_sent=True) from error
        except BaseException:
            connection.close()  # interrupted: the answer may still come, and would be taken for the next one
            raise
        self._idle.append((os.getpid(), connection))
        return unwrapped(content, status=response.status, location=response.getheader("Location"))

    def _take(self, *, seconds: float) -> http.client.HTTPConnection:
        """The one used last that the other end has not closed, else a new one."""
        while True:
            try:
                process, connection = self._idle.pop()
            except IndexError:
                return self._connect(seconds=seconds)
            if process == os.getpid() and not has_ended(connection):
                connection.sock.settimeout(seconds)
                return connection
            connection.close()

    def _connect(self, *, seconds: float) -> http.client.HTTPConnection:
        host, port = str(self._url.hostname), self._url.port
        if self._url.scheme == "https":
            context = self._context or ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(f"cannot connect to {self._url.netloc}: {error}", was_sent=False) from error
        return connection

    def _send(self, connection: http.client.HTTPConnection, request: Request) -> None:
        query = f"?{urlencode(request.query)}" if request.query else ""
        body, headers = None, self._headers
        if request.method == "POST":
            body = json.dumps(request.body or {}, allow_nan=False).encode()
            headers = {**headers, "Content-Type": "application/json"}
        path = f"{self._url.path.rstrip('/')}/api/v1{request.path}{query}"
        connection.request(request.method, path, body=body, headers=headers)


def checked_url(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"the address must be like https://tasks.example.com, not {url!r}")
    return parts


def has_ended(connection: http.client.HTTPConnection) -> bool:
    """Nothing is due to be read: what can be is the end, or what nobody asked for."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


def is_passing(error: ClientError) -> bool:
    if isinstance(error, ApiError):
        return error.code in PASSING
    if isinstance(error, UnexpectedAnswer):
        return error.http_status in PASSING
    return isinstance(error, Unreachable)


def unwrapped(content: bytes, *, status: int, location: str | None) -> Any:
    """The data of the envelope, or its error."""
    try:
        envelope = json.loads(content)
        code, message, data = envelope["code"], envelope["message"], envelope["data"]
    except (ValueError, TypeError, KeyError):
        where = f" to {location}" if location else ""
        raise UnexpectedAnswer(f"answered {status}{where}, without an envelope", http_status=status) from None
    if code != 0:
        raise api_error(code, message=message, data=data)
    return data
