"""What is written of an attempt that has ended: its outcome as a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dist_task.errors import ExecutionError
from dist_task.executors.base import Ongoing, Result
from dist_task.models import LogEvent
from dist_task.payload import redact
from dist_task.redaction import REDACTOR
from dist_task.states import Op, RunStatus, WaitsFor

from . import outcome as outcomes
from .fan import Fan
from .loaded import Step
from .moves import RunState
from .store.batch import Begun, Ended

NotYet = Ongoing | ExecutionError | outcomes.WorkerLost
Ending = Result | NotYet
InFlight = RunState | Begun
UNSTORABLE = "UNSTORABLE"


def succeeded(run: InFlight, *, op: str, result: Result) -> Ended:
    if REDACTOR.is_needed:
        result = _redacted_result(result)
    return Ended(
        run.task_id,
        attempt=run.attempt,
        status=RunStatus.SUCCESS,
        event=LogEvent.SUCCEEDED,
        op=op,
        item=run.item,
        output=result.output,
        note=result.note,
        request=result.request,
        response=result.response,
    )


def not_yet(
    run: InFlight,
    *,
    op: str,
    step: Step,
    result: NotYet,
    flow_name: str,
    seconds_left: float,
    ongoing_seconds: float,
) -> Ended:
    """Decides what it means that the attempt did not succeed: for the seconds, see `decide`."""
    if REDACTOR.is_needed:
        result = _redacted(result)
    policy = step.spec.retry
    number = run.attempt - (run.budget - policy.tries)
    outcome = outcomes.decide(
        policy, attempt=number, result=result, seconds_left=seconds_left, ongoing_seconds=ongoing_seconds
    )
    if isinstance(outcome, outcomes.Waiting):
        return _waiting(run, op=op, outcome=outcome, result=result)
    return _failed(run, op=op, step=step, outcome=outcome, result=result, flow_name=flow_name)


def _waiting(run: InFlight, *, op: str, outcome: outcomes.Waiting, result: NotYet) -> Ended:
    request, response = _exchanged(result)
    return Ended(
        run.task_id,
        attempt=run.attempt,
        status=RunStatus.WAITING,
        event=LogEvent.WAITING,
        op=op,
        item=run.item,
        delay_seconds=None if outcome.delay is None else outcome.delay.total_seconds(),
        waits_for=outcome.waits_for,
        request=request,
        response=response,
    )


def _failed(
    run: InFlight,
    *,
    op: str,
    step: Step,
    outcome: outcomes.RetryAfter | outcomes.Failed,
    result: NotYet,
    flow_name: str,
) -> Ended:
    failure = outcome.failure
    request, response = _exchanged(result)
    delay = outcome.delay.total_seconds() if isinstance(outcome, outcomes.RetryAfter) else None
    return Ended(
        run.task_id,
        attempt=run.attempt,
        status=RunStatus.FAILED if delay is None else RunStatus.PENDING,
        event=_event(result, failure=failure),
        op=op,
        item=run.item,
        delay_seconds=delay,
        error_code=failure.code,
        error_message=failure.message,
        outcome=failure.outcome,
        fingerprint=outcomes.fingerprint(flow_name=flow_name, task_id=_named(run, op=op), failure=failure),
        task_name=step.spec.name,
        maybe_executed=failure.maybe_executed,
        request=request,
        response=response,
    )


def _exchanged(result: NotYet) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What was sent and answered, as far as anybody knows."""
    if isinstance(result, outcomes.WorkerLost):
        return None, None
    return result.request, result.response


def _redacted_result(result: Result) -> Result:
    """Services echo credentials, and drivers tell of them in their errors: none of that becomes a row."""
    return result._replace(
        output=redact(result.output),
        request=redact(result.request),
        response=redact(result.response),
        note=redact(result.note),
    )


def _redacted(result: NotYet) -> NotYet:
    if isinstance(result, Ongoing):
        return replace(result, request=redact(result.request), response=redact(result.response))
    if isinstance(result, outcomes.WorkerLost):
        return outcomes.WorkerLost(redact(result.message))
    return redacted_error(result)


def redacted_error(error: ExecutionError) -> ExecutionError:
    return ExecutionError(
        redact(str(error)),
        code=redact(error.code),
        permanent=error.permanent,
        unknown=error.unknown,
        retry_after_seconds=error.retry_after_seconds,
        request=redact(error.request),
        response=redact(error.response),
    )


class ItemsFailed(ExecutionError):
    """Of a task whose items failed: each of these has an exception of its own."""


def of_items(fan: Fan) -> Ending:
    """What it means for a task that its items have ended."""
    if fan.left_out:
        return out_of_time(f"; {fan.left_out} items have not begun")
    if fan.failed:
        return ItemsFailed(f"{fan.failed} of {len(fan.items)} items failed", code="ITEMS_FAILED", permanent=True)
    return Result()


def out_of_time(and_so: str = "") -> ExecutionError:
    """Of an attempt that was not made, for the flow's timeout."""
    return ExecutionError(f"the time that the flow has is over{and_so}", code="FLOW_TIMEOUT", permanent=True)


def waited(waits_for: str, *, answer: Mapping[str, Any] | None, is_cancelled: bool = False) -> Ending:
    """What it means that a wait is over: by an answer from outside, by its time, or since none came in time."""
    if answer is not None:
        if answer["ok"]:
            return Result(output=answer["output"])
        unknown = answer.get("unknown", False)
        return ExecutionError(answer["message"], code=answer["code"], permanent=True, unknown=unknown)
    if waits_for == WaitsFor.TIME:
        return Result()
    unknown = waits_for != WaitsFor.APPROVAL
    message = "the transaction was cancelled before an answer came" if is_cancelled else "no answer came in time"
    return ExecutionError(message, code="NO_ANSWER", permanent=True, unknown=unknown)


def _named(run: InFlight, *, op: str) -> str:
    """Failures of the two directions of a task are not of one group."""
    return run.task_id if op == Op.ACTION else f"{run.task_id} {op}"


def unstorable(ended: Ended, *, error: BaseException) -> Ended:
    """The attempt was made, but what it gave cannot be kept."""
    return Ended(
        ended.task_id,
        attempt=ended.attempt,
        status=RunStatus.FAILED,
        event=LogEvent.UNKNOWN,
        op=ended.op,
        item=ended.item,
        error_code=UNSTORABLE,
        error_message=f"The result of this attempt could not be stored: {error}"[:1000],
        outcome=outcomes.UNKNOWN,
        fingerprint=ended.fingerprint or "unstorable",
        task_name=ended.task_name or ended.task_id,
        maybe_executed=True,
        took_answer=ended.took_answer,
    )


def _event(result: Ending, *, failure: outcomes.Failure) -> LogEvent:
    if isinstance(result, outcomes.WorkerLost):
        return LogEvent.WORKER_LOST
    return LogEvent.UNKNOWN if failure.maybe_executed else LogEvent.FAILED
