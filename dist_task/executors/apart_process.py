"""The worker's end of a process in which attempts are made (`apart_child` is the other one)."""

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
from collections.abc import Callable, Sequence
from typing import Any

from dist_task.errors import DistTaskError, ExecutionError

from .apart_child import BEGUN, HEADER, MOST_FRAME_BYTES, READY
from .base import TaskCall

logger = logging.getLogger(__name__)

START_SECONDS = 30.0
END_SECONDS = 2.0
"""So long a child that is told to end has to do so before it is killed."""
REAP_SECONDS = 5.0
LOOK_SECONDS = 0.01


class ProcessDied(DistTaskError):
    """The process of an attempt ended in the middle of it; the work may have been done."""

    code = "WORKER_LOST"


class _Gone(Exception):
    """The child has closed its end of the socket."""


class NeverBegun(Exception):
    """The child was lost, and had not begun the attempt."""


class Child:
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
    def start(cls, prepared: Sequence[str] = ()) -> Child:
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
                raise NeverBegun(f"it could not be started: {error}") from error
        return cls(process, connection=ours)

    async def connect(self) -> None:
        """Waits until it has started; at once when it has been used before."""
        if self._reader is not None:
            return
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        try:
            async with asyncio.timeout(START_SECONDS):
                if await self._receive() != READY:
                    raise NeverBegun("it said something else than that it is ready")
        except TimeoutError:
            raise NeverBegun(f"it was not ready within {START_SECONDS:g} s") from None
        except _Gone:
            raise NeverBegun(await self._how_it_ended()) from None

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
                raise NeverBegun(how) from None
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
