"""One attempt: the call, its deadline, and whatever may go wrong in it, as a value."""

from __future__ import annotations

import asyncio
import logging

from dist_task import failpoints
from dist_task.errors import ExecutionError
from dist_task.executors.base import Executor, Result, TaskCall

from .loaded import Step

logger = logging.getLogger(__name__)

DEADLINE_MARGIN_SECONDS = 2.0
"""An executor keeps its own deadline; this much later the worker gives up on it."""


async def attempt(step: Step, call: TaskCall) -> Result | ExecutionError:
    """Never raises, unless it is cancelled. A failure that nobody foresaw leaves an unknown outcome."""
    if step.executor is None:
        return ExecutionError(f"no executor for tasks of type {step.spec.type}", code="NO_EXECUTOR", permanent=True)
    deadline = _Deadline(call.timeout_seconds + DEADLINE_MARGIN_SECONDS)
    try:
        return await _execute(step.executor, call)
    except ExecutionError as error:
        return error
    except asyncio.CancelledError:
        if not deadline.is_over:
            raise
        return ExecutionError(f"no answer within {call.timeout_seconds:g} s", code="TIMEOUT", unknown=True)
    except Exception as error:
        logger.exception("The executor %s failed", step.spec.type)
        return ExecutionError(f"{type(error).__name__}: {error}", code="EXECUTOR_ERROR", unknown=True)
    finally:
        deadline.forget()


async def _execute(executor: Executor, call: TaskCall) -> Result:
    failpoints.hit("call.before", call.task_id)
    result = await executor.execute(call)
    failpoints.hit("call.after", call.task_id)
    return result


class _Deadline:
    """Cancels the present task when its time is over; `asyncio.timeout` does the same at four times the cost."""

    __slots__ = ("_handle", "_task", "is_over")

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._task = asyncio.current_task()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._end)

    def _end(self) -> None:
        self.is_over = True
        if self._task is not None:
            self._task.cancel()

    def forget(self) -> None:
        self._handle.cancel()
