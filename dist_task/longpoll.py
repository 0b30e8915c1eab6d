"""`GET /transactions/:id?wait=SECONDS` without a thread per waiting client.

Under ASGI `LongPoll` asks the application below as if there were no `wait`. While that answers with a transaction
that is not final, it waits on one watcher per process, and then asks again: so each answer, and who may have it, is
what it is without `wait`. Elsewhere (runserver, WSGI) the view blocks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import closing, suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
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
LATE = 0.1
"""A wait ends late by about this part of its length: so much of the newest wait's age passes between two looks."""
LEAST_PAUSE_SECONDS = 0.001
MOST_PAUSE_SECONDS = 0.05
KEPT_SECONDS = 10.0
"""So long after the last wait its connection stays open for the next one."""
FINISHED = """
    SELECT instance_id FROM transactions_transaction
    WHERE instance_id = ANY(string_to_array(%s, '/')) AND status = ANY(%s)
"""
_PATH = re.compile(r"/api/v1/transactions/([^/]+)/?")
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


def finished_parameters(instance_ids: Collection[str]) -> list[Any]:
    """Joined by what no id has: a thousand of them as an array would cost the interpreter two milliseconds."""
    return ["/".join(instance_ids), list(FINAL_TRANSACTION)]


def parse_seconds(text: str) -> float | None:
    """None: no number of seconds that may be waited for."""
    if not _SECONDS.fullmatch(text) or float(text) > MOST_SECONDS:
        return None
    return float(text)


# -- the view's side -----------------------------------------------------------------------------------------


def seconds_of(request: Request) -> float:
    """The query parameter `wait`, 0 when it is not there."""
    seconds = parse_seconds(request.query_params.get("wait", "0"))
    if seconds is None:
        message = gettext("Must be a number of seconds from 0 to %(most)d.") % {"most": MOST_SECONDS}
        raise ValidationError({"wait": [message]})
    return seconds


def may_block(request: Request) -> bool:
    """Not where threads are few: under ASGI what `LongPoll` left to the view is answered at once."""
    return request.method == "GET" and "asgi.scope" not in request.META


def block(instance_id: str, *, seconds: float) -> None:
    """Wait in this thread until the transaction is final or the time is over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with connection.cursor() as cursor:
            cursor.execute(FINISHED, finished_parameters([instance_id]))
            if cursor.fetchone():
                return
        time.sleep(min(left, MOST_PAUSE_SECONDS))


# -- the server's side ---------------------------------------------------------------------------------------


class LongPoll:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.watcher = Watcher()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        asked = asked_in(scope)
        if asked is None:
            await self.app(scope, receive, send)
            return
        plain, first = {**scope, "query_string": b""}, Answer()
        await self.app(plain, no_body, first.take)
        if first.is_redirect:
            await self.app(scope, no_body, send)  # to an address that has the query
        elif asked.seconds == 0 or not first.is_unfinished:
            await first.pass_on(send)
        elif await self.watcher.wait(asked, gone=receive):
            await self.app(plain, no_body, send)


class Asked(NamedTuple):
    instance_id: str
    seconds: float


def asked_in(scope: Message) -> Asked | None:
    """None for what has no `wait`, or more than that, or a wrong one: the view answers those."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["query_string"]:
        return None
    path = _PATH.fullmatch(scope["path"])
    parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True) if path else []
    if path is None or [name for name, _ in parameters] != ["wait"]:
        return None
    seconds = parse_seconds(parameters[0][1])
    return None if seconds is None else Asked(path[1], seconds)


async def no_body() -> Message:
    """The application may be called twice and needs no body; the server's `receive` is left for the disconnect."""
    return {"type": "http.request", "body": b"", "more_body": False}


