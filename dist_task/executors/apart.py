"""Attempts in processes of their own: for those that may have killed a worker, and for functions.

After a worker died, what it had in flight is suspect: one of these attempts may have killed it. A suspect is tried
again apart from all others, so that a killer takes nobody along. The calls of `python` tasks are always made so.
django-q2's workers are daemonic processes of multiprocessing, which may have no children of that kind: these are plain
ones (see `apart_child`), and end with their worker (see `guard`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from functools import partial
from math import inf, isfinite
from typing import Any

from dist_task.errors import DistTaskError, ExecutionError
from dist_task.executors.base import Ongoing, Result, TaskCall, executors
from dist_task.executors.connections import CONNECTIONS
from dist_task.executors.secrets import SECRETS
from dist_task.executors.threads import MARGIN_SECONDS
from dist_task.payload import dumps

from .apart_child import BEGUN, ERROR_FIELDS, HEADER, MOST_FRAME_BYTES, READY
from .guard import Guard

logger = logging.getLogger(__name__)

MOST_CHILDREN = 4
IDLE_SECONDS = 10.0
"""So long a child waits for another suspect: to start one takes most of a second."""
START_SECONDS = 30.0
STARTS = 3
"""So many children may die before they have begun an attempt, which then has not been made."""
END_SECONDS = 2.0
"""So long a child that is told to end has to do so before it is killed."""
REAP_SECONDS = 5.0
LOOK_SECONDS = 0.01


class ProcessDied(DistTaskError):
    """The process of an attempt ended in the middle of it; the work may have been done."""

    code = "WORKER_LOST"


class _Gone(Exception):
    """The child has closed its end of the socket."""


class _NeverBegun(Exception):
    """The child was lost, and had not begun the attempt."""


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
        self._idle: dict[_Child, asyncio.TimerHandle] = {}
        self._busy: set[_Child] = set()
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
                except _NeverBegun as reason:
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

    def _take(self) -> _Child:
        if self._idle:
            child, timer = self._idle.popitem()
            timer.cancel()
        else:
            child = _Child.start(self._prepared)
            child.on_reap = partial(self._guard.forget, child.pid)
            self._guard.watch(child.pid)
        self._busy.add(child)
        return child

    def _put_back(self, child: _Child) -> None:
        self._busy.discard(child)
        if child.is_reusable and child.attempts < self._most_attempts and not self._is_closed:
            timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire, child)
            self._idle[child] = timer
        elif child.is_sound:
            self._keep(child.end())
        else:
            child.kill()
            self._keep(child.reap())

    def _retire(self, child: _Child) -> None:
        self._idle.pop(child).cancel()
        self._keep(child.end())

    def _keep(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(end)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


class _Child:
    """One process, and our end of its socket. `is_sound`: it has answered all that it was asked."""

    def __init__(self, process: subprocess.Popen[bytes], *, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.pid = process.pid
        self.attempts = 0
        self.is_sound = False
        self.is_reusable = False
        self.on_reap: Callable[[], object] = lambda: None

    @classmethod
    def start(cls, prepared: Sequence[str] = ()) -> _Child:
        """Its own session keeps it from our terminal, and makes it and its children one group to be killed."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "dist_task.executors.apart_child", str(os.getpid()), *prepared],
                    stdin=theirs.fileno(),
                    stdout=2,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": _python_path()},
                )
            except OSError as error:
                ours.close()
                raise _NeverBegun(f"it could not be started: {error}") from error
        return cls(process, connection=ours)

    async def connect(self) -> None:
        """Waits until it has started; at once when it has been used before."""
        if self._reader is not None:
            return
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        try:
            async with asyncio.timeout(START_SECONDS):
                if await self._receive() != READY:
                    raise _NeverBegun("it said something else than that it is ready")
        except TimeoutError:
            raise _NeverBegun(f"it was not ready within {START_SECONDS:g} s") from None
        except _Gone:
            raise _NeverBegun(await self._how_it_ended()) from None

    async def attempt(self, request: bytes, *, call: TaskCall, margin_seconds: float) -> dict[str, Any]:
        self.is_sound = self.is_reusable = False
        self.attempts += 1
        has_begun = False
        try:
            async with asyncio.timeout(call.timeout_seconds + margin_seconds):
                await self._send(request)
                has_begun = await self._receive() == BEGUN
                answer = await self._receive()
        except TimeoutError:
            self.kill()
            await self._has_ended_within(REAP_SECONDS)  # a retry must not meet it
            message = f"no answer within {call.timeout_seconds:g} s; its process was killed"
            raise ExecutionError(message, code="TIMEOUT", unknown=True) from None
        except _Gone:
            how = await self._how_it_ended()
            if not has_begun:
                raise _NeverBegun(how) from None
            raise ProcessDied(f"The process of this attempt {how}; the work may have been done.") from None
        return self._understood(answer)

    def _understood(self, answer: bytes) -> dict[str, Any]:
        """The first byte says whether a thread or the like was left, which might harm the next attempt."""
        try:
            found: dict[str, Any] = json.loads(answer[1:])
        except ValueError:
            message = "The process of this attempt garbled its answer; the work may have been done."
            raise ProcessDied(message) from None
        self.is_sound = True
        self.is_reusable = answer[:1] == b"0"
        return found

    async def end(self) -> None:
        """Tells it to end, by closing our end of the socket; kills it when it does not."""
        self._close()
        if not await self._has_ended_within(END_SECONDS):
            self.kill()
        await self.reap()

    def kill(self) -> None:
        """The whole group. Its id is still taken while its leader has not been waited for."""
        if self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                """Nothing is left of it."""

    async def reap(self) -> None:
        """After its end: what it has left in its group ends too."""
        self._close()
        if await self._has_ended_within(REAP_SECONDS):
            self.kill()
            self.on_reap()
            self._process.wait()
        else:
            logger.error("The process %d does not end, though it was killed", self._process.pid)

    async def _how_it_ended(self) -> str:
        """In words, once it has; it is killed if it only closed its end of the socket."""
        if not await self._has_ended_within(END_SECONDS):
            self.kill()
            return "closed its connection and was killed"
        self.kill()
        self.on_reap()
        return _how(self._process.wait())

    async def _has_ended_within(self, seconds: float) -> bool:
        ends_at = time.monotonic() + seconds
        while not _has_ended(self._process):
            if time.monotonic() > ends_at:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _send(self, frame: bytes) -> None:
        assert self._writer is not None  # noqa: S101  # connected
        self._writer.write(HEADER.pack(len(frame)) + frame)
        try:
            await self._writer.drain()
        except OSError:
            """Its death is noticed by reading; what it wrote before is still to be had."""

    async def _receive(self) -> bytes:
        assert self._reader is not None  # noqa: S101  # connected
        try:
            (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            if size > MOST_FRAME_BYTES + 1:
                raise _Gone
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError):
            raise _Gone from None

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        else:
            self._connection.close()


def _request(kind: str, call: TaskCall) -> bytes:
    executor = executors().get(kind)
    if executor is None:
        raise ExecutionError(f"no executor for tasks of type {kind}", code="NO_EXECUTOR", permanent=True)
    cls = type(executor)
    request = {
        "executor": getattr(executor, "apart", "") or f"{cls.__module__}:{cls.__qualname__}",
        "call": {field.name: getattr(call, field.name) for field in fields(call)},
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


def _python_path() -> str:
    """The child finds what this process finds, whatever is in its working folder."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Looks without waiting for it, so that its process group cannot be somebody else's yet."""
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else has waited for it
        return process.poll() is not None


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = ", as the system does when memory runs out" if returncode == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
