"""Takes a request's body in before a thread is given to it.

A slow client holds no thread; and a body sent in chunks, which WSGI would read as empty, gets a length.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import IO, Any

from django.conf import settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
BodyApp = Callable[[Message, IO[bytes], Send], Awaitable[None]]

SPOOL_BYTES = 262_144


class Intake:
    """An ASGI application around one that is handed the whole body."""

    def __init__(self, app: BodyApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        length = announced(scope)
        if length == 0:
            await self.app(scope, BytesIO(), send)
        elif length is not None and length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            await self.app(scope, BytesIO(), send)  # Django refuses it by its announced length: 413
        else:
            await self.with_body(scope, receive, send)

    async def with_body(self, scope: Message, receive: Receive, send: Send) -> None:
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as body:
            taken = await take(body, receive=receive)
            if taken is None:
                return  # the client went away
            body.seek(0)
            await self.app(measured(scope, length=taken), body, send)


def announced(scope: Message) -> int | None:
    """The length of the body; None when it comes in chunks; 0 when there is none."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def take(body: IO[bytes], *, receive: Receive) -> int | None:
    """Read to the end, or until it is too long: one byte past the cap is enough to know."""
    taken = 0
    while taken <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        body.write(chunk)
        taken += len(chunk)
        if not message.get("more_body", False):
            break
    return taken


def measured(scope: Message, *, length: int) -> Message:
    dropped = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}
