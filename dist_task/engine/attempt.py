"""One attempt: the call, its deadline, and whatever may go wrong in it, as a value."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from dist_task import failpoints
from dist_task.errors import ExecutionError, InvalidRequest
from dist_task.executors import threads
from dist_task.executors.apart import Apart, ProcessDied
from dist_task.executors.base import Ongoing, Result, TaskCall
from flows.expressions import ExpressionFailed

from .loaded import Step
from .outcome import WorkerLost

logger = logging.getLogger(__name__)


async def attempt(
    step: Step, call: TaskCall, *, apart: Apart | None = None
) -> Result | Ongoing | ExecutionError | WorkerLost:
    """Never raises, unless it is cancelled. A failure that nobody foresaw leaves an unknown outcome.

    With `apart` the call is made in a process of its own, whose death is that of the attempt alone.
    """
    if step.executor is None:
        return ExecutionError(f"no executor for tasks of type {step.spec.type}", code="NO_EXECUTOR", permanent=True)
    try:
        if apart is not None:
            return await apart.execute(step.spec.type, call)
        failpoints.hit("call.before", call.task_id)
        result = await (step.executor.execute(call) if step.is_trusted else _execute(step, call))
        failpoints.hit("call.after", call.task_id)
        return result
    except ExecutionError as error:
        return error
    except ProcessDied as error:
        return WorkerLost(str(error))
    except ExpressionFailed as error:
        return ExecutionError(str(error), code=error.code, permanent=True)
    except InvalidRequest as error:
        return ExecutionError(str(error), code="INVALID_INPUT", permanent=True)
    except TimeoutError:
        return _no_answer(call)
    except SystemExit as error:
        return ExecutionError(f"SystemExit: {error}", code="EXECUTOR_ERROR", unknown=True)
    except Exception as error:
        logger.exception("The executor %s failed", step.spec.type)
        return ExecutionError(f"{type(error).__name__}: {error}", code="EXECUTOR_ERROR", unknown=True)


async def _execute(step: Step, call: TaskCall) -> Result | Ongoing:
    """Of an executor that is not trusted: in a thread, or under a deadline of ours."""
    assert step.executor is not None  # noqa: S101  # attempt() looked
    if step.blocks:
        return await threads.execute(step.executor, call)
    return threads.as_result(await _within_deadline(step.executor.execute(call), call=call))


async def _within_deadline(execution: Awaitable[Result | Ongoing], *, call: TaskCall) -> Result | Ongoing:
    deadline = _Deadline(call.timeout_seconds + threads.MARGIN_SECONDS)
    try:
        return await execution
    except asyncio.CancelledError:
        if not deadline.is_over:
            raise
        raise TimeoutError from None
    finally:
        deadline.forget()


def _no_answer(call: TaskCall) -> ExecutionError:
    return ExecutionError(f"no answer within {call.timeout_seconds:g} s", code="TIMEOUT", unknown=True)


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
