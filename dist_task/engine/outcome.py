"""What it means that an attempt gave no result. Pure: a *delay* comes out, never a time; SQL and workers have their
own clocks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import timedelta

from dist_task.errors import ExecutionError
from dist_task.executors.base import Ongoing
from dist_task.states import WaitsFor
from flows.retry import RetryPolicy

FOREVER = float("inf")
RETRYABLE = "retryable"
TERMINAL = "terminal"
UNKNOWN = "unknown"
LEAST_PAUSE_SECONDS = 0.1
"""Before a service that is at it is asked again: an executor that says 0 is not asked without a pause."""
WORKER_LOST_CODE = "WORKER_LOST"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker died in mid attempt: nobody can say whether the work was done."""

    message: str = "The worker died in the middle of this attempt; the work may have been done."


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed: what an exception record shows."""

    outcome: str
    code: str
    message: str

    @property
    def maybe_executed(self) -> bool:
        return self.outcome == UNKNOWN


@dataclass(frozen=True, slots=True)
class RetryAfter:
    delay: timedelta
    failure: Failure


@dataclass(frozen=True, slots=True)
class Failed:
    failure: Failure


@dataclass(frozen=True, slots=True)
class Waiting:
    """The attempt has not ended. `delay`: until it is looked at again; None where only somebody outside ends it."""

    waits_for: str
    delay: timedelta | None


Outcome = RetryAfter | Failed | Waiting


def decide(
    policy: RetryPolicy,
    *,
    attempt: int,
    result: Ongoing | ExecutionError | WorkerLost,
    seconds_left: float = FOREVER,
    ongoing_seconds: float = 0.0,
) -> Outcome:
    """`attempt` counts from 1 within the budget of attempts that are made by themselves.

    `seconds_left` of the task's total time: no attempt begins after it, and nothing is awaited any longer.
    `ongoing_seconds`: for how long its service has said that it is at it.

    An unknown outcome is tried again (with the same idempotency key) by strategy `auto` only: `manual` and `no_retry`
    never run again by themselves.
    """
    if isinstance(result, Ongoing):
        if result.waits_for == WaitsFor.TIME and (result.seconds or 0.0) > seconds_left:
            return Failed(
                Failure(TERMINAL, code="TIMEOUT", message="it would end after the time that the task or its flow has")
            )
        if result.within is not None and ongoing_seconds >= result.within:
            return Failed(_never_done(result.within))
        return Waiting(result.waits_for, delay=_until_looked_at(result, policy=policy, seconds_left=seconds_left))
    failure = failure_of(result)
    if failure.outcome == RETRYABLE and failure.code in policy.terminal_on:
        failure = replace(failure, outcome=TERMINAL)
    if failure.outcome == TERMINAL or failure.code in policy.terminal_on or _is_permanent(result):
        return Failed(failure)
    delay = policy.delay(attempt=attempt)
    if delay is None:
        return Failed(failure)
    floor = timedelta(seconds=result.retry_after_seconds) if isinstance(result, ExecutionError) else timedelta()
    pause = max(delay, floor)
    return RetryAfter(pause, failure) if pause.total_seconds() <= seconds_left else Failed(failure)


def _until_looked_at(ongoing: Ongoing, *, policy: RetryPolicy, seconds_left: float) -> timedelta | None:
    if ongoing.waits_for == WaitsFor.ITEMS:
        return None  # each of them has its own time
    seconds = FOREVER if ongoing.seconds is None else ongoing.seconds
    if ongoing.waits_for == WaitsFor.SERVICE:
        seconds = max(policy.interval if ongoing.seconds is None else seconds, LEAST_PAUSE_SECONDS)
    seconds = min(max(seconds, ongoing.least_seconds), max(seconds_left, 0.0))
    return None if seconds == FOREVER else timedelta(seconds=seconds)


def _never_done(seconds: float) -> Failure:
    """It may be at it still, and may have done its work: somebody has to look."""
    message = f"after {seconds:g} s the service still answers that it is at it"
    return Failure(UNKNOWN, code="NO_ANSWER", message=message)


def failure_of(result: ExecutionError | WorkerLost) -> Failure:
    if isinstance(result, WorkerLost):
        return Failure(UNKNOWN, code=WORKER_LOST_CODE, message=result.message)
    outcome = UNKNOWN if result.unknown else TERMINAL if result.permanent else RETRYABLE
    return Failure(outcome, code=result.code, message=str(result))


def _is_permanent(result: ExecutionError | WorkerLost) -> bool:
    return isinstance(result, ExecutionError) and result.permanent


def fingerprint(*, flow_name: str, task_id: str, failure: Failure) -> str:
    """The same for failures that look alike: numbers and ids of the message are levelled, the code never is."""
    message = re.sub(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27,}|\d+|0x[0-9a-fA-F]+", "#", failure.message)[:500]
    parts = "\x1f".join((flow_name, task_id, failure.outcome, failure.code, message))
    return hashlib.blake2b(parts.encode("utf-8", errors="replace"), digest_size=16).hexdigest()