class Answer:
    """Held back until it is known whether it is the one."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        self._messages.append(message)

    async def pass_on(self, send: Send) -> None:
        for message in self._messages:
            await send(message)

    @property
    def status(self) -> int:
        """0: the application has answered nothing."""
        return self._messages[0]["status"] if self._messages else 0

    @property
    def is_redirect(self) -> bool:
        return 300 <= self.status < 400

    @property
    def is_unfinished(self) -> bool:
        """A transaction that is not final yet."""
        if self.status != 200:
            return False
        body = b"".join(message.get("body", b"") for message in self._messages)
        return orjson.loads(body)["data"]["status"] not in FINAL_TRANSACTION


class Wait(NamedTuple):
    instance_id: str
    began_at: float
    """On the monotonic clock."""


class Watcher:
    """One thread that asks, with one query for all of them, which waits are over.

    The event loop and the thread share what stands under `_changed`; no query runs while it is held.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[asyncio.Future[None], Wait] = {}  # the newest is the last
        self._thread: threading.Thread | None = None

    async def wait(self, asked: Asked, *, gone: Receive) -> bool:
        """False when the client went away; True when the transaction is final or the time is over."""
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(finished, wait=Wait(asked.instance_id, time.monotonic()))
        leaving = asyncio.ensure_future(disconnected(gone))
        try:
            await asyncio.wait({finished, leaving}, timeout=asked.seconds, return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done()
        finally:
            self._remove(finished)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving

    def _add(self, finished: asyncio.Future[None], *, wait: Wait) -> None:
        with self._changed:
            self._waiting[finished] = wait
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="longpoll", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _remove(self, finished: asyncio.Future[None]) -> None:
        with self._changed:
            del self._waiting[finished]

    def _watch(self) -> None:
        took_seconds = 0.0
        with closing(Looks()) as looks:
            while self._somebody_waits():
                self._pause(took_seconds)
                began_at = time.monotonic()
                self._tell(looks.finished(self._ids()))
                took_seconds = time.monotonic() - began_at

    def _somebody_waits(self) -> bool:
        """False when nobody has come for KEPT_SECONDS: then the thread ends, and who comes starts the next one."""
        with self._changed:
            if self._changed.wait_for(lambda: self._waiting, timeout=KEPT_SECONDS):
                return True
            self._thread = None
            return False

    def _pause(self, took_seconds: float) -> None:
        """Who comes meanwhile ends it but for its least part, which no stream of newcomers puts off."""
        with self._changed:
            rest = pause_after(self._newest_age(), took_seconds=took_seconds) - LEAST_PAUSE_SECONDS
            if rest > 0:
                self._changed.wait(rest)
        time.sleep(LEAST_PAUSE_SECONDS)

    def _newest_age(self) -> float:
        """In seconds; 0 when nobody waits any more."""
        newest = next(reversed(self._waiting.values()), None)
        return time.monotonic() - newest.began_at if newest else 0.0

    def _ids(self) -> set[str]:
        with self._changed:
            return {wait.instance_id for wait in self._waiting.values()}

    def _tell(self, ids: Collection[str]) -> None:
        with self._changed:
            over = [finished for finished, wait in self._waiting.items() if wait.instance_id in ids]
        if over:
            with suppress(RuntimeError):  # the server has ended, and its event loop
                over[0].get_loop().call_soon_threadsafe(end_all, over)


def end_all(waits: list[asyncio.Future[None]]) -> None:
    for finished in waits:
        if not finished.done():
            finished.set_result(None)


def pause_after(age_seconds: float, *, took_seconds: float) -> float:
    """Seconds between two looks, by the age of the newest wait. Slow looks leave half of the time to others."""
    return min(max(age_seconds * LATE, took_seconds, LEAST_PAUSE_SECONDS), MOST_PAUSE_SECONDS)


class Looks:
    """The watcher's connection. A database that is away is asked again; the waits end by themselves."""

    def __init__(self) -> None:
        self._connection: RawConnection | None = None

    def finished(self, instance_ids: Collection[str]) -> set[str]:
        try:
            if self._connection is None:
                self._connection = database.connect(autocommit=True)
            with self._connection.cursor() as cursor:
                cursor.execute(FINISHED, finished_parameters(instance_ids))
                return {row[0] for row in cursor.fetchall()}
        except (psycopg2.Error, DatabaseUnavailable) as error:
            logger.warning("long polls cannot ask the database: %s", error)
            self.close()
            return set()

    def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
