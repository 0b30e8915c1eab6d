"""The way out: one HTTP client per worker, and the rules about where it may go.

The address that is checked is the one that is connected to (the check sits in the connector's socket factory), so a
DNS answer that changes between a check and the connection gains nothing. No redirects, no proxies from the
environment, no silent second sending, one total deadline, a cap on what is read.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 1.0
"""Short, since a connection that the other side closes while we send makes the outcome unknown."""


class ForbiddenAddress(OSError):
    """The name resolved to an address that this deployment does not call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, in full up to the cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def host_problem(url: str) -> str:
    """Why this URL is not called by this deployment, as a sentence; empty when it may be."""
    if _is_allowed(urlsplit(url).netloc, patterns=conf.ALLOWED_HOSTS_OUT):
        return ""
    message = _("the host %(host)s is not on the list of allowed hosts (ALLOWED_HOSTS_OUT)")
    return message % {"host": urlsplit(url).hostname}


@lru_cache(maxsize=1_000)
def _is_allowed(netloc: str, *, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches the host, or host:port."""
    parts = urlsplit(f"//{netloc}")
    host = (parts.hostname or "").lower()
    names = {host, f"{host}:{parts.port}" if parts.port else host}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)


def refuse_address(address: str) -> None:
    """Raises ForbiddenAddress. Link-local (cloud metadata) always, private and loopback unless the settings allow."""
    found = ipaddress.ip_address(address.split("%")[0])
    ip = getattr(found, "ipv4_mapped", None) or found
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_loopback):
        raise ForbiddenAddress(f"{ip} is an address that is never called")
    if not ip.is_global and not conf.ALLOW_PRIVATE_TARGETS:
        raise ForbiddenAddress(f"{ip} is a private address; this deployment calls public ones only")


def _checked_socket(address_info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _name, address = address_info
    refuse_address(str(address[0]))
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setblocking(False)
    return made


class Outbound:
    """The HTTP client that http and rpc share: one session for each event loop that uses it."""

    def __init__(self) -> None:
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    def _opened(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_SECONDS, socket_factory=_checked_socket
            )
            session = self._sessions[loop] = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )
            # aiohttp sends idempotent methods again by itself when a kept connection drops: two policies of
            # retry must not multiply, and a second sending must be an attempt that we count.
            session._retry_connection = False
        return session

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_seconds: float
    ) -> Answer:
        """One request; raises ExecutionError saying whether the work may have been done."""
        if problem := host_problem(url):
            raise ExecutionError(problem, code="FORBIDDEN_HOST", permanent=True)
        try:
            return await self._exchange(method, url, headers=headers, body=body, timeout_seconds=timeout_seconds)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise _as_execution_error(error, timeout_seconds=timeout_seconds) from error

    async def _exchange(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_seconds: float
    ) -> Answer:
        timeout = _deadline(timeout_seconds)
        async with self._opened().request(
            method, url, headers=headers, data=body, timeout=timeout, allow_redirects=False
        ) as response:
            content = await _read_capped(response)
            return Answer(status=response.status, headers=response.headers, body=content)

    async def close(self) -> None:
        """Closes the running loop's session."""
        if session := self._sessions.pop(asyncio.get_running_loop(), None):
            await session.close()


@lru_cache(maxsize=1_000)
def _deadline(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=seconds, sock_connect=min(CONNECT_SECONDS, seconds * 0.9), ceil_threshold=math.inf
    )


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """The body after decompression. Past the cap it is refused: the work was done, its answer is unusable."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > conf.MAX_RESPONSE_BYTES:
            raise ExecutionError(
                _("the answer is larger than %(limit)d bytes") % {"limit": conf.MAX_RESPONSE_BYTES},
                code="RESPONSE_TOO_LARGE",
                permanent=True,
                unknown=True,
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _as_execution_error(error: Exception, *, timeout_seconds: float) -> ExecutionError:
    """Before anything was sent the work was not done; after that, without an answer, it is unknown."""
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ForbiddenAddress):
            return ExecutionError(str(error.os_error), code="FORBIDDEN_ADDRESS", permanent=True)
        reason = error.os_error.strerror or type(error.os_error).__name__
        message = _("no connection to %(host)s: %(reason)s") % {"host": f"{error.host}:{error.port}", "reason": reason}
        return ExecutionError(message, code="CONNECTION_REFUSED")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ExecutionError(_("no connection within the time allowed"), code="CONNECT_TIMEOUT")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ExecutionError(_("the URL is not valid: %(url)s") % {"url": error}, code="INVALID_URL", permanent=True)
    if isinstance(error, TimeoutError):
        message = _("no answer within %(seconds)g seconds") % {"seconds": timeout_seconds}
        return ExecutionError(message, code="TIMEOUT", unknown=True)
    if isinstance(error, aiohttp.ClientConnectionResetError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        message = _("the connection was lost before an answer came: %(error)s") % {"error": error}
        return ExecutionError(message, code="CONNECTION_LOST", unknown=True)
    message = _("the answer could not be read: %(error)s") % {"error": str(error) or type(error).__name__}
    return ExecutionError(message, code="BAD_RESPONSE", unknown=True)


OUTBOUND = Outbound()
