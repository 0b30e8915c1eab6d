"""Group commit: all that a worker's hands write goes through here, one batch at a time.

While one batch is being committed, the next writes gather; they go out together, in one call. At idle a batch is one
write and waits for nothing. When the connection breaks while a commit is under way nobody knows its fate: the same
batch is sent again under the same number, and the database does nothing if it has it already. So an outside
call is never repeated because an answer got lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from dist_task import failpoints
from dist_task.database import is_unreachable

from .session import Session
from .store import batch, claims
from .store.batch import Write, Written
from .store.claims import Harvest, Rows

logger = logging.getLogger(__name__)

MOST_WRITES = 256
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 1.0
LAST_WORDS_SECONDS = 5.0

Reply = Callable[[Written | None, BaseException | None], object]
"""Is called with what became of a write, or with why the database refused it."""


class Unstorable(Exception):
    """This work alone was refused by the database for what it holds."""


class _Job(NamedTuple):
    write: Write
    reply: Reply


class Committer:
    """Writes and claims on one connection. `abandon` drops what is left, but for last words.

    `on_wake` is called for every notification. `on_reconnect` is called after a connection broke: a claim may have
    succeeded whose answer got lost.
    """

    def __init__(self, *, worker_id: int, on_wake: Callable[[], object], on_reconnect: Callable[[], object]) -> None:
        self._worker_id = worker_id
        self._on_wake = on_wake
        self._on_reconnect = on_reconnect
        self._jobs: deque[_Job] = deque()
        self._sending: list[_Job] = []
        self._claims: deque[tuple[dict[str, Any], asyncio.Future[Harvest]]] = deque()
        self._arrived = asyncio.Event()
        self._session: Session | None = None
        self._batches = 0
        self._is_ending = self._is_abandoned = False
        self._working = asyncio.get_running_loop().create_task(self._work())

    def write(self, write: Write, *, reply: Reply) -> None:
        self._jobs.append(_Job(write, reply))
        self._arrived.set()

    def claim(self, **what: Any) -> asyncio.Future[Harvest]:
        """See `claims.harvest`. It may be done twice when the connection breaks."""
        future: asyncio.Future[Harvest] = asyncio.get_running_loop().create_future()
        self._claims.append((what, future))
        self._arrived.set()
        return future

    def abandon(self) -> None:
        """The lease is lost: nothing of this worker may be written any more, but last words."""
        self._is_abandoned = True
        self._working.cancel()

    async def close(self) -> None:
        """After what was submitted so far."""
        self._is_ending = True
        self._arrived.set()
        with suppress(asyncio.CancelledError):
            await self._working
        if self._is_abandoned:
            self._disconnect()
            await self._leave_last_words()
        self._disconnect()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._jobs or self._claims:
                if self._jobs:
                    await self._record([self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_WRITES))])
                if self._claims:
                    await self._harvest(*self._claims.popleft())
            if self._is_ending:
                return

    async def _record(self, jobs: list[_Job]) -> None:
        """Commits writes together; where the database refuses what one of them holds, halves until it is alone."""
        number = self._batches + 1
        writes = [job.write for job in jobs]
        self._sending = jobs
        try:
            results = await self._surely(partial(batch.record, worker_id=self._worker_id, number=number, writes=writes))
        except Exception as error:  # whatever it is: without this task the worker would hold all and write nothing
            if len(jobs) == 1:
                logger.error("The database refused a write: %s", error)
                self._sending = []
                jobs[0].reply(None, Unstorable(str(error)))
                return
            middle = len(jobs) // 2
            await self._record(jobs[:middle])
            await self._record(jobs[middle:])
        else:
            self._batches = number
            self._sending = []
            for job, written in zip(jobs, results, strict=True):
                job.reply(written, None)

    async def _harvest(self, what: dict[str, Any], future: asyncio.Future[Harvest]) -> None:
        try:
            harvest = await self._surely(partial(claims.harvest, worker_id=self._worker_id, **what))
        except Exception as error:  # as above
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(harvest)

    async def _surely(self, work: Callable[[Rows], Awaitable[Any]]) -> Any:
        """What the work returned, once it is committed. Raises only for what the database says about the data."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._once(work)
            except Exception as error:
                if not is_unreachable(error):
                    raise
                logger.warning("The database did not take a batch: %s", error)
                self._disconnect()
                self._on_reconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _once(self, work: Callable[[Rows], Awaitable[Any]]) -> Any:
        if self._session is None:
            self._session = await Session.open(worker_id=self._worker_id, on_notification=self._on_wake)
        failpoints.hit("commit.before")
        result = await work(self._session.rows)
        failpoints.hit("commit.after")
        return result

    async def _leave_last_words(self) -> None:
        """What ended before the lease was lost: known results where nobody took over yet, else a trace in the log.

        What was being sent goes first, under its own number: it may be committed already.
        """
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                for number, jobs in enumerate((self._sending, self._jobs), start=self._batches + 1):
                    writes = [job.write.of_ended_only() for job in jobs if job.write.ended]
                    await self._once(partial(batch.record, worker_id=self._worker_id, number=number, writes=writes))
        except Exception as error:  # there is no second try: whoever took over treats these attempts as lost
            logger.warning("Results under a lost lease could not be written: %s", error)

    def _disconnect(self) -> None:
        """The next try has a new connection, whatever state this one is in."""
        if self._session is not None:
            self._session.close()
            self._session = None
