"""Group commit: one thread of a worker alone writes.

While one database transaction is being committed, the next writes and requests gather; they go out together. At idle
a batch is one write and waits for nothing. When a commit's fate is unknown (the connection went while it was under
way), PostgreSQL is asked by transaction id: a batch is sent again only when it surely was not committed, so an outside
call is never repeated because an answer got lost.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from dist_task import failpoints
from dist_task.database import connect
from dist_task.errors import DatabaseUnavailable

from .store import batch
from .store.batch import Write

logger = logging.getLogger(__name__)

MOST_WRITES = 256
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "30s"
LONGEST_PAUSE_SECONDS = 1.0

UNREACHABLE = (psycopg2.OperationalError, psycopg2.InterfaceError, DatabaseUnavailable)

Request = Callable[[Any], Any]
"""Something else to do with the cursor, in the same database transaction as the writes: a claim, a reload."""


@dataclass(slots=True)
class _Job:
    work: Write | Request
    future: asyncio.Future[Any]
    result: Any = field(default=None)


class Unstorable(Exception):
    """This write alone was refused by the database for what it holds."""


class Committer(threading.Thread):
    """Takes jobs from the event loop, answers through their futures. `abandon` drops what is left."""

    def __init__(self, *, worker_id: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="committer", daemon=True)
        self._worker_id = worker_id
        self._loop = loop
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._ending = False
        self._abandoned = False
        self._connection: Any = None

    def submit(self, work: Write | Request) -> asyncio.Future[Any]:
        """The future's result is a `Written`, or what the request returned."""
        job = _Job(work, future=self._loop.create_future())
        with self._ready:
            self._jobs.append(job)
            self._ready.notify()
        return job.future

    def end(self) -> None:
        """Ends after what was submitted so far."""
        with self._ready:
            self._ending = True
            self._ready.notify()

    def abandon(self) -> None:
        """The lease is lost: nothing of this worker may be written any more."""
        self._abandoned = True
        self.end()

    def run(self) -> None:
        while jobs := self._next_jobs():
            self._carry_out(jobs)
        if self._connection is not None:
            self._connection.close()

    def _next_jobs(self) -> list[_Job]:
        with self._ready:
            while not self._jobs and not self._ending:
                self._ready.wait()
            if self._abandoned:
                return []
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_WRITES))]

    def _carry_out(self, jobs: list[_Job]) -> None:
        """Commits jobs together; where the database refuses what one of them holds, halves until it is alone."""
        try:
            self._commit_surely(jobs)
        except Exception as error:  # whatever it is: without this thread the worker would hold all and write nothing
            if len(jobs) == 1:
                self._answer_error(jobs[0], error=error)
                return
            middle = len(jobs) // 2
            self._carry_out(jobs[:middle])
            self._carry_out(jobs[middle:])
        else:
            self._answer(jobs)

    def _commit_surely(self, jobs: list[_Job]) -> None:
        """Returns once the batch is committed. Raises for what the database says about the data, and for bugs."""
        pause = 0.02
        while not self._abandoned:
            xid = None
            try:
                with self._opened().cursor() as cursor:
                    self._execute(cursor, jobs=jobs)
                    cursor.execute("SELECT pg_current_xact_id_if_assigned()::text")
                    xid = cursor.fetchone()[0]
                failpoints.hit("commit.before")
                self._connection.commit()
                failpoints.hit("commit.after")
                return
            except UNREACHABLE as error:
                logger.warning("The database did not take a batch of %d: %s", len(jobs), error)
                self._roll_back()
                if xid is not None and self._was_committed(xid):
                    return
            except Exception:
                self._roll_back()
                raise
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _execute(self, cursor: Any, *, jobs: list[_Job]) -> None:
        writing = [job for job in jobs if isinstance(job.work, Write)]
        if writing:
            writes = [job.work for job in writing if isinstance(job.work, Write)]
            for job, written in zip(
                writing, batch.record(cursor, worker_id=self._worker_id, writes=writes), strict=True
            ):
                job.result = written
        for job in jobs:
            if not isinstance(job.work, Write):
                job.result = job.work(cursor)

    def _was_committed(self, xid: str) -> bool:
        """Asks until PostgreSQL knows: a backend that lost its client may still be committing."""
        pause = 0.02
        while not self._abandoned:
            try:
                with self._opened().cursor() as cursor:
                    cursor.execute("SELECT pg_xact_status(%s::xid8)", (xid,))
                    status = cursor.fetchone()[0]
                self._connection.rollback()
                if status != "in progress":
                    return bool(status == "committed")
            except UNREACHABLE:
                self._roll_back()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return False

    def _opened(self) -> Any:
        if self._connection is None or self._connection.closed:
            self._connection = connect()
            self._connection.autocommit = False
            with self._connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
                    (LOCK_TIMEOUT, STATEMENT_TIMEOUT),
                )
            self._connection.commit()
        return self._connection

    def _roll_back(self) -> None:
        """Back to a clean connection, a new one where this one is broken."""
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except psycopg2.Error:
            self._connection.close()

    def _answer(self, jobs: list[_Job]) -> None:
        if not self._abandoned:
            self._loop.call_soon_threadsafe(_set_results, jobs)

    def _answer_error(self, job: _Job, *, error: Exception) -> None:
        logger.error("The database refused a write: %s", error)
        self._loop.call_soon_threadsafe(_set_error, job, Unstorable(str(error)))


def _set_results(jobs: list[_Job]) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_result(job.result)


def _set_error(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
