"""What an attempt's result means."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.engine.outcome import (
    RETRYABLE,
    TERMINAL,
    UNKNOWN,
    Failed,
    Failure,
    RetryAfter,
    WorkerLost,
    decide,
    fingerprint,
)
from dist_task.errors import ExecutionError
from flows.retry import RetryPolicy

AUTO = RetryPolicy(strategy="auto", max_attempts=3, interval=5, terminal_on=frozenset({"NO_FUNDS"}))
MANUAL = RetryPolicy(strategy="manual")
NO_RETRY = RetryPolicy(strategy="no_retry")
REFUSED = ExecutionError("refused", code="CONNECTION_REFUSED")
BAD_REQUEST = ExecutionError("bad request", code="HTTP_400", permanent=True)
TIMED_OUT = ExecutionError("timed out", code="TIMEOUT", unknown=True)
NO_FUNDS = ExecutionError("no funds", code="NO_FUNDS")
TOO_LARGE = ExecutionError("too large", code="RESPONSE_TOO_LARGE", permanent=True, unknown=True)


@pytest.mark.parametrize(
    ("policy", "attempt", "error", "retried", "outcome"),
    [
        (AUTO, 1, REFUSED, True, RETRYABLE),
        (AUTO, 3, REFUSED, True, RETRYABLE),
        (AUTO, 4, REFUSED, False, RETRYABLE),
        (AUTO, 5, REFUSED, False, RETRYABLE),
        (AUTO, 1, BAD_REQUEST, False, TERMINAL),
        (AUTO, 1, NO_FUNDS, False, TERMINAL),
        (AUTO, 1, TIMED_OUT, True, UNKNOWN),
        (AUTO, 4, TIMED_OUT, False, UNKNOWN),
        (AUTO, 1, TOO_LARGE, False, UNKNOWN),
        (AUTO, 1, WorkerLost(), True, UNKNOWN),
        (AUTO, 4, WorkerLost(), False, UNKNOWN),
        (MANUAL, 1, REFUSED, False, RETRYABLE),
        (MANUAL, 1, TIMED_OUT, False, UNKNOWN),
        (MANUAL, 1, WorkerLost(), False, UNKNOWN),
        (NO_RETRY, 1, REFUSED, False, RETRYABLE),
        (NO_RETRY, 1, WorkerLost(), False, UNKNOWN),
    ],
)
def test_a_failure_is_retried_by_itself_only_where_the_policy_says_so(
    policy: RetryPolicy, attempt: int, error: ExecutionError | WorkerLost, retried: bool, outcome: str
) -> None:
    decided = decide(policy, attempt=attempt, result=error)

    assert isinstance(decided, RetryAfter) if retried else isinstance(decided, Failed)
    assert decided.failure.outcome == outcome
    assert decided.failure.maybe_executed == (outcome == UNKNOWN)


@pytest.mark.parametrize(("floor", "expected"), [(0, 5), (3, 5), (60, 60)])
def test_retry_after_is_a_floor_of_the_delay(floor: int, expected: int) -> None:
    busy = ExecutionError("busy", code="HTTP_429", retry_after_seconds=floor)

    decided = decide(AUTO, attempt=1, result=busy)

    assert isinstance(decided, RetryAfter)
    assert decided.delay == timedelta(seconds=expected)


@given(attempts=st.integers(1, 50), most=st.integers(0, 20), unknown=st.booleans())
def test_the_budget_of_attempts_is_never_passed(attempts: int, most: int, unknown: bool) -> None:
    policy = RetryPolicy(strategy="auto", max_attempts=most, interval=1)

    decided = decide(policy, attempt=attempts, result=ExecutionError("x", unknown=unknown))

    assert isinstance(decided, RetryAfter) == (attempts <= most)


def test_failures_that_differ_in_numbers_only_have_one_fingerprint() -> None:
    def of(message: str, code: str = "HTTP_500") -> str:
        return fingerprint(flow_name="f", task_id="t", failure=Failure(RETRYABLE, code=code, message=message))

    assert of("order 17 failed") == of("order 18 failed")
    assert of("order 17 failed") != of("order 17 refused")
    assert of("x", code="HTTP_500") != of("x", code="HTTP_503"), "the code is never levelled"
