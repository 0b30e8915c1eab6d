"""Django, which is WSGI, behind an ASGI server: one hop to a thread with the request, one back with the answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]
WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

PIECE_BYTES = 262_144
"""Longer answers (exports, files) go out in pieces, as fast as the client takes them."""


class Bridge:
    """Each thread of the pool keeps its database connection."""

    def __init__(self, application: WSGIApp, *, threads: int) -> None:
        self.application = application
        self.pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="web")

    async def __call__(self, scope: Message, body: IO[bytes], send: Send) -> None:
        loop = asyncio.get_running_loop()
        environ = environ_of(scope, body=body)
        answer = Answer(send, loop=loop)
        await loop.run_in_executor(self.pool, answer.take_from, self.application, environ)
        await answer.send_rest()


class Answer:
    def __init__(self, send: Send, *, loop: asyncio.AbstractEventLoop) -> None:
        self._send, self._loop = send, loop
        self._head: Message | None = None
        self._pieces: list[bytes] = []

    def take_from(self, application: WSGIApp, environ: Environ) -> None:
        """In the thread, all of it: what an answer reads from the database it reads on this thread's connection."""
        chunks = application(environ, self.start_response)
        try:
            size = 0
            for chunk in chunks:
                self._pieces.append(chunk)
                size += len(chunk)
                if size >= PIECE_BYTES:
                    asyncio.run_coroutine_threadsafe(self._send_pieces(more=True), self._loop).result()
                    size = 0
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self._head = {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }

    async def send_rest(self) -> None:
        await self._send_pieces(more=False)

    async def _send_pieces(self, *, more: bool) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
        pieces, self._pieces = self._pieces, []
        await self._send({"type": "http.response.body", "body": b"".join(pieces), "more_body": more})


def environ_of(scope: Message, *, body: IO[bytes]) -> Environ:
    host, port = scope.get("server") or ("localhost", 80)
    client, client_port = scope.get("client") or ("", 0)
    environ = {
        "asgi.scope": scope,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "REMOTE_ADDR": client,
        "REMOTE_PORT": str(client_port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        add_header(environ, name=name.decode("latin-1"), value=value.decode("latin-1"))
    return environ


def add_header(environ: Environ, *, name: str, value: str) -> None:
    if "_" in name:
        return  # in WSGI it would pass for the header with dashes, past a proxy that removes that one
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    environ[key] = f"{environ[key]},{value}" if key in environ else value
