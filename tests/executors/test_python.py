"""`python` tasks: what a function is given, what becomes of what it gives, and what it can do to others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from dist_task.errors import ExecutionError
from dist_task.executors.apart import Apart
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.python import PythonExecutor
from dist_task.executors.secrets import SECRETS
from dist_task.redaction import MASKED
from tests.engine.worker import wait_for

from .functions import is_alive

MODULE = "tests.executors.functions"
LONG = 60.0
Scenario = Callable[[PythonExecutor], Awaitable[Any]]


@pytest.fixture(autouse=True)
def modules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known here, and to the processes that are started."""
    settings.DIST_TASK = {**settings.DIST_TASK, "TASK_MODULES": (MODULE,), "PYTHON_PROCESSES": 1}
    monkeypatch.setenv("TASK_MODULES", MODULE)


def call_to(function: str, *, seconds: float = LONG, task_id: str = "a", attempt: int = 1, **given: Any) -> TaskCall:
    return TaskCall("txn", task_id, "action", -1, attempt, {"function": function}, given, seconds)


def run(scenario: Scenario) -> Any:
    """With processes of its own, which end with it."""

    async def main() -> Any:
        executor = PythonExecutor()
        try:
            return await scenario(executor)
        finally:
            await executor.close()

    return asyncio.run(main())


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    """One process for all that do it no harm: to start one takes most of a second."""
    with asyncio.Runner() as runner:
        executor = PythonExecutor()
        KEPT.append((runner, executor))
        yield
        KEPT.clear()
        runner.run(executor.close())


KEPT: list[tuple[asyncio.Runner, PythonExecutor]] = []


def made(call: TaskCall) -> Result:
    runner, executor = KEPT[0]
    found = runner.run(executor.execute(call))
    assert isinstance(found, Result)
    return found


def result(function: str, **given: Any) -> Result:
    return made(call_to(function, **given))


def output(function: str, **given: Any) -> Any:
    return result(function, **given).output


def failure(function: str, **given: Any) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        result(function, **given)
    return caught.value


def verdict(error: ExecutionError) -> tuple[str, bool, bool]:
    """Its code, whether the work may have been done, whether another try is useless."""
    return error.code, error.unknown, error.permanent


async def failing(attempt: Awaitable[Any]) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        await attempt
    return caught.value


# What a function is given.


