"""A small HTTP client on asyncio streams: kept connections, JSON both ways, and little work of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any


class CallFailed(Exception):  # noqa: N818  # ends the benchmark with a sentence
    """The service answered something else than 200."""


class Connection:
    def __init__(self, *, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, *, body: Any = None) -> Any:
        """The parsed answer of a 200."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        content = json.dumps(body).encode() if body is not None else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status, answer = await self._read()
        if status != 200:
            raise CallFailed(f"{method} {path} answered {status}: {answer[:300]!r}")
        return json.loads(answer)

    async def _read(self) -> tuple[int, bytes]:
        assert self._reader is not None  # noqa: S101  # call() opened it
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if headers.get("connection", "").lower() == "close":
            raise CallFailed("the server closes connections after each request")
        if headers.get("transfer-encoding") == "chunked":
            return int(lines[0].split()[1]), await self._read_chunks()
        return int(lines[0].split()[1]), await self._reader.readexactly(int(headers.get("content-length", 0)))

    async def _read_chunks(self) -> bytes:
        assert self._reader is not None  # noqa: S101  # call() opened it
        body = b""
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


async def post_all(bodies: Sequence[Any], *, port: int, path: str, connections: int) -> None:
    """Each body once; every connection takes the next one as soon as it has its answer."""
    waiting = iter(bodies)

    async def work() -> None:
        connection = Connection(host="127.0.0.1", port=port)
        try:
            for body in waiting:
                await connection.call("POST", path, body=body)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(connections, len(bodies))):
            group.create_task(work())
