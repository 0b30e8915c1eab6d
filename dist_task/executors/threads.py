"""Executors that block: an `execute` which is a plain function runs in a thread beside the event loop.

A thread cannot be stopped from outside. What is promised instead:

- A blocking executor is told its deadline (`call.timeout_seconds`) and should keep it.
- The attempt ends when its thread returns, and what came late is taken for what it is, since it is known. At the latest
  it ends MARGIN_SECONDS + OVERTIME_SECONDS after the deadline, as TIMEOUT with an unknown outcome. Waiting for a free
  thread does not count.
- In one process two attempts of one task run never overlap. The next attempt waits until the thread of the one that was
  given up has returned; if that takes longer than its own deadline, it ends as STILL_RUNNING and has called nothing.
- A thread whose attempt was given up is replaced, so that hung tasks cost no others their place. When as many as are
  allowed hang in replaced threads and in replacements, the attempts in line end as NO_THREAD and have called nothing.
- The threads do not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Protocol

from dist_task.conf import conf
from dist_task.errors import ExecutionError

from .base import Executor, Ongoing, Result, TaskCall

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 2.0
"""An executor keeps its own deadline; this much later the worker begins to give up on it."""
OVERTIME_SECONDS = 30.0
"""So much longer a thread is waited for, since a retry beside it would do the work twice."""
CLOSE_SECONDS = 5.0


class BlockingExecutor(Protocol):
    """An executor whose `execute` is a plain function; the other methods are those of `Executor`."""

    def execute(self, call: TaskCall) -> Result | Ongoing:
        """Raises `ExecutionError` for every failure that it understands."""

    def close(self) -> None:
        """Gives back connections when the worker ends."""


async def execute(executor: Executor | BlockingExecutor, call: TaskCall) -> Result | Ongoing:
    """One attempt; what the executor raises is passed on.

    A coroutine is awaited as it is, its deadline is the caller's. A blocking one must not be cancelled for its
    deadline: it keeps by itself to what is promised above, and raises ExecutionError (TIMEOUT, STILL_RUNNING,
    NO_THREAD).
    """
    if not blocks(executor):
        return as_result(await executor.execute(call))  # type: ignore[misc]  # it is a coroutine function
    found = await threads().execute(executor, call)
    if not inspect.isawaitable(found):
        return as_result(found)
    # A plain function around a coroutine function. The caller, who asked `blocks`, has set no deadline.
    async with asyncio.timeout(call.timeout_seconds + MARGIN_SECONDS):
        return as_result(await found)


def blocks(executor: Executor | BlockingExecutor) -> bool:
    """Whether `execute` is a plain function; looked at once for each class."""
    kind = type(executor)
    if kind not in _BLOCKS:
        _BLOCKS[kind] = not inspect.iscoroutinefunction(executor.execute)
    return _BLOCKS[kind]


_BLOCKS: dict[type, bool] = {}


async def close(executor: Executor | BlockingExecutor) -> None:
    """Closes either sort, the blocking one in a thread and within CLOSE_SECONDS. Errors are passed on."""
    if inspect.iscoroutinefunction(executor.close):
        await executor.close()
        return
    async with asyncio.timeout(CLOSE_SECONDS):
        await threads().run(("close", id(executor)), executor.close, seconds=CLOSE_SECONDS)


def as_result(found: object) -> Result | Ongoing:
    if isinstance(found, Result | Ongoing):
        return found
    message = f"the executor returned {type(found).__name__} instead of a Result"
    raise ExecutionError(message, code="EXECUTOR_ERROR", unknown=True)


def ordinary(error: BaseException) -> Exception:
    """The error itself, or a failure of the attempt in place of one that would end a loop or the process."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    return ExecutionError(f"{type(error).__name__}: {error}", code="EXECUTOR_ERROR", unknown=True)


@dataclass(slots=True, eq=False)
class _Job:
    """`future` is set once, to what was returned or raised, as a value; it is cancelled when the job never began."""

    run: Hashable
    work: Callable[[], object]
    future: Future[object] = field(default_factory=Future)
    begun_at: float | None = None
    is_given_up: bool = False

    def seconds_left(self, limit: float) -> float:
        """`limit` counts from the moment at which a thread took the job."""
        return limit if self.begun_at is None else self.begun_at + limit - time.monotonic()


