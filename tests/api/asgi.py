"""An ASGI server and its client in one, and Django behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection

from dist_task.bridge import Bridge
from dist_task.intake import Intake
from dist_task.wsgi import application


class Caller:
    """What was sent, and when the client leaves."""

    def __init__(self, path: str, *, query: str = "", method: str = "GET", chunks: list[bytes] | None = None) -> None:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        if chunks is not None:
            headers.append((b"transfer-encoding", b"chunked"))
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "http_version": "1.1",
        }
        self.incoming = list(chunks or [b""])
        self.gone = asyncio.Event()
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if self.incoming:
            chunk = self.incoming.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.incoming)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def data(self) -> Any:
        return json.loads(b"".join(part["body"] for part in self.sent[1:]))["data"]


@contextmanager
def bridged(*, threads: int) -> Iterator[Intake]:
    bridge = Bridge(application, threads=threads)
    yield Intake(bridge)
    end(bridge.pool, threads=threads)


def end(pool: ThreadPoolExecutor, *, threads: int) -> None:
    for _thread in range(threads):
        pool.submit(close_connection)
    pool.shutdown()


def close_connection() -> None:
    connection.close()
    time.sleep(0.05)  # so that each thread of the pool gets one of these
