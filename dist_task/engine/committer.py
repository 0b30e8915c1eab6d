"""Group commit: one thread of a worker alone writes.

While one batch is being committed, the next writes gather; they go out together, in one statement. At idle a batch is
one write and waits for nothing. When the connection breaks while a commit is under way nobody knows its fate: the same
batch is sent again under the same number, and the database does nothing if it has it already. So an outside
call is never repeated because an answer got lost.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import psycopg2

from dist_task import failpoints
from dist_task.conf import conf
from dist_task.database import connect
from dist_task.errors import DatabaseUnavailable

from .store import batch, session
from .store.batch import Write

logger = logging.getLogger(__name__)

MOST_WRITES = 256
LONGEST_PAUSE_SECONDS = 1.0
UNREACHABLE = (psycopg2.OperationalError, psycopg2.InterfaceError, DatabaseUnavailable)

Request = Callable[[Any], Any]
"""Something else to do with the cursor: a claim, a reload. It may be done twice when the connection breaks."""

Reply = Callable[[Any, BaseException | None], object]
"""Is called in the loop with what came of it, or with why the database refused it."""


class _Job(NamedTuple):
    work: Write | Request
    is_atomic: bool
    reply: Reply


class Unstorable(Exception):
    """This write alone was refused by the database for what it holds."""


class Committer(threading.Thread):
    """Takes jobs from the event loop and replies there. `abandon` drops what is left.

    `on_reconnect` is called in the loop after a connection broke: a claim may have succeeded whose answer got lost.
    """

    def __init__(self, *, worker_id: int, loop: asyncio.AbstractEventLoop, on_reconnect: Callable[[], object]) -> None:
        super().__init__(name="committer", daemon=True)
        self._worker_id = worker_id
        self._loop = loop
        self._on_reconnect = on_reconnect
        self._outbox: list[_Job] = []
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._ending = False
        self._abandoned = False
        self._connection: Any = None
        self._batches = 0
        self._timeouts = {
            "lock_timeout": "5s",
            "statement_timeout": "30s",
            # A worker frozen in a database transaction holds its own row, which a rescuer needs.
            "idle_in_transaction_session_timeout": f"{conf.LEASE_SECONDS:.0f}s",
        }

    def write(self, write: Write, *, reply: Reply) -> None:
        """The reply is a `Written`. What is submitted in one turn of the loop goes to the thread together."""
        self._post(_Job(write, is_atomic=False, reply=reply))

    def request(self, work: Request, *, is_atomic: bool = False) -> asyncio.Future[Any]:
        """The future's result is what `work` returned; `is_atomic`: in a database transaction."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._post(_Job(work, is_atomic=is_atomic, reply=partial(_resolve, future)))
        return future

    def _post(self, job: _Job) -> None:
        if not self._outbox:
            self._loop.call_soon(self._hand_over)
        self._outbox.append(job)

    def _hand_over(self) -> None:
        with self._ready:
            self._jobs.extend(self._outbox)
            self._ready.notify()
        self._outbox.clear()

    def end(self) -> None:
        """Ends after what was submitted so far."""
        self._hand_over()
        with self._ready:
            self._ending = True
            self._ready.notify()

    def abandon(self) -> None:
        """The lease is lost: nothing of this worker may be written any more, but last words."""
        self._abandoned = True
        self.end()

    def run(self) -> None:
        while jobs := self._next_jobs():
            self._record([job for job in jobs if isinstance(job.work, Write)])
            for job in jobs:
                if not isinstance(job.work, Write):
                    self._answer_request(job, request=job.work)
        if self._abandoned:
            self._leave_last_words()
        if self._connection is not None:
            self._connection.close()

    def _next_jobs(self) -> list[_Job]:
        with self._ready:
            while not self._jobs and not self._ending:
                self._ready.wait()
            if self._abandoned:
                return []
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_WRITES))]

    def _leave_last_words(self) -> None:
        """What ended before the lease was lost: known results where nobody took over yet, else a trace in the log."""
        writes = [
            replace(job.work, begun=[], finish=None, release=False)
            for job in self._jobs
            if isinstance(job.work, Write) and job.work.ended
        ]
        if not writes:
            return
        number = self._batches + 1
        try:
            record = partial(batch.record, worker_id=self._worker_id, number=number, writes=writes)
            self._once(record, is_atomic=False)
        except Exception as error:  # there is no second try: whoever took over treats these attempts as lost
            logger.warning("Results under a lost lease could not be written: %s", error)

    def _record(self, jobs: list[_Job]) -> None:
        """Commits writes together; where the database refuses what one of them holds, halves until it is alone."""
        if not jobs:
            return
        writes = [job.work for job in jobs if isinstance(job.work, Write)]
        number = self._batches + 1
        try:
            results = self._surely(
                partial(batch.record, worker_id=self._worker_id, number=number, writes=writes), is_atomic=False
            )
        except Exception as error:  # whatever it is: without this thread the worker would hold all and write nothing
            if len(jobs) == 1:
                self._answer_error(jobs[0], error=error)
                return
            middle = len(jobs) // 2
            self._record(jobs[:middle])
            self._record(jobs[middle:])
        else:
            self._batches = number
            if not self._abandoned:
                self._loop.call_soon_threadsafe(_reply, jobs, results)

    def _answer_request(self, job: _Job, *, request: Request) -> None:
        try:
            result = self._surely(request, is_atomic=job.is_atomic)
        except Exception as error:  # as above
            self._answer_error(job, error=error)
        else:
            if not self._abandoned:
                self._loop.call_soon_threadsafe(_reply, [job], [result])

    def _surely(self, work: Request, *, is_atomic: bool) -> Any:
        """What the work returned, once it is committed. Raises only for what the database says about the data."""
        pause = 0.02
        while not self._abandoned:
            try:
                return self._once(work, is_atomic=is_atomic)
            except UNREACHABLE as error:
                logger.warning("The database did not take a batch: %s", error)
                self._disconnect()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return None

    def _once(self, work: Request, *, is_atomic: bool) -> Any:
        with self._opened().cursor() as cursor:
            if is_atomic:
                cursor.execute("BEGIN")
            failpoints.hit("commit.before")
            try:
                result = work(cursor)
                if is_atomic:
                    cursor.execute("COMMIT")
            except Exception:
                if is_atomic and not self._connection.closed:
                    cursor.execute("ROLLBACK")
                raise
            failpoints.hit("commit.after")
            return result

    def _opened(self) -> Any:
        if self._connection is None:
            connection = connect(autocommit=True)
            with connection.cursor() as cursor:
                for name, value in self._timeouts.items():
                    cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
                session.prepare(cursor)
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        """The next try has a new connection, whatever state this one is in."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            if not self._abandoned:
                self._loop.call_soon_threadsafe(self._on_reconnect)

    def _answer_error(self, job: _Job, *, error: Exception) -> None:
        logger.error("The database refused a write: %s", error)
        if not self._abandoned:
            self._loop.call_soon_threadsafe(job.reply, None, Unstorable(str(error)))


def _reply(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        job.reply(result, None)


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
