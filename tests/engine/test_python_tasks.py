"""Flows of `python` tasks, run by a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import TransactionStatus
from exceptions_app.models import ExceptionRecord
from tests.executors.functions import is_alive

from .conftest import begin, finished, make_flow
from .worker import WorkerThread, wait_for

MODULE = "tests.executors.functions"
AUTO = {"strategy": "auto", "max_attempts": 2, "interval": 0}
SUCCESS, FAILED = TransactionStatus.SUCCESS, TransactionStatus.FAILED


@pytest.fixture(autouse=True)
def modules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "TASK_MODULES": (MODULE,)}
    monkeypatch.setenv("TASK_MODULES", MODULE)


def task(task_id: str, function: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "python", "config": {"function": function}, **more}


def outputs(instance_id: str) -> dict[str, Any]:
    runs = TaskRun.objects.filter(transaction__instance_id=instance_id, op="action")
    return {run.task_id: run.output for run in runs}


def test_what_one_function_gives_another_one_takes(worker: WorkerThread) -> None:
    first = task("first", "add", input={"a": "${params.start}"})
    second = task("second", "add", depends_on=["first"], input={"a": "${tasks.first.output}", "b": 40})

    instance_id = begin(make_flow(first, second), params={"start": "1"})

    assert finished(instance_id).status == SUCCESS
    assert outputs(instance_id) == {"first": 2, "second": 42}
    assert worker.error is None


def test_params_that_do_not_fit_fail_for_good_and_say_why(worker: WorkerThread) -> None:
    instance_id = begin(make_flow(task("add", "add", retry=AUTO)), params={"a": "many"})

    assert finished(instance_id).status == FAILED
    record = ExceptionRecord.objects.get()
    assert (record.error_code, record.error_message) == ("INVALID_INPUT", "input.a: must be a whole number")
    assert not TaskRun.objects.get().maybe_executed


def test_a_retry_never_meets_the_attempt_that_was_killed_for_it(worker: WorkerThread, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    flow = make_flow(task("work", "guarded", timeout=2, retry=AUTO, input={"path": str(ledger), "seconds": 0.1}))

    instance_id = begin(flow)

    assert finished(instance_id).status == SUCCESS
    assert ledger.read_text().splitlines() == ["1 alone", "2 alone"]
    assert outputs(instance_id) == {"work": "attempt 2"}
    assert TaskRun.objects.get().maybe_executed


def test_a_crash_and_a_block_leave_the_neighbours_alone(worker: WorkerThread, tmp_path: Path) -> None:
    killer = begin(make_flow(task("die", "die", input={"how": "segfault"})))
    path = tmp_path / "pid"
    hanging = begin(make_flow(task("hang", "hang", timeout=2, input={"how": "hold", "path": str(path)})))
    neighbours = [begin(make_flow(task("add", "add", input={"a": number}))) for number in range(20)]

    assert [finished(each).status for each in neighbours] == [SUCCESS] * 20
    assert finished(killer).status == finished(hanging).status == FAILED
    codes = dict(ExceptionRecord.objects.values_list("task_id", "error_code"))
    assert codes == {"die": "PROCESS_DIED", "hang": "TIMEOUT"}
    assert set(TaskRun.objects.filter(maybe_executed=True).values_list("task_id", flat=True)) == {"die", "hang"}
    assert ExecutionLog.objects.filter(event="worker_lost").count() == 0
    assert worker.error is None


def test_what_may_have_been_done_is_undone_by_another_function(worker: WorkerThread, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    undo = {"config": {"function": "undo"}, "input": {"output": "${output}", "path": ledger}}
    booked = task("book", "add", input={"a": 41}, compensate=undo)
    broken = task("pay", "fail", depends_on=["book"], input={"how": "own"}, compensate=undo)

    instance_id = begin(make_flow(booked, broken, on_failure="compensate"))

    transaction = finished(instance_id)
    assert (transaction.status, transaction.compensation) == (FAILED, "done")
    assert Path(ledger).read_text().splitlines() == ["compensate of None", "compensate of 42"]


def test_an_attempt_begins_only_when_there_is_a_process_for_it(worker: WorkerThread, tmp_path: Path) -> None:
    """What waits was not begun, so that a worker's death leaves no doubt about it."""
    paths = [tmp_path / f"pid{number}" for number in range(5)]
    tasks = [
        task(f"t{number}", "hang", timeout=60, input={"how": "block", "path": str(path)})
        for number, path in enumerate(paths)
    ]
    begin(make_flow(*tasks))

    wait_for(lambda: sum(path.exists() for path in paths) == 2)

    assert TaskRun.objects.filter(status="running").count() == 2
    worker.stop()
    assert not any(is_alive(path) for path in paths if path.exists())
