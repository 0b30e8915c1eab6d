"""`GET /transactions/:id?wait=SECONDS` without a thread per waiting client.

Under ASGI the view answers at once, with a response header that asks for a wait. `LongPoll` swallows that
response, waits on one watcher per process, and calls the application again. Elsewhere (runserver, WSGI) the
view blocks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import psycopg2
from django.db import connection
from django.utils.translation import gettext
from psycopg2.extensions import connection as RawConnection  # noqa: N812  # a class with the name of a variable
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from dist_task import database
from dist_task.errors import DatabaseUnavailable
from dist_task.states import FINAL_TRANSACTION

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_SECONDS = 30
TICK_SECONDS = 0.05
QUICK_TICK_SECONDS = 0.005
QUICK_SECONDS = 0.2
"""So long after somebody began to wait it is asked more often: most transactions end soon after their start."""
ASKED = b"x-dist-task-wait"
"""On the response to the first call: which transaction, and how long. Never sent to a client."""
OFFERED = b"x-dist-task-longpoll"
"""On the request, with a secret of this process: whoever is above can wait."""
SECRET = secrets.token_hex(16)
_PATH = re.compile(r"/api/v1/transactions/[^/]+/?")
_FINISHED = "SELECT id FROM transactions_transaction WHERE id = ANY(%s) AND status = ANY(%s)"


# -- the view's side -----------------------------------------------------------------------------------------


def seconds_of(request: Request) -> float:
    """The query parameter `wait`, 0 when it is not there."""
    text = request.query_params.get("wait", "0")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or not 0 <= float(text) <= MOST_SECONDS:
        message = gettext("Must be a number of seconds from 0 to %(most)d.") % {"most": MOST_SECONDS}
        raise ValidationError({"wait": [message]})
    return float(text)


def may_block(request: Request) -> bool:
    """Not where threads are few: under ASGI a wait that `LongPoll` did not recognise ends at once."""
    return request.method == "GET" and "asgi.scope" not in request.META


def is_offered(request: Request) -> bool:
    return secrets.compare_digest(request.headers.get(OFFERED.decode(), "").encode(), SECRET.encode())


def ask_for(transaction_id: int, *, seconds: float) -> dict[str, str]:
    return {ASKED.decode(): f"{transaction_id} {seconds}"}


def block(transaction_id: int, *, seconds: float) -> None:
    """Wait in this thread until the transaction is final or the time is over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with connection.cursor() as cursor:
            cursor.execute(_FINISHED, [[transaction_id], list(FINAL_TRANSACTION)])
            if cursor.fetchone():
                return
        time.sleep(min(left, TICK_SECONDS))


# -- the server's side ---------------------------------------------------------------------------------------


class LongPoll:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.watcher = Watcher()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if not may_wait(scope):
            await self.app(scope, receive, send)
            return
        first = FirstCall(send)
        await self.app(offering(scope), bodyless(receive), first.send)
        if first.asked is None:
            return
        transaction_id, seconds = first.asked
        if await self.watcher.wait(transaction_id, seconds=seconds, gone=receive):
            await self.app(without_wait(scope), bodyless(receive), send)


class FirstCall:
    """Passes the response on, or swallows it when it asks for a wait."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.asked: tuple[int, float] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            value = dict(message["headers"]).get(ASKED)
            if value is not None:
                transaction_id, seconds = value.decode().split()
                self.asked = int(transaction_id), float(seconds)
        if self.asked is None:
            await self._send(message)


def may_wait(scope: Message) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and _PATH.fullmatch(scope["path"]) is not None
        and "wait" in parse_qs(scope["query_string"].decode("latin-1"))
    )


def offering(scope: Message) -> Message:
    headers = [(name, value) for name, value in scope["headers"] if name != OFFERED]
    return {**scope, "headers": [*headers, (OFFERED, SECRET.encode())]}


def without_wait(scope: Message) -> Message:
    """`wait` is the only parameter that the first call let pass."""
    return {**scope, "query_string": b""}


def bodyless(receive: Receive) -> Receive:
    """The application is called twice and needs no body; `receive` is left for the disconnect."""

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    return nothing


class Watcher:
    """One query per tick for all that somebody waits for, on a thread and a connection of its own."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        self._newest_at = 0.0
        self._loop: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longpoll")
        self._connection: RawConnection | None = None

    async def wait(self, transaction_id: int, *, seconds: float, gone: Receive) -> bool:
        """False when the client went away; True when the transaction is final or the time is over."""
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(transaction_id, set()).add(finished)
        self._newest_at = time.monotonic()
        self._ensure_running()
        leaving = asyncio.ensure_future(disconnected(gone))
        try:
            await asyncio.wait({finished, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done()
        finally:
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
            self._forget(transaction_id, finished)

    def _forget(self, transaction_id: int, finished: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(transaction_id, set())
        waiting.discard(finished)
        if not waiting:
            self._waiting.pop(transaction_id, None)

    def _ensure_running(self) -> None:
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Runs while somebody waits. A database that is away is asked again; the waits end by themselves."""
        run = asyncio.get_running_loop().run_in_executor
        while self._waiting:
            for transaction_id in await run(self._thread, self._finished, list(self._waiting)):
                self._wake(transaction_id)
            is_new = time.monotonic() - self._newest_at < QUICK_SECONDS
            await asyncio.sleep(QUICK_TICK_SECONDS if is_new else TICK_SECONDS)
            if not self._waiting:
                await run(self._thread, self._close)  # somebody may have come meanwhile: the loop looks again

    def _wake(self, transaction_id: int) -> None:
        for finished in self._waiting.get(transaction_id, ()):
            if not finished.done():
                finished.set_result(None)

    def _finished(self, ids: list[int]) -> list[int]:
        try:
            if self._connection is None:
                self._connection = database.connect(autocommit=True)
            with self._connection.cursor() as cursor:
                cursor.execute(_FINISHED, [ids, list(FINAL_TRANSACTION)])
                return [row[0] for row in cursor.fetchall()]
        except (psycopg2.Error, DatabaseUnavailable) as error:
            logger.warning("long polls cannot ask the database: %s", error)
            self._close()
            return []

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
