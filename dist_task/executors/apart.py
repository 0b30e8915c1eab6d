"""Attempts in processes of their own: for those that may have killed a worker, and for functions.

After a worker died, what it had in flight is suspect: one of these attempts may have killed it. A suspect is tried
again apart from all others, so that a killer takes nobody along. The calls of `python` tasks are always made so.
django-q2's workers are daemonic processes of multiprocessing, which may have no children of that kind: these are plain
ones (see `apart_child`), and end with their worker (see `guard`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from math import inf, isfinite
from typing import Any

from dist_task.errors import ExecutionError
from dist_task.executors.base import Ongoing, Result, TaskCall, executors
from dist_task.executors.connections import CONNECTIONS
from dist_task.executors.secrets import SECRETS
from dist_task.executors.threads import MARGIN_SECONDS
from dist_task.payload import dumps

from .apart_child import ERROR_FIELDS
from .apart_process import LOOK_SECONDS, Child, NeverBegun, ProcessDied
from .guard import Guard

__all__ = ["Apart", "ProcessDied"]

logger = logging.getLogger(__name__)

MOST_CHILDREN = 4
IDLE_SECONDS = 10.0
"""So long a child waits for another suspect: to start one takes most of a second."""
STARTS = 3
"""So many children may die before they have begun an attempt, which then has not been made."""


class Apart:
    """The children of one worker's event loop."""

    def __init__(
        self,
        *,
        most: int = MOST_CHILDREN,
        idle_seconds: float = IDLE_SECONDS,
        margin_seconds: float | None = None,
        most_attempts: float = inf,
        prepared: Sequence[str] = (),
    ) -> None:
        """`most_attempts` of a child, after which it is replaced; `prepared`: executors that it makes first."""
        self._idle_seconds = idle_seconds
        self._margin_seconds = MARGIN_SECONDS if margin_seconds is None else margin_seconds
        self._most_attempts = most_attempts
        self._prepared = tuple(prepared)
        self._guard = Guard()
        self._turns = asyncio.Semaphore(most)
        self._idle: dict[Child, asyncio.TimerHandle] = {}
        self._busy: set[Child] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def execute(self, kind: str, call: TaskCall) -> Result | Ongoing:
        """One attempt in a child; waiting in line for a child does not count for its deadline.

        Raises the executor's ExecutionError with all its fields, and its other errors as the worker takes them
        (INVALID_INPUT, TIMEOUT, EXECUTOR_ERROR); TIMEOUT (unknown) for a child that had to be killed `margin_seconds`
        after the deadline; NO_PROCESS where no child could be had, and nothing was called; ProcessDied.
        When it is cancelled, the child is killed.
        """
        request = _request(kind, call)
        async with self._turns:
            why = "the worker ends"
            for _start in range(STARTS):
                if self._is_closed:
                    break
                try:
                    return _result(await self._attempt(request, call=call))
                except NeverBegun as reason:
                    logger.warning("A process for attempts was lost before it began: %s", reason)
                    why = str(reason)
        raise ExecutionError(f"no process of its own could be had for this attempt: {why}", code="NO_PROCESS")

    async def close(self) -> None:
        """Ends all children: idle ones are told to, busy ones are killed. Takes END_SECONDS + REAP_SECONDS at most."""
        self._is_closed = True
        for child in self._busy:
            child.kill()
        for child in list(self._idle):
            self._retire(child)
        while self._busy:  # their attempts notice, and let go of them
            await asyncio.sleep(LOOK_SECONDS)
        if self._ends:
            await asyncio.wait(self._ends)
        self._guard.close()

    async def _attempt(self, request: bytes, *, call: TaskCall) -> dict[str, Any]:
        child = self._take()
        try:
            await child.connect()
            return await child.attempt(request, call=call, margin_seconds=self._margin_seconds)
        finally:
            self._put_back(child)

    def _take(self) -> Child:
        if self._idle:
            child, timer = self._idle.popitem()
            timer.cancel()
        else:
            child = Child.start(self._prepared)
            child.on_reap = partial(self._guard.forget, child.pid)
            self._guard.watch(child.pid)
        self._busy.add(child)
        return child

    def _put_back(self, child: Child) -> None:
        self._busy.discard(child)
        if child.is_reusable and child.attempts < self._most_attempts and not self._is_closed:
            timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire, child)
            self._idle[child] = timer
        elif child.is_sound:
            self._keep(child.end())
        else:
            child.kill()
            self._keep(child.reap())

    def _retire(self, child: Child) -> None:
        self._idle.pop(child).cancel()
        self._keep(child.end())

    def _keep(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


def _request(kind: str, call: TaskCall) -> bytes:
    executor = executors().get(kind)
    if executor is None:
        raise ExecutionError(f"no executor for tasks of type {kind}", code="NO_EXECUTOR", permanent=True)
    cls = type(executor)
    request = {
        "executor": getattr(executor, "apart", "") or f"{cls.__module__}:{cls.__qualname__}",
        "call": call._asdict(),
        "connections": CONNECTIONS.told(),  # the child asks no database
        "secrets": SECRETS.told(),
    }
    return dumps(request).encode()


def _result(answer: dict[str, Any]) -> Result | Ongoing:
    if "result" in answer:
        return Result(**answer["result"])
    if "ongoing" in answer:
        return Ongoing(**answer["ongoing"])
    found = answer["error"]
    given = {name: found[name] for name in ERROR_FIELDS}
    given["retry_after_seconds"] = _seconds(given["retry_after_seconds"])
    raise ExecutionError(found["message"], **given)


def _seconds(value: object) -> float:
    """A plugin may have given anything."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else 0.0