class Threads:
    """A bounded number of daemon threads and the line before them, first come, first served. For any event loop.

    concurrent.futures would join its threads when the process ends, and a hung one would hold it for ever.
    """

    def __init__(self, *, most: int, overtime_seconds: float = OVERTIME_SECONDS) -> None:
        self._most = most
        self._overtime_seconds = overtime_seconds
        self._changed = threading.Condition()
        self._line: deque[_Job] = deque()
        self._jobs: dict[Hashable, _Job] = {}
        self._count = 0
        self._idle = 0
        self._given_up = 0

    async def execute(self, executor: Any, call: TaskCall) -> object:
        """What the executor returns or raises, StopIteration, SystemExit and their like as an ordinary failure."""
        run = (call.instance_id, call.task_id, call.item, call.op)
        seconds = call.timeout_seconds + MARGIN_SECONDS
        try:
            return await self.run(run, partial(executor.execute, call), seconds=seconds)
        except _Late:
            message = f"no answer within {call.timeout_seconds:g} s, and its thread still runs"
            raise ExecutionError(message, code="TIMEOUT", unknown=True) from None

    async def run(self, run: Hashable, work: Callable[[], object], *, seconds: float) -> object:
        """Cancelled in line, it never begins; cancelled later, its thread is given up, and goes on."""
        job = _Job(run, work=partial(contextvars.copy_context().run, work))
        ends_at = time.monotonic() + seconds
        while earlier := self._enter(job):
            if not await _has_returned(earlier, lambda _job: ends_at - time.monotonic()):
                message = "an earlier attempt still runs in a thread of this worker, which cannot be stopped"
                raise ExecutionError(message, code="STILL_RUNNING", unknown=True)
        try:
            if not await _has_returned(job, lambda job: job.seconds_left(seconds + self._overtime_seconds)):
                raise _Late
        finally:
            self._leave(job)
        return _returned_or_raised(job)

    def _enter(self, job: _Job) -> _Job | None:
        """Puts it in line; or returns the job of the same run that has to return first."""
        with self._changed:
            if earlier := self._jobs.get(job.run):
                return earlier
            if self._is_stuck:
                raise _no_thread().error
            self._jobs[job.run] = job
            self._line.append(job)
            self._serve_line()
            return None

    def _leave(self, job: _Job) -> None:
        """Nobody waits for the job any more."""
        with self._changed:
            if job.future.done():
                return
            if job.begun_at is None:
                self._line.remove(job)
                self._finish(job, outcome=None)
                return
            job.is_given_up = True
            self._given_up += 1
            self._serve_line()
            if self._is_stuck:
                self._refuse_line()

    @property
    def _room(self) -> int:
        """How many threads there may be: one more for each that was given up, up to twice the number."""
        return self._most + min(self._given_up, self._most)

    @property
    def _is_stuck(self) -> bool:
        return self._given_up >= 2 * self._most

    def _serve_line(self) -> None:
        self._changed.notify()
        if len(self._line) > self._idle and self._count < self._room:
            self._count += 1
            try:
                threading.Thread(target=self._serve, name="dist_task-blocking", daemon=True).start()
            except RuntimeError:  # the system has no more of them
                self._count -= 1
                logger.exception("No thread for blocking executors can be started; %d run", self._count)
                if not self._count:
                    self._refuse_line()

    def _refuse_line(self) -> None:
        while self._line:
            self._finish(self._line.popleft(), outcome=_no_thread())

    def _serve(self) -> None:
        while job := self._next():
            outcome = _outcome(job.work)
            with self._changed:
                self._finish(job, outcome=outcome)
            del job, outcome  # an idle thread keeps nothing alive

    def _next(self) -> _Job | None:
        """The first in line; None when there are more threads than there is room for."""
        with self._changed:
            while not self._line and self._count <= self._room:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            if self._count > self._room:
                self._count -= 1
                return None
            job = self._line.popleft()
            job.begun_at = time.monotonic()
            return job

    def _finish(self, job: _Job, *, outcome: object) -> None:
        del self._jobs[job.run]
        if job.is_given_up:
            self._given_up -= 1
            kind = type(outcome.error if isinstance(outcome, _Raised) else outcome).__name__
            logger.warning("The thread of an attempt of %s that was given up has returned (%s)", job.run, kind)
        if job.begun_at is None and outcome is None:
            job.future.cancel()
        else:
            job.future.set_result(outcome)


class _Late(Exception):
    """The thread has not returned within its limit."""


class _Raised:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def _outcome(work: Callable[[], object]) -> object:
    try:
        return work()
    except BaseException as error:  # # a task's sys.exit must not end the thread
        return _Raised(ordinary(error))


def _returned_or_raised(job: _Job) -> object:
    outcome = job.future.result()
    if not isinstance(outcome, _Raised):
        return outcome
    try:
        raise outcome.error
    finally:
        del outcome  # the error's traceback holds this frame


def _no_thread() -> _Raised:
    message = "this worker has no thread left for blocking executors; restart it"
    return _Raised(ExecutionError(message, code="NO_THREAD"))


async def _has_returned(job: _Job, seconds_left: Callable[[_Job], float]) -> bool:
    """Waits for it; False when no seconds are left. They are asked for again, since it may begin meanwhile."""
    woken = asyncio.Event()
    job.future.add_done_callback(partial(_wake, asyncio.get_running_loop(), woken))
    while not job.future.done():
        seconds = seconds_left(job)
        if seconds <= 0:
            return False
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
    return True


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event, _future: Future[object]) -> None:
    try:
        loop.call_soon_threadsafe(woken.set)
    except RuntimeError:
        """The loop has ended: nobody waits."""


@cache
def threads() -> Threads:
    """Those of this process."""
    return Threads(most=conf.BLOCKING_THREADS)


os.register_at_fork(after_in_child=threads.cache_clear)  # threads do not come along
