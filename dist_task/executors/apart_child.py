"""The process that `apart` starts: it makes one attempt after the other, and may die of one.

Frames (length, JSON) come and go over one socket, which it gets as its standard input. It answers READY when it has
started, and to every request BEGUN and then one answer. What task code prints goes to the standard error. Its arguments
are the process that started it, and the executors that it makes before it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import faulthandler
import importlib
import inspect
import json
import logging
import operator
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import django

from dist_task import failpoints
from dist_task.errors import ExecutionError, InvalidRequest
from dist_task.executors.base import Ongoing, Result, TaskCall, noted
from dist_task.executors.connections import CONNECTIONS, Connection
from dist_task.executors.secrets import SECRETS
from dist_task.executors.threads import as_result
from dist_task.payload import dumps, dumps_and_changes, redact
from dist_task.redaction import REDACTOR

HEADER = struct.Struct(">I")
MOST_FRAME_BYTES = 32 * 1_048_576
READY = b"ready"
BEGUN = b"begun"
RESULT_FIELDS = Result._fields
ONGOING_FIELDS = tuple(each.name for each in fields(Ongoing))
ERROR_FIELDS = ("code", "permanent", "unknown", "retry_after_seconds", "request", "response")
LEFTOVERS_SECONDS = 1.5
"""So long it waits for threads that tasks have left, before it ends."""
PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


def main() -> None:
    """Ends without Python's own end, which would wait for every thread that a task has left."""
    wire = Wire.from_stdin()
    _die_with(int(sys.argv[1]))
    _offer_to_die_first()
    signal.signal(signal.SIGTERM, _leave_that_to_the_worker)
    faulthandler.enable()
    code = 1
    try:
        code = _serve(wire)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        logger.exception("The process of a suspect attempt failed")
    finally:
        sys.stderr.flush()
        os._exit(code)


