from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.retry import BACKOFFS, JITTERS, LONGEST_INTERVAL, RetryPolicy


def auto(**keys: Any) -> RetryPolicy:
    policy, problems = RetryPolicy.parse({"strategy": "auto", **keys}, path="retry")
    assert problems == []
    return policy


def delays(policy: RetryPolicy, *, attempts: int) -> list[float | None]:
    pauses = [policy.delay(attempt=attempt, random=lambda: 1.0) for attempt in range(1, attempts + 1)]
    return [None if pause is None else pause.total_seconds() for pause in pauses]


def test_without_a_block_a_person_retries_after_a_minute() -> None:
    policy = RetryPolicy()

    assert (policy.strategy, policy.interval, policy.tries) == ("manual", 60, 1)
    assert policy.delay(attempt=1) is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"interval": 5}, [5, 5, 5, None, None]),
        ({"interval": 5, "max_attempts": 0}, [None, None]),
        ({"interval": 5, "max_attempts": 1}, [5, None]),
        ({"interval": 0}, [0, 0, 0, None]),
        ({"interval": 5, "backoff": "linear"}, [5, 10, 15, None]),
        ({"interval": 5, "backoff": "linear", "max_interval": 12}, [5, 10, 12, None]),
        ({"interval": 5, "backoff": "exponential"}, [5, 10, 20, None]),
        ({"interval": 5, "backoff": "exponential", "multiplier": 3}, [5, 15, 45, None]),
        ({"interval": 5, "backoff": "exponential", "max_interval": 7}, [5, 7, 7, None]),
        ({"interval": 5, "max_interval": 0}, [0, 0, 0, None]),
    ],
)
def test_pauses_follow_the_block(keys: dict[str, Any], expected: list[float | None]) -> None:
    assert delays(auto(**keys), attempts=len(expected)) == expected


@pytest.mark.parametrize("strategy", ["manual", "no_retry"])
def test_only_auto_retries_by_itself(strategy: str) -> None:
    policy, _problems = RetryPolicy.parse({"strategy": strategy, "max_attempts": 5}, path="retry")

    assert (policy.tries, policy.delay(attempt=1)) == (1, None)


def test_a_huge_exponent_stops_at_the_cap() -> None:
    policy = auto(interval=1, backoff="exponential", multiplier=1000, max_attempts=1000)

    assert policy.delay(attempt=1000) == timedelta(seconds=LONGEST_INTERVAL)


def test_a_huge_exponent_of_nothing_is_nothing() -> None:
    policy = auto(interval=0, backoff="exponential", multiplier=1000, max_attempts=1000)

    assert policy.delay(attempt=999) == timedelta(0)


def test_full_jitter_is_a_share_of_the_capped_pause() -> None:
    policy = auto(interval=100, max_interval=10, jitter="full")

    assert policy.delay(attempt=1, random=lambda: 0.25) == timedelta(seconds=2.5)


def test_codes_are_kept_as_text() -> None:
    assert auto(terminal_on=["NO_FUNDS", 402]).terminal_on == {"NO_FUNDS", "402"}


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"strategy": "sometimes"}, "retry.strategy"),
        ({"strategy": None}, "retry.strategy"),
        ({"max_attempts": 3}, "retry.strategy"),
        ({"strategy": "auto", "max_attempts": -1}, "retry.max_attempts"),
        ({"strategy": "auto", "max_attempts": 1001}, "retry.max_attempts"),
        ({"strategy": "auto", "max_attempts": 1.5}, "retry.max_attempts"),
        ({"strategy": "auto", "max_attempts": True}, "retry.max_attempts"),
        ({"interval": -0.1}, "retry.interval"),
        ({"interval": LONGEST_INTERVAL + 1}, "retry.interval"),
        ({"interval": "5"}, "retry.interval"),
        ({"interval": float("nan")}, "retry.interval"),
        ({"interval": 10**400}, "retry.interval"),
        ({"backoff": "random"}, "retry.backoff"),
        ({"multiplier": 0.5}, "retry.multiplier"),
        ({"max_interval": -1}, "retry.max_interval"),
        ({"jitter": "some"}, "retry.jitter"),
        ({"terminal_on": "X"}, "retry.terminal_on"),
        ({"terminal_on": ["X", None]}, "retry.terminal_on[1]"),
        ({"terminal_on": [True]}, "retry.terminal_on[0]"),
        ({"terminal_on": ["x"] * 101}, "retry.terminal_on"),
        ({"attempts": 3}, "retry.attempts"),
        ([], "retry"),
        (None, "retry"),
    ],
)
def test_what_is_wrong_with_a_block_is_told_with_its_path(keys: Any, path: str) -> None:
    _policy, problems = RetryPolicy.parse(keys, path="retry")

    assert [problem.path for problem in problems] == [path]


@given(
    interval=st.floats(0, LONGEST_INTERVAL),
    backoff=st.sampled_from(BACKOFFS),
    multiplier=st.floats(1, 1000),
    max_interval=st.floats(0, LONGEST_INTERVAL),
    jitter=st.sampled_from(JITTERS),
    attempt=st.integers(1, 1000),
)
def test_a_pause_is_never_negative_and_never_above_its_cap(attempt: int, **keys: Any) -> None:
    pause = auto(max_attempts=1000, **keys).delay(attempt=attempt)

    assert pause is not None
    assert timedelta(0) <= pause <= timedelta(seconds=keys["max_interval"])


@given(max_attempts=st.integers(0, 1000), attempt=st.integers(1, 1100))
def test_there_are_as_many_pauses_as_retries(max_attempts: int, attempt: int) -> None:
    policy = auto(max_attempts=max_attempts)

    assert (policy.delay(attempt=attempt) is None) == (attempt > max_attempts)
