"""The way out: one HTTP client per worker, and the rules about where it may go.

No redirects, no proxies from the environment, no silent second sending, one total deadline, a cap on what is read. The
allowed hosts and addresses are in `address`, the connections in `pool` and `connection`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from weakref import WeakKeyDictionary

from dist_task.errors import ExecutionError
from dist_task.payload import mask

from . import failures
from .address import Target, netloc_problem, read_target, target_of
from .connection import Answer
from .pool import Pool
from .route import Route

Headers = tuple[tuple[str, str], ...]
USUAL_HEADERS = {"Accept": "*/*", "User-Agent": "dist_task"}
BREAK = re.compile("[\r\n\0]")


class Outbound:
    """The HTTP client that http and rpc share: one pool of connections for each event loop that uses it."""

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()

    async def send(
        self,
        method: str,
        url: str,
        *,
        constant: Headers,
        varying: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        route: Route | None = None,
        is_secret: bool = False,
    ) -> Answer:
        """One request; raises ExecutionError saying whether the work may have been done.

        The headers are those that every call of a task has, which are put together once and remembered, and those of
        this attempt. A URL that `is_secret` is not remembered. A `route` is that of a registered connection.
        """
        target = _target(url, is_secret=is_secret)
        if route is None and (problem := netloc_problem(target.netloc)):
            raise ExecutionError(problem, code="FORBIDDEN_HOST", permanent=True)
        head = _head_of(method, target, constant) if is_secret else _head(method, url, constant)
        request = _request(head, varying=varying, body=body)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_seconds
        pool = self._pools.get(loop) or self._pools.setdefault(loop, Pool())
        key = target.key if route is None else (*target.key, route)
        connection = pool.take(key, now=loop.time()) or await pool.connect(target, seconds=timeout_seconds, route=route)
        try:
            answer = await connection.exchange(request, loop=loop, ends_at=ends_at)
        except TimeoutError as error:
            raise failures.no_answer_in_time(timeout_seconds) from error
        pool.keep(key, connection, loop=loop)
        return answer

    async def close(self) -> None:
        """Closes the running loop's connections."""
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            await pool.close()


def _target(url: str, *, is_secret: bool) -> Target:
    try:
        return read_target(url) if is_secret else target_of(url)
    except ValueError as error:
        raise failures.invalid_url(mask(url)) from error


@lru_cache(maxsize=1_000)
def _head(method: str, url: str, constant: Headers) -> bytes:
    """The part of a request's head that all calls of a task have in common."""
    return _head_of(method, target_of(url), constant)


def _head_of(method: str, target: Target, constant: Headers) -> bytes:
    given = {name.lower() for name, _value in constant}
    usual = tuple((name, value) for name, value in USUAL_HEADERS.items() if name.lower() not in given)
    return f"{method} {target.path} HTTP/1.1\r\nHost: {target.host_header}\r\n".encode() + _lines(usual + constant)


def _request(head: bytes, *, varying: Mapping[str, str], body: bytes | None) -> bytes:
    lines = _lines(varying.items())
    if body is None:
        return b"%b%b\r\n" % (head, lines)
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, lines, len(body), body)


def _lines(headers: Collection[tuple[str, str]]) -> bytes:
    """Header lines as they are sent, in UTF-8; refuses what would end a line and begin another."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    lines = len(headers)
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise failures.invalid_header(next(name for name, value in headers if BREAK.search(name + value)))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise failures.invalid_header(text[: error.start].rpartition("\n")[2].partition(":")[0]) from error


OUTBOUND = Outbound()
