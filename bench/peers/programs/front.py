"""How a peer without an HTTP interface of its own takes flows: POST /start/FLOW/ID and POST /run/FLOW/ID."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Handler = Callable[[str, str], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def make_app(*, start: Handler, run: Handler, prepare: Callable[[], Awaitable[None]] | None = None) -> App:
    """`start` returns when the flow is durable, `run` when it has ended; `prepare` is called in the server's loop."""
    handlers = {"start": start, "run": run}

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        verb, flow, key = scope["path"].strip("/").split("/")
        await handlers[verb](flow, key)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    async def live(receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            if prepare:
                await prepare()
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return app


def serve(app: App) -> None:
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