class Wire:
    """The child's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        os.register_at_fork(after_in_child=connection.close)  # the parent takes its end for our death

    @classmethod
    def from_stdin(cls) -> Wire:
        """Takes it away from task code, which reads nothing from its standard input."""
        wire = cls(socket.socket(fileno=os.dup(0)))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        return wire

    def send(self, frame: bytes) -> None:
        self._socket.sendall(HEADER.pack(len(frame)) + frame)

    def receive(self) -> bytes:
        """Empty when the parent has closed its end."""
        header = self._read(HEADER.size)
        return self._read(HEADER.unpack(header)[0]) if header else b""

    def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            part = self._socket.recv(min(size - len(read), 1_048_576))
            if not part:
                return b""
            read += part
        return bytes(read)


def _die_with(parent: int) -> None:
    """The system kills us when the parent's thread that started us ends; where it does not do that, we look."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    else:
        threading.Thread(target=watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def watch(parent: int) -> None:
    """Ends this process soon after its parent has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _leave_that_to_the_worker(signum: int, frame: FrameType | None) -> None:
    """Who stops the whole service tells every process of it; attempts have the worker's grace to end."""


def _offer_to_die_first() -> None:
    """When memory runs out, Linux shall take this process and not its worker."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        """Not Linux, or not allowed."""


def _serve(wire: Wire) -> int:
    django.setup()
    attempts = Attempts(sys.argv[2:])
    wire.send(READY)
    while request := wire.receive():
        wire.send(BEGUN)
        wire.send(attempts.answer(request))
    attempts.close()
    return 0


class Attempts:
    """Makes attempts in one event loop, with one instance of each executor."""

    def __init__(self, paths: Sequence[str] = ()) -> None:
        """What cannot be made now is tried again by the first attempt, which says why."""
        self._runner = asyncio.Runner()
        self._executors: dict[str, Any] = {}
        for path in paths:
            with contextlib.suppress(ExecutionError):
                self._executor(path)
        self._threads = threading.active_count()

    def answer(self, request: bytes) -> bytes:
        """The first byte says whether this process may serve another request."""
        found = self._outcome(json.loads(request))
        answer = _encoded(found)
        if len(answer) > MOST_FRAME_BYTES:
            answer = _encode_failure(_unstorable(f"a result of {len(answer)} bytes"))
        return (b"1" if self._is_spent() else b"0") + answer

    def close(self) -> None:
        """Gives back connections, and waits a little for threads that tasks have left."""
        ends_at = time.monotonic() + LEFTOVERS_SECONDS
        try:
            self._runner.run(self._close_executors())
        except Exception:
            logger.exception("An executor could not be closed")
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(max(ends_at - time.monotonic(), 0.0))

    async def _close_executors(self) -> None:
        async with asyncio.timeout(LEFTOVERS_SECONDS):
            for executor in self._executors.values():
                closing = executor.close()
                if inspect.isawaitable(closing):
                    await closing

    def _outcome(self, request: dict[str, Any]) -> Result | Ongoing | _Raised:
        """A plain function is called while no loop runs: beside one, Django's ORM would refuse it."""
        try:
            CONNECTIONS.put(Connection(**each) for each in request["connections"])
            SECRETS.put(**request["secrets"])
            call = TaskCall(**request["call"])
            executor = self._executor(request["executor"])
            failpoints.hit("call.before", call.task_id)
            found = contextvars.copy_context().run(executor.execute, call)
        except BaseException as error:  # # a task's sys.exit is a failure like others
            return _Raised(error)
        if inspect.isawaitable(found):  # what else ends the loop ends the process
            return self._runner.run(_awaited(found, call=call), context=contextvars.copy_context())
        return _judged(found, call=call)

    def _is_spent(self) -> bool:
        """A thread or the like was left, which might harm the next attempt; or an executor says so."""
        leftovers = threading.active_count() > self._threads or asyncio.all_tasks(self._runner.get_loop())
        return bool(leftovers) or any(getattr(each, "is_spent", False) for each in self._executors.values())

    def _executor(self, path: str) -> Any:
        if path not in self._executors:
            module, _colon, name = path.partition(":")
            try:
                self._executors[path] = operator.attrgetter(name)(importlib.import_module(module))()
            except BaseException as error:
                message = f"the executor {path} cannot be made in a process of its own: {_told(error)}"
                raise ExecutionError(message, code="NO_EXECUTOR", permanent=True) from error
        return self._executors[path]


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


async def _awaited(found: Awaitable[object], *, call: TaskCall) -> Result | Ongoing | _Raised:
    try:
        result = await found
    except BaseException as error:  # # as above
        return _Raised(error)
    return _judged(result, call=call)


def _judged(found: object, *, call: TaskCall) -> Result | Ongoing | _Raised:
    try:
        failpoints.hit("call.after", call.task_id)
        return as_result(found)
    except Exception as error:
        return _Raised(error)


def _encoded(result: Result | Ongoing | _Raised) -> bytes:
    """Never raises."""
    if isinstance(result, _Raised):
        return _encode_failure(result.error)
    try:
        if isinstance(result, Ongoing):
            return _encode("ongoing", result, names=ONGOING_FIELDS)
        return _encode("result", result, names=RESULT_FIELDS)
    except Exception as unspeakable:
        return _encode_failure(_unstorable(_told(unspeakable)))


def _encode_failure(error: BaseException) -> bytes:
    """As the worker takes the same error. Never raises."""
    try:
        return _encode("error", _failure(error), names=ERROR_FIELDS)
    except Exception as unspeakable:  # # a stranger's objects
        return _encode("error", _unstorable(_told(unspeakable)), names=ERROR_FIELDS)


def _failure(error: BaseException) -> ExecutionError:
    if isinstance(error, ExecutionError):
        return error
    if isinstance(error, InvalidRequest):
        return ExecutionError(str(error), code="INVALID_INPUT", permanent=True)
    if isinstance(error, TimeoutError):
        return ExecutionError(str(error) or "the executor gave up waiting", code="TIMEOUT", unknown=True)
    logger.error("The executor failed", exc_info=error)
    return ExecutionError(_told(error), code="EXECUTOR_ERROR", unknown=True)


def _unstorable(what: str) -> ExecutionError:
    """The work was done, what it gave cannot be kept: not to be repeated for that."""
    message = f"The result of this attempt could not be stored: {what}"
    return ExecutionError(message, code="UNSTORABLE", permanent=True, unknown=True)


def _encode(name: str, value: Result | Ongoing | ExecutionError, *, names: tuple[str, ...]) -> bytes:
    """Each field by the rules of `payload.dumps`, which count its depth from its own root."""
    found = {each: getattr(value, each) for each in names}
    if isinstance(value, ExecutionError):
        found["message"] = str(value)
    if REDACTOR.is_needed:  # the worker does not know which secrets this process has resolved
        found = redact(found)
    if isinstance(value, Result):  # the worker gets what is storable already
        found["note"] = noted(found["note"], changes=dumps_and_changes(found["output"])[1])
    members = ",".join(f'"{each}":{dumps(field)}' for each, field in found.items())
    return f'{{"{name}":{{{members}}}}}'.encode()


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # # a stranger's __str__
        return type(error).__name__


if __name__ == "__main__":
    main()
