"""Where a function runs: in a process of its own, or in a thread. Its result and its failures become ours."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import traceback
from collections.abc import Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.database import is_in_transaction, tidy_connections
from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.failures import too_large
from dist_task.functions import Function
from dist_task.payload import capped, dumps, loads_untrusted, mask

from .arguments import arguments_of
from .catalogue import CATALOGUE

LONGEST_CODE = 100

logger = logging.getLogger(__name__)


class Inside:
    """What makes the calls in a process of their own (see `apart`). `is_spent`: no further call should be made here."""

    kind: ClassVar[str] = "python"

    def __init__(self) -> None:
        self.is_spent = False
        CATALOGUE.load()
        pool: ThreadPoolExecutor = SyncToAsync.single_thread_executor
        pool.submit(int).result()  # the thread in which Django works for coroutines is there, and no leftover

    def execute(self, call: TaskCall) -> Result:
        try:
            return execute(call)
        finally:
            self.is_spent = is_in_transaction()

    def close(self) -> None:
        """Connections end with the process."""


def execute(call: TaskCall) -> Result:
    """In this thread, where no loop runs."""
    function = function_of(call)
    arguments = arguments_of(function, call)
    with failures_of(call), connections_tidied():
        value = function.call(**arguments)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
    return result_of(value, call=call)


async def _awaited(value: Awaitable[Any]) -> Any:
    """Django does its work for coroutines in a thread, which has connections of its own."""
    await sync_to_async(tidy_connections)()
    try:
        return await value
    finally:
        await sync_to_async(tidy_connections)()


@contextlib.contextmanager
def connections_tidied() -> Iterator[None]:
    """As around a request: those that are broken or too old are not used again."""
    tidy_connections()
    try:
        yield
    finally:
        tidy_connections()


def function_of(call: TaskCall) -> Function:
    """Raises ExecutionError: nothing was called. A worker with newer code may know it."""
    name = call.config["function"]
    if (function := CATALOGUE.get(name)) is None:
        why = CATALOGUE.faults.get(name) or "; ".join(f"{each}: {fault}" for each, fault in CATALOGUE.faults.items())
        message = _("this worker knows no function named %(name)s") % {"name": name}
        raise ExecutionError(f"{message} ({why})" if why else message, code="NO_FUNCTION")
    return function


@contextlib.contextmanager
def failures_of(call: TaskCall) -> Iterator[None]:
    """What a function raises becomes an ExecutionError. One that it raises itself is taken at its word.

    Of any other error nobody can say how much of the work was done before it: the outcome is unknown.
    """
    try:
        yield
    except ExecutionError as error:
        error.code = str(error.code or "FUNCTION_FAILED")[:LONGEST_CODE]
        error.request = error.request or request_of(call)
        raise
    except BaseException as error:  # # sys.exit, too
        if _is_being_cancelled():
            raise
        logger.exception("The function %s failed", call.config["function"])
        raise ExecutionError(
            _sentence(error),
            code=type(error).__name__[:LONGEST_CODE],
            unknown=True,
            request=request_of(call),
            response={"raised": type(error).__name__, "at": _place(error)},
        ) from error


def result_of(value: Any, *, call: TaskCall) -> Result:
    """What JSON does not know is kept as its text, with a note: the work was done, and is not repeated for that.

    Raises ExecutionError (permanent, unknown) for what is too large, or cannot be told at all.
    """
    try:
        text = dumps(value)
        output = loads_untrusted(text)
        is_same = _is_same(value, output)
    except Exception as error:  # # a stranger's objects
        message = _("the result could not be stored: %(reason)s") % {"reason": _sentence(error)}
        unstorable = ExecutionError(message, code="UNSTORABLE", permanent=True, unknown=True)
        unstorable.request = request_of(call)
        raise unstorable from error
    if len(text.encode()) > conf.MAX_RESPONSE_BYTES:
        large = too_large(conf.MAX_RESPONSE_BYTES)
        large.request = request_of(call)
        raise large
    response: dict[str, Any] = {"output": capped(mask(output), limit=conf.MAX_LOG_BYTES)}
    if not is_same:
        response["note"] = _("what JSON cannot hold was stored as text")
    return Result(output, request=request_of(call), response=response)


def request_of(call: TaskCall) -> dict[str, Any]:
    """For the log: without the secrets that are filled in."""
    return {"function": call.config["function"], "input": capped(mask(dict(call.input)), limit=conf.MAX_LOG_BYTES)}


def _is_same(value: Any, output: Any) -> bool:
    """A tuple is a list to JSON."""
    if isinstance(value, Mapping) and isinstance(output, dict):
        return len(value) == len(output) and all(key in output and _is_same(value[key], output[key]) for key in value)
    if isinstance(value, list | tuple) and isinstance(output, list):
        return len(value) == len(output) and all(map(_is_same, value, output))
    return type(value) is type(output) and value == output


def _is_being_cancelled() -> bool:
    """On the worker's loop: at its end, or at the deadline."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0


def _sentence(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # # a stranger's __str__
        return type(error).__name__


def _place(error: BaseException) -> str:
    """The last line of the function, or of what it called, at which it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