def test_arguments_are_converted_and_defaults_are_the_functions_own() -> None:
    assert output("add", a="41", more="is not its business") == 42
    assert output("add", a=1, b=None) == 2
    given = {"text": 5, "at": "2024-01-31T10:00:00Z", "price": 12.3, "tags": ["a"], "more": {"k": 1}}
    assert output("typed", **given) == [
        "'5'",
        "datetime.datetime(2024, 1, 31, 10, 0, tzinfo=datetime.timezone.utc)",
        "Decimal('12.3')",
        "['a']",
        "{'k': 1}",
        "0.5",
        "None",
    ]
    assert output("declared", amount="7", more=[1]) == [7, "nobody", [1], {}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input.a: is required (int)"),
        ({"a": "many"}, "input.a: must be a whole number"),
        ({"a": 1, "b": 2.5}, "input.b: must be a whole number"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_called(given: dict[str, Any], message: str) -> None:
    error = failure("add", **given)

    assert verdict(error) == ("INVALID_INPUT", False, True)
    assert str(error) == message


def test_a_price_that_is_none_is_refused() -> None:
    error = failure("typed", text="", at="2024-01-31", price="12,30", tags=[], more={})

    assert (error.code, str(error)) == ("INVALID_INPUT", "input.price: must be a number")


def test_the_call_says_which_attempt_it_is() -> None:
    call = call_to("tell", attempt=3)

    told = made(call).output

    assert told.pop("headers") == call.headers
    assert 0 < told.pop("seconds_left") <= LONG
    assert told == {
        "instance_id": "txn",
        "task_id": "a",
        "op": "action",
        "item": -1,
        "attempt": 3,
        "idempotency_key": call.idempotency_key,
        "zone": "UTC",
    }


def test_a_secret_reaches_the_function_and_nothing_else(secret: str) -> None:
    call = call_to("say_secret", word="${secrets.WORD}")._replace(secret_places=((("word",), ("WORD",)),))

    found = made(call)

    assert found.output == f"it was {MASKED}"
    assert secret not in repr((found.request, found.response))
    assert found.request is not None
    assert found.request["input"] == {"word": "${secrets.WORD}"}


@pytest.fixture
def secret() -> Iterator[str]:
    SECRETS.put({"WORD": "open sesame"})
    yield "open sesame"
    SECRETS.put({})


# Where it runs.


def test_functions_run_in_another_process_which_is_kept_for_the_next_call() -> None:
    async def scenario(executor: PythonExecutor) -> list[Any]:
        return [(await executor.execute(call_to(name))).output for name in ("where", "where_async", "where")]

    first, second, third = run(scenario)

    assert first == third
    assert first["is_main_thread"]
    assert second["ran_elsewhere"]
    assert os.getpid() != first["pid"] == second["pid"]


def test_a_process_is_replaced_after_so_many_calls(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PYTHON_PROCESS_CALLS": 2}

    async def scenario(executor: PythonExecutor) -> list[int]:
        return [(await executor.execute(call_to("where"))).output["pid"] for _number in range(4)]

    first, second, third, fourth = run(scenario)

    assert first == second != third == fourth


@pytest.mark.parametrize("function", ["leave_open", "leave_thread"])
def test_a_process_in_which_something_was_left_is_replaced(function: str) -> None:
    async def scenario(executor: PythonExecutor) -> tuple[int, int]:
        first = (await executor.execute(call_to(function))).output
        return first, (await executor.execute(call_to("where"))).output["pid"]

    first, second = run(scenario)

    assert first != second


def test_a_suspect_one_is_called_in_the_process_for_suspects_and_not_in_another_one_below_it() -> None:
    async def scenario() -> Result:
        apart = Apart()
        try:
            found = await apart.execute("python", call_to("where"))
        finally:
            await apart.close()
        assert isinstance(found, Result)
        return found

    assert asyncio.run(scenario()).output["parent"] == os.getpid()


def test_threads_and_the_loop_are_for_those_that_ask_for_them() -> None:
    assert output("in_thread") == {"pid": os.getpid(), "thread": "dist_task-blocking"}
    assert output("on_loop") == os.getpid()


def test_on_the_loop_a_function_is_cancelled_at_its_deadline() -> None:
    assert verdict(failure("on_loop", seconds=0.05, pause=600)) == ("TIMEOUT", True, False)


def test_on_the_loop_a_function_is_cancelled_with_its_attempt() -> None:
    async def scenario(executor: PythonExecutor) -> None:
        attempt = asyncio.ensure_future(executor.execute(call_to("on_loop", pause=600)))
        await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt

    run(scenario)


# What comes back.


def test_what_json_does_not_know_is_kept_as_text_with_a_note() -> None:
    found = result("odd")

    assert found.output == {
        "at": "2024-05-06T00:00:00+00:00",
        "price": "12.30",
        "id": "00000000-0000-0000-0000-000000000007",
        "nan": "NaN",
        "nul": "a\ufffdb\ufffd",
        "object": "opaque",
    }
    assert found.response is not None
    assert found.response["note"] == "what JSON cannot hold was stored as text"
    assert "note" not in (result("add", a=1).response or {})


def test_a_result_that_cannot_be_kept_is_not_made_again() -> None:
    assert len(output("huge", megabytes=1)) == 1_000_000
    assert verdict(failure("huge", megabytes=40)) == ("RESPONSE_TOO_LARGE", True, True)
    assert verdict(failure("unspeakable")) == ("UNSTORABLE", True, True)


def test_what_it_prints_goes_to_the_workers_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(lambda executor: executor.execute(call_to("noisy"))).output == "heard"

    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("noise" * 10) == 20_000
    assert "past Python" in printed.err
    assert "of a child" in printed.err


# What a function raises.


@pytest.mark.parametrize(
    ("how", "expected", "message"),
    [
        ("own", ("OutOfStock", True, False), "OutOfStock: no \ufffd more of it"),
        ("exit", ("SystemExit", True, False), "SystemExit: 3"),
        ("time", ("TimeoutError", True, False), "TimeoutError: the shop is slow"),
        ("named", ("NO_MONEY", False, True), "no money"),
        ("bare", ("FUNCTION_FAILED", False, False), "not now"),
        ("unknown", ("WHO_KNOWS", True, False), "who knows"),
    ],
)
def test_an_error_leaves_an_unknown_outcome_unless_it_says_better(
    how: str, expected: tuple[str, bool, bool], message: str
) -> None:
    error = failure("fail", how=how)

    assert verdict(error) == expected
    assert str(error) == message
    assert error.request == {"function": "fail", "input": {"how": how}}


def test_the_log_says_where_it_was_raised() -> None:
    response = failure("fail", how="own").response

    assert response is not None
    assert response["raised"] == "OutOfStock"
    assert str(response["at"]).partition("tests/executors/")[2].startswith("functions.py:")


def test_a_failure_does_not_cost_the_process() -> None:
    async def scenario(executor: PythonExecutor) -> tuple[int, int]:
        first = (await executor.execute(call_to("where"))).output["pid"]
        await failing(executor.execute(call_to("fail", how="own")))
        return first, (await executor.execute(call_to("where"))).output["pid"]

    first, second = run(scenario)

    assert first == second


def test_a_function_that_this_worker_does_not_know_was_not_called() -> None:
    assert verdict(failure("gone")) == ("NO_FUNCTION", False, False)


# What it can do to others.


@pytest.mark.parametrize(("how", "said"), [("exit", "exit code 7"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")])
def test_a_crash_is_that_of_its_own_attempt(how: str, said: str, settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PYTHON_PROCESSES": 2}

    async def scenario(executor: PythonExecutor) -> tuple[list[Any], int]:
        calls = [call_to("die", how=how) if number == 3 else call_to("add", a=number) for number in range(20)]
        ends = await asyncio.gather(*map(executor.execute, calls), return_exceptions=True)
        return ends, (await executor.execute(call_to("add", a=41))).output

    ends, afterwards = run(scenario)

    assert [end.output for end in ends if isinstance(end, Result)] == [n + 1 for n in range(20) if n != 3]
    assert verdict(ends[3]) == ("PROCESS_DIED", True, False)
    assert said in str(ends[3])
    assert afterwards == 42


@pytest.mark.parametrize("how", ["block", "hold", "ignore", "start", "fork"])
def test_what_hangs_is_killed_at_its_deadline_with_all_that_it_started(how: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    async def scenario(executor: PythonExecutor) -> ExecutionError:
        await executor.execute(call_to("where"))  # it has started
        error = await failing(executor.execute(call_to("hang", seconds=1.0, how=how, path=str(path))))
        assert not is_alive(path)
        return error

    error = run(scenario)

    assert verdict(error) == ("TIMEOUT", True, False)
    if how in ("start", "fork"):
        wait_for(lambda: not is_alive(tmp_path / "pid.heir"))


def test_a_coroutine_that_hangs_is_killed_as_well(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    assert verdict(failure("hang_async", seconds=0.5, path=str(path))) == ("TIMEOUT", True, False)
    assert not is_alive(path)


def test_waiting_in_line_does_not_count(tmp_path: Path) -> None:
    async def scenario(executor: PythonExecutor) -> tuple[ExecutionError, Any]:
        hanging = executor.execute(call_to("hang", seconds=1.5, how="block", path=str(tmp_path / "pid")))
        first = asyncio.ensure_future(failing(hanging))
        second = executor.execute(call_to("add", seconds=1.0, a=1))
        return await first, (await second).output

    error, found = run(scenario)

    assert error.code == "TIMEOUT"
    assert found == 2


def test_a_cancelled_attempt_ends_its_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    async def scenario(executor: PythonExecutor) -> None:
        attempt = asyncio.ensure_future(executor.execute(call_to("hang", how="hold", path=str(path))))
        await asyncio.to_thread(wait_for, path.exists)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.to_thread(wait_for, lambda: not is_alive(path))

    run(scenario)


# The database.


@pytest.fixture
def database(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes go to the test's database, too."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "campaign.settings")
    monkeypatch.setenv("CAMPAIGN_DATABASE", connection.settings_dict["NAME"])


def test_functions_use_the_orm_on_a_connection_that_is_kept(database: None) -> None:
    async def scenario(executor: PythonExecutor) -> list[Any]:
        names = ("count_flows", "count_flows_async", "count_flows")
        return [(await executor.execute(call_to(name))).output for name in names]

    first, second, third = run(scenario)

    assert first == third
    assert second == [0, first[2]]


def test_a_connection_that_broke_is_not_used_again(database: None) -> None:
    def end(backend: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    async def scenario(executor: PythonExecutor) -> tuple[list[int], list[int]]:
        first = (await executor.execute(call_to("count_flows"))).output
        await asyncio.to_thread(end, first[1])
        return first, (await executor.execute(call_to("count_flows"))).output

    first, second = run(scenario)

    assert (first[0], first[2]) == (second[0], second[2])
    assert first[1] != second[1]
