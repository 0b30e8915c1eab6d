"""The HTTP client of the benchmark, for this service and its peers: httptools on uvloop, and little work of its own.

Requests are bytes, made before a clock runs. `post_all` gives a connection its next request in the callback of the
last answer: there is no task, no future and no parsed JSON per request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httptools

CALL_SECONDS = 60.0
ALL_SECONDS = 600.0


class CallFailed(Exception):  # noqa: N818  # ends the benchmark with a sentence
    """A service answered something else than a success, or nothing."""


def request(method: str, path: str, *, port: int, body: Any = None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Connection(asyncio.Protocol):
    """One kept connection with one request at a time; who made it is told of each answer, and of the end."""

    def __init__(
        self, *, answered: Callable[[Connection, int, bytes], None], lost: Callable[[Exception | None], None]
    ) -> None:
        self._answered, self._lost = answered, lost
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # a TCP transport

    def send(self, content: bytes) -> None:
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        self._parts.clear()
        self._answered(self, self._parser.get_status_code(), body)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(error)

    def close(self) -> None:
        self.transport.close()


class Client:
    """Calls one after the other on one connection."""

    def __init__(self, *, port: int) -> None:
        self.port = port
        self._connection: Connection | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def call(self, method: str, path: str, *, body: Any = None) -> Any:
        """The parsed answer, None where it is empty; CallFailed for anything but a success."""
        content = request(method, path, port=self.port, body=body)
        status, answer = await self.send(content)
        if not 200 <= status < 300:
            raise CallFailed(f"{method} {path} answered {status}: {answer[:300]!r}")
        return json.loads(answer) if answer else None

    async def send(self, content: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        if self._connection is None:
            _, self._connection = await loop.create_connection(self._make, "127.0.0.1", self.port)
        self._answer = loop.create_future()
        self._connection.send(content)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._answer
        except TimeoutError:
            raise CallFailed(f"no answer from port {self.port} within {CALL_SECONDS:g} s") from None

    def _make(self) -> Connection:
        return Connection(answered=self._take, lost=self._end)

    def _take(self, _: Connection, status: int, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def _end(self, error: Exception | None) -> None:
        self._connection = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailed(f"port {self.port} closed the connection: {error or 'no answer'}"))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Pump:
    """Sends each request once, over several connections, each of which takes the next one when it has its answer."""

    def __init__(self, requests: Iterable[bytes], *, count: int) -> None:
        self._requests: Iterator[bytes] = iter(requests)
        self._left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def make(self) -> Connection:
        return Connection(answered=self.take, lost=self.end)

    def feed(self, connection: Connection) -> None:
        content = next(self._requests, None)
        if content is not None:
            connection.send(content)

    def take(self, connection: Connection, status: int, body: bytes) -> None:
        if not 200 <= status < 300:
            self.fail(f"a request was answered with {status}: {body[:300]!r}")
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)
        self.feed(connection)

    def end(self, error: Exception | None) -> None:
        self.fail(f"a connection was closed: {error or 'by the server'}")

    def fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(CallFailed(message))


async def post_all(requests: list[bytes], *, ports: list[int], connections: int) -> None:
    """All requests, over `connections` connections in all, shared out between the ports."""
    loop = asyncio.get_running_loop()
    pump = Pump(requests, count=len(requests))
    made = []
    try:
        for number in range(min(connections, len(requests))):
            port = ports[number % len(ports)]
            made.append((await loop.create_connection(pump.make, "127.0.0.1", port))[1])
        for connection in made:
            pump.feed(connection)
        async with asyncio.timeout(ALL_SECONDS):
            await pump.done
    except TimeoutError:
        raise CallFailed(f"not all requests were answered within {ALL_SECONDS:g} s") from None
    finally:
        for connection in made:
            connection.close()
