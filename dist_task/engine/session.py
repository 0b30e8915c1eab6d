"""A worker's own connection in psycopg2's asynchronous mode: statements and notifications on its event loop.

At idle a transaction is a chain of commits, and a thread between loop and database would cost each of them two changes
of thread; under load the two would fight for the interpreter.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from dist_task.database import connect_asynchronously

from .store import leases, statements

OPEN_SECONDS = 10.0


class Session:
    """One statement at a time. `on_notification` is called for every notification, and once when the connection breaks.

    Errors are psycopg2's. After one that is not the server's the session is broken, and a new one is to be opened.
    """

    def __init__(
        self, connection: Any, *, loop: asyncio.AbstractEventLoop, on_notification: Callable[[], object]
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._fd = connection.fileno()
        self._loop = loop
        self._on_notification = on_notification
        self._waiting: asyncio.Future[None] | None = None
        self._is_writing = False
        self._watch()

    @classmethod
    async def open(cls, *, worker_id: int, on_notification: Callable[[], object]) -> Session:
        """Raises what psycopg2 raises, or DatabaseUnavailable."""
        connection = await asyncio.to_thread(_opened, worker_id)
        return cls(connection, loop=asyncio.get_running_loop(), on_notification=on_notification)

    async def rows(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What the statement returns; it must return rows, were it none."""
        if self._fd < 0:
            raise psycopg2.OperationalError("the connection was lost")
        self._cursor.execute(sql, parameters)
        self._waiting = self._loop.create_future()
        self._advance()
        try:
            await self._waiting
        finally:
            self._waiting = None
        return self._cursor.fetchall()

    def close(self) -> None:
        """A statement that is under way may still be executed: nobody will know."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = -1
        self._connection.close()

    def _advance(self) -> None:
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            self._fail(error)
            return
        if self._is_writing != (state == POLL_WRITE):
            self._is_writing = not self._is_writing
            if self._is_writing:
                self._loop.add_writer(self._fd, self._advance)
            else:
                self._loop.remove_writer(self._fd)
        if self._connection.notifies:
            self._connection.notifies.clear()
            self._on_notification()
        if state == POLL_OK and self._waiting is not None:
            if not self._waiting.done():
                self._waiting.set_result(None)
        else:
            self._watch()

    def _watch(self) -> None:
        """Anew for each wait: once a socket had an error, as of a server that crashed before it read a statement,
        uvloop does not watch it any more, and what the server said last may be read only in part."""
        self._loop.remove_reader(self._fd)
        self._loop.add_reader(self._fd, self._advance)

    def _fail(self, error: psycopg2.Error) -> None:
        """Of a statement, or of the connection: what nobody waits for cannot be a statement's."""
        is_broken = self._waiting is None or bool(self._connection.closed)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        if is_broken:
            self.close()
            self._on_notification()


def _opened(worker_id: int) -> Any:
    """A connection that listens and knows the statements. Waits in this thread."""
    connection = connect_asynchronously()
    ends_at = time.monotonic() + OPEN_SECONDS
    try:
        _wait(connection, ends_at=ends_at)
        with connection.cursor() as cursor:
            listen = f"LISTEN {leases.CHANNEL}; LISTEN {leases.channel(worker_id)}"
            for sql in (*statements.SETTINGS, listen, *statements.HOT):
                cursor.execute(sql)
                _wait(connection, ends_at=ends_at)
    except BaseException:
        connection.close()
        raise
    return connection


def _wait(connection: Any, *, ends_at: float) -> None:
    while (state := connection.poll()) != POLL_OK:
        left = ends_at - time.monotonic()
        fd = [connection.fileno()]
        ready = select.select(fd if state == POLL_READ else [], fd if state == POLL_WRITE else [], [], max(left, 0.0))
        if left <= 0 and not any(ready):
            raise psycopg2.OperationalError(f"the database did not answer within {OPEN_SECONDS:g} s")
