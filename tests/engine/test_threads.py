"""Executors that block run in threads beside the event loop, and what they do to their thread stays there."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop

from dist_task.errors import ExecutionError
from dist_task.executors import threads as threads_module
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.threads import Threads, blocks, close, execute

from .worker import wait_for

LONG = 60.0
number = contextvars.ContextVar("number", default=0)


class Blocking:
    """Does what the test gives it as a plain function of the call."""

    kind: ClassVar[str] = "blocking"

    def __init__(self, deed: Callable[[TaskCall], Any]) -> None:
        self.deed = deed
        self.closed_in: threading.Thread | None = None

    def execute(self, call: TaskCall) -> Any:
        return self.deed(call)

    def close(self) -> None:
        self.closed_in = threading.current_thread()


class Coroutine:
    kind: ClassVar[str] = "coroutine"

    def __init__(self, deed: Callable[[TaskCall], Awaitable[Any]]) -> None:
        self.deed = deed
        self.closed_in: threading.Thread | None = None

    async def execute(self, call: TaskCall) -> Any:
        return await self.deed(call)

    async def close(self) -> None:
        self.closed_in = threading.current_thread()


class Wrapped(Coroutine):
    def execute(self, call: TaskCall) -> Any:
        """A coroutine function that a decorator hides."""
        return super().execute(call)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs does so until the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """Two threads, which are given up half a second after a deadline without margin."""
    return use(Threads(most=2, overtime_seconds=0.5), monkeypatch=monkeypatch)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """Two threads, which are waited for long after a deadline without margin."""
    return use(Threads(most=2, overtime_seconds=LONG), monkeypatch=monkeypatch)


def use(threads: Threads, *, monkeypatch: pytest.MonkeyPatch) -> Threads:
    monkeypatch.setattr(threads_module, "threads", lambda: threads)
    monkeypatch.setattr(threads_module, "MARGIN_SECONDS", 0.0)
    return threads


def call_of(task_id: str = "a", *, attempt: int = 1, timeout_seconds: float = LONG) -> TaskCall:
    return TaskCall("txn", task_id, "action", 0, attempt, {}, {}, timeout_seconds)


def run(scenario: Awaitable[Any], *, loop_factory: Callable[[], Any] | None = None) -> Any:
    async def main() -> Any:
        return await scenario

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def failing(error: BaseException) -> Callable[[TaskCall], Any]:
    def fail(call: TaskCall) -> Any:
        raise error

    return fail


def current_thread(call: TaskCall) -> Result:
    return Result(threading.current_thread())


# Where it runs, and what comes back.


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_a_plain_function_runs_in_a_daemon_thread_of_our_own(loop_factory: Callable[[], Any] | None) -> None:
    thread = run(execute(Blocking(current_thread), call_of()), loop_factory=loop_factory).output

    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name == "dist_task-blocking"


def test_a_coroutine_runs_in_the_loop() -> None:
    async def deed(call: TaskCall) -> Result:
        return current_thread(call)

    assert run(execute(Coroutine(deed), call_of())).output is threading.current_thread()


def test_a_plain_function_around_a_coroutine_function_runs_in_the_loop() -> None:
    async def deed(call: TaskCall) -> Result:
        return current_thread(call)

    assert blocks(Wrapped(deed))
    assert run(execute(Wrapped(deed), call_of())).output is threading.current_thread()


def test_context_variables_come_along_and_stay_there() -> None:
    async def scenario() -> tuple[Any, int]:
        number.set(7)

        def deed(call: TaskCall) -> Result:
            seen = number.get()
            number.set(8)
            return Result(seen)

        return (await execute(Blocking(deed), call_of())).output, number.get()

    assert run(scenario()) == (7, 7)


def test_an_execution_error_comes_as_it_is() -> None:
    error = ExecutionError("broke", code="BROKE", permanent=True, request={"a": 1})

    with pytest.raises(ExecutionError) as caught:
        run(execute(Blocking(failing(error)), call_of()))

    assert caught.value is error


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("mine"), MemoryError("all")])
def test_other_errors_come_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run(execute(Blocking(failing(error)), call_of()))

    assert caught.value is error


@pytest.mark.parametrize(
    "error", [StopIteration(1), StopAsyncIteration(), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
def test_what_would_end_a_loop_or_a_process_is_an_ordinary_failure(error: BaseException) -> None:
    with pytest.raises(ExecutionError, match=type(error).__name__) as caught:
        run(execute(Blocking(failing(error)), call_of()))

    assert (caught.value.code, caught.value.unknown) == ("EXECUTOR_ERROR", True)


@pytest.mark.parametrize("kind", ["blocking", "coroutine"])
def test_what_is_no_result_is_a_failure(kind: str) -> None:
    async def deed(call: TaskCall) -> dict[str, int]:
        return {}

    executor = Coroutine(deed) if kind == "coroutine" else Blocking(lambda call: {})

    with pytest.raises(ExecutionError, match="returned dict instead of a Result"):
        run(execute(executor, call_of()))


# One slow task holds up nobody.


def test_the_loop_turns_while_a_task_blocks(gate: threading.Event) -> None:
    async def scenario() -> Any:
        blocked = asyncio.create_task(execute(Blocking(lambda call: Result(gate.wait(30))), call_of()))
        for _turn in range(100):
            await asyncio.sleep(0)
        assert not blocked.done()
        gate.set()
        return (await blocked).output

    assert run(scenario()) is True


def test_others_go_on_beside_a_slow_one(few: Threads, gate: threading.Event) -> None:
    async def scenario() -> list[Any]:
        slow = asyncio.create_task(execute(Blocking(lambda call: Result(gate.wait(30))), call_of("slow")))
        quick = [execute(Blocking(lambda call: Result(call.task_id)), call_of(f"q{each}")) for each in range(50)]
        outputs = [result.output for result in await asyncio.gather(*quick)]
        assert not slow.done()
        gate.set()
        await slow
        return outputs

    assert run(scenario()) == [f"q{each}" for each in range(50)]


def test_no_more_run_at_once_than_there_may_be_threads(few: Threads) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def deed(call: TaskCall) -> Result:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return Result()

    async def scenario() -> None:
        await asyncio.gather(*(execute(Blocking(deed), call_of(f"t{each}")) for each in range(12)))

    run(scenario())

    assert most == 2
    assert few._count == 2


def test_those_in_line_begin_in_their_order_and_their_time_counts_from_there(patient: Threads) -> None:
    began: list[str] = []

    def deed(call: TaskCall) -> Result:
        began.append(call.task_id)
        time.sleep(0.3)
        return Result()

    async def scenario() -> None:
        calls = [call_of(f"t{each}", timeout_seconds=0.3) for each in range(8)]
        await asyncio.gather(*(execute(Blocking(deed), call) for call in calls))

    run(scenario())

    assert sorted(began) == [f"t{each}" for each in range(8)]
    assert set(began[:2]) == {"t0", "t1"}
    assert set(began[-2:]) == {"t6", "t7"}


# Deadlines.


def test_a_coroutine_keeps_the_deadline_of_its_caller(few: Threads) -> None:
    ended = []

    async def deed(call: TaskCall) -> Result:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(call.task_id)
        return Result()

    async def scenario() -> None:
        async with asyncio.timeout(0.05):
            await execute(Coroutine(deed), call_of(timeout_seconds=0.01))

    with pytest.raises(TimeoutError):
        run(scenario())

    assert ended == ["a"]


def test_a_late_coroutine_behind_a_plain_function_is_cancelled_each_time(few: Threads) -> None:
    async def deed(call: TaskCall) -> Result:
        await asyncio.sleep(30)
        return Result()

    for _time in range(2):
        with pytest.raises(TimeoutError):
            run(execute(Wrapped(deed), call_of(timeout_seconds=0.05)))


def test_a_result_that_comes_a_little_late_is_taken(patient: Threads) -> None:
    def deed(call: TaskCall) -> Result:
        time.sleep(0.2)
        return Result("done")

    assert run(execute(Blocking(deed), call_of(timeout_seconds=0.05))).output == "done"


def test_a_hung_one_ends_as_unknown(few: Threads, gate: threading.Event) -> None:
    with pytest.raises(ExecutionError, match="its thread still runs") as caught:
        run(execute(Blocking(lambda call: Result(gate.wait(30))), call_of(timeout_seconds=0.05)))

    assert (caught.value.code, caught.value.unknown, caught.value.permanent) == ("TIMEOUT", True, False)


@pytest.mark.parametrize("end", ["deadline", "cancelled"])
def test_the_next_attempt_waits_for_the_thread_of_the_last_one(few: Threads, gate: threading.Event, end: str) -> None:
    seen: list[tuple[str, int]] = []

    def deed(call: TaskCall) -> Result:
        seen.append(("begin", call.attempt))
        if call.attempt == 1:
            gate.wait(30)
        seen.append(("end", call.attempt))
        return Result(call.attempt)

    executor = Blocking(deed)

    async def scenario() -> Any:
        first = asyncio.create_task(execute(executor, call_of(attempt=1, timeout_seconds=0.05)))
        await asyncio.to_thread(wait_for, lambda: seen)
        if end == "cancelled":
            first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(execute(executor, call_of(attempt=2)))
        await asyncio.sleep(0.2)
        assert seen == [("begin", 1)]
        gate.set()
        return (await second).output

    assert run(scenario()) == 2
    assert seen == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


def test_where_the_last_thread_never_returns_the_next_attempt_calls_nothing(
    few: Threads, gate: threading.Event
) -> None:
    seen = []

    def deed(call: TaskCall) -> Result:
        seen.append(call.attempt)
        return Result(gate.wait(30))

    async def scenario() -> list[Any]:
        ends = []
        for attempt in (1, 2, 3):
            call = call_of(attempt=attempt, timeout_seconds=0.05)
            ends += await asyncio.gather(execute(Blocking(deed), call), return_exceptions=True)
        return ends

    ends = run(scenario())

    assert [end.code for end in ends] == ["TIMEOUT", "STILL_RUNNING", "STILL_RUNNING"]
    assert all(end.unknown for end in ends)
    assert seen == [1]


def test_the_next_attempt_waits_under_another_loop_as_well(few: Threads, gate: threading.Event) -> None:
    hang = Blocking(lambda call: Result(gate.wait(30)))
    with pytest.raises(ExecutionError, match="its thread still runs"):
        run(execute(hang, call_of(timeout_seconds=0.05)))

    with pytest.raises(ExecutionError) as caught:
        run(execute(hang, call_of(attempt=2, timeout_seconds=0.05)))

    assert caught.value.code == "STILL_RUNNING"


# Threads that hang.


def hang(gate: threading.Event, *, times: int) -> Awaitable[list[Any]]:
    executor = Blocking(lambda call: Result(gate.wait(300)))
    calls = [call_of(f"hung{each}", timeout_seconds=0.05) for each in range(times)]
    return asyncio.gather(*(execute(executor, call) for call in calls), return_exceptions=True)


def test_a_thread_that_was_given_up_is_replaced(few: Threads, gate: threading.Event) -> None:
    async def scenario() -> Any:
        ends = await hang(gate, times=2)
        assert [end.code for end in ends] == ["TIMEOUT", "TIMEOUT"]
        async with asyncio.timeout(30):
            return (await execute(Blocking(lambda call: Result("well")), call_of())).output

    assert run(scenario()) == "well"

    gate.set()
    wait_for(lambda: (few._count, few._given_up) == (2, 0))


def test_when_all_threads_and_their_replacements_hang_the_line_is_told(few: Threads, gate: threading.Event) -> None:
    async def scenario() -> list[Any]:
        ends = await hang(gate, times=6)
        return [*ends, *await asyncio.gather(execute(Blocking(current_thread), call_of()), return_exceptions=True)]

    ends = run(scenario())

    assert [end.code for end in ends] == ["TIMEOUT"] * 4 + ["NO_THREAD"] * 3
    assert not any(end.unknown or end.permanent for end in ends[4:])

    gate.set()
    wait_for(lambda: (few._count, few._given_up) == (2, 0))
    assert run(execute(Blocking(lambda call: Result("well")), call_of())).output == "well"


def test_when_the_system_has_no_threads_nothing_was_called(few: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        try:
            await execute(Blocking(current_thread), call_of())
        finally:
            monkeypatch.undo()

    with pytest.raises(ExecutionError) as caught:
        run(scenario())

    assert (caught.value.code, caught.value.unknown) == ("NO_THREAD", False)


def test_cancelled_in_line_it_never_begins(few: Threads, gate: threading.Event) -> None:
    seen: list[str] = []

    def deed(call: TaskCall) -> Result:
        seen.append(call.task_id)
        return Result(gate.wait(30))

    async def scenario() -> None:
        attempts = [asyncio.create_task(execute(Blocking(deed), call_of(f"t{each}"))) for each in range(3)]
        await asyncio.to_thread(wait_for, lambda: len(seen) == 2)
        attempts[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempts[2]
        gate.set()
        await asyncio.gather(*attempts[:2])
        await execute(Blocking(deed), call_of("last"))

    run(scenario())

    assert sorted(seen) == ["last", "t0", "t1"]


# The end.


def test_both_sorts_are_closed_each_where_it_runs() -> None:
    blocking, coroutine = Blocking(current_thread), Coroutine(lambda call: asyncio.sleep(0))

    async def scenario() -> None:
        await close(blocking)
        await close(coroutine)

    run(scenario())

    assert blocking.closed_in is not None
    assert blocking.closed_in.name == "dist_task-blocking"
    assert coroutine.closed_in is threading.current_thread()


HUNG = """
import asyncio, time
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.threads import execute

class Hung:
    def execute(self, call):
        print("began", flush=True)
        time.sleep(600)

async def main():
    attempt = asyncio.create_task(execute(Hung(), TaskCall("i", "t", "action", 0, 1, {}, {}, 60.0)))
    await asyncio.sleep(0.3)
    attempt.cancel()

asyncio.run(main())
print("ended", flush=True)
"""


def test_a_hung_thread_does_not_keep_the_process_from_ending() -> None:
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-c", HUNG], cwd=root, timeout=60, check=True, capture_output=True, text=True
    )

    assert done.stdout == "began\nended\n"
