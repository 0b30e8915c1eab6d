"""The connections of one event loop: kept ones by where they lead, and the making of new ones.

The address that is checked is the one that is connected to: names are resolved here, and what is connected to is the
number. So a DNS answer that changes between a check and the connection gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from functools import cache

from dist_task.errors import ExecutionError

from . import failures
from .address import ForbiddenAddress, Target, refuse_address
from .connection import Connection
from .route import Route

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 1.0
"""Short, since a connection that the other side closes while we send makes the outcome unknown."""
NAME_SECONDS = 10.0
"""How long a resolved name is used again. Its addresses are checked at each connection."""
MOST_NAMES = 1_000

Key = tuple[str, str, int] | tuple[str, str, int, Route]
Names = dict[tuple[str, int], tuple[float, "asyncio.Task[list[str]]"]]


class Pool:
    def __init__(self) -> None:
        self._opened: set[Connection] = set()
        self._idle: dict[Key, list[Connection]] = {}
        self._names: Names = {}
        self._sweep_timer: asyncio.TimerHandle | None = None

    def take(self, key: Key, *, now: float) -> Connection | None:
        """A kept connection on which a request may be sent, the one that was used last."""
        kept = self._idle.get(key)
        while kept:
            connection = kept.pop()
            if now - connection.idle_since < KEEPALIVE_SECONDS and connection.is_quiet:
                return connection
            connection.drop()
        return None

    def keep(self, key: Key, connection: Connection, *, loop: asyncio.AbstractEventLoop) -> None:
        """For the next request, if nothing speaks against it."""
        if not connection.is_clean:
            connection.drop()
            return
        connection.idle_since = loop.time()
        if (kept := self._idle.get(key)) is None:
            kept = self._idle[key] = []
        kept.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(KEEPALIVE_SECONDS, self._sweep, loop)

    async def connect(self, target: Target, *, seconds: float, route: Route | None = None) -> Connection:
        """A new connection. Whatever goes wrong here, nothing was sent."""
        where = f"{target.host}:{target.port}"
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, seconds * 0.9)) as limit:
                connection = await self._connect_to_any(target, ends_at=limit.when() or 0.0, route=route)
        except ForbiddenAddress as error:
            raise ExecutionError(str(error), code="FORBIDDEN_ADDRESS", permanent=True) from error
        except TimeoutError as error:
            raise failures.not_connected_in_time() from error
        except ssl.SSLError as error:
            raise failures.not_connected(where, _tls_reason(error), code="TLS_ERROR") from error
        except UnicodeError as error:
            raise failures.invalid_url(where) from error
        except OSError as error:
            raise failures.not_connected(where, error) from error
        if not connection.is_open:
            raise failures.not_connected(where, "closed at once")
        return connection

    async def close(self) -> None:
        """Closes all, those in use as well: their calls fail."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        self._idle.clear()
        for connection in list(self._opened):
            connection.drop()
        await asyncio.sleep(0)  # the transports close in the loop's next round

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Closes what has been idle for too long; one timer for all, and none while nothing is kept."""
        fresh_since = loop.time() - KEEPALIVE_SECONDS
        for key, kept in list(self._idle.items()):
            for connection in kept:
                if connection.idle_since <= fresh_since:
                    connection.drop()
            self._idle[key] = [connection for connection in kept if connection.is_open]
            if not self._idle[key]:
                del self._idle[key]
        self._sweep_timer = loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep, loop) if self._idle else None

    async def _connect_to_any(self, target: Target, *, ends_at: float, route: Route | None) -> Connection:
        """Each address in turn has an equal share of the time that is left; the last one's error is raised."""
        loop = asyncio.get_running_loop()
        addresses = await self._resolve(target)
        allowed = _allowed(addresses, allows_private=route is not None and route.allows_private)
        context = await _tls_context_apart(route) if target.scheme == "https" else None
        for left, address in zip(range(len(allowed), 0, -1), allowed, strict=True):
            now = loop.time()
            try:
                async with asyncio.timeout_at(now + (ends_at - now) / left):
                    _transport, connection = await loop.create_connection(
                        lambda: Connection(opened=self._opened),
                        address,
                        target.port,
                        ssl=context,
                        server_hostname=target.host if context else None,
                        flags=socket.AI_NUMERICHOST,
                    )
                    return connection
            except (TimeoutError, OSError):
                if left == 1:
                    self._names.pop((target.host, target.port), None)  # the service may have moved
                    raise
        raise AssertionError("no address to connect to")

    async def _resolve(self, target: Target) -> list[str]:
        """The addresses of a host; calls of the same host share one question."""
        try:
            return [str(ipaddress.ip_address(target.host))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        key = (target.host, target.port)
        until, lookup = self._names.get(key, (0.0, None))
        if lookup is None or until <= loop.time() or _has_failed(lookup):
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            lookup = loop.create_task(_look_up(*key))
            lookup.add_done_callback(_has_failed)  # nobody may be waiting any more
            self._names[key] = (loop.time() + NAME_SECONDS, lookup)
        return await asyncio.shield(lookup)


@cache
def tls_context() -> ssl.SSLContext:
    """Verifies certificates and names. Reading the authorities' certificates takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _tls_context_apart(route: Route | None) -> ssl.SSLContext:
    """The route's own, else the common one: made in a thread the first time, so that the loop does not stand still."""
    if route is not None and route.tls is not None:
        return route.tls
    return tls_context() if tls_context.cache_info().currsize else await asyncio.to_thread(tls_context)


async def _look_up(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(address[0]) for *_kind, address in found))


def _has_failed(lookup: asyncio.Task[list[str]]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


def _allowed(addresses: Sequence[str], *, allows_private: bool) -> list[str]:
    """Those that may be connected to; raises ForbiddenAddress when none is."""
    allowed, refusal = [], ForbiddenAddress("the name has no address")
    for address in addresses:
        try:
            refuse_address(address, allows_private=allows_private)
        except ForbiddenAddress as error:
            refusal = error
        else:
            allowed.append(address)
    if not allowed:
        raise refusal
    return allowed


def _tls_reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", "") or error.reason or "TLS failed"
