"""A service on loopback that says exactly the bytes that a test gives it, on the loop of the caller."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Script = Callable[["Talk"], Awaitable[None]]


@dataclass
class Talk:
    """One connection, on the service's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    service: RawService

    async def request(self) -> bytes:
        """The next request, head and body; empty when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        request = head + (await self.reader.readexactly(int(length[1])) if length else b"")
        self.service.requests.append(request)
        return request

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def see_end(self) -> None:
        """Waits until the client has closed."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        self.service.ends.set()


@dataclass
class RawService:
    netloc: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    ends: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/do", *, scheme: str = "http") -> str:
        return f"{scheme}://{self.netloc}{path}"


@asynccontextmanager
async def serving(
    script: Script, *, host: str = "127.0.0.1", name: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawService]:
    """Runs `script` for each connection, and closes the connection when it returns."""
    service = RawService()
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        service.connections += 1
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await script(Talk(reader, writer, service))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            talks.discard(task)
            writer.transport.close()

    server = await asyncio.start_server(talk, host, 0, ssl=tls, limit=2**22)
    port = server.sockets[0].getsockname()[1]
    service.netloc = f"[{host}]:{port}" if ":" in host else f"{name or host}:{port}"
    try:
        yield service
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


def says(*data: bytes, hangs: bool = False) -> Script:
    """Reads one request, says these bytes, and closes, or waits until the client does."""

    async def script(talk: Talk) -> None:
        await talk.request()
        for part in data:
            await talk.say(part)
        if hangs:
            await talk.see_end()

    return script


def keeps_saying(*data: bytes) -> Script:
    """Answers every request of a connection with these bytes."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            for part in data:
                await talk.say(part)
        talk.service.ends.set()

    return script
