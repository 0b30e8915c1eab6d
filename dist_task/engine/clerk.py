"""What a worker asks the database besides claims and writes: seldom, in its own time, on a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dist_task.conf import conf
from dist_task.database import connect, is_unreachable

from .committer import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Unstorable

logger = logging.getLogger(__name__)

Request = Callable[[Any], Any]
"""Something to do with a cursor. It may be done twice when the connection breaks."""


class Clerk:
    """A thread that works off requests one after the other. `abandon` leaves the rest."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clerk")
        self._is_abandoned = False
        self._connection: Any = None

    def request(self, work: Request, *, is_atomic: bool = False) -> asyncio.Future[Any]:
        """The future's result is what `work` returned; `is_atomic`: in a database transaction."""
        return asyncio.wrap_future(self._thread.submit(self._answer, work, is_atomic=is_atomic))

    def abandon(self) -> None:
        """The lease is lost: nothing of this worker may be written any more."""
        self._is_abandoned = True

    async def close(self) -> None:
        """After what was requested so far. Cancelled, it leaves what an unreachable database does not let end."""
        disconnected = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        try:
            await asyncio.wrap_future(disconnected)
        finally:
            self.abandon()

    def _answer(self, work: Request, *, is_atomic: bool) -> Any:
        try:
            return self._surely(work, is_atomic=is_atomic)
        except Exception as error:  # whatever it is, the worker is to hear of it as a refusal
            logger.error("The database refused a request: %s", error)
            raise Unstorable(str(error)) from error

    def _surely(self, work: Request, *, is_atomic: bool) -> Any:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_abandoned:
            try:
                return self._once(work, is_atomic=is_atomic)
            except Exception as error:
                if not is_unreachable(error):
                    raise
                logger.warning("The database did not take a request: %s", error)
                self._disconnect()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return None

    def _once(self, work: Request, *, is_atomic: bool) -> Any:
        with self._opened().cursor() as cursor:
            if not is_atomic:
                return work(cursor)
            cursor.execute("BEGIN")
            try:
                result = work(cursor)
                cursor.execute("COMMIT")
            except Exception:
                if not self._connection.closed:
                    cursor.execute("ROLLBACK")
                raise
            return result

    def _opened(self) -> Any:
        if self._connection is None:
            connection = connect(autocommit=True)
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'")
                # A worker frozen in a database transaction holds its own row, which a rescuer needs.
                cursor.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                    (f"{conf.LEASE_SECONDS:.0f}s",),
                )
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
