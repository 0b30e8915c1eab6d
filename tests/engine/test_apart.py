"""Attempts in processes of their own: whatever a task does, it does it to its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dist_task.engine import apart as apart_module
from dist_task.engine.apart import Apart, ProcessDied
from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.payload import dumps, loads_untrusted

from .suspects import oddities
from .worker import wait_for

Scenario = Callable[[Apart], Awaitable[Any]]
LONG = 60.0
SUSPECTS = tuple(f"tests.engine.suspects.{name}Executor" for name in ("Suspect", "BlockingSuspect", "Broken"))


@pytest.fixture(autouse=True)
def suspects(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "EXECUTORS": SUSPECTS}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart_module, "MARGIN_SECONDS", 0.1)


def call_to(do: str, *, task_id: str = "a", timeout_seconds: float = LONG, **config: Any) -> TaskCall:
    config["do"] = do
    return TaskCall(
        instance_id="txn",
        task_id=task_id,
        op="action",
        item=0,
        attempt=2,
        config=config,
        input={"amount": 2**70, "name": "Zoë"},
        timeout_seconds=timeout_seconds,
    )


def run(scenario: Scenario, *, loop_factory: Callable[[], Any] | None = None, **options: Any) -> Any:
    async def main() -> Any:
        apart = Apart(**options)
        try:
            return await scenario(apart)
        finally:
            await apart.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def execute(do: str, *, kind: str = "suspect", **config: Any) -> Result:
    result: Result = run(lambda apart: apart.execute(kind, call_to(do, **config)))
    return result


def failure(do: str, *, kind: str = "suspect", **config: Any) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        execute(do, kind=kind, **config)
    return caught.value


def pid_in(path: Path) -> int:
    wait_for(path.exists)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


# What comes back.


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_an_attempt_runs_in_another_process(loop_factory: Callable[[], Any] | None) -> None:
    result = run(lambda apart: apart.execute("suspect", call_to("work")), loop_factory=loop_factory)

    assert result.output["pid"] != os.getpid()
    assert result.output["input"] == {"amount": 2**70, "name": "Zoë"}


def test_the_executor_sees_the_whole_call() -> None:
    call = call_to("tell_call")

    assert execute("tell_call").output == {
        name: getattr(call, name)
        for name in ("instance_id", "task_id", "op", "item", "attempt", "config", "input", "timeout_seconds")
    }


def test_values_that_json_cannot_hold_come_as_the_store_would_write_them() -> None:
    result = execute("give_oddities")

    assert result.output == loads_untrusted(dumps(oddities()))
    assert dumps(result.output) == dumps(oddities())
    assert result.note.startswith("the output could not be stored as it came: ")
    assert execute("work").note == ""


def test_all_fields_of_an_execution_error_come_back() -> None:
    error = failure("fail")

    assert str(error) == "no \ufffd money"
    assert (error.code, error.permanent, error.unknown, error.retry_after_seconds) == ("BROKE", True, True, 2.5)
    assert (error.request, error.response) == ({"a": 1}, {"b": [2]})


@pytest.mark.parametrize(
    ("error", "code", "message", "unknown"),
    [
        ("value", "EXECUTOR_ERROR", "ValueError: wrong", True),
        ("exit", "EXECUTOR_ERROR", "SystemExit: 3", True),
        ("interrupt", "EXECUTOR_ERROR", "KeyboardInterrupt: ", True),
        ("cancelled", "EXECUTOR_ERROR", "CancelledError: ", True),
        ("memory", "EXECUTOR_ERROR", "MemoryError: all of it", True),
        ("refused", "INVALID_INPUT", "give an amount", False),
        ("timeout", "TIMEOUT", "the executor gave up waiting", True),
    ],
)
def test_an_ordinary_failure_does_not_cost_the_child(error: str, code: str, message: str, unknown: bool) -> None:
    async def scenario(apart: Apart) -> tuple[int, ExecutionError, int]:
        before = await apart.execute("suspect", call_to("work"))
        with pytest.raises(ExecutionError) as caught:
            await apart.execute("suspect", call_to("fail_with", error=error))
        after = await apart.execute("suspect", call_to("work"))
        return before.output["pid"], caught.value, after.output["pid"]

    before, raised, after = run(scenario)

    assert (raised.code, str(raised), raised.unknown) == (code, message, unknown)
    assert before == after


def test_a_large_result_comes_back_and_one_past_the_cap_is_not_tried_again() -> None:
    assert len(execute("give_megabytes", megabytes=10).output) == 10_000_000

    error = failure("give_megabytes", megabytes=40)

    assert (error.code, error.permanent, error.unknown) == ("UNSTORABLE", True, True)


def test_a_result_that_cannot_be_told_is_not_tried_again() -> None:
    error = failure("give_no_result")

    assert (error.code, error.permanent, error.unknown) == ("UNSTORABLE", True, True)
    assert "nobody may look" in str(error)


def test_a_blocking_executor_runs_there_too() -> None:
    assert execute("-", kind="blocking").output == {"thread": True, "call": "a"}


def test_an_executor_that_cannot_be_made_there_is_a_definite_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(apart: Apart) -> None:
        await apart.execute("broken", call_to("leave_a_thread"))
        monkeypatch.setenv("BROKEN_EXECUTOR", "yes")
        await apart.execute("broken", call_to("work"))

    with pytest.raises(ExecutionError, match="this one cannot be made") as caught:
        run(scenario)

    assert (caught.value.code, caught.value.permanent, caught.value.unknown) == ("NO_EXECUTOR", True, False)


def test_an_unknown_kind_is_a_definite_failure() -> None:
    assert failure("work", kind="nobody").code == "NO_EXECUTOR"


# What a task prints or reads.


def test_what_a_task_prints_goes_to_the_log_and_not_into_the_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute("flood").output == "dry"

    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("flood" * 10) == 20_000
    assert "past Python" in printed.err


def test_a_task_reads_nothing_from_its_input() -> None:
    assert execute("read_input").output == ""


# Killers.


@pytest.mark.parametrize(
    ("do", "how"),
    [
        ("segfault", "was killed by SIGSEGV;"),
        ("abort", "was killed by SIGABRT;"),
        ("kill_itself", "was killed by SIGKILL, as the system does when memory runs out;"),
        ("leave", "ended with exit code 7;"),
        ("exit_elsewhere", "ended with exit code 5;"),
        ("close_everything", "closed its connection and was killed;"),
        ("talk_on_the_wire", "closed its connection and was killed;"),
    ],
)
def test_a_killer_ends_its_own_process_and_the_message_says_how(do: str, how: str) -> None:
    async def scenario(apart: Apart) -> Result:
        with pytest.raises(ProcessDied, match=how) as caught:
            await apart.execute("suspect", call_to(do))
        assert caught.value.code == "WORKER_LOST"
        return await apart.execute("suspect", call_to("work"))

    assert run(scenario).output["pid"] != os.getpid()


@pytest.mark.parametrize("do", ["wait_for_ever", "block_for_ever", "hold_the_gil", "stop_itself"])
def test_what_hangs_is_killed_at_its_deadline_and_its_outcome_is_unknown(
    do: str, tmp_path: Path, impatient: None
) -> None:
    path = tmp_path / "pid"

    error = failure(do, timeout_seconds=0.5, note=str(path))

    assert (error.code, error.unknown, error.permanent) == ("TIMEOUT", True, False)
    assert is_gone(pid_in(path))


def test_running_out_of_memory_is_a_failure_and_the_system_takes_the_child_first() -> None:
    assert failure("eat_memory").code == "EXECUTOR_ERROR"
    if sys.platform == "linux":
        assert execute("tell_oom_score").output == 1000


def test_ten_suspects_in_line_with_a_killer_among_them(tmp_path: Path) -> None:
    async def scenario(apart: Apart) -> list[Any]:
        calls = [call_to("segfault" if number == 3 else "work", task_id=f"t{number}") for number in range(10)]
        attempts = (apart.execute("suspect", call) for call in calls)
        return await asyncio.gather(*attempts, return_exceptions=True)

    results = run(scenario)

    assert [number for number, result in enumerate(results) if isinstance(result, ProcessDied)] == [3]
    assert sum(isinstance(result, Result) for result in results) == 9
    assert len({result.output["pid"] for result in results if isinstance(result, Result)}) <= 5


def test_suspects_that_run_at_once_have_a_process_each_up_to_the_cap() -> None:
    async def scenario(apart: Apart) -> list[Result]:
        calls = [call_to("work", seconds=0.2) for _number in range(6)]
        return await asyncio.gather(*(apart.execute("suspect", call) for call in calls))

    results = run(scenario, most=2)

    assert len({result.output["pid"] for result in results}) == 2


def test_what_a_dead_child_has_forked_does_not_hide_its_death(tmp_path: Path) -> None:
    heir = tmp_path / "heir"

    with pytest.raises(ProcessDied, match="SIGSEGV"):
        execute("fork_and_die", heir=str(heir))

    wait_for(lambda: is_gone(pid_in(heir)))


def test_a_task_that_kills_later_costs_the_next_one_nothing() -> None:
    async def scenario(apart: Apart) -> tuple[int, Result]:
        first = await apart.execute("suspect", call_to("kill_later"))
        return first.output, await apart.execute("suspect", call_to("work", seconds=1.0))

    first, second = run(scenario, most=1)

    assert second.output["pid"] != first


def test_a_child_that_dies_while_idle_costs_nobody_an_attempt() -> None:
    async def scenario(apart: Apart) -> tuple[int, int]:
        first = (await apart.execute("suspect", call_to("work"))).output["pid"]
        os.kill(first, signal.SIGKILL)
        return first, (await apart.execute("suspect", call_to("work"))).output["pid"]

    first, second = run(scenario)

    assert first != second


def test_who_tells_every_process_to_stop_does_not_end_an_attempt(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    async def scenario(apart: Apart) -> Result:
        attempt = asyncio.create_task(apart.execute("suspect", call_to("work", seconds=0.5, note=str(path))))
        await asyncio.to_thread(wait_for, path.exists)
        os.kill(pid_in(path), signal.SIGTERM)
        return await attempt

    assert run(scenario).output["pid"] == pid_in(path)


def test_a_failpoint_at_the_call_kills_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIST_TASK_FAILPOINTS", "call.before/poison:*:kill")

    async def scenario(apart: Apart) -> Result:
        with pytest.raises(ProcessDied, match="SIGKILL"):
            await apart.execute("suspect", call_to("work", task_id="poison"))
        return await apart.execute("suspect", call_to("work"))

    assert run(scenario).output["pid"]


def test_when_no_child_can_be_had_nothing_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for program, reason in (("/bin/false", "exit code 1"), ("/nowhere/python", "No such file")):
        monkeypatch.setattr(apart_module.sys, "executable", program)

        error = failure("work")

        assert (error.code, error.unknown, error.permanent) == ("NO_PROCESS", False, False)
        assert reason in str(error)


# The end.


def test_cancelling_kills_the_child(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    async def scenario(apart: Apart) -> None:
        attempt = asyncio.create_task(apart.execute("suspect", call_to("block_for_ever", note=str(path))))
        await asyncio.to_thread(wait_for, path.exists)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.to_thread(wait_for, lambda: is_gone(pid_in(path)))

    run(scenario)


def test_cancelling_while_the_child_starts_leaves_nothing() -> None:
    async def scenario(apart: Apart) -> list[int]:
        attempt = asyncio.create_task(apart.execute("suspect", call_to("work")))
        await asyncio.sleep(0.02)
        pids = [child._process.pid for child in apart._busy]
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        return pids

    pids = run(scenario)

    assert len(pids) == 1
    assert is_gone(pids[0])


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_close_ends_busy_and_idle_children_in_time(tmp_path: Path, loop_factory: Callable[[], Any] | None) -> None:
    busy = [tmp_path / "busy0", tmp_path / "busy1"]

    async def scenario(apart: Apart) -> tuple[list[Any], list[int], float]:
        results = await asyncio.gather(
            *(apart.execute("suspect", call_to("work", seconds=0.3)) for _number in range(3))
        )
        calls = [call_to("block_for_ever", note=str(path)) for path in busy]
        attempts = [asyncio.create_task(apart.execute("suspect", call)) for call in calls]
        await asyncio.to_thread(wait_for, lambda: all(path.exists() for path in busy))
        began_at = time.monotonic()
        await apart.close()
        seconds = time.monotonic() - began_at
        pids = [result.output["pid"] for result in results]
        return await asyncio.gather(*attempts, return_exceptions=True), pids, seconds

    ends, pids, seconds = run(scenario, loop_factory=loop_factory)

    assert [type(end) for end in ends] == [ProcessDied, ProcessDied]
    assert not any(Path(f"/proc/{pid}").exists() for pid in [*pids, *map(pid_in, busy)])
    assert seconds < 15


def test_after_close_nothing_is_started() -> None:
    async def scenario(apart: Apart) -> None:
        await apart.close()
        await apart.execute("suspect", call_to("work"))

    with pytest.raises(ExecutionError, match="the worker ends") as caught:
        run(scenario)

    assert (caught.value.code, caught.value.unknown) == ("NO_PROCESS", False)


def test_an_idle_child_ends_by_itself() -> None:
    async def scenario(apart: Apart) -> None:
        pid = (await apart.execute("suspect", call_to("work"))).output["pid"]
        await asyncio.to_thread(wait_for, lambda: is_gone(pid))
        assert not apart._idle

    run(scenario, idle_seconds=0.1)


PARENT = """
import asyncio, django, sys
django.setup()
from dist_task.engine.apart import Apart
from tests.engine.test_apart import call_to
from tests.engine.suspects import SuspectExecutor
from dist_task.executors import base
base.executors.cache_clear()
from dist_task.engine import apart
apart.executors = lambda: {"suspect": SuspectExecutor()}
asyncio.run(Apart().execute("suspect", call_to(sys.argv[1], note=sys.argv[2])))
"""


@pytest.mark.parametrize("do", ["wait_for_ever", "hold_the_gil"])
def test_a_killed_parent_leaves_no_child(do: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, do, str(path)], env={**os.environ, "PYTHONPATH": root}, cwd=tmp_path
    )
    try:
        child = pid_in(path)
        assert not is_gone(child)
    finally:
        parent.kill()
        parent.wait()

    wait_for(lambda: is_gone(child))


def test_where_the_system_does_not_tell_a_child_looks_for_its_parent() -> None:
    text = "from dist_task.engine.apart_child import watch; import os; watch(os.getppid() + 1)"

    done = subprocess.run([sys.executable, "-c", text], cwd=Path(__file__).parents[2], timeout=60, check=False)

    assert done.returncode == 1
